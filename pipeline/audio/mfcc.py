"""Spectral frames by librosa: MFCC, chroma, zero crossings, energy and the shape of the spectrum.

The recipe that CH-SIMS's features follow (Yu et al., ACL 2020), at 16 kHz and with its params named.
It is worked on a minute at a time, twice: first for the loudest band, from which the cepstra see 80 dB, then for the features.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from pipeline import media
from pipeline.blocks import Block
from pipeline.flags import Flag, Flagged
from pipeline.tables.frames import Clip, Column, Frames

LIBRARIES = ("librosa",)
BLOCK = 6000  # frames, a minute at 100 a second
RANGE = 80  # dB
CHROMA = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")


class Params(Block):
    """params.yaml: audio.mfcc."""

    coefficients: Annotated[int, Field(ge=1, le=128)]  # librosa has 128 mel bands
    hop_seconds: Annotated[float, Field(ge=0.001)]
    window_seconds: Annotated[float, Field(ge=0.001)]


def columns(params: Params) -> list[Column]:
    return [
        *(Column(f"mfcc_{i}", "dB") for i in range(params.coefficients)),
        *(Column(f"chroma_{pitch}", "share of the strongest") for pitch in CHROMA),
        Column("zero_crossing_rate", "crossings a sample"),
        Column("rms", "amplitude"),
        Column("spectral_centroid", "Hz"),
        Column("spectral_bandwidth", "Hz"),
    ]


def rate(params: Params) -> float:
    return 1 / params.hop_seconds


def asset(params: Params) -> str | None:
    return None


def extract(clip: Clip, params: Params) -> Frames:
    """Frames centred on their times, the first at 0."""
    sound = media.sound(clip.path, clip.start, clip.end)
    hop = round(params.hop_seconds * media.SAMPLE_RATE)
    window = round(params.window_seconds * media.SAMPLE_RATE)
    if len(sound) < window:
        return Frames.none(len(columns(params)), Flagged(Flag.SOUND_TOO_SHORT))
    loudest = max(_decibels(_spectrum(block, hop, window)).max() for block in _blocks(sound, hop, window))
    x = [_measured(block, hop, window, params.coefficients, loudest) for block in _blocks(sound, hop, window)]
    times = np.arange(sum(map(len, x))) * hop / media.SAMPLE_RATE
    return Frames(times, np.concatenate(x), np.ones(len(times), bool))


@dataclass(frozen=True)
class _Block:
    """A stretch of a sound, with half a window more on either side: beyond the sound's ends zeros, or for the zero
    crossings its first and last values."""

    silent: np.ndarray
    held: np.ndarray


def _blocks(sound: np.ndarray, hop: int, window: int) -> Iterator[_Block]:
    """Of BLOCK frames, one after the other; what is left at the end, up to half a block, goes with the last."""
    size = _size(window)
    frames = 1 + len(sound) // hop
    for first in range(0, max(frames - BLOCK // 2, 1), BLOCK):
        last = first + BLOCK - 1 if first + BLOCK < frames - BLOCK // 2 else frames - 1
        start, end = first * hop - size // 2, last * hop + size - size // 2
        beyond = max(-start, 0), max(end - len(sound), 0)
        heard = sound[max(start, 0) : end]
        yield _Block(np.pad(heard, beyond), np.pad(heard, beyond, mode="edge"))


def _measured(block: _Block, hop: int, window: int, coefficients: int, loudest: float) -> np.ndarray:
    """(T, F) float32. loudest: dB, of any band anywhere in the sound."""
    import librosa

    spectrum = _spectrum(block, hop, window)
    power = spectrum**2
    parts = (
        librosa.feature.mfcc(S=np.maximum(_decibels(spectrum), loudest - RANGE), n_mfcc=coefficients),
        librosa.feature.chroma_stft(S=power, sr=media.SAMPLE_RATE, tuning=0.0),
        librosa.feature.zero_crossing_rate(block.held, frame_length=_size(window), hop_length=hop, center=False),
        librosa.feature.rms(S=spectrum, frame_length=_size(window)),
        librosa.feature.spectral_centroid(S=spectrum, sr=media.SAMPLE_RATE),
        librosa.feature.spectral_bandwidth(S=spectrum, sr=media.SAMPLE_RATE),
    )
    return np.concatenate(parts).T.astype(np.float32)


def _spectrum(block: _Block, hop: int, window: int) -> np.ndarray:
    """(bins, T), magnitudes."""
    import librosa

    return np.abs(librosa.stft(block.silent, n_fft=_size(window), hop_length=hop, win_length=window, center=False))


def _decibels(spectrum: np.ndarray) -> np.ndarray:
    """(128, T), of the mel bands."""
    import librosa

    return librosa.power_to_db(librosa.feature.melspectrogram(S=spectrum**2, sr=media.SAMPLE_RATE), top_db=None)


def _size(window: int) -> int:
    """Samples of the Fourier transform."""
    return 1 << (window - 1).bit_length()
