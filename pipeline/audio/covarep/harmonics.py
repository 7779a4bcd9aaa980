"""Amplitude and phase of a voice's harmonics, frame by frame: what the envelope, the glottal shape and the phases are read from.

The zeros of a Blackman window of three periods fall on the other harmonics, so that projecting on each harmonic alone is
their joint least-squares fit (Stylianou 2001, "Applying the harmonic plus noise model", sec. III).
"""

import numpy as np
from numba import njit
from numpy.lib.stride_tricks import sliding_window_view

from pipeline.media import SAMPLE_RATE

PERIODS = 3
REACH = PERIODS * SAMPLE_RATE // 100  # samples to either side, of an F0 of 50 Hz
LONGEST = 2 * REACH + 1
BATCH = 128  # frames


def analyse(sound: np.ndarray, times: np.ndarray, f0: np.ndarray, most: int) -> np.ndarray:
    """(n,), seconds (T,) and Hz (T,) -> complex (T, most): harmonic h of a frame is |a| cos(2 pi h f0 t + angle(a)), t from its middle.

    0 above half the sampling rate less half of F0, and where F0 is 0. Raises nothing: what lies beyond the sound's ends is silence.
    """
    frames = sliding_window_view(np.pad(sound, (REACH, REACH + 1)), LONGEST)  # one at least
    found = np.zeros((len(times), most), complex)
    for start in range(0, len(times), BATCH):
        batch = slice(start, start + BATCH)
        windowed = frames[np.round(times[batch] * SAMPLE_RATE).astype(int)] * windows(f0[batch])
        _project(windowed, f0[batch], np.minimum(counts(f0[batch]), most), found[batch])
    return found


def counts(f0: np.ndarray) -> np.ndarray:
    """How many harmonics of F0 (T,) lie below half the sampling rate less half of F0: (T,) int."""
    return np.where(f0 > 0, np.ceil(SAMPLE_RATE / 2 / np.maximum(f0, 1) - 0.5) - 1, 0).astype(int)


def windows(f0: np.ndarray) -> np.ndarray:
    """(B, LONGEST): Blackman windows of PERIODS periods whose sum is 2."""
    turn = 2 * np.pi * np.arange(REACH + 1) * (f0[:, None] / PERIODS / SAMPLE_RATE)
    cosine = np.cos(np.minimum(turn, np.pi))  # -1 outside, where the window is 0
    half = 0.34 + 0.5 * cosine + 0.16 * cosine**2  # .42 + .5 cos(turn) + .08 cos(2 turn)
    windows = np.concatenate([half[:, :0:-1], half], axis=1)
    return windows * (2 / windows.sum(axis=1, keepdims=True))


@njit(cache=True)
def _project(frames: np.ndarray, f0: np.ndarray, counts: np.ndarray, found: np.ndarray) -> None:
    """Windowed frames (B, LONGEST) on the cosines and sines of their harmonics, into found (B, most)."""
    for k, count in enumerate(counts):
        if count:
            steps = np.exp(-2j * np.pi * f0[k] / SAMPLE_RATE * np.arange(1, count + 1))
            turns = np.ones(count, np.complex128)
            found[k, :count] = frames[k, REACH]
            for n in range(1, min(int(PERIODS / 2 * SAMPLE_RATE / f0[k]), REACH) + 1):
                after, before = frames[k, REACH + n], frames[k, REACH - n]
                even, odd = after + before, after - before
                for h in range(count):
                    turns[h] *= steps[h]
                    found[k, h] += complex(even * turns[h].real, odd * turns[h].imag)
