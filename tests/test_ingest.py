"""ingest, from made clips to its tables."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from pipeline import params, paths, tables
from pipeline.datasets import ingest
from pipeline.errors import DatasetError, ParamsError, StageError
from pipeline.execution import cache, workers
from pipeline.execution.tasks import Failure, Outcome
from stages.__main__ import app
from tests import clips

pytestmark = pytest.mark.slow  # whole stages or figures, a second or more each

PARAMS = Path(__file__).parents[1] / "params.yaml"
SHEET = "video_id,clip_id,text,label,mode\nv,1,good,1,train\nv,2,bad,-1,train\nw,1,bad,0.5,test\n"
OUTPUTS = (paths.CLIPS, paths.TEXTS, paths.LABELS, paths.REFUSED, paths.DATASETS)


@pytest.fixture(scope="session")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Three short videos that differ; the last has no sound."""
    folder = tmp_path_factory.mktemp("videos")
    return [clips.make(folder / f"{n}.mp4", seconds=0.4, colour=40 * n, audio=n < 2) for n in range(3)]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder with a cache of its own and no data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAWMSA_CACHE", "cache")
    paths.PARAMS.write_text(PARAMS.read_text().replace("workers: 2", "workers: 1"))
    paths.RAW.mkdir(parents=True)
    return tmp_path


@pytest.fixture
def words(project: Path) -> Path:
    """A data set of text alone: quick, since nothing is decoded."""
    folder = paths.RAW / "words"
    folder.mkdir()
    (folder / "label.csv").write_text(SHEET)
    return folder


@pytest.fixture
def labelled(project: Path, videos: list[Path]) -> Path:
    """Three clips of two videos in the field's layout."""
    folder = paths.RAW / "own"
    for video, name in zip(videos, ("v/1", "v/2", "w/1"), strict=True):
        copy(video, folder / "Raw" / f"{name}.mp4")
    (folder / "label.csv").write_text(SHEET)
    return folder


def copy(video: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(video, target)


def run(capsys: pytest.CaptureFixture[str]) -> str:
    """Run the stage; returns what it prints."""
    ingest.run(params.load("ingest", ingest.Params))
    return capsys.readouterr().out.strip()


def rows(path: Path) -> list[dict[str, Any]]:
    return tables.read(path).to_pylist()


def contents() -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in OUTPUTS}


def changed(before: dict[Path, bytes]) -> set[Path]:
    return {path for path, content in contents().items() if content != before[path]}


def test_clips_texts_and_labels(labelled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys).splitlines()[0] == "ingest: own 3 clips; 3 computed, 0 from cache, 0 failed; 0 refused"
    first, _, last = rows(paths.CLIPS)
    assert (first["dataset"], first["id"], first["video_id"], first["clip_id"]) == ("own", "v/1", "v", "1")
    assert first["path"] == "data/raw/own/Raw/v/1.mp4"
    assert (first["width"], first["height"], first["fps"], first["sound_rate"]) == (64, 48, 25, 16000)
    assert first["seconds"] == pytest.approx(0.4, abs=0.1)
    assert (first["start"], first["end"], first["frames_decoded"], first["corrupt_share"]) == (None, None, 10, 0)
    assert (first["has_audio"], last["has_audio"], last["has_vision"]) == (True, False, True)
    assert last["flags"] == ["no sound"]
    assert [(row["id"], row["source"], row["text"], row["language"]) for row in rows(paths.TEXTS)] == [
        ("v/1", "label", "good", "en"),
        ("v/2", "label", "bad", "en"),
        ("w/1", "label", "bad", "en"),
    ]
    assert [(row["id"], row["split"], row["label"], row["label_T"]) for row in rows(paths.LABELS)] == [
        ("v/1", "train", 1, None),
        ("v/2", "train", -1, None),
        ("w/1", "test", 0.5, None),
    ]
    told = tables.read_json(paths.DATASETS)["own"]
    assert (told["labelled"], told["text_only"], told["split"]) == (True, False, "mode")
    assert (told["shared_videos"], told["shared_texts"], told["duplicates"]) == ([], ["bad"], [])


