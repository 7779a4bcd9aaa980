"""One clip as a picture: words, sound, pitch, spectral envelope, voice quality and mouth, above each other on one time axis."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from textwrap import wrap
from typing import TYPE_CHECKING

import numpy as np

from pipeline.assemble import align
from pipeline.media import SAMPLE_RATE
from report.plots import COLOURS, INK, LEGEND_COLUMNS, WIDTH
from report.tracks import Modality, Tracks

Said = tuple[str, float, float]  # a word and when it is said, in seconds
if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

VOICE = ("NAQ", "QOQ", "H1H2", "PSP", "MDQ", "peakSlope", "Rd", "creak")  # covarep's
OTHERS = (  # in their place, where the extractor was egemaps or mfcc
    *("Loudness_sma3", "jitterLocal_sma3nz", "shimmerLocaldB_sma3nz", "HNRdBACF_sma3nz", "logRelF0-H1-H2_sma3nz"),
    *("rms", "spectral_centroid"),
)
IMAGES = {"MCEP": "MCEP_", "MFCC": "mfcc_"}  # by the prefix of their columns
WIDEST = 60.0  # inches
INCHES = 1.2  # a second, in a clip that needs more than WIDTH
LETTER = 0.08  # inches
LINES = 3  # of words
UNIT = 18  # letters of a unit on one line
STROKE = SAMPLE_RATE // 400  # samples drawn as one stroke from the lowest to the highest
CLOSE = 0.025  # seconds on either side of the moment that is shown close
SLOWEST = 40  # Hz; closures further apart do not belong together
CLIPPED = 2.5  # standard deviations of an image
SHADE, SPAN, QUIET = "#fbead0", "#d5e0f3", "#aab2bf"  # behind voiced frames; behind a word; a track in unvoiced frames


@dataclass(frozen=True)
class Panel:
    height: float  # inches
    draw: Callable[["Axes"], None]
    common: bool = True  # whether its time axis is the one of all


def drawable(tracks: Tracks) -> bool:
    """Whether there is a track besides the words."""
    return any(_panels(replace(tracks, words=[])))


def size(tracks: Tracks) -> tuple[float, float]:
    """Height and width in inches: a long clip is wider."""
    return 1.5 + sum(panel.height for panel in _panels(tracks)), _width(tracks)


def draw(figure: "Figure", tracks: Tracks) -> None:
    """Every track that is there, on an empty figure of that size."""
    panels = list(_panels(tracks))
    grid = figure.add_gridspec(len(panels), 1, height_ratios=[panel.height for panel in panels])
    first: Axes | None = None
    for index, panel in enumerate(panels):
        axes = figure.add_subplot(grid[index], sharex=first if panel.common else None)
        panel.draw(axes)
        first = first or axes
        last = index + 1 == len(panels) or not panels[index + 1].common
        axes.tick_params(labelbottom=last)
        axes.set_xlabel("seconds" if last else "")
    if first:
        first.set_xlim(0, tracks.seconds)
    figure.align_ylabels()
    figure.set_layout_engine("constrained", h_pad=0.02, hspace=0)
    _legend(figure)
    title = wrap("  ·  ".join(_title(tracks)), int(figure.get_figwidth() / LETTER))
    figure.suptitle("\n".join(title), x=0.01, ha="left", fontsize=9)


def _width(tracks: Tracks) -> float:
    return float(np.clip(INCHES * tracks.seconds, WIDTH, WIDEST))


def _title(tracks: Tracks) -> Iterator[str]:
    yield f"{tracks.name}, {tracks.seconds:.2f} s"
    if tracks.audio:
        yield f"audio: {tracks.audio.extractor}"
        there = {"F0": tracks.audio.f0, **{name: tracks.audio.column(name) for name in ("MCEP_0", *VOICE)}}
        if missing := [name for name, values in there.items() if values is None]:
            yield f"not among its columns: {', '.join(missing)}"
    yield from tracks.notes


def _legend(figure: "Figure") -> None:
    """What the panels' lines mean, each once."""
    parts = [axes.get_legend_handles_labels() for axes in figure.axes]
    found = {label: handle for handles, labels in parts for handle, label in zip(handles, labels, strict=True)}
    figure.legend(found.values(), found.keys(), loc="outside lower left", ncols=LEGEND_COLUMNS)


