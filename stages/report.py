"""report: all of these -> data/report (index.html and media, tables.md, tables.csv, tables.tex, plots, cards)."""

from pipeline import params, report
from stages import cards


def main() -> None:
    report.write(params.load("report", report.Params))
    cards.write()
