"""An MMSA .pkl -> a data set without videos: data/raw/<dataset> with label.csv, dataset.yaml and features/*.parquet.

One clip is read at a time, in order of the ids, so a file of many gigabytes takes little memory. Padding is cut, by the
file's lengths or, where it has none (aligned files), by the mask of its tokens.
"""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import yaml

from pipeline import paths, tables
from pipeline.assemble import FRAMES
from pipeline.datasets import description, folder
from pipeline.datasets.refusal import counted, examples, several
from pipeline.errors import DatasetError
from pipeline.files import sha256
from pipeline.mmsa import pickles
from pipeline.mmsa.pickles import Array
from pipeline.tables import IMPORTED, SPLITS, Column, FeatureMetadata, FeatureRow, Frames, TokensRow
from pipeline.text import NO_WORD

SEPARATOR = "$_$"  # between video_id and clip_id
TABLE_2 = {"mosi": (1284, 229, 686), "mosei": (16326, 1871, 4659), "sims": (1368, 456, 457)}  # of the paper
NEEDED = ("id", "raw_text", "regression_labels")
CELLS = {  # of label.csv
    "label": "regression_labels",
    "label_T": "regression_labels_T",
    "label_A": "regression_labels_A",
    "label_V": "regression_labels_V",
    "annotation": "annotations",
}
NUMBERS = {field for name, field in CELLS.items() if name != "annotation"} | {"audio_lengths", "vision_lengths"}
COLUMNS = {*NEEDED, *CELLS.values(), *NUMBERS}  # one value a clip
SHEET = ("video_id", "clip_id", "text", *CELLS, "mode")  # columns of label.csv
LARGEST = (
    1e9  # what no feature of a voice or face exceeds; one such value would be all that is left of a standardised column
)
MOST_NAMED = 5  # columns that the summary names
CHUNK = 1000  # clips whose tokens make a row group


@dataclass(frozen=True)
class Split:
    """One of train, valid, test.

    columns: one value a clip; sequences: text (N, 3, L) ids, mask and segments, audio and vision (N, T, D);
    lengths: how many tokens or frames of a clip are no padding.
    """

    name: str
    columns: dict[str, list[Any]]
    sequences: dict[str, Array]
    lengths: dict[str, list[int]]

    def __len__(self) -> int:
        return len(self.columns["id"])

    def tokens(self, index: int) -> np.ndarray:
        """(tokens,) ids of one clip."""
        return np.asarray(self.sequences["text"].row(index))[0, : self.lengths["text"][index]].astype(np.int32)

    def frames(self, modality: str, index: int) -> tuple[Frames, np.ndarray]:
        """The frames of one clip, without padding, and which of their values are no feature: (T, D) bool.

        When the frames were is not known. Those with such a value are masked.
        """
        x = np.asarray(self.sequences[modality].row(index, self.lengths[modality][index]), np.float64)
        odd = ~(np.abs(x) <= LARGEST)
        return Frames(np.full(len(x), np.nan), np.where(odd, np.nan, x), np.ones(len(x), bool)).cleaned(), odd


@dataclass(frozen=True)
class Clip:
    split: Split
    index: int  # in its split
    video_id: str
    clip_id: str

    @property
    def id(self) -> str:
        return f"{self.video_id}/{self.clip_id}"