def _panels(tracks: Tracks) -> Iterator[Panel]:
    """From top to bottom."""
    if tracks.words and tracks.timed:
        lines = _lines(tracks)
        yield Panel(0.2 * len(lines), partial(_words, lines=lines))
    elif tracks.words:
        said = " ".join(word.word for word in tracks.words)
        text = wrap(said, int(_width(tracks) / LETTER), max_lines=LINES, placeholder=" …")
        yield Panel(0.2 * len(text), partial(_transcript, lines=text))
    if len(tracks.sound):
        yield Panel(0.9, partial(_sound, tracks=tracks))
    if tracks.audio:
        yield from _voice(tracks.audio, tracks.gcis)
    if tracks.vision and (mouth := tracks.vision.mouth) is not None:
        yield Panel(0.7, partial(_mouth, times=tracks.vision.times, mouth=mouth, audio=tracks.audio))
    if len(tracks.gcis):
        yield Panel(0.9, partial(_close, tracks=tracks), common=False)


def _voice(audio: Modality, gcis: np.ndarray) -> Iterator[Panel]:
    if (f0 := audio.f0) is not None:
        yield Panel(1.2, partial(_pitch, audio=audio, f0=f0, gcis=gcis))
    for name, prefix in IMAGES.items():
        if audio.block(prefix).shape[1] > 1:
            yield Panel(1.2, partial(_image, audio=audio, name=name, block=audio.block(prefix)))
    for name in (*VOICE, *OTHERS):
        if (values := audio.column(name)) is not None:
            yield Panel(0.5, partial(_track, audio=audio, name=name, values=values))


def _lines(tracks: Tracks) -> list[list[Said]]:
    """The words on as many lines as it takes for none to run into another; LINES at most."""
    letter = LETTER * tracks.seconds / _width(tracks)  # seconds
    lines: list[list[Said]] = []
    ends: list[float] = []
    for word, (start, end) in zip(tracks.words, align.spans(tracks.words, tracks.seconds), strict=True):
        middle, reach = (start + end) / 2, letter * (len(word.word) + 1) / 2
        free = [line for line, end in enumerate(ends) if end <= middle - reach]
        if not free and len(lines) < LINES:
            free = [len(lines)]
            lines.append([])
            ends.append(0.0)
        line = free[0] if free else int(np.argmin(ends))
        lines[line].append((word.word, start, end))
        ends[line] = max(middle + reach, end)
    return lines


def _words(axes: "Axes", lines: list[list[Said]]) -> None:
    """Each word on the stretch of time in which it is said."""
    for index, words in enumerate(lines):
        spans = [(start, end - start) for _, start, end in words]
        axes.broken_barh(spans, (-index - 0.45, 0.9), color=SPAN, edgecolor="white")
        for word, start, end in words:
            axes.text((start + end) / 2, -index, word, ha="center", va="center", clip_on=True)
    axes.set_ylim(0.5 - len(lines), 0.5)
    _bare(axes, "words")


def _transcript(axes: "Axes", lines: list[str]) -> None:
    """All that was said, on so many lines: nobody knows when."""
    for line, text in enumerate(lines):
        axes.text(0, -line, text, va="center", transform=axes.get_yaxis_transform())
    axes.set_ylim(0.5 - len(lines), 0.5)
    _bare(axes, "words (no times)")


