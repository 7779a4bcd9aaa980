"""data/raw -> data sets, and what lies in each: videos in any nesting, sidecars, label.csv, dataset.yaml."""

import os
import re
import stat
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from pipeline import media
from pipeline.datasets.refusal import CONTROL, Refusal, examples, printable, several
from pipeline.errors import DatasetError, MediaError, Reason
from pipeline.media import SOUNDS, VIDEOS, extension

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
SIDECARS = ("srt", "vtt", "txt")  # the first that is there wins: those with times before those without
LABEL_FILES = ("label.csv", "label.tsv", "label.xlsx")
MEANT = {
    **{name: name for name in LABEL_FILES},
    **{name.replace("label", "labels"): name for name in LABEL_FILES},
    "dataset.yaml": "dataset.yaml",
    "dataset.yml": "dataset.yaml",
}
SHEETS = frozenset({"csv", "tsv", "xlsx", "xls", "ods"})  # what may hold labels; read under the names of LABEL_FILES
IGNORED_NAMES = frozenset({"Thumbs.db", "desktop.ini"})
FEATURES = re.compile(r"features/\w+\.parquet")  # what a data set brings
KIND = re.compile(r"\.\w{1,16}\s*")  # what passes for a kind of file; after the dot of "1. My talk" comes none
BOMS_16 = (b"\xff\xfe", b"\xfe\xff")
EXCEL = " (in Excel: 'CSV UTF-8')"
BEFORE = 20  # characters that a message quotes before a wrong byte


@dataclass(frozen=True)
class Video:
    """A file (or what passes for one) with the extension of a video or of a sound. Nothing has opened it yet."""

    path: str  # below the data set's folder, with slashes
    fault: tuple[Reason, str] | None = None  # reason and message: it must not be opened

    @property
    def parent(self) -> str:
        """The folders above it, without a leading Raw: that is the field's layout, not a video's name."""
        parts = PurePosixPath(self.path).parts[:-1]
        return "/".join(parts[1:] if parts and parts[0].casefold() == "raw" else parts)

    @property
    def stem(self) -> str:
        return PurePosixPath(self.path).stem


@dataclass(frozen=True)
class Contents:
    """One data set's folder: videos in order of path; sidecars by the path of their clip without its extension.

    notes: what else lies there and is not read, a sentence for each kind.
    """

    videos: list[Video]
    sidecars: dict[str, list[str]]
    refused: list[Refusal]
    notes: list[str] = field(default_factory=list)

    def sidecar(self, stem: str) -> list[str]:
        """The sidecars of a clip, the one to prefer first."""
        return sorted(self.sidecars.get(stem, []), key=lambda path: SIDECARS.index(extension(path)))


def discover(raw: Path) -> tuple[list[Path], list[Refusal]]:
    """The data sets' folders in order of name, and what under data/raw cannot be one. Raises DatasetError."""
    if not raw.is_dir():
        raise DatasetError(f"There is no folder {raw}. Put a folder of videos in it, or make the demo: rawmsa demo")
    folders, refused = [], []
    for path in _listed(raw):
        if path.is_dir() and NAME.fullmatch(path.name):
            folders.append(path)
        elif path.is_dir():
            message = (
                f"The data set's name is {printable(path.name)!r}; it must start with a letter or digit and go on with "
                "letters, digits, '.', '_' or '-', 64 in all. Rename the folder."
            )
            refused.append(Refusal(printable(path), Reason.DATA_SET_NAME, message))
        elif extension(path.name) in VIDEOS | SOUNDS:
            message = f"{printable(path.name)} lies in no data set. Move it into a folder of its own below {raw}."
            refused.append(Refusal(printable(path), Reason.NOT_IN_A_DATA_SET, message))
    return folders, refused


