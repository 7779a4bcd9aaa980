"""What the report's scripts are told of clips, runs and u-labels, and what plays a clip: film, words, tracks, landmarks."""

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyarrow as pa
import pytest

from model.measures.results import Summary
from pipeline import media, paths, tables
from pipeline.execution import cache
from pipeline.tables import Column
from pipeline.vision import landmarks
from report import player, proxy, published
from report import tables as report_tables
from report.facts import read
from report.tracks import Modality
from tests import clips as videos
from tests import tiny
from tests.projects import clips, explored, features, film, ingest, predict, scored, train, trained, write

pytestmark = pytest.mark.slow  # whole stages or figures, a second or more each

ROOT = Path(__file__).parents[1]
WORDS = [
    {"word": "not", "start": 0.1, "end": 0.2, "probability": None, "interpolated": False},
    {"word": "bad", "start": 0.2, "end": 0.4, "probability": None, "interpolated": False},
]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text((ROOT / "params.yaml").read_text())
    return tmp_path


def played(place: int, dataset: str = "demo") -> Any:
    """What a clip's script beside the page tells."""
    written = (paths.REPORT / f"media/{dataset}/{place}.js").read_text()
    return json.loads(written.removeprefix("rawmsa.clip(").removesuffix(");\n"))


def face(columns: list[Column], frames: int) -> Modality:
    """Landmark features of one still face."""
    x = np.random.default_rng(0).normal(size=(1, len(columns))).repeat(frames, axis=0)
    x[:, -6:] = (0, 0, 0, 0, 0, -50)  # upright, half a metre before the camera
    return Modality("landmarks", columns, np.arange(frames) / 15, x)


def test_a_clip_is_told_with_its_label_predictions_flags_and_ulabels_by_epoch() -> None:
    rows = trained(redistribute=True)
    (data,) = explored(write())
    assert (data["ids"][1], data["splits"][1], data["labels"][1]) == ("v1/1", "train", -1.0)
    assert data["texts"][1].endswith("went 1")
    (model,) = data["models"]
    assert (model["title"], model["own"]) == ("Self-MM, seed 1111", True)
    assert model["prediction"] == [-1.25] * len(rows) and model["audio"] == [None] * len(rows)
    (made,) = data["ulabels"]
    assert made["epochs"] == [1, 2] and made["clips"] == [0, 1, 2, 3]
    assert made["audio"][1] == pytest.approx([-1.4, -2.75, -0.3, 1.0])
    assert "vision" not in made  # no u-labels of it


def test_human_labels_flags_and_failures_are_told() -> None:
    rows = clips("demo")
    rows[2] |= {"label_T": 0.5, "flags": ["silent sound"]}
    ingest(({"name": "demo"}, rows))
    features("demo", "vision", ["smile"], {"v2/1": np.zeros((0, 1), np.float32)}, status="failed", reason="timeout")
    table = tiny.table([None], dataset="demo").slice(0, 1)
    told = pa.array([["text: first 64 of 1,012 tokens"]], pa.list_(pa.string()))
    cut = table.set_column(0, table.schema.field("id"), pa.array(["v2/1"])).set_column(
        table.column_names.index("flags"), table.schema.field("flags"), told
    )
    tables.write_table(paths.table("demo"), iter([cut]), tiny.metadata(tiny.WIDTHS, "demo", labelled=False))
    (data,) = explored(write())
    assert data["human"] == {"text": [None, None, 0.5, None, None, None, None]}
    assert data["flags"][2] == [
        "clip: silent sound",
        "transcript: silent sound",
        "text: first 64 of 1,012 tokens",
        "vision: failed",
    ]


@pytest.mark.slow
def test_where_texts_may_not_travel_neither_words_nor_anything_that_plays_is_told() -> None:
    film(trained(redistribute=False))
    (data,) = explored(write(films=True))
    assert data["texts"] is None and data["media"] is False
    assert not (paths.REPORT / "media").exists()
    (data,) = explored(write(films=True, show_all=True))
    assert data["media"] is True and (paths.REPORT / "media/demo/0.mp4").is_file()


def test_of_a_networks_own_seeds_the_best_is_told_and_of_another_data_sets_run_each() -> None:
    rows = trained()
    train("demo", 1112, 0.7)
    predict(rows, trained_on="demo", seeds=(1111, 1112))
    (data,) = explored(write())
    assert [model["title"] for model in data["models"]] == ["Self-MM, seed 1112"]
    assert [(run["title"], run["best"]) for run in data["runs"]] == [
        ("Self-MM, seed 1111", False),
        ("Self-MM, seed 1112", True),
    ]
    assert [run["parameters"]["seed"] for run in data["runs"]] == ["1111", "1112"]
    other = clips("other", labelled=False)
    ingest(({"name": "demo"}, rows), ({"name": "other", "labelled": False}, other))
    predict(other, trained_on="demo")
    found = {data["name"]: data for data in explored(write())}
    assert found["other"]["models"][0]["title"] == "Self-MM, seed 1111, trained on demo"
    assert found["other"]["models"][0]["own"] is False


