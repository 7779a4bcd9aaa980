"""Extractors on made clips, and the stage that runs them through the cache."""

import ctypes
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import av
import numpy as np
import pytest
import yaml
from mediapipe.tasks.python.vision import face_landmarker

import pipeline.audio
from app import predict
from pipeline import features, media, params, paths, tables
from pipeline.errors import AssetError, MediaError
from pipeline.execution import locks
from pipeline.execution.cache import CONTENT, Part
from pipeline.flags import Flag, Flagged
from pipeline.tables.frames import Clip
from pipeline.vision import landmarks
from tests import clips, corpus, glottis, projects

pytestmark = pytest.mark.slow  # whole stages or figures, a second or more each

ROOT = Path(__file__).parents[1]
RECORDED = ROOT / "tests" / "recorded"
EXTRACTORS = [("audio", "covarep"), ("audio", "egemaps"), ("audio", "mfcc"), ("vision", "landmarks")]
VOICES = [((110, 190), "a"), ((220, 240), "i"), ((150, 90), "u")]  # Hz from, to; vowel
M_PERTURB = -6  # mallopt's: fill new memory with a byte


def recipe(modality: str, extractor: str, **changed: object) -> features.Recipe:
    block = params.read(ROOT / "params.yaml")[modality]
    block = {**block, "extractor": extractor, extractor: {**block[extractor], **changed}}
    return features.recipe(modality, features.Params.model_validate(block))


def face_video(path: Path, turn: float = 0.0, faces: int = 1, gap: bool = False, seconds: float = 1.0) -> Path:
    """A photograph of a face that drifts, turned by `turn` degrees; one or two of it; a gap in the middle."""
    import cv2

    photograph = pytest.importorskip("skimage.data").astronaut()[:300, 80:380]
    # at this width x264's AVX-512 code reads memory that nobody has written (docs/decisions.md); its C code does not
    options = {"crf": "12", "threads": "1", "x264-params": "cpu-independent=1"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = 300 * faces, 300, "yuv420p"
        count = round(seconds * 25)
        for index in range(count):
            move = cv2.getRotationMatrix2D((150, 130), turn, 0.9)
            move[0, 2] += index / 2
            picture = cv2.warpAffine(photograph, move, (300, 300), borderMode=cv2.BORDER_REPLICATE)
            if gap and count // 3 < index < 2 * count // 3:
                picture = np.full_like(picture, 90)
            small = cv2.resize(picture, (230, 230))
            other = cv2.copyMakeBorder(small, 35, 35, 35, 35, cv2.BORDER_CONSTANT, value=(90, 90, 90))
            image = np.hstack([picture, other][:faces])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")))
        container.mux(stream.encode(None))
    return path


def make(folder: Path) -> dict[str, Clip]:
    """A clip for each modality."""
    tone = clips.make(folder / "tone.mp4", seconds=1.0, tone=220.0)
    return {
        "audio": Clip(tone, None, None, 1.0),
        "vision": Clip(face_video(folder / "face.mp4"), None, None, 1.0),
    }


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Clip]:
    return make(tmp_path_factory.mktemp("made"))


@pytest.mark.parametrize(("modality", "extractor"), EXTRACTORS)
def test_output_has_the_declared_columns_rate_and_times(made: dict[str, Clip], modality: str, extractor: str) -> None:
    chosen = recipe(modality, extractor)
    frames = chosen.extract(made[modality])
    names = [column.name for column in chosen.metadata().columns]
    assert frames.x.shape == (len(frames.times), len(names)) and len(set(names)) == len(names)
    np.testing.assert_allclose(np.diff(frames.times), 1 / chosen.metadata().rate_hz, atol=1e-9)
    assert frames.mask.all() and np.isfinite(frames.x).all() and frames.x.dtype == np.float32


