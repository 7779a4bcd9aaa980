"""eGeMAPSv02 low-level descriptors by openSMILE: 25 columns, 100 frames a second.

Eyben et al. 2016, "The Geneva Minimalistic Acoustic Parameter Set (GeMAPS) for Voice Research and
Affective Computing". Columns of voiced speech (pitch, jitter, formants …) are 0 in unvoiced frames.

A long sound is measured two minutes at a time, since openSMILE holds 40 MB a minute, with five seconds on either side:
in these its smoothing and its search for the pitch forget where they began (1.5 suffice for equal bytes). Jitter and
shimmer count periods from where the voice began, so a voice held without a break for five seconds across such a
border has other values there than openSMILE gives for the whole.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any, Literal

import numpy as np

from pipeline import media
from pipeline.blocks import Block
from pipeline.flags import Flag, Flagged
from pipeline.tables.frames import Clip, Column, Frames

LIBRARIES = ("opensmile",)
VOICED = "_sma3nz"  # openSMILE smooths these over voiced frames alone; they are 0 elsewhere
SHORTEST = media.SAMPLE_RATE // 10  # samples; openSMILE's windows need 60 ms
FRAME = 0.02  # seconds
RATE = 100  # frames a second
HOP = media.SAMPLE_RATE // RATE
BLOCK = 120 * RATE  # frames
CONTEXT = 5 * RATE  # frames
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
    return float(RATE)


def asset(params: Params) -> str | None:
    return None


def extract(clip: Clip, params: Params) -> Frames:
    """Frames of 20 ms (60 ms for pitch), every 10 ms; the time is the frame's middle."""
    sound = media.sound(clip.path, clip.start, clip.end)
    if len(sound) < SHORTEST:
        return Frames.none(len(columns(params)), Flagged(Flag.SOUND_TOO_SHORT))
    x = np.concatenate(list(_blocks(sound, params.feature_set)))
    return Frames(np.arange(len(x)) / RATE + FRAME / 2, x, np.ones(len(x), bool))


def _blocks(sound: np.ndarray, feature_set: str) -> Iterator[np.ndarray]:
    """Values (T, F) of one block of the sound after the other; a sound of up to three minutes is one."""
    count = max(round(len(sound) / (BLOCK * HOP)), 1)
    for start in range(0, count * BLOCK, BLOCK):
        first, stop = max(start - CONTEXT, 0), start + BLOCK if start + BLOCK < count * BLOCK else None
        heard = sound[first * HOP : stop and (stop + CONTEXT) * HOP]
        table = _smile(feature_set).process_signal(heard, media.SAMPLE_RATE)
        own = slice(start - first, stop and stop - first)
        yield table.to_numpy(np.float32)[own]


@cache
def _smile(feature_set: str) -> Any:
    import opensmile

    return opensmile.Smile(opensmile.FeatureSet[feature_set], opensmile.FeatureLevel.LowLevelDescriptors, num_workers=1)


def _unit(name: str) -> str:
    return next((unit for part, unit in UNITS.items() if part in name), "dB" if "dB" in name else "1")