def test_published_figures_stand_below_ours_with_their_source() -> None:
    scored("mosi")
    scores = {"self_mm": Summary(means={"mae": 0.7}, seeds=1)}
    (ours,) = report_tables.results(read(), {"mosi": scores})
    table = published.beside(ours, read())
    assert table.header[-1] == "Source" and table.rows[0][-1] == "this report"
    theirs = [row for row in table.rows if row[1] == "Self-MM (B)" and row[-1].startswith("Yu et al. 2021, Table 1")]
    assert [row[2:4] for row in theirs] == [("0.713", "0.798")]  # as the paper prints them
    assert len({len(row) for row in table.rows}) == 1
    demo = published.beside(report_tables.results(read(), {"mosi": scores})[0], [])
    assert len(demo.rows) == 1


def test_the_film_of_a_clip_is_small_upright_and_as_long_as_the_clip(tmp_path: Path) -> None:
    source = videos.make(tmp_path / "a.mp4", seconds=3.0, size=(640, 480))
    row = {"path": str(source), "start": 1.0, "end": 2.5, "seconds": 1.5, "has_audio": True, "has_vision": True}
    for name in ("one.mp4", "two.mp4"):
        proxy.write(tmp_path / name, row)
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()
    with av.open(str(tmp_path / "one.mp4")) as container:
        shown, heard = container.streams.video[0], container.streams.audio[0]
        assert (shown.width, shown.height) == (320, 240)
        assert (shown.codec_context.name, heard.codec_context.name) == ("h264", "aac")
        assert shown.frames == 23  # 1.5 s at 15 a second
    sound = media.sound(tmp_path / "one.mp4")
    assert len(sound) / media.SAMPLE_RATE == pytest.approx(1.5, abs=0.1) and np.abs(sound).max() > 0.1
    image = next(media.frames(tmp_path / "one.mp4", np.array([0.0])))
    expected = next(media.frames(source, np.array([1.0])))
    assert image is not None and expected is not None
    assert abs(image.mean() - expected.mean()) < 8  # the segment's first frame, not the file's


@pytest.mark.parametrize(("audio", "video"), [(True, False), (False, True)])
def test_a_clip_of_sound_or_picture_alone_has_a_film_of_that(tmp_path: Path, audio: bool, video: bool) -> None:
    source = videos.make(tmp_path / "a.mp4", audio=audio, video=video)
    row = {"path": str(source), "start": None, "end": None, "seconds": 1.0, "has_audio": audio, "has_vision": video}
    proxy.write(tmp_path / "b.mp4", row)
    with av.open(str(tmp_path / "b.mp4")) as container:
        assert (len(container.streams.audio), len(container.streams.video)) == (audio, video)