def test_nothing_is_done_twice_and_equal_input_gives_equal_bytes(
    labelled: Path, videos: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys)
    before = contents()
    assert "0 computed, 3 from cache" in run(capsys)
    assert not changed(before)
    os.utime(labelled / "Raw/v/1.mp4", ns=(1, 1))  # a new date, the old bytes
    assert "0 computed, 3 from cache" in run(capsys)
    assert not changed(before)
    copy(videos[0], paths.RAW / "more" / "new.mp4")
    assert "ingest: more 1 clip, own 3 clips; 0 computed, 4 from cache" in run(capsys), "bytes count, not names"
    paths.PARAMS.write_text(paths.PARAMS.read_text().replace("workers: 1", "workers: 2"))
    shutil.rmtree(paths.RAW / "more")
    shutil.rmtree("cache")
    assert "3 computed, 0 from cache" in run(capsys)
    assert not changed(before)


def test_a_label_edit_changes_labels_alone_and_a_text_edit_texts_alone(
    labelled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys)
    before = contents()
    (labelled / "label.csv").write_text(SHEET.replace("good,1,", "good,2,"))
    assert "0 computed" in run(capsys)
    assert changed(before) == {paths.LABELS}
    (labelled / "label.csv").write_text(SHEET.replace("good", "fine"))
    run(capsys)
    assert changed(before) == {paths.TEXTS}


def test_a_changed_file_is_hashed_and_decoded_anew(
    labelled: Path, videos: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys)
    old = rows(paths.CLIPS)[0]["sha256"]
    clips.make(labelled / "Raw/v/1.mp4", seconds=0.8)
    assert "1 computed, 2 from cache" in run(capsys)
    assert rows(paths.CLIPS)[0]["sha256"] != old
    assert rows(paths.CLIPS)[0]["seconds"] == pytest.approx(0.8, abs=0.1)


