"""Frames -> one row a token: the mean over the time of the token's word, as the field's aligned files have it."""

from collections.abc import Sequence

import numpy as np

from pipeline.tables.spoken import Word

Span = tuple[float, float]  # start and end of a word, in seconds of the clip


def spans(words: Sequence[Word], seconds: float | None) -> list[Span]:
    """When each word is said. Words without times share the clip's length evenly."""
    known = [(word.start, word.end) for word in words if word.start is not None and word.end is not None]
    if len(known) == len(words):
        return known
    edges = np.linspace(0.0, seconds or 0.0, len(words) + 1).tolist()
    return list(zip(edges[:-1], edges[1:], strict=True))


def timed(words: Sequence[Word]) -> bool:
    """Whether the words' times are known."""
    return all(word.start is not None and word.end is not None for word in words)


def by_token(x: np.ndarray, times: np.ndarray, said: Sequence[Span], word: Sequence[int]) -> np.ndarray:
    """(T, D) frames and when they are -> (tokens, D), NaN for a token of no word ([CLS], [SEP]).

    A word's row is the mean of the frames within [start, end), NaN left out, or the frame nearest to its middle where
    there is none; each of its tokens repeats it. word: the index into `said` of each token, -1 for none.
    """
    rows = np.full((len(said) + 1, x.shape[1]), np.nan)  # the last: of no word
    for row, (start, end) in zip(rows, said, strict=False):
        inside = x[(times >= start) & (times < end)]
        row[:] = mean(inside if len(inside) else x[[np.abs(times - (start + end) / 2).argmin()]], axis=0)
    return rows[np.array(word, int)]


def mean(x: np.ndarray, axis: int) -> np.ndarray:
    """The mean of what is there; NaN where nothing is."""
    there = np.isfinite(x)
    count = there.sum(axis=axis)
    total = np.where(there, x, 0).sum(axis=axis)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
