"""features/ in a data set's folder: frames and token ids that somebody else extracted (`rawmsa import` writes them)."""

from dataclasses import dataclass
from hashlib import sha256 as sha256_of
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline import paths, tables
from pipeline.errors import DatasetError, TableError
from pipeline.files import sha256
from pipeline.tables import FeatureMetadata

BATCH = 256  # clips at a time


@dataclass(frozen=True)
class Imported:
    """The features that a data set comes with. A clip without frames lacks the modality."""

    sha256: str  # of all its files
    frames: dict[str, dict[str, int]]  # how many, by modality and clip id

    @property
    def ids(self) -> set[str]:
        """The clips that any file has."""
        return set().union(*self.frames.values())


def read(folder: Path) -> Imported | None:
    """None where a data set brings no features. Raises DatasetError where a file is damaged."""
    files = {modality: paths.imported(modality, folder.name, folder.parent) for modality in tables.MODALITIES}
    there = {modality: file for modality, file in files.items() if file.is_file()}
    if not there:
        return None
    hashes = [sha256(file) for file in there.values()]
    try:
        frames = {modality: _frames(modality, file) for modality, file in there.items()}
    except (TableError, KeyError, pa.ArrowException):
        raise DatasetError(f"{folder}/features is damaged. Remove {folder} and import it again.") from None
    return Imported(sha256_of("".join(hashes).encode()).hexdigest(), frames)


def _frames(modality: str, file: Path) -> dict[str, int]:
    if modality == "text":
        ids = tables.read(file, columns=["id"])["id"].to_pylist()
        counts = [1] * len(ids)
    else:
        table = tables.read(file, columns=["id", "n_frames"])
        ids, counts = table["id"].to_pylist(), table["n_frames"].to_pylist()
        _check_frames(file, len(tables.read_metadata(FeatureMetadata, file).columns))
    if again := sorted({id for id in ids if ids.count(id) > 1}) if len(set(ids)) < len(ids) else []:
        raise DatasetError(
            f"{file}: the clip {again[0]} has several rows, expected one for each clip. Make the file again."
        )
    return dict(zip(ids, counts, strict=True))


def _check_frames(file: Path, width: int) -> None:
    """Raises DatasetError where frames have other numbers of values than there are columns, or a clip fewer than it says."""
    first: dict[int, str] = {}  # the first clip with frames of so many values
    with pq.ParquetFile(file) as opened:
        if lacking := [name for name in tables.features_schema(width).names if name not in opened.schema_arrow.names]:
            raise DatasetError(f"{file} lacks the column {lacking[0]}. Make the file again.")
        for batch in opened.iter_batches(batch_size=BATCH, columns=["id", "n_frames", "x"]):
            ids, frames = batch["id"].to_pylist(), batch["x"]
            lengths = pc.fill_null(pc.list_value_length(frames), 0).to_pylist()
            if wrong := [
                id for id, said, is_ in zip(ids, batch["n_frames"].to_pylist(), lengths, strict=True) if said != is_
            ]:
                raise DatasetError(
                    f"{file}: the clip {wrong[0]} has another number of frames than n_frames says. Make it again."
                )
            owner = [id for id, length in zip(ids, lengths, strict=True) for _ in range(length)]
            for id, values in zip(owner, pc.list_value_length(pc.list_flatten(frames)).to_pylist(), strict=True):
                first.setdefault(values or 0, id)
    if first.keys() - {width}:
        found = ", ".join(f"{values} numbers (first in {id})" for values, id in sorted(first.items()))
        raise DatasetError(
            f"{file}: frames have {found}, expected {width} in each, as many as its metadata name columns. Make the file again."
        )
