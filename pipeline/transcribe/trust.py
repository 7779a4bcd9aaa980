"""Whether what was heard is a text. A recogniser writes fluent words of its own language over any sound: speech in another
language, music, a loop. Such words are kept apart with a reason; they are no transcript.

What decides, and on how many sounds it was right: docs/reliability.md; `python -m benchmarks.hearing` counts it.
"""

from collections.abc import Sequence

import numpy as np

from pipeline.flags import Flag, Flagged
from pipeline.tables.spoken import Word
from pipeline.transcribe.recogniser import Heard, Params, Passage

LOOP = 0.5  # share of words that equal the word one period before; speech has below 0.2, loops have about 1
FEWEST = 6  # words of a loop; people say "no no no"
SURE = 0.5  # probability of another language above which it counts as spoken


def confidence(words: Sequence[Word]) -> float | None:
    """The mean probability of the words that were heard."""
    known = [word.probability for word in words if word.probability is not None]
    return float(np.mean(known)) if known else None


def looped(words: Sequence[str]) -> bool:
    """Whether words, or phrases of any length, come at least three times one after the other in most of a text."""
    count = len(words)
    shares = (sum(map(str.__eq__, words, words[period:])) / (count - period) for period in range(1, count // 3 + 1))
    return count >= FEWEST and max(shares) > LOOP


def trusted(heard: Heard, language: str, options: Params) -> tuple[list[Passage], tuple[Flagged, ...]]:
    """The passages whose words count as said, and why others, or all, do not.

    Where every passage is left out the flags say why; where some are, that these were left out comes first.
    """
    if heard.obstacle:
        return [], (heard.obstacle,)
    if not heard.voiced:
        return [], (Flagged(Flag.NOBODY_SPEAKS),)
    if heard.language not in (None, language) and heard.language_probability > SURE:
        return [], (Flagged(Flag.OTHER_LANGUAGE, reason=heard.language),)
    doubts = [_doubt(passage, options) for passage in heard.passages]
    kept = [passage for passage, doubt in zip(heard.passages, doubts, strict=True) if doubt is None and passage.words]
    reasons = tuple(dict.fromkeys(doubt for doubt in doubts if doubt))
    if kept:
        return kept, (Flagged(Flag.WORDS_LEFT_OUT), *reasons) if reasons else ()
    return [], reasons or (Flagged(Flag.NOTHING_HEARD),)


def _doubt(passage: Passage, options: Params) -> Flagged | None:
    """Why the words of a passage are not trusted; None where they are."""
    if looped([word.word for word in passage.words]):
        return Flagged(Flag.REPETITION)
    if (confidence(passage.words) or 0.0) < options.min_confidence:
        return Flagged(Flag.LOW_CONFIDENCE, reason=str(options.min_confidence))
    return None
