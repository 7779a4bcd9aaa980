"""A sound's 74 columns, block by block."""

from dataclasses import dataclass

import numpy as np

from pipeline.audio.covarep import (
    blocks,
    creak,
    distortion,
    envelope,
    gci,
    glottal,
    harmonics,
    polarity,
    rd,
    wavelets,
)
from pipeline.audio.covarep import pitch as srh
from pipeline.audio.covarep.blocks import HOP, RATE, Sound
from pipeline.audio.covarep.layout import COLUMNS
from pipeline.audio.covarep.pitch import Pitch
from pipeline.media import SAMPLE_RATE

BIT = 2.0**-15  # of 16
PHASES = 1000  # frames whose phases are worked on at once; a block holds a whole number of them
ANGLES = slice(2, 27)  # HMPDM among the columns that phases tell
PULSES = slice(2, 7)  # the columns that are measured at the closures


@dataclass(frozen=True)
class Analysis:
    """What is known of a sound. times: (T,) seconds, the middles of 10 ms; x: (T, 74) float32, finite, in the order of
    NAMES; missing: by column, the frames where x is neutral for want of a finite value; gcis: (G,) samples, rising;
    polarity: 1, or -1 of a sound that was turned over.
    """

    times: np.ndarray
    x: np.ndarray
    missing: dict[str, np.ndarray]
    pitch: Pitch
    gcis: np.ndarray
    polarity: int


def analyse(samples: np.ndarray) -> Analysis:
    """All columns of a mono sound at 16 kHz: (n,), of SHORTEST samples or more.

    What takes the whole sound comes first and keeps a number or a few a frame: polarity, pitch, the cycles. Then it is
    measured block by block.
    """
    level = _without_offset(samples)
    sign = polarity.sign(level)
    sound = _with_rounding(level, sign, silent=np.ptp(samples) == 0)
    pitch = srh.track(sound)
    cycles = gci.cycles(sound, pitch)
    last = min(len(sound.times) / RATE, len(samples) / SAMPLE_RATE)
    at_ends = np.interp(np.append(sound.times - 0.5 / RATE, last), sound.times, pitch.f0)
    x = np.empty((len(sound.times), len(COLUMNS)), np.float32)
    gcis, pulses = [], []
    for block in sound.blocks():
        x[block.own_frames], closures, measured = _measured(block, pitch, cycles, at_ends)
        gcis.append(closures)
        pulses.append(measured)
    closures = np.concatenate(gcis)
    _fill(x[:, PULSES], closures, np.concatenate(pulses), pitch.voiced)
    return Analysis(sound.times, x, _neutral(x, pitch.voiced), pitch, closures, sign)


def _measured(
    block: blocks.Block, pitch: Pitch, cycles: gci.Cycles, at_ends: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of a block's own frames (T, 74), PULSES to be filled yet, closures (G,), samples of the sound, and these columns at them, (G, 5)."""
    near, residual = pitch.within(block), block.residual(gci.ORDER)
    closed = gci.instants(block, near, cycles)
    flow = glottal.measures(block.x, closed, near)
    pulses = np.stack([flow.naq, flow.qoq, flow.h1h2, flow.psp, wavelets.mdq(residual, closed, near)], axis=1)
    times, own = block.times[block.own], block.holds(closed)
    shapes = _of_phases(block, at_ends)
    frames = [
        near.f0[block.own],
        near.voiced[block.own],
        np.zeros((len(times), pulses.shape[1])),
        wavelets.peak_slope(block.x, times),
        shapes[:, :2],
        creak.probability(block.x, residual, pitch.median, times),
        envelope.mel_cepstrum(block.x, times, near.f0[block.own]),
        shapes[:, 2:],
    ]
    return np.column_stack(frames), block.start + closed[own], pulses[own]


def _neutral(x: np.ndarray, voiced: np.ndarray) -> dict[str, np.ndarray]:
    """Make 0 what is not finite in x (T, 74). By column, the frames of it; of those measured at closures, the voiced ones."""
    missing = {}
    for column, values in zip(COLUMNS, x.T, strict=True):
        frames = np.flatnonzero(~np.isfinite(values))
        values[frames] = 0
        missing[column.name] = frames[voiced[frames]] if column.kind == "voiced" else frames
    return missing


def _without_offset(samples: np.ndarray) -> Sound:
    """Less their mean, in float64; exactly 0 where they are constant."""
    offset = samples[0] if np.ptp(samples) == 0 else np.mean(samples, dtype=np.float64)
    return Sound(lambda start, end: np.subtract(samples[start:end], offset, dtype=np.float64), len(samples))


def _with_rounding(sound: Sound, sign: int, silent: bool) -> Sound:
    """Of this polarity, with the noise of 16 bits, the same for every sound but silence, which stays silent: what is left of an
    offset in a pause would be predicted without error, and its pitch be that of the windows.
    """

    def samples(start: int, end: int) -> np.ndarray:
        random = np.random.PCG64(0)
        random.advance(start)
        noise = np.random.Generator(random).uniform(-1, 1, end - start)
        return sign * sound.samples(start, end) + BIT / 2 * noise * (not silent)

    return Sound(samples, sound.count)


def _of_phases(block: blocks.Block, f0: np.ndarray) -> np.ndarray:
    """(T, 40) of the block's own frames: Rd, Rd_conf, HMPDM, HMPDD: like the pitch, means of what is had at both ends of each
    10 ms; f0: of the whole sound, at those ends.

    In parts, since a block's harmonics take a hundred megabytes.
    """
    ends = np.minimum(np.arange(len(block.times) + 1) / RATE, len(block.x) / SAMPLE_RATE)
    pitches = f0[block.first :][: len(ends)]
    found = []
    for start in range(block.own.start, block.own.stop, PHASES):
        first = max(start - distortion.CONTEXT, 0)
        frames = slice(first, start + PHASES + 1 + distortion.CONTEXT)
        most = max(int(SAMPLE_RATE / 2 / pitches[frames].min()), rd.COUNT)
        partials = harmonics.analyse(block.x, ends[frames], pitches[frames], most)
        shapes, confidence = rd.estimate(partials, pitches[frames])
        angles, deviations = distortion.phase_distortion(partials, pitches[frames])
        both = np.column_stack([shapes, confidence, np.exp(1j * angles), deviations])
        mean = (both[:-1] + both[1:]) / 2
        mean[:, ANGLES] = np.angle(mean[:, ANGLES])
        found.append(mean[start - first : min(start + PHASES, block.own.stop) - first].real)
    return np.concatenate(found)


def _fill(frames: np.ndarray, gcis: np.ndarray, values: np.ndarray, voiced: np.ndarray) -> None:
    """(G, M) at the GCIs -> frames (T, M): linear between the finite ones of a voiced stretch, NaN where it has none."""
    frames[:] = np.nan
    edges = np.flatnonzero(np.diff(voiced, prepend=False, append=False))
    stretches = edges.reshape(-1, 2)  # first frame, and past the last
    for (start, end), (low, high) in zip(stretches, np.searchsorted(gcis, stretches * HOP), strict=True):
        for column, found in enumerate(values[low:high].T):
            there = np.isfinite(found)
            if there.any():
                asked = (np.arange(start, end) + 0.5) * HOP
                frames[start:end, column] = np.interp(asked, gcis[low:high][there], found[there])
