"""A transcript beside its clip: 12.srt, 12.vtt or 12.txt next to 12.mp4."""

import html
import re
from pathlib import Path
from typing import TypedDict

from pipeline.errors import DatasetError

TIME = r"(?:(\d+):)?(\d{1,2}):(\d{2})[.,](\d{1,3})"
TIMING = re.compile(rf"^\s*{TIME}\s+-->\s+{TIME}")
MARKUP = re.compile(r"<[^>]*>|\{\\[^}]*\}")


class Cue(TypedDict):
    """What is said from start to end, in seconds of the clip."""

    start: float
    end: float
    text: str


def read(file: Path, start: float | None = None, end: float | None = None) -> tuple[str | None, list[Cue]]:
    """The text and its cues (a .txt has none), for the clip that reaches from `start` to `end` of the file.

    A .txt tells no times, so it says nothing of a segment. Raises DatasetError.
    """
    text = _decoded(file)
    if file.suffix.lower() == ".txt":
        return (text.strip() or None, []) if start is None and end is None else (None, [])
    cues = parse(text)
    if not cues and text.strip().removeprefix("WEBVTT").strip():
        raise DatasetError(
            f"{file} has no cue. Expected lines such as '00:00:01,000 --> 00:00:02,500', text below each."
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
                said = html.unescape(MARKUP.sub("", " ".join(lines[number + 1 :])))
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


def _decoded(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DatasetError(f"{file} is not UTF-8 ({error.reason} at byte {error.start}). Save it as UTF-8.") from None
