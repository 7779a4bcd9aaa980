"""Harmonics, true envelope and phase distortion, against sums of cosines and voices through known resonances."""

import numpy as np
import pytest
from scipy.signal import freqz

from pipeline.audio.covarep import distortion, envelope, harmonics, pitch
from pipeline.audio.covarep.blocks import Sound
from pipeline.media import SAMPLE_RATE
from tests import glottis
from tests.test_covarep_pitch import HARD, grid

INNER = slice(10, -10)


def cosines(f0: float, amplitudes: np.ndarray, phases: np.ndarray, seconds: float = 1.0) -> np.ndarray:
    """The sum over harmonics of a cos(2 pi h f0 t + phase)."""
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    orders = np.arange(1, len(amplitudes) + 1)[:, None]
    return (amplitudes[:, None] * np.cos(2 * np.pi * f0 * orders * t + phases[:, None])).sum(axis=0)


def steady(sound: np.ndarray, f0: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Its grid, F0 and harmonics."""
    times = grid(sound)
    pitches = np.full(len(times), f0)
    return times, pitches, harmonics.analyse(sound, times, pitches, 158)


def apart(angles: np.ndarray, others: np.ndarray) -> np.ndarray:
    return np.abs(np.angle(np.exp(1j * (angles - others))))


@pytest.mark.parametrize("f0", [55.0, 120.0, 333.3])
def test_amplitude_and_phase_of_every_harmonic(f0: float) -> None:
    count = int(SAMPLE_RATE / 2 / f0 - 1)
    random = np.random.default_rng(0)
    amplitudes, phases = random.uniform(0.2, 1, count), random.uniform(-np.pi, np.pi, count)
    times, _, found = steady(cosines(f0, amplitudes, phases), f0)
    true = amplitudes * np.exp(1j * (2 * np.pi * f0 * np.arange(1, count + 1) * times[:, None] + phases))
    assert np.abs(found[INNER, :count] - true[INNER]).max() < 0.01
    assert not found[:, int(SAMPLE_RATE / 2 / f0) :].any()  # above half the sampling rate


def mel_places(hz: np.ndarray) -> np.ndarray:
    """0 to pi on the mel scale."""
    return np.pi * np.log1p(hz / 700) / np.log1p(SAMPLE_RATE / 2 / 700)


@pytest.mark.parametrize("f0", [60.0, 80.0, 140.0, 250.0, 333.0])
@pytest.mark.parametrize("turned", [0.0, np.pi])
def test_mel_cepstra_pass_through_the_harmonics_of_known_resonances(f0: float, turned: float) -> None:
    poles = np.poly(0.93 * np.exp(2j * np.pi * np.array([600, -600, 1500, -1500, 2600, -2600]) / SAMPLE_RATE)).real
    hz = f0 * np.arange(1, np.ceil(SAMPLE_RATE / 2 / f0))
    amplitudes = 0.02 * np.abs(freqz(1, poles, hz, fs=SAMPLE_RATE)[1])
    sound = cosines(f0, amplitudes, np.random.default_rng(0).uniform(-turned, turned, len(hz)))
    times = grid(sound)
    found = envelope.mel_cepstrum(sound, times, np.full(len(times), f0))[INNER]
    lines = found @ np.cos(np.arange(25)[:, None] * mel_places(hz))  # (frames, harmonics)
    assert np.abs(lines - np.log(amplitudes / 2)).max() < 1.5 * np.log(10) / 20  # dB


@pytest.mark.parametrize("f0", [60.0, 140.0, 333.0])
def test_a_true_envelope_is_smooth_and_nowhere_far_below_the_spectrum(f0: float) -> None:
    noise = np.random.default_rng(0).normal(size=(5, 500)) * np.hanning(500)
    pitches = np.full(5, f0)
    lines = envelope.over_harmonics(np.log(np.abs(np.fft.rfft(noise, envelope.BINS))), pitches)
    found = envelope.true_envelope(lines, pitches)
    assert (lines - found).max() < 2 * np.log(10) / 20  # dB
    cepstra = np.fft.irfft(found, envelope.BINS)[:, : envelope.BINS // 2]
    assert np.abs(cepstra[:, int(SAMPLE_RATE / 2 / f0) + 1 :]).max() < 1e-12


def test_mel_cepstra_depend_on_neither_polarity_nor_place_in_the_period() -> None:
    sound = glottis.voice(120, 1.2, "a", seconds=1.2).sound
    times = grid(sound[:SAMPLE_RATE])
    f0 = np.full(len(times), 120.0)
    one, turned, later = (
        envelope.mel_cepstrum(x, times, f0)
        for x in (sound[:SAMPLE_RATE], -sound[:SAMPLE_RATE], sound[37:][:SAMPLE_RATE])
    )
    np.testing.assert_allclose(turned, one, rtol=0, atol=1e-12)
    assert np.abs(later - one)[20:-20].max() < 0.1


def test_a_louder_sound_moves_the_first_coefficient_alone() -> None:
    sound = glottis.voice(130, noise=0.01).sound
    times = grid(sound)
    f0 = np.full(len(times), 130.0)
    soft, loud = envelope.mel_cepstrum(sound, times, f0), envelope.mel_cepstrum(3 * sound, times, f0)
    assert np.abs(loud[:, 0] - soft[:, 0] - np.log(3)).max() < 1e-4
    assert np.abs(loud[:, 1:] - soft[:, 1:]).max() < 1e-4


def test_a_cosine_of_amplitude_1_stands_at_half_in_a_flat_envelope() -> None:
    f0, count = 100.0, 79
    times, pitches, _ = steady(sound := cosines(f0, np.ones(count), np.linspace(0, 60, count) ** 2), f0)
    found = envelope.mel_cepstrum(sound, times, pitches)[INNER]
    assert np.abs(found[:, 0] - np.log(0.5)).max() < 0.02
    assert np.abs(found[:, 1:]).max() < 0.02


def test_phase_distortion_of_known_phases() -> None:
    f0, count = 100.0, 79
    flat, steps = np.ones(count), np.full(count, 0.7)
    phases = np.cumsum(steps)  # phi_h - phi_(h-1) = .7, phi_1 = .7: distortion 0
    assert np.abs(distortion.phase_distortion(*steady(cosines(f0, flat, phases), f0)[:0:-1])[0][INNER]).max() < 0.05
    bent = phases + 0.9 * np.maximum(np.arange(count) - 4, 0)  # from the sixth harmonic on .9 more a step
    means, _ = distortion.phase_distortion(*steady(cosines(f0, flat, bent), f0)[:0:-1])
    hz = distortion._means_at()
    assert apart(means[INNER][:, (hz > 650) & (hz < 7000)], np.array(0.9)).max() < 0.05
    assert np.abs(means[INNER][:, hz < 480]).max() < 0.05


def test_a_minimum_phase_tract_leaves_no_distortion() -> None:
    pulses = np.zeros(SAMPLE_RATE)
    pulses[::100] = 1.0  # 160 Hz
    means, _ = distortion.phase_distortion(*steady(glottis.filtered(pulses, "a"), 160.0)[:0:-1])
    assert np.median(np.abs(means[INNER])) < 0.1
    assert np.percentile(np.abs(means[INNER]), 95) < 0.4


def test_distortion_does_not_depend_on_the_place_in_the_period() -> None:
    sound = glottis.voice(120, 1.2, "a", seconds=1.2).sound
    one, other = (distortion.phase_distortion(*steady(sound[cut : cut + SAMPLE_RATE], 120.0)[:0:-1]) for cut in (0, 37))
    hz = distortion._means_at()
    assert apart(one[0][20:-20], other[0][20:-20])[:, hz < 4000].max() < 0.1
    turned = distortion.phase_distortion(*steady(-sound[:SAMPLE_RATE], 120.0)[:0:-1])
    assert apart(turned[0][20:-20], one[0][20:-20] + np.pi)[:, (hz > 240) & (hz < 4000)].max() < 0.2


def test_the_deviation_tells_noise_from_a_steady_voice() -> None:
    voice = glottis.voice(120).sound
    noisy = voice + np.random.default_rng(0).normal(0, voice.std(), len(voice))
    level = [distortion.phase_distortion(*steady(x, 120.0)[:0:-1])[1][INNER, 0].mean() for x in (voice, noisy)]
    assert np.exp(level[1]) > 3 * np.exp(level[0])


def test_the_deviation_of_known_distortions() -> None:
    """+-d by turns has the resultant cos(d)."""
    f0, orders = np.full(100, 50.0), np.arange(158)
    signs = np.where(np.arange(100) % 2, 1, -1)[:, None]
    small, large = (distortion.phase_distortion(np.exp(1j * signs * orders * d), f0)[1][30:-30, 0] for d in (0.3, 0.9))
    asked = [np.log(np.sqrt(-2 * np.log(np.cos(d)))) for d in (0.3, 0.9)]
    above = 1 - mel_places(np.array(75.0)) / np.pi  # the share of the scale that is not level
    np.testing.assert_allclose(large - small, above * (asked[1] - asked[0]), rtol=0.03)


def test_a_block_with_its_context_gives_what_the_whole_gives() -> None:
    sound = glottis.voice((100, 140), seconds=2.0, noise=0.05).sound
    _, f0, found = steady(sound, 120.0)
    whole = distortion.phase_distortion(found, f0)
    part = slice(70 - distortion.CONTEXT, 120 + distortion.CONTEXT)
    cut = distortion.phase_distortion(found[part], f0[part])
    for all_frames, some in zip(whole, cut, strict=True):
        np.testing.assert_allclose(
            some[distortion.CONTEXT : -distortion.CONTEXT], all_frames[70:120], rtol=0, atol=1e-9
        )


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", HARD)
def test_any_sound_has_an_envelope_and_a_distortion(name: str) -> None:
    times = grid(HARD[name])
    f0 = pitch.track(Sound.of(HARD[name])).f0
    cepstra = envelope.mel_cepstrum(HARD[name], times, f0)
    means, deviations = distortion.phase_distortion(harmonics.analyse(HARD[name], times, f0, 158), f0)
    for found, width in ((cepstra, 25), (means, 25), (deviations, 13)):
        assert found.shape == (len(times), width)
        assert np.isfinite(found).all()
    assert (np.abs(means) <= np.pi).all()
