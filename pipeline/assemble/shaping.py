"""An extractor's frames -> those of a training table: what needs no statistics, frame by frame or token by token."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.assemble import align
from pipeline.flags import Flag, Flagged
from pipeline.tables.about import FeatureMetadata, Policy
from pipeline.tables.frames import Column, Frames
from pipeline.tables.records import Tokens

CUT = {"audio": Flag.SOUND_CUT, "vision": Flag.PICTURE_CUT}
CONSTANT = 1e-6  # a length or a standard deviation below which nothing is said


@dataclass(frozen=True)
class Spoken:
    """What a clip says, for alignment: when its words are, and the word of each token."""

    said: list[align.Span]
    word: list[int]

    @property
    def ended(self) -> float | None:
        """Seconds at which the last word with a token ends; None where every word has one."""
        last = max(self.word, default=-1)
        return self.said[last][1] if 0 <= last < len(self.said) - 1 else None


@dataclass(frozen=True)
class Shaped:
    """A clip's frames as a training table has them, (T', D') float32, and what of the clip is not in them."""

    x: np.ndarray
    flags: tuple[Flagged, ...] = ()


def shaped(frames: Frames, modality: str, made: FeatureMetadata, policy: Policy, spoken: Spoken) -> Shaped:
    """The frames of an extractor as `policy` has them in a training table. made: by which extractor; spoken: read where the
    policy aligns. What is cut at the end is flagged, in seconds."""
    step = float(frames.times[-1] - frames.times[0]) / (len(frames.times) - 1) if len(frames.times) > 1 else 0.0
    if policy.aligned and not made.imported:
        ended = spoken.ended
        x, used = shape_aligned(frames, made.columns, spoken), np.inf if ended is None else ended
    else:
        pool, most = policy.pool[modality], policy.max_frames[modality]
        x = shape(frames.x, frames.mask, made.columns, pool, most)
        used = np.inf if most is None else pool * most * step
    whole = len(frames.times) * step
    return Shaped(x, (Flagged.cut(CUT[modality], used, whole),) if used < whole else ())


def cut(tokens: Tokens) -> tuple[Flagged, ...]:
    """A flag where a text has more tokens than are used."""
    used = len(tokens.input_ids)
    return (Flagged.cut(Flag.TEXT_CUT, used, tokens.total),) if used < tokens.total else ()


def shape(x: np.ndarray, mask: np.ndarray, columns: Sequence[Column], pool: int, most: int | None) -> np.ndarray:
    """(T, D) frames of an extractor -> (T', D') frames of a training table, NaN where nothing is there.

    T' = min(ceil(T / pool), most): the mean over each `pool` frames of what is there, then the head (None: all).
    Raises nothing: a clip with no frames, or with no frame that says anything, gives (0, D').
    """
    return _there(_pool(_grown(x, mask, columns), pool)[:most])


def shape_aligned(frames: Frames, columns: Sequence[Column], spoken: Spoken) -> np.ndarray:
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


def unscaled(columns: Sequence[Column]) -> np.ndarray:
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
