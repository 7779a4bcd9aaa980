"""A transcript beside its clip: 12.srt, 12.vtt or 12.txt next to 12.mp4."""

import html
import re
from pathlib import Path
from typing import TypedDict

from pipeline.datasets.folder import decoded
from pipeline.errors import DatasetError

MOST = 16 << 20  # bytes; a day of speech is one mebibyte
TIME = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{2})[.,](\d{1,3})"
TIMING = re.compile(rf"^\s*{TIME}\s+-->\s+{TIME}")
MARKUP = re.compile(r"<[^<>]*>|\{\\[^{}]*\}")  # without < within, since thousands of them would take hours
LONG_REFERENCE = re.compile(r"&#\d{8,};?")  # of a character; none has so many digits, and int() refuses thousands


class Cue(TypedDict):
    """What is said from start to end, in seconds of the clip."""

    start: float
    end: float
    text: str


def read(file: Path, start: float | None = None, end: float | None = None) -> tuple[str | None, list[Cue]]:
    """The text and its cues (a .txt has none), for the clip that reaches from `start` to `end` of the file.

    A .txt tells no times, so it says nothing of a segment. Raises DatasetError.
    """
    text = decoded(file, MOST)
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        raise DatasetError(f"{file}: line {line} holds the byte 0x00, expected text. Save it as UTF-8.")
    if file.suffix.lower() == ".txt":
        return (text.strip() or None, []) if start is None and end is None else (None, [])
    cues = parse(text)
    if not cues and text.strip().removeprefix("WEBVTT").strip():
        raise DatasetError(
            f"{file} has no cue, expected lines such as '00:00:01,000 --> 00:00:02,500', text below each. Correct or remove it."
        )
    kept = _within(cues, start, end)
    return " ".join(cue["text"] for cue in kept) or None, kept


def parse(text: str) -> list[Cue]:
    """The cues of an .srt or .vtt file in order of time, without markup; what is no cue is passed over."""
    cues = []
    for block in re.split(r"\n\s*\n", "\n".join(text.splitlines())):
        lines = block.split("\n")
        for number, line in enumerate(lines):
            if timing := TIMING.match(line):
                start, end = _seconds(*timing.groups()[:4]), _seconds(*timing.groups()[4:])
                said = MARKUP.sub("", " ".join(lines[number + 1 :]))
                said = html.unescape(LONG_REFERENCE.sub(" ", said))
                if end > start and said.split():
                    cues.append(Cue(start=start, end=end, text=" ".join(said.split())))
                break
    return sorted(cues, key=lambda cue: (cue["start"], cue["end"]))


def _within(cues: list[Cue], start: float | None, end: float | None) -> list[Cue]:
    """The cues whose middle lies in the segment, on the segment's clock and cut to it."""
    low, high = start or 0.0, float("inf") if end is None else end
    return [
        Cue(start=max(cue["start"], low) - low, end=min(cue["end"], high) - low, text=cue["text"])
        for cue in cues
        if low <= (cue["start"] + cue["end"]) / 2 < high
    ]


def _seconds(hours: str | None, minutes: str, seconds: str, fraction: str) -> float:
    return int(hours or 0) * 3600 + int(minutes) * 60 + int(seconds) + int(fraction.ljust(3, "0")) / 1000
