"""Spectral frames by librosa: MFCC, chroma, zero crossings, energy and the shape of the spectrum.

The recipe that CH-SIMS's features follow (Yu et al., ACL 2020), at 16 kHz and with its params named.
"""

from importlib.metadata import version
from typing import Annotated

import numpy as np
from pydantic import Field

from pipeline import media
from pipeline.features import Clip
from pipeline.params import Block
from pipeline.tables import Column, Frames

VERSION = 1
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


def library() -> str:
    return f"librosa {version('librosa')}"


def asset_sha256() -> str | None:
    return None


def extract(clip: Clip, params: Params) -> Frames:
    """Frames centred on their times, the first at 0."""
    import librosa

    sound = media.sound(clip.path, clip.start, clip.end)
    hop = round(params.hop_seconds * media.SAMPLE_RATE)
    window = round(params.window_seconds * media.SAMPLE_RATE)
    if len(sound) < window:
        return Frames.none(len(columns(params)), "sound too short")
    size = 1 << (window - 1).bit_length()
    spectrum = np.abs(librosa.stft(sound, n_fft=size, hop_length=hop, win_length=window))
    power = spectrum**2
    mel = librosa.power_to_db(librosa.feature.melspectrogram(S=power, sr=media.SAMPLE_RATE))
    parts = (
        librosa.feature.mfcc(S=mel, n_mfcc=params.coefficients),
        librosa.feature.chroma_stft(S=power, sr=media.SAMPLE_RATE, tuning=0.0),
        librosa.feature.zero_crossing_rate(sound, frame_length=size, hop_length=hop),
        librosa.feature.rms(S=spectrum, frame_length=size),
        librosa.feature.spectral_centroid(S=spectrum, sr=media.SAMPLE_RATE),
        librosa.feature.spectral_bandwidth(S=spectrum, sr=media.SAMPLE_RATE),
    )
    x = np.concatenate(parts).T.astype(np.float32)
    return Frames(np.arange(len(x)) * hop / media.SAMPLE_RATE, x, np.ones(len(x), bool))