@pytest.mark.parametrize(("modality", "extractor"), EXTRACTORS)
def test_output_is_what_was_recorded(made: dict[str, Clip], modality: str, extractor: str) -> None:
    """Fails when an extractor yields something else. Where that is meant, delete the file named and run again."""
    frames = recipe(modality, extractor).extract(made[modality])
    shown = np.stack([frames.x.mean(axis=0), frames.x.std(axis=0), frames.x[0], frames.x[-1]]).round(5)
    seen = {"times": frames.times.round(5).tolist(), "mask": frames.mask.tolist(), "x": shown.tolist()}
    file = RECORDED / f"{extractor}.json"
    if not file.is_file():
        file.write_text(json.dumps(seen) + "\n")
        pytest.fail(f"recorded {file}: look at it and run again")
    before = json.loads(file.read_text())
    told = f"{extractor} yields something else than {file}; delete it where that is meant, and run again"
    assert seen["times"] == before["times"] and seen["mask"] == before["mask"], told
    np.testing.assert_allclose(shown, before["x"], rtol=1e-3, atol=1e-3, err_msg=told)


@pytest.mark.parametrize(("modality", "extractor"), EXTRACTORS)
def test_what_memory_held_before_changes_nothing(tmp_path: Path, modality: str, extractor: str) -> None:
    """Other work in the process leaves other bytes in the memory that making and reading a clip gets."""
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallopt"):
        pytest.skip("only glibc fills memory")
    seen = []
    for fill in (85, 170):
        libc.mallopt(M_PERTURB, fill)
        try:
            clip = make(tmp_path)[modality]
            seen.append((clip.path.read_bytes(), recipe(modality, extractor).extract(clip).x.tobytes()))
        finally:
            libc.mallopt(M_PERTURB, 0)
    assert seen[0] == seen[1]


def test_a_pitch_of_220_hz_is_heard_as_such(made: dict[str, Clip]) -> None:
    chosen = recipe("audio", "egemaps")
    names = [column.name for column in chosen.metadata().columns]
    pitch = chosen.extract(made["audio"]).x[:, names.index("F0semitoneFrom27.5Hz_sma3nz")]
    assert np.median(pitch[pitch > 0]) == pytest.approx(36.0, abs=0.3)  # three octaves above 27.5 Hz


def test_landmarks_are_freed_of_turn_place_and_scale(tmp_path: Path, made: dict[str, Clip]) -> None:
    chosen = recipe("vision", "landmarks")
    columns = [column.name for column in chosen.metadata().columns]
    points = [i for i, name in enumerate(columns) if name.startswith("point_")]
    straight = chosen.extract(made["vision"])
    turned = chosen.extract(Clip(face_video(tmp_path / "turned.mp4", turn=20), None, None, 1.0))
    difference = straight.x[:, points].mean(axis=0) - turned.x[:, points].mean(axis=0)
    assert np.sqrt(np.mean(difference**2)) < 0.03  # of the distance between the eyes
    roll = columns.index("head_roll")
    assert abs(turned.x[:, roll] - straight.x[:, roll]).mean() == pytest.approx(np.deg2rad(20), abs=0.08)
    corners = [columns.index(f"point_{i}_x") for i in (33, 263)]
    assert np.ptp(straight.x[:, corners], axis=1) == pytest.approx(1.0, abs=0.05)


def test_a_frame_without_a_face_stays_in_its_place(tmp_path: Path) -> None:
    frames = recipe("vision", "landmarks").extract(Clip(face_video(tmp_path / "gap.mp4", gap=True), None, None, 1.0))
    assert len(frames.times) == 15
    assert frames.mask[0] and frames.mask[-1] and not frames.mask[7]
    assert (frames.x[~frames.mask] == 0).all()
    assert frames.flags == (Flagged(Flag.FACE_IN_PART), Flagged(Flag.PICTURE_CUTS, count=2))


