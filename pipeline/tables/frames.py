"""What an extractor is given (Clip) and what it yields (Frames, whose columns are Columns)."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline.flags import Flag, Flagged


@dataclass(frozen=True)
class Clip:
    """What an extractor needs of a row of clips.parquet."""

    path: Path
    start: float | None  # seconds of the file
    end: float | None
    seconds: float  # the clip's length


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
    flags: what is odd about the clip.
    """

    times: np.ndarray
    x: np.ndarray
    mask: np.ndarray
    flags: tuple[Flagged, ...] = ()

    @classmethod
    def none(cls, width: int, *flags: Flagged) -> "Frames":
        """A clip that lacks this modality."""
        return cls(np.zeros(0), np.zeros((0, width), np.float32), np.zeros(0, bool), flags)

    def cleaned(self) -> "Frames":
        """Frames with a value that is not finite in float32 masked, and the clip flagged; float32, 0 where masked."""
        with np.errstate(over="ignore"):
            x = self.x.astype(np.float32)
        finite = np.isfinite(x).all(axis=1)
        mask = self.mask & finite
        flags = self.flags if finite.all() else (*self.flags, Flagged(Flag.FRAMES_NOT_FINITE))
        return Frames(self.times, np.where(mask[:, None], x, np.float32(0)), mask, flags)

    def save(self, file: Path) -> None:
        """To an entry of the cache."""
        flags = np.array([str(flagged) for flagged in self.flags], dtype=str)
        with file.open("wb") as opened:
            np.savez(opened, times=self.times, x=self.x, mask=self.mask, flags=flags)

    @classmethod
    def load(cls, file: Path) -> "Frames":
        """What `save` wrote."""
        with np.load(file) as entry:
            return cls(entry["times"], entry["x"], entry["mask"], tuple(map(Flagged.parse, entry["flags"].tolist())))
