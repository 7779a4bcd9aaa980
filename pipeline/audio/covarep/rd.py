"""Shape of the glottal pulse: Rd of the LF model by the mean squared phase (Degottex, Roebel, Rodet 2011, "Phase minimization for
glottal model estimation").

What is left of a voice's phases once the pulse's and the vocal tract's minimum phase are taken off is that of a delay,
if the pulse is right. The tract's amplitudes are the voice's over the pulse's, and minimum phase is linear in their
logarithm, so the pulse counts by its phase less its own minimum phase: a table over Rd.
"""

from functools import cache

import numpy as np

from pipeline.audio.covarep import lf
from pipeline.audio.covarep.harmonics import counts

COUNT = 8  # harmonics
LOWEST, HIGHEST = 0.3, 2.5
POINTS = 111  # of the table, between which phases are straight lines
TABLE_COUNT = 80  # harmonics behind the table's minimum phases, which hardly depend on how many there are
ROUNDS = 12  # of the search: down to .01
SHRINK = (np.sqrt(5) - 1) / 2  # the golden section
FLOOR = 1e-10  # amplitude, far below a bit of 16


def estimate(harmonics: np.ndarray, f0: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Complex (T, K), at least 8 of them, and Hz (T,) -> Rd (T,) in [.3, 2.5], confidence (T,) in [0, 1].

    The error is the mean square of the wrapped second differences of phase, summed up once (MSPD2I1); confidence 1 - sqrt(error) / pi.
    """
    logs = np.log(np.maximum(np.abs(harmonics), FLOOR))
    tract = _minimum_phase(logs, np.minimum(counts(f0), harmonics.shape[1]))
    shapes, errors = _least(_bent(np.angle(harmonics[:, :COUNT]) - tract))
    return shapes, 1 - np.sqrt(errors) / np.pi


def _least(seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rd and error, (T,), at a minimum of each frame's error: by golden sections of the whole range, as Brent's search begins.

    Where no pulse fits and there are several minima, the least is often an end of the range; this one seldom is.
    """
    low, high = np.full(len(seen), LOWEST), np.full(len(seen), HIGHEST)
    for _ in range(ROUNDS):
        kept = SHRINK * (high - low)
        left, right = high - kept, low + kept
        lower = _errors(seen, left) < _errors(seen, right)
        low, high = np.where(lower, low, left), np.where(lower, right, high)
    middle = (low + high) / 2
    return middle, _errors(seen, middle)


def _errors(seen: np.ndarray, shapes: np.ndarray) -> np.ndarray:
    """(T,) of phases (T, COUNT - 2) beside the pulses of these Rd, (T,)."""
    table = _pulses()
    places = (shapes - LOWEST) / (HIGHEST - LOWEST) * (POINTS - 1)
    below = np.minimum(places.astype(int), POINTS - 2)
    pulses = table[below] + (places - below)[:, None] * (table[below + 1] - table[below])
    apart = (seen - pulses + np.pi) % (2 * np.pi) - np.pi
    return (apart**2).mean(axis=1)


@cache
def _pulses() -> np.ndarray:
    """(POINTS, COUNT - 2), evenly from LOWEST to HIGHEST; unwrapped over Rd, along which they hardly change."""
    spectra = lf.spectrum(np.linspace(LOWEST, HIGHEST, POINTS), np.arange(1, TABLE_COUNT + 1))
    own = _minimum_phase(np.log(np.abs(spectra)), np.full(POINTS, TABLE_COUNT))
    return np.unwrap(_bent(np.angle(spectra[:, :COUNT]) - own), axis=0)


def _bent(phases: np.ndarray) -> np.ndarray:
    """What no delay changes: phi_h - phi_(h-1) - phi_1, h from 3; (T, COUNT) -> (T, COUNT - 2).

    phi_2 - 2 phi_1 is left out: it hangs the most on the tract's amplitude at 0 Hz, which is not known.
    """
    return phases[:, 2:] - phases[:, 1:-1] - phases[:, :1]


def _minimum_phase(logs: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """(T, COUNT) radians at the first harmonics, of the filters whose amplitudes at the first counts (T,) are exp(logs (T, K))."""
    phases = np.zeros((len(logs), COUNT))
    for count in np.unique(counts):
        chosen = counts == count
        phases[chosen] = logs[chosen, :count] @ _kernel(count)
    return phases


@cache
def _kernel(count: int) -> np.ndarray:
    """(count, COUNT): log amplitudes -> phases, by the cepstrum of the harmonics alone, as if 2 count + 1 samples were a period.

    The amplitude at 0 Hz is taken to be the first harmonic's.
    """
    quefrencies, turn = np.arange(1, count + 1), 2 * np.pi / (2 * count + 1)
    cepstra = 2 * np.cos(turn * np.outer(np.arange(count + 1), quefrencies)) / (2 * count + 1)
    cepstra[0] /= 2  # there is one harmonic 0, and two of every other
    phases = -2 * cepstra @ np.sin(turn * np.outer(quefrencies, np.arange(1, COUNT + 1)))
    phases[1] += phases[0]
    return phases[1:]
