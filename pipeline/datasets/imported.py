"""features/ in a data set's folder: frames and token ids that somebody else extracted (`rawmsa import` writes them)."""

from dataclasses import dataclass
from hashlib import sha256 as sha256_of
from pathlib import Path

import pyarrow as pa

from pipeline import paths, tables
from pipeline.errors import DatasetError, TableError
from pipeline.files import sha256


@dataclass(frozen=True)
class Imported:
    """The features that a data set comes with. A clip without frames lacks the modality."""

    sha256: str  # of all its files
    frames: dict[str, dict[str, int]]  # how many, by modality and clip id

    @property
    def ids(self) -> set[str]:
        """The clips that every file has."""
        return set.intersection(*(set(frames) for frames in self.frames.values()))


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
        return dict.fromkeys(tables.read(file, columns=["id"])["id"].to_pylist(), 1)
    table = tables.read(file, columns=["id", "n_frames"])
    return dict(zip(table["id"].to_pylist(), table["n_frames"].to_pylist(), strict=True))
