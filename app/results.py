"""rawmsa results: the results table, and the sentiment of the clips that have no label."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.answers import SYNTHETIC, number, polarity, scale
from model import run_files
from model.measures import results as measured
from model.run_files import RunRecord
from pipeline import paths, tables
from pipeline.datasets.refusal import counted, printable
from pipeline.errors import RawmsaError
from report import facts
from report import tables as shown

WIDTH = 100  # columns that a table takes at most
LISTED = 20  # clips of a data set that are printed
COLUMNS = (
    *("dataset", "id", "sentiment", "polarity", "text", "audio", "vision"),
    *("lowest", "neutral", "highest", "offset", "run", "synthetic"),
)  # fmt: skip
NOTHING_YET = (
    "There are no results yet. Of your own videos: put them into data/raw/<name>/, then: dvc repro. To try it with synthetic "
    "clips: rawmsa demo && dvc repro"
)
NO_RUN = (
    "has {count} without a label and no prediction: no run fits it. Train one on labelled clips (label.csv), or make the "
    "demo's, whose numbers say nothing about people: rawmsa demo && dvc repro"
)


@dataclass(frozen=True)
class Unlabelled:
    """The clips of a data set that have no label. rows: of predictions.parquet, by one run; run: None where none predicts them."""

    dataset: facts.Dataset
    count: int
    run: RunRecord | None
    rows: list[facts.Row]

    @property
    def offset(self) -> float:
        return float(self.dataset.settings.get("neutral", 0.0))

    def polarity(self, row: facts.Row) -> str:
        return polarity(row["prediction"], self.dataset.label_range)

    def records(self) -> Iterator[dict[str, object]]:
        """Rows of COLUMNS."""
        (low, high), run = self.dataset.label_range, self.run
        common = {"dataset": self.dataset.name, "lowest": low, "neutral": 0.0, "highest": high, "offset": self.offset}
        for row in self.rows if run else ():
            numbers = {"sentiment": row["prediction"], **{name: row[name] for name in tables.MODALITIES}}
            by = {"run": run.name, "synthetic": run.synthetic} if run else {}
            yield {**common, **by, **numbers, "id": row["id"], "polarity": self.polarity(row)}


def main(file: Path | None) -> None:
    """Print them, and write the clips without labels into a CSV. Raises RawmsaError where there is nothing yet."""
    if not (paths.METRICS.is_file() and paths.PREDICTIONS.is_file() and paths.DATASETS.is_file()):
        raise RawmsaError(NOTHING_YET)
    datasets = facts.bare()
    console = Console()
    console = Console(width=min(WIDTH, console.width) if console.is_terminal else WIDTH)
    for table in shown.results(datasets, measured.read()):
        _print_results(console, table)
    found = [one for data in datasets if (one := _unlabelled(data)).count]
    for one in found:
        _print_clips(console, one)
    if file:
        tables.write_csv(file, COLUMNS, (record for one in found for record in one.records()))
        console.print(Text(f"{file} has the clips without labels."))
    page = paths.REPORT / "index.html"
    if page.is_file():
        print(f"The report: {page.resolve()}")


def _unlabelled(dataset: facts.Dataset) -> Unlabelled:
    labelled = {id for id, row in dataset.labels.items() if row["label"] is not None}
    ids = dataset.clips.keys() - labelled
    predictions = tables.read(paths.PREDICTIONS)
    predictions = predictions.filter(pc.equal(predictions["dataset"], dataset.name))
    rows = [row for row in predictions.to_pylist() if row["id"] in ids]
    runs = {key: run_files.read(paths.run(*key)) for key in {_run_of(row) for row in rows}}
    best = min(runs, key=lambda key: (key[0] != dataset.name, runs[key].valid.mae, key), default=None)
    mine = sorted((row for row in rows if _run_of(row) == best), key=lambda row: row["id"])
    return Unlabelled(dataset, len(ids), runs[best] if best else None, mine)


def _run_of(row: facts.Row) -> tuple[str, str, int]:
    return row["trained_on"], row["network"], row["seed"]


def _print_results(console: Console, table: shown.Table) -> None:
    """The cells' two forms of a measure below each other, so that the table is narrow."""
    drawn = Table(title=Text(table.caption), box=None, padding=(0, 2, 0, 0), title_justify="left")
    for head in table.header:
        drawn.add_column(Text(head), overflow="fold")
    for row in table.rows:
        drawn.add_row(*(Text(printable(cell).replace(" / ", "\n").replace(" ± ", "±")) for cell in row))
    console.print(drawn)
    console.print(Text(f"{table.note}\n"))


def _print_clips(console: Console, one: Unlabelled) -> None:
    name = printable(one.dataset.title)
    if one.run is None:
        console.print(Text(f"{name} {NO_RUN.format(count=counted('clip', one.count))}\n"))
        return
    console.print(
        Text(
            f"{name}: {counted('clip', one.count)} without a label, predicted by the run {one.run.name}. "
            f"{scale(one.dataset.label_range, one.offset)}"
        )
    )
    if one.run.synthetic:
        console.print(Text(SYNTHETIC, style="bold red"))
    drawn = Table("clip", "sentiment", "polarity", box=None, padding=(0, 2, 0, 0))
    for row in one.rows[:LISTED]:
        drawn.add_row(*map(Text, (printable(row["id"]), number(row["prediction"]), one.polarity(row))))
    console.print(drawn)
    if (more := len(one.rows) - LISTED) > 0:
        console.print(Text(f"… and {more} more. All of them as CSV: rawmsa results --csv FILE"))
    console.print()
