"""eGeMAPSv02 low-level descriptors by openSMILE: 25 columns, 100 frames a second.

Eyben et al. 2016, "The Geneva Minimalistic Acoustic Parameter Set (GeMAPS) for Voice Research and
Affective Computing". Columns of voiced speech (pitch, jitter, formants …) are 0 in unvoiced frames.
"""

from functools import cache
from importlib.metadata import version
from typing import Any, Literal

import numpy as np

from pipeline import media
from pipeline.features import Clip
from pipeline.params import Block
from pipeline.tables import Column, Frames

VERSION = 1
VOICED = "_sma3nz"  # openSMILE smooths these over voiced frames alone; they are 0 elsewhere
SHORTEST = media.SAMPLE_RATE // 10  # samples; openSMILE's windows need 60 ms
FRAME = 0.02  # seconds
UNITS = {
    "Loudness": "sone-like",
    "F0semitone": "semitones above 27.5 Hz",
    "frequency": "Hz",
    "bandwidth": "Hz",
    "jitter": "ratio",
}


class Params(Block):
    """params.yaml: audio.egemaps."""

    feature_set: Literal["eGeMAPSv02", "GeMAPSv01b", "eGeMAPSv01b"]


def columns(params: Params) -> list[Column]:
    names = _smile(params.feature_set).feature_names
    return [Column(name, _unit(name), "voiced" if name.endswith(VOICED) else "value") for name in names]


def rate(params: Params) -> float:
    return 100.0


def library() -> str:
    return f"opensmile {version('opensmile')}"


def asset_sha256() -> str | None:
    return None


def extract(clip: Clip, params: Params) -> Frames:
    """Frames of 20 ms (60 ms for pitch), every 10 ms; the time is the frame's middle."""
    sound = media.sound(clip.path, clip.start, clip.end)
    if len(sound) < SHORTEST:
        return Frames.none(len(columns(params)), "sound too short")
    table = _smile(params.feature_set).process_signal(sound, media.SAMPLE_RATE)
    start = table.index.get_level_values("start").total_seconds().to_numpy()
    return Frames(start + FRAME / 2, table.to_numpy(np.float32), np.ones(len(table), bool))


@cache
def _smile(feature_set: str) -> Any:
    import opensmile

    return opensmile.Smile(opensmile.FeatureSet[feature_set], opensmile.FeatureLevel.LowLevelDescriptors, num_workers=1)


def _unit(name: str) -> str:
    return next((unit for part, unit in UNITS.items() if part in name), "dB" if "dB" in name else "1")
