"""rawmsa results: the table fits a terminal, own clips without labels are listed, and what to do where there is nothing."""

import csv
from pathlib import Path
from typing import Any

import pytest

from app import results
from pipeline import paths, tables
from pipeline.errors import RawmsaError
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


def test_the_table_fits_a_hundred_columns(capsys: pytest.CaptureFixture[str]) -> None:
    projects.scored("demo", synthetic=True)
    out = shown(capsys)
    assert max(map(len, out.splitlines())) <= 100
    for cell in ("demo (synthetic demo)", "Self-MM", "0.713±0.010", "1.456", "84.00", "85.98±0.40"):
        assert cell in out


def test_own_clips_without_labels_are_listed_with_whose_run_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    unlabelled("own", synthetic=False)
    out = shown(capsys, Path("out.csv"))
    assert "mine: 7 clips without a label, predicted by the run own/self_mm-1111. Scale: -3 (negative) to +3" in out
    assert out.count("-1.25") == 4 and "weakly negative" in out and "WARNING" not in out
    assert "… and 3 more. All of them as CSV: rawmsa results --csv FILE" in out
    with Path("out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["id"] for row in rows] == [f"v{index}/1" for index in range(7)]
    assert {(row["sentiment"], row["polarity"], row["run"], row["synthetic"]) for row in rows} == {
        ("-1.25", "weakly negative", "own/self_mm-1111", "False")
    }


def test_a_synthetic_run_is_said_loudly(capsys: pytest.CaptureFixture[str]) -> None:
    unlabelled("demo", synthetic=True)
    assert "\nWARNING: this run was trained on SYNTHETIC clips." in shown(capsys)


def test_what_to_do_is_said_where_there_is_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(
        RawmsaError, match=r"no results yet.*data/raw/<name>/, then: dvc repro.*rawmsa demo && dvc repro"
    ):
        results.main(None)
    unlabelled("", synthetic=False)
    out = " ".join(shown(capsys).split())
    assert "mine has 7 clips without a label and no prediction: no run fits it. Train one on labelled clips" in out
