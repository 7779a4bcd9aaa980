"""What can go wrong, by kind. Every message says what was found, what was expected and what to do."""


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
    """One clip cannot be used. `reason` is a short code that reports count by, the message tells the rest."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(reason, message)  # both, so that it survives a process boundary
        self.reason = reason
        self.message = message

    def __str__(self) -> str:
        return self.message