def test_a_broken_clip_is_refused_and_the_others_go_on(labelled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (labelled / "Raw/v/2.mp4").write_bytes(b"no video at all")
    copy(labelled / "Raw/v/2.mp4", labelled / "Raw/v/6.mp4")
    os.mkfifo(labelled / "Raw/v/3.mp4")
    (labelled / "label.csv").write_text(SHEET + "v,3,c,1,train\nv,4,d,1,train\nv,5,e,9,train\nv,6,f,1,train\n")
    summary = run(capsys)
    assert summary.startswith("ingest: own 2 clips; 3 computed, 1 from cache, 0 failed; 5 refused (")
    assert {row["id"]: (row["reason"], row["row"]) for row in rows(paths.REFUSED)} == {
        "v/2": ("unreadable", 3),
        "v/3": ("not a file", 5),
        "v/4": ("no clip", 6),
        "v/5": ("label", 7),
        "v/6": ("unreadable", 8),
    }
    told = {row["id"]: row["message"] for row in rows(paths.REFUSED)}
    assert told["v/2"].startswith("2.mp4 cannot") and told["v/6"].startswith("6.mp4 cannot"), "each by its own name"
    for path in (paths.CLIPS, paths.TEXTS, paths.LABELS):
        assert [row["id"] for row in rows(path)] == ["v/1", "w/1"]
    before = contents()
    assert "0 computed, 4 from cache" in run(capsys), "a refusal is kept too"
    assert not changed(before)


def test_a_clip_that_overruns_its_time_is_tried_again_next_time(
    words: Path, videos: list[Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    copy(videos[0], paths.RAW / "slow" / "clip.mp4")
    overrun = Outcome(0, None, Failure("timeout", "it ran longer than limits.seconds"))
    with monkeypatch.context() as patch:
        patch.setattr(workers, "run", lambda *_, **__: iter([overrun]))
        assert "0 computed, 0 from cache, 1 failed; 2 refused (given up: timeout 1, no clips 1)" in run(capsys)
    messages = [row["message"] for row in rows(paths.REFUSED)]
    assert "clip.mp4 was given up: it ran longer than limits.seconds." in messages
    assert "slow 1 clip, words 3 clips; 1 computed, 0 from cache, 0 failed; 0 refused" in run(capsys)


def test_segments_of_one_video_are_clips(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clips.make(paths.RAW / "cut" / "long.mp4", seconds=2)
    sheet = "video_id,clip_id,label,start,end\nlong,1,0,0,0.5\nlong,2,1,1,2\nlong,3,1,1,2\nlong,4,1,7,8\n"
    (paths.RAW / "cut" / "label.csv").write_text(sheet)
    assert "cut 3 clips; 3 computed" in run(capsys)
    found = [(row["id"], row["start"], row["end"], round(row["seconds"], 1)) for row in rows(paths.CLIPS)]
    assert found == [("long/1", 0, 0.5, 0.5), ("long/2", 1, 2, 1.0), ("long/3", 1, 2, 1.0)]
    assert len({row["sha256"] for row in rows(paths.CLIPS)}) == 1
    (late,) = rows(paths.REFUSED)
    assert (late["id"], late["row"], late["reason"]) == ("long/4", 5, "start")
    assert late["message"].startswith(
        "data/raw/cut/label.csv, line 5: long.mp4 lasts 2.0 s, and the clip starts at 7 s."
    )
    assert tables.read_json(paths.DATASETS)["cut"]["duplicates"] == [["long/2", "long/3"]]


def test_a_segment_that_the_videos_end_cuts_is_flagged_and_files_need_no_ids(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clips.make(paths.RAW / "talk" / "talk.mp4", seconds=2)
    (paths.RAW / "talk" / "label.csv").write_text(
        "file,start,end,label\ntalk.mp4,0,1,1\ntalk.mp4,1,2,-1\ntalk.mp4,1,60,0\n"
    )
    assert "talk 3 clips; 3 computed" in run(capsys)
    found = {row["id"]: (round(row["seconds"], 1), row["flags"]) for row in rows(paths.CLIPS)}
    assert found == {
        "talk/0-1": (1.0, []),
        "talk/1-2": (1.0, []),
        "talk/1-60": (1.0, ["ends with the video, before the end that its row says"]),
    }


def test_a_data_set_is_shown_with_all_that_is_not_used(labelled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (labelled / "dataset.yaml").write_text("label_range: [1, 5]\nneutral: 3\n")
    sheet = "video_id,clip_id,text,label,mode,who\nv,1,good,5,train,a\nv,2,bad,1,test,b\n"
    (labelled / "label.csv").write_text(sheet + "x,1,c,2,test,c\nx,2,c,2,test,c\n")
    shutil.copy(labelled / "Raw/v/1.mp4", labelled / "x.mp4")
    told = run(capsys)
    assert (
        "own: labels from 1 to 5 (range 1 to 5, neutral 3); kept less 3, so that 0 is neutral; 2 clips without a label: predicted"
        in told
    )
    assert "line 4: found no video for it" in told and "And 1 more (no clip): rawmsa data own" in told
    assert [(row["id"], row["label"]) for row in rows(paths.LABELS)] == [
        ("v/1", 2),
        ("v/2", -2),
        ("w/1", None),
        ("x/0", None),
    ]
    shown = CliRunner().invoke(app, ["data", "own"]).output.splitlines()
    assert shown[0] == "own: 4 clips"
    assert "  splits (mode): train 1, test 1; without a label 2" in shown
    assert "  labels: from 1 to 5; range 1 to 5, neutral 3" in shown
    assert "  flag: clip: no sound: 1 clip" in shown and "  note: 1 column of label.csv is not read: who." in shown
    at = shown.index("  refused: no clip: 2")
    assert "line 4: found no video" in shown[at + 1] and "line 5: found no video" in shown[at + 2]
    unknown = CliRunner().invoke(app, ["data", "onw"])
    assert "ingest knows no data set onw; it has own." in str(unknown.exception)


def test_unlabelled_and_text_only_sets(project: Path, videos: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    for number, video in enumerate(videos):
        copy(video, paths.RAW / "free" / f"{number}.mp4")
    copy(videos[0], paths.RAW / "free" / "twin.mp4")
    (paths.RAW / "free" / "0.srt").write_text("1\n00:00:00,000 --> 00:00:00,300\nHello\n")
    (paths.RAW / "words").mkdir()
    (paths.RAW / "words" / "label.csv").write_text("video_id,clip_id,text,label\na,1,good,1\nb,1,bad,-1\nc,1,so so,0\n")
    assert "free 4 clips, words 3 clips; 3 computed, 1 from cache" in run(capsys)
    free, words = (tables.read_json(paths.DATASETS)[name] for name in ("free", "words"))
    assert (free["labelled"], free["text_only"], free["split"]) == (False, False, "none")
    assert free["duplicates"] == [["0/0", "twin/0"]]
    assert (words["labelled"], words["text_only"], words["split"]) == (True, True, "by_video")
    alone = rows(paths.CLIPS)[-1]
    assert (alone["path"], alone["sha256"], alone["has_audio"], alone["has_vision"]) == (None, None, False, False)
    assert [row["split"] for row in rows(paths.LABELS)][:4] == [None] * 4
    assert sorted(row["split"] for row in rows(paths.LABELS)[4:]) == ["test", "train", "valid"]
    heard = rows(paths.TEXTS)[0]
    assert (heard["source"], heard["text"]) == ("sidecar", "Hello")
    assert heard["cues"] == [{"start": 0, "end": 0.3, "text": "Hello"}]


def test_a_set_that_cannot_be_read_does_not_stop_the_others(words: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (paths.RAW / "typo").mkdir()
    (paths.RAW / "typo" / "dataset.yaml").write_text("langauge: en")
    (paths.RAW / "void").mkdir()
    (paths.RAW / "bad name").mkdir()
    summary, _, _, *told = run(capsys).splitlines()
    assert summary.endswith("3 refused (data set name 1, data set 1, no clips 1)")
    assert "the key 'langauge' is not known" in told[0]
    assert len(told) == 3
    assert [row["dataset"] for row in rows(paths.REFUSED)] == ["", "typo", "void"]
    assert set(tables.read_json(paths.DATASETS)) == {"words"}


def test_refusals_are_told_data_sets_first_and_one_for_each_cause(
    words: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (words / "label.csv").write_text(
        SHEET.replace("text", "txt") + "".join(f"x,{n},c,,hold\n" for n in range(8)) + "../y,1,c,1,test\n"
    )
    (words / "1.mp4").write_bytes(b"x")
    (paths.RAW / "typo").mkdir()
    (paths.RAW / "typo" / "label.csv").write_text("id,sentiment\n1,a\n")
    (paths.RAW / "loose.mp4").write_bytes(b"v")
    good = clips.make(paths.RAW / "good" / "1.mp4", seconds=0.3)
    told = run(capsys).splitlines()
    assert "good 1 clip" in told[0] and good.is_file()
    assert (
        "typo/label.csv has the columns id, sentiment; expected" in told[1]
        and "sentiment: did you mean label?" in told[1]
    )
    assert "found 'txt', expected 'text'" in told[2]
    assert sum("no video for it" in line for line in told) == 1, "one line for 11 rows without a video"
    assert any(line.endswith("And 10 more (no clip): rawmsa data words") for line in told), told


def test_shared_videos_are_reported_not_refused(words: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (words / "label.csv").write_text(SHEET.replace("v,2,bad,-1,train", "v,2,bad,-1,valid"))
    assert "0 refused" in run(capsys)
    assert tables.read_json(paths.DATASETS)["words"]["shared_videos"] == ["v"]


def test_what_splits_share_is_told_in_a_line_with_what_to_do(
    labelled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy(labelled / "Raw/v/1.mp4", labelled / "Raw/x/1.mp4")
    copy(labelled / "Raw/v/2.mp4", labelled / "Raw/v/3.mp4")
    (labelled / "label.csv").write_text(SHEET + "x,1,good,1,test\nv,3,so so,0,train\n")
    told = run(capsys).splitlines()
    assert "0 refused" in told[0]
    assert told[1] == "  own: labels from -1 to 1 (range -3 to 3, neutral 0, as convention mosi has it)"
    assert told[2:] == [
        "  own: leakage: 2 texts, 1 content lie in more than one split (data/ingest/datasets.json names them), so its "
        "figures may flatter. Give each to one split in label.csv."
    ]
    facts = tables.read_json(paths.DATASETS)["own"]
    assert facts["shared_contents"] == [["v/1", "x/1"]], "v/2 and v/3 are of one split"
    assert facts["duplicates"] == [["v/1", "x/1"], ["v/2", "v/3"]]
    (labelled / "label.csv").write_text(SHEET.replace("bad,-1,train", "fine,-1,test"))
    (labelled / "Raw/x/1.mp4").unlink()
    assert "own: leakage: 1 video lies in more than one split" in (line := run(capsys).splitlines()[2])
    assert line.endswith("label.csv, or write 'split: by_video' in data/raw/own/dataset.yaml.")


def test_segments_of_one_file_under_two_ids_are_leakage(
    project: Path, videos: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    copy(videos[0], paths.RAW / "cut" / "long.mp4")
    sheet = "file,video_id,clip_id,label,start,end,mode\nlong.mp4,a,1,0,0,0.2,train\nlong.mp4,b,1,1,0.2,0.4,test\n"
    (paths.RAW / "cut" / "label.csv").write_text(sheet)
    assert "cut: leakage: 1 content lies in more than one split" in run(capsys)
    assert tables.read_json(paths.DATASETS)["cut"]["shared_contents"] == [["a/1", "b/1"]]


def test_contents_of_two_labelled_data_sets_are_told(labelled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (labelled / "label.csv").write_text(SHEET.replace("bad,0.5", "fine,0.5"))
    copy(labelled / "Raw/v/1.mp4", paths.RAW / "other" / "x.mp4")
    assert "leakage" not in run(capsys), "nobody is evaluated on a data set without labels"
    assert tables.read_json(paths.DATASETS)["other"]["elsewhere"] == {"own": ["x/0"]}
    (paths.RAW / "other" / "label.csv").write_text("file,label\nx.mp4,1\n")
    (line,) = (line for line in run(capsys).splitlines() if "leakage" in line)
    assert line.startswith(
        "  other: leakage: own holds 1 clip of it too, byte for byte (data/ingest/datasets.json names"
    )
    assert "Remove them from one before a run of one is evaluated on the other." in line


def test_no_text_is_printed_with_the_leakage(words: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (words / "label.csv").write_text(SHEET.replace("bad", "a secret of somebody"))
    told = run(capsys)
    assert "1 text lies in more than one split" in told and "secret" not in told


def test_limits_refuse_what_is_too_large(labelled: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths.PARAMS.write_text(paths.PARAMS.read_text().replace("max_pixels: 35000000", "max_pixels: 100"))
    with pytest.raises(DatasetError, match="holds no clip that can be used(.|\n)*64 x 48(.|\n)*rawmsa demo"):
        run(capsys)


def test_an_empty_data_raw_says_what_to_do(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DatasetError, match="data/raw holds no clip that can be used.\nPut videos there"):
        run(capsys)


def test_shares_that_make_no_whole_are_a_mistake_in_params(project: Path) -> None:
    paths.PARAMS.write_text(paths.PARAMS.read_text().replace("train: 0.6", "train: 0.7"))
    with pytest.raises(ParamsError, match="must add up to 1"):
        params.load("ingest", ingest.Params)


def test_where_most_clips_cannot_be_used_the_stage_says_so_and_ends_with_an_error(
    labelled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("v/1", "v/2"):
        (labelled / "Raw" / f"{name}.mp4").write_bytes(b"no video")
    with pytest.raises(
        StageError, match=r"2 of 3 clips cannot be used, more than limits.max_failed_fraction .*unreadable 2"
    ):
        run(capsys)
    assert [row["reason"] for row in rows(paths.REFUSED)] == ["unreadable", "unreadable"]
    paths.PARAMS.write_text(paths.PARAMS.read_text().replace("fraction: 0.5", "fraction: 0.7"))
    assert "own 1 clip;" in run(capsys)


def test_a_part_of_an_array_takes_nothing_from_what_the_cache_notes_as_used(
    labelled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(capsys)
    ingest.run(params.load("ingest", ingest.Params), cache.Part(1, 3))
    assert cache.prune() == 0
