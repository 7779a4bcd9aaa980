"""The label file of a data set, label.csv, label.tsv or label.xlsx -> its header and rows of text cells."""

import csv
import os
import re
import zipfile
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

from pipeline.datasets.folder import LABEL_FILES, content, decoded
from pipeline.datasets.refusal import Refusal, examples, several, shown
from pipeline.errors import DatasetError, Reason

DELIMITERS = (",", ";", "\t")
MOST = 64 << 20  # bytes; CMU-MOSEI's 23,000 rows are 3 MiB
MOST_UNPACKED = 512 << 20  # bytes of an .xlsx, which is a zip archive
LONGEST_HEADER = 10_000  # characters that are looked at to tell the delimiter
CSV_HELP = "Put a cell that holds the delimiter, a quote or a line break in quotes, and double the quotes within."


@dataclass(frozen=True)
class Sheet:
    """What a label file holds. line: of the header, the first line being 1; rows: (line, cells) of every row that is not blank."""

    file: Path
    line: int
    header: list[str]
    rows: list[tuple[int, list[str]]]
    refused: list[Refusal]  # what is no row
    notes: list[str] = field(default_factory=list)  # what of the file is not read, in sentences


def find(folder: Path) -> Path | None:
    """The label file of a data set; None where it has none. Raises DatasetError where it has several."""
    there = [name for name in LABEL_FILES if os.path.lexists(folder / name)]
    if len(there) > 1:
        raise DatasetError(
            f"{folder} has the label files {', '.join(there)}; expected one. Remove all but the one that counts."
        )
    return folder / there[0] if there else None


def read(file: Path, columns: Collection[str]) -> Sheet:
    """columns: names that tell the delimiter of a text file, casefolded. Raises DatasetError."""
    return _excel(file) if file.suffix == ".xlsx" else _csv(file, columns)


def _csv(file: Path, columns: Collection[str]) -> Sheet:
    text = decoded(file, MOST)
    first_line = re.split(r"[\r\n]", text.lstrip()[:LONGEST_HEADER], maxsplit=1)[0]
    delimiter = max(DELIMITERS, key=lambda mark: sum(folded(name) in columns for name in first_line.split(mark)))
    rows, refused = [], []
    for first, last, cells, fault in _numbered(text, delimiter):
        if fault:
            where = f"line {first}" if first == last else f"lines {first} to {last}"
            message = f"{file}, {where}: found {fault}. {CSV_HELP}"
            refused.append(Refusal(str(file), Reason.CELLS, message, first))
        elif any(cell.strip() for cell in cells):
            rows.append((first, cells))
    line, header = rows.pop(0) if rows else (1, [])
    return Sheet(file, line, header, rows, refused)


def folded(name: str) -> str:
    """A column's name without what does not matter: case, and space and quotes around it."""
    return name.strip().strip('"').casefold()


def _numbered(text: str, delimiter: str) -> Iterator[tuple[int, int, list[str], str]]:
    """(first line, last line, cells, fault) a row; a cell may span lines. After a fault the next line is a new row."""
    reader = csv.reader(StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        first = reader.line_num + 1
        try:
            cells, fault = next(reader), ""
        except StopIteration:
            return
        except csv.Error as error:
            cells, fault = [], _fault(str(error))
        yield first, reader.line_num, cells, fault


def _fault(said: str) -> str:
    """What csv found, and what it expected, in words that tell somebody with a spreadsheet what to look for."""
    if "field larger" in said:
        return f"a cell of more than {csv.field_size_limit():,} characters, expected fewer (is a quote not closed?)"
    if "end of data" in said:
        return "a quote that is not closed, expected one at the end of the cell"
    return "text after a closing quote, expected the next cell"


def _excel(file: Path) -> Sheet:
    """The first sheet of a workbook. A formula counts as the value that was saved with it."""
    content(file, MOST)  # a regular file that can be read, of a bearable size
    try:
        with zipfile.ZipFile(file) as packed:
            unpacked = sum(part.file_size for part in packed.infolist())
        if unpacked > MOST_UNPACKED:
            raise DatasetError(
                f"{file} unpacks to {unpacked:,} bytes, expected at most {MOST_UNPACKED:,}. Split or shorten it."
            )
        names, rows = _first_sheet(file)
    except DatasetError:
        raise
    except Exception as error:  # whatever a damaged workbook makes openpyxl say: it promises nothing
        fault = shown(str(error)) or type(error).__name__
        raise DatasetError(
            f"{file} cannot be read as an Excel workbook ({fault}). Save it again as .xlsx or as UTF-8 CSV."
        ) from None
    notes = []
    if others := names[1:]:
        notes.append(
            f"{several('sheet', others, file.name)} not read ({examples(others)}): only the first sheet is. Put all rows that "
            "count in it."
        )
    line, header = rows.pop(0) if rows else (1, [])
    width = max((place for place, name in enumerate(header, 1) if name.strip()), default=0)
    cut = [(number, _to_width(cells, width)) for number, cells in rows]
    return Sheet(file, line, header[:width], cut, [], notes)


def _first_sheet(file: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The names of all sheets, and the first one's (row, cells) that are not blank."""
    from openpyxl import load_workbook

    book = load_workbook(file, read_only=True, data_only=True)
    try:
        book.worksheets[0].reset_dimensions()  # what the file says of its size may be a million rows of 16,384 cells
        rows = [(number, [_text(cell) for cell in cells]) for number, cells in enumerate(book.worksheets[0].values, 1)]
        return [sheet.title for sheet in book.worksheets], [row for row in rows if any(map(str.strip, row[1]))]
    finally:
        book.close()


def _text(cell: object) -> str:
    return "" if cell is None else str(cell)


def _to_width(cells: list[str], width: int) -> list[str]:
    """Excel keeps empty cells at a row's end or leaves them out; a filled cell beyond the header stays, as a fault."""
    while len(cells) > width and not cells[-1].strip():
        cells = cells[:-1]
    return cells + [""] * (width - len(cells))
