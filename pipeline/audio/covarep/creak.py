"""How creaky the voice is: acoustic cues of Drugman, Kane, Gobl 2012 and of Ishi et al. 2008, and our rule over them.

Creak is a train of pulses far below the speaker's usual F0, each dying away before the next. COVAREP gives the posterior of
a neural network here; this is not that network, and its values are not calibrated against listeners.

Drugman, Kane, Gobl, "Resonator-based creaky voice detection", Interspeech 2012, and "Data-driven detection and
analysis of the patterns of creaky voice", Computer Speech and Language 28, 2014: the resonator, prominence and H2-H1.
Ishi et al., "A method for automatic detection of vocal fry", IEEE TASLP 16, 2008: periodicity and similarity, with
.5 as the threshold of either.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.lib.stride_tricks import sliding_window_view
from scipy import fft, signal

from pipeline.media import SAMPLE_RATE

RATE = 4000  # Hz: the cues lie below 1.5 kHz
BANDWIDTH = 150.0  # Hz, of the resonator at the speaker's F0
BAND = (100.0, 1500.0)  # Hz, Ishi's
PEAK = round(0.015 * RATE)  # either side of a frame's main peak
BESIDE = round(0.006 * RATE)  # of it, left out: its own ringing
HARMONICS = round(0.1 * RATE)  # the Hann window of H2-H1: two periods and more of the lowest creak
PERIODIC = round(0.032 * RATE)  # Ishi's frame, of which modal voice has two periods
LONGEST = round(0.015 * RATE)  # of all periods within it
SHORTEST = round(RATE / 500)
PULSE = round(0.005 * RATE)  # either side of a pulse
APART = round(0.1 * RATE)  # at most, from one pulse to the next
ALIGN = round(0.001 * RATE)  # how far two pulses are moved to fit
FFT = 1024
BATCH = 128  # frames


class Cues(NamedTuple):
    """Each (T,), from 0 (not creaky) to 1."""

    prominence: np.ndarray  # 1 - next / main peak of the resonator's output, 6 to 15 ms from it
    harmonics: np.ndarray  # power of H2 in that of H1 and H2, of that output: .5 where H2-H1 is 0 dB
    aperiodicity: np.ndarray  # 1 - intra-frame periodicity
    similarity: np.ndarray  # of the frame's pulse with the one before or after


def probability(sound: np.ndarray, residual: np.ndarray, f0: float, times: np.ndarray) -> np.ndarray:
    """(T,) in [0, 1]: the product of two witnesses, Drugman's pair of cues and Ishi's, each the geometric mean of its two.

    f0: the speaker's, Hz, which tunes the resonator; NaN of a clip without a voiced frame, where all is 0, as it is in
    digital silence.
    """
    if np.isnan(f0):
        return np.zeros(len(times))
    return np.sqrt(np.prod(cues(sound, residual, f0, times), axis=0))


def cues(sound: np.ndarray, residual: np.ndarray, f0: float, times: np.ndarray) -> Cues:
    """The cues around `times`; f0: the speaker's, Hz."""
    radius, angle = np.exp(-np.pi * BANDWIDTH / RATE), 2 * np.pi * f0 / RATE
    ringing = signal.lfilter([1.0], [1.0, -2 * radius * np.cos(angle), radius**2], _decimated(residual))
    passed = signal.lfilter(*signal.butter(2, BAND, "bandpass", fs=RATE), _decimated(sound))
    middles = np.minimum(np.round(times * RATE).astype(np.int64), len(passed) - 1)
    prominence, similarity = _pulses(ringing, passed, middles)
    return Cues(prominence, _harmonics(ringing, middles), _aperiodicity(passed, middles), similarity)


