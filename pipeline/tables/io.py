"""Reading and writing of tables: atomic, checked, and of the same bytes for the same content."""

import json
import os
import shutil
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict, cast

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import TableError
from pipeline.files import sha256

METADATA = b"rawmsa"
SHARD = "shard"  # what a shard's metadata has beside its table's
TABLE = "metadata.json"  # of a training table's folder: its metadata, and its shards in order with their sha256
HIDDEN = f".{TABLE}"  # the same while shards are written: until the last is, nobody takes them for a table
ROW_GROUP_BYTES = 1 << 20  # raw bytes: a random clip costs about a millisecond


class Shard(TypedDict):
    """What is noted of a shard: its first clip's id and its key; of a training table, beside these, which modalities have
    frames, and the moments of its training clips' frames."""

    first: str
    key: str
    frames: NotRequired[dict[str, bool]]
    moments: NotRequired[dict[str, dict[str, list[float]]]]


def sequences(arrays: Iterable[np.ndarray], width: int) -> pa.Array:
    """(T_i, width) arrays -> one list<fixed_size_list<float32>[width]> array, without a copy a frame."""
    arrays = [np.asarray(x, np.float32).reshape(-1, width) for x in arrays]
    offsets = np.cumsum([0, *(len(x) for x in arrays)], dtype=np.int32)
    flat = np.concatenate(arrays).ravel() if arrays else np.zeros(0, np.float32)
    element = pa.field("element", pa.float32(), nullable=False)
    frames = pa.FixedSizeListArray.from_arrays(pa.array(flat), type=pa.list_(element, width))
    return pa.ListArray.from_arrays(pa.array(offsets), frames, type=pa.list_(pa.list_(element, width)))


def sequence(value: pa.ListScalar) -> np.ndarray:
    """One cell of such a column (a ListScalar) as a (T, width) array, without a copy; read-only."""
    frames = value.values
    if frames is None or not len(frames):
        return np.zeros((0, value.type.value_type.list_size), np.float32)
    found: np.ndarray = frames.flatten().to_numpy(zero_copy_only=True).reshape(len(frames), -1)
    return found


def rows(schema: pa.Schema, records: Iterable[Mapping[str, object]]) -> pa.Table:
    return pa.Table.from_pylist([dict(record) for record in records], schema=schema)


def with_metadata(table: pa.Table, metadata: Mapping[str, object]) -> pa.Table:
    return table.replace_schema_metadata({METADATA: _json(metadata)})


def write(path: Path, table: pa.Table, metadata: Mapping[str, object] | None = None) -> None:
    """Parquet, atomically, the same bytes for the same content. The last column may hold frames."""
    kept = with_metadata(table, metadata or {})
    per_clip = max(kept.nbytes // max(len(kept), 1), 1)
    part = part_of(path)
    size = int(np.clip(ROW_GROUP_BYTES // per_clip, 1, 4096))
    pq.write_table(kept, part, row_group_size=size, **_options(kept.schema))
    part.replace(path)


def write_groups(path: Path, schema: pa.Schema, groups: Iterable[pa.Table], metadata: Mapping[str, object]) -> None:
    """The same as `write`, of tables that come one after the other: each is a row group (ROW_GROUP_BYTES is a good size)."""
    part = part_of(path)
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


def shard(file: Path) -> Shard:
    """What is noted of a shard. Raises TableError."""
    noted = _metadata(file).get(SHARD)
    if noted is None:
        raise TableError(f"{file} is no shard of this version. Delete its folder, then: dvc repro")
    return cast(Shard, noted)


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


def write_arrow(path: Path, table: pa.Table, metadata: Mapping[str, object]) -> None:
    """Arrow IPC, uncompressed, one record batch, atomically."""
    kept = with_metadata(table, metadata).combine_chunks()
    part = part_of(path)
    with pa.OSFile(str(part), "wb") as file, pa.ipc.new_file(file, kept.schema) as writer:
        writer.write_table(kept)
    part.replace(path)


def write_table(folder: Path, shards: Iterable[pa.Table], metadata: Mapping[str, object]) -> None:
    """A training table of these shards, one after the other, so that no two are held at once."""
    names = []
    for number, table in enumerate(shards):
        names.append(f"{number:05d}")
        write_arrow(folder / f"{names[-1]}.arrow", table, {})
    describe_table(folder, {name: sha256(folder / f"{name}.arrow") for name in names}, metadata)


def describe_table(folder: Path, shards: Mapping[str, str], metadata: Mapping[str, object]) -> None:
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


def write_json(path: Path, content: object) -> None:
    part = part_of(path)
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


def _options(schema: pa.Schema) -> dict[str, object]:
    """How every Parquet file is written."""
    return {
        "compression": "zstd",
        "compression_level": 1,
        "use_dictionary": [field.name for field in schema if pa.types.is_string(field.type)],
        "use_byte_stream_split": _float_leaves(schema),
        "write_page_checksum": True,
    }


def part_of(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.name}.{os.getpid()}.part")


def _json(content: Mapping[str, object]) -> bytes:
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
