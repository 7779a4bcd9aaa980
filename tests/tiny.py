"""A training table of made clips and a text encoder of a few thousand weights, so that training takes a second."""

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
import yaml
from transformers import BertConfig, BertModel

from model.networks.ulgm import Settings
from model.records import Dims
from model.settings import DEFAULTS, Network
from model.training.batch import Clips
from model.training.hyper import Fit, Group, Hyper, merged
from pipeline import paths, tables
from pipeline.tables import Statistics

WIDTHS = {"audio": 3, "vision": 5}
BERT = BertConfig(
    vocab_size=80,
    hidden_size=32,
    num_hidden_layers=1,
    num_attention_heads=2,
    intermediate_size=32,
    max_position_embeddings=40,
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
)
ULGM: Settings = {
    "labels": "generated",
    "equations": "both",
    "alpha": "paper",
    "min_alpha": 0.05,
    "ratio_epsilon": 0.0,
    "clamp": True,
    "zeros": "neither",
    "momentum": True,
    "weights": True,
}
ARCHITECTURE: dict[str, Any] = {
    "tasks": ["text", "audio", "vision"],
    "layers": 1,
    "frames": {"audio": 4, "vision": 6},
    "outputs": None,
    "projected": {"fusion": 16, "text": 8, "audio": 4, "vision": 6},
    "dropout": {"fusion": 0.0, "text": 0.0, "audio": 0.0, "vision": 0.0},
    "ulgm": ULGM,
}
GROUPS = {name: Group(lr=0.01, weight_decay=0.001) for name in ("text", "audio", "vision", "heads")}

SELF_MM = Network.model_validate(yaml.safe_load((Path(__file__).parents[1] / paths.network("self_mm")).read_text()))
PRESETS = {name: SELF_MM.preset(name) for name in SELF_MM.presets if name != DEFAULTS}

FIT: dict[str, Any] = {
    "batch": 4,
    "accumulate": 2,
    "max_epochs": 3,
    "patience": 3,
    "optimizer": "adamw",
    "gradients": "mean",
    "validation": "clips",
    "clip": None,
    "plateau": None,
    "bucket": 1,
}


def hyper(**fit: Any) -> Hyper:
    return Hyper(text="finetuned", architecture=ARCHITECTURE, groups=GROUPS, fit=Fit(**FIT | fit))


def preset(name: str, **fit: Any) -> Hyper:
    """The values of this file under a preset of the repository."""
    own = {"architecture": ARCHITECTURE, "groups": {g: settings.model_dump() for g, settings in GROUPS.items()}}
    return Hyper.model_validate(merged(own, {"fit": FIT}, PRESETS[name], {"fit": fit}))


def architecture(**changes: Any) -> dict[str, Any]:
    """ARCHITECTURE with other values; those of `ulgm` change the settings they name."""
    return merged(ARCHITECTURE, changes)


def bert(seed: int = 0, pooler: bool = False) -> BertModel:
    torch.manual_seed(seed)
    return BertModel(deepcopy(BERT), add_pooling_layer=pooler)  # a test may change its own


def dims(
    encoder: BertModel | None,
    audio: int = 3,
    vision: int = 5,
    label_range: tuple[float, float] = (-3.0, 3.0),
    text: int | None = None,
) -> Dims:
    """encoder: trained along, or None; text: columns of a token's vector, by default the encoder's."""
    width = text if text is not None else encoder.config.hidden_size if encoder else 0
    return Dims(width, audio, vision, label_range, encoder)


def encoder(folder: Path) -> Path:
    """A folder to load the tiny BERT from."""
    bert().save_pretrained(folder)
    return folder


def table(
    splits: Sequence[str | None] = ("train",) * 12 + ("valid",) * 4 + ("test",) * 4,
    absent: Sequence[tuple[int, str]] = (),
    without: Sequence[str] = (),
    dataset: str = "made",
) -> pa.Table:
    """Clips whose tokens and frames tell their label. absent: (row, modality) pairs; without: modalities the
    whole data set lacks."""
    rng = np.random.default_rng(0)
    labels = np.round(rng.uniform(-3, 3, len(splits)), 1)
    widths = {modality: 0 if modality in without else width for modality, width in WIDTHS.items()}
    schema = tables.training_schema(widths)
    columns: dict[str, Any] = {name: [None] * len(splits) for name in ("label_T", "label_A", "label_V")}
    columns["id"] = [f"video{row % 5}/{row:02d}" for row in range(len(splits))]
    columns["video_id"] = [clip.split("/")[0] for clip in columns["id"]]
    columns["split"] = list(splits)
    columns["label"] = [None if split is None else label for split, label in zip(splits, labels, strict=True)]
    columns["transcript"] = ["made"] * len(splits)
    columns["input_ids"] = [[1, *([10 + int(label * 10)] * int(rng.integers(1, 6))), 2] for label in labels + 3]
    for modality, width in widths.items():
        lengths = rng.integers(2, 9, len(splits))
        frames = [rng.normal(label, 0.3, (length, width)) for label, length in zip(labels, lengths, strict=True)]
        columns[modality] = [x[: 0 if (row, modality) in absent else None] for row, x in enumerate(frames)]
    columns["flags"] = [[] for _ in splits]
    for row, modality in absent:
        if modality == "text":
            columns["input_ids"][row] = []
    if "text" in without:
        columns["input_ids"] = [[]] * len(splits)
    arrays = {m: tables.sequences(columns[m], width) for m, width in widths.items() if width}
    made = pa.table({name: columns[name] for name in schema.names} | arrays, schema=schema)
    return tables.with_metadata(made, metadata(widths, dataset, labelled=any(splits)))


def metadata(widths: dict[str, int], dataset: str, labelled: bool) -> dict[str, Any]:
    statistics = {m: {"mean": [0.1] * width, "std": [2.0] * width} for m, width in widths.items()}
    return {
        "dataset": dataset,
        "convention": "mosi",
        "label_range": [-3.0, 3.0],
        "language": "en",
        "synthetic": True,
        "encoder": "tiny",
        "encoder_sha256": None,
        "columns": {m: [f"{m}{i}" for i in range(width)] for m, width in widths.items()},
        "statistics": statistics if labelled else None,
        "extraction": {m: {"dataset": dataset, "extractor": f"{m}_made"} for m in widths},
        "policy": {},
    }


def clips(made: pa.Table, split: str | None = None, modalities: Sequence[str] = tables.MODALITIES) -> Clips:
    return Clips(made, modalities, WIDTHS, statistics(tables.metadata(made)), split)


def statistics(about: dict[str, Any]) -> dict[str, Statistics]:
    """Of a table with these metadata."""
    return {modality: Statistics(**found) for modality, found in about["statistics"].items()}
