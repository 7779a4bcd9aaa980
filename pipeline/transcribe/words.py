"""Words: the one normaliser of all texts, and what is known of the words' times."""

import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from difflib import SequenceMatcher

import numpy as np

from pipeline.tables.spoken import Word

APOSTROPHES = dict.fromkeys(map(ord, "'’‘ʼ`´＇"))


def normalise(text: str) -> str:
    """One form for label files, sidecars and the recogniser: lower case, no punctuation, single spaces.

    Apostrophes vanish (DIDNT, didn't: didnt); whatever else is neither letter nor digit parts words.
    """
    plain = unicodedata.normalize("NFKC", text.translate(APOSTROPHES)).lower().translate(APOSTROPHES)
    kept = "".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in plain)  # letters, marks, numbers
    return " ".join(unicodedata.normalize("NFKC", kept).split())


def split(text: str) -> list[str]:
    """The words of a text as found, normalised."""
    return normalise(text).split()


def untimed(words: Sequence[str]) -> list[Word]:
    return [Word(word) for word in words]


def timed(word: str, start: float, end: float, probability: float) -> list[Word]:
    """A heard word, normalised; "9.5" is two words, which share its time."""
    parts = split(word)
    if len(parts) == 1:
        return [Word(parts[0], start, end, probability)]
    return [replace(part, probability=probability) for part in spread(parts, start, end)]


def spread(words: Sequence[str], start: float, end: float) -> list[Word]:
    """The words share the time from start to end (seconds) by their length, flagged as interpolated."""
    letters = np.cumsum([0, *map(len, words)])
    times = (start + letters / max(letters[-1], 1) * max(end - start, 0.0)).round(3).tolist()
    parts = zip(words, times[:-1], times[1:], strict=True)
    return [Word(word, first, last, interpolated=True) for word, first, last in parts]


def align(words: Sequence[str], heard: Sequence[Word], seconds: float) -> list[Word]:
    """Written words with the times of the heard words that equal them; `seconds` is the clip's length.

    A word heard otherwise shares the time of what was heard in its place, a word not heard the time
    between its neighbours; both are flagged as interpolated.
    """
    found: list[Word] = []
    matcher = SequenceMatcher(None, words, [word.word for word in heard], autojunk=False)
    for kind, first, last, heard_first, heard_last in matcher.get_opcodes():
        if kind == "equal":
            found += heard[heard_first:heard_last]
        elif kind == "replace":
            found += spread(words[first:last], _start(heard[heard_first]), _end(heard[heard_last - 1]))
        elif kind == "delete":
            before = _end(heard[heard_first - 1]) if heard_first else 0.0
            after = _start(heard[heard_first]) if heard_first < len(heard) else seconds
            found += spread(words[first:last], before, after)
    return found


def _start(heard: Word) -> float:
    """A heard word has times."""
    return heard.start or 0.0


def _end(heard: Word) -> float:
    return heard.end or 0.0
