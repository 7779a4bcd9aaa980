"""The field's measures, on numbers small enough to check by eye and against MMSA's definitions."""

import numpy as np
import pytest
from sklearn.metrics import f1_score

from model.measures import intervals, metrics, results

P = np.array([2.6, 0.4, -0.5, -2.5, 0.0, -0.2], np.float32)
Y = np.array([3.0, -0.6, -1.0, -2.2, 0.0, 0.8], np.float32)


def test_mosi_by_hand():
    found = metrics.score("mosi", P, Y)
    assert found["mae"] == pytest.approx((0.4 + 1.0 + 0.5 + 0.3 + 0.0 + 1.0) / 6)
    assert found["corr"] == pytest.approx(np.corrcoef(P, Y)[0, 1])
    assert found["acc2_nonneg"] == pytest.approx(4 / 6)  # clips 2 and 6 are wrong
    assert found["acc2_pos"] == pytest.approx(3 / 5)  # the clip of label 0 is left out
    assert found["acc7"] == pytest.approx(3 / 6)  # rounded: 3 0 -0 -2 0 -0 against 3 -1 -1 -2 0 1
    assert found["acc5"] == pytest.approx(3 / 6)
    assert found["f1_nonneg"] == pytest.approx(f1_score(Y >= 0, P >= 0, average="weighted"))
    assert found["f1_pos"] == pytest.approx(f1_score(Y[Y != 0] > 0, P[Y != 0] > 0, average="weighted"))


def test_halves_round_to_even_and_values_are_clipped_for_classes_alone():
    found = metrics.score("mosi", np.array([0.5, 1.5, 9.0]), np.array([0.0, 2.0, 3.0]))
    assert found["acc7"] == 1.0
    assert found["mae"] == pytest.approx((0.5 + 0.5 + 6.0) / 3)


def test_a_prediction_of_zero_is_negative_where_zeros_are_left_out():
    found = metrics.score("mosi", np.array([0.0, 0.0]), np.array([-1.0, 1.0]))
    assert (found["acc2_pos"], found["acc2_nonneg"]) == (0.5, 0.5)
    assert metrics.score("mosi", np.array([0.0, -2.0]), np.array([1.0, -1.0]))["acc2_pos"] == 0.5


def test_sims_clips_before_everything():
    found = metrics.score("sims", np.array([1.8, -0.9, 0.0]), np.array([1.0, -1.0, 0.2]))
    assert found["mae"] == pytest.approx((0.0 + 0.1 + 0.2) / 3)
    assert found["acc2"] == pytest.approx(2 / 3)  # 0 is not positive
    assert set(found) == {"mae", "corr", "acc2", "f1", "acc3", "acc5"}


@pytest.mark.parametrize(
    ("edge", "beside", "measure", "same"),
    [
        (0.0, -0.4, "acc2", True),
        (-0.1, -0.5, "acc3", True),
        (0.1, 0.0, "acc3", True),  # an edge belongs to the class below it, in float32 too
        (0.1, 0.2, "acc3", False),
        (-0.7, -0.9, "acc5", True),
        (-0.1, -0.5, "acc5", True),
        (0.7, 0.3, "acc5", True),
        (0.7, 0.8, "acc5", False),
    ],
)
def test_sims_edges(edge: float, beside: float, measure: str, same: bool):
    """Beside two clips that are right in every measure, so that the labels are of several classes."""
    predictions, labels = np.array([edge, -1, 1]), np.array([beside, -1, 1])
    assert metrics.score("sims", predictions, labels)[measure] == pytest.approx((2 + same) / 3)


def test_a_constant_prediction_has_no_correlation():
    found = metrics.score("mosi", np.full(6, 0.3), Y)
    assert found["corr"] is None
    assert found["mae"] > 0


@pytest.mark.parametrize(
    ("convention", "named"), [("mosi", ("acc2_nonneg", "f1_nonneg", "acc2_pos", "f1_pos")), ("sims", ("acc2", "f1"))]
)
@pytest.mark.parametrize("sign", [1, -1])
def test_labels_of_one_class_leave_acc2_and_f1_undefined(convention: str, named: tuple[str, ...], sign: int) -> None:
    """Whatever always names that class would have 100, a floor too."""
    labels = sign * np.array([0.2, 0.5, 0.9, 1.0])
    found = metrics.score(convention, np.full(4, sign * 0.4), labels)
    assert [found[name] for name in named] == [None] * len(named) and found["mae"] > 0
    draws = intervals.weighted(convention, np.full(4, sign * 0.4), labels, np.ones((1, 4)))
    assert all(np.isnan(draws[name]).all() for name in named)
    both = metrics.score(convention, np.append(np.full(4, sign * 0.4), -sign), np.append(labels, -sign))
    assert [both[name] for name in named] == [1.0] * len(named)


def test_only_zeros_leave_negative_against_positive_undefined():
    found = metrics.score("mosi", P, np.zeros(6))
    assert found["acc2_pos"] is None and found["f1_pos"] is None


def test_summary_is_mean_and_population_deviation_over_seeds():
    found = results.summary([{"mae": 1.0, "corr": 0.5}, {"mae": 2.0, "corr": None}])
    told = {"mae": 1.5, "corr": None, "std": {"mae": 0.5, "corr": None}, "seeds": 2}
    assert found.model_dump(exclude_unset=True) == told
    assert results.Summary.model_validate(told) == found
