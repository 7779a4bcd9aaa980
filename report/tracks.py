"""One clip's tracks: what the stages made of it, on one time axis, and its sound read anew. Nothing here draws."""

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline import media, paths, tables
from pipeline.assemble import align
from pipeline.errors import MediaError, RawmsaError
from pipeline.tables import ClipRow, Column, FeatureMetadata, Word

SEMITONES = "F0semitoneFrom27.5Hz_sma3nz"
VOICING = (SEMITONES, "VUV")  # columns above 0 where the voice sounds
LIPS = (13, 14)  # the middle of the inner upper and of the inner lower lip on MediaPipe's mesh
NEAR = 5  # names that an error offers


@dataclass(frozen=True)
class Modality:
    """A clip's frames of one feature file."""

    extractor: str
    columns: list[Column]
    times: np.ndarray  # (T,) seconds
    x: np.ndarray  # (T, D), NaN where a frame has nothing to say

    def column(self, name: str) -> np.ndarray | None:
        """(T,), NaN where a column of voiced speech is 0; None: no such column."""
        names = [column.name for column in self.columns]
        if name not in names:
            return None
        index = names.index(name)
        values = self.x[:, index]
        return np.where(values == 0, np.nan, values) if self.columns[index].kind == "voiced" else values

    @property
    def there(self) -> np.ndarray:
        """(T,) bool: the frames that have something to say."""
        return np.isfinite(self.x).all(axis=1)

    def block(self, prefix: str) -> np.ndarray:
        """(T, n): the columns <prefix>0, <prefix>1, …"""
        return self.x[:, [index for index, column in enumerate(self.columns) if column.name.startswith(prefix)]]

    @property
    def voiced(self) -> np.ndarray | None:
        """(T,) bool; None: no column tells."""
        found = next((index for index, column in enumerate(self.columns) if column.name in VOICING), None)
        return None if found is None else self.x[:, found] > 0

    @property
    def f0(self) -> np.ndarray | None:
        """(T,) Hz, in unvoiced frames whatever the extractor gives there (NaN: nothing); None: no column tells."""
        if (hertz := self.column("F0")) is not None:
            return hertz
        semitones = self.column(SEMITONES)
        return None if semitones is None else 27.5 * 2 ** (semitones / 12)

    @property
    def mouth(self) -> np.ndarray | None:
        """(T,): how far the lips are apart, in distances between the outer eye corners; None: no landmarks."""
        upper, lower = (self.block(f"point_{point}_") for point in LIPS)
        return np.linalg.norm(upper - lower, axis=1) if upper.shape[1] else None


@dataclass(frozen=True)
class Tracks:
    """All that can be drawn of one clip."""

    name: str  # dataset/id
    seconds: float
    words: list[Word]  # of its transcript
    audio: Modality | None
    vision: Modality | None
    sound: np.ndarray  # (n,) at 16 kHz; empty: not at hand
    gcis: np.ndarray  # (G,) seconds: glottal closure instants; empty: none, or no sound
    notes: list[str]  # what is not there, and why

    @property
    def timed(self) -> bool:
        """Whether the times of the words are known."""
        return align.timed(self.words)


def find(name: str) -> ClipRow:
    """The row of clips.parquet with this id, or this dataset/id. Raises RawmsaError where none or several have it."""
    rows = tables.read_rows(ClipRow, paths.CLIPS)
    found = [row for row in rows if name == _name(row)] or [row for row in rows if name == row.id]
    if len(found) == 1:
        return found[0]
    names = [_name(row) for row in rows]
    if found:
        raise RawmsaError(
            f"{len(found)} clips have the id {name}, expected one. Name its data set too: {', '.join(map(_name, found))}"
        )
    near = [_name(row) for row in rows if name in _name(row)] or get_close_matches(name, names, NEAR, 0.4) or names
    raise RawmsaError(
        f"There is no clip {name}: {paths.CLIPS} has {len(rows):,} clips, "
        f"such as {', '.join(near[:NEAR]) or 'none'}. Name one of these, as dataset/id or by its id alone; "
        "a new video is there after: dvc repro"
    )


def read(clip: ClipRow) -> Tracks:
    """The tracks of a row of clips.parquet."""
    notes: list[str] = []
    audio, vision = (_modality(name, clip, notes) for name in ("audio", "vision"))
    sound = _sound(clip, notes)
    spoken = _row(paths.transcripts(clip.dataset), clip.id)
    words = [Word(**word) for word in spoken["words"][0].as_py()] if spoken else []
    return Tracks(_name(clip), clip.seconds or 0.0, words, audio, vision, sound, _instants(sound), notes)


def modalities(name: str, dataset: str) -> Iterator[tuple[str, Modality]]:
    """Every clip of a data set with frames that have something to say and a time, by id, a shard in memory at a time."""
    path = paths.features(name, dataset)
    for file in tables.parts(path) if path.is_dir() else ():
        shard = tables.read(file)
        metadata = tables.read_metadata(FeatureMetadata, shard)
        for index, clip in enumerate(shard["id"].to_pylist()):
            row = shard.slice(index, 1)
            if any(row["mask"][0].as_py()) and not np.isnan(row["times"][0].as_py()).any():
                yield clip, _framed(row, metadata)


def _name(clip: ClipRow) -> str:
    return f"{clip.dataset}/{clip.id}"


def _row(path: Path, clip: str) -> pa.Table | None:
    """A clip's row of a stage's file; None where it has none."""
    found = tables.read(path, clip=clip) if path.exists() else []
    return found if len(found) else None


def _modality(name: str, clip: ClipRow, notes: list[str]) -> Modality | None:
    """A clip's features; None, and a note why, where there is nothing that has a time."""
    path = paths.features(name, clip.dataset)
    found = _row(path, clip.id)
    if found is None:
        notes.append(f"no {name}: not in {path}")
        return None
    times, mask = (np.array(found[key][0].as_py()) for key in ("times", "mask"))
    if not mask.any():
        told = (found["reason"][0].as_py(), *found["flags"][0].as_py(), found["status"][0].as_py())
        notes.append(f"no {name}: {next(filter(None, told))}")
        return None
    if np.isnan(times).any():
        notes.append(f"no {name}: imported features, whose times nobody knows")
        return None
    return _framed(found, tables.read_metadata(FeatureMetadata, found))


def _framed(row: pa.Table, metadata: FeatureMetadata) -> Modality:
    """Of a table of one row, some of whose frames have something to say."""
    times, mask = (np.array(row[key][0].as_py()) for key in ("times", "mask"))
    x = np.where(mask[:, None], tables.sequence(row["x"][0]), np.nan)
    return Modality(metadata.extractor, metadata.columns, times, x)


def _sound(clip: ClipRow, notes: list[str]) -> np.ndarray:
    try:
        if clip.has_audio and clip.path is not None:
            return media.sound(Path(clip.path), clip.start, clip.end)
    except MediaError as error:
        notes.append(f"no waveform: {error}")
    return np.zeros(0, np.float32)


def _instants(sound: np.ndarray) -> np.ndarray:
    """Glottal closure instants in seconds; none in a sound too short for a pitch."""
    if not len(sound):
        return np.zeros(0)
    from pipeline.audio.covarep import SHORTEST, analysis  # numba, which takes a second to load

    return analysis.analyse(sound).gcis / media.SAMPLE_RATE if len(sound) >= SHORTEST else np.zeros(0)
