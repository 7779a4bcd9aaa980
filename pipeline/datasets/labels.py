"""label.csv -> rows. Ids stay strings; a bad row is refused with every fault it has, the rest goes on.

Columns, in the field's format: video_id, clip_id, text, label, label_T, label_A, label_V, annotation, mode;
besides them `file` (in place of the ids, or to say where the clip lies), `start` and `end` (seconds that
cut the clip out of a longer video). Other columns are left alone; one that looks misspelt is told.
"""

import csv
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches
from io import StringIO
from pathlib import Path, PurePosixPath

from pipeline.datasets.description import Description
from pipeline.datasets.folder import decoded
from pipeline.datasets.refusal import CONTROL, Refusal, shown
from pipeline.errors import DatasetError, Reason
from pipeline.tables import NUMBER

COLUMNS = (
    *("video_id", "clip_id", "text", "label", "label_T", "label_A", "label_V", "annotation", "mode"),
    *("file", "start", "end"),
)
DELIMITERS = (",", ";", "\t")
CLOSE = 0.75  # difflib's ratio: lable is label (0.80), title is not file (0.67)
MOST = 64 << 20  # bytes; CMU-MOSEI's 23,000 rows are 3 MiB
MOST_FAULTS = 100_000  # of a file; one with more is no label file
MOST_COLUMNS = 100  # that are looked at for a misspelt name
LAST = 1e6  # seconds; no video lasts for eleven days
LONGEST_HEADER = 10_000  # characters that are looked at to tell the delimiter
LONGEST_ID = 255  # characters; a file's name has as many bytes
HOSTILE = re.compile(rf"[/\\]|{CONTROL.pattern}|^\.\.?$")
OUTSIDE = re.compile(rf"[A-Za-z]:|\w+://|(?s:.*){CONTROL.pattern}")
CSV_HELP = "Put a cell that holds the delimiter, a quote or a line break in quotes, and double the quotes within."


@dataclass(frozen=True)
class Row:
    """One row of label.csv; None where a cell is empty or there is no such column.

    refused: the row is not used, but kept so that its clip is not taken for one without a row.
    """

    line: int
    video_id: str | None
    clip_id: str | None
    file: str | None  # below the data set's folder, with slashes
    start: float | None
    end: float | None
    text: str | None
    label: float | None
    label_T: float | None
    label_A: float | None
    label_V: float | None
    annotation: str | None
    mode: str | None
    refused: bool = False

    @property
    def id(self) -> str | None:
        return f"{self.video_id}/{self.clip_id}" if self.video_id and self.clip_id else None

    @property
    def segment(self) -> bool:
        return self.start is not None or self.end is not None


@dataclass
class _Cells:
    """One line's cells by column, and the faults found so far: (column, found, expected and remedy)."""

    line: int
    cells: dict[str, str]
    faults: list[tuple[str, str, str]]

    def text(self, column: str) -> str | None:
        return self.cells.get(column, "").strip() or None

    def number(self, column: str, low: float, high: float) -> float | None:
        found = self.text(column)
        if found is None:
            return None
        value = float(found) if NUMBER.fullmatch(found) else math.nan
        if low <= value <= high:
            return value
        wanted = f"expected a number from {low:g} to {high:g}, with a point for decimals. Correct it"
        self.faults.append((column, shown(found), wanted))
        return None

    def words(self, column: str) -> str | None:
        """Text that may hold anything but NUL, which no text has and few tools survive."""
        found = self.text(column)
        if found and "\0" in found:
            self.faults.append((column, f"'{shown(found)}'", "expected no NUL character. Remove it"))
            return None
        return found


def read(file: Path, description: Description) -> tuple[list[Row], list[Refusal]]:
    """The rows in order, refused ones included, and a refusal a fault. Raises DatasetError."""
    header, lines, refused = _table(file)
    rows = []
    for line, cells in lines:
        named = _Cells(line, dict(zip(header, cells, strict=False)), [])
        row = _row(named, header, description)
        if len(cells) != len(header):  # so that no cell's column is certain
            named.faults = [("", f"{len(cells)} cells", f"expected {len(header)}. {CSV_HELP.rstrip('.')}")]
        rows.append(replace(row, refused=bool(named.faults)))
        refused += [_refusal(file, row, *fault) for fault in named.faults]
        if len(refused) > MOST_FAULTS:
            raise DatasetError(
                f"{file} has more than {MOST_FAULTS:,} faults, expected rows of {len(header)} cells below its header. "
                f"Correct it; the first is: {refused[0].message}"
            )
    return rows, refused


