"""index.html: what is shown of each data set, in the order of the page, and the template that shows it."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from pipeline import paths
from pipeline.tables import MODALITIES
from report import data_page, experiments, explore, plots
from report.examples import Gallery, example, parting, shortened, spoken
from report.experiments import Experiment
from report.explore import Explored
from report.facts import Dataset, ulabels
from report.params import Params
from report.plots import Plot
from report.tables import BOLD, NOTHING, Emphasised, Table, model_name

if TYPE_CHECKING:
    from jinja2 import Template

WEB = Path(__file__).parent / "web"


@dataclass(frozen=True)
class Chart:
    """A place on the page where web/*.js draw; `kind` names what, `network` of which, "" of none."""

    kind: str
    network: str
    caption: str


@dataclass(frozen=True)
class Section:
    """One data set's part of each view of the page, and the PNG files of its plots."""

    name: str
    title: str
    notes: list[str]
    charts: list[Chart]
    galleries: list[Gallery]
    experiments: list[Experiment]
    predictions: list[Table]
    facts: list[tuple[str, str]]
    label_chart: Chart | None
    tables: list[Table]
    files: list[Plot]


def section(data: Dataset, titles: Mapping[str, str], options: Params) -> Section:
    """titles: every data set's name with its title."""
    shown = may_show(data, options)
    of_experiments = [
        experiments.section(data, record, shown, options.thumbnails) for record in experiments.ordered(data.experiments)
    ]
    drawn = [found for network in data.runs for found in _network_plots(data, network)]
    labels = data_page.label_plot(data)
    return Section(
        name=data.name,
        title=data.title,
        notes=list(_notes(data, options)),
        charts=[chart for chart, _ in drawn if chart],
        galleries=[gallery for network in data.runs for gallery in _galleries(data, network, shown, options)],
        experiments=of_experiments,
        predictions=list(_predictions(data, titles, shown, options.max_rows)),
        facts=list(data_page.facts(data)) if data.clips else [],
        label_chart=Chart("labels", "", labels.caption) if labels else None,
        tables=[limited(table, options.max_rows) for table in data_page.tables(data, shown) if table.rows],
        files=[
            *(plot for _, plot in drawn),
            *(plot for experiment in of_experiments for plot in experiment.plots),
            *filter(None, [labels]),
        ],
    )


def may_show(data: Dataset, options: Params) -> bool:
    """Whether pictures and transcripts may stand in the report."""
    return bool(data.settings["redistribute"]) or options.show_all


def render(results: Sequence[Table], sections: Sequence[Section], found: Sequence[Explored]) -> str:
    """The whole page as one file: style, scripts, charting library and pictures inline, nothing loaded from the network.

    found: explore.content of each data set.
    """
    from plotly.offline import get_plotlyjs

    return template("index.html").render(
        results=results,
        sections=sections,
        nothing=NOTHING,
        data=explore.embedded({"datasets": found}),
        plotly=get_plotlyjs(),
    )


def template(name: str, *folders: Path) -> "Template":
    """One of web/ and the other folders, which may include their files' text: {{ source("style.css") }}."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader([WEB, *folders])
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["png"] = lambda content: f"data:image/png;base64,{base64.b64encode(content).decode()}"
    environment.filters["emphasised"] = _emphasised
    environment.globals["source"] = lambda file: loader.get_source(environment, file)[0]
    return environment.get_template(name)


def _emphasised(cell: str) -> str:
    """A cell of a table as HTML."""
    from markupsafe import Markup, escape

    escaped = str(escape(cell))
    return Markup(BOLD.sub(r"<strong>\1</strong>", escaped) if isinstance(cell, Emphasised) else escaped)  # noqa: S704  escaped a line above


def limited(table: Table, count: int, rest: str = "data/ingest, data/transcripts and data/features") -> Table:
    """The table's first `count` rows, saying so where there are more; `rest` names where all of them are."""
    if len(table.rows) <= count:
        return table
    note = f"{count:,} of {len(table.rows):,} rows (report.max_rows); the rest: {rest}."
    return replace(table, rows=table.rows[:count], note=f"{table.note} {note}".strip())


def _notes(data: Dataset, options: Params) -> Iterator[str]:
    if not data.clips:
        yield "No clip of it can be used: everything was refused."
        return
    if data.synthetic:
        yield "Synthetic demo: made by rawmsa demo; its numbers say that the machinery works and nothing about people."
    yield from filter(None, (data.scale, data.too_few if data.runs else ""))
    if not data.settings["labelled"]:
        yield "No labels: nothing was trained on this data set."
    elif not data.runs:
        yield f"Labels are there, but no run: not trained on{_why_untrained(data)}."
    if data.settings["redistribute"]:
        return
    if options.show_all:
        yield (
            "Pictures and transcripts are shown because report.show_all is true in params.yaml; "
            "the data set does not say that they may be passed on."
        )
    else:
        yield (
            "Pictures and transcripts are left out, clips are named by their ids alone: the data set's dataset.yaml "
            "does not say redistribute: true. For your own eyes, set report.show_all to true in params.yaml."
        )


def _why_untrained(data: Dataset) -> str:
    """Training needs clips to learn from and clips to choose with."""
    splits = {row["split"] for row in data.labels.values() if row["label"] is not None}
    missing = " and ".join(split for split in ("train", "valid") if split not in splits)
    return f", because no clip is in the split {missing}: see the label file's mode" if missing else " yet"


def _network_plots(data: Dataset, network: str) -> Iterator[tuple[Chart | None, Plot]]:
    """What is drawn of a network's runs, on the page and in a file beside it; the page draws the u-labels of any epoch."""
    best, stem = data.best(network), f"{data.name}-{network}"
    of_best = f"{data.title}: {model_name(network)}, seed {best.seed}"
    if trained := [run for run in data.runs[network] if run.curves]:
        caption = f"{data.title}: {model_name(network)}, training curves, a line a seed"
        yield (
            Chart("curves", network, caption),
            plots.plot(f"{stem}-curves", caption, partial(plots.curves, runs=trained), 2.9),
        )
    if tested := [row for row in data.predicted(network, best.seed, data.name) if row["split"] == "test"]:
        caption = f"{of_best}, predicted against true on the test split"
        draw = partial(plots.predicted, rows=tested, label_range=data.label_range)
        yield Chart("predicted", network, caption), plots.plot(f"{stem}-predicted", caption, draw, 2.4)
    if epochs := ulabels(best):
        kept = {
            epoch: _counts(epochs[epoch], data.label_range) for epoch in plots.spread(list(epochs), plots.EPOCHS_SHOWN)
        }
        caption = f"{of_best}, distribution of the u-labels over epochs (clips a bin)"
        draw = partial(plots.ulabels, epochs=kept, edges=plots.fine_edges(data.label_range))
        yield None, plots.plot(f"{stem}-ulabels", caption, draw, 0.6 + 1.2 * len(kept[max(kept)]))


def _counts(ulabels: pa.Table, label_range: tuple[float, float]) -> dict[str, np.ndarray]:
    """Clips by bin, of each modality that any clip has a u-label of."""
    columns = {name: ulabels[name].drop_null().to_numpy() for name in MODALITIES}
    return {name: plots.counted(values, label_range) for name, values in columns.items() if len(values)}


def _galleries(data: Dataset, network: str, shown: bool, options: Params) -> Iterator[Gallery]:
    best = data.best(network)
    if epochs := ulabels(best):
        last = max(epochs)
        rows = parting(epochs[last].to_pylist(), data.labels, options.examples)
        yield Gallery(
            f"{data.title}: the u-labels that part most from the m-label, "
            f"{model_name(network)}, seed {best.seed}, epoch {last}",
            [example(data, row, shown, options.thumbnails) for row in rows],
        )


def _predictions(data: Dataset, titles: Mapping[str, str], shown: bool, max_rows: int) -> Iterator[Table]:
    """A table for each run that predicted clips it has not learnt from or been tested on: another data set's,
    or of its own those without a split (by each network's best seed)."""
    keys = data.predictions.select(["network", "seed", "trained_on"]).group_by(["network", "seed", "trained_on"])
    groups = keys.aggregate([]).sort_by([("trained_on", "ascending"), ("network", "ascending"), ("seed", "ascending")])
    header = ("Clip", "Prediction", *MODALITIES, *(["Transcript"] if shown else []))
    for run in groups.to_pylist():
        own = run["trained_on"] == data.name
        found = [row for row in data.predicted(**run) if not own or row["split"] is None]
        if not found or (own and run["seed"] != data.best(run["network"]).seed):
            continue
        trained_on = titles.get(run["trained_on"], run["trained_on"])
        rows = [
            (
                row["id"],
                *(_signed(row[name]) for name in ("prediction", *MODALITIES)),
                *([shortened(spoken(data, row["id"]))] if shown else []),
            )
            for row in found
        ]
        whose = ": its clips without a label" if own else ""
        caption = f"Predictions by {model_name(run['network'])}, seed {run['seed']}, trained on {trained_on}{whose}"
        yield limited(Table(caption, header, rows), max_rows, str(paths.PREDICTIONS))


def _signed(value: float | None) -> str:
    return "-" if value is None else f"{value:+.2f}"
