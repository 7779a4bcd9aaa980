"""docs/experiments.md: every line of it, in a small demo."""

import csv
import io
import re
import shlex
from pathlib import Path

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


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkout, dict[str, str]]:
    """The project afterwards, and what each command printed."""
    project, _ = checkouts.demo(tmp_path_factory)
    project.run("git", "config", "user.name", "test")
    project.run("git", "config", "user.email", "test@localhost")
    project.run("git", "add", "--all", ".", ":!dvc.lock", ":!data/metrics.json")  # which the page's baseline adds
    project.run("git", "commit", "--quiet", "--message", "Code")
    return project, {line: project.run(*shlex.split(line)) for line in COMMANDS}


def ran(printed: str) -> list[str]:
    return re.findall(r"Running stage '(\w+)'", printed)


def test_each_experiment_runs_what_depends_on_its_parameter(done: tuple[Checkout, dict[str, str]]) -> None:
    printed = {
        name: text for line, text in done[1].items() for name in ("faster", "slower") if f"--name {name}" in line
    }
    after = ["evaluate", "experiment", "report"]
    assert ran(printed["faster"]) == ["train", *after]
    assert ran(printed["slower"]) == ["vision", "assemble", "train", *after]


def test_the_experiments_are_compared(done: tuple[Checkout, dict[str, str]]) -> None:
    project, printed = done
    table = printed["dvc exp show --only-changed --no-pager"]
    assert "faster" in table and "slower-frames" in table
    assert "groups.text.lr" in printed["dvc params diff faster slower-frames"]
    assert "demo.self_mm.mae" in printed["dvc metrics diff faster slower-frames"]
    page = (project.folder / "dvc_plots/index.html").read_text()
    assert "valid_mae" in page and "Validation MAE" in page and "Test clips" in page


def test_the_one_that_was_kept_is_the_workspace(done: tuple[Checkout, dict[str, str]]) -> None:
    project, _ = done
    assert "lr: 0.0002" in (project.folder / "networks/self_mm.yaml").read_text()
    assert "up to date" in project.run("dvc", "status")
    left = list(csv.DictReader(io.StringIO(project.run("dvc", "exp", "show", "--csv", "--all-commits"))))
    names = {row["Experiment"] for row in left}
    assert "faster" in names and "slower-frames" not in names
    assert not Path(project.folder / "data/raw.dvc").exists()
