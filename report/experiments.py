"""data/experiments/<dataset>/<name>.json -> tables, plots and remarks; on the page, in files and on the terminal."""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from model.measures import experiment_files
from model.measures.experiment_files import AnyExperiment, Case, Cases, Comparison, Distributions
from model.measures.results import too_few
from pipeline import conventions, paths
from pipeline.tables import MODALITIES, as_text, read_json
from report import comparison, plots, published, truth
from report.examples import Example, Gallery, shortened, thumbnail
from report.facts import Dataset
from report.plots import Plot
from report.tables import Table, latex, markdown, rounded

TITLES = {  # in the order of the page
    "table1": "Table 1: beside published figures",
    "table3": "Table 3: human against generated unimodal labels",
    "table4": "Table 4: unimodal tasks",
    "ulgm": "ULGM: what its parts do",
    "figure4": "Figure 4: distribution of the u-labels by epoch",
    "figure5": "Figure 5: case study",
}
SYNTHETIC = "Synthetic demo: the figures say that the machinery works and nothing about people."


@dataclass(frozen=True)
class Experiment:
    """One experiment's part of the page."""

    tables: list[Table]
    remarks: list[str]  # on the last of them
    plots: list[Plot]
    galleries: list[Gallery]


def ordered(records: Sequence[AnyExperiment]) -> list[AnyExperiment]:
    """In the order of TITLES."""
    return sorted(records, key=lambda record: list(TITLES).index(record.name))


def section(data: Dataset, record: AnyExperiment, shown: bool, thumbnails: bool) -> Experiment:
    """shown: transcripts and pictures may be."""
    return Experiment(
        tables=[] if isinstance(record, Cases) else list(_tables(record, shown)),
        remarks=list(_remarks(record)),
        plots=list(_plots(record)),
        galleries=[_gallery(data, record, shown, thumbnails)] if isinstance(record, Cases) else [],
    )


def text(dataset: str, name: str) -> str:
    """The tables and remarks of one experiment as Markdown, for a terminal.

    Transcripts show where dataset.yaml says redistribute: true. Raises TableError where the experiment was not made.
    """
    record = experiment_files.read(paths.experiment(dataset, name))
    return _markdown(record, bool(read_json(paths.DATASETS)[dataset]["redistribute"]))


def files(found: Sequence[tuple[AnyExperiment, bool]]) -> dict[str, bytes]:
    """experiments.md, .csv and .tex of records, each with whether its transcripts may be shown; none of none."""
    if not found:
        return {}
    tables = [table for record, shown in found for table in _tables(record, shown)]
    return {
        "experiments.md": "\n".join(_markdown(record, shown) for record, shown in found).encode(),
        "experiments.csv": _comma_separated([record for record, _ in found]).encode(),
        "experiments.tex": latex(tables).encode(),
    }


def _title(record: AnyExperiment) -> str:
    of = f"{record.dataset} (synthetic demo)" if record.synthetic else record.dataset
    return f"{TITLES[record.name]}, {of}"


def _run(record: Distributions | Cases) -> str:
    """Which run a figure shows."""
    return f"seed {record.seed}, the best by validation"


def _markdown(record: AnyExperiment, shown: bool) -> str:
    remarks = "".join(f"{remark}\n\n" for remark in _remarks(record))
    return f"{markdown(list(_tables(record, shown)))}\n{remarks}".rstrip() + "\n"


def _remarks(record: AnyExperiment) -> Iterator[str]:
    yield from truth.remarks(truth.followed(record))


def _tables(record: AnyExperiment, shown: bool) -> Iterator[Table]:
    for table in _unmarked(record, shown):
        if table.rows:
            few = too_few(record.dataset, record.labelled) if record.labelled else ""
            said = (table.note, few, SYNTHETIC if record.synthetic else "")
            yield Table(table.caption, table.header, table.rows, " ".join(filter(None, said)))


def _unmarked(record: AnyExperiment, shown: bool) -> Iterator[Table]:
    caption = _title(record)
    if isinstance(record, Comparison):
        yield from comparison.tables(record, caption)
    if entries := truth.followed(record):
        yield truth.table(entries, caption)
    if isinstance(record, Distributions):
        yield _distributions(record, caption)
    if isinstance(record, Cases):
        yield _cases(record, caption, shown)


def _plots(record: AnyExperiment) -> Iterator[Plot]:
    stem, caption = f"{record.dataset}-{record.name}", _title(record)
    if entries := truth.followed(record):
        yield from truth.drawn(entries, stem, caption)
    if isinstance(record, Distributions) and _made(record):
        counts = {
            epoch.epoch: {name: np.array(epoch.clips[name]) for name in _made(record)}
            for epoch in plots.spread(record.epochs, plots.EPOCHS_SHOWN)
        }
        draw = partial(plots.ulabels, epochs=counts, edges=record.edges)
        yield plots.plot(stem, f"{caption}, {_run(record)} (clips a bin)", draw, 0.6 + 1.2 * len(_made(record)))


