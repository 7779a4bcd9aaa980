"""The synthetic demo: what is planned, and that the clips made of it are the same each time and hold a face and a voice."""

import csv
import hashlib
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import yaml

from pipeline import demo, features, params
from pipeline.demo import plan, sentences, voice
from pipeline.errors import DatasetError, StageError
from pipeline.tables.frames import Clip
from pipeline.vision import landmarks

CLIPS, SEED = 6, 7
PARAMS = Path(__file__).parents[1] / "params.yaml"
ABSENT = [module for module in ("espeakng_loader", "skimage", "mediapipe", "cv2") if find_spec(module) is None]
pytestmark = pytest.mark.skipif(
    bool(ABSENT), reason=f"{ABSENT} make or check the demo's clips: make install brings them"
)


def films(test: Callable[..., None]) -> Callable[..., None]:
    """Mark a test that looks at the demo's films: they take seconds to make, and one process makes them."""
    return pytest.mark.slow(test)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw") / "demo"
    demo.make(folder, CLIPS, SEED, workers=1)
    return folder


def rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))


def contents(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def videos_by_split(clips: int, seed: int) -> dict[str, list[plan.Video]]:
    videos = plan.draw(clips, seed)
    return {mode: [video for video in videos if video.mode == mode] for mode in ("train", "valid", "test")}


@films
def test_equal_seeds_give_equal_bytes_with_any_number_of_workers(made: Path, tmp_path: Path) -> None:
    demo.make(tmp_path / "demo", CLIPS, SEED, workers=2)
    assert contents(tmp_path / "demo") == contents(made)
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]  # nothing temporary is left


def test_another_seed_plans_other_clips() -> None:
    assert plan.draw(12, 1) == plan.draw(12, 1)
    assert plan.draw(12, 1) != plan.draw(12, 2)


@films
def test_label_csv_has_the_fields_format_and_every_row_its_clip(made: Path) -> None:
    labels = rows(made / "label.csv")
    expected = ["video_id", "clip_id", "text", "label", "label_T", "label_A", "label_V", "annotation", "mode"]
    assert list(labels[0]) == expected
    clips = {path.relative_to(made / "Raw").with_suffix("").as_posix() for path in made.rglob("*.mp4")}
    assert clips == {f"{row['video_id']}/{row['clip_id']}" for row in labels}
    assert len(clips) == CLIPS
    signs = {"Positive": 1, "Neutral": 0, "Negative": -1}
    assert all(np.sign(float(row["label"])) == signs[row["annotation"]] for row in labels)


@films
def test_dataset_yaml_says_that_it_is_synthetic_and_may_travel(made: Path) -> None:
    described = yaml.safe_load((made / "dataset.yaml").read_text())
    assert described == {
        "language": "en",
        "label_range": [-3, 3],
        "convention": "mosi",
        "redistribute": True,
        "synthetic": True,
    }


@films
def test_withheld_texts_are_in_truth_csv_alone(made: Path) -> None:
    labels, truth = rows(made / "label.csv"), rows(made / "truth.csv")
    silent = [index for index, row in enumerate(labels) if not row["text"]]
    assert len(silent) == round(CLIPS / 5)
    assert all(row["text"] for row in truth)
    for label, known in zip(labels, truth, strict=True):
        assert (label["video_id"], label["clip_id"]) == (known["video_id"], known["clip_id"])
        assert label["text"] in ("", known["text"])
        assert plan.label(*(float(known[f"{part}_sentiment"]) for part in ("text", "voice", "face"))) == float(
            label["label"]
        )


@pytest.mark.parametrize("clips", [6, 12, 60, 300])
def test_a_fifth_of_the_texts_is_withheld(clips: int) -> None:
    assert len(plan.withheld(clips, SEED)) == round(clips / 5)


@pytest.mark.parametrize("clips", [6, 12, 13, 60, 300])
def test_every_split_has_videos_of_its_own_with_positive_and_negative_clips(clips: int) -> None:
    splits = videos_by_split(clips, SEED)
    ids = [video.video_id for videos in splits.values() for video in videos]
    assert len(ids) == len(set(ids))
    assert sum(len(video.clips) for videos in splits.values() for video in videos) == clips
    for videos in splits.values():
        signs = {np.sign(clip.label) for video in videos for clip in video.clips}
        assert {1, -1} <= signs


def test_the_label_is_the_stated_function_of_the_three_sentiments() -> None:
    assert plan.label(0, 0, 0) == 0
    assert plan.label(2, 1, -1) == 1.0  # 1.2 (0.8 + 0.3 - 0.3) = 0.96
    assert plan.label(3, 3, 3) == 3 and plan.label(-3, -3, -3) == -3  # 3.6, clipped
    assert str(plan.label(0, 0.1, -0.2)) == "0.0"  # never -0.0


