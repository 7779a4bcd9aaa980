"""Mel cepstra of the true envelope: the smooth line over a voice's harmonics (Roebel, Rodet, DAFx 2005)."""

import numpy as np
from numba import njit
from numpy.lib.stride_tricks import sliding_window_view
from scipy import fft

from pipeline.media import SAMPLE_RATE

ORDER = 24
PERIODS = 3  # of a Hann window, which tells harmonics apart from 2 periods on
LONGEST = 2 * (PERIODS * SAMPLE_RATE // 100) + 1  # samples, of an F0 of 50 Hz
BINS = 1024  # of the DFT: 4096, as COVAREP has it, tell nothing more
WITHIN = 2 / 20 * np.log(10)  # 2 dB: how far the spectrum may lie above its envelope
ROUNDS = 30  # at most; two or three are usual, a dozen enough for speech and noise
FLOOR = 1e-10  # amplitude, far below a bit of 16
BATCH = 128  # frames


def mel_cepstrum(sound: np.ndarray, times: np.ndarray, f0: np.ndarray) -> np.ndarray:
    """(n,), seconds (T,) and Hz (T,), 50 or more -> (T, 25): of the natural logarithm of the envelope on the mel scale.

    A sinusoid of amplitude a has ln(a / 2). Coefficient 0 is the mean; the others count both sides of the cepstrum (the mel
    scale as in Fukada et al. 1992). ln(1e-10) = -23 and zeros in silence.
    """
    padded = np.pad(sound, LONGEST // 2)
    found = np.zeros((len(times), ORDER + 1))
    for start in range(0, len(times), BATCH):
        batch = slice(start, start + BATCH)
        frames = sliding_window_view(padded, LONGEST)[np.round(times[batch] * SAMPLE_RATE).astype(int)]
        spectra = np.abs(fft.rfft(frames * _windows(f0[batch]), BINS))  # (B, BINS / 2 + 1)
        lines = over_harmonics(np.log(np.maximum(spectra, FLOOR)), f0[batch])
        found[batch] = fft.irfft(_warped(true_envelope(lines, f0[batch])), BINS)[:, : ORDER + 1]
    found[:, 1:] *= 2
    return found


def true_envelope(log_spectra: np.ndarray, f0: np.ndarray) -> np.ndarray:
    """(B, BINS / 2 + 1) natural logarithms -> their envelopes, of cepstral order .5 RATE / f0 (the optimal one: sec. 4).

    A cepstrally smoothed spectrum is raised to the spectrum wherever that lies above, until it is WITHIN.
    """
    quefrencies = np.minimum(np.arange(BINS), BINS - np.arange(BINS))  # both sides
    kept = quefrencies <= SAMPLE_RATE / 2 / f0[:, None]
    envelopes = np.empty_like(log_spectra)
    rows, raised = np.arange(len(log_spectra)), log_spectra
    for _ in range(ROUNDS):
        smooth = fft.rfft(fft.irfft(raised, BINS) * kept[rows]).real
        envelopes[rows] = smooth
        raised = np.maximum(log_spectra[rows], smooth)
        further = (raised - smooth).max(axis=1) > WITHIN
        if not further.any():
            break
        rows, raised = rows[further], raised[further]
    return envelopes


@njit(cache=True)
def over_harmonics(log_spectra: np.ndarray, f0: np.ndarray) -> np.ndarray:
    """(B, K) -> (B, K): straight lines over the highest bins, one within half of F0 of each harmonic; level beyond them."""
    lines = np.empty_like(log_spectra)
    for frame, spectrum in enumerate(log_spectra):
        step = f0[frame] * BINS / SAMPLE_RATE
        before = -1
        for harmonic in range(1, int(BINS / 2 / step - 0.5) + 1):
            low = int(np.ceil((harmonic - 0.5) * step))
            peak = low + spectrum[low : int(np.ceil((harmonic + 0.5) * step))].argmax()
            if before < 0:
                lines[frame, :peak] = spectrum[peak]
            else:
                lines[frame, before:peak] = np.linspace(spectrum[before], spectrum[peak], peak - before + 1)[:-1]
            before = peak
        lines[frame, before:] = spectrum[before]
    return lines


def _windows(f0: np.ndarray) -> np.ndarray:
    """(B, LONGEST): Hann windows of PERIODS periods, whose sum is 1."""
    turn = 2 * np.pi * np.arange(LONGEST // 2 + 1) * (f0[:, None] / PERIODS / SAMPLE_RATE)
    half = np.where(turn < np.pi, 1 + np.cos(turn), 0)
    windows = np.concatenate([half[:, :0:-1], half], axis=1)
    return windows / windows.sum(axis=1, keepdims=True)


def _warped(envelopes: np.ndarray) -> np.ndarray:
    """(B, K) on even Hz -> (B, K) on an even mel scale, interpolated linearly."""
    mels = np.linspace(0, np.log1p(SAMPLE_RATE / 2 / 700), envelopes.shape[1])
    places = 700 * np.expm1(mels) * BINS / SAMPLE_RATE
    below = np.minimum(places.astype(int), envelopes.shape[1] - 2)
    return envelopes[:, below] + (places - below) * (envelopes[:, below + 1] - envelopes[:, below])
