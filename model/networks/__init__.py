"""The networks, each a file with a class `Network`; the file's name is the registry."""

from collections.abc import Mapping
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pipeline.errors import ParamsError

if TYPE_CHECKING:
    from model.networks.base import BaseNetwork
    from model.records import Dims


def find(name: str) -> type["BaseNetwork"]:
    """The class Network of model/networks/<name>.py. Raises ParamsError where there is none."""
    if (Path(__file__).parent / f"{name}.py").is_file():
        found = getattr(import_module(f"model.networks.{name}"), "Network", None)
        if found is not None:
            return cast("type[BaseNetwork]", found)
    raise ParamsError(
        f"params.yaml: train.networks or experiment.networks names '{name}', but there is no model/networks/{name}.py with a Network. "
        "Correct the name, or write that file."
    )


def build(name: str, dims: "Dims", architecture: Mapping[str, object]) -> "BaseNetwork":
    """The network of model/networks/<name>.py; its constructor's signature is the schema of `architecture`.

    Raises ParamsError where there is no such network or the keys differ.
    """
    found = find(name)
    expected = signature(found).parameters.keys() - {"dims"}
    if architecture.keys() != expected:
        raise ParamsError(
            f"networks/{name}.yaml: architecture has {sorted(architecture)}, expected {sorted(expected)}."
        )
    if lacking := [modality for modality in found.NEEDS if modality not in dims.widths]:
        raise ParamsError(
            f"{name} is nothing without {' and '.join(lacking)}, which no clip of the data set has. "
            "Take it out of train.networks in params.yaml."
        )
    return found(dims, **architecture)
