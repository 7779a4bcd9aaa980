"""The LF model's spectrum, and Rd from the phases of voices whose Rd is known."""

import numpy as np
import pytest

from pipeline.audio.covarep import harmonics, lf, pitch, rd
from pipeline.audio.covarep.blocks import Sound
from tests import glottis
from tests.test_covarep_pitch import HARD, grid


def found(voice: glottis.Voice, f0: float) -> tuple[float, float]:
    """Medians of Rd and its confidence, away from the ends; F0 is given."""
    times = grid(voice.sound)
    pitches = np.interp(times, [0, times[-1]], [f0, 1.1 * f0])
    shapes, confidence = rd.estimate(harmonics.analyse(voice.sound, times, pitches, 158), pitches)
    return float(np.median(shapes[10:-10])), float(np.median(confidence[10:-10]))


@pytest.mark.parametrize("shape", [0.4, 1.0, 2.2])
def test_the_spectrum_is_that_of_the_pulse_in_time(shape: float) -> None:
    pulse = glottis.LF.of(shape, 1.0)
    t = (np.arange(200_000) + 0.5) / 200_000
    orders = np.arange(1, 20)
    numeric = (pulse.derivative(t)[:, None] * np.exp(-2j * np.pi * orders * t[:, None])).mean(axis=0)
    closed = lf.spectrum(np.array([shape]), orders)[0]
    np.testing.assert_allclose(closed, numeric, atol=2e-3 * np.abs(numeric).max())


@pytest.mark.parametrize("f0", [70.0, 100.0, 130.0])
@pytest.mark.parametrize("vowel", glottis.VOWELS)
def test_rd_of_pulses_through_known_resonances_whatever_their_delay_and_gain(vowel: str, f0: float) -> None:
    shapes = np.linspace(0.4, 2.3, 39)
    impulse = glottis.filtered(np.eye(1, 4000)[0], vowel)
    orders = np.arange(1, int(8000 / f0))
    tract = np.exp(-2j * np.pi * f0 / 16000 * np.outer(orders, np.arange(4000))) @ impulse
    delays = np.linspace(0, 1, len(shapes))[:, None]  # periods
    partials = np.linspace(1e-3, 1e3, len(shapes))[:, None] * np.exp(2j * np.pi * orders * delays) * tract
    found, confidence = rd.estimate(partials * lf.spectrum(shapes, orders), np.full(len(shapes), f0))
    np.testing.assert_allclose(found, shapes, rtol=0.12)
    assert np.all(np.diff(found) > 0)
    assert confidence.min() > 0.85


@pytest.mark.parametrize(("vowel", "f0"), [("a", 90), ("a", 140), ("a", 220), ("u", 100), ("i", 90)])
@pytest.mark.parametrize("shape", [0.5, 0.9, 1.4, 2.0])
def test_rd_of_a_voice(vowel: str, f0: float, shape: float) -> None:
    shapes, confidence = found(glottis.voice((f0, 1.1 * f0), shape, vowel), f0)
    assert shapes == pytest.approx(shape, rel=0.12)
    assert confidence > 0.75


def test_a_laxer_voice_has_a_larger_rd_also_where_the_first_formant_is_near_f0() -> None:
    shapes = [found(glottis.voice((160, 176), shape, "i"), 160)[0] for shape in (0.5, 0.8, 1.2)]
    assert np.all(np.diff(shapes) > 0.2)


def test_noise_takes_the_confidence_away() -> None:
    voice = glottis.voice((120, 132), 1.0)
    noise = np.random.default_rng(0).normal(0, voice.sound.std(), len(voice.sound))
    confidences = []
    for level in (0.0, 0.3, 3.0):
        times = grid(voice.sound)
        pitches = np.interp(times, [0, times[-1]], [120, 132])
        partials = harmonics.analyse(voice.sound + level * noise, times, pitches, 158)
        confidences.append(np.median(rd.estimate(partials, pitches)[1]))
    assert confidences[0] > confidences[1] > confidences[2]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", HARD)
def test_any_sound_has_an_rd_in_range(name: str) -> None:
    times = grid(HARD[name])
    f0 = pitch.track(Sound.of(HARD[name])).f0
    shapes, confidence = rd.estimate(harmonics.analyse(HARD[name], times, f0, 158), f0)
    assert shapes.shape == confidence.shape == times.shape
    assert ((shapes >= rd.LOWEST) & (shapes <= rd.HIGHEST + 1e-9)).all()
    assert ((confidence >= 0) & (confidence <= 1)).all()
