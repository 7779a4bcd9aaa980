"""What any network must beat, made of the train split's labels and transcripts, scored on the test split."""

import re
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from model.measures import metrics
from model.measures.experiment_files import Floor
from model.measures.metrics import Scores
from model.measures.results import Summary
from pipeline import conventions, tables

ALPHAS = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)  # of the ridge, the best of them by validation MAE
WORDS = {"token_pattern": r"(?u)\b\w+\b"}
CHARACTERS = {"analyzer": "char", "ngram_range": (1, 2)}  # Chinese is written without spaces


def floors(table: pa.Table) -> list[Floor]:
    """Of a training table with all three splits."""
    of_text = tfidf_ridge(table)
    return [
        Floor(label="Train median", scores=Summary(means=train_median(table)), note=None),
        Floor(label="Majority class", scores=Summary(means=majority_class(table)), note=_majority(table)),
        Floor(
            label="TF-IDF + ridge",
            scores=Summary(means=of_text) if of_text else None,
            note=None if of_text else "the train split has no transcripts",
        ),
    ]


def train_median(table: pa.Table, on: str = "test") -> Scores:
    """The median label of the train split for every clip: of all constants the lowest MAE there.

    on: the split that is scored, or all for every clip that has a label.
    """
    return _constant(table, float(np.median(_labels(table, "train"))), on)


def majority_class(table: pa.Table) -> Scores:
    """The more frequent class of Acc-2 in the train split for every clip; as a number, the mean of its labels."""
    labels = _labels(table, "train")
    members = _positive(table, labels) == _most_are_positive(table, "train")
    return _constant(table, float(labels[members].mean()))


def tfidf_ridge(table: pa.Table) -> Scores | None:
    """Ridge regression on the TF-IDF of the transcripts; None where the train split has none.

    Its penalty is chosen by the MAE of the validation split. A clip without a transcript is an empty one.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import Ridge

    texts = {split: _column(table, "transcript", split) for split in tables.SPLITS}
    if not any(re.search(r"\w", str(text)) for text in texts["train"]):
        return None
    vectorizer = TfidfVectorizer(**(CHARACTERS if tables.metadata(table)["language"] == "zh" else WORDS))
    vectorizer.fit(texts["train"])
    x = {split: vectorizer.transform(texts[split]) for split in tables.SPLITS}
    fitted = [Ridge(alpha).fit(x["train"], _labels(table, "train")) for alpha in ALPHAS]
    best = min(fitted, key=lambda ridge: metrics.mae(ridge.predict(x["valid"]), _labels(table, "valid")))
    return metrics.score(_convention(table), best.predict(x["test"]), _labels(table, "test"))


def _constant(table: pa.Table, value: float, on: str = "test") -> Scores:
    labels = _labels(table, on)
    return metrics.score(_convention(table), np.full_like(labels, value), labels)


def _majority(table: pa.Table) -> str:
    """What the row says, and where the two splits differ, which makes it worse than a coin."""
    positive = _most_are_positive(table, "train")
    said = (
        f"always the mean of the {'positive' if positive else 'negative'} train labels, the more frequent class there"
    )
    return said if positive == _most_are_positive(table, "test") else f"{said}, the less frequent one in the test split"


def _most_are_positive(table: pa.Table, split: str) -> bool:
    return bool(_positive(table, _labels(table, split)).mean() >= 0.5)


def _positive(table: pa.Table, labels: np.ndarray) -> np.ndarray:
    """(N,) bool: whether the convention counts each label as positive."""
    return conventions.find(_convention(table)).positive(labels)


def _labels(table: pa.Table, split: str) -> np.ndarray:
    return np.array(_column(table, "label", split), np.float32)


def _column(table: pa.Table, name: str, split: str) -> Sequence[float | str]:
    rows = zip(table[name].to_pylist(), table["split"].to_pylist(), strict=True)
    return [value for value, of in rows if of == split or (split == "all" and of is not None)]


def _convention(table: pa.Table) -> str:
    return str(tables.metadata(table)["convention"])
