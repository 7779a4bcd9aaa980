"""Synthetic voices whose glottis is known: pulses of the LF model (Fant, Liljencrants, Lin 1985) through formants.

The LF model is written here in the time domain and solved pulse by pulse, apart from the code under test.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.signal import lfilter, resample_poly

RATE = 16_000
OVER = 8  # pulses are sampled so many times finer and then low-passed: little alias
HISS = 0.05  # of an unvoiced stretch, against the voice
VOWELS = {  # formants and bandwidths, Hz
    "a": ((730, 1090, 2440, 3400, 4500), (80, 90, 120, 200, 250)),
    "i": ((270, 2290, 3010, 3500, 4500), (60, 90, 120, 200, 250)),
    "u": ((300, 870, 2240, 3300, 4500), (60, 80, 120, 200, 250)),
}


@dataclass(frozen=True)
class LF:
    """One pulse, in seconds; its derivative falls to -1 at the closure.

    tp: the flow's maximum; te: the closure; growth, decay: 1/s, of the opening's sine and of the return.
    """

    period: float
    tp: float
    te: float
    growth: float
    decay: float

    @classmethod
    def of(cls, rd: float, f0: float) -> "LF":
        """Ra, Rk and Rg from Rd in [.3, 2.5] (Fant 1995, eq. 2-4); then decay and growth such that the flow ends at 0."""
        period = 1 / f0
        ra, rk = (-1 + 4.8 * rd) / 100, (22.4 + 11.8 * rd) / 100
        rg = rk / (4 * (0.11 * rd / (0.5 + 1.2 * rk) - ra))
        tp = period / (2 * rg)
        te, ta = tp * (1 + rk), ra * period
        back = period - te
        decay = brentq(lambda e: e * ta - 1 + np.exp(-e * back), 1e-3 / ta, 2 / ta)
        growth = brentq(lambda a: cls(period, tp, te, a, decay).leak, -50 * f0, 200 * f0)
        return cls(period, tp, te, growth, decay)

    @property
    def leak(self) -> float:
        """The flow at the closure that the return does not bring back to 0."""
        back = self.period - self.te
        left = np.exp(-self.decay * back)
        returned = ((1 - left) / self.decay - back * left) / (1 - left)
        return float(self._opening(self.te)) - returned

    def derivative(self, t: np.ndarray) -> np.ndarray:
        """Of the flow at seconds t in [0, period)."""
        w, left = np.pi / self.tp, np.exp(-self.decay * (self.period - self.te))
        opening = -np.exp(self.growth * (t - self.te)) * np.sin(w * t) / np.sin(w * self.te)
        closing = -(np.exp(-self.decay * np.maximum(t - self.te, 0)) - left) / (1 - left)
        return np.where(t < self.te, opening, closing)

    def flow(self, t: np.ndarray) -> np.ndarray:
        """The derivative's integral from 0, in closed form."""
        left = np.exp(-self.decay * (self.period - self.te))
        rest = np.exp(-self.decay * np.maximum(t - self.te, 0))
        closing = ((rest - left) / self.decay - (self.period - t) * left) / (1 - left)
        return np.where(t < self.te, self._opening(t), closing)

    def _opening(self, t: np.ndarray | float) -> np.ndarray:
        w, a = np.pi / self.tp, self.growth
        shape = np.exp(a * (t - self.te)) * (w * np.cos(w * t) - a * np.sin(w * t)) - w * np.exp(-a * self.te)
        return np.asarray(shape / ((a**2 + w**2) * np.sin(w * self.te)))

    @property
    def naq(self) -> float:
        """Largest flow over steepest fall, over the period."""
        return float(self._opening(self.tp)) / self.period

    @property
    def open_quotient(self) -> float:
        """Share of the period from the opening to the closure."""
        return self.te / self.period

    @property
    def quasi_open_quotient(self) -> float:
        """Share of the period in which the flow is above half of its largest."""
        flow = self.flow(np.linspace(0, self.period, 10_000, endpoint=False))
        return float(np.mean(flow > flow.max() / 2))


@dataclass(frozen=True)
class Voice:
    """At 16 kHz, each (n,): sound, flow, its derivative (both before the formants), f0 (Hz, 0 where unvoiced).

    pulses: G of them; gcis: (G,) samples at which they close (te), not whole.
    """

    sound: np.ndarray
    flow: np.ndarray
    derivative: np.ndarray
    f0: np.ndarray
    pulses: tuple[LF, ...]
    gcis: np.ndarray

    @property
    def naq(self) -> np.ndarray:
        return np.array([pulse.naq for pulse in self.pulses])


def voice(
    f0: float | Sequence[float],
    rd: float | Sequence[float] = 1.0,
    vowel: str = "a",
    seconds: float = 1.0,
    silent: Sequence[tuple[float, float]] = (),
    noise: float = 0.0,
) -> Voice:
    """f0: Hz, or Hz at points evenly spread over the seconds; rd: likewise; silent: seconds without voice, which are noise;
    noise: its level against the voice's."""
    contour, shapes = _spread(f0, seconds), _spread(rd, seconds)
    for start, end in silent:
        contour[round(start * RATE) : round(end * RATE)] = 0
    starts, periods = _marks(contour)
    pulses = tuple(LF.of(shapes[int(start)], RATE / period) for start, period in zip(starts, periods, strict=True))
    flow, derivative = np.zeros((2, len(contour) * OVER))
    for start, pulse in zip(starts, pulses, strict=True):
        places = np.arange(np.ceil(start * OVER), min((start + pulse.period * RATE) * OVER, len(flow))).astype(int)
        t = places / RATE / OVER - start / RATE
        flow[places], derivative[places] = pulse.flow(t), pulse.derivative(t)
    flow, derivative = (resample_poly(x, 1, OVER) for x in (flow, derivative))
    sound = filtered(derivative, vowel)
    level = np.where(contour > 0, noise, max(noise, HISS)) * sound.std()
    sound = sound + level * np.random.default_rng(0).standard_normal(len(sound))
    gcis = starts + np.array([pulse.te for pulse in pulses]) * RATE
    return Voice(sound / np.abs(sound).max() / 2, flow, derivative, contour, pulses, gcis)


def _spread(points: float | Sequence[float], seconds: float) -> np.ndarray:
    """(n,), straight from point to point."""
    known = np.atleast_1d(points)
    return np.interp(np.linspace(0, len(known) - 1, round(seconds * RATE)), np.arange(len(known)), known)


def _marks(contour: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each whole period of a voiced stretch starts, and how long it is, in samples."""
    starts, periods = [], []
    edges = np.flatnonzero(np.diff(contour > 0, prepend=False, append=False))
    for first, last in edges.reshape(-1, 2):
        phase = np.concatenate([[0], np.cumsum(contour[first:last]) / RATE])
        marks = first + np.interp(np.arange(phase[-1] + 1e-9), phase, np.arange(len(phase)))
        starts.append(marks[:-1])
        periods.append(np.diff(marks))
    return np.concatenate([*starts, []]), np.concatenate([*periods, []])


def filtered(derivative: np.ndarray, vowel: str) -> np.ndarray:
    """Through resonances, one after the other: (n,)."""
    for formant, width in zip(*VOWELS[vowel], strict=True):
        radius = np.exp(-np.pi * width / RATE)
        poles = [1, -2 * radius * np.cos(2 * np.pi * formant / RATE), radius**2]
        derivative = lfilter([sum(poles)], poles, derivative)
    return derivative
