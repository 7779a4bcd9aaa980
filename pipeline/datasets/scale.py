"""Whether a data set's labels are on the scale that it is taken to have: lowest, highest and neutral label.

Labels of another scale would be learned without a word: of labels from 1 to 5 read as -3 to 3, 1 to 3 become positive, 4 and 5
are out of range. Such a data set is refused as a whole, with the lines of dataset.yaml that say what its labels mean.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline import conventions
from pipeline.datasets.description import Described
from pipeline.datasets.refusal import counted, shown
from pipeline.errors import DatasetError

TOLERATED = 0.05  # of the labels may be wrong, each refused with its row; with more, the scale is wrong
ENOUGH = 6  # labels that tell what scale they are on
FEWEST = 2  # more of them tell it where one is out of the range besides
NARROW = 1 / 3  # of the label range; labels that fill no more are doubted
EXAMPLES = 5  # classes that a message names
COMMA = re.compile(r"[+-]?\d+,\d+")
POLARITY = {
    **dict.fromkeys(("negative", "neg", "bad", "0"), -1),
    **dict.fromkeys(("neutral", "neu", "mixed"), 0),
    **dict.fromkeys(("positive", "pos", "good", "1"), 1),
}


@dataclass(frozen=True)
class Observed:
    """The labels of a data set that are within its range: the lowest, the highest, how many."""

    low: float
    high: float
    count: int


def expected(told: Described) -> str:
    """What a label's cell may be."""
    low, high = told.label_range
    if told.labels is not None:
        return f"one of {', '.join(map(shown, told.labels))} (`labels` in dataset.yaml)"
    return f"a number from {low:g} to {high:g}, with a point for decimals"


def checked(file: Path, cells: Sequence[tuple[int, str]], told: Described) -> tuple[Observed | None, list[str]]:
    """What the labels are, and what is doubtful about them, in sentences. cells: (line, cell) of each.

    Raises DatasetError where the labels, as a whole, are not on the data set's scale.
    """
    values = [(line, cell, told.number(cell)) for line, cell in cells]
    (low, high), numbers = (
        told.label_range,
        [value for *_, value in values if value is not None and math.isfinite(value)],
    )
    wrong = [(line, cell, value) for line, cell, value in values if value is None or not low <= value <= high]
    if len(wrong) > max(1, TOLERATED * len(cells)):
        words = [(line, cell) for line, cell, value in wrong if value is None]
        if 2 * len(words) > len(wrong):
            raise DatasetError(_no_numbers(file, words, len(cells), told))
        raise DatasetError(_outside(file, wrong[0][:2], numbers, len(wrong), told))
    if not numbers:
        return None, []
    one_side = min(numbers) >= told.neutral or max(numbers) <= told.neutral
    enough = len(numbers) >= ENOUGH or (wrong and len(numbers) > FEWEST)
    if one_side and told.guessed and enough and len(set(numbers)) > 1:
        raise DatasetError(_one_side(file, numbers, told))
    within = [value for value in numbers if low <= value <= high]
    observed = Observed(min(within), max(within), len(within)) if within else None
    return observed, [_doubt(observed, one_side, told)] if observed and _doubt(observed, one_side, told) else []


def _doubt(observed: Observed, one_side: bool, told: Described) -> str:
    """A sentence; empty where the labels look as their range lets expect."""
    (low, high), found = told.label_range, f"labels go from {observed.low:g} to {observed.high:g}"
    if one_side:
        side = "above" if observed.low >= told.neutral else "below"
        return (
            f"{found}: all on one side, none {'below' if side == 'above' else 'above'} {told.neutral:g}, the neutral label. Acc-2 and F1 are "
            f"undefined for one class. If another label is neutral, write it in dataset.yaml: {_lines([observed.low, observed.high], told)}."
        )
    if observed.count >= ENOUGH and observed.high - observed.low <= NARROW * (high - low):
        return (
            f"{found}, a third or less of the label range {low:g} to {high:g}. If that is their scale, write it in dataset.yaml: "
            f"{_lines([observed.low, observed.high], told)}."
        )
    return ""


def _no_numbers(file: Path, words: Sequence[tuple[int, str]], count: int, told: Described) -> str:
    found = Counter(cell for _, cell in words)
    named = ", ".join(f"{shown(word)} ({n:,})" for word, n in found.most_common(EXAMPLES))
    start = (
        f"{file}, column label: {len(words):,} of {counted('label', count)} are not {expected(told)}: {named}"
        f"{', …' if len(found) > EXAMPLES else ''} (first in line {words[0][0]})."
    )
    if told.labels is not None:
        return f"{start} Add them to `labels` in {file.parent / 'dataset.yaml'}, or correct them."
    if all(COMMA.fullmatch(word) for word in found):
        return f"{start} Write the decimals with a point."
    some = [word for word, _ in found.most_common(EXAMPLES)]
    mapping = ", ".join(f"{shown(word)}: {POLARITY.get(word.casefold(), 'NUMBER')}" for word in some)
    if not any(word.casefold() in POLARITY for word in some):
        mapping = "negative: -1, neutral: 0, positive: 1"
    return (
        f"{start} A label is one number from negative to positive; classes such as emotions are not supported. If these classes lie on "
        f"such a scale, give each its number in {file.parent / 'dataset.yaml'}, as in 'labels: {{{mapping}}}'. Else remove the column: "
        "the clips are then predicted, not trained on."
    )


def _outside(file: Path, first: tuple[int, str], numbers: list[float], wrong: int, told: Described) -> str:
    line, cell = first
    seen = f"; the numbers go from {min(numbers):g} to {max(numbers):g}" if numbers else ""
    return (
        f"{file}, column label: {wrong:,} labels are not {expected(told)} (first in line {line}: {shown(cell)}){seen}. If their scale is "
        f"another, write it in {file.parent / 'dataset.yaml'}: {_lines(numbers, told)}. If the number stands for 'no label', empty those cells."
    )


def _one_side(file: Path, numbers: list[float], told: Described) -> str:
    low, high = told.label_range
    return (
        f"{file}, column label: the labels go from {min(numbers):g} to {max(numbers):g}, all on one side of {told.neutral:g}, which is taken "
        f"for neutral because nothing else is said. Write in {file.parent / 'dataset.yaml'} what they mean: {_lines(numbers, told)}, with the "
        f"label that is neither negative nor positive; or 'label_range: [{low:g}, {high:g}]' if {told.neutral:g} is neutral."
    )


def _lines(numbers: Sequence[float], told: Described) -> str:
    """The lines of dataset.yaml for labels that are no others than these."""
    if not numbers:
        return "'label_range: [LOWEST, HIGHEST]' and 'neutral: NUMBER'"
    low, high, neutral = float(math.floor(min(numbers))), float(math.ceil(max(numbers))), told.neutral
    if low < neutral < high:
        far = max(high - neutral, neutral - low)
        low, high = neutral - far, neutral + far
    else:
        high += low == high
        neutral = (low + high) / 2
    clip = conventions.find(told.convention).clip
    others = [name for name in conventions.names() if not conventions.find(name).clip]
    lines = [f"'label_range: [{low:g}, {high:g}]'", f"'neutral: {neutral:g}'"]
    if clip and not clip[0] <= low - neutral <= high - neutral <= clip[1]:
        lines.append(f"'convention: {others[0]}'")
    return " and ".join(lines)
