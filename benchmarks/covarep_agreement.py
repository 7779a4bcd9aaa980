"""The agreement table of benchmarks/covarep.py: our columns beside those that COVAREP itself gave for the same sound.

Both are on the grid of 10 ms; the first and last 10 frames are left out, and all columns but VUV are compared where both
are voiced. COVAREP spreads its MCEP frames, which run from 50 ms to length - 50 ms, evenly over the file, from its start
to its end; for the comparison, and nowhere else, ours are made at those frames and spread likewise.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from scipy import stats
from scipy.io import wavfile

from pipeline.audio.covarep import analysis, envelope, layout
from pipeline.media import SAMPLE_RATE
from report.tables import Table

ENDS = 10  # frames
MARGIN = 0.05  # seconds from either end of the file to COVAREP's first and last MCEP frame
LATER = 37  # samples by which the sound is moved, to see what a column says of the same voice
USED = 1e-2  # |HMPDM| above it in most voiced frames, or the reference's column is constant
F0_TOLERANCE, ANGLE_TOLERANCE = 0.02, 0.5  # share, radians
SPREADS = 0.5  # the other columns': of the reference's interquartile range
GLOTTAL = ("NAQ", "QOQ", "H1H2", "PSP")
VUV = layout.NAMES.index("VUV")
MCEP = [place for place, name in enumerate(layout.NAMES) if name.startswith("MCEP")]


@dataclass(frozen=True)
class Column:
    """How one column of one clip agrees; NaN where it cannot be told."""

    pearson: float
    spearman: float
    difference: float  # median, over the reference's interquartile range
    within: float  # share of frames within tolerance
    error: float  # mean


@dataclass(frozen=True)
class Aim:
    """A row of the summary: the mean of a measure over columns, in a clip."""

    row: str
    columns: tuple[str, ...]
    measure: str
    aim: float
    most: bool = False  # the aim is an upper limit

    def of(self, columns: Mapping[str, Column]) -> float:
        there = _there([getattr(columns[name], self.measure) for name in self.columns])
        return float(np.mean(there)) if there else np.nan


def numbered(name: str, start: int, end: int) -> tuple[str, ...]:
    return tuple(f"{name}_{i}" for i in range(start, end))


AIMS = (
    Aim("VUV, share equal", ("VUV",), "within", 0.95),
    Aim("F0, share within 2 %", ("F0",), "within", 0.95),
    Aim("MCEP_0-12, Pearson", numbered("MCEP", 0, 13), "pearson", 0.95),
    Aim("MCEP_13-24, Pearson", numbered("MCEP", 13, 25), "pearson", 0.80),
    Aim("peakSlope, Pearson", ("peakSlope",), "pearson", 0.95),
    Aim("MDQ, Pearson", ("MDQ",), "pearson", 0.60),
    *(Aim(f"{name}, Spearman", (name,), "spearman", 0.70) for name in GLOTTAL),
    Aim("Rd, Pearson", ("Rd",), "pearson", 0.65),
    Aim("Rd_conf, Pearson", ("Rd_conf",), "pearson", 0.80),
    Aim("HMPDD_0-12, Pearson", numbered("HMPDD", 0, 13), "pearson", 0.75),
    Aim("HMPDM, mean wrapped error, rad", numbered("HMPDM", 0, 25), "error", 0.5, most=True),
)


def clip(sound: np.ndarray, reference: np.ndarray) -> dict[str, Column]:
    """Ours of `sound` beside the reference, (T, 74), by column."""
    found = analysis.analyse(sound)
    if found.x.shape != reference.shape:
        raise SystemExit(f"The reference has {reference.shape} frames and columns, ours {found.x.shape}.")
    really, cepstra = _mcep(sound, found)
    then, stretched = _at(found.times, found.x, really), reference.copy()
    then[:, MCEP] = cepstra
    stretched[:, VUV] = _at(found.times, reference, really)[:, VUV]
    pairs = {name: (then, stretched) if name.startswith("MCEP") else (found.x, reference) for name in layout.NAMES}
    return {name: _column(name, *pair) for name, pair in pairs.items()}


def moved(sound: np.ndarray) -> dict[str, Column]:
    """Ours beside ours of the same sound without its first LATER samples: how much of a column is the voice, and not the grid."""
    found, later = analysis.analyse(sound), analysis.analyse(sound[LATER:])
    x = _at(later.times + LATER / SAMPLE_RATE, later.x, found.times)
    return {name: _column(name, x, found.x) for name in layout.NAMES}


def _mcep(sound: np.ndarray, found: analysis.Analysis) -> tuple[np.ndarray, np.ndarray]:
    """When the rows of COVAREP's MCEP were measured, (T,); and our MCEP of its frames, spread as it spreads them, (T, 25)."""
    seconds = len(sound) / SAMPLE_RATE
    steps = math.floor((seconds - 2 * MARGIN) * layout.RATE + 1e-6)  # 7.9 s hold 790 of them, however that is rounded
    frames = MARGIN + np.arange(steps + 1) / layout.RATE
    cepstra = envelope.mel_cepstrum(sound, frames, np.interp(frames, found.times, found.pitch.f0))
    really = MARGIN + found.times / seconds * steps / layout.RATE
    return really, _at(frames, cepstra, really)


