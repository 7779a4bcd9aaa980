"""The schemas: THE seam between the rooms. Everything a stage hands to another is one of these tables.

Features are Parquet (page checksums, no dictionary on floats, byte-stream-split), the training table
is uncompressed Arrow IPC, so that training maps it instead of reading it. What is not a row (column
names, rate, extractor and its params) is JSON in the schema's metadata under the key `rawmsa`; it
holds nothing that differs between two equal runs, so equal content gives equal bytes.

Frames and training tables are folders of shards (pipeline/shards.py), which every reader here takes for one table. A
shard's metadata has `shard`: its first clip and the key of all that decides its content.
"""

import csv
import json
import os
import re
import shutil
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import assets
from pipeline.errors import TableError

MODALITIES = ("text", "audio", "vision")
UNIMODAL = {"text": "label_T", "audio": "label_A", "vision": "label_V"}  # the columns of the human unimodal labels
SPLITS = ("train", "valid", "test")
METADATA = b"rawmsa"
SHARD = "shard"  # what a shard's metadata has beside its table's
TABLE = "metadata.json"  # of a training table's folder: its metadata, and its shards in order with their sha256
HIDDEN = f".{TABLE}"  # the same while shards are written: until the last is, nobody takes them for a table
IMPORTED = "imported"  # the extractor of features that a data set brings
FORMULA = re.compile(r"\s*[=+\-@]|[\t\r\n]")
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)
ROW_GROUP_BYTES = 1 << 20  # raw bytes: a random clip costs about a millisecond

