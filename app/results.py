"""rawmsa results: the results table, and the sentiment of the clips that have no label."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.compute as pc
from rich.console import Console
from rich.table import Table
from rich.text import Text

from app.answers import SYNTHETIC, bounds, mapped_from, number, polarity, scale, too_few
from app.predict import train_clips
from model import run_files
from model.measures import results as measured
from model.run_files import RunRecord
from pipeline import paths, tables
from pipeline.datasets.refusal import counted, printable
from pipeline.errors import RawmsaError, Reason
from pipeline.tables import RefusedRow
from report import facts
from report import tables as shown

WIDTH = 100  # columns that a table takes, where its numbers fit
NARROWEST = 10  # of a column of names
WHOLE = (Reason.DATA_SET, Reason.COLUMN, Reason.NO_CLIPS)  # what concerns a whole data set, told first
NAMES = 2  # columns of names, before those of numbers
GAP = 1  # between columns of results
LISTED = 20  # clips of a data set that are printed
COLUMNS = (
    *("dataset", "id", "sentiment", "polarity", "text", "audio", "vision"),
    *("lowest", "neutral", "highest", "offset", "flags", "run", "mapped_from", "synthetic"),
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

    @property
    def mapped_from(self) -> str:
        """The run's label range, where its numbers were brought from there into this data set's; else ""."""
        return mapped_from(self.run.label_range, self.dataset.label_range) if self.run else ""

    def polarity(self, row: facts.Row) -> str:
        return polarity(row["prediction"], self.dataset.label_range)

    def records(self) -> Iterator[dict[str, object]]:
        """Rows of COLUMNS."""
        (low, high), run = self.dataset.label_range, self.run
        common = {"dataset": self.dataset.name, "lowest": low, "neutral": 0.0, "highest": high, "offset": self.offset}
        for row in self.rows if run else ():
            numbers = {"sentiment": row["prediction"], **{name: row[name] for name in tables.MODALITIES}}
            by = {"run": run.name, "synthetic": run.synthetic, "mapped_from": self.mapped_from} if run else {}
            told = {"polarity": self.polarity(row), "flags": "; ".join(self.dataset.flags(row["id"]))}
            yield {**common, **by, **numbers, **told, "id": row["id"]}


def main(file: Path | None) -> None:
    """Print them, and write the clips without labels into a CSV. Raises RawmsaError where there is nothing yet."""
    if not (paths.METRICS.is_file() and paths.PREDICTIONS.is_file() and paths.DATASETS.is_file()):
        raise RawmsaError("\n".join([*_refused(), NOTHING_YET]))
    datasets = facts.bare()
    console = Console()
    console = Console(width=min(WIDTH, console.width) if console.is_terminal else WIDTH)
    for table in shown.results(datasets, measured.read()):
        _print_results(console, table)
    found = [one for data in datasets if (one := _unlabelled(data)).count]
    for one in found:
        _print_clips(console, one)
    for line in _refused():
        console.print(Text(f"{line}\n"))
    if file:
        tables.write_csv(file, COLUMNS, (record for one in found for record in one.records()))
        count = sum(len(one.rows) for one in found)
        console.print(Text(f"{file} has {counted('row', count)}: the clips without a label that a run predicted."))
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
    """A measure's two forms below each other, the one form's deviation below its mean, so that the table is narrow. Names are
    folded where there is no room; a number never is, and a terminal that is too narrow for the numbers gets a wider table."""
    rows = [(*map(printable, row[:NAMES]), *map(_stacked, row[NAMES:])) for row in table.rows]
    drawn = Table(title=Text(table.caption), box=None, padding=(0, GAP, 0, 0), title_justify="left")
    widths = [
        max(len(line) for cell in cells for line in cell.split("\n")) for cells in zip(table.header, *rows, strict=True)
    ]
    for index, head in enumerate(table.header):
        name = index < NAMES
        drawn.add_column(
            Text(head),
            overflow="fold",
            no_wrap=not name,
            min_width=min(widths[index], NARROWEST) if name else widths[index],
        )
    for row in rows:
        drawn.add_row(*map(Text, row))
    least = sum(min(width, NARROWEST) for width in widths[:NAMES]) + sum(widths[NAMES:]) + GAP * len(widths)
    Console(width=max(console.width, least)).print(drawn)
    console.print(Text(f"{table.note}\n"))


def _stacked(cell: str) -> str:
    """Of one form, the mean and below it the deviation; of two, a line each."""
    forms = [form.replace(" ± ", "±") for form in cell.split(" / ")]
    return "\n".join(forms) if len(forms) > 1 else forms[0].replace("±", "\n±")


def _refused() -> Iterator[str]:
    """A line for each data set that ingest refused whole: its first reason."""
    if not (paths.REFUSED.is_file() and paths.DATASETS.is_file()):
        return
    used = tables.read_json(paths.DATASETS)
    for name, rows in tables.grouped(tables.read_rows(RefusedRow, paths.REFUSED)).items():
        if not name:
            yield from (f"not used: {row.message}" for row in rows if row.kind == Reason.DATA_SET_NAME)
        elif name not in used:
            first = min(rows, key=lambda row: WHOLE.index(row.kind) if row.kind in WHOLE else len(WHOLE))
            more = f" And {counted('more reason', len(rows) - 1)}: rawmsa data {name}" if len(rows) > 1 else ""
            yield f"{name}: not used: {printable(first.message)}{more}"


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
    if one.mapped_from:
        console.print(
            Text(f"The run's numbers are mapped from {one.mapped_from} to {bounds(one.dataset.label_range)}, 0 to 0.")
        )
    if one.run.synthetic:
        console.print(Text(SYNTHETIC, style="bold red"))
    if few := too_few(train_clips(paths.run(one.run.dataset, one.run.network, one.run.seed))):
        console.print(Text(few, style="bold red"))
    drawn = Table(box=None, padding=(0, 2, 0, 0))
    for head, narrow in (("clip", False), ("sentiment", True), ("polarity", True), ("notes", False)):
        drawn.add_column(head, overflow="fold", no_wrap=narrow)
    for row in one.rows[:LISTED]:
        notes = printable(", ".join(one.dataset.kinds(row["id"])))
        drawn.add_row(*map(Text, (printable(row["id"]), number(row["prediction"]), one.polarity(row), notes)))
    console.print(drawn)
    if (more := len(one.rows) - LISTED) > 0:
        console.print(Text(f"… and {more} more. All of them as CSV: rawmsa results --csv FILE"))
    console.print()
