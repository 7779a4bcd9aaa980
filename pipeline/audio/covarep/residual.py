"""The linear prediction residual of a sound."""

import numpy as np
from numba import njit

from pipeline.audio.covarep.iaif import fir, levinson
from pipeline.media import SAMPLE_RATE

WINDOW = round(0.025 * SAMPLE_RATE)  # samples, Hann
HOP = round(0.005 * SAMPLE_RATE)


def lp_residual(sound: np.ndarray, order: int) -> np.ndarray:
    """(n,) -> (n,): what each 25 ms, one every 5 ms, leave unpredicted, overlapped and added.

    Autocorrelation method. A window's residual is given the window's energy, so that loud speech counts for more.
    """
    padded = np.pad(sound, WINDOW)
    return inverse_filtered(padded, padded, order)[WINDOW:-WINDOW]


@njit(cache=True)
def inverse_filtered(predicted: np.ndarray, filtered: np.ndarray, order: int) -> np.ndarray:
    """`filtered` through the inverse filters of `predicted`, window by window: (n,), as both."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(WINDOW) + 0.5) / WINDOW)
    residual, correlation = np.zeros(len(filtered)), np.zeros(order + 1)
    for start in range(0, len(filtered) - WINDOW + 1, HOP):
        here = slice(start, start + WINDOW)
        model, frame = window * predicted[here], window * filtered[here]
        for lag in range(order + 1):
            correlation[lag] = np.dot(model[lag:], model[: WINDOW - lag])
        unpredicted = fir(levinson(correlation), frame)
        left = np.dot(unpredicted, unpredicted)
        if left > 0:
            residual[here] += unpredicted * np.sqrt(np.dot(frame, frame) / left)
    return residual