def run(file: Path, dataset: str, told: dict[str, object]) -> None:
    """Make data/raw/<dataset> of an MMSA file and print what it holds. Raises DatasetError; then nothing is left behind.

    told: the keys of dataset.yaml that the data set's name does not tell.
    """
    target, part = paths.RAW / dataset, paths.RAW / f".{dataset}.part"
    _check(file, dataset, target)
    described = description.describe(dataset, told, "The options")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        with pickles.opened(file, part) as content:
            splits = [_split(file, name, content) for name in SPLITS]
            clips, again = _clips(file, splits)
            _write_labels(file, part / "label.csv", clips, described)
            odd = _write_features(part, clips, splits, sha256(file))
        kept = described.model_dump(mode="json", include={"language", "convention", "label_range", *told})
        (part / "dataset.yaml").write_text(yaml.safe_dump(kept, sort_keys=False))
        part.rename(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    print(_summary(dataset, splits, again))
    for modality, found in odd.items():
        print(_told(modality, found))
    print(f"import: {target} is made. Train on it with: dvc repro")


def _check(file: Path, dataset: str, target: Path) -> None:
    if not file.is_file():
        raise DatasetError(f"There is no file {file}.")
    if not folder.NAME.fullmatch(dataset):
        raise DatasetError(f"--dataset is {dataset!r}, expected letters, digits, '.', '_' or '-', such as mosi.")
    if target.exists():
        raise DatasetError(f"{target} is there already. Remove it, or choose another --dataset.")


def _split(file: Path, name: str, content: object) -> Split:
    """One split, checked: what is needed is there, as much of each field as there are ids."""
    found = content.get(name) if isinstance(content, dict) else None
    if not isinstance(found, dict):
        holds = ", ".join(map(str, content)) if isinstance(content, dict) else f"a {type(content).__name__}"
        raise DatasetError(f"{file} holds {holds}; expected a dict of train, valid and test, as MMSA reads it.")
    missing = [field for field in NEEDED if field not in found] or ["audio or vision"] * (not {*FRAMES} & found.keys())
    if missing:
        raise DatasetError(f"{file}: {name} holds {', '.join(map(str, found))}; MMSA's files have {missing[0]} too.")
    columns = {field: _column(file, name, field, found[field]) for field in found if field in COLUMNS}
    fields = {"text": "text_bert", **{modality: modality for modality in FRAMES}}
    sequences = {modality: found[field] for modality, field in fields.items() if field in found}
    for modality, array in sequences.items():
        if not isinstance(array, Array) or len(array.shape) != 3 or array.dtype.kind not in "biuf":
            raise DatasetError(f"{file}: {name}: {fields[modality]} is no array of numbers (clips, length, width).")
    for field, value in (columns | sequences).items():
        if len(value) != len(columns["id"]):
            raise DatasetError(f"{file}: {name} has {len(columns['id'])} ids and {len(value)} of {field}, not as many.")
    return Split(name, columns, sequences, _lengths(file, name, columns, sequences))


def _column(file: Path, split: str, field: str, values: Any) -> list[Any]:
    try:
        found = values.tolist() if isinstance(values, Array) else list(values)
        if field in NUMBERS:
            return [int(value) if field.endswith("_lengths") else float(value) for value in found]
        return [_string(value) for value in found]
    except (TypeError, ValueError, OverflowError, LookupError):
        kind = "number" if field in NUMBERS else "string"
        raise DatasetError(f"{file}: {split}: {field} is no list or array of one {kind} a clip.") from None


def _string(value: object) -> str:
    """As UTF-8 can hold it: half of a surrogate pair becomes a question mark. Raises TypeError for a container."""
    if not isinstance(value, str | bytes | int | float):
        raise TypeError(type(value).__name__)
    return value.decode() if isinstance(value, bytes) else str(value).encode(errors="replace").decode()


def _lengths(
    file: Path, split: str, columns: dict[str, list[Any]], sequences: dict[str, Array]
) -> dict[str, list[int]]:
    lengths: dict[str, list[int]] = {}
    if "text" in sequences:
        lengths["text"] = [_tokens(file, split, sequences["text"].row(i)) for i in range(len(columns["id"]))]
    for modality in FRAMES:
        if modality not in sequences:
            continue
        padded = sequences[modality].shape[1]
        if f"{modality}_lengths" in columns:
            lengths[modality] = [min(max(length, 0), padded) for length in columns[f"{modality}_lengths"]]
        elif "text" in sequences and padded == sequences["text"].shape[2]:  # aligned: a frame a token
            lengths[modality] = lengths["text"]
        else:
            raise DatasetError(
                f"{file}: {split} has {padded} frames of {modality} a clip and no {modality}_lengths; expected them, or "
                "as many frames as tokens."
            )
    return lengths


def _tokens(file: Path, split: str, row: np.ndarray) -> int:
    """How many tokens a clip has. row: (3, L)"""
    count = int((row[1] > 0).sum()) if len(row) == 3 else -1
    if count < 0 or not (row[1][:count] > 0).all():
        raise DatasetError(f"{file}: {split}: text_bert is not ids, mask and segments, padded at the end.")
    return count


def _clips(file: Path, splits: list[Split]) -> tuple[list[Clip], list[str]]:
    """Every clip in order of its id, and the ids that came again, of which the first clip is kept."""
    clips: dict[str, Clip] = {}
    again = []
    for split in splits:
        for index, id in enumerate(split.columns["id"]):
            video_id, separator, clip_id = id.partition(SEPARATOR)
            if not separator:
                raise DatasetError(
                    f"{file}: {split.name}: found the id {id!r}, expected <video_id>{SEPARATOR}<clip_id>."
                )
            clip = Clip(split, index, video_id.strip(), clip_id.strip())
            if clip.id in clips:
                again.append(clip.id)
            clips.setdefault(clip.id, clip)
    return sorted(clips.values(), key=lambda clip: clip.id), again


def _write_labels(file: Path, target: Path, clips: list[Clip], described: description.Description) -> None:
    low, high = described.label_range
    found = np.array([clip.split.columns["regression_labels"][clip.index] for clip in clips])
    if (outside := found[(found < low) | (found > high)]).size:
        raise DatasetError(
            f"{file} has labels such as {outside[0]:g}, outside the range {low:g} to {high:g} of a data set of the "
            f"{described.convention} convention. Tell the range: --label-range LOW HIGH (and --neutral NUMBER, if 0 is not neutral)"
        )
    tables.write_label_csv(target, SHEET, map(_row, clips))


def _row(clip: Clip) -> dict[str, str]:
    cells = {name: clip.split.columns.get(field, []) for name, field in CELLS.items()}
    return {
        "video_id": clip.video_id,
        "clip_id": clip.clip_id,
        "text": " ".join(clip.split.columns["raw_text"][clip.index].split()),
        **{name: _cell(values[clip.index]) for name, values in cells.items() if values},
        "mode": clip.split.name,
    }


def _cell(value: str | float) -> str:
    """A number in the fewest digits that give it back in float32, the field's own; empty where it is no number."""
    if isinstance(value, str):
        return value
    return "" if np.isnan(value) else str(np.float32(value))


@dataclass
class _Odd:
    """Values that are no features: how many in each column, in how many frames and clips."""

    values: np.ndarray
    frames: int = 0
    clips: int = 0

    def count(self, odd: np.ndarray) -> None:
        """odd: (T, D) bool of one clip."""
        self.values += odd.sum(axis=0)
        self.frames += int(odd.any(axis=1).sum())
        self.clips += bool(odd.any())


def _told(modality: str, found: _Odd) -> str:
    order = [int(column) for column in np.argsort(-found.values, kind="stable") if found.values[column]]
    columns = ", ".join(f"{modality}_{column} {found.values[column]:,}" for column in order[:MOST_NAMED])
    return (
        f"import: {modality}: values that are NaN, infinite or beyond {LARGEST:g}: {int(found.values.sum()):,} in "
        f"{counted('column', len(order))} ({columns}{', …' if len(order) > MOST_NAMED else ''}). Masked for "
        f"it: {counted('frame', found.frames)} of {counted('clip', found.clips)}."
    )


def _write_features(part: Path, clips: list[Clip], splits: list[Split], sha256: str) -> dict[str, _Odd]:
    """Returns what was masked, by modality, where anything was."""
    masked = {}
    modalities = [modality for modality in tables.MODALITIES if all(modality in split.sequences for split in splits)]
    for modality in modalities:
        made = {"modality": modality, "extractor": IMPORTED, "library": "MMSA file", "asset_sha256": sha256}
        target = part / "features" / f"{modality}.parquet"
        if modality == "text":
            tables.write_groups(target, tables.TOKENS, _token_groups(clips), made)
            continue
        widths = [split.sequences[modality].shape[2] for split in splits]
        if len(set(widths)) > 1:
            raise DatasetError(f"The splits have {widths} columns of {modality}, expected one number of them.")
        aligned = all(split.lengths[modality] == split.lengths.get("text") for split in splits)
        columns = [Column(f"{modality}_{i}", "") for i in range(widths[0])]
        described = FeatureMetadata(**made, params={"aligned": aligned}, rate_hz=None, columns=columns)
        odd = _Odd(np.zeros(widths[0], np.int64))
        groups = _frame_groups(modality, clips, widths[0], odd)
        tables.write_groups(target, tables.features_schema(widths[0]), groups, described.content())
        if odd.frames:
            masked[modality] = odd
    return masked


def _token_groups(clips: list[Clip]) -> Iterator[pa.Table]:
    for start in range(0, len(clips), CHUNK):
        chunk = clips[start : start + CHUNK]
        yield tables.table_of(TokensRow, (_token_row(clip.id, clip.split.tokens(clip.index)) for clip in chunk))


def _token_row(id: str, ids: np.ndarray) -> TokensRow:
    count = len(ids)
    return TokensRow(
        id=id,
        input_ids=ids.tolist(),
        attention_mask=[1] * count,
        token_type_ids=[0] * count,
        word=[NO_WORD] * count,
        total=count,
    )


def _frame_groups(modality: str, clips: list[Clip], width: int, odd: _Odd) -> Iterator[pa.Table]:
    """Row groups of about tables.ROW_GROUP_BYTES. odd: counts what is masked."""
    rows: list[FeatureRow] = []
    size = 0
    for clip in clips:
        frames, no_features = clip.split.frames(modality, clip.index)
        odd.count(no_features)
        rows.append(FeatureRow(clip.id, "ok" if len(frames.x) else "absent", frames))
        size += frames.x.nbytes
        if size >= tables.ROW_GROUP_BYTES or len(rows) == CHUNK:
            yield tables.feature_table(rows, width)
            rows, size = [], 0
    if rows:
        yield tables.feature_table(rows, width)


def _summary(dataset: str, splits: list[Split], again: list[str]) -> str:
    counts = tuple(len(split) for split in splits)
    sizes = ", ".join(f"{split.name} {len(split)}" for split in splits)
    widths = ", ".join(
        f"{modality} {splits[0].sequences[modality].shape[2]} columns"
        for modality in FRAMES
        if modality in splits[0].sequences
    )
    lines = [f"import: {dataset}: {sum(counts)} clips ({sizes}); {widths}"]
    if expected := TABLE_2.get(dataset):
        same = f"has {', '.join(map(str, expected))}: this file is another selection"
        lines[0] += f"; Table 2 of the paper {'has the same' if counts == expected else same}"
    if again:
        lines.append(f"import: {several('clip', again)} left out, the ids being others' already: {examples(again, 5)}")
    return "\n".join(lines)