CLIPS = pa.schema(
    [
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("id", pa.string(), nullable=False),  # video_id/clip_id, unique in its data set
        pa.field("video_id", pa.string(), nullable=False),
        pa.field("clip_id", pa.string(), nullable=False),
        pa.field("path", pa.string()),  # below the project's folder; null: a row of text alone
        pa.field("sha256", pa.string()),  # of the file
        pa.field("start", pa.float64()),  # seconds; null: from the file's start
        pa.field("end", pa.float64()),  # seconds; null: to its end
        pa.field("seconds", pa.float64()),  # the clip's length
        pa.field("has_audio", pa.bool_(), nullable=False),
        pa.field("has_vision", pa.bool_(), nullable=False),
        pa.field("fps", pa.float64()),
        pa.field("width", pa.int32()),  # pixels as shown, after rotation
        pa.field("height", pa.int32()),
        pa.field("sound_rate", pa.int32()),  # Hz in the file
        pa.field("sound_offset", pa.float64()),  # seconds from the first frame to the first sound
        pa.field("frames_declared", pa.int64()),
        pa.field("frames_decoded", pa.int64()),
        pa.field("corrupt_share", pa.float64()),  # of the frames: decoded with errors, or not at all
        pa.field(
            "gap", pa.float64()
        ),  # seconds that the longest step between two frames, or blocks of sound, is too long
        pa.field("status", pa.string(), nullable=False),  # ok, degraded (its flags say how); what failed is in REFUSED
        pa.field("flags", pa.list_(pa.string()), nullable=False),  # what is odd about it, in words
    ]
)
CUE = pa.struct([("start", pa.float64()), ("end", pa.float64()), ("text", pa.string())])
TEXTS = pa.schema(
    [
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("language", pa.string(), nullable=False),  # en, zh
        pa.field("source", pa.string()),  # label, sidecar; null: nobody wrote it down
        pa.field("text", pa.string()),  # as found
        pa.field("cues", pa.list_(CUE), nullable=False),  # a sidecar's times, in seconds of the clip
    ]
)
LABELS = pa.schema(
    [
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("split", pa.string()),  # train, valid, test; null where the data set has no labels
        pa.field("label", pa.float64()),  # the m-label
        pa.field("label_T", pa.float64()),  # human unimodal labels, where there are any
        pa.field("label_A", pa.float64()),
        pa.field("label_V", pa.float64()),
        pa.field("annotation", pa.string()),
    ]
)
REFUSED = pa.schema(
    [
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("file", pa.string(), nullable=False),
        pa.field("row", pa.int32()),  # line of label.csv, its header being line 1
        pa.field("id", pa.string()),
        pa.field("reason", pa.string(), nullable=False),  # a code to count by
        pa.field("message", pa.string(), nullable=False),  # found, expected, what to do
    ]
)
WORD = pa.struct(
    [
        ("word", pa.string()),  # normalised
        ("start", pa.float64()),  # seconds of the clip; null: no times asked for or known
        ("end", pa.float64()),
        ("probability", pa.float64()),  # the recogniser's; null: it did not hear this word
        ("interpolated", pa.bool_()),  # times drawn from the neighbours'
    ]
)
TRANSCRIPTS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("text", pa.string(), nullable=False),  # normalised; empty: nothing was said or known
        pa.field("spoken", pa.string(), nullable=False),  # as found or heard
        pa.field("source", pa.string(), nullable=False),  # label, sidecar, recogniser, none
        pa.field("model", pa.string()),  # the recogniser, where it was asked
        pa.field("confidence", pa.float64()),  # mean probability of its words
        pa.field("no_speech", pa.float64()),  # its probability that nobody speaks
        pa.field("words", pa.list_(WORD), nullable=False),
        pa.field("flags", pa.list_(pa.string()), nullable=False),
    ]
)
TOKENS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("input_ids", pa.list_(pa.int32()), nullable=False),  # with [CLS], [SEP]; empty: no text
        pa.field("attention_mask", pa.list_(pa.int8()), nullable=False),
        pa.field("token_type_ids", pa.list_(pa.int8()), nullable=False),  # segments: 0
        pa.field("word", pa.list_(pa.int32()), nullable=False),  # index into words; -1: [CLS], [SEP], or not known
    ]
)
ULABELS = pa.schema(
    [
        pa.field("epoch", pa.int32(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        *(pa.field(modality, pa.float32()) for modality in MODALITIES),  # null: absent, or no such task
        # What made them in this epoch; null in the first, which makes none: the value before the momentum, then by
        # branch alpha and the distances to the centres of the positive and the negative class.
        *(pa.field(f"raw_{modality}", pa.float32()) for modality in MODALITIES),
        *(
            pa.field(f"{noted}_{branch}", pa.float32())
            for noted in ("alpha", "positive", "negative")
            for branch in ("fusion", *MODALITIES)
        ),
    ]
)
CONTRIBUTIONS = pa.schema(  # what the test predictions become without a modality
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("modality", pa.string(), nullable=False),
        pa.field("masked", pa.float32(), nullable=False),  # the modality is absent
        pa.field("shuffled", pa.float32(), nullable=False),  # it is another test clip's
    ]
)
RUN_PREDICTIONS = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("split", pa.string()),  # null: a clip without a label
        pa.field("fusion", pa.float32(), nullable=False),  # the prediction
        *(pa.field(modality, pa.float32()) for modality in MODALITIES),  # null: absent, or no such head
    ]
)
PREDICTIONS = pa.schema(
    [
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("network", pa.string(), nullable=False),
        pa.field("seed", pa.int32(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("split", pa.string()),
        pa.field("label", pa.float64()),
        pa.field("prediction", pa.float32(), nullable=False),
        *(pa.field(modality, pa.float32()) for modality in MODALITIES),
        pa.field("trained_on", pa.string(), nullable=False),  # the data set whose run predicts
    ]
)


@dataclass(frozen=True)
class Column:
    """One feature a frame. `kind` tells assemble how it may be scaled:

    value: standardised; voiced: likewise, 0 meaning "none" (unvoiced); frequency: Hz, its logarithm
    standardised, 0 meaning "none"; flag: left as it is; angle: radians, replaced by its sine and cosine.
    """

    name: str
    unit: str
    kind: str = "value"


@dataclass(frozen=True)
class Frames:
    """What an extractor yields for one clip.

    times: (T,) seconds of the clip, rising, NaN where they are not known (imported features); x: (T, D) float32, finite where mask holds;
    mask: (T,) bool, False where the frame is there but has nothing to say (no face);
    flags: what is odd about the clip, in words.
    """

    times: np.ndarray
    x: np.ndarray
    mask: np.ndarray
    flags: tuple[str, ...] = ()

    @classmethod
    def none(cls, width: int, *flags: str) -> "Frames":
        """A clip that lacks this modality."""
        return cls(np.zeros(0), np.zeros((0, width), np.float32), np.zeros(0, bool), flags)

    def cleaned(self) -> "Frames":
        """Frames with a value that is not finite in float32 masked, and the clip flagged; float32, 0 where masked."""
        with np.errstate(over="ignore"):
            x = self.x.astype(np.float32)
        finite = np.isfinite(x).all(axis=1)
        mask = self.mask & finite
        flags = self.flags if finite.all() else (*self.flags, "frames that are not finite")
        return Frames(self.times, np.where(mask[:, None], x, np.float32(0)), mask, flags)


def features_schema(width: int) -> pa.Schema:
    """Acoustic or landmark frames, `width` columns, one row a clip."""
    frame = pa.list_(pa.field("element", pa.float32(), nullable=False), width)
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("status", pa.string(), nullable=False),  # ok, absent (no such track), failed
            pa.field("reason", pa.string()),  # why it failed
            pa.field("flags", pa.list_(pa.string()), nullable=False),
            pa.field("n_frames", pa.int32(), nullable=False),
            pa.field("times", pa.list_(pa.float64()), nullable=False),
            pa.field("mask", pa.list_(pa.bool_()), nullable=False),
            pa.field("x", pa.list_(frame), nullable=False),  # (n_frames, width)
        ]
    )


