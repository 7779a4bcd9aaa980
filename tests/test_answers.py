"""What is told of a clip: its sentiment in words, the table, the CSV; whose words, which clips, which run."""

import csv
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import yaml

from app import answers, predict, predictor, settings
from app.answers import Prediction, Window, polarity
from model import kept, run_files
from pipeline import media, paths, tables
from pipeline.datasets import Text
from pipeline.errors import AssetError, DatasetError, TableError
from pipeline.execution import workers
from pipeline.execution.tasks import Failure, Outcome
from pipeline.flags import Flag, Flagged
from pipeline.tables import TranscriptRow, Word
from tests import projects

ROOT = Path(__file__).parents[1]

ABOUT = {"run": "mine/self_mm-1", "synthetic": False, "label_range": (-3.0, 3.0), "neutral": 0.0}


@pytest.mark.parametrize(
    ("value", "label_range", "expected"),
    [
        (0.0, (-3, 3), "neutral"),
        (-0.49, (-3, 3), "neutral"),
        (-0.5, (-3, 3), "weakly negative"),
        (1.5, (-3, 3), "positive"),
        (2.6, (-3, 3), "highly positive"),
        (-9.0, (-3, 3), "highly negative"),
        (-0.6, (-1, 1), "negative"),
        (0.4, (-1, 4), "neutral"),
        (-0.4, (-1, 4), "weakly negative"),
    ],
)
def test_polarity_is_the_nearest_of_seven(value: float, label_range: Any, expected: str) -> None:
    assert polarity(value, label_range) == expected


def shown(capsys: pytest.CaptureFixture[str], found: list[Prediction], **options: Any) -> tuple[int, str, str]:
    """The exit code, and what is printed."""
    try:
        answers.show(found, **{"as_json": False, "csv": None} | options)
        code = 0
    except SystemExit as ended:
        code = int(ended.code or 0)
    return code, *capsys.readouterr()


def test_the_scale_and_the_run_are_at_the_head(capsys: pytest.CaptureFixture[str]) -> None:
    one = Prediction(clip="a/c.mp4", prediction=-0.61, polarity="weakly negative", flags=["no face"], **ABOUT)
    code, out, err = shown(capsys, [one])
    assert code == 0 and err == ""
    head, _, line, notes = out.splitlines()
    assert "… (61 words; --json has all)" in shown(capsys, [replace(one, transcript="so " * 61)])[1]
    assert head == "Run mine/self_mm-1. Scale: -3 (negative) to +3 (positive); 0 is neutral."
    assert line.split()[:4] == ["c.mp4", "-0.61", "weakly", "negative"] and "no face" in notes
    moved = shown(capsys, [replace(one, label_range=(-2.0, 2.0), offset=3.0)])[1]
    assert "1 to 5 less 3. For its scale, add 3." in " ".join(moved.split())
    synthetic = shown(capsys, [Prediction(clip="c.mp4", **ABOUT | {"synthetic": True})])[1].splitlines()
    assert synthetic[1].startswith("WARNING: this run was trained on SYNTHETIC clips.")


def test_a_run_of_too_few_clips_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    few, enough = (Prediction(clip="c.mp4", **ABOUT, train_clips=count) for count in (29, 30))
    assert "WARNING: this run was trained on 29 clips; at least 30 are needed." in shown(capsys, [few])[1]
    assert "WARNING" not in shown(capsys, [enough])[1]


def test_windows_stand_below_each_other_and_none_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    course = [Window(start=start, end=start + 4, prediction=-0.001) for start in (0.0, 8.0, 100.0)]
    one = Prediction(clip="c.mp4", prediction=1.0, windows=course, **ABOUT)
    _, out, _ = shown(capsys, [one])
    lines = [line for line in out.splitlines() if line.endswith(("–", "sentiment"))]
    assert "-0.00" not in out and len({line.index("+") for line in lines if "+" in line}) == 1
    assert "windows: none, as the clip is no longer than one" in shown(capsys, [replace(one, windows=[])])[1]
    assert "windows:" not in shown(capsys, [replace(one, windows=None)])[1]


def test_one_clip_that_failed_is_counted_and_the_exit_code_tells(capsys: pytest.CaptureFixture[str]) -> None:
    found = [
        Prediction(clip="a/c.mp4", prediction=1.0, **ABOUT),
        Prediction(clip="b/c.mp4", error="missing: c.mp4 is not there", **ABOUT),
    ]
    code, out, err = shown(capsys, found)
    assert code == 1 and err == "predict: 1 of 2 clips failed\n"
    assert "a/c.mp4" in out and "b/c.mp4" in out and "missing: c.mp4" in out  # equal names: whole paths
    code, out, _ = shown(capsys, found, as_json=True)
    assert code == 1 and [row["error"] for row in json.loads(out)] == [None, "missing: c.mp4 is not there"]


