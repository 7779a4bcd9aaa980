"""Frames of an extractor -> frames of a training table, and the statistics that travel with it."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline import assemble
from pipeline.assemble import statistics
from pipeline.tables import Column, Statistics

COLUMNS = [
    Column("level", "1"),
    Column("VUV", "1", "flag"),
    Column("F0", "Hz", "frequency"),
    Column("roll", "rad", "angle"),
]


def test_columns_are_shaped_by_their_kind() -> None:
    x = np.array([[2.0, 1.0, 100.0, 0.5]])
    shaped = assemble.shape(x, np.array([True]), COLUMNS, pool=1, most=10)
    np.testing.assert_allclose(shaped, [[2.0, 1.0, np.log(100), np.sin(0.5), np.cos(0.5)]], rtol=1e-6)
    assert assemble.shaped_names(COLUMNS) == ["level", "VUV", "log_F0", "roll_sin", "roll_cos"]


def test_what_is_not_there_is_nan_and_is_left_out_of_means() -> None:
    x = np.array([[1.0, 0, 0.0, 0], [3.0, 1, 200.0, 0], [9.0, 1, 100.0, 0], [5.0, 1, 100.0, 0]])
    mask = np.array([True, True, False, False])
    shaped = assemble.shape(x, mask, COLUMNS, pool=2, most=10)
    np.testing.assert_allclose(shaped[0], [2.0, 0.5, np.log(200), 0, 1], rtol=1e-6)  # unvoiced is no pitch of 0
    assert np.isnan(shaped[1]).all()  # no face: the frame stays in its place


def test_an_unvoiced_0_is_no_value_of_a_voiced_column() -> None:
    x = np.array([[0.0], [30.0], [34.0], [0.0], [0.0], [0.0]])
    shaped = assemble.shape(x, np.ones(6, bool), [Column("F0", "semitones", "voiced")], pool=2, most=10)
    np.testing.assert_array_equal(shaped[:, 0], [30.0, 34.0, np.nan])


def test_the_head_is_kept_and_the_last_group_may_be_short() -> None:
    x = np.arange(10.0)[:, None]
    shaped = assemble.shape(x, np.ones(10, bool), COLUMNS[:1], pool=4, most=10)
    np.testing.assert_allclose(shaped[:, 0], [1.5, 5.5, 8.5])
    assert len(assemble.shape(x, np.ones(10, bool), COLUMNS[:1], pool=4, most=2)) == 2


def test_a_clip_that_says_nothing_has_no_frames() -> None:
    for mask in (np.zeros(5, bool), np.zeros(0, bool)):
        assert assemble.shape(np.ones((len(mask), 4)), mask, COLUMNS, 1, 10).shape == (0, 5)


def fitted_to(frames: list[np.ndarray]) -> Statistics:
    return statistics.scale(statistics.moments(frames, 5), COLUMNS)


def test_statistics_leave_flags_and_angles_and_constants_alone() -> None:
    generator = np.random.default_rng(0)
    x = generator.normal(5, 2, (500, 4))
    x[:, 1], x[:, 2], x[::7, 2] = x[:, 1] > 5, 120.0, 0.0
    fitted = fitted_to([assemble.shape(x, np.ones(500, bool), COLUMNS, 1, 500)])
    np.testing.assert_allclose(fitted.mean, [x[:, 0].mean(), 0, np.log(120), 0, 0], rtol=1e-5)
    np.testing.assert_allclose(fitted.std, [x[:, 0].std(), 1, 1, 1, 1], rtol=1e-5)


@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=12).map(lambda s: (s[0], 4)),
        elements=st.floats(-1e6, 1e6, width=32),
    ),
    st.integers(1, 5),
    st.integers(1, 8),
    st.randoms(use_true_random=False),
)
def test_any_frames_give_finite_statistics_and_a_bounded_length(x, pool, most, random) -> None:
    mask = np.array([random.random() < 0.6 for _ in x], bool)
    shaped = assemble.shape(x, mask, COLUMNS, pool, most)
    assert len(shaped) <= min(most, -(-len(x) // pool))
    fitted = fitted_to([shaped])
    assert np.isfinite(fitted.mean).all() and (np.array(fitted.std) > 0).all()