def test_the_three_sentiments_agree_more_often_than_not_but_not_always() -> None:
    clips = [clip for video in plan.draw(300, SEED) for clip in video.clips]
    agreeing = np.mean(
        [max(clip.text, clip.voice, clip.face) - min(clip.text, clip.voice, clip.face) < 2 for clip in clips]
    )
    assert 0.5 < agreeing < 0.9
    drawn = np.array([(clip.text, clip.voice, clip.face) for clip in clips])
    assert np.abs(drawn).max() <= 3


def test_train_and_test_share_few_sentences() -> None:
    said = {
        mode: {clip.sentence for video in videos for clip in video.clips}
        for mode, videos in videos_by_split(300, SEED).items()
    }
    assert len(said["train"] & said["test"]) <= 0.1 * len(said["test"])


def test_words_carry_the_grade() -> None:
    rng = np.random.default_rng(0)
    assert sorted(sentences.VERDICTS) == [-3, -2, -1, 0, 1, 2, 3]
    texts = {grade: {sentences.write(grade, rng) for _ in range(100)} for grade in sentences.VERDICTS}
    assert all(not texts[one] & texts[other] for one in texts for other in texts if one < other)


def test_a_brighter_voice_is_louder_and_quicker_and_a_repeated_one_the_same() -> None:
    text = "The film was about average, that is all."
    (low, rate), (high, _) = voice.speak(text, "en-us", -3, seed=1), voice.speak(text, "en-us", 3, seed=1)
    assert np.sqrt(np.mean(high**2)) > 2 * np.sqrt(np.mean(low**2))
    assert 2 <= len(high) / rate <= len(low) / rate <= 4
    assert np.array_equal(voice.speak(text, "en-us", 3, seed=1)[0], high)


def test_a_text_too_long_for_a_clip_is_refused() -> None:
    with pytest.raises(StageError, match=r"takes \d+\.\d s, a demo clip at most 4\.0 s"):
        voice.speak("This sentence goes on and on and on and on and on, and then on and on again.", "en-us", 0, seed=1)


def test_an_unknown_voice_is_named() -> None:
    with pytest.raises(StageError, match="no voice 'en-nowhere'"):
        voice.speak("Hello.", "en-nowhere", 0, seed=1)


@films
def test_clips_are_h264_and_aac_of_two_to_four_seconds(made: Path) -> None:
    for path in made.rglob("*.mp4"):
        with av.open(str(path)) as clip:
            picture, sound = clip.streams.video[0], clip.streams.audio[0]
            assert (picture.codec_context.name, sound.codec_context.name) == ("h264", "aac")
            assert picture.average_rate == 25
            assert (picture.width, picture.height) == (384, 384)
            assert 2 <= picture.frames / 25 <= 4
            assert abs(float(sound.duration * sound.time_base) - picture.frames / 25) < 0.1


@films
def test_the_pipeline_finds_the_face(made: Path) -> None:
    recipe = features.recipe("vision", params.load("vision", features.Params, PARAMS))
    seen = []
    for path in sorted(made.rglob("*.mp4")):
        with av.open(str(path)) as clip:
            seconds = clip.streams.video[0].frames / 25
        seen.append(recipe.extract(Clip(path, None, None, seconds)).mask)
    assert len(seen) == CLIPS
    assert np.concatenate(seen).mean() >= 0.99


def test_faces_read_as_arrays_are_what_mediapipe_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its C structs are read past its own Python objects."""
    from skimage import data

    told: list[Any] = []
    options = landmarks.Params(fps=1.0, points=478, max_faces=2, min_confidence=0.5)
    image = np.ascontiguousarray(data.astronaut())
    with landmarks.detector(options) as detect:
        (face,) = detect(image, 0)
    monkeypatch.setattr(landmarks, "_struct_reader", {}.__getitem__)  # a name that is not there
    monkeypatch.setattr(landmarks, "_public", lambda found: told.append(found) or [])
    with landmarks.detector(options) as detect:
        detect(image, 0)
    (points,), (shapes,), (pose,) = (
        told[0].face_landmarks,
        told[0].face_blendshapes,
        told[0].facial_transformation_matrixes,
    )
    assert np.array_equal(face.points, [(point.x, point.y, point.z) for point in points])
    assert np.array_equal(face.blendshapes, [shape.score for shape in shapes])
    assert np.array_equal(face.pose, pose) and len(face.points) == 478 and len(face.blendshapes) == 52


def test_an_existing_folder_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="exists already. Delete it"):
        demo.make(tmp_path, CLIPS, SEED, workers=1)


def test_too_few_clips_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="5 clips.*at least 6"):
        demo.make(tmp_path / "demo", 5, SEED, workers=1)
    assert not list(tmp_path.iterdir())


def test_a_failure_leaves_no_half_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.demo import film

    def fail(folder: Path, *_: object) -> None:
        (folder / "s1-001").mkdir(parents=True)
        raise StageError("Demo video s1-001 failed")

    monkeypatch.setattr(film, "film", fail)
    with pytest.raises(StageError, match="s1-001"):
        demo.make(tmp_path / "demo", CLIPS, SEED, workers=1)
    assert not list(tmp_path.iterdir())
