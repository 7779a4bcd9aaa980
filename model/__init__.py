"""Whatever has a gradient, and what measures it: training table -> runs, predictions, metrics."""

from collections.abc import Mapping
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import ParamsError

if TYPE_CHECKING:
    from model.network import BaseNetwork, Dims


def build(name: str, dims: "Dims", architecture: Mapping[str, Any]) -> "BaseNetwork":
    """The network of model/<name>.py; its constructor's signature is the schema of `architecture`.

    Raises ParamsError where there is no such network or the keys differ.
    """
    if not (Path(__file__).parent / f"{name}.py").is_file() or not hasattr(
        module := import_module(f"model.{name}"), "Network"
    ):
        raise ParamsError(
            f"params.yaml: train.networks names '{name}', but there is no model/{name}.py with a Network."
        )
    expected = signature(module.Network).parameters.keys() - {"dims"}
    if architecture.keys() != expected:
        raise ParamsError(
            f"params.yaml: networks.{name}.*.architecture has {sorted(architecture)}, expected {sorted(expected)}."
        )
    return module.Network(dims, **architecture)
