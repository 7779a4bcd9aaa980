"""Every network of model/ in a size that trains in a second, with the text that its preset of params.yaml names."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import yaml

from model import networks
from model.encoders import vectors
from model.networks import build, find
from model.networks.base import BaseNetwork
from model.records import Batch
from model.settings import Network
from model.training.batch import Clips
from model.training.hyper import Fit, Group, Hyper
from pipeline import paths, tables
from tests import tiny

BLOCKS = {
    file.stem: Network.model_validate(yaml.safe_load(file.read_text()))
    for file in (Path(__file__).parents[1] / paths.NETWORKS).glob("*.yaml")
}
FILES = sorted(
    file.stem for file in Path(str(networks.__file__)).parent.glob("*.py") if "class Network(" in file.read_text()
)
TEXT = 32  # columns of a token's vector
TAV = ("text", "audio", "vision")


def _each(*values: float, names: Sequence[str] = TAV) -> dict[str, float]:
    return dict(zip(names, values, strict=True))


_LAYERS = {name: {"width": 8, "dropout": 0.0} for name in ("attention", "candidate", "retain", "update", "output")}
_NONE = _each(0.0, 0.0, 0.0)
_TFN = {"hidden": _each(8, 6, 7), "text": 6, "fused": 8, "dropout": {**_NONE, "fusion": 0.0}}
_LMF = {"hidden": _each(8, 6, 7), "text": 6, "rank": 3, "dropout": _NONE}
_HEADS = {"heads": _each(6, 4, 5), "head_dropout": _NONE, "weights": {"fusion": 0.6, **_each(0.4, 0.3, 1.0)}}
_FACTORS = ("fusion", *TAV)
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "self_mm": tiny.ARCHITECTURE,
    "tfn": _TFN,
    "lmf": _LMF,
    "mtfn": {**_TFN, **_HEADS},
    "mlmf": {**_LMF, **_HEADS},
    "mfn": {"hidden": _each(8, 4, 6), "memory": 6, "layers": _LAYERS},
    "mfm": {
        "hidden": _each(8, 4, 6),
        "memory": 6,
        "layers": _LAYERS,
        "z": _each(6, 5, 4, 3, names=_FACTORS),
        "f": _each(8, 6, 5, 4, names=_FACTORS),
        "dropout": {**_each(0.0, 0.0, 0.0, 0.0, names=_FACTORS), "output": 0.0},
        "reconstruction": _each(0.1, 0.1, 0.1),
        "mmd": 0.1,
    },
    "raven": {"hidden": 6, "words": 12, "frames": 3, "beta": 0.5, "dropout": 0.0},
    "mult": {
        "width": 8,
        "heads": 2,
        "levels": 1,
        "kernels": _each(3, 3, 1),
        "attention": _NONE,
        "dropout": dict.fromkeys(("text", "embedding", "relu", "residual", "output"), 0.0),
        "future_mask": True,
    },
    "misa": {
        "hidden": 8,
        "dropout": 0.0,
        "weights": {"difference": 0.1, "similarity": 0.1, "reconstruction": 0.1},
    },
    "mag_bert": {"layer": 0, "beta": 1.0, "dropout": 0.0},
    "lf": {"hidden": _each(16, 16, 16), "text": 8, "dropout": _NONE},
}


def text(name: str) -> str:
    return str(next(iter(BLOCKS[name].presets.values()))["text"])


def network(name: str, seed: int = 0, without: Sequence[str] = (), **changes: Any) -> BaseNetwork:
    """The network, its BERT tiny where it trains one along; without: modalities that the data set lacks."""
    encoder = None
    if text(name) == vectors.FINETUNED and "text" not in without:
        encoder = tiny.bert(pooler=find(name).POOLER)
    widths = {m: 0 if m in without else width for m, width in {"text": TEXT, **tiny.WIDTHS}.items()}
    dims = tiny.dims(encoder, widths["audio"], widths["vision"], text=widths["text"])
    torch.manual_seed(seed)
    return build(name, dims, ARCHITECTURES[name] | changes)


def clips(name: str, split: str | None = None, without: Sequence[str] = (), **made: Any) -> Clips:
    """Those of tiny.table, their tokens as vectors where the network takes such; made: of tiny.table."""
    table = tiny.table(without=without, **made)
    if text(name) != vectors.FINETUNED and "text" not in without:
        ids = table["input_ids"].to_pylist()
        rows = torch.nn.functional.one_hot(torch.arange(80) % TEXT, TEXT).float().numpy()  # of a token id
        table = vectors.attached(table, tables.sequences((rows[one] for one in ids), TEXT))
    return tiny.clips(table, split, [m for m in TAV if m not in without])


def hyper(name: str, **fit: Any) -> Hyper:
    """With one learning rate for all groups."""
    assert name in ARCHITECTURES, f"add {name} to ARCHITECTURES of tests/networks.py"
    groups = {group: Group(lr=0.01, weight_decay=0.0) for group in find(name).GROUPS}
    return Hyper(text=text(name), architecture=ARCHITECTURES[name], groups=groups, fit=Fit(**tiny.FIT | fit))


def padded(batch: Batch, by: int, value: float) -> Batch:
    """The batch with more padding, and with `value` in all of it; padded tokens keep an id that exists."""
    inputs = {}
    for modality, x in batch.inputs.items():
        more = torch.cat([x, x.new_zeros(len(x), by, *x.shape[2:])], 1)
        beyond = torch.arange(more.shape[1]) >= batch.lengths[modality][:, None]
        more[beyond] = int(value) if more.dtype == torch.int64 else value
        inputs[modality] = more
    return replace(batch, inputs=inputs)
