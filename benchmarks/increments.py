"""What a change costs: `dvc repro` of many tiny clips, whole, then with nothing changed, a clip added, a label edited, a
clip removed, and an earlier parameter again.

    python -m benchmarks.increments              1,000 clips: twenty minutes on two cores
    python -m benchmarks.increments --clips 100

Clips are half a second of picture and tone, of different bytes and with a label each; the project, with a cache of its
own, is made in a temporary folder. `assemble` is asked for, with all before it; at the end the whole graph, with two
epochs of late fusion on no text, twice: the second time nothing is due. Counted are the files in data/ and in DVC's
cache that are new or rewritten, and their bytes: what is written. DVC hashes what is rewritten in data/, and no more.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from model.training.hyper import merged
from pipeline import assets, paths
from report.tables import Table, markdown

ROOT = Path(__file__).parents[1]
DATASET = "made"
STAMP = tuple[int, int, int]  # inode, time of the last change, bytes


@dataclass(frozen=True)
class Cost:
    name: str
    seconds: float
    cpu: float
    written: dict[str, STAMP]  # by path


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.increments",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--clips", type=int, default=1000, help="default: 1000")
    clips = parser.parse_args().clips
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder)
        _make(project, clips)
        print(markdown([_table(clips, list(_costs(project, clips)))]))


def _costs(project: Path, clips: int) -> Iterator[Cost]:
    raw, labels = project / paths.RAW / DATASET, project / paths.RAW / DATASET / "label.csv"
    yield _repro(project, "full", "assemble")
    yield _repro(project, "nothing changed", "assemble")
    _clip(raw / f"v{clips // 2:05d}b" / "0.mp4", project / "clip.mp4", clips)
    _label(labels, f"v{clips // 2:05d}b", 1.0)
    yield _repro(project, "one clip added", "assemble")
    labels.write_text(labels.read_text().replace("v00003,0,word 3,", "v00003,0,word 3,-", 1))
    yield _repro(project, "one label edited", "assemble")
    shutil.rmtree(raw / f"v{clips // 3:05d}")
    labels.write_text(
        "".join(line for line in labels.read_text().splitlines(True) if not line.startswith(f"v{clips // 3:05d},"))
    )
    yield _repro(project, "one clip removed", "assemble")
    _set(project / paths.PARAMS, {"audio": {"extractor": "mfcc"}})
    yield _repro(project, "another audio extractor", "assemble")
    _set(project / paths.PARAMS, {"audio": {"extractor": "covarep"}})
    yield _repro(project, "the first one back", "assemble")
    yield _repro(project, "the rest of the graph", "")
    yield _repro(project, "whole graph, nothing changed", "")


def _repro(project: Path, name: str, target: str) -> Cost:
    before, used, start = _stamps(project), _cpu(), time.perf_counter()
    command = [sys.executable, "-m", "dvc", "repro", "--quiet", *filter(None, [target])]
    done = subprocess.run(command, cwd=project, env=_environment(), capture_output=True, text=True)  # noqa: S603  our own command
    seconds = time.perf_counter() - start
    if done.returncode:
        raise SystemExit(f"{name}: {done.stdout}\n{done.stderr}")
    after = _stamps(project)
    print(f"increments: {name}: {seconds:.1f} s", file=sys.stderr, flush=True)
    return Cost(
        name, seconds, _cpu() - used, {path: stamp for path, stamp in after.items() if before.get(path) != stamp}
    )


def _table(clips: int, costs: list[Cost]) -> Table:
    header = (
        "`dvc repro`",
        "seconds",
        "of the full run",
        "CPU s",
        "files written in data/",
        "MB",
        "in DVC's cache",
        "MB",
        "in the clip cache",
    )
    rows = []
    for cost in costs:
        places = {"data/": [], ".dvc/cache": [], ".dvc/tmp": []}
        for path, (_, _, size) in cost.written.items():
            for place, sizes in places.items():
                if path.startswith(place):
                    sizes.append(size)
        ours, dvcs, entries = places.values()
        counts = (str(len(ours)), f"{sum(ours) / 1e6:.2f}", str(len(dvcs)), f"{sum(dvcs) / 1e6:.2f}", str(len(entries)))
        rows.append(
            (cost.name, f"{cost.seconds:.1f}", f"{cost.seconds / costs[0].seconds:.1%}", f"{cost.cpu:.1f}", *counts)
        )
    return Table(f"What a change costs, of {clips:,} clips", header, rows)


def _stamps(project: Path) -> dict[str, STAMP]:
    found: dict[str, STAMP] = {}
    for place in ("data", ".dvc/cache", ".dvc/tmp/rawmsa"):
        for folder, _, files in os.walk(project / place):
            for name in files:
                file = Path(folder, name)
                told = file.stat()
                if not folder.startswith(str(project / paths.RAW)) and not name.endswith(".sha256"):
                    found[file.relative_to(project).as_posix()] = (told.st_ino, told.st_mtime_ns, told.st_size)
    return found


def _make(project: Path, clips: int) -> None:
    """A project of its own, of this code and its parameters, save that one seed of late fusion is all that is trained."""
    for name in ("app", "model", "pipeline", "report", "stages"):
        (project / name).symlink_to(ROOT / name)
    for name in ("dvc.yaml", "params.yaml"):
        shutil.copy(ROOT / name, project / name)
    shutil.copytree(ROOT / paths.NETWORKS, project / paths.NETWORKS)
    _set(project / paths.network("lf"), {"values": {"rawmsa": {"defaults": {"fit": {"max_epochs": 2}}}}})
    _set(project / paths.PARAMS, {"train": {"seeds": {"default": [1111]}}})
    _replace(project, "train", "networks", {"lf": {"preset": "plain", "values": "rawmsa"}})
    environment = _environment()
    for command in (["git", "init", "-q"], [sys.executable, "-m", "dvc", "init", "-q"]):
        subprocess.run(command, cwd=project, env=environment, check=True)  # noqa: S603  our own commands
    raw = project / paths.RAW / DATASET
    raw.mkdir(parents=True)
    tone = [
        "-f",
        "lavfi",
        "-i",
        "testsrc=size=96x96:rate=10:duration=0.6",
        "-f",
        "lavfi",
        "-i",
        "sine=frequency=200:duration=0.6",
    ]
    subprocess.run([assets.ffmpeg(), "-v", "error", *tone, "-shortest", project / "clip.mp4"], check=True)  # noqa: S603  our own command
    (raw / "label.csv").write_text("video_id,clip_id,text,label,mode\n")
    for number in range(clips):
        _clip(raw / f"v{number:05d}" / "0.mp4", project / "clip.mp4", number)
        _label(raw / "label.csv", f"v{number:05d}", 1 + number % 3)


def _clip(target: Path, source: Path, number: int) -> None:
    """The same picture and sound in other bytes: an MP4 box of free space at the end."""
    target.parent.mkdir()
    text = f"{number:08d}".encode()
    target.write_bytes(source.read_bytes() + (8 + len(text)).to_bytes(4, "big") + b"free" + text)


def _label(file: Path, name: str, value: float) -> None:
    number = int("".join(filter(str.isdigit, name)))
    mode = ("train", "train", "valid", "test")[number % 4]
    with file.open("a") as labels:
        labels.write(f"{name},0,word {number},{value},{mode}\n")


def _set(file: Path, changes: dict[str, Any]) -> None:
    """Other values in a file of parameters."""
    file.write_text(yaml.safe_dump(merged(yaml.safe_load(file.read_text()), changes), sort_keys=False))


def _replace(project: Path, block: str, key: str, value: Any) -> None:
    file = project / paths.PARAMS
    values = yaml.safe_load(file.read_text())
    values[block][key] = value
    file.write_text(yaml.safe_dump(values, sort_keys=False))


def _cpu() -> float:
    """Seconds of all ended children."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _environment() -> dict[str, str]:
    """This installation's python first in the path, a clip cache in the project, no dvc around it."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("DVC_", "RAWMSA_"))}
    return {**kept, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


if __name__ == "__main__":
    main()
