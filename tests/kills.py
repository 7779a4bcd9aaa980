"""`dvc repro` killed with SIGKILL at random moments and run again to the end: the same bytes, nothing done twice, no orphan.

    make kills              (python -m tests.kills --kills 50)
    python -m tests.kills --kills 3 --clips 60 --whole

Each kill has a project of its own: a copy of the code, a demo of so many clips and, unless --whole, one seed of two
epochs. The moment is drawn evenly over the time of an undisturbed run, the victim is dvc or the stage it runs. What
must hold: no process of the project is alive soon after; what the cache held then is still there, untouched, at the
end; every output of the second run equals the undisturbed run's.
"""

import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import psutil
import yaml

from pipeline import paths
from tests.checkouts import set_epochs

ROOT = Path(__file__).parents[1]
CODE = (
    "app",
    "model",
    "networks",
    "pipeline",
    "report",
    "stages",
    "dvc.yaml",
    "params.yaml",
    ".dvcignore",
    ".dvc/config",
    ".dvc/.gitignore",
)
IGNORED = (
    "data/.gitignore",
    "data/features/.gitignore",
)  # DVC takes its lines back in a run that fails
CACHE = Path(".dvc/tmp/rawmsa")
GRACE = 5.0  # seconds in which every process of a killed run must end


@dataclass(frozen=True)
class Result:
    """What became of one kill. stage: what ran; faults: empty where all held."""

    number: int
    stage: str
    victim: str
    entries: int  # of the cache, that the kill left
    faults: list[str]


def snapshot(folder: Path, clips: int) -> Path:
    """The code as it stands, with a demo."""
    for name in (*CODE, *IGNORED):
        source, target = ROOT / name, folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target)  # with what Numba compiled, which takes longer than the rest
        else:
            shutil.copy2(source, target)
    subprocess.run([sys.executable, "-m", "stages", "demo", "--clips", str(clips)], cwd=folder, check=True)
    return folder


def prepared(folder: Path, code: Path, whole: bool) -> Path:
    """A project of its own."""
    shutil.copytree(code, folder)
    values = yaml.safe_load((folder / "params.yaml").read_text())
    values["workers"] = 1
    if not whole:
        values["train"]["seeds"]["demo"] = [1]
        set_epochs(folder, 2)
    values["limits"]["checkpoint_seconds"] = 0  # so that kills meet half-written states
    (folder / "params.yaml").write_text(yaml.safe_dump(values))
    subprocess.run(["git", "init", "-q"], cwd=folder, check=True)
    return folder


def repro(project: Path) -> subprocess.Popen[bytes]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("DVC_", "RAWMSA_"))}
    environment = {**kept, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with (project / "log").open("ab") as log:
        return subprocess.Popen(["dvc", "repro"], cwd=project, env=environment, stdout=log, stderr=log)


def outputs(project: Path) -> dict[str, str]:
    """sha256 of every file that the run made, dvc.lock included."""
    files = [project / "dvc.lock", *(project / paths.DATA).rglob("*")]
    return {
        str(file.relative_to(project)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
        if file.is_file() and paths.RAW not in file.relative_to(project).parents and file.name[:5] != ".lock"
    }


def entries(project: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of change of all that the cache holds."""
    found = (project / CACHE).glob("*/??/*/content")
    return {str(path.relative_to(project)): (path.stat().st_ino, path.stat().st_mtime_ns) for path in found}


def alive(project: Path) -> list[str]:
    """Processes that work in the project's folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(project) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(" ".join(process.cmdline()[-3:]))
        except psutil.Error:
            continue
    return found


def victim(dvc: psutil.Process, draw: random.Random) -> tuple[psutil.Process, str, str]:
    """A process to kill, its kind, and the stage that runs."""
    stages = [child for child in dvc.children(recursive=True) if "stages" in child.cmdline()]
    if not stages:
        return dvc, "dvc", "between stages"
    name = stages[0].cmdline()[-1]
    return (dvc, "dvc", name) if draw.random() < 0.5 else (stages[0], "stage", name)


def kill(number: int, project: Path, seconds: float, expected: dict[str, str], draw: random.Random) -> Result:
    """One run, killed after so many seconds, and run again."""
    running = repro(project)
    time.sleep(seconds)
    try:
        process, kind, stage = victim(psutil.Process(running.pid), draw)
        process.send_signal(signal.SIGKILL)
    except psutil.Error:
        kind, stage = "none", "ended before"
    running.wait()
    faults = []
    end = time.monotonic() + GRACE
    while (orphans := alive(project)) and time.monotonic() < end:
        time.sleep(0.1)
    faults += [f"orphan: {name}" for name in orphans]
    before = entries(project)
    if code := repro(project).wait():
        faults.append(f"the second run ended with code {code}: {(project / 'log').read_text()[-2000:]}")
    after = entries(project)
    faults += [f"computed twice: {name}" for name, seen in before.items() if after.get(name) != seen]
    found = outputs(project)
    faults += [
        f"differs: {name}" for name in sorted(expected.keys() | found.keys()) if expected.get(name) != found.get(name)
    ]
    if not faults:
        shutil.rmtree(project)
    return Result(number, stage, kind, len(before), faults)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--whole", action="store_true", help="the repository's seeds and epochs")
    parser.add_argument("--seed", type=int, default=1111)
    parser.add_argument("--at-once", type=int, default=2)
    asked = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    code = snapshot(folder / "code", asked.clips)
    reference = prepared(folder / "reference", code, asked.whole)
    began = time.monotonic()
    if repro(reference).wait():
        print((reference / "log").read_text()[-3000:])
        return 1
    took, expected = time.monotonic() - began, outputs(reference)
    print(f"undisturbed: {took:.0f} s, {len(expected)} outputs", flush=True)
    draw = random.Random(asked.seed)
    moments = [draw.uniform(0, took) for _ in range(asked.kills)]
    counts: Counter[str] = Counter()
    bad = 0
    with ThreadPoolExecutor(asked.at_once) as pool:
        tasks = [
            pool.submit(
                lambda number, seconds: kill(
                    number,
                    prepared(folder / f"kill{number}", code, asked.whole),
                    seconds,
                    expected,
                    random.Random(asked.seed + number),
                ),
                number,
                seconds,
            )
            for number, seconds in enumerate(moments)
        ]
        for task, seconds in zip(tasks, moments, strict=True):
            result = task.result()
            counts[f"{result.stage} ({result.victim})"] += 1
            bad += bool(result.faults)
            told = "; ".join(result.faults[:5]) or "the same bytes, nothing done twice, no orphan"
            print(
                f"{result.number}: {seconds:.1f} s, {result.victim} in {result.stage}, {result.entries} entries: {told}",
                flush=True,
            )
    print(f"{asked.kills} kills, {bad} with a fault" + "".join(f"\n  {n:3} {name}" for name, n in counts.most_common()))
    if not bad:
        shutil.rmtree(folder)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
