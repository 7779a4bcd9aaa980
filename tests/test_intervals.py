"""Bootstrap intervals: what a resample is, by hand, and that clips of one video count as one."""

import numpy as np
import pytest

from model.measures import metrics
from model.measures.intervals import RESAMPLES, Bootstrap, weighted

RNG = np.random.default_rng(7)
LABELS = np.round(RNG.uniform(-3, 3, 60), 1).astype(np.float32)
LABELS[:4] = 0
PREDICTIONS = (LABELS + RNG.normal(0, 1, (3, 60))).astype(np.float32)
VIDEOS = [f"video{clip % 12}" for clip in range(60)]


@pytest.mark.parametrize("convention", ["mosi", "sims"])
def test_with_every_clip_once_the_measures_are_those_of_the_tables(convention: str):
    for predictions in (PREDICTIONS[0], np.full(60, 0.5, np.float32)):
        found = weighted(convention, predictions, LABELS, np.ones((1, 60)))
        expected = metrics.score(convention, predictions, LABELS)
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert found[name][0] == pytest.approx(np.nan if value is None else value, abs=1e-9, nan_ok=True), name


@pytest.mark.parametrize("convention", ["mosi", "sims"])
def test_a_weight_is_how_often_a_clip_counts(convention: str):
    times = RNG.integers(0, 4, 60)
    found = weighted(convention, PREDICTIONS[0], LABELS, times[None].astype(float))
    expected = metrics.score(convention, np.repeat(PREDICTIONS[0], times), np.repeat(LABELS, times))
    assert {name: value[0] for name, value in found.items()} == pytest.approx(expected, abs=1e-9)


def test_an_interval_by_hand():
    """Two videos, errors 0 and 1: a resample's MAE is 0, .5 or 1, in shares of 1/4, 1/2, 1/4."""
    bootstrap = Bootstrap(["a", "b"])
    draws = bootstrap.draws("mosi", np.array([[1.0, 2.0]]), np.array([1.0, 1.0]))["mae"]
    assert set(draws) == {0.0, 0.5, 1.0} and len(draws) == RESAMPLES
    assert (draws == 0.5).mean() == pytest.approx(0.5, abs=0.05)
    assert bootstrap.intervals({"mae": draws}) == {"mae": [0.0, 1.0]}


def test_the_mean_over_seeds_is_what_is_resampled():
    bootstrap = Bootstrap(VIDEOS)
    each = [bootstrap.draws("mosi", seed[None], LABELS)["mae"] for seed in PREDICTIONS]
    assert np.allclose(bootstrap.draws("mosi", PREDICTIONS, LABELS)["mae"], np.mean(each, axis=0))


def test_copies_of_clips_inside_a_video_do_not_shrink_the_interval():
    """Nor do they widen it; had the clips been resampled, nine times as many would have made it a third."""
    once = Bootstrap(VIDEOS)
    often = Bootstrap(VIDEOS * 9)
    low, high = once.intervals(once.draws("mosi", PREDICTIONS, LABELS))["mae"]
    copied = often.intervals(often.draws("mosi", np.tile(PREDICTIONS, 9), np.tile(LABELS, 9)))["mae"]
    assert copied == pytest.approx([low, high]) and high - low > 0.05
    alone = Bootstrap([f"video{clip}" for clip in range(540)])
    narrow = alone.intervals(alone.draws("mosi", np.tile(PREDICTIONS, 9), np.tile(LABELS, 9)))["mae"]
    assert narrow[1] - narrow[0] < (high - low) / 2


def test_intervals_repeat_and_do_not_depend_on_the_order_of_clips():
    order = RNG.permutation(60)
    first, again = Bootstrap(VIDEOS), Bootstrap([VIDEOS[clip] for clip in order])
    found = first.intervals(first.draws("mosi", PREDICTIONS, LABELS))
    moved = again.intervals(again.draws("mosi", PREDICTIONS[:, order], LABELS[order]))
    assert found == Bootstrap(VIDEOS).intervals(Bootstrap(VIDEOS).draws("mosi", PREDICTIONS, LABELS))
    for name, bounds in found.items():
        assert bounds == pytest.approx(moved[name]), name


def test_pairing_removes_what_two_rows_share():
    """The second row errs by .1 more on every clip: sure, though both intervals are wide."""
    bootstrap = Bootstrap(VIDEOS)
    worse = LABELS + np.where(PREDICTIONS > LABELS, 1, -1) * (np.abs(PREDICTIONS - LABELS) + 0.1)
    first, second = (bootstrap.draws("mosi", row, LABELS) for row in (PREDICTIONS, worse))
    low, high = bootstrap.intervals({"mae": second["mae"] - first["mae"]})["mae"]
    assert (low, high) == pytest.approx((0.1, 0.1), abs=1e-6)
    same = bootstrap.intervals({name: first[name] - first[name] for name in first})
    assert all(bounds == [0.0, 0.0] for bounds in same.values())


def test_what_is_not_defined_has_no_interval():
    assert Bootstrap(["a"] * 3).intervals({"mae": np.ones(RESAMPLES)}) == {"mae": None}
    bootstrap = Bootstrap(VIDEOS)
    found = bootstrap.intervals(bootstrap.draws("mosi", np.full((1, 60), 0.5), np.zeros(60)))
    assert found["corr"] is None and found["acc2_pos"] is None and found["f1_pos"] is None
    assert found["mae"] == [0.5, 0.5]