def training_schema(widths: Mapping[str, int]) -> pa.Schema:
    """The training table. A modality of width 0 (the whole data set lacks it) has no column.

    NaN in a frame means "not there" (no face, no pitch): the network sees 0, the mean, in its place.
    The metadata hold: dataset, convention, label_range, language, encoder, synthetic,
    columns {modality: [names]}, statistics {modality: {mean, std}} or null where nothing is labelled,
    extraction {modality: the feature file's metadata}, policy (assemble's params).
    """
    sequences = [
        pa.field(modality, pa.list_(pa.list_(pa.field("element", pa.float32(), nullable=False), width)), nullable=False)
        for modality, width in widths.items()
        if width
    ]
    return pa.schema(
        [
            pa.field("id", pa.string(), nullable=False),
            pa.field("video_id", pa.string(), nullable=False),
            pa.field("split", pa.string()),  # null: a clip without a label
            *(pa.field(name, pa.float32()) for name in ("label", "label_T", "label_A", "label_V")),
            pa.field("transcript", pa.string(), nullable=False),
            pa.field("input_ids", pa.list_(pa.int32()), nullable=False),  # empty: the clip has no text
            *sequences,  # no frames: the clip lacks the modality
        ]
    )


def sequences(arrays: Iterable[np.ndarray], width: int) -> pa.Array:
    """(T_i, width) arrays -> one list<fixed_size_list<float32>[width]> array, without a copy a frame."""
    arrays = [np.asarray(x, np.float32).reshape(-1, width) for x in arrays]
    offsets = np.cumsum([0, *(len(x) for x in arrays)], dtype=np.int32)
    flat = np.concatenate(arrays).ravel() if arrays else np.zeros(0, np.float32)
    element = pa.field("element", pa.float32(), nullable=False)
    frames = pa.FixedSizeListArray.from_arrays(pa.array(flat), type=pa.list_(element, width))
    return pa.ListArray.from_arrays(pa.array(offsets), frames, type=pa.list_(pa.list_(element, width)))


def sequence(value: Any) -> np.ndarray:
    """One cell of such a column (a ListScalar) as a (T, width) array, without a copy; read-only."""
    frames = value.values
    if frames is None or not len(frames):
        return np.zeros((0, value.type.value_type.list_size), np.float32)
    return frames.flatten().to_numpy(zero_copy_only=True).reshape(len(frames), -1)


def rows(schema: pa.Schema, records: Iterable[Mapping[str, Any]]) -> pa.Table:
    return pa.Table.from_pylist([dict(record) for record in records], schema=schema)


def with_metadata(table: pa.Table, metadata: Mapping[str, Any]) -> pa.Table:
    return table.replace_schema_metadata({METADATA: _json(metadata)})


