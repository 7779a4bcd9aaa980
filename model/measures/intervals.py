"""95 % bootstrap intervals, clustered by video: clips of one video are not independent.

Videos are resampled with replacement, all their clips with them, so that a clip counts 0, 1, 2 ... times.
Every measure is computed from these weights, of all resamples at once.
"""

from collections.abc import Sequence

import numpy as np

from model.measures import metrics

RESAMPLES = 1000
SEED = 1111
PERCENTILES = (2.5, 97.5)
CONSTANT = 1e-12  # of the whole variance; a resample below it has no correlation

Draws = dict[str, np.ndarray]  # measure -> (RESAMPLES,), NaN where it is not defined
Interval = list[float] | None


class Bootstrap:
    """The resamples of one test split, the same whatever is measured on them: that pairs the differences."""

    def __init__(self, videos: Sequence[str]) -> None:
        """videos: (N,) the video of each clip. Resamples depend on the number of videos alone."""
        names, of_clip = np.unique(np.array(videos, str), return_inverse=True)
        self.videos = len(names)
        times = np.random.default_rng(SEED).multinomial(len(names), np.full(len(names), 1 / len(names)), RESAMPLES)
        self.weights = times[:, of_clip].astype(np.float64)  # (RESAMPLES, N)

    def draws(self, convention: str, predictions: np.ndarray, labels: np.ndarray) -> Draws:
        """Each measure's mean over seeds, resample by resample; predictions (seeds, N), labels (N,)."""
        seeds = [weighted(convention, seed, labels, self.weights) for seed in predictions]
        return {name: np.mean([seed[name] for seed in seeds], axis=0) for name in seeds[0]}

    def intervals(self, draws: Draws) -> dict[str, Interval]:
        """[low, high] by measure; None where it is not defined or there is one video alone."""
        return {name: self._interval(values) for name, values in draws.items()}

    def _interval(self, values: np.ndarray) -> Interval:
        defined = values[~np.isnan(values)]
        if self.videos < 2 or not len(defined):
            return None
        return [float(bound) for bound in np.percentile(defined, PERCENTILES)]


def weighted(convention: str, predictions: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> Draws:
    """metrics.score of clips that count `weights` (R, N) times: measure -> (R,), NaN where not defined."""
    p, y = metrics.comparable(convention, predictions, labels)
    found = {"mae": _share(np.abs(p - y), weights), "corr": _corr(p, y, weights)}
    for measure, predicted, true, counted in metrics.classes(convention, p, y):
        compute = _f1 if measure.kind == "f1" else _accuracy
        values = compute(predicted[counted], true[counted], weights[:, counted])
        found[measure.key] = np.where(_comparing(true[counted], weights[:, counted]), values, np.nan)
    return found


def _comparing(true: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """(R,) bool: resamples that have labels of more than one class, see metrics.comparing."""
    kinds = [weights[:, true == kind].any(axis=1) for kind in np.unique(true)]
    return np.sum(kinds, axis=0) > 1 if kinds else np.zeros(len(weights), bool)


def _share(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted mean of values (N,) -> (R,)."""
    total = weights.sum(axis=1)
    return np.divide(weights @ values.astype(np.float64), total, out=np.full(len(total), np.nan), where=total > 0)


def _corr(p: np.ndarray, y: np.ndarray, weights: np.ndarray) -> np.ndarray:
    p, y = (x.astype(np.float64) - x.mean(dtype=np.float64) for x in (p, y))
    mean_p, mean_y = _share(p, weights), _share(y, weights)
    var_p, var_y = _share(p * p, weights) - mean_p**2, _share(y * y, weights) - mean_y**2
    varies = (var_p > CONSTANT * (p * p).mean()) & (var_y > CONSTANT * (y * y).mean())
    covariance = _share(p * y, weights) - mean_p * mean_y
    spread = np.sqrt(np.where(varies, var_p * var_y, 1.0))
    return np.where(varies, covariance / spread, np.nan)


def _accuracy(predicted: np.ndarray, true: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return _share(predicted == true, weights)


def _f1(predicted: np.ndarray, true: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The classes' F1, each weighed by its share of the true ones."""
    total = np.zeros(len(weights))
    for kind in np.unique(true):
        of_kind, said = _share(true == kind, weights), _share(predicted == kind, weights)
        both = _share((true == kind) & (predicted == kind), weights)
        f1 = np.divide(2 * both, of_kind + said, out=np.zeros(len(weights)), where=of_kind + said > 0)
        total += of_kind * f1
    return total if len(true) else np.full(len(weights), np.nan)
