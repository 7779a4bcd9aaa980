"""Figures that others published, from published.csv, to stand beside ours; each with its source.

A figure keeps the digits that it was printed with, save that MAE and Corr have no more than three. Sources:
Yu et al. 2021, "Learning Modality-Specific Representations with Self-Supervised Multi-Task Learning for Multimodal
Sentiment Analysis" (the paper), and results/result-stat.md of github.com/thuiar/MMSA, which gives no deviations.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from pathlib import Path

from pipeline import conventions
from report.facts import Dataset
from report.tables import PLAIN, Table

FIGURES = Path(__file__).with_name("published.csv")
BESIDE = {"table1": ("table1", "table3", "mmsa"), "table3": ("table3",), "table4": ("table4",)}  # experiment: tables
FACTS = ("dataset", "table", "model", "setting", "seeds", "source", "note")
THREE_DIGITS = Decimal("0.001")


@dataclass(frozen=True)
class Published:
    """One row of a published table; figures by the name of our metric: MAE and Corr as such, shares in percent."""

    dataset: str
    table: str
    model: str
    setting: str  # aligned, unaligned; empty where the source does not say
    seeds: str  # runs averaged; empty where the source does not say
    source: str
    note: str
    figures: dict[str, str]

    def cell(self, names: Sequence[str]) -> str:
        """As tables.cell: two forms of one metric as `x / y`, "-" for what was not published."""
        return " / ".join(_shown(name, self.figures.get(name, "")) for name in names)


def rows(dataset: str, experiment: str) -> list[Published]:
    """What was published on a data set of this name and belongs beside this experiment."""
    tables = BESIDE.get(experiment, ())
    return [row for row in _all() if row.dataset == dataset.lower() and row.table in tables]


def beside(results: Table, datasets: Sequence[Dataset]) -> Table:
    """A table of tables.results with a column that names each row's source, and below ours the published figures."""
    measured = {row[0] for row in results.rows}  # titles
    found = [(data, row) for data in datasets if data.title in measured for row in rows(data.name, "table1")]
    theirs = [
        (
            data.title,
            row.model,
            *(row.cell(forms) for forms in conventions.find(data.settings["convention"]).columns.values()),
            row.seeds or "-",
            ", ".join(filter(None, (row.source, row.setting))),
        )
        for data, row in found
    ]
    notes = dict.fromkeys([results.note, *(row.note for _, row in found if row.note)])
    ours = [(*row, "this report") for row in results.rows]
    return replace(results, header=(*results.header, "Source"), rows=[*ours, *theirs], note=" ".join(notes))


@cache
def _all() -> tuple[Published, ...]:
    with FIGURES.open(newline="") as file:
        return tuple(
            Published(
                **{name: row[name] for name in FACTS},
                figures={name: figure for name, figure in row.items() if name not in FACTS},
            )
            for row in csv.DictReader(file)
        )


def _shown(name: str, figure: str) -> str:
    if name in PLAIN and len(figure) > len(str(THREE_DIGITS)):
        return str(Decimal(figure).quantize(THREE_DIGITS))
    return figure or "-"