def test_the_csv_has_a_row_for_the_clip_and_one_for_each_window(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    course = [Window(start=0.0, end=4.0, prediction=-1.0, polarity="weakly negative")]
    one = Prediction(
        clip="c.mp4", prediction=1.25, polarity="weakly positive", flags=["a", "b"], windows=course, **ABOUT
    )
    shown(capsys, [one], csv=tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        whole, window = csv.DictReader(file)
    assert (whole["sentiment"], whole["polarity"], whole["flags"], whole["start"]) == (
        "1.25",
        "weakly positive",
        "a; b",
        "",
    )
    assert (window["start"], window["end"], window["sentiment"], window["highest"]) == ("0.0", "4.0", "-1.0", "3.0")


def test_the_words_beside_a_clip_are_read(tmp_path: Path) -> None:
    clip = tmp_path / "a[1].mov"
    assert predictor.written(clip, None) == (Text(None, None, []), [])
    (tmp_path / "a[1].txt").write_text("so it was good")
    (tmp_path / "a1.srt").write_text("not its own")
    assert predictor.written(clip, None)[0] == Text("sidecar", "so it was good", [])
    (tmp_path / "a[1].SRT").write_text("1\n00:00:01,000 --> 00:00:02,000\nGood!\n")
    text, _ = predictor.written(clip, None)  # with times before those without
    assert (text.text, text.cues[0].start) == ("Good!", 1.0)
    (tmp_path / "a[1].SRT").write_bytes(b"\xff\xfe")
    text, flags = predictor.written(clip, None)
    assert text.text == "so it was good" and "the transcript beside it is not read: " in str(flags[0])
    assert predictor.written(clip, tmp_path / "a[1].txt")[0].source == "given"
    for name, message in (("a.docx", r"expected a transcript: \.srt, \.vtt, \.txt"), ("empty.txt", "has no words")):
        (tmp_path / name).touch()
        with pytest.raises(DatasetError, match=message):
            predictor.written(clip, tmp_path / name)


def test_a_folder_gives_its_clips(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("f/b.mp4", "f/a/c.mov", "f/notes.pdf", "f/.hidden.mp4", "alone.mp4", "empty/readme.pdf"):
        (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
        (tmp_path / name).touch()
    found = predictor.clips_in([tmp_path / "f", tmp_path / "alone.mp4", tmp_path / "nope.mp4"])
    assert [str(clip.relative_to(tmp_path)) for clip in found] == ["f/a/c.mov", "f/b.mp4", "alone.mp4", "nope.mp4"]
    with pytest.raises(DatasetError, match="The folder .*empty has no video"):
        list(predictor.clips_in([tmp_path / "empty"]))


def trained(dataset: str, mae: float, clips: int, **changes: Any) -> None:
    """A run with its weights, trained on so many clips."""
    folder = paths.run(dataset, "self_mm", 1)
    folder.mkdir(parents=True)
    extraction: dict[str, Any] = {"audio": {}, "vision": {}}
    told = {"valid": {"loss": 1.0, "mae": mae, "corr": None}, "weights": True, "extraction": extraction} | changes
    run_files.write(folder, projects.record(dataset, **told))
    rows = [{"id": str(index), "split": "train", "fusion": 0.0} for index in range(clips)]
    tables.write(folder / run_files.PREDICTIONS, tables.rows(tables.RUN_PREDICTIONS, rows))


def test_the_own_run_comes_before_the_demos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TableError, match="no project of rawmsa: it has no params.yaml. Name a run's folder"):
        predict.located(None)
    with pytest.raises(TableError, match="^nope is no folder of rawmsa publish, and the folder"):
        predict.located("nope")
    paths.PARAMS.write_text(yaml.safe_dump({"evaluate": {"unlabelled_run": "auto", "across": []}}))
    with pytest.raises(TableError, match="no run with its weights. Train one on your own clips: .*rawmsa demo"):
        predict.located(None)
    trained("demo", 0.1, 60)
    assert predict.located(None) == paths.run("demo", "self_mm", 1)
    trained("mine", 0.9, 5, synthetic=False)
    assert predict.located(None) == paths.run("mine", "self_mm", 1)
    trained("large", 1.0, 9, synthetic=False)
    trained("unkept", 0.0, 99, synthetic=False, weights=False)
    imported = {"extractor": tables.IMPORTED, "columns": []}
    trained("mosi", 0.5, 999, synthetic=False, columns={"audio": ["x"]}, extraction={"audio": imported, "vision": {}})
    assert [folder.parent.name for folder in kept.own_first()] == ["mosi", "large", "mine", "demo"]
    assert predict.located(None) == paths.run("large", "self_mm", 1)  # mosi's features come of no video
    assert predict.located("demo/self_mm") == paths.run("demo", "self_mm", 1)
    assert predict.located(str(tmp_path / paths.run("mine", "self_mm", 1))).is_dir()
    folder = paths.run("mine", "self_mm", 1)
    assert predict.about(folder, run_files.read(folder)).train_clips == 5


FACTS = media.Media(True, True, 2.0, *[None] * 6, 0, 0.0, 0.0, (Flagged(Flag.NO_FACE),))


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Iterator[predictor.Model]:
    """A model without processes or weights: its workers do what `outcomes` says."""
    extraction = {"text": {"max_tokens": 64}, "audio": {}, "vision": {}}
    made = projects.record("mine", synthetic=False, columns={"audio": [], "vision": []}, extraction=extraction)
    monkeypatch.setattr(predictor, "Senses", lambda *_: Mock())
    monkeypatch.setattr(predict, "located", lambda run: Path("data/runs/mine/self_mm-1"))
    monkeypatch.setattr(run_files, "read", lambda folder: made)
    monkeypatch.setattr(settings, "of", lambda *_: settings.of_project(ROOT / paths.PARAMS))
    monkeypatch.setattr(predict, "load", lambda *_: None)
    monkeypatch.setattr(predict, "outputs", lambda taken, *_: [answers.Outputs(prediction=0.5) for _ in taken])
    with predictor.Model() as made_up:
        yield made_up


def worked(task: predictor.Task) -> object:
    """What becomes of a part of a clip."""
    if "crash" in task.path.name and (task.part == "picture" or "first" in task.path.name):
        return Failure("crashed", "its process ended with code -11")
    if "library" in task.path.name:
        return AssetError("no recogniser")
    if task.facts is None:
        return FACTS
    if task.part == "picture":
        return None
    said = [] if "mute" in task.path.name else [Word("fine", 0.0, 1.0)]
    return predictor.Sound(TranscriptRow(id="", text="fine", spoken="Fine", source="recogniser", words=said), None)


def watched(
    _: object, function: object, tasks: Sequence[predictor.Task], **options: object
) -> Iterator[Outcome[object]]:
    """In place of `workers.watch`: the last task ends first."""
    for index, task in reversed(list(enumerate(tasks))):
        found = worked(task)
        failed = isinstance(found, Failure)
        yield Outcome(index, None if failed else found, found if failed else None)


def test_a_clip_that_crashes_costs_no_other(model: predictor.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "watch", watched)
    names = ["crash first.mp4", "a.mp4", "crash later.mp4", "mute.mp4"]
    first, good, later, mute = model.predict(names)
    assert (good.clip, good.prediction, good.transcript, good.error) == ("a.mp4", 0.5, "fine", None)
    assert (good.flags, good.transcript_source) == (["no face"], "recogniser")
    assert (first.clip, first.prediction, first.run) == ("crash first.mp4", None, "mine/self_mm-1")
    assert first.error == "crashed: its process ended with code -11"
    assert (later.prediction, later.error) == (0.5, None)  # its picture crashed, its sound did not
    assert "picture not used: its process ended with code -11" in later.flags
    assert mute.error == predict.NOTHING_THERE
    assert repr(model) == "Model('mine/self_mm-1')"
    assert model.predict("a.mp4") == good and model.predict(Path("a.mp4")) == good  # a path alone is one clip
    with pytest.raises(AssetError, match="no recogniser"):  # the installation's fault, not the clip's
        model.predict(["a.mp4", "library.mp4"])


def test_what_was_said_is_printed_as_it_was_said(capsys: pytest.CaptureFixture[str]) -> None:
    told = ABOUT | {"run": "a/[b]"}
    one = Prediction(clip="[bold]x.mp4", transcript="[red]so :smile:", flags=["\x1b[31m"], error="[it]", **told)
    _, out, _ = shown(capsys, [one])
    for part in ("[bold]x.mp4", "[red]so :smile:", "[it]", "a/[b]", "\\x1b[31m"):
        assert part in out


def test_a_file_that_is_not_utf8_is_named_in_utf8(capsys: pytest.CaptureFixture[str]) -> None:
    name = predictor._shown(Path(os.fsdecode(b"caf\xe9.mp4")))
    assert r"caf\\udce9.mp4" in shown(capsys, [Prediction(clip=name, **ABOUT)], as_json=True)[1]
