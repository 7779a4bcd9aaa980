"""Shape of the glottal pulse: Rd of the LF model by the mean squared phase (Degottex, Roebel, Rodet 2011, "Phase minimization for
glottal model estimation").

What is left of a voice's phases once the pulse's and the vocal tract's minimum phase are taken off is that of a delay,
if the pulse is right. The tract's amplitudes are the voice's over the pulse's, and minimum phase is linear in their
logarithm, so the pulse counts by its phase less its own minimum phase: a table over Rd.
"""

from functools import cache

import numpy as np

from pipeline.audio.covarep import lf
from pipeline.audio.covarep.distortion import FLOOR, minimum_phase
from pipeline.media import SAMPLE_RATE

COUNT = 8  # harmonics
LOWEST, HIGHEST, STEP = 0.3, 2.5, 0.02
TABLE_F0 = 100.0  # Hz; the table's minimum phases hardly depend on it


def estimate(harmonics: np.ndarray, f0: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Complex (T, K), 0 above the highest, and Hz (T,) -> Rd (T,) in [.3, 2.5], confidence (T,) in [0, 1].

    The error is the mean square of the wrapped second differences of phase, summed up once (MSPD2I1); confidence 1 - sqrt(error) / pi.
    """
    counts = np.count_nonzero(harmonics, axis=1)
    tract = minimum_phase(np.log(np.maximum(np.abs(harmonics), FLOOR)), f0, counts)
    seen = _bent(np.angle(harmonics[:, :COUNT]) - _at(tract, f0))
    errors = np.stack([(_wrapped(seen - pulse) ** 2).mean(axis=1) for pulse in _pulses()], axis=1)  # (T, R)
    best = errors.argmin(axis=1)
    return _table()[best], 1 - np.sqrt(errors[np.arange(len(best)), best]) / np.pi


def _table() -> np.ndarray:
    return np.arange(LOWEST, HIGHEST + STEP / 2, STEP)


@cache
def _pulses() -> np.ndarray:
    """(R, COUNT - 1) of the table's pulses."""
    orders = np.arange(1, int(SAMPLE_RATE / 2 / TABLE_F0))
    spectra = lf.spectrum(_table(), orders)
    f0 = np.full(len(spectra), TABLE_F0)
    own = minimum_phase(np.log(np.abs(spectra)), f0, np.full(len(spectra), len(orders)))
    return _bent(np.angle(spectra[:, :COUNT]) - _at(own, f0))


def _at(phases: np.ndarray, f0: np.ndarray) -> np.ndarray:
    """Phases (T, bins) at the first COUNT harmonics."""
    places = f0[:, None] * np.arange(1, COUNT + 1) * (2 * (phases.shape[1] - 1)) / SAMPLE_RATE
    below = np.minimum(places.astype(int), phases.shape[1] - 2)
    low, high = (np.take_along_axis(phases, below + step, axis=1) for step in (0, 1))
    return low + (places - below) * (high - low)


def _bent(phases: np.ndarray) -> np.ndarray:
    """What no delay changes: phi_h - phi_(h-1) - phi_1, h from 2; (T, COUNT) -> (T, COUNT - 1)."""
    return phases[:, 1:] - phases[:, :-1] - phases[:, :1]


def _wrapped(phases: np.ndarray) -> np.ndarray:
    return (phases + np.pi) % (2 * np.pi) - np.pi
