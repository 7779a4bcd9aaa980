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
from dataclasses import dataclass
from importlib.metadata import version
from typing import Literal

import numpy as np

from pipeline import media
from pipeline.audio.covarep import creak, distortion, envelope, gci, glottal, harmonics, rd, wavelets
from pipeline.audio.covarep import pitch as srh
from pipeline.audio.covarep.pitch import Pitch
from pipeline.audio.covarep.residual import lp_residual, polarity
from pipeline.features import Clip
from pipeline.media import SAMPLE_RATE
from pipeline.params import Block
from pipeline.tables import Column, Frames

VERSION = 1
RATE = 100  # frames a second
HOP = SAMPLE_RATE // RATE
SHORTEST = SAMPLE_RATE // 10  # samples: the window of the pitch
BIT = 2.0**-15  # of 16
BLOCK = 1000  # frames
ORDER = SAMPLE_RATE // 1000 + 2  # of the linear prediction that leaves the residual
MOSI5 = ("VUV", "QOQ", "MDQ", "MCEP_14", "HMPDM_24")  # the field's pick for CMU-MOSI


def _numbered(name: str, count: int, unit: str, kind: str = "value") -> list[Column]:
    return [Column(f"{name}_{i}", unit, kind) for i in range(count)]


COLUMNS = (
    Column("F0", "Hz, 50 to 500 (Drugman, Alwan 2011)", "frequency"),
    Column("VUV", "1 voiced, 0 not (Drugman, Alwan 2011)", "flag"),
    Column("NAQ", "share of T0, above 0 (Alku et al. 2002)", "voiced"),
    Column("QOQ", "share of T0, 0 to 1 (Hacki 1989)", "voiced"),
    Column("H1H2", "dB (Hanson 1997)", "voiced"),
    Column("PSP", "ratio, 0 to about 1 (Alku et al. 1997)", "voiced"),
    Column("MDQ", "share of T0, 0 to .2 (Kane, Gobl 2013)", "voiced"),
    Column("peakSlope", "log10 of amplitude an octave (Kane, Gobl 2011)"),
    Column("Rd", "1, .3 to 2.5 (Degottex et al. 2011)"),
    Column("Rd_conf", "1, 0 to 1 (Degottex et al. 2011)"),
    Column("creak", "1, 0 to 1 (cues: Drugman et al. 2012, Ishi et al. 2008)"),
    *_numbered("MCEP", 25, "ln of amplitude (Roebel, Rodet 2005; Fukada et al. 1992)"),
    *_numbered("HMPDM", 25, "rad, -pi to pi (Degottex, Erro 2014)", "angle"),
    *_numbered("HMPDD", 13, "mel cepstrum of rad (Degottex, Erro 2014)"),
)
NAMES = tuple(column.name for column in COLUMNS)
ANGLES = slice(2, 27)  # HMPDM among the columns that phases tell
VOICED = np.array([column.kind == "voiced" for column in COLUMNS])


class Params(Block):
    """params.yaml: audio.covarep."""

    columns: Literal["all", "mosi5"]


@dataclass(frozen=True)
class Analysis:
    """What is known of a sound. times: (T,) seconds, the middles of 10 ms; x: (T, 74), finite, in the order of NAMES;
    missing: (T, 74) where x is neutral for want of a finite value; gcis: (G,) samples, rising; polarity: 1, or -1 of a
    sound that was turned over.
    """

    times: np.ndarray
    x: np.ndarray
    missing: np.ndarray
    pitch: Pitch
    gcis: np.ndarray
    polarity: int


def columns(params: Params) -> list[Column]:
    return [COLUMNS[place] for place in _places(params)]


def rate(params: Params) -> float:
    return float(RATE)


def library() -> str:
    return ", ".join(f"{name} {version(name)}" for name in ("numpy", "scipy", "numba"))


def asset_sha256() -> str | None:
    return None


def extract(clip: Clip, params: Params) -> Frames:
    """Frames every 10 ms, centred on their times, the first at 5 ms; none of a sound shorter than 100 ms."""
    sound = media.sound(clip.path, clip.start, clip.end)
    places = _places(params)
    if len(sound) < SHORTEST:
        return Frames.none(len(places), "sound too short")
    found = analyse(sound)
    x = found.x[:, places].astype(np.float32)
    return Frames(found.times, x, np.ones(len(x), bool), _flags(found.missing[:, places], [NAMES[i] for i in places]))


