"""What can go wrong, by kind. Every message says what was found, what was expected and what to do."""

from enum import StrEnum


class Reason(StrEnum):
    """Why a file, a row or a clip is not used: codes that reports count by."""

    # the file
    MISSING = "missing"
    NOT_A_FILE = "not a file"
    EMPTY = "empty"
    NAME = "name"
    NOT_A_VIDEO = "not a video"
    UNREADABLE = "unreadable"
    NO_STREAMS = "no streams"
    NOTHING_DECODED = "nothing decoded"
    CORRUPT = "corrupt"
    NO_PICTURE = "no picture"
    NO_SOUND_READ = "no sound read"
    TOO_LONG = "too long"
    TOO_LARGE = "too large"
    TOO_MANY_FRAMES = "too many frames"
    TOO_MUCH_SOUND = "too much sound"
    GIVEN_UP = "given up"  # its task crashed, or cost too much: it may do better another time
    # where it lies
    DATA_SET = "data set"
    DATA_SET_NAME = "data set name"
    NOT_IN_A_DATA_SET = "not in a data set"
    NOT_IN_ITS_PLACE = "not in its place"
    BESIDE_FEATURES = "beside features"
    NO_CLIPS = "no clips"
    SIDECAR = "sidecar"
    # its row of the label file
    NO_CLIP = "no clip"
    AMBIGUOUS = "ambiguous"
    DUPLICATE_ID = "duplicate id"
    CELLS = "cells"
    COLUMN = "column"
    # the column of the label file that holds a fault
    VIDEO_ID = "video_id"
    CLIP_ID = "clip_id"
    FILE = "file"
    START = "start"
    END = "end"
    TEXT = "text"
    LABEL = "label"
    LABEL_T = "label_T"
    LABEL_A = "label_A"
    LABEL_V = "label_V"
    ANNOTATION = "annotation"
    MODE = "mode"

    @classmethod
    def of(cls, code: str) -> "Reason":
        """The reason in a code of `coded`. Raises TableError for a code of another version."""
        try:
            return cls(code.partition(": ")[0])
        except ValueError:
            raise TableError(
                f"Found the reason '{code}', expected one of pipeline/errors.py. Make the table again with: dvc repro"
            ) from None


def coded(reason: Reason, failure: str) -> str:
    """What tables store and reports count by: a reason, and of GIVEN_UP why its task failed ("given up: timeout")."""
    return f"{reason}: {failure}" if failure else str(reason)


class RawmsaError(Exception):
    """A mistake or a fault that the user can act on; the command line prints it without a traceback."""


class ParamsError(RawmsaError):
    """params.yaml does not say what a stage expects."""


class TableError(RawmsaError):
    """A table is missing, damaged or does not fit the one it meets."""


class DatasetError(RawmsaError):
    """A folder under data/raw cannot be a data set as it stands."""


class AssetError(RawmsaError):
    """Model weights (text encoder, recogniser, landmark model) cannot be had."""


class CacheError(RawmsaError):
    """The cache cannot be written: the disk is full, or may not be written to."""


class BusyError(RawmsaError):
    """Another run holds this checkout, or its cache."""


class StageError(RawmsaError):
    """So many clips failed that the stage stops."""


class MediaError(RawmsaError):
    """One clip cannot be used. `reason` is what reports count by, the message tells the rest.

    failure: of GIVEN_UP, why its task failed.
    """

    def __init__(self, reason: Reason, message: str, failure: str = "") -> None:
        super().__init__(reason, message, failure)  # all, so that it survives a process boundary
        self.reason = reason
        self.message = message
        self.failure = failure

    def __str__(self) -> str:
        return self.message
