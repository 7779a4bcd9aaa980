"""F0 and voicing by the summation of residual harmonics (SRH: Drugman, Alwan, Interspeech 2011)."""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.lib.stride_tricks import sliding_window_view
from scipy import fft

from pipeline.audio.covarep.blocks import HOP, Block, Sound
from pipeline.media import SAMPLE_RATE

ORDER = 3 * SAMPLE_RATE // 4000  # 12
LOWEST, HIGHEST = 50, 500  # Hz
HARMONICS = 5
FRAME = SAMPLE_RATE // 10  # samples: 100 ms, Blackman
BATCH = 64  # frames
SILENCE = 1e-20  # energy of a spectrum
THRESHOLD, SPREAD, THRESHOLD_SPREAD = 0.07, 0.05, 0.085  # of voicing; the last where SRH's deviation exceeds SPREAD


@dataclass(frozen=True)
class Pitch:
    """On the 10 ms grid, each (T,). f0: Hz, also in unvoiced frames; srh: share of the spectrum; voiced: bool.

    Of a block: start is its first sample; times remain the sound's.
    """

    times: np.ndarray
    f0: np.ndarray
    srh: np.ndarray
    voiced: np.ndarray
    start: int = 0

    @property
    def median(self) -> float:
        """Hz, of the voiced frames; NaN where there is none."""
        return float(np.median(self.f0[self.voiced])) if self.voiced.any() else np.nan

    def within(self, block: Block) -> "Pitch":
        """Of the frames of a block."""
        f = block.frames
        return Pitch(self.times[f], self.f0[f], self.srh[f], self.voiced[f], block.start)

    def at(self, samples: np.ndarray) -> np.ndarray:
        """Hz at these samples of the sound, or the block, (K,)."""
        return np.interp((self.start + samples) / SAMPLE_RATE, self.times, self.f0)


def track(sound: Sound) -> Pitch:
    """The pitch of a sound; the second pass looks within an octave of the first pass's median F0.

    SRH is had at the ends of each 10 ms of the grid; a frame is voiced where either end is, and has the mean F0 of its ends.
    """
    times = sound.times
    if not len(times):
        return Pitch(times, np.zeros(0), np.zeros(0), np.zeros(0, bool))
    f0, srh = np.zeros((2, len(times) + 1))
    _search(sound, LOWEST, HIGHEST, np.ones(len(f0), bool), f0, srh)
    voiced = _voiced(srh)
    if voiced.any():
        median = np.median(f0[voiced])
        low, high = max(LOWEST, round(median / 2)), min(HIGHEST, round(median * 2))
        outside = (f0 < low) | (f0 > high)  # the others' best stays the best
        _search(sound, low, high, outside, f0, srh)
        voiced = _voiced(srh)
    return Pitch(times, _means(f0), _means(srh), voiced[:-1] | voiced[1:])


def _voiced(srh: np.ndarray) -> np.ndarray:
    return srh > (THRESHOLD_SPREAD if srh.std() > SPREAD else THRESHOLD)


def _means(x: np.ndarray) -> np.ndarray:
    return (x[:-1] + x[1:]) / 2


def _search(sound: Sound, low: int, high: int, asked: np.ndarray, f0: np.ndarray, srh: np.ndarray) -> None:
    """Write those of low to high Hz to f0 and srh, (T + 1,) at the frames' ends, where they are asked for."""
    for block in sound.blocks():
        frames = block.own_frames
        ends = frames.start + np.flatnonzero(asked[frames.start : frames.stop + block.last])
        f0[ends], srh[ends] = _srh(block.residual(ORDER), ends * HOP - block.start, low, high)


def _srh(residual: np.ndarray, samples: np.ndarray, low: int, high: int) -> tuple[np.ndarray, np.ndarray]:
    """Each (len(samples),): the F0 of low to high Hz that has the largest SRH about these samples, and that SRH."""
    f0, srh = np.zeros((2, len(samples)))
    padded = np.pad(residual, FRAME).astype(np.float32)
    about = sliding_window_view(padded, FRAME)[FRAME - FRAME // 2 :]  # row i: the samples about sample i
    window = np.blackman(FRAME).astype(np.float32)
    for start in range(0, len(samples), BATCH):
        batch = slice(start, start + BATCH)
        frames = about[samples[batch]] * window
        spectra = np.abs(fft.rfft(frames, SAMPLE_RATE))
        energy = (spectra * spectra).sum(axis=1, dtype=float)
        f0[batch], best = _best(spectra, low, high)
        srh[batch] = best / np.sqrt(np.maximum(energy, SILENCE))
    return f0, srh


@njit(cache=True)
def _best(spectra: np.ndarray, low: int, high: int) -> tuple[np.ndarray, np.ndarray]:
    """Eq. 1 of spectra (B, SAMPLE_RATE / 2 + 1), a bin a Hz: the best F0 (B,) and its sum (B,)."""
    f0, best = np.zeros(len(spectra)), np.zeros(len(spectra))
    sums = np.zeros(high + 1)
    for k in range(len(spectra)):
        for f in range(low, high + 1):
            total = spectra[k, f]
            for harmonic in range(2, HARMONICS + 1):
                total += spectra[k, harmonic * f] - spectra[k, (2 * harmonic - 1) * f // 2]
            sums[f] = total
        first = low + int(sums[low:].argmax())
        f0[k], best[k] = _lowest(spectra[k], sums, low, first), sums[first]
    return f0, best


@njit(cache=True)
def _lowest(spectrum: np.ndarray, sums: np.ndarray, low: int, f: int) -> int:
    """f, or the F0 of low or more of which f is an odd multiple: eq. 1 subtracts what lies between even multiples alone.

    F0 has most of its harmonics apart from those of f; were f the voice's own, nothing would be there.
    """
    for divisor in (9, 7, 5, 3):
        near = round(f / divisor)
        if near > low:
            fraction = near - 1 + int(sums[near - 1 : near + 2].argmax())
            shared = spectrum[f] if divisor <= HARMONICS else 0.0
            if sums[fraction] - shared > sums[f] / 2:
                return fraction
    return f