def test_a_face_is_followed_up_to_a_cut_and_another_one_from_there(tmp_path: Path) -> None:
    chosen = recipe("vision", "landmarks")
    first, second, both = (tmp_path / f"{name}.mp4" for name in ("first", "second", "both"))
    face_video(first)
    corpus.ffmpeg(
        "-i", first, "-vf", "hflip,negate=components=u+v,hue=b=-2,noise=alls=1", second
    )  # another in her place
    corpus.ffmpeg("-i", first, "-i", second, "-filter_complex", "[0][1]concat=n=2", both)
    frames = chosen.extract(Clip(both, None, None, 2.0))
    assert frames.flags == (Flagged(Flag.PICTURE_CUTS, count=1),) and frames.mask.all()
    assert chosen.extract(Clip(second, None, None, 1.0)).flags == ()


def test_a_hole_in_the_picture_is_no_cut_and_masks_nothing(tmp_path: Path) -> None:
    whole, holed = tmp_path / "whole.mp4", tmp_path / "holed.mp4"
    face_video(whole, seconds=2.0)
    corpus.ffmpeg("-i", whole, "-vf", "select='not(between(t,0.8,1.2))'", "-fps_mode", "vfr", holed)
    frames = recipe("vision", "landmarks").extract(Clip(holed, None, None, 2.0))
    assert frames.flags == () and frames.mask.all() and len(frames.mask) == 30


def test_faces_of_two_shots_are_two_tracks() -> None:
    face = [(np.array([100.0, 80.0]), 50.0, np.zeros(3))]
    moving = landmarks._Seen([face] * 5, dict(enumerate([0.0, 9.0, 12.0, 9.0, 8.0])))
    cut = landmarks._Seen([face] * 5, dict(enumerate([0.0, 1.0, 12.0, 1.0, 2.0])))
    slight = landmarks._Seen([face] * 5, dict(enumerate([0.0, 0.1, 4.9, 0.1, 0.1])))
    assert [[sorted(track.rows) for track in shot] for shot in landmarks._shots(cut)] == [[[0, 1]], [[2, 3, 4]]]
    assert len(landmarks._shots(moving)) == len(landmarks._shots(slight)) == 1


def test_blendshapes_are_mediapipes() -> None:
    """Listed by hand, so that columns are known where MediaPipe cannot be imported."""
    words = [shape.name.lower().split("_") for shape in face_landmarker.Blendshapes]
    assert tuple(first + "".join(map(str.capitalize, rest)) for first, *rest in words) == landmarks.BLENDSHAPES


def test_what_the_system_lacks_costs_one_stage_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    path = clips.make(paths.RAW / "own" / "a.mp4")
    row = tables.ClipRow(
        dataset="own", id="a/0", video_id="a", clip_id="0", path=str(path), sha256="0", seconds=1.0, has_vision=True
    )
    tables.write(paths.CLIPS, tables.table_of(tables.ClipRow, [row]))
    monkeypatch.setattr(landmarks, "SYSTEM", {"libEGL.so.99": "libegl1"})
    features.run("vision")
    told = "the system lacks libEGL.so.99. On Debian and Ubuntu: apt-get install libegl1"
    assert f"vision: no clip has vision: {told}. Then: rawmsa retry-failed" in capsys.readouterr().out
    table = tables.read(paths.features("vision", "own"))
    assert table["status"].to_pylist() == ["failed"] and table["reason"].to_pylist() == [f"library: {told}"]


def test_of_two_faces_the_larger_is_followed(tmp_path: Path) -> None:
    chosen = recipe("vision", "landmarks")
    one = chosen.extract(Clip(face_video(tmp_path / "one.mp4"), None, None, 1.0))
    two = chosen.extract(Clip(face_video(tmp_path / "two.mp4", faces=2), None, None, 1.0))
    assert two.flags == (Flagged(Flag.SEVERAL_FACES, count=100),)
    assert two.mask.all()
    nearness = two.x[:, -1] - one.x[:, -1]  # head_z, cm: the smaller face is far away
    assert np.abs(nearness).max() < 0.25 * np.abs(one.x[:, -1]).max()


