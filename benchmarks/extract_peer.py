"""Extraction beside MMSA-FET 0.4.1's, as installed: openSMILE, MediaPipe and BERT over the same clips.

    python -m benchmarks.extract_peer FOLDER               the folder's videos, once
    python -m benchmarks.extract_peer FOLDER --minutes 10  repeated under other names

Both read the same MP4 files with a label and a text each; ours with `audio.extractor: egemaps`, at the peer's 25 frames
a second and at params.yaml's. Every run is fresh: processes, cache, imports and models are counted. Ours decodes each
clip once more for its report, and has blendshapes and head pose besides the landmarks; the peer encodes the text. MMSA-FET lives in a virtual
environment of its own, made at the first use. Time needs an otherwise idle machine.
"""

import argparse
import csv
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import yaml

from benchmarks import extract, peer
from benchmarks.extract import Ran
from pipeline import assets, params, paths, tables
from report.tables import Table, markdown

REQUIREMENTS = (
    *("MMSA-FET==0.4.1", "scenedetect<0.7", "mediapipe==0.10.21", "numpy<2", "pandas<2.3", "pyarrow<20", "scipy<1.15"),
    *("numba<0.61", "transformers<4.50", "torch==2.13.0"),
)
PEER = "MMSA-FET 0.4.1"
RUNNER = Path(__file__).with_name("extract_peer_runner.py")
FPS = 25  # the peer's default
COLUMNS = ("video_id", "clip_id", "text", "label", "label_T", "label_A", "label_V", "annotation", "mode")
TEXT = "the words of a review that somebody speaks to a camera"


def main() -> None:
    options = _options()
    venv = options.venv.resolve()
    peer.install(venv, REQUIREMENTS, "MSA_FET")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips, seconds = _clips(options.folder, options.minutes * 60, folder / "peer")
        print(markdown([_table(list(_runs(folder, venv, options.workers)), clips, seconds)]))


def _runs(folder: Path, venv: Path, several: Sequence[int]) -> Iterator[tuple[str, int, int, Ran]]:
    """Name, frames a second, workers and cost of each. The peer looks for one face."""
    default = params.load("vision", dict[str, Any])["landmarks"]
    for workers in several:
        yield PEER, FPS, workers, _theirs(folder, venv, workers)
        for fps, faces in ((FPS, 1), (FPS, default["max_faces"]), (default["fps"], default["max_faces"])):
            yield (
                f"rawmsa, {faces} face{'s' * (faces > 1)} looked for",
                fps,
                workers,
                _ours(folder, fps, faces, workers),
            )


def _theirs(folder: Path, venv: Path, workers: int) -> Ran:
    out = folder / f"out{workers}"
    (out / "bin").mkdir(parents=True)
    (out / "bin/ffmpeg").symlink_to(assets.ffmpeg())
    asked = {"data": folder / "peer", "encoder": assets.encoder(assets.PACKAGED), "fps": FPS, "workers": workers}
    asked["out"] = out / "features.pkl"
    command = [str(venv / "bin/python"), str(RUNNER)]
    command += [text for name, value in asked.items() for text in (f"--{name}", str(value))]
    environment = {**peer.environment(), "PATH": f"{out / 'bin'}:{os.environ['PATH']}", "PYTHONPATH": ""}
    ran, told = extract.process(command, folder, environment)
    expected = len(list((folder / "peer/Raw").rglob("*.mp4")))
    if f"clips {expected}\n" not in told:  # it leaves out what fails, and exits 0
        raise SystemExit(f"{PEER} did not make features of all {expected} clips: {told[-2000:]}")
    return ran


def _ours(folder: Path, fps: int, faces: int, workers: int) -> Ran:
    project = folder / f"ours-{fps}-{faces}-{workers}"
    shutil.copytree(folder / "peer/Raw", project / paths.RAW / "made")
    shutil.copy(folder / "peer/label.csv", project / paths.RAW / "made/label.csv")
    values = yaml.safe_load(paths.PARAMS.read_text()) | {"workers": workers}
    values["audio"]["extractor"] = "egemaps"
    values["vision"]["landmarks"].update(fps=fps, max_faces=faces)
    (project / paths.PARAMS).write_text(yaml.safe_dump(values, sort_keys=False))
    shutil.copytree(paths.NETWORKS, project / paths.NETWORKS)
    ran = list(extract.stages(project).values())
    for modality in ("audio", "vision"):
        made = tables.read(project / paths.features(modality, "made"), columns=["status"])["status"].to_pylist()
        if made != ["ok"] * len(list((project / paths.RAW).rglob("*.mp4"))):
            raise SystemExit(f"rawmsa did not make {modality} features of all clips: {made}")
    return Ran(sum(one.seconds for one in ran), sum(one.cpu for one in ran), max(one.peak_mib for one in ran))


def _table(ran: list[tuple[str, int, int, Ran]], clips: int, seconds: float) -> Table:
    theirs = {workers: one.seconds for name, _, workers, one in ran if name == PEER}
    rows = [
        (
            name,
            str(fps),
            str(workers),
            f"{one.seconds:.1f}",
            f"{one.cpu:.1f}",
            f"{seconds / one.seconds:.2f}",
            f"{theirs[workers] / one.seconds:.2f}",
            f"{one.peak_mib:.0f}",
        )
        for name, fps, workers, one in ran
    ]
    header = (
        "side",
        "frames a second",
        "workers",
        "seconds",
        "CPU s",
        "video s a second",
        "times the peer's speed",
        "peak of a process, MiB",
    )
    note = f"{clips} clips, {seconds:.0f} s of video, start-up counted. {extract.machine()}"
    return Table(f"Extraction beside {PEER}", header, rows, note)


def _clips(source: Path, seconds: float, folder: Path) -> tuple[int, float]:
    """The videos as MP4 in the peer's layout, with a label file that both read. How many, and their seconds."""
    found = sorted(path for path in source.rglob("*") if path.suffix in extract.SUFFIXES)
    made: list[float] = []
    rows = []
    for number, path in enumerate(cycle(found)):
        if number >= len(found) and sum(made) >= seconds:
            break
        target = folder / "Raw" / f"v{number:04d}" / "0.mp4"
        target.parent.mkdir(parents=True)
        command = [assets.ffmpeg(), "-v", "error", "-i", path, "-c", "copy", target]
        subprocess.run(command, check=True)  # noqa: S603  our own command
        target.write_bytes(target.read_bytes() + bytes(8 * (number // len(found))))
        made.append(extract.duration(target))
        mode = ("train", "valid", "test")[number % 3]
        rows.append((target.parent.name, "0", TEXT, 1.0, 1.0, 1.0, 1.0, "Positive", mode))
    with (folder / "label.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    return len(made), sum(made)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.extract_peer",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="with videos, at any depth")
    parser.add_argument("--minutes", type=float, default=0.0, help="of video, at least; default: each clip once")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2], help="default: 1, then 2")
    parser.add_argument(
        "--venv",
        type=Path,
        default=Path(".peer-fet"),
        help=f"MMSA-FET's virtual environment (default: .peer-fet; made with {' '.join(REQUIREMENTS)} where absent)",
    )
    return parser.parse_args()


if __name__ == "__main__":
    main()