def analyse(sound: np.ndarray) -> Analysis:
    """All columns of a mono sound at 16 kHz: (n,), of SHORTEST samples or more."""
    sound = _without_offset(sound)
    sign = polarity(sound)
    sound = sign * sound + _rounding(sound)
    times = (np.arange(-(-(len(sound) - HOP // 2) // HOP)) + 0.5) / RATE
    pitch = srh.track(sound, times)
    residual = lp_residual(sound, ORDER)
    gcis = gci.instants(sound, residual, pitch)
    flow = glottal.measures(sound, gcis, pitch)
    pulses = np.stack([flow.naq, flow.qoq, flow.h1h2, flow.psp, wavelets.mdq(residual, gcis, pitch)], axis=1)
    shapes = _of_phases(sound, times, pitch.f0)
    x = np.column_stack(
        [
            pitch.f0,
            pitch.voiced,
            _between(gcis, pulses, pitch.voiced),
            wavelets.peak_slope(sound, times),
            shapes[:, :2],
            creak.probability(sound, residual, pitch, times),
            envelope.mel_cepstrum(sound, times, pitch.f0),
            shapes[:, 2:],
        ]
    )
    missing = ~np.isfinite(x)
    return Analysis(times, np.where(missing, 0.0, x), missing & (pitch.voiced[:, None] | ~VOICED), pitch, gcis, sign)


def _without_offset(sound: np.ndarray) -> np.ndarray:
    """Less its mean, in float64; exactly 0 where it is constant."""
    return sound - (sound[0] if np.ptp(sound) == 0 else np.mean(sound, dtype=np.float64))


def _rounding(sound: np.ndarray) -> np.ndarray:
    """The noise of 16 bits, the same for every sound but silence, which stays silent: what is left of an offset in a pause would
    be predicted without error, and its pitch be that of the windows.
    """
    return BIT / 2 * np.random.default_rng(0).uniform(-1, 1, len(sound)) * sound.any()


def _of_phases(sound: np.ndarray, times: np.ndarray, f0: np.ndarray) -> np.ndarray:
    """(T, 40): Rd, Rd_conf, HMPDM, HMPDD: like the pitch, means of what is had at both ends of each 10 ms.

    In blocks, since an hour's harmonics take a gigabyte.
    """
    ends = np.minimum(np.append(times, times[-1] + 1 / RATE) - 0.5 / RATE, len(sound) / SAMPLE_RATE)
    pitches = np.interp(ends, times, f0)
    found = []
    for start in range(0, len(times), BLOCK):
        first = max(start - distortion.CONTEXT, 0)
        frames = slice(first, start + BLOCK + 1 + distortion.CONTEXT)
        most = max(int(SAMPLE_RATE / 2 / pitches[frames].min()), rd.COUNT)
        partials = harmonics.analyse(sound, ends[frames], pitches[frames], most)
        shapes, confidence = rd.estimate(partials, pitches[frames])
        angles, deviations = distortion.phase_distortion(partials, pitches[frames])
        both = np.column_stack([shapes, confidence, np.exp(1j * angles), deviations])
        mean = (both[:-1] + both[1:]) / 2
        mean[:, ANGLES] = np.angle(mean[:, ANGLES])
        found.append(mean[start - first :][:BLOCK].real)
    return np.concatenate(found)


def _between(gcis: np.ndarray, values: np.ndarray, voiced: np.ndarray) -> np.ndarray:
    """(G, M) at the GCIs -> (T, M): linear between the finite ones of a voiced stretch, NaN where it has none."""
    frames = np.full((len(voiced), values.shape[1]), np.nan)
    edges = np.flatnonzero(np.diff(voiced, prepend=False, append=False))
    stretches = edges.reshape(-1, 2)  # first frame, and past the last
    for (start, end), (low, high) in zip(stretches, np.searchsorted(gcis, stretches * HOP), strict=True):
        for column, found in enumerate(values[low:high].T):
            there = np.isfinite(found)
            if there.any():
                asked = (np.arange(start, end) + 0.5) * HOP
                frames[start:end, column] = np.interp(asked, gcis[low:high][there], found[there])
    return frames


def _places(params: Params) -> list[int]:
    return [NAMES.index(name) for name in (NAMES if params.columns == "all" else MOSI5)]


def _flags(missing: np.ndarray, names: list[str]) -> tuple[str, ...]:
    """In how many frames which columns, or any of a numbered family, have no finite value."""
    families = [re.sub(r"_\d+$", "", name) for name in names]
    by_count: dict[int, list[str]] = {}
    for family in dict.fromkeys(families):
        count = int(missing[:, [other == family for other in families]].any(axis=1).sum())
        by_count.setdefault(count, []).append(family)
    return tuple(f"{', '.join(found)} not finite in {count} frames" for count, found in by_count.items() if count)
