"""report: all of these -> data/report (index.html, tables.md, tables.csv, tables.tex, plots, cards)."""

from pipeline import params, report
from stages import cards


def main() -> None:
    cards.write(report.write(params.load("report", report.Params)))
