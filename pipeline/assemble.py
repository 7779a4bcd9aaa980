"""Features and labels -> one training table a data set, which training maps into memory.

What needs no statistics happens here, once (`shape`): the logarithm of frequencies, sine and cosine of
angles, the mean over `pool` frames, the cut to `max_frames`. The statistics of the train split are
fitted here and travel with the table; the network's batches apply them, so that a run can predict on
any table with the same columns. NaN stands for "not there" (no face, no pitch) and becomes the mean.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline import paths, tables
from pipeline.errors import TableError
from pipeline.params import Block, load
from pipeline.tables import Column

FRAMES = ("audio", "vision")
CONSTANT = 1e-6  # standard deviation below which a column says nothing


class Counts(Block):
    """A number for each modality with frames."""

    audio: int
    vision: int


class Params(Block):
    """params.yaml: assemble."""

    pool: Counts
    max_frames: Counts


def run() -> None:
    """The stage: data/tables/<dataset>.arrow for every data set of datasets.json."""
    options = load("assemble", Params)
    datasets = tables.read_json(paths.DATASETS)
    clips = dict(tables.by_dataset(tables.read(paths.CLIPS)))
    labels = dict(tables.by_dataset(tables.read(paths.LABELS)))
    for name, facts in sorted(datasets.items()):
        table, metadata = assemble(name, facts, clips.get(name, []), labels.get(name, []), options)
        tables.write_arrow(paths.table(name), table, metadata)
        print(f"assemble: {name}: {_summary(table, metadata)}")
    tables.keep_only(paths.TABLES, datasets, ".arrow")


def assemble(
    name: str,
    facts: dict[str, Any],
    clips: Sequence[dict[str, Any]],
    labels: Sequence[dict[str, Any]],
    options: Params,
) -> tuple[pa.Table, dict[str, Any]]:
    """The training table of one data set and its metadata (tables.training_schema lists them)."""
    tokens, words = tables.read(paths.features("text", name)), tables.read(paths.transcripts(name))
    extraction: dict[str, Any] = {"text": tables.metadata(tokens)}
    sequences: dict[str, list[np.ndarray]] = {}
    columns: dict[str, list[Column]] = {}
    for modality in FRAMES:
        sequences[modality], columns[modality], extraction[modality] = _frames(name, modality, clips, options)
    by_id = {row["id"]: row for row in labels}
    rows = [by_id[clip["id"]] for clip in clips]
    names = {modality: shaped_names(columns[modality]) for modality in FRAMES}
    table = _table(clips, rows, tokens, words, sequences, {modality: len(names[modality]) for modality in FRAMES})
    metadata = {
        "dataset": name,
        **{key: facts[key] for key in ("convention", "label_range", "language", "synthetic")},
        "encoder": extraction["text"]["encoder"],
        "encoder_sha256": extraction["text"]["encoder_sha256"],
        "columns": names,
        "statistics": _statistics(rows, sequences, columns) if facts["labelled"] else None,
        "extraction": extraction,
        "policy": options.model_dump(),
    }
    return table, metadata


def shape(x: np.ndarray, mask: np.ndarray, columns: Sequence[Column], pool: int, most: int) -> np.ndarray:
    """(T, D) frames of an extractor -> (T', D') frames of a training table, NaN where nothing is there.

    T' = min(ceil(T / pool), most): the mean over each `pool` frames of what is there, then the head.
    Raises nothing: a clip with no frames, or with no frame that says anything, gives (0, D').
    """
    wide = np.where(mask[:, None], x, np.nan).astype(np.float64)
    parts = [part for i, column in enumerate(columns) for part in _expand(wide[:, i], column.kind)]
    grown = np.stack(parts, axis=1) if len(x) else np.zeros((0, len(shaped_names(columns))))
    pooled = _pool(grown, pool)[:most]
    return (pooled if np.isfinite(pooled).any() else pooled[:0]).astype(np.float32)


def shaped_names(columns: Sequence[Column]) -> list[str]:
    """The names of the columns after `shape`."""
    names: list[str] = []
    for column in columns:
        pair = [f"{column.name}_sin", f"{column.name}_cos"]
        names += {"angle": pair, "frequency": [f"log_{column.name}"]}.get(column.kind, [column.name])
    return names


def _unscaled(columns: Sequence[Column]) -> np.ndarray:
    """Which columns after `shape` are never standardised."""
    return np.array([c.kind in ("flag", "angle") for c in columns for _ in range(1 + (c.kind == "angle"))], bool)


def _expand(values: np.ndarray, kind: str) -> list[np.ndarray]:
    if kind == "angle":
        return [np.sin(values), np.cos(values)]
    if kind == "frequency":
        return [np.log(np.where(values > 0, values, np.nan))]
    return [values]


def _pool(x: np.ndarray, size: int) -> np.ndarray:
    """Mean over each `size` rows (the last may be fewer), leaving NaN out."""
    padded = np.concatenate([x, np.full((-len(x) % size, x.shape[1]), np.nan)]).reshape(-1, size, x.shape[1])
    there = np.isfinite(padded)
    count = there.sum(axis=1)
    total = np.where(there, padded, 0).sum(axis=1)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def _frames(
    name: str, modality: str, clips: Sequence[dict[str, Any]], options: Params
) -> tuple[list[np.ndarray], list[Column], dict[str, Any]]:
    """A modality's shaped frames in the order of `clips`, its columns ([]: no clip has any) and its extraction."""
    path = paths.features(modality, name)
    table, metadata = tables.read(path), tables.metadata(path)
    if [row["id"] for row in clips] != table["id"].to_pylist():
        raise TableError(f"{path} holds other clips than {paths.CLIPS}. Make it anew with: dvc repro {modality}")
    kinds = [Column(**column) for column in metadata["columns"]]
    pool, most = (getattr(counts, modality) for counts in (options.pool, options.max_frames))
    frames = [
        shape(tables.sequence(x), np.array(mask.as_py(), bool), kinds, pool, most)
        for x, mask in zip(table["x"], table["mask"], strict=True)
    ]
    return frames, kinds if any(len(x) for x in frames) else [], metadata


def _statistics(
    rows: Sequence[dict[str, Any]], sequences: dict[str, list[np.ndarray]], columns: dict[str, list[Column]]
) -> dict[str, dict[str, list[float]]]:
    """Mean and standard deviation over the frames of the train split, by modality."""
    train = [index for index, row in enumerate(rows) if row["split"] == "train"]
    return {modality: fit([sequences[modality][i] for i in train], columns[modality]) for modality in FRAMES}


def fit(frames: Sequence[np.ndarray], columns: Sequence[Column]) -> dict[str, list[float]]:
    """Mean and standard deviation of each column of shaped frames, NaN left out.

    A column that never varies is only centred. Flags and the sines and cosines of angles keep their
    scale: mean 0, standard deviation 1.
    """
    left = _unscaled(columns)
    stacked = np.concatenate([np.zeros((0, len(left))), *(x for x in frames if len(x))]).astype(np.float64)
    there = np.isfinite(stacked)
    count = np.maximum(there.sum(axis=0), 1)
    mean = np.where(there, stacked, 0).sum(axis=0) / count
    deviation = np.sqrt(np.where(there, (stacked - mean) ** 2, 0).sum(axis=0) / count)
    scale = np.where((deviation > CONSTANT) & ~left, deviation, 1.0)
    return {"mean": np.where(left, 0.0, mean).tolist(), "std": scale.tolist()}


def _table(
    clips: Sequence[dict[str, Any]],
    rows: Sequence[dict[str, Any]],
    tokens: pa.Table,
    words: pa.Table,
    sequences: dict[str, list[np.ndarray]],
    widths: dict[str, int],
) -> pa.Table:
    ids = [clip["id"] for clip in clips]
    for what, other in (("token", tokens), ("transcript", words)):
        if other["id"].to_pylist() != ids:
            raise TableError(
                f"The {what} table holds other clips than {paths.CLIPS}. Make it anew with: dvc repro text"
            )
    content = {
        "id": ids,
        "video_id": [clip["video_id"] for clip in clips],
        "split": [row["split"] for row in rows],
        **{name: [row[name] for row in rows] for name in ("label", "label_T", "label_A", "label_V")},
        "transcript": words["text"],
        "input_ids": tokens["input_ids"],
        **{m: tables.sequences(sequences[m], width) for m, width in widths.items() if width},
    }
    return pa.table(content, schema=tables.training_schema(widths))


def _summary(table: pa.Table, metadata: dict[str, Any]) -> str:
    splits = table["split"].to_pylist()
    sizes = ", ".join(f"{split} {splits.count(split)}" for split in tables.SPLITS if split in splits)
    widths = ", ".join(f"{m} {len(metadata['columns'][m])} columns" for m in FRAMES)
    return f"{len(table)} clips ({sizes or 'no labels'}); {widths}"
