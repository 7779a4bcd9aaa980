"""A sound block by block, so that no step needs an array as long as the sound.

A block is 20 seconds of frames with some of the sound on either side, in which filters settle and windows end: where the
borders lie shows in no value. A sound of up to a minute is one block, as going by blocks costs a sixth more.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from pipeline.audio.covarep.layout import RATE
from pipeline.audio.covarep.residual import lp_residual
from pipeline.media import SAMPLE_RATE

HOP = SAMPLE_RATE // RATE
BLOCK = 2000  # frames
WHOLE = 6000  # frames, up to which a sound is one block
CONTEXT = 150  # frames on either side; more than the high-pass of iaif, the longest of the filters, convolves at once


@dataclass(frozen=True)
class Block:
    """x: samples, float64; times: (T,) seconds of its frames' middles; first: which frame of the sound its first is; own: those
    of its frames that no other block has; last: whether the sound ends with it."""

    x: np.ndarray
    times: np.ndarray
    first: int
    own: slice
    last: bool
    _residuals: dict[int, np.ndarray] = field(default_factory=dict)

    @property
    def frames(self) -> slice:
        """Its frames, among those of the sound."""
        return slice(self.first, self.first + len(self.times))

    @property
    def own_frames(self) -> slice:
        """Its own frames, among those of the sound."""
        return slice(self.first + self.own.start, self.first + self.own.stop)

    @property
    def start(self) -> int:
        """Its first sample, among those of the sound."""
        return self.first * HOP

    def holds(self, samples: np.ndarray) -> np.ndarray:
        """Which of these samples of it (K,) lie in its own frames; the last block's own reach to the end of the sound."""
        return (samples >= self.own.start * HOP) & ((samples < self.own.stop * HOP) | self.last)

    def residual(self, order: int) -> np.ndarray:
        """(len(x),) of the linear prediction of this order, kept."""
        if order not in self._residuals:
            self._residuals[order] = lp_residual(self.x, order)
        return self._residuals[order]


class Sound:
    """`count` samples at SAMPLE_RATE; samples(start, end) makes them; times: (T,) seconds, the middles of 10 ms."""

    def __init__(self, samples: Callable[[int, int], np.ndarray], count: int) -> None:
        self.samples, self.count = samples, count
        self.times = _middles(max(-(-(count - HOP // 2) // HOP), 0))
        self._only: Block | None = None

    @classmethod
    def of(cls, x: np.ndarray) -> "Sound":
        """(n,) as it is."""
        return cls(lambda start, end: x[start:end], len(x))

    def blocks(self) -> Iterator[Block]:
        """One at least. The block of a sound of one is kept: it is made once, with its residuals."""
        if len(self.times) <= WHOLE:
            self._only = self._only or self._block(0, len(self.times))
            yield self._only
            return
        for start in range(0, len(self.times), BLOCK):
            yield self._block(start, min(start + BLOCK, len(self.times)))

    def _block(self, start: int, stop: int) -> Block:
        frames = len(self.times)
        first, end = max(start - CONTEXT, 0), min(stop + CONTEXT, frames)
        x = self.samples(first * HOP, self.count if end == frames else end * HOP)
        return Block(x, _middles(end - first), first, slice(start - first, stop - first), stop == frames)


def _middles(count: int) -> np.ndarray:
    return (np.arange(count) + 0.5) / RATE