def _made(record: Distributions) -> list[str]:
    """The modalities that figure 4 counts u-labels of."""
    return [name for name in MODALITIES if record.epochs and all(name in epoch.clips for epoch in record.epochs)]


def _distributions(record: Distributions, caption: str) -> Table:
    """Figure 4 in figures: clips whose u-label lies in a bin below 0, in the one around it, in one above it."""
    low, high = np.array(record.edges[:-1]), np.array(record.edges[1:])
    parts = (high <= 0, (low < 0) & (high > 0), low >= 0)
    rows = [
        (
            str(epoch.epoch),
            *(" / ".join(f"{np.array(epoch.clips[name])[part].sum():,}" for part in parts) for name in _made(record)),
        )
        for epoch in plots.spread(record.epochs, plots.EPOCHS_SHOWN)
    ]
    note = f"Train clips, {_run(record)}, by u-label: in a bin below 0 / in the bin around 0 / above 0."
    return Table(caption, ("Epoch", *_made(record)), rows, note)


def _cases(record: Cases, caption: str, shown: bool) -> Table:
    values = [_values(clip) for clip in record.clips]
    possible = ("prediction", *MODALITIES, *(f"true {name}" for name in MODALITIES))
    names = [name for name in possible if any(name in known for known in values)]
    rows = [
        (
            clip.id,
            f"{clip.label:+.2f}",
            *(f"{known[name]:+.2f}" if name in known else "-" for name in names),
            *([shortened(clip.text)] if shown else []),
        )
        for clip, known in zip(record.clips, values, strict=True)
    ]
    note = (
        f"Train clips, {_run(record)}. text, audio, vision: the u-labels of epoch {record.epoch}; prediction: the "
        "multimodal output; true: the unimodal label, where there is one."
    )
    return Table(caption, ("Clip", "m-label", *names, *(["Transcript"] if shown else [])), rows, note)


def _values(clip: Case) -> dict[str, float]:
    """What stands beside a clip's m-label, by name; what is not known is left out."""
    values = {
        "prediction": clip.prediction,
        **clip.made,
        **{f"true {name}": value for name, value in clip.human.items()},
    }
    return {name: value for name, value in values.items() if value is not None}


def _gallery(data: Dataset, record: Cases, shown: bool, thumbnails: bool) -> Gallery:
    examples = [
        Example(
            id=clip.id,
            label=clip.label,
            values=_values(clip),
            transcript=shortened(clip.text) if shown else None,
            picture=thumbnail(data.clips[clip.id]) if shown and thumbnails and clip.id in data.clips else None,
        )
        for clip in record.clips
    ]
    return Gallery(f"{_title(record)}: u-labels of epoch {record.epoch}, {_run(record)}", examples)


def _comma_separated(records: Sequence[AnyExperiment]) -> str:
    """One line a row of a table and measure; empty where it is not defined. Shares are in percent."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    bounds = ("low", "high", "difference", "difference_low", "difference_high")
    writer.writerow(["dataset", "note", "experiment", "row", "source", "metric", "value", "std", *bounds, "seeds"])
    for record in records:
        note = "synthetic demo" if record.synthetic else ""
        for line in _lines(record):
            writer.writerow(map(as_text, [record.dataset, note, record.name, *line]))
    return out.getvalue()


def _lines(record: AnyExperiment) -> Iterator[list[str]]:
    names = [name for forms in conventions.find(record.convention).columns.values() for name in forms]
    for row in record.rows if isinstance(record, Comparison) else ():
        for name in names:
            scores = [rounded(name, figure.get(name)) for figure in (row.scores.means, row.scores.std)]
            interval = [rounded(name, bound) for bound in row.interval.get(name) or ()] or [""] * 2
            difference = [rounded(name, figure) for figure in (row.difference or {}).get(name) or ()] or [""] * 3
            yield [row.label, "ours", name, *scores, *interval, *difference, str(row.scores.seeds)]
    for floor in record.floors if isinstance(record, Comparison) else ():
        for name in names:
            mean = rounded(name, floor.scores.means.get(name)) if floor.scores else ""
            yield [floor.label, "floor", name, mean, *[""] * 7]
    for printed in published.rows(record.dataset, record.name):
        for name in (name for name in names if printed.figures.get(name)):
            yield [printed.model, printed.source, name, printed.figures[name], *[""] * 6, printed.seeds]
