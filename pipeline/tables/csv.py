"""CSV files: those that people open in a spreadsheet, and label.csv, which ingest reads back."""

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from pipeline.tables.io import part_of

FORMULA = re.compile(r"\s*[=+\-@]|[\t\r\n]")
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]+)?", re.IGNORECASE)


def write_csv(path: Path, columns: Sequence[str], records: Iterable[Mapping[str, object]]) -> None:
    """CSV with a header; a key that a record lacks, or None, is an empty cell. No cell is a spreadsheet's formula."""
    write_label_csv(path, columns, ({name: as_text(cell) for name, cell in record.items()} for record in records))


def as_text(cell: object) -> object:
    """A cell that spreadsheets do not take for a formula: ' before a text that begins like one; numbers stay."""
    if not isinstance(cell, str):
        return cell
    whole = cell.replace("\r", " ")  # which csv does not quote: a reader would begin a row there
    return f"'{whole}" if FORMULA.match(cell) and not NUMBER.fullmatch(cell) else whole


def write_label_csv(path: Path, columns: Sequence[str], records: Iterable[Mapping[str, object]]) -> None:
    """The same with every cell as it is: ingest reads it back, and ids of CMU-MOSI begin with -."""
    part = part_of(path)
    with part.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
    part.replace(path)