def test_no_face_and_all_points(tmp_path: Path) -> None:
    clip = Clip(clips.make(tmp_path / "a.mp4", size=(160, 120)), None, None, 1.0)
    frames = recipe("vision", "landmarks", points=478).extract(clip)
    assert frames.x.shape == (15, 478 * 3 + 52 + 6)
    assert not frames.mask.any() and frames.flags == (Flagged(Flag.NO_FACE),)


def test_mediapipes_structs_are_read_where_they_are_known_else_its_public_results(
    made: dict[str, Clip], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    chosen, installed = recipe("vision", "landmarks"), f"mediapipe {version('mediapipe')}"
    landmarks._warn.cache_clear()
    structs = chosen.extract(made["vision"])
    warned = capfd.readouterr().err
    assert installed not in warned, f"{installed}: landmarks._struct_reader must be fitted to this version. {warned}"

    class Other(face_landmarker.MpFaceLandmarkerResultC):
        _fields_ = ()  # its own: what a version with other names has

    monkeypatch.setattr(face_landmarker, "MpFaceLandmarkerResultC", Other)
    public = [chosen.extract(made["vision"]) for _ in range(2)]
    assert capfd.readouterr().err.count(f"C structs of {installed} are not as expected (KeyError: ") == 1
    assert structs.mask.all() and all(frames.x.tobytes() == structs.x.tobytes() for frames in public)


def test_rows_end_with_the_picture(made: dict[str, Clip]) -> None:
    """Sound that lasts longer than the picture is no time without a face."""
    frames = recipe("vision", "landmarks").extract(Clip(made["vision"].path, None, None, 1.5))
    assert 15 <= len(frames.times) <= 16 and frames.mask.all()


def test_a_clip_too_short_to_hear_has_no_frames(tmp_path: Path) -> None:
    clip = Clip(clips.make(tmp_path / "a.mp4", seconds=2), 0.5, 0.51, 0.01)
    for extractor in ("covarep", "egemaps", "mfcc"):
        frames = recipe("audio", extractor).extract(clip)
        assert len(frames.times) == 0 and frames.flags == (Flagged(Flag.SOUND_TOO_SHORT),)


@pytest.mark.parametrize(
    ("extractor", "smaller", "rounding"),
    # mfcc multiplies matrices as long as a block, and some BLAS kernels round by the length
    [("egemaps", {"BLOCK": 300, "CONTEXT": 250}, 0.0), ("mfcc", {"BLOCK": 400}, 2e-4)],
)
def test_where_a_long_sound_is_cut_shows_in_no_value(
    extractor: str, smaller: dict[str, int], rounding: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    voices = [glottis.voice(f0, 1.0, vowel, seconds=3.0, silent=[(1.5, 1.6)], noise=0.02).sound for f0, vowel in VOICES]
    sound = np.concatenate([voices[0], 0.01 * voices[1], voices[2], np.zeros(77)]).astype(np.float32)
    monkeypatch.setattr(media, "sound", lambda *_: sound)
    chosen, clip = recipe("audio", extractor), Clip(Path("a.mp4"), None, None, 9.0)
    whole = chosen.extract(clip)
    for name, value in smaller.items():
        monkeypatch.setattr(chosen.module, name, value)
    parts = chosen.extract(clip)
    assert len(whole.times) > 890
    np.testing.assert_array_equal(parts.times, whole.times)
    np.testing.assert_allclose(parts.x, whole.x, rtol=rounding / 100, atol=rounding)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with three clips of two data sets; one lacks sound, one is text alone."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    shutil.copy(ROOT / "params.yaml", paths.PARAMS)
    shutil.copytree(ROOT / paths.NETWORKS, paths.NETWORKS)
    rows = [
        row("one", "v/a", 220.0),
        row("one", "v/b", 330.0),
        row("two", "w/c", None),
        row("two", "w/d", None, media=False),
    ]
    tables.write(paths.CLIPS, tables.rows(tables.CLIPS, rows))
    return tmp_path


def row(dataset: str, clip_id: str, tone: float | None, media: bool = True) -> dict[str, object]:
    path = paths.RAW / dataset / f"{clip_id}.mp4"
    if media:
        clips.make(path, tone=tone or 0, audio=tone is not None)
    return {
        "dataset": dataset,
        "id": clip_id,
        "video_id": clip_id.split("/")[0],
        "clip_id": clip_id.split("/")[1],
        "path": str(path) if media else None,
        "sha256": f"{dataset}{clip_id}",
        "seconds": 1.0,
        "has_audio": tone is not None,
        "has_vision": media,
        "status": "ok",
        "flags": [],
    }


def outputs(folder: Path) -> dict[str, bytes]:
    """By data set and shard."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*.parquet"))}


@pytest.mark.usefixtures("in_process")
def test_the_stage_computes_what_the_cache_lacks(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    features.run("audio")
    assert "audio: 4 clips: 2 computed, 0 from cache, 0 failed, 2 without audio" in capsys.readouterr().out
    first = outputs(paths.FEATURES / "audio")
    table = tables.read(paths.features("audio", "two"))
    assert table["status"].to_pylist() == ["absent", "absent"] and table["n_frames"].to_pylist() == [0, 0]
    clip_rows = tables.read(paths.CLIPS).to_pylist()
    tables.write(paths.CLIPS, tables.rows(tables.CLIPS, [*clip_rows, row("one", "v/z", 440.0)]))
    features.run("audio")
    assert "audio: 5 clips: 1 computed, 2 from cache, 0 failed" in capsys.readouterr().out
    tables.write(paths.CLIPS, tables.rows(tables.CLIPS, clip_rows))
    features.run("audio")
    assert "0 computed, 2 from cache" in capsys.readouterr().out
    assert outputs(paths.FEATURES / "audio") == first


@pytest.mark.usefixtures("in_process")
def test_a_parameter_that_changes_computes_every_clip_again(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = paths.PARAMS.read_text().replace("extractor: covarep", "extractor: mfcc")
    assert "coefficients: 20" in text
    for coefficients in (20, 13):
        paths.PARAMS.write_text(text.replace("coefficients: 20", f"coefficients: {coefficients}"))
        features.run("audio")
        assert "2 computed, 0 from cache" in capsys.readouterr().out


@pytest.mark.usefixtures("in_process")
def test_a_data_set_that_is_gone_leaves_no_file(project: Path) -> None:
    features.run("audio")
    kept = [r for r in tables.read(paths.CLIPS).to_pylist() if r["dataset"] == "one"]
    tables.write(paths.CLIPS, tables.rows(tables.CLIPS, kept))
    features.run("audio")
    assert [path.name for path in (paths.FEATURES / "audio").iterdir()] == ["one"]


@pytest.mark.slow
def test_a_clip_that_fails_is_a_record_and_the_others_are_the_same(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    features.run("audio")
    whole = tables.read(paths.features("audio", "one")).to_pylist()
    shutil.rmtree(paths.cache())
    shutil.rmtree(paths.FEATURES)
    (paths.RAW / "one" / "v" / "b.mp4").unlink()
    features.run("audio")
    good, bad = tables.read(paths.features("audio", "one")).to_pylist()
    assert good == whole[0]
    assert bad["status"] == "failed" and bad["n_frames"] == 0
    assert bad["reason"].startswith("missing: b.mp4 is not there")
    assert "1 failed (missing 1)" in capsys.readouterr().out


@pytest.mark.slow
def test_workers_do_not_change_the_bytes(project: Path) -> None:
    found = []
    for count in (1, 2):
        paths.PARAMS.write_text((ROOT / "params.yaml").read_text().replace("workers: 2", f"workers: {count}"))
        shutil.rmtree(paths.cache(), ignore_errors=True)
        shutil.rmtree(paths.FEATURES, ignore_errors=True)
        features.run("vision")
        found.append(outputs(paths.FEATURES / "vision"))
    assert found[0] == found[1]


@pytest.mark.usefixtures("in_process")
def test_the_jobs_of_an_array_fill_the_cache_and_write_nothing(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    features.run("vision")
    whole = outputs(paths.FEATURES / "vision")
    shutil.rmtree(paths.cache())
    shutil.rmtree(paths.FEATURES)
    capsys.readouterr()
    for number in (1, 2, 3):
        features.run("vision", Part(number, 3))
    computed = [int(line.split(" clips: ")[1].split()[0]) for line in capsys.readouterr().out.splitlines()]
    assert sum(computed) == 3 and not paths.FEATURES.exists()
    features.run("vision")
    assert "0 computed, 3 from cache" in capsys.readouterr().out
    assert outputs(paths.FEATURES / "vision") == whole


@pytest.mark.slow
def test_a_job_of_an_array_runs_beside_what_holds_the_checkout(project: Path) -> None:
    def job(shard: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "stages", "audio", "--shard", shard]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    with locks.lock("audio"):
        assert job("1/1").stdout == "audio: 2 clips: 2 computed, 0 from cache, 0 failed\n"
    assert "--shard is '4/3', expected i/n with i from 1 to n" in job("4/3").stderr


@pytest.mark.usefixtures("in_process")
def test_a_damaged_entry_of_the_cache_is_made_anew(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    features.run("audio")
    first = outputs(paths.FEATURES / "audio")
    empty, flipped = sorted((paths.cache() / "audio").glob(f"??/*/{CONTENT}"))
    empty.write_bytes(b"")  # what a power cut leaves
    content = bytearray(flipped.read_bytes())
    content[len(content) // 2] ^= 1
    flipped.write_bytes(content)
    shutil.rmtree(paths.FEATURES)
    capsys.readouterr()
    features.run("audio")
    told = capsys.readouterr()
    assert "2 computed, 0 from cache" in told.out and told.err.count("is damaged and will be made again") == 2
    assert outputs(paths.FEATURES / "audio") == first


def test_a_video_without_picture_raises(tmp_path: Path) -> None:
    path = clips.make(tmp_path / "a.mp4", video=False)
    with pytest.raises(MediaError, match="holds no picture"):
        recipe("vision", "landmarks").extract(Clip(path, None, None, 1.0))


@pytest.mark.slow
def test_an_edit_of_an_extractor_computes_its_clips_again(
    project: Path, sources: Callable[[str, str], None], capsys: pytest.CaptureFixture[str]
) -> None:
    blocks = yaml.safe_load(paths.PARAMS.read_text())
    blocks["audio"]["extractor"] = "mfcc"
    paths.PARAMS.write_text(yaml.safe_dump(blocks))

    def said() -> str:
        features.run("audio")
        return capsys.readouterr().out

    assert "2 computed, 0 from cache" in said()
    first = outputs(paths.FEATURES / "audio")
    for file, text in (
        ("pipeline/audio/egemaps.py", "CHANGED = 1"),
        ("pipeline/execution/workers.py", "CHANGED = 1"),
        ("pipeline/audio/mfcc.py", "# a comment"),
    ):
        sources(file, text)
        assert "0 computed, 2 from cache" in said(), file
        assert outputs(paths.FEATURES / "audio") == first
    for file in ("pipeline/audio/mfcc.py", "pipeline/media.py"):
        sources(file, "CHANGED = 1")
        assert "2 computed, 0 from cache" in said(), file


HUB_EXTRACTOR = """
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import files, media
from pipeline.blocks import Block
from pipeline.errors import ParamsError
from pipeline.flags import Flag, Flagged
from pipeline.tables.frames import Clip, Column, Frames

LIBRARIES = ("torch", "transformers")


class Params(Block):
    model: str  # a folder in Hugging Face format


def columns(params: Params) -> list[Column]:
    return [Column(f"unit_{i}", "1") for i in range(_config(params.model).hidden_size)]


def rate(params: Params) -> float:
    return media.SAMPLE_RATE / _reach(params.model)[0]


def asset(params: Params) -> str:
    return files.tree_sha256(Path(params.model))


def extract(clip: Clip, params: Params) -> Frames:
    import torch

    step, seen = _reach(params.model)
    sound = torch.from_numpy(media.sound(clip.path, clip.start, clip.end).copy())
    if len(sound) < seen:
        return Frames.none(_config(params.model).hidden_size, Flagged(Flag.SOUND_TOO_SHORT))
    with torch.inference_mode():
        x = _model(params.model)(sound[None]).last_hidden_state[0].numpy()
    times = (np.arange(len(x)) * step + seen / 2) / media.SAMPLE_RATE  # the middle of what a frame's convolutions see
    return Frames(times, x, np.ones(len(x), bool))


def _reach(folder: str) -> tuple[int, int]:  # samples from a frame to the next, and that a frame is computed from
    config, step, seen = _config(folder), 1, 1
    for kernel, stride in zip(config.conv_kernel, config.conv_stride, strict=True):
        seen, step = seen + (kernel - 1) * step, step * stride
    return step, seen


def _config(folder: str) -> Any:  # columns and rate are asked for before any weights are needed
    from transformers import AutoConfig

    return AutoConfig.from_pretrained(folder, local_files_only=True)


@cache
def _model(folder: str) -> Any:
    from transformers import AutoModel

    model, loaded = AutoModel.from_pretrained(folder, local_files_only=True, output_loading_info=True)
    if loaded["missing_keys"]:  # transformers fills them with random numbers
        raise ParamsError(f"audio.hub.model: {folder} lacks weights: {sorted(loaded['missing_keys'])[:3]}")
    return model.eval()
"""


def test_an_extractor_may_load_a_hub_models_folder(
    made: dict[str, Clip], tmp_path: Path, sources: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One file is all of it: found by its name, its key knows the model's files and the libraries."""
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    sources("pipeline/audio/hub.py", HUB_EXTRACTOR)
    monkeypatch.setattr(
        pipeline.audio, "__path__", [*pipeline.audio.__path__, str(tmp_path / "sources/pipeline/audio")]
    )
    tiny = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    convolutions = {"conv_dim": (8, 8), "conv_kernel": (10, 8), "conv_stride": (20, 16)}
    folder = tmp_path / "model"
    Wav2Vec2Model(
        Wav2Vec2Config(**tiny, **convolutions, num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2)
    ).save_pretrained(folder)
    block = {"extractor": "hub", "hub": {"model": str(folder)}}
    chosen = features.recipe("audio", features.Params.model_validate(block))
    frames, metadata = chosen.extract(made["audio"]), chosen.metadata()
    assert frames.x.shape == (len(frames.times), 16) and frames.mask.all()
    assert metadata.rate_hz == 50.0 and 48 <= len(frames.times) <= 50
    assert frames.times[0] == (10 + 7 * 20) / 2 / 16000  # the middle of the 150 samples that a frame is computed from
    assert str(metadata.library).startswith("torch ") and ", transformers " in str(metadata.library)
    key = chosen.fingerprint().key(clip=1)
    assert chosen.fingerprint().key(clip=1) == key
    (folder / "config.json").write_text((folder / "config.json").read_text() + "\n")
    assert chosen.fingerprint().key(clip=1) != key
    (folder / "model.safetensors").unlink()
    (folder / "config.json").unlink()
    folder.rmdir()
    with pytest.raises(AssetError, match="model is not there"):
        chosen.fingerprint()


def test_predict_warns_where_a_library_is_another_than_the_runs() -> None:
    about = recipe("audio", "mfcc").metadata()

    def told(library: str) -> list[str]:
        changed = about.model_copy(update={"library": library})
        made = projects.record(
            columns={"audio": ["mfcc_0"], "vision": []}, extraction={"audio": changed.model_dump(mode="json")}
        )
        return list(predict.differences(made))

    assert told(about.library) == []
    (line,) = told("librosa 0.1")
    assert line.startswith("the run was trained on audio of mfcc with library librosa 0.1, installed is librosa ")
