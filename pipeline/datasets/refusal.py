"""What is left out, and why; and how a message quotes what it found, so that no name or cell can act on a terminal."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.errors import Reason

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
NOT_PRINTABLE = re.compile(
    r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]"
)  # surrogates: how Python keeps bytes that are not UTF-8
LONGEST = 100  # characters of a cell that a message quotes


@dataclass(frozen=True)
class Refusal:
    """A file or a row that is not used. The message says found, expected, remedy; failure: as in MediaError."""

    file: str  # below the project's folder
    reason: Reason
    message: str
    row: int | None = None  # line of the label file, its header being line 1
    id: str | None = None
    failure: str = ""


def printable(text: object) -> str:
    """As it is; control characters, and bytes that are not UTF-8, written as \\x1b and \\xff."""
    return NOT_PRINTABLE.sub(lambda found: f"\\x{ord(found[0]) & 0xFF:02x}", str(text))


def shown(text: str) -> str:
    """A cell in a message: printable, and of a long one the beginning and the length."""
    cut = printable(text[:LONGEST])
    return cut if len(text) <= LONGEST else f"{cut}… ({len(text):,} characters)"


def counted(word: str, count: int) -> str:
    """1 clip, 2 clips."""
    return f"1 {word}" if count == 1 else f"{count:,} {word}s"


def several(word: str, found: Sequence[object], whose: str = "") -> str:
    """1 file is, 2 files are; 2 columns of label.csv are."""
    return f"{counted(word, len(found))}{whose and f' of {whose}'} {'is' if len(found) == 1 else 'are'}"


def examples(found: Sequence[str], most: int = 3) -> str:
    """The first of some names, as messages quote them."""
    return ", ".join(map(shown, found[:most])) + (", …" if len(found) > most else "")
