"""Checkouts of this repository in folders of their own, where commands run as a user types them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from filelock import FileLock

from pipeline import paths, tables
from pipeline.audio.covarep import analysis
from tests import glottis

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
CODE = (
    "app", "model", "networks", "pipeline", "report", "stages", "dvc.yaml", "params.yaml", ".gitignore", ".dvcignore", ".dvc/config", ".dvc/.gitignore", ".dvc/plots",
)  # fmt: skip


class Checkout:
    """A folder with the code in which commands run; `environment` is added to what they inherit."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "RAWMSA_"))}
        self.environment = {**kept, "PATH": f"{BIN}:{os.environ['PATH']}", **environment}

    def run(self, *command: str) -> str:
        """What a command prints; it must succeed."""
        done = subprocess.run(command, cwd=self.folder, env=self.environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def stages(self, *arguments: str) -> str:
        return self.run(sys.executable, "-m", "stages", *arguments)

    def read(self, path: Path) -> list[dict]:
        return tables.read(self.folder / path).to_pylist()


CLIPS = 8  # of the demo that tests share


def copied(folder: Path, seeds: list[int], epochs: int) -> Checkout:
    """A copy of the code as it stands, under git, whose demo trains so many seeds and epochs.

    What Python and numba have compiled is copied too: numba needs half a minute to compile COVAREP's loops again.
    """
    for name in CODE:
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("*.pyc.*", "*.tmp.*"))  # being written
        else:
            shutil.copy(source, target)
    values = yaml.safe_load((folder / "params.yaml").read_text())
    values["train"]["seeds"]["demo"] = seeds
    values["report"]["films"] = False  # a worker's start each time the report is made
    (folder / "params.yaml").write_text(yaml.safe_dump(values))
    set_epochs(folder, epochs)
    made = Checkout(folder)
    made.run("git", "init", "-q")
    return made


def set_epochs(folder: Path, epochs: int) -> None:
    """How long Self-MM trains on the demo."""
    file = folder / paths.network("self_mm")
    file.write_text(file.read_text().replace("max_epochs: 12", f"max_epochs: {epochs}"))


def demo(factory: pytest.TempPathFactory) -> tuple[Checkout, str]:
    """A checkout of its own with the demo of CLIPS clips after `dvc repro`, and what that printed.

    The first test process that asks makes it, once a session; the others wait, and each gets a copy.
    """
    base = factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base  # the folder that all test processes share
    made, printed = base / "demo", base / "demo.txt"
    with FileLock(base / "demo.lock"):
        if not printed.exists():
            voice = glottis.voice((100, 180), 1.0, "a", seconds=1.0)
            analysis.analyse(voice.sound)  # numba compiles here, once, not in each process of the demo
            shutil.rmtree(made, ignore_errors=True)
            project = copied(made, seeds=[1, 2], epochs=4)
            project.stages("demo", "--clips", str(CLIPS))
            printed.write_text(project.run("dvc", "repro"))
    folder = factory.mktemp("project") / "demo"
    shutil.copytree(made, folder, symlinks=True)
    return Checkout(folder), printed.read_text()
