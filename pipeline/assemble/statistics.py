"""Mean and standard deviation of the train split's frames, from the moments of every shard."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.assemble.shaping import CONSTANT, unscaled
from pipeline.tables import Column, Statistics


@dataclass(frozen=True)
class Moments:
    """Of each column of some frames, NaN left out: how many values, their mean, the sum of squares about it."""

    count: np.ndarray
    mean: np.ndarray
    squares: np.ndarray

    def content(self) -> dict[str, list[float]]:
        """As JSON holds it."""
        return {name: value.tolist() for name, value in vars(self).items()}

    @classmethod
    def of(cls, content: Mapping[str, list[float]]) -> "Moments":
        """The inverse of `content`."""
        return cls(**{name: np.array(value) for name, value in content.items()})


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


def scale(of: Moments, columns: Sequence[Column]) -> Statistics:
    """Mean and standard deviation of each column of shaped frames.

    A column that never varies is only centred. Flags and the sines and cosines of angles keep their
    scale: mean 0, standard deviation 1.
    """
    left = unscaled(columns)
    deviation = np.sqrt(of.squares / np.maximum(of.count, 1))
    found = np.where((deviation > CONSTANT) & ~left, deviation, 1.0)
    return Statistics(mean=np.where(left, 0.0, of.mean).tolist(), std=found.tolist())
