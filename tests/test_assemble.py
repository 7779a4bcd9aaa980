"""Frames of an extractor -> frames of a training table, and the statistics that travel with it."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from pipeline import assemble, text
from pipeline.assemble import statistics
from pipeline.tables import IMPORTED, Column, FeatureMetadata, Frames, Policy, Statistics

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


def frames(count: int, rate: float) -> Frames:
    return Frames(np.arange(count) / rate, np.ones((count, 1), np.float32), np.ones(count, bool))


def test_what_is_cut_of_a_long_clip_is_told_in_seconds() -> None:
    made = FeatureMetadata(extractor="made", columns=COLUMNS[:1])
    policy = Policy(pool={"audio": 4, "vision": 1}, max_frames={"audio": 400, "vision": 400})
    spoken = assemble.Spoken([], [])
    sound = assemble.shaped(frames(41_370, 100), "audio", made, policy, spoken)
    picture = assemble.shaped(frames(6206, 15), "vision", made, policy, spoken)
    assert [len(sound.x), *map(str, sound.flags)] == [400, "sound: first 16 of 414 s"]
    assert [len(picture.x), *map(str, picture.flags)] == [400, "picture: first 27 of 414 s"]
    assert assemble.shaped(frames(1600, 100), "audio", made, policy, spoken).flags == ()
    brought = FeatureMetadata(extractor=IMPORTED, columns=COLUMNS[:1])
    whole = Policy(pool={"audio": 1}, max_frames={"audio": None})
    assert assemble.shaped(frames(41_370, 100), "audio", brought, whole, spoken).flags == ()


def test_frames_of_words_without_a_token_are_cut_too() -> None:
    made, said = FeatureMetadata(extractor="made", columns=COLUMNS[:1]), [(0.0, 1.0), (1.0, 2.6), (3.0, 9.0)]
    policy = Policy(aligned=True)
    part = assemble.shaped(frames(100, 10), "audio", made, policy, assemble.Spoken(said, [-1, 0, 1, -1]))
    assert len(part.x) == 4 and list(map(str, part.flags)) == ["sound: first 3 of 10 s"]
    assert assemble.shaped(frames(100, 10), "audio", made, policy, assemble.Spoken(said, [-1, 0, 1, 2, -1])).flags == ()


def test_tokens_that_are_cut_are_told() -> None:
    tokens = text.tokenise("good " * 1010, "packaged", 64)
    assert list(map(str, assemble.cut(tokens))) == ["text: first 64 of 1,012 tokens"]
    assert assemble.cut(text.tokenise("good", "packaged", 64)) == ()


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
