"""What is said in a clip: the cues of a sidecar and the words of a transcript."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Cue:
    """A sidecar's line and when it is said, in seconds of the clip."""

    start: float
    end: float
    text: str


@dataclass(frozen=True)
class Word:
    """A word of a transcript. start and end: seconds of the clip, None where they are not known."""

    word: str  # normalised
    start: float | None = None
    end: float | None = None
    probability: float | None = None  # the recogniser's; None: it did not hear this word
    interpolated: bool = False  # times drawn from the neighbours'