def _decimated(x: np.ndarray) -> np.ndarray:
    return signal.resample_poly(x, 1, SAMPLE_RATE // RATE)


def _harmonics(ringing: np.ndarray, middles: np.ndarray) -> np.ndarray:
    """F0 from the autocorrelation of a frame, past its first crossing of zero; then the amplitudes there and an octave up."""
    frames = sliding_window_view(np.pad(ringing, HARMONICS), HARMONICS)
    window, lags = signal.windows.hann(HARMONICS), np.arange(HARMONICS)
    share = np.zeros(len(middles))
    for start in range(0, len(middles), BATCH):
        batch = slice(start, start + BATCH)
        power = np.abs(fft.rfft(frames[middles[batch] + HARMONICS // 2] * window, FFT)) ** 2  # (B, FFT / 2 + 1)
        correlation = fft.irfft(power)[:, :HARMONICS]
        rows = np.arange(len(power))
        crossed = np.maximum((correlation <= 0).argmax(axis=1), SHORTEST)[:, None]
        lag = np.where(lags >= crossed, correlation, -np.inf).argmax(axis=1)
        first, second = (power[rows, np.round(h * FFT / lag).astype(int)] for h in (1, 2))
        share[batch] = np.divide(second, first + second, out=np.zeros(len(lag)), where=first + second > 0)
    return share


@njit(cache=True)
def _main(x: np.ndarray, low: int, high: int) -> int:
    """Where |x| is largest in [low, high), within x; -1 where there is nothing but 0."""
    best, place = 0.0, -1
    for i in range(max(low, 0), min(high, len(x))):
        if abs(x[i]) > best:
            best, place = abs(x[i]), i
    return place


@njit(cache=True)
def _likeness(x: np.ndarray, first: int, second: int) -> float:
    """The highest normalised correlation of the pulses there, moved by ALIGN at most; 0 at the ends of x."""
    best = 0.0
    if min(first, second) < PULSE + ALIGN or max(first, second) >= len(x) - PULSE - ALIGN:
        return best
    one = x[first - PULSE : first + PULSE + 1]
    for move in range(-ALIGN, ALIGN + 1):
        two = x[second + move - PULSE : second + move + PULSE + 1]
        energy = (one**2).sum() * (two**2).sum()
        if energy > 0:
            best = max(best, (one * two).sum() / np.sqrt(energy))
    return best


@njit(cache=True)
def _pulses(ringing: np.ndarray, passed: np.ndarray, middles: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(T,) prominence of each frame's main pulse, and (T,) its similarity."""
    prominence, similarity = np.zeros(len(middles)), np.zeros(len(middles))
    for k, middle in enumerate(middles):
        main = _main(ringing, middle - PEAK, middle + PEAK + 1)
        if main < 0:
            continue
        highest = 0.0
        for low, high in ((main - PEAK, main - BESIDE), (main + BESIDE + 1, main + PEAK + 1)):
            other = _main(ringing, low, high)
            highest = max(highest, abs(ringing[other])) if other >= 0 else highest
        prominence[k] = max(1 - highest / abs(ringing[main]), 0.0)
        for low, high in ((main - APART, main - PEAK), (main + PEAK + 1, main + APART + 1)):
            other = _main(ringing, low, high)
            if other >= 0:
                similarity[k] = max(similarity[k], _likeness(passed, main, other))
    return prominence, similarity


@njit(cache=True)
def _aperiodicity(passed: np.ndarray, middles: np.ndarray) -> np.ndarray:
    """1 - the least autocorrelation at the multiples of the frame's period that are no longer than LONGEST; 0 in silence."""
    aperiodic, correlation = np.zeros(len(middles)), np.zeros(LONGEST + 1)
    for k, middle in enumerate(middles):
        frame = passed[max(middle - PERIODIC // 2, 0) : middle + PERIODIC // 2]
        energy = (frame**2).sum()
        if len(frame) <= LONGEST or energy <= 0:
            continue
        correlation[:] = 0
        for i in range(len(frame)):
            for lag in range(min(i, LONGEST) + 1):
                correlation[lag] += frame[i - lag] * frame[i]
        for lag in range(LONGEST + 1):
            correlation[lag] = correlation[lag] / energy * len(frame) / (len(frame) - lag)
        period = SHORTEST + correlation[SHORTEST:].argmax()
        aperiodic[k] = 1 - min(max(correlation[period::period].min(), 0.0), 1.0)
    return aperiodic
