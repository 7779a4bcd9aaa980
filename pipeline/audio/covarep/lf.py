"""The LF model of the glottal pulse (Fant, Liljencrants, Lin 1985), its shape given by Rd alone, and its spectrum.

Time is counted in periods, and the flow derivative's minimum, at the closure te, is -1. It is, with rest = 1 - te,
    -exp(growth (t - te)) sin(w t) / sin(w te)               until te, and then
    -(exp(-decay (t - te)) - exp(-decay rest)) / (decay ta)  where decay ta = 1 - exp(-decay rest).
"""

import numpy as np
from scipy.optimize.elementwise import find_root

STEEPEST = 50.0  # bound of growth, which is 10 at Rd .3 and .6 at 2.5


def spectrum(rd: np.ndarray, harmonics: np.ndarray) -> np.ndarray:
    """Rd from .3 (tense) to 2.5 (lax), (R,), at these multiples of F0, (H,) -> the derivative's Fourier transform, complex (R, H)."""
    te, ta, w = timing(rd)
    decay = find_root(lambda x, te, ta: x * ta - 1 + np.exp(-x * (1 - te)), (0.1 / ta, 2 / ta), args=(te, ta)).x

    def flow(growth: np.ndarray, *others: np.ndarray) -> np.ndarray:
        """What is left at the period's end."""
        return _transform(np.zeros(1), growth, *others)[:, 0].real

    growth = find_root(flow, (np.zeros(len(rd)), np.full(len(rd), STEEPEST)), args=(te, ta, w, decay)).x
    return _transform(harmonics, growth, te, ta, w, decay)


def timing(rd: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rd -> te, ta (the return's time constant), w, by Ra, Rk and Rg of Fant 1995, "The LF-model revisited", eq. 2-4."""
    ra, rk = (-1 + 4.8 * rd) / 100, (22.4 + 11.8 * rd) / 100
    rg = rk / (4 * (0.11 * rd / (0.5 + 1.2 * rk) - ra))
    return (1 + rk) / (2 * rg), ra, 2 * np.pi * rg


def _transform(harmonics: np.ndarray, *pulses: np.ndarray) -> np.ndarray:
    """Doval, d'Alessandro, Henrich 2006, "The spectrum of glottal flow models", appendix on the LF model."""
    growth, te, ta, w, decay = (parameter[:, None] for parameter in pulses)
    jw, rest = 2j * np.pi * harmonics, 1 - te
    pole = growth - jw
    sine, cosine = np.sin(w * te), np.cos(w * te)
    opening = (pole * sine - w * cosine) * np.exp(-jw * te) + w * np.exp(-growth * te)
    falling = (1 - np.exp(-(decay + jw) * rest)) / (decay + jw)
    offset = np.exp(-(decay + jw / 2) * rest) * rest * np.sinc(harmonics * rest)  # (1 - exp(-jw rest)) / jw, also at 0
    return -opening / (pole**2 + w**2) / sine - np.exp(-jw * te) * (falling - offset) / (decay * ta)
