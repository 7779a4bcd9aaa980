"""The label file -> rows. Ids stay strings; a bad row is refused with every fault it has, the rest goes on.

Columns, in the field's format: video_id, clip_id, text, label, label_T, label_A, label_V, annotation, mode;
besides them `file` (in place of the ids, or to say where the clip lies), `start` and `end` (seconds that
cut the clip out of a longer video). Other columns are named as not read. One that may be meant for a column of ours is asked
about; where it would decide what is learned (DECISIVE), the data set is not read until it is renamed or removed.
"""

import math
import re
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path, PurePosixPath

from pipeline.datasets import scale, sheets
from pipeline.datasets.description import Described
from pipeline.datasets.refusal import CONTROL, Refusal, examples, several, shown
from pipeline.datasets.scale import Observed
from pipeline.datasets.sheets import CSV_HELP, Sheet, folded
from pipeline.errors import DatasetError, Reason
from pipeline.tables import NUMBER, SPLITS

COLUMNS = (
    *("video_id", "clip_id", "text", "label", "label_T", "label_A", "label_V", "annotation", "mode"),
    *("file", "start", "end"),
)
MODES = {
    **{split: split for split in SPLITS},
    **dict.fromkeys(("val", "dev", "validation", "validate", "development"), "valid"),
    **{"training": "train", "testing": "test"},
}
OURS = {column.casefold(): column for column in COLUMNS}
DECISIVE = ("mode", "label", "start", "end")
OTHER_NAMES = {  # of columns in people's own files, without - _ and blanks
    "mode": "split splits set subset fold partition phase usage datasplit splitname traintest",
    "label": "sentiment score y target polarity valence rating class emotion sentimentlabel sentimentscore gold labels",
    "start": "begin onset from starttime starts startsec startseconds begintime",
    "end": "stop offset to endtime ends endsec endseconds stoptime",
    "text": "transcript transcription sentence utterance caption rawtext words",
    "file": "path filename filepath video videofile clip clipfile",
    "video_id": "vid video videoname id",
    "clip_id": "clip segment segmentid clipname",
}
MEANT = {name: column for column, names in OTHER_NAMES.items() for name in names.split()}
CLOSE = 0.75  # difflib's ratio: lable is label (0.80), title is not file (0.67)
MOST_FAULTS = 100_000  # of a file; one with more is no label file
MOST_COLUMNS = 100  # that are looked at for a misspelt name
MOST_ASKED = 4  # questions of one message
MOST_NAMED = 20  # columns of one message
LAST = 1e6  # seconds; no video lasts for eleven days
LONGEST_ID = 255  # characters; a file's name has as many bytes
HOSTILE = re.compile(rf"[/\\]|{CONTROL.pattern}|^\.\.?$")
OUTSIDE = re.compile(rf"[A-Za-z]:|\w+://|(?s:.*){CONTROL.pattern}")


