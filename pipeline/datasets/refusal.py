"""What is left out, and why."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Refusal:
    """A file or a row that is not used. `reason` is a code to count by; the message says found, expected, remedy."""

    file: str  # below the project's folder
    reason: str
    message: str
    row: int | None = None  # line of label.csv, its header being line 1
    id: str | None = None
