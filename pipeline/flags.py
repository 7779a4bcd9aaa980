"""What can be odd about a clip that is used: every flag, worded once, for tables and for people alike."""

import re
from dataclasses import dataclass
from enum import Enum
from functools import cache

from pipeline.errors import TableError


class Flag(Enum):
    """One kind of oddity. The value is its wording; {columns}, {reason}, {count} and {whole} stand for the data of a Flagged."""

    # of the file
    NO_PICTURE = "no picture"
    NO_SOUND = "no sound"
    SILENT_SOUND = "silent sound"
    SOUND_ENDS_EARLY = "sound ends early"
    SEVERAL_SOUNDS = "several sounds: the first is used"
    CUT_SHORT = "cut short"
    CORRUPT_FRAMES = "corrupt frames"
    CORRUPT_SOUND = "corrupt sound"
    PICTURE_GAPS = "gaps in the picture"
    SOUND_GAPS = "gaps in the sound"
    STARTS_APART = "sound and picture start apart"
    SIZE_CHANGES = "picture changes size"
    SEGMENT_CUT = "ends with the video, before the end that its row says"
    GUESSED_TIMES = "times of the frames are estimated: the file has none"
    FEW_FRAMES = "few frames: {count} per second"
    # of the words: which of the two is missing, then why
    NO_TRANSCRIPT = "no transcript"
    NO_WORD_TIMES = "no word times"
    NO_MEDIA = "no media"
    NO_RECOGNISER = "no recogniser"
    ENGLISH_ONLY = "the packaged recogniser hears English only"
    NOT_INSTALLED = "speech recognition is not installed"
    RECOGNITION_FAILED = "recognition failed: {reason}"
    NOBODY_SPEAKS = "nobody speaks"
    NOTHING_HEARD = "nothing heard"
    SIDECAR_UNREAD = "the transcript beside it is not read: {reason}"
    LOW_CONFIDENCE = "words not trusted: confidence below {reason}"
    REPETITION = "words not trusted: repetition"
    OTHER_LANGUAGE = "words not trusted: speech in {reason}"
    WORDS_LEFT_OUT = "words left out in part of the sound"
    # of the frames
    SOUND_TOO_SHORT = "sound too short"
    NO_FACE = "no face"
    FACE_IN_PART = "face in part of the frames"
    SEVERAL_FACES = "several faces in {count} % of the frames: which of them speaks is not known"
    PICTURE_CUTS = "cuts in the picture: {count}; the largest face of each shot is used"
    FRAMES_NOT_FINITE = "frames that are not finite"
    COLUMNS_NOT_FINITE = "{columns} not finite in {count} frames"
    SOUND_FAILED = "sound not used: {reason}"
    PICTURE_FAILED = "picture not used: {reason}"
    # of what the network takes of a long clip
    TEXT_CUT = "text: first {count} of {whole} tokens"
    SOUND_CUT = "sound: first {count} of {whole} s"
    PICTURE_CUT = "picture: first {count} of {whole} s"


ORDINARY = frozenset({Flag.COLUMNS_NOT_FINITE})  # information in the feature tables: any voice raises them
NUMBER = r"\d[\d,]*(?:\.\d+)?"


@dataclass(frozen=True)
class Flagged:
    """A flag of one clip with its data, as far as its wording has any. `str` gives the text that tables store."""

    flag: Flag
    columns: tuple[str, ...] = ()
    reason: str | None = None
    count: float | None = None  # how many
    whole: float | None = None  # of how many

    @classmethod
    def cut(cls, flag: Flag, used: float, whole: float) -> "Flagged":
        """The first `used` of `whole`, in as few digits as tell them apart."""
        digits = next((digits for digits in range(3) if round(used, digits) < round(whole, digits)), 3)
        return cls(flag, count=round(used, digits), whole=round(whole, digits))

    @property
    def odd(self) -> bool:
        """False for information that says nothing against a clip."""
        return self.flag not in ORDINARY

    def __str__(self) -> str:
        return self._worded(*map(_number, (self.count, self.whole)))

    @property
    def uncounted(self) -> str:
        """The wording without its numbers, so that reports count clips of one kind together."""
        return self._worded("…", "…")

    def _worded(self, count: str, whole: str) -> str:
        return self.flag.value.format(columns=", ".join(self.columns), count=count, whole=whole, reason=self.reason)

    @classmethod
    def parse(cls, text: str) -> "Flagged":
        """The inverse of `str`. Raises TableError for a text that is no flag of this version."""
        for flag in Flag:
            if found := _pattern(flag).fullmatch(text):
                data = found.groupdict()
                numbers = {name: float(data[name].replace(",", "")) for name in ("count", "whole") if name in data}
                columns = data["columns"].split(", ") if "columns" in data else ()
                return cls(flag, tuple(columns), data.get("reason"), **numbers)
        raise TableError(
            f"Found the flag '{text}', expected one of pipeline/flags.py. Make the table again with: dvc repro"
        )


def _number(value: float | None) -> str:
    """With commas for thousands."""
    return f"{value:,}".removesuffix(".0") if value is not None else ""


@cache
def _pattern(flag: Flag) -> re.Pattern[str]:
    data = {"columns": ".+", "reason": ".+", "count": NUMBER, "whole": NUMBER}
    named = {name: f"(?P<{name}>{pattern})" for name, pattern in data.items()}
    return re.compile(
        flag.value.format(**named), re.DOTALL
    )  # no wording has a character that a pattern reads otherwise
