"""Voice quality from cosine-modulated Gaussian wavelets: peakSlope (Kane, Gobl 2011) and MDQ (Kane, Gobl 2013).

The mother wavelet is g(t) = -cos(2 pi f_n t) exp(-t^2 / (2 tau^2)), f_n = RATE / 2, tau = 1 / (2 f_n) (d'Alessandro,
Sturmel 2011); scale i convolves with g(t / 2^i), a band an octave wide about f_n / 2^i.
"""

import numpy as np
from numba import njit
from scipy.signal import oaconvolve

from pipeline.audio.covarep.glottal import periods
from pipeline.audio.covarep.pitch import Pitch
from pipeline.media import SAMPLE_RATE

SLOPE_SCALES = range(7)  # 8 kHz to 125 Hz
MDQ_SCALES = range(2, 7)  # 2 kHz to 125 Hz
SUPPORT = 5  # standard deviations of the Gaussian to each side
BLOCK = SAMPLE_RATE // 200  # samples: the maximum of a frame is that of the 5 ms blocks it holds
FRAME = 8  # blocks: 40 ms
FLOOR = 1e-10  # amplitude, far below a bit of 16: the maximum of a band without energy
REACH = 0.2  # of T0: how far from a GCI a band's maximum is sought


def mdq(residual: np.ndarray, gcis: np.ndarray, pitch: Pitch) -> np.ndarray:
    """Maxima dispersion quotient of an LP residual (n,) at its GCIs, (G,): 0 (tense) to .2 (breathy), a share of T0.

    The mean over the bands of how far their maximum lies from the GCI (Kane, Gobl 2013); NaN where there is no T0.
    """
    lengths = periods(gcis, pitch)
    distance = np.zeros(len(gcis))
    for scale in MDQ_SCALES:
        _add_distance(band(residual, scale), gcis, lengths, distance)
    with np.errstate(invalid="ignore"):  # 0 / 0 where there is no period
        return distance / len(MDQ_SCALES) / lengths


def peak_slope(sound: np.ndarray, times: np.ndarray) -> np.ndarray:
    """(n,) and the 10 ms grid -> (T,): slope of log10 of the bands' maxima in 40 ms, by octaves up (Kane, Gobl 2011).

    -log10(2) = -.3 for each 6 dB an octave that the spectrum falls; 0 of silence.
    """
    x = np.array(SLOPE_SCALES, float)
    weights = -(x - x.mean()) / ((x - x.mean()) ** 2).sum()  # of the least-squares line; scales fall as octaves rise
    slope = np.zeros(len(times))
    for scale, weight in zip(SLOPE_SCALES, weights, strict=True):
        slope += weight * np.log10(np.maximum(_maxima(band(sound, scale), times), FLOOR))
    return slope


def band(x: np.ndarray, scale: int) -> np.ndarray:
    """x through the wavelet of this scale, without delay: (n,)."""
    width = 2**scale  # samples: tau of g(t / 2^scale)
    t = np.arange(-SUPPORT * width, SUPPORT * width + 1) / width
    return oaconvolve(x, -np.cos(np.pi * t) * np.exp(-(t**2) / 2), mode="same")


def _maxima(x: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Largest magnitude of x in the frames about these times, (T,)."""
    before = FRAME // 2
    blocks = np.pad(np.abs(x), (before * BLOCK, before * BLOCK + -len(x) % BLOCK)).reshape(-1, BLOCK).max(axis=1)
    frames = np.lib.stride_tricks.sliding_window_view(blocks, FRAME).max(axis=1)
    middles = np.round(times * SAMPLE_RATE / BLOCK).astype(int)
    return frames[np.minimum(middles, len(frames) - 1)]


@njit(cache=True)
def _add_distance(x: np.ndarray, gcis: np.ndarray, lengths: np.ndarray, distance: np.ndarray) -> None:
    """Add to distance (G,) how many samples the maximum of x near each GCI lies from it."""
    for i, (gci, length) in enumerate(zip(gcis, lengths)):  # noqa: B905 numba has no strict
        reach = int(REACH * length)
        start = max(gci - reach, 0)
        distance[i] += abs(start + x[start : gci + reach + 1].argmax() - gci)
