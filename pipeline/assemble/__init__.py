"""Features and labels -> one training table a data set, which training maps into memory.

What needs no statistics happens here, once (`shape`): the logarithm of frequencies, sine and cosine of
angles, the mean over `pool` frames, the cut to `max_frames`. The statistics of the train split are
fitted here and travel with the table; the network's batches apply them, so that a run can predict on
any table with the same columns. NaN stands for "not there" (no face, no pitch) and becomes the mean.

With `aligned`, a clip has as many frames as tokens (pipeline.assemble.align) and `pool` and `max_frames` do not apply; nor do they
to features that a data set brings, which are of the rate and length that their makers meant.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import PositiveInt

from pipeline import paths, tables
from pipeline.assemble import align
from pipeline.errors import TableError
from pipeline.execution import cache
from pipeline.files import sha256
from pipeline.flags import Flag, Flagged
from pipeline.params import Block, load
from pipeline.tables import Column, shards

FRAMES = ("audio", "vision")
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


@dataclass(frozen=True)
class Moments:
    """Of each column of some frames, NaN left out: how many values, their mean, the sum of squares about it."""

    count: np.ndarray
    mean: np.ndarray
    squares: np.ndarray


def run() -> None:
    """The stage: the training table data/tables/<dataset>/ for every data set of datasets.json, shard by shard."""
    options = load("assemble", Params)
    datasets = tables.read_json(paths.DATASETS)
    clips = dict(tables.by_dataset(tables.read(paths.CLIPS)))
    labels = dict(tables.by_dataset(tables.read(paths.LABELS)))
    for name, facts in sorted(datasets.items()):
        print(f"assemble: {name}: {_assemble(name, facts, clips.get(name, []), labels.get(name, []), options)}")
    tables.keep_only(paths.TABLES, datasets)


def _assemble(
    name: str,
    facts: dict[str, Any],
    clips: Sequence[dict[str, Any]],
    labels: Sequence[dict[str, Any]],
    options: Params,
) -> str:
    """Write one data set's training table and its metadata (tables.training_schema lists them); what it holds, in words.

    A shard that is as it was written, and whose key is what it would be now, is left as it is.
    """
    tokens, words = tables.read(paths.features("text", name)), tables.read(paths.transcripts(name))
    extraction = {"text": tables.metadata(tokens)}
    extraction |= {modality: tables.metadata(paths.features(modality, name)) for modality in FRAMES}
    columns = {m: [Column(**column) for column in extraction[m]["columns"]] for m in FRAMES}
    policy = _policy(options, extraction)
    _check_rows(clips, tokens, words)
    spoken = _spoken(name, clips, words, tokens) if options.aligned else None
    if options.aligned:
        _check_aligned(name, extraction)
    by_id = {row["id"]: row for row in labels}
    folder, known, sums, noted, start = paths.table(name), _known(paths.table(name)), {}, [], 0
    for some in shards.split(clips):
        rows, here = [by_id[clip["id"]] for clip in some], slice(start, start + len(some))
        start += len(some)
        part = Part(some, rows, tokens[here], words[here], spoken[here] if spoken else None)
        features = {modality: paths.features(modality, name) / f"{shards.name(some)}.parquet" for modality in FRAMES}
        keys = {modality: _key_of(file, modality) for modality, file in features.items()}
        key = cache.key(code=_code(), policy=policy, frames=keys, **part.told())
        file = folder / f"{shards.name(some)}.arrow"
        sums[file.stem] = sha256(file) if file.is_file() else ""
        if sums[file.stem] != known.get(file.stem) or tables.shard(file)["key"] != key:
            tables.hide_table(folder)
            table, about = _shard(part, features, columns, policy, extraction)
            tables.write_arrow(file, table, {tables.SHARD: {"first": shards.first(some), "key": key, **about}})
            sums[file.stem] = sha256(file)
        noted.append(tables.shard(file))
    there = {modality: any(shard["frames"][modality] for shard in noted) for modality in FRAMES}
    metadata = {
        "dataset": name,
        **{key: facts[key] for key in ("convention", "label_range", "language", "synthetic")},
        "encoder": extraction["text"]["encoder"],
        "encoder_sha256": extraction["text"]["encoder_sha256"],
        "columns": {modality: shaped_names(columns[modality]) if there[modality] else [] for modality in FRAMES},
        "statistics": _statistics(noted, columns, there) if facts["labelled"] else None,
        "extraction": extraction,
        "policy": policy,
    }
    tables.describe_table(folder, sums, metadata)
    return _summary([by_id[clip["id"]]["split"] for clip in clips], metadata)


@dataclass(frozen=True)
class Part:
    """The rows of one shard's clips in the stages' tables."""

    clips: Sequence[dict[str, Any]]
    labels: Sequence[dict[str, Any]]
    tokens: pa.Table
    words: pa.Table
    spoken: Sequence[Spoken] | None

    def told(self) -> dict[str, Any]:
        """What of it decides the shard, beside its frames."""
        return {
            "clips": [[clip["id"], clip["video_id"]] for clip in self.clips],
            "labels": [[row[name] for name in ("split", "label", *tables.UNIMODAL.values())] for row in self.labels],
            "tokens": self.tokens["input_ids"].to_pylist(),
            "words": self.words["text"].to_pylist(),
            "spoken": self.spoken and [[spoken.said, spoken.word] for spoken in self.spoken],
        }


def _shard(
    part: Part,
    features: dict[str, Path],
    columns: dict[str, list[Column]],
    policy: dict[str, Any],
    extraction: dict[str, Any],
) -> tuple[pa.Table, dict[str, Any]]:
    """A shard, and what is noted of it: which modalities have frames, and the moments of its training clips' frames."""
    train = [index for index, row in enumerate(part.labels) if row["split"] == "train"]
    sequences: dict[str, list[np.ndarray]] = {}
    moments_of: dict[str, dict[str, list[float]]] = {}
    for modality in FRAMES:
        imported = extraction[modality].get("extractor") == tables.IMPORTED
        spoken = None if imported else part.spoken
        sequences[modality] = _frames(part.clips, features[modality], columns[modality], modality, spoken, policy)
        found = moments([sequences[modality][index] for index in train], len(shaped_names(columns[modality])))
        moments_of[modality] = {name: value.tolist() for name, value in vars(found).items()}
    widths = {modality: len(shaped_names(columns[modality])) for modality in FRAMES}
    about = {"frames": {m: any(len(x) for x in sequences[m]) for m in FRAMES}, "moments": moments_of}
    return _table(part, sequences, widths), about


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
    said, unheard = words["words"].to_pylist(), str(Flagged(Flag.NO_WORD_TIMES))
    unknown = [
        flags
        for row, spoken, flags in zip(clips, said, words["flags"].to_pylist(), strict=True)
        if row["path"] is not None and not align.timed(spoken)
    ]
    unasked = sum(unheard not in flags for flags in unknown)  # nobody listened for the times
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