def _row(cells: _Cells, header: list[str], description: Description) -> Row:
    low, high = description.label_range
    row = Row(
        line=cells.line,
        video_id=_part_of_id(cells, "video_id"),
        clip_id=_part_of_id(cells, "clip_id"),
        file=_file(cells),
        start=cells.number("start", 0, LAST),
        end=cells.number("end", 0, LAST),
        text=cells.words("text"),
        label=cells.number("label", low, high),
        label_T=cells.number("label_T", low, high),
        label_A=cells.number("label_A", low, high),
        label_V=cells.number("label_V", low, high),
        annotation=cells.words("annotation"),
        mode=cells.text("mode"),
    )
    if "label" in header and not cells.text("label") and not cells.text("text"):
        cells.faults.append(("label", "nothing", "expected a label, or a text for a clip without one. Fill either in"))
    if row.end is not None and row.end <= (row.start or 0.0):
        cells.faults.append(("end", f"{row.end:g}", "expected a time after start. Correct either"))
    return row


def _part_of_id(cells: _Cells, column: str) -> str | None:
    found = cells.text(column)
    if not found and not cells.text("file"):
        cells.faults.append((column, "nothing", "expected the id. Fill it in"))
    parts = (
        found.split("/") if found and column == "video_id" else [found or ""]
    )  # a video may lie in nested folders: a/b
    if found and any(not part or HOSTILE.search(part) for part in parts):
        wanted = "expected no slash, '..' or control character. Rename the clip"
        cells.faults.append((column, f"'{shown(found)}'", wanted))
        return None
    if found and len(found) > LONGEST_ID:
        cells.faults.append((column, shown(found), f"expected at most {LONGEST_ID} characters. Shorten it"))
        return None
    return found


def _file(cells: _Cells) -> str | None:
    found = cells.text("file")
    if found is None:
        return None
    path = PurePosixPath(found.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or OUTSIDE.match(found):
        wanted = "expected a path below the data set's folder. Move the clip there"
        cells.faults.append(("file", f"'{shown(found)}'", wanted))
        return None
    return str(path)


def _refusal(file: Path, row: Row, column: str, found: str, wanted: str) -> Refusal:
    where = f"{file}, line {row.line}" + (f", column {column}" if column else "")
    return Refusal(str(file), Reason(column or Reason.CELLS), f"{where}: found {found}, {wanted}.", row.line, row.id)


def _table(file: Path) -> tuple[list[str], list[tuple[int, list[str]]], list[Refusal]]:
    """Header, (line, cells) of every row that is not blank, and what is no CSV."""
    text = decoded(file, MOST)
    first_line = re.split(r"[\r\n]", text.lstrip()[:LONGEST_HEADER], maxsplit=1)[0]
    delimiter = max(DELIMITERS, key=lambda mark: len(_known(first_line.split(mark))))
    lines, refused = [], []
    for first, last, cells, fault in _numbered(text, delimiter):
        if fault:
            where = f"line {first}" if first == last else f"lines {first} to {last}"
            message = f"{file}, {where}: found {fault}. {CSV_HELP}"
            refused.append(Refusal(str(file), Reason.CELLS, message, first))
        elif any(cell.strip() for cell in cells):
            lines.append((first, cells))
    line, names = lines.pop(0) if lines else (1, [])
    header = _header(file, names)
    return header, lines, [*_misspelt(file, line, header), *refused]


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


def _known(names: list[str]) -> dict[int, str]:
    """Our columns by their place among `names`; case, space and quotes around them do not matter."""
    ours = {column.casefold(): column for column in COLUMNS}
    folded = [name.strip().strip('"').casefold() for name in names]
    return {place: ours[name] for place, name in enumerate(folded) if name in ours}


def _header(file: Path, names: list[str]) -> list[str]:
    known = _known(names)
    columns = set(known.values())
    found = shown(", ".join(names) or "(none)")
    if len(columns) < len(known):
        raise DatasetError(f"{file} names a column twice: {found}; expected each once. Remove one.")
    identified = "file" in columns or {"video_id", "clip_id"} <= columns
    if not identified or not columns & {"text", "label"}:
        raise DatasetError(
            f"{file} has the columns {found}; expected video_id and clip_id (or file), and text or "
            "label. Name them so in its first line; commas, semicolons or tabs between them."
        )
    return [known.get(place, name) for place, name in enumerate(names)]


def _misspelt(file: Path, line: int, header: list[str]) -> Iterator[Refusal]:
    """Columns that are not read, but are named almost as one of ours that is not there."""
    ours = {column.casefold(): column for column in COLUMNS}
    for name in header[:MOST_COLUMNS]:
        close = get_close_matches(name.strip().casefold(), ours, 1, CLOSE)
        if close and name not in COLUMNS and (meant := ours[close[0]]) not in header:
            message = f"{file}, line {line}: found '{shown(name)}', expected '{meant}'; rename it, it is not read."
            yield Refusal(str(file), Reason.COLUMN, message, line)
