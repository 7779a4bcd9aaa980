"""The truth table of benchmarks/covarep.py: synthetic voices (tests/glottis.py), whose pulses are known.

An LF pulse of known Rd through the formants of a vowel, F0 gliding up by a tenth, with and without noise. The first and last
10 frames are left out.
"""

from dataclasses import dataclass, fields
from itertools import product

import numpy as np

from pipeline.audio.covarep import analysis, layout
from pipeline.media import SAMPLE_RATE
from report.tables import Table
from tests import glottis

F0 = (80, 110, 150, 210, 290, 380)  # Hz
RD = (0.5, 0.8, 1.2, 1.7, 2.3)
GLIDE = 1.1
NOISES = {"without noise": 0.0, "with noise at -40 dB": 0.01}
ENDS = 10  # frames
NEAR = 0.5  # ms


@dataclass(frozen=True)
class Errors:
    """Of one voice."""

    voiced: float  # share of frames
    f0: float  # share of voiced frames within 2 %
    found: float  # share of the closures with one of ours within NEAR
    false: float  # share of ours with none of them within NEAR
    late: float  # median, ms
    apart: float  # of the true ones, 95 % have one nearer, ms
    naq: float  # median, a share of the true one
    naq_off: float  # median of its size
    rd: float  # median
    rd_off: float


HEADER = ("voices", "voiced", "F0 within 2 %", "GCI found", "false", "late, ms", "95 %, ms")
HEADER += ("NAQ error", "its size", "Rd error", "its size")


def run() -> list[Table]:
    return [table(level, noise) for level, noise in NOISES.items()]


def table(level: str, noise: float) -> Table:
    voices = list(product(F0, RD, glottis.VOWELS))
    errors = [measure(*voice, noise) for voice in voices]
    rows = []
    for place, (name, values) in enumerate((("F0", F0), ("Rd", RD), ("vowel", glottis.VOWELS))):
        for value in values:
            chosen = [error for voice, error in zip(voices, errors, strict=True) if voice[place] == value]
            rows.append((f"{name} {value}", *_mean(chosen)))
    rows.append(("all", *_mean(errors)))
    note = f"GCI within {NEAR} ms. NAQ's errors are shares of its true value, Rd's are as they are."
    return Table(f"Ours beside the truth, means over the medians of {len(voices)} voices {level}", HEADER, rows, note)


def measure(f0: float, rd: float, vowel: str, noise: float) -> Errors:
    voice = glottis.voice((f0, GLIDE * f0), rd, vowel, noise=noise)
    found = analysis.analyse(voice.sound)
    inner = slice(ENDS, len(found.times) - ENDS)
    spoken = found.pitch.voiced[inner]
    true = voice.f0[(found.times[inner] * SAMPLE_RATE).astype(int)]
    x = dict(zip(layout.NAMES, found.x[inner][spoken].T, strict=True))
    apart = (found.gcis[:, None] - voice.gcis) / SAMPLE_RATE * 1000  # (ours, true), ms
    nearest = apart[np.abs(apart).argmin(axis=0), np.arange(len(voice.gcis))]
    naq, shape = x["NAQ"] / voice.naq[0] - 1, x["Rd"] - rd
    return Errors(
        voiced=spoken.mean(),
        f0=np.mean(np.abs(x["F0"] / true[spoken] - 1) < 0.02),
        found=np.mean(np.abs(nearest) < NEAR),
        false=np.mean(np.abs(apart).min(axis=1) >= NEAR),
        late=np.median(nearest),
        apart=np.percentile(np.abs(nearest), 95),
        naq=np.median(naq),
        naq_off=np.median(np.abs(naq)),
        rd=np.median(shape),
        rd_off=np.median(np.abs(shape)),
    )


def _mean(errors: list[Errors]) -> list[str]:
    return [f"{np.mean([getattr(error, field.name) for error in errors]):.3f}" for field in fields(Errors)]