def _sound(axes: "Axes", tracks: Tracks) -> None:
    strokes = tracks.sound[: len(tracks.sound) // STROKE * STROKE].reshape(-1, STROKE)
    times = (np.arange(len(strokes)) + 0.5) * STROKE / SAMPLE_RATE
    axes.fill_between(times, strokes.min(axis=1), strokes.max(axis=1), color=INK, linewidth=0.3)
    height = 1.05 * max(float(np.abs(tracks.sound).max()), 1e-3)
    axes.set_ylim(-height, height)
    _shade(axes, tracks.audio)
    _named(axes, "sound", "1: full scale")
    if len(tracks.gcis):
        axes.axvline(_moment(tracks), color=COLOURS["text"], linestyle=":", label="place of the close-up")


def _pitch(axes: "Axes", audio: Modality, f0: np.ndarray, gcis: np.ndarray) -> None:
    """F0, and the pitch that the closures tell by themselves."""
    _line(axes, audio, f0)
    apart = np.diff(gcis)
    near = apart < 1 / SLOWEST
    middles, told = (gcis[:-1] + apart / 2)[near], 1 / apart[near]
    axes.plot(middles, told, ".", markersize=2.5, color=COLOURS["text"], label="1 / time between closures (GCIs)")
    known = f0[np.isfinite(f0) & (True if audio.voiced is None else audio.voiced)]
    if len(known):
        axes.set_ylim(0.75 * known.min(), 1.25 * known.max())
    _named(axes, "F0", "Hz")


def _image(axes: "Axes", audio: Modality, name: str, block: np.ndarray) -> None:
    """Every coefficient in its deviations from the clip's mean, since the first is many times as large as the rest."""
    constant = np.nanmax(block, axis=0) == np.nanmin(block, axis=0)
    deviation = np.where(constant, np.inf, np.nanstd(block, axis=0))
    scaled = (block - np.nanmean(block, axis=0)) / deviation  # (T, n)
    half = np.median(np.diff(audio.times)) / 2 if len(audio.times) > 1 else 0.005
    edges = (audio.times[0] - half, audio.times[-1] + half, -0.5, block.shape[1] - 0.5)
    image = axes.imshow(scaled.T, "RdBu_r", aspect="auto", origin="lower", interpolation="nearest", extent=edges)
    image.set_clim(-CLIPPED, CLIPPED)
    bar = axes.figure.colorbar(image, cax=axes.inset_axes((1.005, 0, 0.008, 1)), ticks=(-2, 0, 2))
    bar.set_label("deviations", size=7)
    axes.grid(visible=False)
    _named(axes, name, "coefficient")


def _track(axes: "Axes", audio: Modality, name: str, values: np.ndarray) -> None:
    _line(axes, audio, values)
    unit = next(column.unit for column in audio.columns if column.name == name)
    short = re.split(r",| \(", unit)[0]  # without its range and paper
    _named(axes, name.split("_sma3")[0], "" if short == "1" else "\n".join(wrap(short, UNIT)))


def _mouth(axes: "Axes", times: np.ndarray, mouth: np.ndarray, audio: Modality | None) -> None:
    axes.plot(times, mouth, ".-", markersize=3, color=COLOURS["vision"])
    axes.set_ylim(bottom=0)
    _shade(axes, audio)
    _named(axes, "mouth opening", "eye distances")


def _close(axes: "Axes", tracks: Tracks) -> None:
    """The sound about its loudest closure, each closure a line."""
    moment = _moment(tracks)
    first, last = (max(round((moment + side * CLOSE) * SAMPLE_RATE), 0) for side in (-1, 1))
    shown = tracks.sound[first:last]
    axes.plot((first + np.arange(len(shown))) / SAMPLE_RATE, shown, color=INK)
    for gci in tracks.gcis[np.abs(tracks.gcis - moment) < CLOSE]:
        axes.axvline(gci, color=COLOURS["text"], linewidth=0.8, label="closure (GCI)")
    axes.set_xlim(moment - CLOSE, moment + CLOSE)
    _named(axes, "close-up", f"{2000 * CLOSE:.0f} ms of sound")


def _moment(tracks: Tracks) -> float:
    """The closure about which the sound is loudest, in seconds."""
    energy = np.cumsum(np.pad(tracks.sound.astype(np.float64) ** 2, (1, 0)))
    first, last = (
        np.clip(((tracks.gcis + side * CLOSE) * SAMPLE_RATE).astype(int), 0, len(tracks.sound)) for side in (-1, 1)
    )
    return float(tracks.gcis[(energy[last] - energy[first]).argmax()])


def _line(axes: "Axes", audio: Modality, values: np.ndarray) -> None:
    """A track, pale where the voice does not sound."""
    voiced, label = audio.voiced, None
    if voiced is not None:
        axes.plot(audio.times, values, color=QUIET, linewidth=0.7, label="in unvoiced frames", zorder=1)
        values, label = np.where(voiced, values, np.nan), "in voiced frames"
    axes.plot(audio.times, values, color=COLOURS["audio"], linewidth=1.4, label=label)
    _shade(axes, audio)


def _shade(axes: "Axes", audio: Modality | None) -> None:
    if audio and (voiced := audio.voiced) is not None:
        high = axes.get_xaxis_transform()
        axes.fill_between(
            audio.times, 0, 1, where=voiced.tolist(), step="mid", transform=high, label="voiced", color=SHADE,
            linewidth=0, zorder=0,
        )  # fmt: skip


def _named(axes: "Axes", name: str, unit: str) -> None:
    """The name at the left, upright, so that low panels have room for it."""
    text = f"{name}\n{unit}" if unit else name
    axes.set_ylabel(text, rotation=0, ha="right", va="center")


def _bare(axes: "Axes", name: str) -> None:
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
    axes.grid(visible=False)
    _named(axes, name, "")
