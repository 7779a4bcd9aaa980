"""A run's record: what is read is written with the same bytes, and what does not fit is named."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from app import runs
from model import run_files
from pipeline import paths, tables
from pipeline.errors import TableError
from pipeline.execution import cache
from tests import projects


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    projects.train("made", 1, 0.9)
    return paths.run("made", "self_mm", 1)


def change(folder: Path, **changes: object) -> None:
    tables.write_json(folder / run_files.RUN, tables.read_json(folder / run_files.RUN) | changes)


def test_a_record_that_was_read_is_written_with_the_same_bytes(folder: Path) -> None:
    change(folder, of_a_newer_version={"b": [1, 2.0], "a": None})
    before = (folder / run_files.RUN).read_bytes()
    run_files.write(folder, run_files.read(folder))
    assert (folder / run_files.RUN).read_bytes() == before
    assert b"weights" not in before and b"heads" not in before  # nothing is added that was not there


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"valid": {"loss": 1.0, "corr": None}},
            r"self_mm-1/run\.json .*: valid\.mae: field required\. Train the run again",
        ),
        ({"seed": "first"}, "seed: input should be a valid integer"),
        ({"hyper": projects.HYPER | {"schedule": "cosine"}}, r"hyper\.schedule: extra inputs are not permitted"),
        ({"valid": {"loss": 1.0, "mae": float("nan"), "corr": None}}, r"valid\.mae: input should be a finite number"),
    ],
)
def test_what_does_not_fit_is_named(folder: Path, changes: dict[str, object], message: str) -> None:
    content = tables.read_json(folder / run_files.RUN) | changes
    (folder / run_files.RUN).write_text(json.dumps(content))
    with pytest.raises(TableError, match=message):
        run_files.read(folder)


def test_a_run_of_the_cache_that_does_not_fit_hides_no_other(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder.parents[3] / paths.PARAMS).write_text("{}")
    tables.write(folder / run_files.PREDICTIONS, tables.rows(tables.RUN_PREDICTIONS, []))
    odd = cache.Store(cache.RUNS).path("ab" * (cache.KEY_LENGTH // 2))
    odd.mkdir(parents=True)
    tables.write_json(odd / run_files.RUN, {"network": "self_mm"})
    runs.listing(True, None, None, as_json=False)
    said = capsys.readouterr()
    assert "made/self_mm-1" in said.out
    assert f"a run of the cache is left out: {odd / run_files.RUN} does not fit this version" in said.err


def test_a_record_is_read_without_torch() -> None:
    code = "import sys; import model.run_files, app.runs, report.facts; sys.exit('torch' in sys.modules)"
    assert subprocess.run((sys.executable, "-c", code), cwd=Path(__file__).parents[1]).returncode == 0
