"""The files of a run's folder, and its record, which needs no torch to be read."""

from pathlib import Path
from typing import Any

from pipeline import tables

RUN = "run.json"
WEIGHTS = "weights.safetensors"
PUBLISHED, PUBLISHED_WEIGHTS = "config.json", "model.safetensors"  # as hubs name them, in a folder of `rawmsa publish`
CURVES = "curves.csv"
ULABELS = "ulabels.parquet"
PREDICTIONS = "predictions.parquet"
CONTRIBUTIONS = "contributions.parquet"


def published(folder: Path) -> bool:
    """Whether `rawmsa publish` made the folder."""
    return (folder / PUBLISHED).is_file() and not (folder / RUN).is_file()


def describe(folder: Path) -> dict[str, Any]:
    """The content of run.json, or of the configuration of a published run."""
    return dict(tables.read_json(folder / (PUBLISHED if published(folder) else RUN)))
