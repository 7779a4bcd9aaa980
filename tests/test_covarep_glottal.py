"""Glottal flow, its measures, and the wavelets: against synthetic voices of known answer, and closed forms."""

import numpy as np
import pytest
from scipy.signal import lfilter

from pipeline.audio.covarep import glottal, iaif, wavelets
from pipeline.audio.covarep.pitch import Pitch
from pipeline.audio.covarep.residual import lp_residual
from tests.glottis import RATE, Voice, voice

RDS = (0.5, 1.0, 1.5, 2.0, 2.5)  # tense to breathy
SIX_DB = np.log10(2)


def grid(samples: int) -> np.ndarray:
    return (np.arange(int(np.ceil((samples / RATE - 0.005) * 100))) + 0.5) / 100


def steady(f0: float, samples: int) -> Pitch:
    times = grid(samples)
    return Pitch(times, np.full(len(times), f0), np.full(len(times), 0.2), np.ones(len(times), bool))


def closures(spoken: Voice) -> np.ndarray:
    return np.round(spoken.gcis).astype(int)


def spoken_by_rd(f0: float, vowel: str) -> list[Voice]:
    return [voice(f0, rd, vowel, noise=0.001) for rd in RDS]


def middle(values: np.ndarray) -> float:
    """Of a steady voice's pulses, away from its ends."""
    return float(np.median(values[5:-5]))


def measured(spoken: list[Voice], f0: float, name: str) -> np.ndarray:
    found = [glottal.measures(v.sound, closures(v), steady(f0, len(v.sound))) for v in spoken]
    return np.array([middle(getattr(measures, name)) for measures in found])


def psp(pulse: np.ndarray) -> float:
    return glottal.psp(pulse, glottal.curvature(np.ones(len(pulse) - 1)))