def _check_aligned(name: str, extraction: dict[str, Any]) -> None:
    for modality in FRAMES:
        if extraction[modality]["extractor"] == tables.IMPORTED and not extraction[modality]["params"]["aligned"]:
            raise TableError(
                f"assemble.aligned is true, and {name}'s imported {modality} is neither aligned nor timed. "
                "Import the aligned file of the data set, or set assemble.aligned to false in params.yaml."
            )


def _check_rows(clips: Sequence[dict[str, Any]], tokens: pa.Table, words: pa.Table) -> None:
    ids = [clip["id"] for clip in clips]
    for what, other in (("token", tokens), ("transcript", words)):
        if other["id"].to_pylist() != ids:
            raise TableError(
                f"The {what} table holds other clips than {paths.CLIPS}. Make it anew with: dvc repro text"
            )


def _key_of(file: Path, modality: str) -> str:
    if not file.is_file():
        raise _others(file.parent, modality)
    return str(tables.shard(file)["key"])


def _others(folder: Path, modality: str) -> TableError:
    return TableError(f"{folder} holds other clips than {paths.CLIPS}. Make it anew with: dvc repro {modality}")


def _known(folder: Path) -> dict[str, str]:
    """The shards of a training table as they were written: sha256 by name."""
    found = [file for file in (folder / tables.TABLE, folder / tables.HIDDEN) if file.is_file()]
    return dict(tables.read_json(found[0])["shards"]) if found else {}


@lru_cache
def _code() -> str:
    """Of what decides a shard beside its inputs, so that none outlives a change of it."""
    return cache.key(
        **{module.__name__: sha256(Path(str(module.__file__))) for module in (align, tables)},
        assemble=sha256(Path(__file__)),
    )