@dataclass(frozen=True)
class Row:
    """One row of a label file; None where a cell is empty or there is no such column.

    label, label_T, label_A, label_V: less the data set's neutral label; refused: the row is not used, but kept so that its clip is not taken for one without a row.
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

    def label(self, column: str, told: Described) -> float | None:
        """A label less the neutral one."""
        found = self.text(column)
        if found is None:
            return None
        value, (low, high) = told.number(found), told.label_range
        if value is not None and low <= value <= high:
            return value - told.neutral
        self.faults.append((column, shown(found), f"expected {scale.expected(told)}. Correct it"))
        return None

    def words(self, column: str) -> str | None:
        """Text that may hold anything but NUL, which no text has and few tools survive."""
        found = self.text(column)
        if found and "\0" in found:
            self.faults.append((column, f"'{shown(found)}'", "expected no NUL character. Remove it"))
            return None
        return found


@dataclass(frozen=True)
class Labels:
    """What a label file says: rows in order, refused ones included, and a refusal for each fault.

    notes: sentences on what is not read and on labels that may be on another scale; observed: the labels, on the file's scale.
    """

    file: Path
    rows: list[Row]
    refused: list[Refusal]
    notes: list[str]
    observed: Observed | None


def read(file: Path, told: Described) -> Labels:
    """Raises DatasetError where the file as a whole cannot be used, or nobody could tell what its labels mean."""
    sheet = sheets.read(file, OURS)
    header = _header(sheet)
    asked, notes = _unread(sheet, header, told)
    refused = [*asked, *sheet.refused]
    rows, labels = [], []
    for line, cells in sheet.rows:
        named = _Cells(line, dict(zip(header, cells, strict=False)), [])
        row = _row(named, told)
        if len(cells) != len(header):  # so that no cell's column is certain
            named.faults = [("", f"{len(cells)} cells", f"expected {len(header)}. {CSV_HELP.rstrip('.')}")]
        elif label := named.text("label"):
            labels.append((line, label))
        rows.append(replace(row, refused=bool(named.faults)))
        refused += [_refusal(file, row, *fault) for fault in named.faults]
        if len(refused) > MOST_FAULTS:
            raise DatasetError(
                f"{file} has more than {MOST_FAULTS:,} faults, expected rows of {len(header)} cells below its header. "
                f"Correct it; the first is: {refused[0].message}"
            )
    observed, doubts = scale.checked(file, labels, told)
    return Labels(file, rows, refused, [*sheet.notes, *notes, *doubts], observed)


def _row(cells: _Cells, told: Described) -> Row:
    row = Row(
        line=cells.line,
        video_id=_part_of_id(cells, "video_id"),
        clip_id=_part_of_id(cells, "clip_id"),
        file=_file(cells),
        start=cells.number("start", 0, LAST),
        end=cells.number("end", 0, LAST),
        text=cells.words("text"),
        label=cells.label("label", told),
        label_T=cells.label("label_T", told),
        label_A=cells.label("label_A", told),
        label_V=cells.label("label_V", told),
        annotation=cells.words("annotation"),
        mode=cells.text("mode"),
    )
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


def _header(sheet: Sheet) -> list[str]:
    """The names of the columns, ours as COLUMNS has them. Raises DatasetError."""
    found = shown(", ".join(sheet.header) or "(none)")
    known = [OURS.get(folded(name)) for name in sheet.header]
    columns = {column for column in known if column}
    if len(columns) < sum(column is not None for column in known):
        raise DatasetError(f"{sheet.file} names a column twice: {found}; expected each once. Remove one.")
    identified = "file" in columns or {"video_id", "clip_id"} <= columns
    if not identified or not columns & {"text", "label"}:
        asked = [
            f"{shown(name)}: did you mean {meant}?"
            for name in sheet.header[:MOST_COLUMNS]
            if (meant := _meant(name)) and meant not in columns
        ]
        raise DatasetError(
            f"{sheet.file} has the columns {found}; expected video_id and clip_id (or file), and text or "
            f"label. {' '.join([*asked[:MOST_ASKED], ''])}Name them so in its first line; commas, semicolons or tabs between them."
        )
    return [column or name for column, name in zip(known, sheet.header, strict=True)]


def _unread(sheet: Sheet, header: list[str], told: Described) -> tuple[list[Refusal], list[str]]:
    """The columns that are not read: questions about those that may be ours, and a sentence on the others.

    Raises DatasetError where one may be meant for a column of DECISIVE: its clips must not be learned from as if it were not there.
    """
    asked, others = [], []
    for place, name in enumerate(header):
        if name in COLUMNS:
            continue
        cells = [cells[place].strip() for _, cells in sheet.rows if len(cells) == len(header) and cells[place].strip()]
        meant = (_meant(name) if place < MOST_COLUMNS else None) or ("mode" if _splits(cells) else None)
        decides = meant in DECISIVE and (_other_name(name) or _fits(meant, cells))
        if meant is None or meant in header or _said_otherwise(meant, header, told):
            others.append(name.strip() or f"the {place + 1}th, which has no name")
        elif decides:
            raise DatasetError(_undecided(sheet, name, meant, cells))
        elif meant in DECISIVE:  # spelt alike by chance
            others.append(name)
        else:
            message = f"{sheet.file}, line {sheet.line}: found '{shown(name)}', expected '{meant}'; rename it, it is not read."
            asked.append(Refusal(str(sheet.file), Reason.COLUMN, message, sheet.line))
    notes = (
        [f"{several('column', others, sheet.file.name)} not read: {examples(others, MOST_NAMED)}."] if others else []
    )
    return asked, notes


def _said_otherwise(meant: str, header: list[str], told: Described) -> bool:
    """Whether nothing is lost by not reading a column that may be meant for this one."""
    if meant == "mode":
        return told.split == "by_video"
    return "file" in header if meant in ("video_id", "clip_id") else meant == "file" and "video_id" in header


def _undecided(sheet: Sheet, name: str, meant: str, cells: list[str]) -> str:
    instead = ", or write 'split: by_video' in dataset.yaml to have videos split by chance" if meant == "mode" else ""
    found = examples(sorted(set(cells))) or "nothing"
    return (
        f"{sheet.file}, line {sheet.line}: the column '{shown(name)}' (it holds {found}) would not be read, and there is no column "
        f"'{meant}': did you mean {meant}? Rename it to {meant} if so; else rename or remove it{instead}."
    )


def _plain(name: str) -> str:
    return re.sub(r"[-_\s]", "", folded(name))


def _other_name(name: str) -> str | None:
    return MEANT.get(_plain(name))


def _meant(name: str) -> str | None:
    """The column of ours for which another name stands, or of which it is a misspelling."""
    if other := _other_name(name):
        return other
    close = get_close_matches(folded(name), OURS, 1, CLOSE)
    return OURS[close[0]] if close else None


def _fits(column: str, cells: list[str]) -> bool:
    """Whether a misspelt column holds what one of DECISIVE would."""
    return bool(cells) and all(
        (cell.casefold() in MODES) if column == "mode" else NUMBER.fullmatch(cell) for cell in cells
    )


def _splits(cells: list[str]) -> bool:
    """Whether a column, whatever its name, says who is trained on and who tested on."""
    return len({MODES[cell.casefold()] for cell in cells if cell.casefold() in MODES}) > 1 and _fits("mode", cells)
