"""What can be odd about a clip that is used: every flag, worded once, for tables and for people alike."""

import re
from dataclasses import dataclass
from enum import Enum
from functools import cache

from pipeline.errors import TableError


class Flag(Enum):
    """One kind of oddity. The value is its wording; {columns}, {frames} and {reason} stand for the data of a Flagged."""

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
    SEVERAL_FACES = "several faces"
    FRAMES_NOT_FINITE = "frames that are not finite"
    COLUMNS_NOT_FINITE = "{columns} not finite in {frames} frames"


@dataclass(frozen=True)
class Flagged:
    """A flag of one clip with its data, as far as its wording has any. `str` gives the text that tables store."""

    flag: Flag
    columns: tuple[str, ...] = ()
    frames: int | None = None  # how many
    reason: str | None = None

    def __str__(self) -> str:
        return self._worded(str(self.frames))

    @property
    def uncounted(self) -> str:
        """The wording without the number of frames, so that reports count clips of one kind together."""
        return self._worded("some")

    def _worded(self, frames: str) -> str:
        return self.flag.value.format(columns=", ".join(self.columns), frames=frames, reason=self.reason)

    @classmethod
    def parse(cls, text: str) -> "Flagged":
        """The inverse of `str`. Raises TableError for a text that is no flag of this version."""
        for flag in Flag:
            if found := _pattern(flag).fullmatch(text):
                data = found.groupdict()
                columns, frames = data.get("columns"), data.get("frames")
                return cls(
                    flag,
                    tuple(columns.split(", ")) if columns else (),
                    int(frames) if frames else None,
                    data.get("reason"),
                )
        raise TableError(
            f"Found the flag '{text}', expected one of pipeline/flags.py. Make the table again with: dvc repro"
        )


@cache
def _pattern(flag: Flag) -> re.Pattern[str]:
    data = {"columns": "(?P<columns>.+)", "frames": r"(?P<frames>\d+)", "reason": "(?P<reason>.+)"}
    return re.compile(flag.value.format(**data), re.DOTALL)  # no wording has a character that a pattern reads otherwise
