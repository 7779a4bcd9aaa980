"""Words: the one normaliser of all texts, and what is known of the words' times."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from difflib import SequenceMatcher

import numpy as np

from pipeline.tables.spoken import Word

Span = tuple[float, float]  # start and end in seconds

NEAR = 0.3  # seconds: a word that begins (ends) this near to where its voice does begins (ends) with it
CHINESE = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002fa1f]")  # as BERT's tokenizer has it
APOSTROPHES = dict.fromkeys(map(ord, "'’‘ʼ`´＇"))


def normalise(text: str) -> str:
    """One form for label files, sidecars and the recogniser: lower case, no punctuation, single spaces.

    Apostrophes vanish (DIDNT, didn't: didnt); whatever else is neither letter nor digit parts words.
    """
    plain = unicodedata.normalize("NFKC", text.translate(APOSTROPHES)).lower().translate(APOSTROPHES)
    kept = "".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in plain)  # letters, marks, numbers
    return " ".join(unicodedata.normalize("NFKC", kept).split())


def split(text: str) -> list[str]:
    """The words of a text as found, normalised. A Chinese character is a word, as it is a token of BERT's: Chinese has no
    blanks, and a clause would be one word with one time."""
    return CHINESE.sub(r" \g<0> ", normalise(text)).split()


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


def inside(words: Sequence[Word], voiced: Sequence[Span]) -> list[Word]:
    """Heard words, each within one of `voiced`, the spans in which somebody speaks, and longer than nothing.

    Recognisers let a word begin in the pause before it, or give it no length. A word belongs to the span that it overlaps
    most; one that overlaps none, to a span between its neighbours' that has no word, else to the nearest. Words without
    length share the time of the word beside them by their letters, and are flagged as interpolated.
    """
    if not voiced:
        return list(words)
    found: list[Word] = []
    places = _places(words, voiced)
    for place in sorted(set(places)):
        found += _fitted([word for word, at in zip(words, places, strict=True) if at == place], voiced[place])
    return found


def _places(words: Sequence[Word], voiced: Sequence[Span]) -> list[int]:
    """The span of each word by its number; they never run backwards."""
    overlaps = np.array([[min(_end(w), last) - max(_start(w), first) for first, last in voiced] for w in words])
    places: list[int] = []
    for index, row in enumerate(overlaps):
        before = places[-1] if places else 0
        place = max(before, int(row.argmax()))
        if row.max() <= 0:
            sure = [int(other.argmax()) for other in overlaps[index + 1 :] if other.max() > 0]
            free = range(before + 1 if places else 0, sure[0] if sure else len(voiced))
            place = max(free, key=lambda at: row[at]) if free else place
        places.append(place)
    return places


def _fitted(words: Sequence[Word], span: Span) -> list[Word]:
    """The words of one span: its edges are those of its first and last word where they are near."""
    first, last = span
    edges = [(min(max(_start(w), first), last), max(min(_end(w), last), first)) for w in words]
    if all(start >= end for start, end in edges):
        return _shared(words, first, last)
    if edges[0][0] - first < NEAR:
        edges[0] = (first, edges[0][1])
    if last - edges[-1][1] < NEAR:
        edges[-1] = (edges[-1][0], last)
    found: list[Word] = []
    groups: list[list[int]] = []  # numbers of words that share a time
    for number, (start, end) in enumerate(edges):
        if groups and (start >= end or all(edges[n][0] >= edges[n][1] for n in groups[-1])):
            groups[-1].append(number)
        else:
            groups.append([number])
    for group in groups:
        start, end = edges[group[0]][0], max(edges[number][1] for number in group)
        if len(group) == 1:
            found.append(replace(words[group[0]], start=round(start, 3), end=round(end, 3)))
        else:
            found += _shared([words[number] for number in group], start, end)
    return found


def _shared(words: Sequence[Word], start: float, end: float) -> list[Word]:
    """Heard words that share a time by their letters."""
    parts = spread([word.word for word in words], start, end)
    return [replace(part, probability=word.probability) for part, word in zip(parts, words, strict=True)]


def _start(heard: Word) -> float:
    """A heard word has times."""
    return heard.start or 0.0


def _end(heard: Word) -> float:
    return heard.end or 0.0