def scan(folder: Path) -> Contents:
    """List a data set's files without opening any. A sound that is named like a video is that video's: no clip."""
    contents = Contents([], {}, [])
    sounds, others = Counter[str](), Counter[str]()
    sheets: dict[str, list[str]] = {}
    files = list(_walk(folder))
    videos = {PurePosixPath(file.name).stem for file in files if extension(file.name) in VIDEOS}
    for file in files:
        kind, path = extension(file.name), file.relative_to(folder).as_posix()
        if kind in SOUNDS and PurePosixPath(path).stem in videos:
            sounds[f".{kind}"] += 1
        elif kind in VIDEOS | SOUNDS:
            contents.videos.append(Video(path, _fault(file, path)))
        elif kind in SIDECARS and file.is_file():
            contents.sidecars.setdefault(path[: -len(kind) - 1], []).append(path)
        elif path != (meant := MEANT.get(file.name.casefold(), path)):
            message = f"{printable(path)} is not read, expected {folder / meant}. Rename it, or move it there."
            contents.refused.append(Refusal(printable(file), Reason.NOT_IN_ITS_PLACE, message))
        elif kind in SHEETS and path not in LABEL_FILES:
            sheets.setdefault(kind, []).append(path)
        elif path not in MEANT.values() and not FEATURES.fullmatch(path):
            others[_kind(file.name)] += 1
    for kind, found in sorted(sheets.items()):
        contents.notes.append(
            f"{several(f'.{kind} file', found)} not read ({examples(found)}). If labels are in one, name it label.csv, label.tsv or "
            "label.xlsx (first save an .xls or .ods file as .xlsx)."
        )
    for counts, why in (
        (sounds, "they have the names of videos, whose own sound is used"),
        (others, "expected videos, sounds, their .srt, .vtt or .txt, label.csv, dataset.yaml. Rename or convert clips"),
    ):
        if counts:
            kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(counts.items()))
            contents.notes.append(f"files that are not read: {kinds}: {why}.")
    return contents


def _kind(name: str) -> str:
    """What an unknown file ends in, as a message has it."""
    suffix = PurePosixPath(name).suffix.lower()
    if not KIND.fullmatch(suffix):
        return "without an extension"
    return suffix if suffix == suffix.rstrip() else f"'{printable(suffix)}' (a blank at its end)"


def content(file: Path, most: int) -> bytes:
    """A file's bytes. Raises DatasetError where it is no regular file, cannot be read or has more than `most` bytes."""
    try:
        status = file.stat()
        if not stat.S_ISREG(status.st_mode):
            raise DatasetError(f"{file} is a folder, pipe or device, expected a regular file. Remove it.")
        if status.st_size > most:
            raise DatasetError(
                f"{printable(file)} has {status.st_size:,} bytes, expected at most {most:,}. Split or shorten it."
            )
        return file.read_bytes()
    except OSError as error:
        raise DatasetError(
            f"{printable(file)} cannot be read ({error.strerror}), expected a regular file. Restore or remove it."
        ) from None


def decoded(file: Path, most: int) -> str:
    """A text file's content, without its byte order mark. Raises DatasetError, naming the first byte that is not UTF-8."""
    raw = content(file, most)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8-sig", "ignore")
        lines = re.split(r"\r\n?|\n", before)
        where = f"after '{printable(lines[-1][-BEFORE:])}'" if lines[-1] else "at its start"
        guess = "UTF-16" if raw[:2] in BOMS_16 else "GB18030 or Windows-1252, perhaps"
        raise DatasetError(
            f"{printable(file)} is not UTF-8: line {len(lines)} holds the byte 0x{raw[error.start]:02x} {where} ({guess}). "
            f"Save it as UTF-8{EXCEL if file.suffix == '.csv' else ''}."
        ) from None


def _walk(folder: Path) -> Iterator[Path]:
    """Every file below, folders that are named like a video too; a link back to a folder above is not followed."""
    waiting: list[tuple[Path, tuple[Path, ...]]] = [(folder, ())]
    while waiting:
        path, above = waiting.pop()
        if above and (not path.is_dir() or extension(path.name) in VIDEOS):
            yield path
        elif (real := path.resolve()) not in above:
            waiting += [(below, (*above, real)) for below in reversed(_listed(path))]


def _listed(folder: Path) -> list[Path]:
    try:
        paths = sorted(folder.iterdir(), key=lambda path: os.fsencode(path.name))
    except OSError as error:
        raise DatasetError(
            f"{printable(folder)} cannot be listed ({error.strerror}), expected a folder that can. "
            "Allow it (chmod), shorten its path, or remove it."
        ) from None
    return [p for p in paths if not (p.name.startswith(".") or p.name in IGNORED_NAMES or extension(p.name) == "dvc")]


def _fault(file: Path, path: str) -> tuple[Reason, str] | None:
    """Why the file must not be opened (a pipe would hang whoever does)."""
    if CONTROL.search(path):  # as in the ids of label.csv: a stage prints ids, and a terminal acts on these
        return Reason.NAME, f"The name of {printable(path)} holds a control character, expected none. Rename it."
    if path != printable(path):
        return Reason.NAME, f"The name of {printable(path)} is not UTF-8, which DVC and Parquet need. Rename it."
    try:
        media.check(file)
    except MediaError as error:
        return error.reason, error.message
    return None
