"""Features and labels -> one training table a data set, which training maps into memory.

What needs no statistics happens here, once (`shape`): the logarithm of frequencies, sine and cosine of
angles, the mean over `pool` frames, the cut to `max_frames`. The statistics of the train split are
fitted here and travel with the table; the network's batches apply them, so that a run can predict on
any table with the same columns. NaN stands for "not there" (no face, no pitch) and becomes the mean.

With `aligned`, a clip has as many frames as tokens (pipeline.align) and `pool` and `max_frames` do not apply; nor do they
to features that a data set brings, which are of the rate and length that their makers meant.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import PositiveInt

from pipeline import align, paths, tables
from pipeline.errors import TableError
from pipeline.params import Block, load
from pipeline.tables import Column

FRAMES = ("audio", "vision")
UNHEARD = "no word times"  # transcribe's flag: they were asked for, and not found
CONSTANT = 1e-6  # standard deviation below which a column says nothing


class Counts(Block):
    """A number for each modality with frames."""

    audio: PositiveInt
    vision: PositiveInt


class Params(Block):
    """params.yaml: assemble."""

    aligned: bool  # one frame a token
    pool: Counts
    max_frames: Counts


@dataclass(frozen=True)
class Spoken:
    """What a clip says, for alignment: when its words are, and the word of each token."""

    said: list[align.Span]
    word: list[int]


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
    spoken = _spoken(name, clips, words, tokens) if options.aligned else None
    for modality in FRAMES:
        sequences[modality], columns[modality], extraction[modality] = _frames(name, modality, clips, spoken, options)
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
        "policy": _policy(options, extraction),
    }
    return table, metadata


def shape(x: np.ndarray, mask: np.ndarray, columns: Sequence[Column], pool: int, most: int | None) -> np.ndarray:
    """(T, D) frames of an extractor -> (T', D') frames of a training table, NaN where nothing is there.

    T' = min(ceil(T / pool), most): the mean over each `pool` frames of what is there, then the head (None: all).
    Raises nothing: a clip with no frames, or with no frame that says anything, gives (0, D').
    """
    return _there(_pool(_grown(x, mask, columns), pool)[:most])


def shape_aligned(frames: tables.Frames, columns: Sequence[Column], spoken: Spoken) -> np.ndarray:
    """The frames of an extractor -> (tokens, D') frames of a training table; angles by the circular mean of a word.

    A clip without tokens, with no frames, or with no frame that says anything, gives (0, D').
    """
    grown = _grown(frames.x, frames.mask, columns)
    if not (len(grown) and spoken.word):
        return _there(grown[:0])
    rows = align.by_token(grown, frames.times, spoken.said, spoken.word)
    sines = [place for place, name in enumerate(_kinds(columns)) if name == "angle"][::2]
    for place in sines:
        pair = rows[:, place : place + 2]
        length = np.hypot(pair[:, 0], pair[:, 1])[:, None]
        rows[:, place : place + 2] = np.divide(pair, length, out=np.full(pair.shape, np.nan), where=length > CONSTANT)
    return _there(rows)


def _grown(x: np.ndarray, mask: np.ndarray, columns: Sequence[Column]) -> np.ndarray:
    """(T, D) -> (T, D'): NaN where the mask is off, each column as its kind asks."""
    wide = np.where(mask[:, None], x, np.nan).astype(np.float64)
    parts = [part for i, column in enumerate(columns) for part in _expand(wide[:, i], column.kind)]
    return np.stack(parts, axis=1) if len(x) else np.zeros((0, len(shaped_names(columns))))


def _there(x: np.ndarray) -> np.ndarray:
    """float32; no frames where none says anything."""
    return (x if np.isfinite(x).any() else x[:0]).astype(np.float32)


def shaped_names(columns: Sequence[Column]) -> list[str]:
    """The names of the columns after `shape`."""
    names: list[str] = []
    for column in columns:
        pair = [f"{column.name}_sin", f"{column.name}_cos"]
        names += {"angle": pair, "frequency": [f"log_{column.name}"]}.get(column.kind, [column.name])
    return names


def _kinds(columns: Sequence[Column]) -> list[str]:
    """The kinds of the columns after `shape`; an angle's are two."""
    return [column.kind for column in columns for _ in range(1 + (column.kind == "angle"))]


def _unscaled(columns: Sequence[Column]) -> np.ndarray:
    """Which columns after `shape` are never standardised."""
    return np.array([kind in ("flag", "angle") for kind in _kinds(columns)], bool)


def _expand(values: np.ndarray, kind: str) -> list[np.ndarray]:
    if kind == "angle":
        return [np.sin(values), np.cos(values)]
    if kind == "voiced":
        return [np.where(values != 0, values, np.nan)]
    if kind == "frequency":
        return [np.log(np.where(values > 0, values, np.nan))]
    return [values]


def _pool(x: np.ndarray, size: int) -> np.ndarray:
    """Mean over each `size` rows (the last may be fewer), leaving NaN out."""
    padded = np.concatenate([x, np.full((-len(x) % size, x.shape[1]), np.nan)]).reshape(-1, size, x.shape[1])
    return align.mean(padded, axis=1)


def _spoken(name: str, clips: Sequence[dict[str, Any]], words: pa.Table, tokens: pa.Table) -> list[Spoken]:
    """Each clip's words and tokens. Raises TableError where nobody asked for the times of a video's words."""
    said = words["words"].to_pylist()
    unknown = [
        flags
        for row, spoken, flags in zip(clips, said, words["flags"].to_pylist(), strict=True)
        if row["path"] is not None and not align.timed(spoken)
    ]
    unasked = sum(UNHEARD not in flags for flags in unknown)
    if unasked:
        raise TableError(
            f"assemble.aligned is true, and {unasked} of {len(clips)} transcripts of {name} have no word times. "
            "Set transcribe.word_times to true in params.yaml (or assemble.aligned to false), then: dvc repro"
        )
    if unknown:
        print(f"assemble: {name}: {len(unknown)} clips' words could not be timed, they share the clip's length evenly")
    lists = zip(clips, said, tokens["word"].to_pylist(), strict=True)
    return [Spoken(align.spans(spoken, row["seconds"]), word) for row, spoken, word in lists]


def _policy(options: Params, extraction: dict[str, Any]) -> dict[str, Any]:
    """What was done to the frames: features that a data set brings are neither pooled nor cut."""
    policy = options.model_dump()
    for modality in FRAMES:
        if extraction[modality].get("extractor") == tables.IMPORTED:
            policy["pool"][modality], policy["max_frames"][modality] = 1, None
    return policy


def _check_aligned(name: str, modality: str, metadata: dict[str, Any]) -> None:
    if not metadata["params"]["aligned"]:
        raise TableError(
            f"assemble.aligned is true, and {name}'s imported {modality} is neither aligned nor timed. "
            "Import the aligned file of the data set, or set assemble.aligned to false in params.yaml."
        )


def _frames(
    name: str, modality: str, clips: Sequence[dict[str, Any]], spoken: list[Spoken] | None, options: Params
) -> tuple[list[np.ndarray], list[Column], dict[str, Any]]:
    """A modality's shaped frames in the order of `clips`, its columns ([]: no clip has any) and its extraction."""
    path = paths.features(modality, name)
    table, metadata = tables.read(path), tables.metadata(path)
    if [row["id"] for row in clips] != table["id"].to_pylist():
        raise TableError(f"{path} holds other clips than {paths.CLIPS}. Make it anew with: dvc repro {modality}")
    kinds = [Column(**column) for column in metadata["columns"]]
    policy = _policy(options, {**dict.fromkeys(FRAMES, {}), modality: metadata})
    pool, most = policy["pool"][modality], policy["max_frames"][modality]
    imported = metadata["extractor"] == tables.IMPORTED
    if imported and spoken:
        _check_aligned(name, modality, metadata)
    found = (_cell(table, index) for index in range(len(table)))
    if spoken and not imported:
        frames = [shape_aligned(cell, kinds, one) for cell, one in zip(found, spoken, strict=True)]
    else:
        frames = [shape(cell.x, cell.mask, kinds, pool, most) for cell in found]
    return frames, kinds if any(len(x) for x in frames) else [], metadata


def _cell(table: pa.Table, index: int) -> tables.Frames:
    """One clip's frames as the extractor gave them."""
    times, mask = (table[column][index].values.to_numpy(zero_copy_only=False) for column in ("times", "mask"))
    return tables.Frames(times, tables.sequence(table["x"][index]), mask.astype(bool))


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
    count, total, squares = np.zeros(len(left)), np.zeros(len(left)), np.zeros(len(left))
    some = [x for x in frames if len(x)]
    for x in some:  # clip by clip: a large data set's frames are not held twice
        there = np.isfinite(x)
        count += there.sum(axis=0)
        total += np.where(there, x, 0).sum(axis=0, dtype=np.float64)
    mean = total / np.maximum(count, 1)
    for x in some:
        squares += np.where(np.isfinite(x), (x - mean) ** 2, 0).sum(axis=0)
    deviation = np.sqrt(squares / np.maximum(count, 1))
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