@pytest.mark.slow
def test_films_are_made_once_and_a_clip_without_one_is_said(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    rows = trained(redistribute=True)
    film(rows)
    for row in rows:  # film() copies one video: equal content, equal hash
        row |= {"sha256": "of a film", "start": None, "end": None}
    Path(rows[2]["path"]).write_bytes(b"no video")
    rows[2]["sha256"] = "of no film"
    ingest(({"name": "demo", "redistribute": True}, rows))
    write(films=True)
    there = {file.name for file in (paths.REPORT / "media/demo").glob("*.mp4")}
    assert there == {f"{place}.mp4" for place in range(7)} - {"2.mp4"}
    assert "v2/1 has no film on the page" in capfd.readouterr().out
    assert (played(0)["film"], played(2)["film"]) == ("vision", None)
    Path(rows[2]["path"]).unlink()
    monkeypatch.setattr("pipeline.execution.workers.run", lambda *_, **__: iter(()))  # nobody makes any
    write(films=True)
    assert {file.name for file in (paths.REPORT / "media/demo").glob("*.mp4")} == there


def test_words_tracks_and_presence_play_on_the_clips_time_axis() -> None:
    rows = clips("demo", words=WORDS)
    ingest(({"name": "demo", "redistribute": True}, rows))
    x = np.array([[120, 1, 0.5], [130, 1, 0.4], [0, 0, 0.3], [np.nan] * 3], np.float32)
    features("demo", "audio", ["F0", "VUV", "MCEP_0"], {"v1/1": x, "v4/1": x})
    write()
    told = played(1)
    assert (told["seconds"], told["timed"], told["words"]) == (2.5, True, [["not", 0.1, 0.2], ["bad", 0.2, 0.4]])
    assert told["audio"]["times"] == [0, 0.1, 0.2, 0.3]
    assert {track["name"]: track["values"] for track in told["audio"]["tracks"]} == {
        "F0": [120, 130, None, None],
        "MCEP_0": [0.5, 0.4, 0.3, None],
    }
    assert told["audio"]["present"] == [[0, 0.2]]
    assert played(4)["audio"] == told["audio"]
    assert played(0)["audio"] is None and told["vision"] is None


def test_a_long_track_is_thinned_and_its_presence_is_not() -> None:
    columns = [Column("VUV", "", "value"), Column("rms", "", "value")]
    times = np.arange(10_000) / 100
    x = np.stack([times > 99, times], axis=1)
    told = player.content(100.0, [], Modality("made", columns, times, x), None, None)["audio"]
    (track,) = told["tracks"]
    assert len(told["times"]) == len(track["values"]) <= player.LONGEST
    assert track["values"][-1] == told["times"][-1] > 99.9
    assert told["present"] == [(99.01, 100.0)]


def test_landmarks_are_told_as_places_in_the_picture() -> None:
    columns = landmarks.columns(landmarks.Params(fps=15, points=68, max_faces=1, min_confidence=0.5))
    seen = face(columns, 3)
    seen.x[1] = np.nan
    told = player.content(1.0, [], None, seen, (640, 480))["vision"]
    first, second, third = told["landmarks"]["points"]
    assert second is None and first == third and len(first) == 2 * 68
    assert told["present"] == [(0, 0.067), (0.133, 0.2)]
    middle = np.array(first).reshape(-1, 2).mean(axis=0)
    assert middle == pytest.approx([500, 500], abs=60)  # right before the camera: amid the picture
    assert player.content(1.0, [], None, seen, None)["vision"]["landmarks"] is None  # its size is not known


def test_placed_undoes_freed() -> None:
    """A face of random points, posed and put before MediaPipe's camera, comes back where it was."""
    rng = np.random.default_rng(1)
    options = landmarks.Params(fps=15, points=68, max_faces=1, min_confidence=0.5)
    names = [column.name for column in landmarks.columns(options)]
    width, height = 640, 360
    for pitch, yaw, roll in rng.uniform(-0.6, 0.6, (5, 3)):
        (rotation,) = landmarks._turned(*np.array([[pitch], [yaw], [roll]]))
        assert landmarks.angles(rotation) == pytest.approx([pitch, yaw, roll])
        position = np.array([4.0, -3.0, -60.0])
        centre = position + rotation @ landmarks.MESH_CENTRE
        scale = height / (2 * np.tan(landmarks.FIELD / 2)) / -centre[2]
        mesh = rng.normal(size=(478, 3))
        mesh -= mesh.mean(axis=0)
        some = mesh[list(landmarks.IBUG)]
        mesh *= landmarks.MESH_SIZE / np.sqrt(((some - some.mean(axis=0)) ** 2).sum(axis=1).mean())  # cm
        middle = np.array([width / 2, height / 2]) + centre[:2] * (1, -1) * scale
        turned = mesh @ (landmarks.FLIP @ rotation @ landmarks.FLIP).T * scale
        points = (turned + [*middle, 0]) / (width, height, width)
        pose = np.eye(4, dtype=np.float32)
        pose[:3, :3], pose[:3, 3] = rotation, position
        _, _, row = landmarks._row(landmarks.Face(points, np.zeros(52), pose), (height, width, 3), options)
        found = landmarks.placed(row[None], names, (width, height))
        assert found is not None
        assert found[0] == pytest.approx(points[list(landmarks.IBUG), :2], abs=2e-4)
    assert landmarks.placed(np.zeros((1, 2)), ["a", "b"], (width, height)) is None


def test_the_films_of_every_data_set_survive_a_prune(
    in_process: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RAWMSA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(proxy, "write", lambda part, clip: part.write_text(clip["sha256"]))
    sets = []
    for name in ("one", "two"):
        rows = clips(name)
        film(rows)
        for row in rows:
            row |= {"sha256": f"{name} {row['id']}", "start": None, "end": None}
        sets.append(({"name": name, "redistribute": True}, rows))
    ingest(*sets)
    write(films=True)
    films = sorted((tmp_path / "cache/proxy").glob("??/*/content"))
    assert {file.read_text().split()[0] for file in films} == {"one", "two"} and len(films) == 14
    cache.prune()
    assert sorted((tmp_path / "cache/proxy").glob("??/*/content")) == films