def _frames(
    clips: Sequence[dict[str, Any]],
    file: Path,
    columns: Sequence[Column],
    modality: str,
    spoken: Sequence[Spoken] | None,
    policy: dict[str, Any],
) -> list[np.ndarray]:
    """A modality's shaped frames in the order of `clips`."""
    table = tables.read(file)
    if [row["id"] for row in clips] != table["id"].to_pylist():
        raise _others(file.parent, modality)
    found = (_cell(table, index) for index in range(len(table)))
    if spoken:
        return [shape_aligned(cell, columns, one) for cell, one in zip(found, spoken, strict=True)]
    pool, most = policy["pool"][modality], policy["max_frames"][modality]
    return [shape(cell.x, cell.mask, columns, pool, most) for cell in found]


def _cell(table: pa.Table, index: int) -> tables.Frames:
    """One clip's frames as the extractor gave them."""
    times, mask = (table[column][index].values.to_numpy(zero_copy_only=False) for column in ("times", "mask"))
    return tables.Frames(times, tables.sequence(table["x"][index]), mask.astype(bool))


def _statistics(
    shards: Sequence[dict[str, Any]], columns: dict[str, list[Column]], there: dict[str, bool]
) -> dict[str, dict[str, list[float]]]:
    """Mean and standard deviation over the frames of the train split, by modality; none of one that no clip has."""
    found = {}
    for modality in FRAMES:
        parts = [Moments(**{k: np.array(v) for k, v in shard["moments"][modality].items()}) for shard in shards]
        found[modality] = scale(together(parts), columns[modality]) if there[modality] else {"mean": [], "std": []}
    return found


def moments(frames: Sequence[np.ndarray], width: int) -> Moments:
    """Of (T, width) frames of several clips, NaN left out; in float64."""
    count, total, squares = np.zeros(width), np.zeros(width), np.zeros(width)
    some = [x for x in frames if len(x)]
    for x in some:
        there = np.isfinite(x)
        count += there.sum(axis=0)
        total += np.where(there, x, 0).sum(axis=0, dtype=np.float64)
    mean = total / np.maximum(count, 1)
    for x in some:
        squares += np.where(np.isfinite(x), (x - mean) ** 2, 0).sum(axis=0)
    return Moments(count, mean, squares)


def together(parts: Sequence[Moments]) -> Moments:
    """The moments of all, from those of parts, one after the other (Chan, Golub and LeVeque, 1979)."""
    whole = parts[0]
    for part in parts[1:]:
        count = whole.count + part.count
        share, apart = part.count / np.maximum(count, 1), part.mean - whole.mean
        squares = whole.squares + part.squares + apart**2 * whole.count * share
        whole = Moments(count, whole.mean + apart * share, squares)
    return whole


def scale(of: Moments, columns: Sequence[Column]) -> dict[str, list[float]]:
    """Mean and standard deviation of each column of shaped frames.

    A column that never varies is only centred. Flags and the sines and cosines of angles keep their
    scale: mean 0, standard deviation 1.
    """
    left = _unscaled(columns)
    deviation = np.sqrt(of.squares / np.maximum(of.count, 1))
    found = np.where((deviation > CONSTANT) & ~left, deviation, 1.0)
    return {"mean": np.where(left, 0.0, of.mean).tolist(), "std": found.tolist()}


def _table(part: Part, sequences: dict[str, list[np.ndarray]], widths: dict[str, int]) -> pa.Table:
    content = {
        "id": [clip["id"] for clip in part.clips],
        "video_id": [clip["video_id"] for clip in part.clips],
        "split": [row["split"] for row in part.labels],
        **{name: [row[name] for row in part.labels] for name in ("label", *tables.UNIMODAL.values())},
        "transcript": part.words["text"],
        "input_ids": part.tokens["input_ids"],
        **{m: tables.sequences(sequences[m], width) for m, width in widths.items() if width},
    }
    return pa.table(content, schema=tables.training_schema(widths))


def _summary(splits: Sequence[str | None], metadata: dict[str, Any]) -> str:
    sizes = ", ".join(f"{split} {splits.count(split)}" for split in tables.SPLITS if split in splits)
    widths = ", ".join(f"{m} {len(metadata['columns'][m])} columns" for m in FRAMES)
    return f"{len(splits)} clips ({sizes or 'no labels'}); {widths}"
