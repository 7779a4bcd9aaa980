"""rawmsa results: the table fits a terminal, own clips without labels are listed, and what to do where there is nothing."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app import data, results
from pipeline import paths, tables
from pipeline.errors import RawmsaError, Reason
from pipeline.flags import Flag, Flagged
from tests import projects


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(results, "LISTED", 4)


def shown(capsys: pytest.CaptureFixture[str], file: Path | None = None) -> str:
    results.main(file)
    return capsys.readouterr().out


def unlabelled(trained_on: str, synthetic: bool) -> list[dict[str, Any]]:
    """A data set `mine` without labels, predicted by a run of another."""
    rows = projects.clips("mine", labelled=False)
    projects.ingest(({"name": "mine", "labelled": False}, rows))
    if trained_on:
        projects.train(trained_on, 1111, 0.9)
        file = paths.run(trained_on, "self_mm", 1111) / "run.json"
        tables.write_json(file, tables.read_json(file) | {"synthetic": synthetic})
        projects.predict(rows, trained_on=trained_on)
    return rows


@pytest.mark.parametrize("width", [100, 80, 40])
def test_no_number_is_folded(width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    projects.scored("demo", synthetic=True)
    spread = {"std": dict.fromkeys(projects.SCORES, 0.0226), "seeds": 5}
    one = projects.SCORES | spread
    projects.measured(demo={"self_mm": one, "mag_bert from a_data_set_of_mine": one, "train_median": projects.FLOOR})
    monkeypatch.setattr(results, "WIDTH", width)
    out = shown(capsys)
    if width >= 80:
        assert max(len(line.rstrip()) for line in out.splitlines()) <= width
    words = out.partition("Acc-2 and F1:")[0].split()
    for cell in ("0.713", "±0.023", "1.456", "84.00±2.26", "85.98±2.26", "45.79", "±2.26"):
        assert cell in words
    assert {"demo", "Self-MM"} <= {*words}


def test_own_clips_without_labels_are_listed_with_whose_run_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    unlabelled("own", synthetic=False)
    out = shown(capsys, Path("out.csv"))
    assert "mine: 7 clips without a label, predicted by the run own/self_mm-1111. Scale: -3 (negative) to +3" in out
    assert out.count("-1.25") == 4 and "weakly negative" in out and "WARNING" not in out
    assert "… and 3 more. All of them as CSV: rawmsa results --csv FILE" in out
    with Path("out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert "out.csv has 7 rows: the clips without a label that a run predicted." in out and "mapped" not in out
    assert [row["id"] for row in rows] == [f"v{index}/1" for index in range(7)]
    assert {(row["flags"], row["mapped_from"]) for row in rows} == {("", "")}
    assert {(row["sentiment"], row["polarity"], row["run"], row["synthetic"]) for row in rows} == {
        ("-1.25", "weakly negative", "own/self_mm-1111", "False")
    }


def test_a_clips_flags_and_a_mapped_scale_stand_with_its_number(capsys: pytest.CaptureFixture[str]) -> None:
    rows = unlabelled("own", synthetic=False)
    file = paths.run("own", "self_mm", 1111) / "run.json"
    tables.write_json(file, tables.read_json(file) | {"label_range": [-2, 2]})
    spoken = [{"id": row["id"], "text": "", "spoken": "", "source": "none", "flags": []} for row in rows]
    spoken[0]["flags"] = [str(Flagged(Flag.NOBODY_SPEAKS))]
    tables.write(paths.transcripts("mine"), tables.rows(tables.TRANSCRIPTS, spoken))
    projects.features("mine", "vision", ["jawOpen"], {"v0/1": np.zeros((1, 1))}, flags=[str(Flagged(Flag.NO_FACE))])
    out = shown(capsys, Path("out.csv"))
    (line,) = (line for line in out.splitlines() if line.startswith("v0/1"))
    assert line.split("negative")[1].strip() == f"transcript: {Flagged(Flag.NOBODY_SPEAKS)}, vision: no face"
    assert "The run's numbers are mapped from [-2, 2] to [-3, 3], 0 to 0." in out
    with Path("out.csv").open(newline="") as opened:
        first, second, *_ = csv.DictReader(opened)
    assert first["flags"] == f"transcript: {Flagged(Flag.NOBODY_SPEAKS)}; vision: no face" and second["flags"] == ""
    assert first["mapped_from"] == "[-2, 2]"
    paths.PARAMS.write_text("{}")
    data.main("mine")
    assert "  flag: vision: no face: 1 clip" in capsys.readouterr().out.splitlines()


def test_a_refused_data_set_is_named_with_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    about = {"row": None, "id": None}
    refused = [
        {"dataset": "mine", "file": "a.mp4", "reason": str(Reason.CORRUPT), "message": "a.mp4 is damaged.", **about},
        {"dataset": "mine", "file": "m", "reason": str(Reason.DATA_SET), "message": "label.csv has no ids.", **about},
        {"dataset": "own", "file": "b.mp4", "reason": str(Reason.CORRUPT), "message": "b.mp4 is damaged.", **about},
        {"dataset": "", "file": "data/raw/my set", "reason": str(Reason.DATA_SET_NAME), "message": "A space.", **about},
    ]
    projects.ingest(({"name": "own"}, projects.clips("own")), refused=refused)
    out = shown(capsys)
    assert "mine: not used: label.csv has no ids. And 1 more reason: rawmsa data mine" in out
    assert "not used: A space." in out and "b.mp4" not in out
    paths.PARAMS.write_text("{}")
    with pytest.raises(RawmsaError, match="my set: not used: A space"):
        data.main("my set")
    paths.METRICS.unlink()
    with pytest.raises(RawmsaError, match="(?s)mine: not used: label.csv has no ids.*There are no results yet"):
        results.main(None)


def test_a_synthetic_run_and_one_of_too_few_clips_are_said_loudly(capsys: pytest.CaptureFixture[str]) -> None:
    unlabelled("demo", synthetic=True)
    learnt = [{"id": str(n), "split": "train" if n < 29 else "valid", "fusion": 0.0} for n in range(40)]
    tables.write(
        paths.run("demo", "self_mm", 1111) / "predictions.parquet", tables.rows(tables.RUN_PREDICTIONS, learnt)
    )
    printed = shown(capsys)
    assert "\nWARNING: this run was trained on SYNTHETIC clips." in printed
    assert "\nWARNING: this run was trained on 29 clips; at least 30 are needed. Its numbers mean nothing." in printed


def test_what_to_do_is_said_where_there_is_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(
        RawmsaError, match=r"no results yet.*data/raw/<name>/, then: dvc repro.*rawmsa demo && dvc repro"
    ):
        results.main(None)
    unlabelled("", synthetic=False)
    out = " ".join(shown(capsys, Path("out.csv")).split())
    assert "out.csv has 0 rows" in out
    assert "mine has 7 clips without a label and no prediction: no run fits it. Train one on labelled clips" in out
