"""report: all of these -> data/report (index.html, tables.md, tables.csv, tables.tex, plots)."""

from pipeline import params, report


def main() -> None:
    report.write(params.load("report", report.Params))
