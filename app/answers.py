"""What is told of a clip: one record for the command line, Python, the served page and its JSON."""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pipeline import tables
from pipeline.datasets.refusal import counted, printable

DEGREES = ("neutral", "weakly {}", "{}", "highly {}")  # CMU-MOSI's annotators had these for 0 to 3
SYNTHETIC = "WARNING: this run was trained on SYNTHETIC clips. Its numbers show that the pipeline runs and say nothing about people."
HEAD = "clip"
SHOWN = 60  # words of a transcript that are printed
SHORT = "windows: none, as the clip is no longer than one (serve.window_seconds of params.yaml)"
INDENT = 4  # of what stands below a clip's numbers
COLUMNS = (
    *("clip", "start", "end", "sentiment", "polarity", "text", "audio", "vision"),
    *("lowest", "neutral", "highest", "offset", "transcript", "transcript_source", "flags", "error", "run", "synthetic"),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What a run says of a clip, or of a window of one.

    prediction: the sentiment, on the scale of the run's labels; text, audio, vision: the outputs of the unimodal heads, on
    the same scale. None where nothing is there to predict from, the modality is absent, or the run has no such head.
    polarity: the sentiment in words, e.g. "weakly negative".
    """

    prediction: float | None = None
    polarity: str | None = None
    text: float | None = None
    audio: float | None = None
    vision: float | None = None


@dataclass(frozen=True, kw_only=True)
class Window(Outputs):
    """A part of a clip, predicted as a clip of its own. start, end: seconds of the clip."""

    start: float
    end: float


@dataclass(frozen=True, kw_only=True)
class About:
    """What is told of a run with each of its predictions.

    run: <dataset>/<network>-<seed>, or the published folder; synthetic: trained on made clips; label_range: lowest and highest
    label of its data set, less offset; neutral: 0 on that scale; offset: the neutral label of the label file: whoever adds it to
    label_range, prediction, text, audio and vision has the label file's scale; train_clips: labelled clips that it was trained
    on, None where it is not known (a published run's).
    """

    run: str
    synthetic: bool
    label_range: tuple[float, float]
    neutral: float = 0.0
    offset: float = 0.0
    train_clips: int | None = None


@dataclass(frozen=True, kw_only=True)
class Prediction(Outputs, About):
    """A clip's record.

    clip: its path, or the name of an upload; transcript: the words, normalised; transcript_source: recogniser, sidecar, given
    or none; flags: what is odd about the clip; error: why it cannot be used, and then there are no numbers; windows: its
    course in time, None where it was not asked for, empty for a clip no longer than one window.
    """

    clip: str
    transcript: str = ""
    transcript_source: str = "none"
    flags: list[str] = field(default_factory=list)
    error: str | None = None
    windows: list[Window] | None = None


def polarity(value: float, label_range: tuple[float, float]) -> str:
    """A sentiment in words: neutral; weakly negative, negative, highly negative; and the same of positive.

    CMU-MOSI's labels 0 to 3 have these names; a value has the name of the nearest label. On -3 to 3 "weakly" begins at 0.5, the
    plain word at 1.5, "highly" at 2.5; other ranges are scaled to that, each side of 0 by its own end. A value beyond the range
    counts as its end.
    """
    low, high = label_range
    degree = min(3, int(3 * value / (low if value < 0 else high) + 0.5))
    return DEGREES[degree].format("negative" if value < 0 else "positive")


def show(predictions: Sequence[Prediction], as_json: bool, csv: Path | None) -> None:
    """Print them as a table or as JSON, and write the CSV. Exits with code 1 where a clip failed."""
    synthetic = any(one.synthetic for one in predictions)
    if csv:
        tables.write_csv(csv, COLUMNS, (row for one in predictions for row in rows(one)))
    if as_json:
        print(json.dumps([asdict(one) for one in predictions], indent=2, ensure_ascii=False))
    else:
        _print(predictions)
    if csv:
        print(f"predict: {csv} has the rows", file=sys.stderr)
    if synthetic and as_json:  # the table has it at its head
        print(f"predict: {SYNTHETIC}", file=sys.stderr)
    if failed := sum(one.error is not None for one in predictions):
        print(f"predict: {failed} of {len(predictions)} clips failed", file=sys.stderr)
        raise SystemExit(1)


def rows(one: Prediction) -> Iterator[dict[str, object]]:
    """The rows of COLUMNS of a clip: the whole clip, without start and end, then its windows."""
    low, high = one.label_range
    common = {
        "clip": one.clip,
        "lowest": low,
        "neutral": one.neutral,
        "offset": one.offset,
        "highest": high,
        "run": one.run,
        "synthetic": one.synthetic,
    }
    told = {
        "transcript": one.transcript,
        "transcript_source": one.transcript_source,
        "flags": "; ".join(one.flags),
        "error": one.error,
    }
    yield {**common, **told, **_numbers(one)}
    for window in one.windows or ():
        yield {**common, "start": window.start, "end": window.end, **_numbers(window)}


def number(value: float | None) -> str:
    return "–" if value is None else f"{value:+z.2f}"  # no -0.00


def scale(label_range: tuple[float, float], offset: float) -> str:
    """A label range in words."""
    low, high = label_range
    told = f"Scale: {low:+g} (negative) to {high:+g} (positive); 0 is neutral."
    return f"{told} {tables.scale(label_range, offset)}".rstrip()


def mapped_from(own: tuple[float, float], shown: tuple[float, float]) -> str:
    """A run's label range, where its numbers were brought from there to another, 0 to 0; else ""."""
    return "" if own == shown else bounds(own)


def bounds(label_range: tuple[float, float]) -> str:
    low, high = label_range
    return f"[{low:g}, {high:g}]"


def _numbers(one: Outputs) -> dict[str, object]:
    modalities = {name: getattr(one, name) for name in tables.MODALITIES}
    return {"sentiment": one.prediction, "polarity": one.polarity, **modalities}


def _print(predictions: Sequence[Prediction]) -> None:
    """A line of numbers per clip and window; what was said, and what is odd, below the clip."""
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    first, console = predictions[0], Console()
    console.print(Text(printable(f"Run {first.run}. {scale(first.label_range, first.offset)}")))
    if first.synthetic:
        console.print(Text(SYNTHETIC, style="bold red"))
    if few := too_few(first.train_clips):
        console.print(Text(few, style="bold red"))
    names = list(map(printable, _names(predictions)))
    course = [_span(window) for one in predictions for window in one.windows or ()]
    width = max(map(len, (HEAD, *names, *course)))
    console.print(Text(_line(HEAD, width, "sentiment", "", *tables.MODALITIES), style="bold"), soft_wrap=True)
    for one, name in zip(predictions, names, strict=True):
        console.print(Text(_line(name, width, *_cells(one))), soft_wrap=True)
        source = f"words ({one.transcript_source}): {_short(one.transcript)}" if one.transcript else ""
        notes = (
            source,
            f"notes: {', '.join(one.flags)}" if one.flags else "",
            SHORT if one.windows == [] and not one.error else "",
            one.error and f"failed: {one.error}",
        )
        for note in filter(None, notes):
            console.print(Padding(Text(printable(note)), (0, 0, 0, INDENT), expand=False))
        for window in one.windows or ():
            console.print(Text(_line(_span(window), width, *_cells(window))), soft_wrap=True)


def too_few(train_clips: int | None) -> str:
    """A sentence where a run was trained on so few clips that its numbers mean nothing; else "". None: not known."""
    from model.measures.results import ENOUGH

    if train_clips is None or train_clips >= ENOUGH["train"]:
        return ""
    found = counted("clip", train_clips)
    return f"WARNING: this run was trained on {found}; at least {ENOUGH['train']} are needed. Its numbers mean nothing."


def _span(window: Window) -> str:
    return f"  {window.start:.1f} to {window.end:.1f} s"


def _short(transcript: str) -> str:
    words = transcript.split()
    return transcript if len(words) <= SHOWN else f"{' '.join(words[:SHOWN])} … ({len(words):,} words; --json has all)"


def _line(name: str, width: int, value: str, word: str, *modalities: str) -> str:
    numbers = "".join(cell.rjust(8) for cell in modalities)
    return f"{name.ljust(width)}  {value.rjust(9)}  {word.ljust(15)}{numbers}".rstrip()


def _cells(one: Outputs) -> tuple[str, str, *tuple[str, ...]]:
    modalities = (number(getattr(one, name)) for name in tables.MODALITIES)
    return number(one.prediction), one.polarity or "", *modalities


def _names(predictions: Sequence[Prediction]) -> Iterator[str]:
    """The clips' file names; the whole path of those that share one."""
    often = Counter(Path(one.clip).name for one in predictions)
    for one in predictions:
        name = Path(one.clip).name
        yield name if often[name] == 1 else one.clip
