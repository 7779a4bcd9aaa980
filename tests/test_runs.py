"""rawmsa runs lists and compares what was trained; logs say when and from what, and are no output."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from app import runs
from model import evaluate, train
from model.training import jobs, logs
from pipeline import paths, tables
from pipeline.errors import RawmsaError
from pipeline.execution import cache
from tests import trainable as made

pytestmark = pytest.mark.usefixtures("trainable", "in_process")


def listed(capsys: pytest.CaptureFixture[str], every: bool = False, **only: Any) -> list[dict[str, Any]]:
    capsys.readouterr()
    runs.listing(every, only.get("dataset"), only.get("network"), as_json=True)
    return json.loads(capsys.readouterr().out)


def test_the_runs_of_a_data_set_with_all_that_is_asked(capsys: pytest.CaptureFixture[str]):
    train.run()
    first, second = listed(capsys)
    assert first["test_mae"] is second["test_mae"] is None  # nobody has opened the test split yet
    evaluate.run()
    first, second = listed(capsys)
    described = tables.read_json(paths.run("made", "self_mm", 1) / "run.json")
    assert first["run"] == "made/self_mm-1" and first["key"] == described["key"]
    assert (first["preset"], first["values"], first["changes"]) == ("paper", "made", {})
    assert first["valid_mae"] == described["valid"]["mae"]
    assert first["weights"] == described["weights"] != second["weights"]
    assert first["seconds"] > 0 and first["started"] <= second["started"]
    test = [first["test_mae"], second["test_mae"]]
    assert sum(test) / 2 == pytest.approx(tables.read_json(paths.METRICS)["made"]["self_mm"]["mae"])
    runs.listing(False, None, None, as_json=False)
    shown = capsys.readouterr().out
    for part in ("made/self_mm-1", "paper x made", f"{first['valid_mae']:.4g}", f"{first['test_mae']:.4g}", "kept"):
        assert part in shown
    assert "changes" not in shown  # a column that nobody fills


def test_all_shows_the_runs_of_the_cache_without_a_test_score(capsys: pytest.CaptureFixture[str]):
    made.write_table("second")
    train.run()
    evaluate.run()
    row = jobs.task(jobs.source("made"), "self_mm", jobs.Choice(**made.CHOICE), 1, {"fit": {"batch": 2}})
    jobs.compute([row], lambda done: (), "row")
    assert len(listed(capsys)) == 4
    (other,) = [run for run in listed(capsys, every=True) if not run["placed"]]
    assert other["key"] == row.key and other["changes"] == {"fit.batch": 2}
    assert other["test_mae"] is None and not other["weights"] and other["seconds"] > 0
    assert {run["dataset"] for run in listed(capsys, every=True, dataset="second")} == {"second"}
    assert listed(capsys, network="tfn") == []
    runs.listing(False, None, "tfn", as_json=False)
    assert "No such run in data/runs. Train with: dvc repro (--all: those of the cache too)" in capsys.readouterr().out
    runs.comparison(["made/self_mm-1", row.key[:10]], as_json=True)
    assert json.loads(capsys.readouterr().out)["parameters"] == {"hyper.fit.batch": [4, 2]}


def test_two_runs_side_by_side(capsys: pytest.CaptureFixture[str]):
    train.run()
    evaluate.run()
    capsys.readouterr()
    runs.comparison(["made/self_mm-1", "made/self_mm-2"], as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert found["parameters"] == {"seed": [1, 2]}
    assert found["versions"] == {}
    first, second = found["metrics"]["test mae"]
    assert found["difference"]["test mae"] == pytest.approx(second - first) != 0
    assert {"test acc2_pos", "validation mae", "best epoch", "seconds"} <= found["metrics"].keys()
    runs.comparison(["made/self_mm-1", "made/self_mm-2"], as_json=False)
    shown = capsys.readouterr().out
    assert f"{second - first:+.3f}" in shown and "versions: no difference" in shown


def test_a_name_that_fits_none_or_several_says_so():
    train.run()
    with pytest.raises(
        RawmsaError, match=r"no run made/tfn-1: data/runs has made/self_mm-1, made/self_mm-2\. .* --all"
    ):
        runs.comparison(["made/tfn-1", "made/self_mm-1"], as_json=False)
    with pytest.raises(RawmsaError, match="Found 1 runs to compare, expected two"):
        runs.comparison(["made/self_mm-1"], as_json=False)
    same = runs._runs(every=False)
    with pytest.raises(RawmsaError, match=r"4 runs have a key that begins with .: .* Give more digits"):
        runs._named(same[0].key[0], [same[0]] * 4)


def test_a_log_tells_what_two_equal_runs_differ_in():
    train.run()
    described = tables.read_json(paths.run("made", "self_mm", 1) / "run.json")
    log = logs.read(described["key"])
    assert log and log.seconds > (log.seconds_an_epoch or 0) > 0
    assert log.peak_memory_mib > 50 and log.device and (log.cpus or 0) > 0
    assert {"torch", "numpy", "pyarrow"} <= log.versions.keys()
    assert log.revision is None  # the project is in no repository
    everything = b"".join(file.read_bytes() for file in paths.RUNS.rglob("*") if file.is_file())
    assert log.started.encode() not in everything


def test_a_log_goes_with_its_run():
    train.run()
    kept = {tables.read_json(file)["key"] for file in paths.RUNS.rglob("run.json")}
    row = jobs.task(jobs.source("made"), "self_mm", jobs.Choice(**made.CHOICE), 3, {})
    jobs.compute([row], lambda done: (), "row")  # which no parameter set uses
    assert {line.kind for line in cache.usage()} == {"runs", "weights"}
    assert logs.read(row.key)
    cache.prune()
    assert {file.stem for file in paths.log("").parent.iterdir()} == kept


def test_a_log_names_the_revision_and_whether_the_project_differs(trainable: Path):
    def git(*arguments: str) -> str:
        identity = ("-c", "user.name=a", "-c", "user.email=a@b")
        done = subprocess.run(("git", *identity, *arguments), check=True, capture_output=True, text=True)
        return done.stdout.strip()

    git("init", "-q")
    git("add", "params.yaml", "networks")
    git("commit", "-qm", "first")
    assert logs._revision() == (git("rev-parse", "HEAD"), False)
    Path("data/notes.txt").write_text("decides nothing")
    assert logs._revision()[1] is False
    Path("params.yaml").write_text(yaml.safe_dump({"threads": 2}))
    assert logs._revision()[1] is True


def test_a_finished_run_is_hashed_once_a_stage(monkeypatch: pytest.MonkeyPatch):
    train.run()
    first = tables.read_json(paths.run("made", "self_mm", 1) / "run.json")["key"]
    cache.Store(cache.RUNS).remove(first)  # one is trained again, the other is there
    hashed, whole = [], cache._whole
    monkeypatch.setattr(cache, "_whole", lambda entry: hashed.append(entry) or whole(entry))
    train.run()
    assert 0 < len(hashed) == len(set(hashed))
