"""docs/experiments.md: every line of it, in a small demo."""

import csv
import io
import json
import re
import shlex

import pytest

from tests import checkouts
from tests.checkouts import ROOT, Checkout

pytest.importorskip("espeakng_loader")
pytestmark = pytest.mark.slow

COMMANDS = [
    line
    for block in re.findall(r"```bash\n(.*?)```", (ROOT / "docs/experiments.md").read_text(), re.DOTALL)
    for line in block.splitlines()
]
LISTED, QUEUED = "rawmsa runs --experiments", "dvc queue logs slower-frames"


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkout, dict[str, str]]:
    """The project afterwards, and what each command printed."""
    project, _ = checkouts.demo(tmp_path_factory)
    project.run("git", "config", "user.name", "test")
    project.run("git", "config", "user.email", "test@localhost")
    project.run("git", "add", "--all", ".", ":!dvc.lock", ":!data/metrics.json")  # which the page's baseline adds
    project.run("git", "commit", "--quiet", "--message", "Code")
    printed = {}
    for line in COMMANDS:
        printed[line] = project.run(*shlex.split(line))
        if line == LISTED:  # before the page removes one of them
            for asked in ("rawmsa runs --experiments --csv experiments.csv", "rawmsa runs --all --json", QUEUED):
                printed[asked] = project.run(*shlex.split(asked))
    return project, printed


def ran(printed: str) -> list[str]:
    return re.findall(r"Running stage '(\w+)'", printed)


def test_each_experiment_runs_what_depends_on_its_parameter(done: tuple[Checkout, dict[str, str]]) -> None:
    (faster,) = (text for line, text in done[1].items() if "--name faster" in line)
    after = ["evaluate", "experiment", "report"]
    assert ran(faster) == ["train", *after]
    assert ran(done[1][QUEUED]) == ["vision", "assemble", "train", *after]


def test_the_experiments_are_compared(done: tuple[Checkout, dict[str, str]]) -> None:
    project, printed = done
    table = printed[LISTED]
    assert max(map(len, table.splitlines())) <= 100
    assert "faster" in table and "slower-frames" in table
    rows = {row["experiment"]: row for row in csv.DictReader((project.folder / "experiments.csv").open())}
    assert rows["slower-frames"]["changed"] == "vision.landmarks.fps: 15 -> 10"
    assert rows["faster"]["changed"] == "self_mm: values.mmsa.defaults.groups.text.lr: 5e-05 -> 0.0002"
    assert rows["faster"]["baseline"] == rows["slower-frames"]["baseline"] == rows["baseline"]["revision"]
    kept = json.loads((project.folder / "data/metrics.json").read_text())["demo"]["self_mm"]  # `faster` was applied
    assert float(rows["faster"]["test_mae"]) == kept["mae"] and int(rows["faster"]["seeds"]) == kept["seeds"]
    records = [json.loads(file.read_text()) for file in (project.folder / "data/runs/demo").glob("*/run.json")]
    valid = [record["valid"]["mae"] for record in records]
    assert float(rows["faster"]["valid_mae"]) == pytest.approx(sum(valid) / len(valid))
    assert len({row["valid_mae"] for row in rows.values()}) == 3 and all(float(r["seconds"]) > 0 for r in rows.values())
    listed = json.loads(printed["rawmsa runs --all --json"])
    assert {name for run in listed for name in run["experiments"]} == rows.keys()
    assert "groups.text.lr" in printed["dvc params diff faster slower-frames"]
    assert "demo.self_mm.mae" in printed["dvc metrics diff faster slower-frames"]
    for folder, revision in (("dvc_plots_diff", "slower-frames"), ("dvc_plots", "workspace")):
        page = (project.folder / folder / "index.html").read_text()
        assert f'"rev": "{revision}"' in page and "Validation MAE" in page and "Test clips" in page
        assert '{"field": "seed", "type": "nominal"}' in page  # one line per seed


def test_the_one_that_was_kept_is_the_workspace(done: tuple[Checkout, dict[str, str]]) -> None:
    project, _ = done
    assert "lr: 0.0002" in (project.folder / "networks/self_mm.yaml").read_text()
    assert "up to date" in project.run("dvc", "status")
    left = list(csv.DictReader(io.StringIO(project.run("dvc", "exp", "show", "--csv", "--all-commits"))))
    names = {row["Experiment"] for row in left}
    assert "faster" in names and "slower-frames" not in names
