"""The 74 columns of COVAREP, from the published algorithms: 100 frames a second of mono sound at 16 kHz.

Degottex, Kane, Drugman, Raitio, Scherer 2014, "COVAREP: a collaborative voice analysis repository for speech
technologies". Names and order are COVAREP's; docs/covarep.md tells where the values differ, and why.

| column | unit, range | paper | neutral value |
|---|---|---|---|
| F0 | Hz, 50 to 500, also in unvoiced frames | Drugman, Alwan 2011 (SRH) | 0 |
| VUV | 1 voiced, 0 unvoiced | the same | 0 |
| NAQ | share of the period T0, above 0 | Alku, Bäckström, Vilkman 2002 | 0 |
| QOQ | share of T0, 0 to 1 | Hacki 1989 | 0 |
| H1H2 | dB | Hanson 1997 | 0 |
| PSP | ratio, 0 to about 1 | Alku, Strik, Vilkman 1997 | 0 |
| MDQ | share of T0, 0 to .2 | Kane, Gobl 2013 | 0 |
| peakSlope | log10 of amplitude, an octave | Kane, Gobl 2011 | 0 |
| Rd | 1, .3 (tense) to 2.5 (lax) | Degottex, Roebel, Rodet 2011 | 0 |
| Rd_conf | 0 to 1 | the same | 0 |
| creak | 0 to 1 | Drugman, Kane, Gobl 2012; Ishi et al. 2008; the rule is ours | 0 |
| MCEP_0 to 24 | natural logarithm of amplitude | Roebel, Rodet 2005 (true envelope); Fukada et al. 1992 | 0 |
| HMPDM_0 to 24 | radians, -pi to pi | Degottex, Erro 2014 (HMPD) | 0 |
| HMPDD_0 to 12 | mel cepstrum of radians | the same | 0 |

NAQ, QOQ, H1H2, PSP and MDQ are measured at each glottal closure, interpolated between them within a voiced stretch, and neutral in
unvoiced frames; every other column has a value in every frame. Whatever is not finite becomes the neutral value,
and the clip's flags say in how many frames of which columns: for those five, of the voiced frames alone.
"""

import re
from typing import Literal

import numpy as np

from pipeline import media
from pipeline.audio.covarep.layout import COLUMNS, MOSI5, NAMES, RATE
from pipeline.blocks import Block
from pipeline.flags import Flag, Flagged
from pipeline.tables.frames import Clip, Column, Frames

LIBRARIES = ("numpy", "scipy", "numba")
SHORTEST = media.SAMPLE_RATE // 10  # samples: the window of the pitch


class Params(Block):
    """params.yaml: audio.covarep."""

    columns: Literal["all", "mosi5"]


def columns(params: Params) -> list[Column]:
    return list(COLUMNS) if params.columns == "all" else [COLUMNS[NAMES.index(name)] for name in MOSI5]


def rate(params: Params) -> float:
    return float(RATE)


def asset(params: Params) -> str | None:
    return None


def extract(clip: Clip, params: Params) -> Frames:
    """Frames every 10 ms, centred on their times, the first at 5 ms; none of a sound shorter than 100 ms."""
    from pipeline.audio.covarep.analysis import analyse  # scipy and numba, which only workers need

    sound = media.sound(clip.path, clip.start, clip.end)
    names = [column.name for column in columns(params)]
    if len(sound) < SHORTEST:
        return Frames.none(len(names), Flagged(Flag.SOUND_TOO_SHORT))
    found = analyse(sound)
    flags = _flags({name: found.missing[name] for name in names})
    return Frames(found.times, found.x[:, _places(params)], np.ones(len(found.x), bool), flags)


def _places(params: Params) -> slice | list[int]:
    return slice(None) if params.columns == "all" else [NAMES.index(name) for name in MOSI5]


def _flags(missing: dict[str, np.ndarray]) -> tuple[Flagged, ...]:
    """In how many frames which columns, or any of a numbered family, have no finite value."""
    families: dict[str, list[np.ndarray]] = {}
    for name, frames in missing.items():
        families.setdefault(re.sub(r"_\d+$", "", name), []).append(frames)
    by_count: dict[int, list[str]] = {}
    for family, frames_of in families.items():
        by_count.setdefault(len(np.unique(np.concatenate(frames_of))), []).append(family)
    return tuple(
        Flagged(Flag.COLUMNS_NOT_FINITE, tuple(found), count=count) for count, found in by_count.items() if count
    )
