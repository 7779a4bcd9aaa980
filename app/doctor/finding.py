"""A line of the doctor's: what was looked at and found, and what to do about it."""

from typing import Literal, NamedTuple


class Finding(NamedTuple):
    state: Literal["ok", "note", "fault"]  # fault: dvc repro would stop
    what: str
    remedy: str = ""