def _at(times: np.ndarray, x: np.ndarray, asked: np.ndarray) -> np.ndarray:
    return np.stack([np.interp(asked, times, column) for column in x.T], axis=1)


def _column(name: str, x: np.ndarray, reference: np.ndarray) -> Column:
    chosen = np.zeros(len(x), bool)
    chosen[ENDS:-ENDS] = True
    if name != "VUV":
        chosen &= (x[:, VUV] > 0.5) & (reference[:, VUV] > 0.5)
    place = layout.NAMES.index(name)
    ours, true = x[chosen, place], reference[chosen, place].astype(float)
    angle = name.startswith("HMPDM")
    if not len(true) or (angle and np.median(np.abs(true)) <= USED):
        return Column(*[np.nan] * 5)
    if angle:
        ours = true + np.angle(np.exp(1j * (ours - true)))
    spread = float(np.subtract(*np.percentile(true, [75, 25])))
    tolerance = {"F0": F0_TOLERANCE * true, "VUV": 0.5}.get(name, ANGLE_TOLERANCE if angle else SPREADS * spread)
    apart = np.abs(ours - true)
    varies = np.ptp(true) > 0 and np.ptp(ours) > 0
    return Column(
        pearson=float(stats.pearsonr(ours, true)[0]) if varies else np.nan,
        spearman=float(stats.spearmanr(ours, true)[0]) if varies else np.nan,
        difference=float(np.median(apart)) / spread if spread else np.nan,
        within=float(np.mean(apart <= tolerance)),
        error=float(apart.mean()),
    )


def read(file: Path) -> np.ndarray:
    """A 16 kHz mono .wav of 16 bits: (n,) float64 in [-1, 1)."""
    rate, samples = wavfile.read(file)
    if (rate, samples.ndim, samples.dtype) != (SAMPLE_RATE, 1, np.int16):
        raise SystemExit(
            f"{file} has {rate} Hz, shape {samples.shape}, {samples.dtype}; expected 16 kHz, mono, 16 bits."
        )
    return samples / 32768


def run(folder: Path) -> list[Table]:
    """Both tables, of every .npz of `folder` that lies beside a .wav."""
    ours, moves = [], []
    for file in sorted(folder.glob("*.npz")):
        if file.with_suffix(".wav").is_file():
            sound = read(file.with_suffix(".wav"))
            with np.load(file) as reference:
                ours.append(clip(sound, reference["features"]))
            moves.append(moved(sound))
    if not ours:
        raise SystemExit(f"{folder} holds no .npz with a .wav of the same name.")
    return [by_column(ours, moves), summary(ours, moves)]


def by_column(ours: Sequence[dict[str, Column]], moves: Sequence[dict[str, Column]]) -> Table:
    header = ("column", "Pearson", "Spearman", "difference / IQR", "within tolerance", "mean error", "moved: Pearson")
    rows = []
    for name in layout.NAMES:
        values = [_median([getattr(columns[name], field.name) for columns in ours]) for field in fields(Column)]
        bound = _median([columns[name].pearson for columns in moves])
        rows.append((name, *(_shown(value) for value in (*values, bound))))
    note = (
        f"Tolerance: F0 {F0_TOLERANCE:.0%}, VUV equal, HMPDM {ANGLE_TOLERANCE} rad, the rest {SPREADS} of the reference's "
        f"interquartile range (IQR). Moved: ours of the sound {LATER} samples later, beside ours."
    )
    return Table(f"Ours beside COVAREP's, medians over {len(ours)} clips", header, rows, note)


def summary(ours: Sequence[dict[str, Column]], moves: Sequence[dict[str, Column]]) -> Table:
    rows = []
    for aim in AIMS:
        found = [aim.of(columns) for columns in ours]
        columns = _there([_median([getattr(one[name], aim.measure) for one in ours]) for name in aim.columns])
        worst = (max if aim.most else min)(columns, default=np.nan)
        median = _median(found)
        met = "yes" if (median <= aim.aim if aim.most else median >= aim.aim) else "no"
        bound = _median([aim.of(one) for one in moves])
        clips = " ".join(_shown(value) for value in found)
        rows.append((aim.row, _shown(aim.aim), _shown(median), met, clips, _shown(worst), _shown(bound)))
    return Table("Summary", ("row", "aim", "median", "met", "clip by clip", "worst column", "moved"), rows)


def _there(values: Sequence[float]) -> list[float]:
    return [value for value in values if not np.isnan(value)]


def _median(values: Sequence[float]) -> float:
    there = _there(values)
    return float(np.median(there)) if there else np.nan


def _shown(value: float) -> str:
    return "-" if np.isnan(value) else f"{value:.3f}"
