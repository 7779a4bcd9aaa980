"""report: all of these -> data/report (index.html, tables.md, tables.csv, tables.tex, plots, cards)."""

import report
from pipeline import params


def main() -> None:
    report.run(params.load("report", report.Params))