def exact(spoken: Voice, f0: float) -> tuple[np.ndarray, np.ndarray]:
    """One period of the flow that made the voice, and three of its derivative."""
    last, length = closures(spoken)[8], round(RATE / f0)
    around = slice(last - 3 * length // 2, last + 3 * length // 2)
    return spoken.flow[last - length : last + 1], spoken.derivative[around]


@pytest.mark.parametrize(("f0", "vowel", "least"), [(100, "a", 0.95), (160, "a", 0.93), (100, "i", 0.9)])
def test_inverse_filtering_recovers_the_derivative_of_the_flow(f0: int, vowel: str, least: float) -> None:
    spoken = voice(f0, 1.0, vowel, noise=0.001)
    found = iaif.flow_derivative(iaif.high_pass(spoken.sound), closures(spoken), np.full(len(spoken.gcis), RATE // f0))
    inner = slice(RATE // 10, -RATE // 10)
    assert np.corrcoef(found[inner], spoken.derivative[inner])[0, 1] > least
    assert np.corrcoef(spoken.sound[inner], spoken.derivative[inner])[0, 1] < 0.8


def test_the_flow_is_zero_far_from_any_closure() -> None:
    spoken = voice(120, silent=[(0.3, 0.7)])
    found = iaif.flow_derivative(spoken.sound, closures(spoken), np.full(len(spoken.gcis), RATE // 120))
    assert not found[round(0.35 * RATE) : round(0.65 * RATE)].any()
    assert found[: round(0.25 * RATE)].any()


def test_what_is_slower_than_a_voice_is_taken_away_and_the_voice_kept() -> None:
    t = np.arange(RATE) / RATE
    passed = iaif.high_pass(0.5 + np.sin(2 * np.pi * 20 * t) + np.sin(2 * np.pi * 90 * t))
    inner = slice(RATE // 4, -RATE // 4)
    assert np.abs(passed - np.sin(2 * np.pi * 90 * t))[inner].max() < 0.01


def test_prediction_finds_the_resonance_that_noise_went_through() -> None:
    poles = [1, -1.6, 0.9]
    noise = np.random.default_rng(0).standard_normal(RATE)
    found = iaif.predict(lfilter([1.0], poles, noise), iaif.blackman(RATE), 4)
    assert found == pytest.approx([*poles, 0, 0], abs=0.05)


@pytest.mark.parametrize(("f0", "vowel"), [(100, "a"), (100, "i"), (160, "a"), (220, "a")])
def test_naq_within_30_percent_and_rising_with_rd(f0: int, vowel: str) -> None:
    spoken = spoken_by_rd(f0, vowel)
    found = measured(spoken, f0, "naq")
    assert found == pytest.approx([v.naq[0] for v in spoken], rel=0.3)
    assert (np.diff(found) > 0).all()


@pytest.mark.parametrize(("f0", "error"), [(100, 2.0), (160, 3.0), (220, 4.0)])
def test_h1h2_is_that_of_the_true_flow_in_an_open_vowel(f0: int, error: float) -> None:
    spoken = spoken_by_rd(f0, "a")
    truth = [glottal.h1h2(exact(v, f0)[1], round(RATE / f0)) for v in spoken]
    assert measured(spoken, f0, "h1h2") == pytest.approx(truth, abs=error)
    assert (np.diff(truth) > 0).all()


@pytest.mark.parametrize(("f0", "vowel"), [(100, "a"), (100, "i"), (160, "a"), (220, "a")])
def test_qoq_is_that_of_the_true_flow_and_rises_with_rd(f0: int, vowel: str) -> None:
    spoken = spoken_by_rd(f0, vowel)
    found = measured(spoken, f0, "qoq")
    assert found == pytest.approx([v.pulses[0].quasi_open_quotient for v in spoken], abs=0.13)
    assert (np.diff(found) > 0).all()


@pytest.mark.parametrize(("f0", "vowel"), [(100, "a"), (100, "i"), (160, "a"), (220, "a")])
def test_psp_is_that_of_the_true_flow_and_rises_with_rd(f0: int, vowel: str) -> None:
    spoken = spoken_by_rd(f0, vowel)
    found = measured(spoken, f0, "psp")
    assert found == pytest.approx([psp(exact(v, f0)[0]) for v in spoken], abs=0.08)
    assert (np.diff(found) > 0).all()


def test_measures_of_half_a_sine() -> None:
    """It is above half its height for 2/3 of its width, and falls by pi / width at the most."""
    period, width = 400, 240
    t = np.arange(period + 1)
    flow = np.where(t < width, np.sin(np.pi * t / width), 0)
    assert glottal.qoq(flow) == pytest.approx(2 / 3 * width / period, rel=1e-3)
    assert glottal.naq(flow, np.diff(flow)) == pytest.approx(width / np.pi / period, rel=1e-3)


def test_the_drift_of_a_period_is_taken_out() -> None:
    flow = np.sin(np.pi * np.arange(101) / 100)
    assert glottal.level(flow + 3 + 0.5 * np.arange(101)) == pytest.approx(flow, abs=1e-12)


def test_h1h2_of_two_sinusoids() -> None:
    turn = 2 * np.pi * np.arange(480) / 160
    assert glottal.h1h2(4 * np.sin(turn) + np.sin(2 * turn), 160) == pytest.approx(20 * np.log10(4), abs=0.1)


def test_psp_goes_from_none_of_an_impulse_to_all_of_a_constant() -> None:
    """The main lobe of a constant narrows as 1 / length: its curvature is the square."""
    impulse, half, whole = np.zeros(161), np.zeros(161), np.zeros(161)
    impulse[10], half[:80], whole[:160] = 1, 1, 1
    assert psp(impulse) == pytest.approx(0, abs=1e-3)
    assert psp(half) == pytest.approx(0.25, rel=0.1)
    assert psp(whole) == pytest.approx(1)


def test_a_gap_is_no_period_and_neither_is_a_stumble() -> None:
    pitch = steady(100, RATE)
    gcis = np.array([1000, 1160, 1320, 4000, 4170, 4500, 4570])
    assert glottal.periods(gcis, pitch).tolist() == [0, 160, 160, 0, 170, 0, 0]
    naq = glottal.measures(voice(100).sound, gcis, pitch).naq
    assert np.isfinite(naq).tolist() == [False, True, True, False, True, False, False]


@pytest.mark.parametrize("f0", [100, 160, 220])
def test_mdq_is_smaller_of_a_sharp_closure_than_of_a_breathy_one(f0: int) -> None:
    found = [
        middle(wavelets.mdq(lp_residual(v.sound, 18), closures(v), steady(f0, len(v.sound))))
        for v in spoken_by_rd(f0, "a")
    ]
    assert 0 < max(found[:2]) < found[2] < min(found[3:]) < max(found) < wavelets.REACH


def test_peak_slope_of_a_click_is_flat() -> None:
    sound = np.zeros(RATE)
    sound[RATE // 2] = 1
    assert wavelets.peak_slope(sound, grid(RATE))[49:51] == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("order", [-1, 1])
def test_peak_slope_moves_by_6_db_an_octave_with_the_spectrum(order: int) -> None:
    noise = np.random.default_rng(0).standard_normal(RATE)
    frequency = np.maximum(np.fft.rfftfreq(RATE, 1 / RATE), 60)
    tilted = np.fft.irfft(np.fft.rfft(noise) * frequency ** float(-order))
    moved = wavelets.peak_slope(tilted, grid(RATE)) - wavelets.peak_slope(noise, grid(RATE))
    assert np.median(moved) == pytest.approx(-order * SIX_DB, abs=0.03)


def test_peak_slope_does_not_hear_loudness_and_silence_is_flat() -> None:
    sound, times = voice(120).sound, grid(RATE)
    assert wavelets.peak_slope(sound / 1000, times) == pytest.approx(wavelets.peak_slope(sound, times), abs=1e-9)
    assert not wavelets.peak_slope(np.zeros(RATE), times).any()


def test_peak_slope_belongs_to_the_middle_of_its_40_ms() -> None:
    """A click is heard by the frames within 20 ms of it and by no other."""
    sound = np.zeros(RATE)
    sound[RATE // 2] = 1
    wide = np.random.default_rng(0).standard_normal(RATE) * 1e-3
    heard = np.flatnonzero(np.abs(wavelets.peak_slope(sound + wide, grid(RATE))) < 0.03)
    assert heard.tolist() == [48, 49, 50, 51]


SOUNDS = {
    "silence": np.zeros(RATE),
    "20 ms": voice(200).sound[4000:4320],
    "noise": np.random.default_rng(1).standard_normal(RATE),
    "clipped": np.clip(voice(120).sound * 50, -1, 1),
    "offset": np.full(RATE, 0.7),
    "music": sum(np.sin(2 * np.pi * f * np.arange(RATE) / RATE) for f in (220, 277.2, 329.6)),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", SOUNDS)
@pytest.mark.parametrize("gcis", [range(0), range(5, 6), range(0, 320, 133), range(7, RATE, 133)])
def test_any_sound_is_answered(name: str, gcis: range) -> None:
    sound = SOUNDS[name]
    given = np.array([gci for gci in gcis if gci < len(sound)], int)
    pitch = steady(120, len(sound))
    flow = glottal.measures(sound, given, pitch)
    quotient = wavelets.mdq(lp_residual(sound, 18), given, pitch)
    for values in (flow.naq, flow.qoq, flow.h1h2, flow.psp, quotient):
        assert values.shape == given.shape
        assert not np.isinf(values).any()
    assert np.isfinite(quotient).tolist() == (np.diff(given, prepend=given[:1]) > 0).tolist()
    slope = wavelets.peak_slope(sound, grid(len(sound)))
    assert slope.shape == grid(len(sound)).shape
    assert np.isfinite(slope).all()
