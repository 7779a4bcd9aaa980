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
from pipeline.datasets.refusal import Refusal
from pipeline.errors import DatasetError

COLUMNS = (
    *("video_id", "clip_id", "text", "label", "label_T", "label_A", "label_V", "annotation", "mode"),
    *("file", "start", "end"),
)
DELIMITERS = (",", ";", "\t")
CLOSE = 0.75  # difflib's ratio: lable is label (0.80), title is not file (0.67)
HOSTILE = re.compile(r"[/\\\x00-\x1f\x7f]|^\.\.?$")
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
        try:
            value = float(found)
        except ValueError:
            value = math.nan
        if low <= value <= high and math.isfinite(value):
            return value
        within = f"from {low:g} to {high:g}" if math.isfinite(high) else f"of at least {low:g}"
        self.faults.append((column, found, f"expected a number {within}, with a point for decimals. Correct it"))
        return None


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
    return rows, refused


def _row(cells: _Cells, header: list[str], description: Description) -> Row:
    low, high = description.label_range
    row = Row(
        line=cells.line,
        video_id=_part_of_id(cells, "video_id"),
        clip_id=_part_of_id(cells, "clip_id"),
        file=_file(cells),
        start=cells.number("start", 0, math.inf),
        end=cells.number("end", 0, math.inf),
        text=cells.text("text"),
        label=cells.number("label", low, high),
        label_T=cells.number("label_T", low, high),
        label_A=cells.number("label_A", low, high),
        label_V=cells.number("label_V", low, high),
        annotation=cells.text("annotation"),
        mode=cells.text("mode"),
    )
    if "label" in header and not cells.text("label") and not row.text:
        cells.faults.append(("label", "nothing", "expected a label, or a text for a clip without one. Fill either in"))
    if row.end is not None and row.end <= (row.start or 0.0):
        cells.faults.append(("end", f"{row.end:g}", "expected a time after start. Correct either"))
    return row


def _part_of_id(cells: _Cells, column: str) -> str | None:
    found = cells.text(column)
    if not found and not cells.text("file"):
        cells.faults.append((column, "nothing", "expected the id. Fill it in"))
    if found and HOSTILE.search(found):
        cells.faults.append((column, repr(found), "expected no slash, '..' or control character. Rename the clip"))
        return None
    return found


def _file(cells: _Cells) -> str | None:
    found = cells.text("file")
    if found is None:
        return None
    path = PurePosixPath(found.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:|.*[\x00-\x1f]", found):
        cells.faults.append(("file", repr(found), "expected a path below the data set's folder. Move the clip there"))
        return None
    return str(path)


def _refusal(file: Path, row: Row, column: str, found: str, wanted: str) -> Refusal:
    where = f"{file}, line {row.line}" + (f", column {column}" if column else "")
    return Refusal(str(file), column or "cells", f"{where}: found {found}, {wanted}.", row.line, row.id)


def _table(file: Path) -> tuple[list[str], list[tuple[int, list[str]]], list[Refusal]]:
    """Header, (line, cells) of every row that is not blank, and what is no CSV."""
    text = _decoded(file)
    first_line = text.lstrip().split("\n", 1)[0]
    delimiter = max(DELIMITERS, key=lambda mark: len(_known(first_line.split(mark))))
    lines, refused = [], []
    for first, last, cells, fault in _numbered(text, delimiter):
        if fault:
            message = f"{file}, lines {first} to {last}: {fault}. {CSV_HELP}"
            refused.append(Refusal(str(file), "cells", message, first))
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
            cells, fault = [], str(error)
        yield first, reader.line_num, cells, fault


def _decoded(file: Path) -> str:
    raw = file.read_bytes()
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        guess = "UTF-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "GB18030 or Windows-1252, perhaps"
        raise DatasetError(
            f"{file} is not UTF-8: line {line} holds the byte 0x{raw[error.start]:02x} ({guess}). "
            "Save it as UTF-8 (in Excel: 'CSV UTF-8')."
        ) from None


def _known(names: list[str]) -> dict[int, str]:
    """Our columns by their place among `names`; case, space and quotes around them do not matter."""
    ours = {column.casefold(): column for column in COLUMNS}
    folded = [name.strip().strip('"').casefold() for name in names]
    return {place: ours[name] for place, name in enumerate(folded) if name in ours}


def _header(file: Path, names: list[str]) -> list[str]:
    known = _known(names)
    columns = set(known.values())
    if len(columns) < len(known):
        raise DatasetError(f"{file} names a column twice: {', '.join(names)}. Remove one.")
    identified = "file" in columns or {"video_id", "clip_id"} <= columns
    if not identified or not columns & {"text", "label"}:
        raise DatasetError(
            f"{file} has the columns {', '.join(names) or '(none)'}; expected video_id and clip_id (or file), and text or "
            "label. Name them so in its first line; commas, semicolons or tabs between them."
        )
    return [known.get(place, name) for place, name in enumerate(names)]


def _misspelt(file: Path, line: int, header: list[str]) -> Iterator[Refusal]:
    """Columns that are not read, but are named almost as one of ours that is not there."""
    ours = {column.casefold(): column for column in COLUMNS}
    for name in header:
        close = get_close_matches(name.strip().casefold(), ours, 1, CLOSE)
        if close and name not in COLUMNS and (meant := ours[close[0]]) not in header:
            message = f"{file}, line {line}: found '{name}', expected '{meant}'; rename it, it is not read."
            yield Refusal(str(file), "column", message, line)
