"""Measures of each glottal pulse: NAQ, QOQ, H1H2 and PSP, of the flow that inverse filtering leaves (iaif)."""

from dataclasses import dataclass

import numpy as np
from numba import njit

from pipeline.audio.covarep.iaif import flow_derivative, high_pass, integrate
from pipeline.audio.covarep.pitch import Pitch
from pipeline.media import SAMPLE_RATE

PERIODS = 3  # that H1H2 looks at
BINS = 2048  # of the spectrum that PSP looks at
MISFIT = 0.01  # normalised error up to which PSP's parabola is widened


@dataclass(frozen=True)
class Measures:
    """Of the period that ends at each GCI, each (G,); NaN where there is none.

    naq: max flow / max negative derivative / T0, 0 or more (Alku, Bäckström, Vilkman 2002);
    qoq: share of T0 in which the flow is above half its maximum, 0 to 1 (Hacki 1989);
    h1h2: dB, first over second harmonic of the flow's derivative (Hanson 1997);
    psp: fall of the low spectrum over that of a constant of the same length, mostly 0 to 1 (Alku, Strik, Vilkman 1997).
    """

    naq: np.ndarray
    qoq: np.ndarray
    h1h2: np.ndarray
    psp: np.ndarray


def measures(sound: np.ndarray, gcis: np.ndarray, pitch: Pitch) -> Measures:
    """Of a sound (n,) of polarity 1 with these GCIs (G,), samples."""
    usual = np.round(SAMPLE_RATE / pitch.at(gcis)).astype(int)
    derivative = flow_derivative(high_pass(sound, pitch.start), gcis, usual)
    return Measures(*_measure(integrate(derivative), derivative, gcis, periods(gcis, pitch)).T)


def periods(gcis: np.ndarray, pitch: Pitch) -> np.ndarray:
    """Samples since the GCI before, (G,); 0 where that is not one period of the pitch (within half an octave).

    COVAREP takes any gap for a period, so that its first values of a voiced stretch are near 0.
    """
    lengths = np.diff(gcis, prepend=gcis[:1])
    cycles = lengths / SAMPLE_RATE * pitch.at(gcis)
    return np.where((cycles > 2**-0.5) & (cycles < 2**0.5), lengths, 0)


@njit(cache=True)
def _measure(flow: np.ndarray, derivative: np.ndarray, gcis: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """(G, 4): naq, qoq, h1h2, psp of the periods of these lengths that end at the GCIs."""
    measured = np.full((len(gcis), 4), np.nan)
    constants = np.zeros(lengths.max() + 1 if len(lengths) else 0)  # their curvatures, by length, once known
    for i, (gci, length) in enumerate(zip(gcis, lengths)):  # noqa: B905 numba has no strict
        if length > 0:
            reach = PERIODS * length // 2
            pulse = level(flow[gci - length : gci + 1])
            measured[i, 0] = naq(pulse, derivative[gci - length : gci + 1])
            measured[i, 1] = qoq(pulse)
            measured[i, 2] = h1h2(derivative[max(gci - reach, 0) : gci + reach], length)
            if constants[length] == 0:
                constants[length] = curvature(np.ones(length))
            measured[i, 3] = psp(pulse, constants[length])
    return measured


@njit(cache=True)
def level(pulse: np.ndarray) -> np.ndarray:
    """One period of flow less its drift: the line through its ends, the closures, where no air should flow.

    Alku counts from the lowest flow, which in close vowels is the ripple of what is left of the first formant.
    """
    n = len(pulse) - 1
    return pulse - pulse[0] - (pulse[n] - pulse[0]) / n * np.arange(n + 1)


@njit(cache=True)
def naq(pulse: np.ndarray, derivative: np.ndarray) -> float:
    """Of one levelled period of flow, and its derivative; NaN where the flow never falls."""
    fastest = -derivative.min()
    return pulse.max() / fastest / (len(pulse) - 1) if fastest > 0 else np.nan


@njit(cache=True)
def qoq(pulse: np.ndarray) -> float:
    """Of one levelled period, the stretch about its maximum, crossings interpolated; NaN where nothing rises above 0."""
    top = pulse.argmax()
    half = pulse[top] / 2
    if half <= 0:
        return np.nan
    up, down = top, top
    while up > 0 and pulse[up - 1] >= half:
        up -= 1
    while down < len(pulse) - 1 and pulse[down + 1] >= half:
        down += 1
    width = float(down - up)
    if up > 0:
        width += (pulse[up] - half) / (pulse[up] - pulse[up - 1])
    if down < len(pulse) - 1:
        width += (pulse[down] - half) / (pulse[down] - pulse[down + 1])
    return width / (len(pulse) - 1)


@njit(cache=True)
def h1h2(derivative: np.ndarray, length: int) -> float:
    """Of a stretch of periods of this length, under a Hamming window; NaN where a harmonic is missing."""
    n = len(derivative)
    window = 0.54 - 0.46 * np.cos(2 * np.pi * (np.arange(n) + 0.5) / n)
    first = amplitude(derivative * window, 1 / length)
    second = amplitude(derivative * window, 2 / length)
    return 20 * np.log10(first / second) if first > 0 and second > 0 else np.nan


@njit(cache=True)
def psp(pulse: np.ndarray, constant: float) -> float:
    """Of one period of flow, scaled to 0 at its lowest point and 1 at its highest, beside the curvature of a constant of this
    length; NaN where it is flat.
    """
    height = pulse.max() - pulse.min()
    if height == 0:
        return np.nan
    return curvature((pulse[:-1] - pulse.min()) / height) / constant


@njit(cache=True)
def curvature(pulse: np.ndarray) -> float:
    """a of the parabola a k^2 + b through the low spectrum in dB, a bin being RATE / 2048.

    It is fitted to the first three points, then to one more for as long as the normalised error stays below MISFIT.
    """
    fitted = 0.0
    count, s2, s4, sx, sx2, sxx = 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    for k in range(BINS // 2):
        x = 20 * np.log10(max(amplitude(pulse, k / BINS), 1e-10))
        square = float(k * k)
        count, s2, s4 = count + 1, s2 + square, s4 + square * square
        sx, sx2, sxx = sx + x, sx2 + x * square, sxx + x * x
        if k < 2:
            continue
        a = (count * sx2 - s2 * sx) / (count * s4 - s2 * s2)
        b = (sx - a * s2) / count
        error = sxx - a * sx2 - b * sx  # sum of (x - a k^2 - b)^2, at its least
        if error >= MISFIT * sxx and k > 2:
            break
        fitted = a
    return fitted


@njit(cache=True)
def amplitude(x: np.ndarray, frequency: float) -> float:
    """Of x at this frequency, in cycles a sample."""
    step = np.exp(-2j * np.pi * frequency)
    turn = 1.0 + 0.0j
    total = 0.0 + 0.0j
    for value in x:
        total += value * turn
        turn *= step
    return abs(total)
