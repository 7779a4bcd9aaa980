"""rawmsa show: one clip as a picture of all its tracks, and what is known of it in figures."""

import hashlib
import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from app.answers import bounds, mapped_from, number
from model import run_files
from pipeline import params, paths, tables
from pipeline.datasets.refusal import printable
from pipeline.errors import RawmsaError
from pipeline.tables import ClipRow, LabelRow
from report import clip, plots, tracks
from report.tracks import Tracks

LONGEST = 200  # bytes of a file's name; file systems take 255


def main(name: str, out: Path | None, screen: bool) -> None:
    """Print a clip's figures and write its picture; with `screen`, show that in a window too. Raises RawmsaError."""
    params.read()  # says so outside a project
    row = tracks.find(name)
    found = tracks.read(row)
    _print(row, found)
    if not clip.drawable(found):
        raise RawmsaError(f"{found.name} has nothing to draw: {'; '.join(found.notes)}")
    file = out or paths.SHOW / f"{_file_name(found.name)}.png"
    file.parent.mkdir(parents=True, exist_ok=True)
    draw = partial(clip.draw, tracks=found)
    file.write_bytes(plots.png(draw, *clip.size(found)))
    print(f"The picture: {file.resolve()}")
    if screen:
        plots.window(draw, *clip.size(found))


def _file_name(name: str) -> str:
    """Of letters, digits and -._, as an id may hold anything; a long one cut, and told apart by a hash."""
    plain = re.sub(r"[^\w.-]+", "-", name)
    if len(plain.encode()) <= LONGEST:
        return plain
    cut = plain.encode()[:LONGEST].decode(errors="ignore")
    return f"{cut}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _print(row: ClipRow, found: Tracks) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE, show_header=False, pad_edge=False)
    for key, value in _facts(row, found):
        table.add_row(key, Text(printable(value)))  # Text, since a str is markup
    Console().print(table)


def _facts(row: ClipRow, found: Tracks) -> Iterator[tuple[str, str]]:
    yield "clip", found.name
    yield "seconds", f"{found.seconds:.2f}"
    if found.audio and (voiced := found.audio.voiced) is not None:
        yield "voiced", f"{voiced.mean():.0%} of {len(voiced):,} frames"
        if found.audio.f0 is not None and voiced.any():
            yield "median F0", f"{np.median(found.audio.f0[voiced]):.0f} Hz"
    if found.vision:
        there = found.vision.there
        yield "face", f"{there.mean():.0%} of {len(there):,} frames"
    yield "words", f"{len(found.words)}: {' '.join(word.word for word in found.words)}"
    yield from _sentiment(row)
    if odd := [*map(str, row.flags), *found.notes]:
        yield "odd", ", ".join(odd)


def _sentiment(row: ClipRow) -> Iterator[tuple[str, str]]:
    """The label and every network's prediction, where there are any."""
    for label in tables.read_rows(LabelRow, paths.LABELS, row.id):
        if label.dataset == row.dataset and label.label is not None:
            yield "label", f"{number(label.label)} ({label.split})"
    predictions = tables.read(paths.PREDICTIONS, clip=row.id).to_pylist() if paths.PREDICTIONS.is_file() else []
    seeds: dict[str, list[float]] = {}
    for found in predictions:
        if found["dataset"] == row.dataset:
            run = paths.run(found["trained_on"], found["network"], found["seed"])
            name = f"{found['network']} trained on {found['trained_on']}{_mapped(run, row.dataset)}"
            seeds.setdefault(name, []).append(found["prediction"])
    for network, values in seeds.items():
        yield "prediction", f"{number(float(np.mean(values)))} by {network}, mean of seeds: {len(values)}"


def _mapped(run: Path, dataset: str) -> str:
    """That its numbers were brought from the run's label range to the data set's, where they were."""
    shown = tables.read_facts(paths.DATASETS)[dataset].label_range
    own = run_files.read(run).label_range if run_files.is_run(run) else shown
    return f", mapped from {bounds(own)} to {bounds(shown)}" if mapped_from(own, shown) else ""
