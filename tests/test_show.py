"""rawmsa show and the data page's picture: every track at its time, what is missing told, a clip found by its name."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure
from typer.testing import CliRunner

from app import show
from pipeline import paths, tables
from pipeline.errors import RawmsaError
from pipeline.media import SAMPLE_RATE
from pipeline.tables import Column, Word
from report import clip as picture
from report import tracks as reading
from report.tracks import Modality, Tracks
from stages.__main__ import app
from tests import glottis, projects
from tests.clips import make

Drawn = tuple[Figure, dict[str, Any]]

SECONDS = 3.0
TIMES = (np.arange(300) + 0.5) / 100
VOICED = (TIMES > 1) & (TIMES < 2)
F0 = np.where(VOICED, 125.0, 300.0)
GCIS = np.arange(1.0, 2.0, 1 / 125)
QUALITY = ("NAQ", "QOQ", "H1H2", "PSP", "MDQ")
COVAREP = [
    *(Column("F0", "Hz", "frequency"), Column("VUV", "0 or 1", "flag")),
    *(Column(name, "dB" if name == "H1H2" else "share of T0, 0 to 1 (a paper)", "voiced") for name in QUALITY),
    *(Column(name, "1, 0 to 1 (a paper)") for name in ("peakSlope", "Rd", "creak")),
    *(Column(f"MCEP_{i}", "1") for i in range(25)),
]
SMILE = [Column("Loudness_sma3", "sone-like"), Column(reading.SEMITONES, "semitones above 27.5 Hz", "voiced")]
LIPS = [Column(f"point_{point}_{axis}", "") for point in (13, 14) for axis in "xyz"]
WORDS = [("it", 0.1, 0.4), ("went", 0.4, 0.9), ("extraordinarily", 0.95, 1.0), ("well", 1.0, 1.5)]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two data sets with the same ids; `demo` has labels, predictions and features of its first clip."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    Path("params.yaml").write_text((Path(__file__).parents[1] / "params.yaml").read_text())
    rows = projects.clips("demo", words=[vars(word) for word in words()])
    others = projects.clips("other", labelled=False)[:1]
    projects.ingest(({"name": "demo", "redistribute": True}, rows), ({"name": "other"}, others))
    projects.predict(rows, trained_on="demo", seeds=(1, 2))
    save("audio", SMILE, TIMES, acoustic(SMILE))
    save("vision", LIPS, np.arange(30) / 10, mouth())
    return tmp_path


def words(known: bool = True) -> list[Word]:
    return [Word(word, start if known else None, end if known else None) for word, start, end in WORDS]


def acoustic(columns: list[Column]) -> np.ndarray:
    """(T, D): F0, VUV, 0.5 where voiced and 0 elsewhere, MCEP rising with the time."""
    known = {"F0": F0, "VUV": VOICED, reading.SEMITONES: np.where(VOICED, 12.0, 0.0)}
    x = [known.get(c.name, np.where(VOICED, 0.5, 0.0) if c.kind == "voiced" else TIMES) for c in columns]
    return np.stack(x, axis=1).astype(np.float32)


def mouth() -> np.ndarray:
    """(T, 6): lips .3 apart from 1 to 2 s, else closed; no face in the first frame."""
    x = np.zeros((30, 6), np.float32)
    x[10:20, 4] = 0.3
    x[0] = np.nan
    return x


def save(
    modality: str, columns: list[Column], times: np.ndarray, x: np.ndarray, dataset: str = "demo", **changed: Any
) -> None:
    """The feature file of a data set with one clip; a frame of NaN is masked."""
    projects.features(dataset, modality, [column.name for column in columns], {"v0/1": x}, times=times, **changed)
    described = [{"name": c.name, "unit": c.unit, "kind": c.kind} for c in columns]
    made = tables.read(paths.features(modality, dataset))
    projects.write_features(modality, dataset, made, {"extractor": "made", "columns": described})


def tracks(columns: list[Column] = COVAREP, **changed: Any) -> Tracks:
    """A clip whose every track is known."""
    sound = 0.1 * np.sin(2 * np.pi * 125 * np.arange(int(SECONDS * SAMPLE_RATE)) / SAMPLE_RATE)
    sound[int(1.45 * SAMPLE_RATE) : int(1.55 * SAMPLE_RATE)] *= 5
    parts: dict[str, Any] = {
        "name": "demo/v0/1",
        "seconds": SECONDS,
        "words": words(),
        "audio": Modality("made", columns, TIMES, acoustic(columns)),
        "vision": Modality("landmarks", LIPS, np.arange(30) / 10, mouth()),
        "sound": sound.astype(np.float32),
        "gcis": GCIS,
        "notes": [],
    }
    return Tracks(**parts | changed)


def drawn(found: Tracks) -> Drawn:
    """The figure, and its panels by the first line of their labels."""
    height, width = picture.size(found)
    figure = Figure(figsize=(width, height), layout="constrained")
    picture.draw(figure, found)
    return figure, {axes.get_ylabel().split("\n")[0]: axes for axes in figure.axes}


@pytest.fixture(scope="module")
def whole() -> Drawn:
    """The clip with every track, drawn once."""
    return drawn(tracks())


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_every_track_is_a_panel_with_its_unit_from_top_to_bottom(whole: Drawn) -> None:
    figure, panels = whole
    voice = [*QUALITY, "peakSlope", "Rd", "creak"]
    assert list(panels) == ["words", "sound", "F0", "MCEP", *voice, "mouth opening", "close-up"]
    assert panels["F0"].get_ylabel() == "F0\nHz" and panels["H1H2"].get_ylabel() == "H1H2\ndB"
    assert panels["NAQ"].get_ylabel() == "NAQ\nshare of T0" and panels["Rd"].get_ylabel() == "Rd"
    tops = [axes.get_subplotspec().rowspan.start for axes in figure.axes]
    assert tops == sorted(tops)
    assert legend(figure) == [
        "voiced", "place of the close-up", "in unvoiced frames", "in voiced frames",
        "1 / time between closures (GCIs)", "closure (GCI)",
    ]  # fmt: skip


def test_all_panels_but_the_close_up_lie_on_one_time_axis(whole: Drawn) -> None:
    figure, panels = whole
    figure.canvas.draw()
    close = panels["close-up"]
    panels = {name: axes for name, axes in panels.items() if axes is not close}
    assert {axes.get_xlim() for axes in panels.values()} == {(0.0, SECONDS)}
    assert len({(round(axes.get_position().x0, 6), round(axes.get_position().x1, 6)) for axes in panels.values()}) == 1
    assert [name for name, axes in panels.items() if axes.get_xlabel()] == ["mouth opening"]
    assert close.get_xlabel() == "seconds" and close.get_xlim()[1] - close.get_xlim()[0] == pytest.approx(0.05)


def test_words_stand_at_their_times_without_running_into_one_another(whole: Drawn) -> None:
    _, panels = whole
    texts = panels["words"].texts
    assert {text.get_text(): text.get_position()[0] for text in texts} == pytest.approx(
        {word: (start + end) / 2 for word, start, end in WORDS}
    )
    lines = {text.get_text(): text.get_position()[1] for text in texts}
    assert lines["it"] == lines["went"] != lines["extraordinarily"] != lines["well"]


def test_words_without_times_are_given_none() -> None:
    _, panels = drawn(tracks(words=words(known=False)))
    assert [text.get_text() for text in panels["words (no times)"].texts] == ["it went extraordinarily well"]


def test_pitch_is_in_colour_where_voiced_and_the_closures_tell_their_own(whole: Drawn) -> None:
    _, panels = whole
    whole, voiced, closures = panels["F0"].lines
    assert np.array_equal(whole.get_ydata(), F0.astype(np.float32))
    assert np.array_equal(np.isfinite(voiced.get_ydata()), VOICED)
    assert closures.get_ydata() == pytest.approx(np.full(len(GCIS) - 1, 125))
    assert closures.get_xdata() == pytest.approx(GCIS[:-1] + 0.004)
    low, high = panels["F0"].get_ylim()
    assert 50 < low < 125 < high < 300  # not what unvoiced frames are given


def test_closures_of_two_stretches_tell_no_pitch() -> None:
    _, panels = drawn(tracks(gcis=np.array([1.0, 1.01, 1.5, 1.51])))
    assert panels["F0"].lines[-1].get_ydata() == pytest.approx([100, 100])


def test_the_voice_shades_its_stretch_of_every_track(whole: Drawn) -> None:
    _, panels = whole
    for name in ("sound", "F0", *QUALITY, "mouth opening"):
        (shade,) = [part for part in panels[name].collections if part.get_label() == "voiced"]
        edges = shade.get_paths()[0].vertices[:, 0]
        assert (edges.min(), edges.max()) == pytest.approx((1.005, 1.995), abs=0.006)


def test_a_column_of_voiced_speech_has_nothing_where_it_is_0(whole: Drawn) -> None:
    _, panels = whole
    for name in QUALITY:
        assert np.array_equal(np.isfinite(panels[name].lines[0].get_ydata()), VOICED)
    assert np.isfinite(panels["Rd"].lines[0].get_ydata()).all()


def test_the_cepstrum_is_an_image_of_deviations_in_its_place_in_time(whole: Drawn) -> None:
    _, panels = whole
    (image,) = panels["MCEP"].images
    assert image.get_array().shape == (25, 300)
    assert image.get_extent() == pytest.approx([0, 3, -0.5, 24.5])
    assert image.get_array()[7].std() == pytest.approx(1, rel=1e-3)


def test_a_constant_coefficient_deviates_nowhere(recwarn: pytest.WarningsRecorder) -> None:
    audio = Modality("made", COVAREP, TIMES, np.full((300, len(COVAREP)), -36.1, np.float32))
    _, panels = drawn(tracks(audio=audio))
    assert not panels["MCEP"].images[0].get_array().any()
    assert not recwarn.list


def test_the_mouth_opens_by_the_distance_of_the_inner_lips(whole: Drawn) -> None:
    _, panels = whole
    opening = panels["mouth opening"].lines[0].get_ydata()
    assert np.isnan(opening[0])  # no face
    assert opening[1:] == pytest.approx([0] * 9 + [0.3] * 10 + [0] * 10)


def test_the_close_up_shows_the_closures_where_the_sound_is_loud(whole: Drawn) -> None:
    _, panels = whole
    wave, *closures = panels["close-up"].lines
    found = [line.get_xdata()[0] for line in closures]
    assert found == pytest.approx([gci for gci in GCIS if abs(gci - np.mean(found)) < 0.025])
    assert 1.45 < np.mean(found) < 1.55
    assert np.abs(wave.get_ydata()).max() == pytest.approx(0.5, rel=0.01)


def test_what_another_extractor_has_not_is_told() -> None:
    figure, panels = drawn(tracks(SMILE))
    assert list(panels) == ["words", "sound", "F0", "Loudness", "mouth opening", "close-up"]
    assert np.nanmax(panels["F0"].lines[0].get_ydata()) == pytest.approx(55)  # an octave above 27.5 Hz
    assert "audio: made  ·  not among its columns: MCEP_0, NAQ, QOQ" in figure.get_suptitle().replace("\n", " ")


def test_features_without_voicing_are_drawn_without_shades() -> None:
    _, panels = drawn(tracks([Column(f"mfcc_{i}", "dB") for i in range(20)]))
    assert "MFCC" in panels and "F0" not in panels
    assert not panels["mouth opening"].collections


def test_without_sound_the_features_are_drawn() -> None:
    figure, panels = drawn(tracks(sound=np.zeros(0, np.float32), gcis=np.zeros(0), notes=["no waveform: gone"]))
    assert "F0" in panels and "sound" not in panels and "close-up" not in panels
    assert "no waveform: gone" in figure.get_suptitle()


def test_a_long_clip_is_wider() -> None:
    assert picture.size(tracks(seconds=30.0))[1] > 3 * picture.size(tracks())[1]


def test_show_writes_a_picture_and_prints_what_is_known(project: Path) -> None:
    done = CliRunner().invoke(app, ["show", "demo/v0/1"])
    assert done.exit_code == 0, done.output
    assert (project / "data/show/demo-v0-1.png").read_bytes().startswith(b"\x89PNG")
    assert str(project / "data/show/demo-v0-1.png") in done.output.replace("\n", "")
    for line in (
        ("clip", "demo/v0/1"), ("seconds", "2.50"), ("voiced", "33% of 300 frames"), ("median F0", "55 Hz"),
        ("face", "97% of 30 frames"), ("words", "4: it went extraordinarily well"), ("label", "-1.50 (train)"),
        ("prediction", "-1.25 by self_mm trained on demo, mean of seeds: 2"),
    ):  # fmt: skip
        assert any(all(part in printed for part in line) for printed in done.output.splitlines()), line


def test_the_picture_goes_where_it_is_asked_to(project: Path) -> None:
    show.main("demo/v0/1", Path("there/a.png"), screen=False)
    assert (project / "there/a.png").is_file() and not paths.SHOW.exists()


def test_the_sound_is_read_anew_and_its_closures_are_told_in_seconds(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = projects.clips("demo")
    projects.film(rows)
    row = reading.find("demo/v0/1")
    assert len(reading.read(row).sound) == pytest.approx(0.4 * SAMPLE_RATE, abs=2048)
    voice = glottis.voice(120)
    monkeypatch.setattr("pipeline.media.sound", lambda *place: voice.sound)
    closures = voice.gcis[20:100] / SAMPLE_RATE
    found = reading.read(row).gcis
    assert np.abs(found - closures[:, None]).min(axis=1) == pytest.approx(0, abs=0.0005)


def test_without_its_video_a_clip_is_drawn_from_its_features(project: Path) -> None:
    rows = projects.clips("demo", path="data/raw/gone.mp4")
    projects.ingest(({"name": "demo"}, rows))
    found = reading.read(reading.find("demo/v0/1"))
    assert found.audio is not None and not len(found.sound)
    assert found.notes[0].startswith("no waveform: gone.mp4 is not there")


def test_sound_too_short_for_a_pitch_has_no_closures(project: Path) -> None:
    rows = projects.clips("demo", path="data/raw/short.mp4")
    make(Path("data/raw/short.mp4"), seconds=0.02)
    projects.ingest(({"name": "demo"}, rows))
    found = reading.read(reading.find("demo/v0/1"))
    assert 0 < len(found.sound) < SAMPLE_RATE / 10 and not len(found.gcis)


def test_an_id_alone_names_a_clip_unless_two_share_it(project: Path) -> None:
    assert reading.find("v3/1").id == "v3/1"
    with pytest.raises(RawmsaError, match="2 clips have the id v0/1, expected one.*: demo/v0/1, other/v0/1"):
        show.main("v0/1", None, screen=False)


@pytest.mark.parametrize("name", ["v3", "v3/2", "demo/v3-1"])
def test_a_name_that_fits_none_is_told_those_near_it(project: Path, name: str) -> None:
    with pytest.raises(RawmsaError, match=f"no clip {name}: .*clips.parquet has 8 clips.*demo/v3/1.*Name one of these"):
        reading.find(name)


def test_what_failed_or_is_absent_is_told(project: Path) -> None:
    save("audio", SMILE, TIMES[:0], np.zeros((0, 2), np.float32), status="failed", reason="timeout: too slow")
    save("vision", LIPS, TIMES[:0], np.zeros((0, 6), np.float32), status="absent")
    assert reading.read(reading.find("demo/v0/1")).notes == ["no audio: timeout: too slow", "no vision: absent"]
    with pytest.raises(RawmsaError, match="demo/v0/1 has nothing to draw: no audio: timeout: too slow; no vision"):
        show.main("demo/v0/1", None, screen=False)
    assert not paths.SHOW.exists()


def test_frames_that_say_nothing_are_none(project: Path) -> None:
    save("vision", LIPS, np.arange(3) / 10, np.full((3, 6), np.nan, np.float32), flags=["no face"])
    found = reading.read(reading.find("demo/v0/1"))
    assert found.vision is None and found.notes == ["no vision: no face"]


def test_imported_features_have_no_place_in_time(project: Path) -> None:
    save("audio", SMILE, np.full(300, np.nan), acoustic(SMILE))
    assert "no audio: imported features, whose times nobody knows" in reading.read(reading.find("demo/v0/1")).notes


def test_without_a_screen_no_window_opens(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("matplotlib.pyplot.get_backend", lambda: "agg")
    with pytest.raises(RawmsaError, match="no screen to open a window on .*agg.*expected.*DISPLAY.*Open the PNG"):
        show.main("demo/v0/1", None, screen=True)
    assert (paths.SHOW / "demo-v0-1.png").is_file()


def test_on_screen_the_same_picture_is_shown(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib import pyplot

    shown: list[list[str]] = []
    monkeypatch.setattr("matplotlib.pyplot.get_backend", lambda: "TkAgg")
    monkeypatch.setattr(pyplot, "show", lambda: shown.append([axes.get_ylabel() for axes in pyplot.gcf().axes]))
    pyplot.switch_backend("agg")
    show.main("demo/v0/1", None, screen=True)
    assert shown == [["words", "F0\nHz", "Loudness\nsone-like", "mouth opening\neye distances"]]
