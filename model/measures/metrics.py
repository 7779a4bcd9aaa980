"""The field's measures of predictions against labels, exactly as its published tables have them.

Source: metricsTop of MMSA, less its rounding. All arrays are flat float32, which decides on which side
of a class's edge (-.7, .1 ...) a value falls.
"""

from collections.abc import Sequence

import numpy as np

Convention = str  # its name
Scores = dict[str, float | None]
Classes = tuple[np.ndarray, np.ndarray, np.ndarray]  # predicted, true, which clips count: (N,) each

SIMS_EDGES = {"acc2": (0.0,), "acc3": (-0.1, 0.1), "acc5": (-0.7, -0.1, 0.1, 0.7)}  # classes are open below


def score(convention: Convention, predictions: np.ndarray, labels: np.ndarray) -> Scores:
    """Every measure of the convention, unrounded; None where it is not defined."""
    p, y = comparable(convention, predictions, labels)
    scores: Scores = {"mae": mae(p, y), "corr": corr(p, y)}
    for name, (predicted, true, counted) in classes(convention, p, y).items():
        measure = _f1 if name.startswith("f1") else _accuracy
        scores[name] = measure(predicted[counted], true[counted])
    return scores


def comparable(convention: Convention, predictions: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as the convention measures them: float32, those of CH-SIMS clipped to [-1, 1] before everything."""
    p, y = np.asarray(predictions, np.float32), np.asarray(labels, np.float32)
    return (p, y) if convention == "mosi" else (p.clip(-1, 1), y.clip(-1, 1))


def classes(convention: Convention, p: np.ndarray, y: np.ndarray) -> dict[str, Classes]:
    """What each accuracy (acc*) and weighted F1 (f1*) compares, of `comparable` values (N,).

    mosi: *_nonneg is negative / non-negative, *_pos negative / positive without label 0;
    sims: acc2 is non-positive / positive.
    """
    everywhere = np.ones(len(y), bool)
    if convention == "sims":
        binned = {name: (_bins(p, edges), _bins(y, edges), everywhere) for name, edges in SIMS_EDGES.items()}
        return {"acc2": binned["acc2"], "f1": binned["acc2"], "acc3": binned["acc3"], "acc5": binned["acc5"]}
    nonneg, pos = (p >= 0, y >= 0, everywhere), (p > 0, y > 0, y != 0)
    return {
        "acc2_nonneg": nonneg,
        "f1_nonneg": nonneg,
        "acc2_pos": pos,
        "f1_pos": pos,
        "acc5": (np.round(p.clip(-2, 2)), np.round(y.clip(-2, 2)), everywhere),
        "acc7": (np.round(p.clip(-3, 3)), np.round(y.clip(-3, 3)), everywhere),
    }


def mae(predictions: np.ndarray, labels: np.ndarray) -> float:
    return float(np.abs(predictions - labels).mean(dtype=np.float64))


def corr(predictions: np.ndarray, labels: np.ndarray) -> float | None:
    """Pearson's correlation; None where one side is constant."""
    if len(labels) < 2 or np.ptp(predictions) == 0 or np.ptp(labels) == 0:
        return None
    return float(np.corrcoef(predictions.astype(np.float64), labels.astype(np.float64))[0, 1])


def _bins(x: np.ndarray, edges: Sequence[float]) -> np.ndarray:
    return np.digitize(x, np.array(edges, np.float32), right=True)


def _accuracy(predicted: np.ndarray, true: np.ndarray) -> float | None:
    return float((predicted == true).mean()) if len(true) else None


def _f1(predicted: np.ndarray, true: np.ndarray) -> float | None:
    from sklearn.metrics import f1_score

    return float(f1_score(true, predicted, average="weighted")) if len(true) else None