def write(path: Path, table: pa.Table, metadata: Mapping[str, Any] | None = None) -> None:
    """Parquet, atomically, the same bytes for the same content. The last column may hold frames."""
    kept = with_metadata(table, metadata or {})
    per_clip = max(kept.nbytes // max(len(kept), 1), 1)
    part = _part(path)
    size = int(np.clip(ROW_GROUP_BYTES // per_clip, 1, 4096))
    pq.write_table(kept, part, row_group_size=size, **_options(kept.schema))
    part.replace(path)


def write_groups(path: Path, schema: pa.Schema, groups: Iterable[pa.Table], metadata: Mapping[str, Any]) -> None:
    """The same as `write`, of tables that come one after the other: each is a row group (ROW_GROUP_BYTES is a good size)."""
    part = _part(path)
    with pq.ParquetWriter(part, schema.with_metadata({METADATA: _json(metadata)}), **_options(schema)) as writer:
        for group in groups:
            writer.write_table(group.cast(schema), row_group_size=max(len(group), 1))
    part.replace(path)


def read_groups(path: Path) -> Iterator[pa.Table]:
    """A Parquet table, row group by row group, every page's checksum verified. Raises TableError."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            for index in range(file.num_row_groups):
                yield file.read_row_group(index)
    except (OSError, ValueError) as error:
        raise TableError(f"{path} is damaged or not there ({error}). Make it again.") from None


def read(path: Path, columns: list[str] | None = None, clip: str | None = None) -> pa.Table:
    """A Parquet table, every page's checksum verified; of one clip alone where its id is given. Raises TableError."""
    if not path.is_dir():
        return _read(path, columns, clip)
    files = parts(path)
    if clip is not None:
        files = files[max(bisect_right(files, clip, key=_first) - 1, 0) :][:1]
    return with_metadata(pa.concat_tables(_read(file, columns, clip) for file in files), metadata(path))


def _read(file: Path, columns: list[str] | None, clip: str | None) -> pa.Table:
    if not file.is_file():
        raise TableError(f"{file} is not there. Make it with: dvc repro")
    try:
        if clip is None:  # pq.read_table imports a third of a second of other formats
            with pq.ParquetFile(file, page_checksum_verification=True) as opened:
                return opened.read(columns=columns)
        only = [("id", "=", clip)]  # row groups without it are not read
        return pq.read_table(file, columns=columns, filters=only, page_checksum_verification=True)
    except (OSError, ValueError) as error:  # ArrowInvalid is a ValueError, as is a name that is not UTF-8
        raise TableError(f"{file} is damaged ({error}). Delete it, then: dvc repro") from None


def parts(folder: Path) -> list[Path]:
    """The Parquet shards of a data set, in order of their clips. Raises TableError where there are none."""
    files = sorted(folder.glob("*.parquet"), key=_first)
    if not files:
        raise TableError(f"{folder} holds no features. Make them with: dvc repro")
    return files


def _first(file: Path) -> str:
    return str(shard(file)["first"])


def shard(file: Path) -> dict[str, Any]:
    """What is noted of a shard: `first`, its first clip's id, its `key`, and what else its writer noted. Raises TableError."""
    noted = _metadata(file).get(SHARD)
    if noted is None:
        raise TableError(f"{file} is no shard of this version. Delete its folder, then: dvc repro")
    return dict(noted)


def whole(file: Path, key: str) -> bool:
    """Whether this Parquet shard is there, of this key, and every page of it as it was written."""
    try:
        return file.is_file() and shard(file)["key"] == key and sum(map(len, read_groups(file))) >= 0
    except TableError:
        return False


def metadata(source: Path | pa.Table) -> dict[str, Any]:
    """The JSON metadata of a table, of its Parquet or Arrow file, or of its folder of shards. Raises TableError."""
    if isinstance(source, pa.Table):
        return dict(json.loads(source.schema.metadata[METADATA]))
    if not source.is_dir():
        return _metadata(source)
    if (source / TABLE).is_file():
        return dict(read_json(source / TABLE)["metadata"])
    return {key: value for key, value in _metadata(parts(source)[0]).items() if key != SHARD}


def _metadata(file: Path) -> dict[str, Any]:
    if file.suffix == ".arrow":
        return metadata(_mapped(file))
    if not file.is_file():
        raise TableError(f"{file} is not there. Make it with: dvc repro")
    try:
        return dict(json.loads(pq.read_schema(file).metadata[METADATA]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TableError(f"{file} is damaged ({error}). Delete it, then: dvc repro") from None


def write_arrow(path: Path, table: pa.Table, metadata: Mapping[str, Any]) -> None:
    """Arrow IPC, uncompressed, one record batch, atomically."""
    kept = with_metadata(table, metadata).combine_chunks()
    part = _part(path)
    with pa.OSFile(str(part), "wb") as file, pa.ipc.new_file(file, kept.schema) as writer:
        writer.write_table(kept)
    part.replace(path)


def write_table(folder: Path, shards: Iterable[pa.Table], metadata: Mapping[str, Any]) -> None:
    """A training table of these shards, one after the other, so that no two are held at once."""
    names = []
    for number, table in enumerate(shards):
        names.append(f"{number:05d}")
        write_arrow(folder / f"{names[-1]}.arrow", table, {})
    describe_table(folder, {name: assets.sha256(folder / f"{name}.arrow") for name in names}, metadata)


def describe_table(folder: Path, shards: Mapping[str, str], metadata: Mapping[str, Any]) -> None:
    """Say which shards (name and sha256, in order) make a training table, and what holds for all of it.

    What is no longer of it is removed.
    """
    write_json(folder / TABLE, {"metadata": metadata, "shards": shards})
    keep_only(folder, [TABLE, *(f"{name}.arrow" for name in shards)])


def hide_table(folder: Path) -> None:
    """Shards are about to be written: a reader now would find new ones beside old ones."""
    if (folder / TABLE).is_file():
        (folder / TABLE).replace(folder / HIDDEN)


def read_arrow(path: Path) -> pa.Table:
    """A training table or an Arrow file, memory-mapped: costs no memory until a row is looked at. Raises TableError.

    A modality that no clip has is no column of a training table.
    """
    if not path.is_dir():
        return _mapped(path)
    if not (path / TABLE).is_file():
        raise TableError(f"{path} is no whole training table. Make it with: dvc repro assemble")
    described = read_json(path / TABLE)
    table = pa.concat_tables(_mapped(path / f"{name}.arrow") for name in described["shards"])
    columns = described["metadata"]["columns"]
    without = [name for name in columns if not columns[name] and name in table.column_names]
    return with_metadata(table.drop_columns(without), described["metadata"])


def _mapped(file: Path) -> pa.Table:
    if not file.is_file():
        raise TableError(f"{file} is not there. Make it with: dvc repro assemble")
    try:
        return pa.ipc.open_file(pa.memory_map(str(file))).read_all()
    except (OSError, pa.ArrowInvalid) as error:
        raise TableError(f"{file} is damaged ({error}). Delete it, then: dvc repro assemble") from None


def write_csv(path: Path, columns: Sequence[str], records: Iterable[Mapping[str, Any]]) -> None:
    """CSV with a header; a key that a record lacks, or None, is an empty cell. No cell is a spreadsheet's formula."""
    write_label_csv(path, columns, ({name: as_text(cell) for name, cell in record.items()} for record in records))


def as_text(cell: Any) -> Any:
    """A cell that spreadsheets do not take for a formula: ' before a text that begins like one; numbers stay."""
    if not isinstance(cell, str):
        return cell
    whole = cell.replace("\r", " ")  # which csv does not quote: a reader would begin a row there
    return f"'{whole}" if FORMULA.match(cell) and not NUMBER.fullmatch(cell) else whole


def write_label_csv(path: Path, columns: Sequence[str], records: Iterable[Mapping[str, Any]]) -> None:
    """The same with every cell as it is: ingest reads it back, and ids of CMU-MOSI begin with -."""
    part = _part(path)
    with part.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
    part.replace(path)


def write_json(path: Path, content: Any) -> None:
    part = _part(path)
    part.write_text(json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    part.replace(path)


def read_json(path: Path) -> Any:
    if not path.is_file():
        raise TableError(f"{path} is not there. Make it with: dvc repro")
    return json.loads(path.read_text())


def datasets_of(folder: Path) -> list[str]:
    """The data sets that have a file, or a folder of shards, in this folder. Raises TableError where it is not there."""
    if not folder.is_dir():
        raise TableError(f"{folder} is not there. Make it with: dvc repro")
    shown = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    return sorted(entry.name if entry.is_dir() else entry.stem for entry in shown)


def keep_only(folder: Path, names: Iterable[str]) -> None:
    """Remove all other files and folders in this one: of data sets or clips that are there no more, or half-written."""
    kept = set(names)
    for entry in folder.iterdir() if folder.is_dir() else ():
        if entry.name not in kept:
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def by_dataset(table: pa.Table) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Rows of an ingest table, grouped by data set, both in order of name."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in table.to_pylist():
        groups.setdefault(row["dataset"], []).append(row)
    yield from sorted(groups.items())


def _options(schema: pa.Schema) -> dict[str, Any]:
    """How every Parquet file is written."""
    return {
        "compression": "zstd",
        "compression_level": 1,
        "use_dictionary": [field.name for field in schema if pa.types.is_string(field.type)],
        "use_byte_stream_split": _float_leaves(schema),
        "write_page_checksum": True,
    }


def _part(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def _json(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, ensure_ascii=False).encode()


def _float_leaves(schema: pa.Schema) -> list[str]:
    """Parquet paths of the float columns and of floats in lists (byte-stream-split pays there)."""
    leaves = []
    for field in schema:
        kind, path = field.type, field.name
        while pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
            kind, path = kind.value_type, f"{path}.list.element"
        if pa.types.is_floating(kind):
            leaves.append(path)
    return leaves
