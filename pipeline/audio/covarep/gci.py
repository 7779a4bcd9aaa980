"""Glottal closure instants by SEDREAMS (Drugman, Dutoit 2009; Drugman et al. 2012, a review)."""

from dataclasses import dataclass

import numpy as np
from numba import njit
from scipy.signal import butter, oaconvolve, sosfiltfilt

from pipeline.audio.covarep.blocks import Block, Sound
from pipeline.audio.covarep.pitch import Pitch
from pipeline.media import SAMPLE_RATE

ORDER = SAMPLE_RATE // 1000 + 2  # of the linear prediction that leaves the residual
PERIODS = 1.75  # of the Blackman window of the mean-based signal
SLOWEST = 50  # Hz: what moves below it is no voice
MARGIN = SAMPLE_RATE // 10  # samples of silence about the sound, in which the filters settle
REACH = 0.175  # of a period: half an interval (the review's are .35 long)


@dataclass(frozen=True)
class Cycles:
    """Of a sound. minima: (G,) samples, rising, one a cycle; usual: how much later the closure is, in periods."""

    minima: np.ndarray
    usual: float


def cycles(sound: Sound, pitch: Pitch) -> Cycles:
    """Those of the voiced frames of a sound of polarity 1.

    A minimum of the mean-based signal, of the clip's median period, marks a cycle. The papers have the closure between it
    and the next rise through 0; a low first formant or a phase-distorting microphone shifts the minimum, so here the
    intervals lie where the clip's strong peaks are, and hold what is right before them too.
    """
    found, turns = [np.zeros(0, int)], [np.zeros(0, complex)]
    for block in sound.blocks() if pitch.voiced.any() else ():
        near, residual = pitch.within(block), block.residual(ORDER)
        minima = _minima(_mean_based(block.x, SAMPLE_RATE / pitch.median))
        minima = minima[near.voiced[_frame(minima, near)] & block.holds(minima)]
        periods = SAMPLE_RATE / near.f0[_frame(minima, near)]
        anywhere = _peaks(residual, minima, 2 * REACH * periods)
        turns.append(residual[anywhere] ** 2 * np.exp(2j * np.pi * (anywhere - minima) / periods))
        found.append(block.start + minima)
    return Cycles(np.concatenate(found), float(np.angle(np.concatenate(turns).sum()) / (2 * np.pi)))


def instants(block: Block, pitch: Pitch, cycles: Cycles) -> np.ndarray:
    """(G,) samples of the block, rising: the highest peak of the residual in each cycle of a voiced frame; pitch: the block's."""
    minima = cycles.minima - block.start
    minima = minima[slice(*np.searchsorted(minima, (0, len(block.x))))]
    periods = SAMPLE_RATE / pitch.f0[_frame(minima, pitch)]
    found = np.unique(_peaks(block.residual(ORDER), minima + cycles.usual * periods, REACH * periods))
    return found[pitch.voiced[_frame(found, pitch)]]


def _frame(samples: np.ndarray, pitch: Pitch) -> np.ndarray:
    return np.minimum(samples * 100 // SAMPLE_RATE, len(pitch.times) - 1)


def _mean_based(sound: np.ndarray, period: float) -> np.ndarray:
    """(n,): the sound averaged over PERIODS periods (samples) around each sample."""
    window = np.blackman(2 * round(PERIODS * period / 2) + 1)
    high_pass = butter(2, SLOWEST, "highpass", fs=SAMPLE_RATE, output="sos")
    mean = sosfiltfilt(high_pass, oaconvolve(np.pad(sound, MARGIN), window / window.sum(), mode="same"))
    return mean[MARGIN:-MARGIN]


@njit(cache=True)
def _minima(mean: np.ndarray) -> np.ndarray:
    """Samples where it is lowest in each stretch below 0."""
    lowest = np.zeros(len(mean), np.bool_)
    best = -1
    for i in range(len(mean)):
        if mean[i] >= 0:
            best = -1
        elif best < 0 or mean[i] < mean[best]:
            lowest[i] = True
            if best >= 0:
                lowest[best] = False
            best = i
    return np.flatnonzero(lowest)


@njit(cache=True)
def _peaks(residual: np.ndarray, middles: np.ndarray, reaches: np.ndarray) -> np.ndarray:
    """Samples of the highest value around each of the middles."""
    found = np.zeros(len(middles), np.int64)
    for k in range(len(middles)):
        start = min(max(int(middles[k] - reaches[k]), 0), len(residual) - 1)
        found[k] = start + residual[start : max(int(middles[k] + reaches[k]) + 1, start + 1)].argmax()
    return found
