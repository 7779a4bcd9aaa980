"""Phase distortion of a voice, its mean and its deviation (HMPD: Degottex, Erro 2014, "A uniform phase representation for
the harmonic model in speech synthesis applications").

The distortion at harmonic h is phi_h - phi_(h-1) - phi_1, phi_0 = 0, of phases less the vocal tract's minimum phase: it does
not depend on where in the period the frame lies, and is 0 up to F0.
"""

import numpy as np
from numba import njit
from scipy import fft
from scipy.ndimage import uniform_filter1d

from pipeline.media import SAMPLE_RATE

BINS = 1024  # of the DFT behind the minimum phase; the means lie at bins of it
LINEAR, MEANS = 8, 25  # bins 0 to 8 one by one, then to the last evenly on a logarithmic scale
MELS, DEVIATIONS = 65, 13  # points of the mel scale, and coefficients kept
MEAN_WINDOW, TREND_WINDOW = 25, 9  # frames
CONTEXT = 2 * (MEAN_WINDOW // 2)  # frames on either side that a frame's values depend on
FLOOR = 1e-10  # amplitude, far below a bit of 16
STEADIEST = 1e-3  # radians, the least deviation
BATCH = 128  # frames


def phase_distortion(harmonics: np.ndarray, f0: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Complex (T, K), 0 above the highest, and Hz (T,) -> means (T, 25) in (-pi, pi], deviations (T, 13).

    means: the circular mean over 25 frames, forward and back, at 0, 16, .. 125 Hz and on to 8 kHz by factors of 1.3.
    deviations: mel cepstrum of ln sqrt(-2 ln |r|), r the mean over 9 frames, forward and back, of the vectors of the
    distortion less its own such mean; coefficient 0 is the mean, the others count both sides.
    """
    counts = np.count_nonzero(harmonics, axis=1)
    tract = _minimum_phase(np.log(np.maximum(np.abs(harmonics), FLOOR)), f0, counts)
    vectors = _vectors(np.angle(harmonics), tract, f0, counts, np.concatenate([_means_at(), _mels()]))
    means = np.angle(_smoothed(vectors[:, :MEANS], MEAN_WINDOW))
    about = vectors[:, MEANS:]
    trend = _smoothed(about, TREND_WINDOW)
    lengths = np.abs(_smoothed(about * np.exp(-1j * np.angle(trend)), TREND_WINDOW))
    spread = np.sqrt(-2 * np.log(np.clip(lengths, FLOOR, 1)))
    cepstra = fft.irfft(np.log(np.maximum(spread, STEADIEST)), 2 * (MELS - 1))[:, :DEVIATIONS]
    cepstra[:, 1:] *= 2
    return means, cepstra


def _means_at() -> np.ndarray:
    """Hz of the means, (25,)."""
    octaves = np.arange(1, MEANS - LINEAR) / (MEANS - 1 - LINEAR)
    bins = np.concatenate([np.arange(LINEAR + 1), LINEAR * (BINS / 2 / LINEAR) ** octaves])
    return bins * SAMPLE_RATE / BINS


def _mels() -> np.ndarray:
    """Hz evenly on the mel scale, (MELS,)."""
    return 700 * np.expm1(np.linspace(0, np.log1p(SAMPLE_RATE / 2 / 700), MELS))


def _minimum_phase(logs: np.ndarray, f0: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(T, BINS / 2 + 1) radians: the phase of the minimum-phase filter that has the harmonics' amplitudes, logs (T, K)."""
    hz = np.arange(BINS // 2 + 1) * SAMPLE_RATE / BINS
    phases = np.empty((len(logs), len(hz)))
    for start in range(0, len(logs), BATCH):
        batch = slice(start, start + BATCH)
        cepstra = fft.irfft(_lines(logs[batch], f0[batch], counts[batch], hz), BINS)
        cepstra[:, 1 : BINS // 2] *= 2
        cepstra[:, BINS // 2 + 1 :] = 0
        phases[batch] = fft.rfft(cepstra).imag
    return phases


def _smoothed(vectors: np.ndarray, size: int) -> np.ndarray:
    """Complex (T, W): means over `size` frames, forward and back; the ends are held."""
    for _ in range(2):
        vectors = uniform_filter1d(vectors, size, axis=0, mode="nearest")
    return vectors


@njit(cache=True)
def _lines(logs: np.ndarray, f0: np.ndarray, counts: np.ndarray, hz: np.ndarray) -> np.ndarray:
    """(T, len(hz)): straight lines between the harmonics, level below the first and above the last."""
    lines = np.zeros((len(f0), len(hz)))
    for k in range(len(f0)):
        for i in range(len(hz)):
            place = min(max(hz[i] / f0[k] - 1, 0.0), max(counts[k] - 1.0, 0.0))
            below = int(place)
            above = min(below + 1, max(counts[k] - 1, 0))
            lines[k, i] = logs[k, below] + (place - below) * (logs[k, above] - logs[k, below])
    return lines


@njit(cache=True)
def _vectors(phases: np.ndarray, tract: np.ndarray, f0: np.ndarray, counts: np.ndarray, hz: np.ndarray) -> np.ndarray:
    """Complex (T, len(hz)): e^(i distortion), straight lines between the harmonics, level above the last."""
    vectors = np.ones((len(f0), len(hz)), np.complex128)
    for k in range(len(f0)):
        count = counts[k]
        turned = np.ones(count + 1, np.complex128)  # of h = 0 and the harmonics
        before, first = 0.0, 0.0
        for h in range(1, count + 1):
            place = min(h * f0[k] * BINS / SAMPLE_RATE, BINS / 2 - 1)
            below = int(place)
            phase = phases[k, h - 1] - tract[k, below] - (place - below) * (tract[k, below + 1] - tract[k, below])
            first = phase if h == 1 else first
            turned[h] = np.exp(1j * (phase - before - first))
            before = phase
        for i in range(len(hz)):
            place = min(hz[i] / f0[k], float(count))
            below = int(place)
            vector = turned[below] + (place - below) * (turned[min(below + 1, count)] - turned[below])
            vectors[k, i] = vector / max(abs(vector), FLOOR)
    return vectors
