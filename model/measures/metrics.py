"""The field's measures of predictions against labels, exactly as its published tables have them.

Which measures there are, a convention (pipeline/conventions) says; here they are computed. All arrays are flat float32,
which decides on which side of a class's edge (-.7, .1 ...) a value falls.
"""

from collections.abc import Iterator

import numpy as np

from pipeline import conventions
from pipeline.conventions import Measure

Scores = dict[str, float | None]


def score(convention: str, predictions: np.ndarray, labels: np.ndarray) -> Scores:
    """Every measure of the convention, unrounded; None where it is not defined.

    Labels and predictions have 0 for neutral. An accuracy or F1 is not defined where all labels are of one class.
    """
    p, y = comparable(convention, predictions, labels)
    scores: Scores = {"mae": mae(p, y), "corr": corr(p, y)}
    for measure, predicted, true, counted in classes(convention, p, y):
        compute = _f1 if measure.kind == "f1" else _accuracy
        scores[measure.key] = compute(predicted[counted], true[counted]) if comparing(true[counted]) else None
    return scores


def comparing(true: np.ndarray) -> bool:
    """Whether an accuracy or F1 says anything: labels of one class alone make whatever always names it perfect."""
    return len(true) > 0 and bool((true != true[0]).any())


def comparable(convention: str, predictions: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as the convention measures them: float32, and clipped where it clips."""
    p, y = np.asarray(predictions, np.float32), np.asarray(labels, np.float32)
    clip = conventions.find(convention).clip
    return (p.clip(*clip), y.clip(*clip)) if clip else (p, y)


def classes(
    convention: str, p: np.ndarray, y: np.ndarray
) -> Iterator[tuple[Measure, np.ndarray, np.ndarray, np.ndarray]]:
    """Each accuracy and weighted F1, with what it compares of `comparable` values (N,).

    That is the predicted classes, the true classes, and which clips count: (N,) each.
    """
    for measure in conventions.find(convention).measures:
        if measure.classes:
            yield measure, measure.classes(p), measure.classes(y), (y != 0) | measure.neutral_counts


def mae(predictions: np.ndarray, labels: np.ndarray) -> float:
    return float(np.abs(predictions - labels).mean(dtype=np.float64))


def corr(predictions: np.ndarray, labels: np.ndarray) -> float | None:
    """Pearson's correlation; None where one side is constant."""
    if len(labels) < 2 or np.ptp(predictions) == 0 or np.ptp(labels) == 0:
        return None
    return float(np.corrcoef(predictions.astype(np.float64), labels.astype(np.float64))[0, 1])


def _accuracy(predicted: np.ndarray, true: np.ndarray) -> float:
    return float((predicted == true).mean())


def _f1(predicted: np.ndarray, true: np.ndarray) -> float:
    """The F1 of each class, weighted by its number of true clips: scikit-learn's f1_score with average="weighted"."""
    kinds, support = np.unique(true, return_counts=True)
    hits = np.array([((true == kind) & (predicted == kind)).sum() for kind in kinds])
    claimed = np.array([(predicted == kind).sum() for kind in kinds])
    return float(np.average(2 * hits / (support + claimed), weights=support))
