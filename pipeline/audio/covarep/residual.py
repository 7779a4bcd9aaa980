"""The linear prediction residual of a sound, and the sound's polarity from two such residuals."""

import numpy as np
from numba import njit
from scipy.signal import butter, sosfiltfilt

from pipeline.audio.covarep.iaif import fir, levinson
from pipeline.media import SAMPLE_RATE

WINDOW = round(0.025 * SAMPLE_RATE)  # samples, Hann
HOP = round(0.005 * SAMPLE_RATE)
POLARITY_ORDER = SAMPLE_RATE // 1000 + 2
VOCAL_TRACT = 480  # Hz, above which the glottal source hardly shows (Drugman 2013)


def lp_residual(sound: np.ndarray, order: int) -> np.ndarray:
    """(n,) -> (n,): what each 25 ms, one every 5 ms, leave unpredicted, overlapped and added.

    Autocorrelation method. A window's residual is given the window's energy, so that loud speech counts for more.
    """
    padded = np.pad(sound, WINDOW)
    return _inverse_filtered(padded, padded, order)[WINDOW:-WINDOW]


def polarity(sound: np.ndarray) -> int:
    """1 where the derivative of the flow falls furthest at the closures; -1 where the microphone turned the sound over.

    RESKEW (Drugman 2013, "Residual excitation skewness for automatic speech polarity detection"): of the residual, and of
    the rough glottal source that the prediction of the high-passed sound leaves, the residual is skewed more.
    """
    padded = np.pad(sound, WINDOW)
    high = sosfiltfilt(butter(2, VOCAL_TRACT, "highpass", fs=SAMPLE_RATE, output="sos"), padded)
    residual, source = (_inverse_filtered(x, padded, POLARITY_ORDER) for x in (padded, high))
    return 1 if _skewness(source) <= _skewness(residual) else -1


def _skewness(x: np.ndarray) -> float:
    centred = x - x.mean()
    square = centred * centred
    power = square.mean()
    return float((square * centred).mean() / power**1.5) if power > 0 else 0.0


@njit(cache=True)
def _inverse_filtered(predicted: np.ndarray, filtered: np.ndarray, order: int) -> np.ndarray:
    """`filtered` through the inverse filters of `predicted`, window by window: (n,), as both."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(WINDOW) + 0.5) / WINDOW)
    residual = np.zeros(len(filtered))
    for start in range(0, len(filtered) - WINDOW + 1, HOP):
        here = slice(start, start + WINDOW)
        model, frame = window * predicted[here], window * filtered[here]
        correlation = np.array([np.dot(model[lag:], model[: WINDOW - lag]) for lag in range(order + 1)])
        unpredicted = fir(levinson(correlation), frame)
        left = np.dot(unpredicted, unpredicted)
        if left > 0:
            residual[here] += unpredicted * np.sqrt(np.dot(frame, frame) / left)
    return residual
