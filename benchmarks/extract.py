"""What extraction costs on real clips: each part alone, the stages end to end, how they scale, what they hold.

    python -m benchmarks.extract FOLDER                 ten minutes of the folder's videos, repeated under other names
    python -m benchmarks.extract FOLDER --flat 1000     memory of a process over so many clips
    python -m benchmarks.extract FOLDER --hour          one clip of an hour through ingest, audio and vision

Parts run alone in a fresh process each, warm (imports, models and compiled loops loaded by a first clip). The stages run
as `dvc repro` runs them, in a project and with a clip cache of their own, with the parameters of params.yaml and no
transcripts, so that every clip is heard. Efficiency is the sum of the parts over the processor time of the stages, less
what the stages take for a clip a worker that lasts a moment: their start-up, told apart. Time needs an otherwise idle machine.
"""

import argparse
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import chdir
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from pipeline import assets, feature_shards, features, media, params, paths, tables
from pipeline.execution import workers
from pipeline.tables.frames import Clip
from report.tables import Table, markdown

ROOT = Path(__file__).parents[1]
DATASET = "made"
SUFFIXES = (".mp4", ".mpg", ".mkv", ".avi", ".mov", ".webm")
STAGES = ("ingest", "transcribe", "text", "audio", "vision")
MOMENT = 0.6  # seconds of a clip that is start-up and little else
HOUR = 3599  # seconds: ingest's limits allow less than 3,600
NOTED = 100  # clips from one note of the memory to the next


@dataclass(frozen=True)
class Part:
    """One part over these clips: (path, seconds) each."""

    name: str
    clips: list[tuple[Path, float]]


@dataclass(frozen=True)
class Ran:
    """One process with its children: peak is of the largest."""

    seconds: float
    cpu: float
    peak_mib: float


def main() -> None:
    options = _options()
    found = [(path, duration(path)) for path in sorted(options.folder.rglob("*")) if path.suffix in SUFFIXES]
    if not found:
        raise SystemExit(f"{options.folder} holds no {', '.join(SUFFIXES)}. Name a folder of videos.")
    with tempfile.TemporaryDirectory() as folder:
        if options.flat:
            made = [_flat(found, options.flat)]
        elif options.hour:
            made = [_hour(found, Path(folder))]
        else:
            made = list(_costs(_repeated(found, options.minutes * 60, Path(folder)), Path(folder), options.runs))
    print(markdown(made))


def _costs(clips: list[tuple[Path, float]], folder: Path, runs: int) -> Iterator[Table]:
    seconds = sum(length for _, length in clips)
    parts = {name: statistics.median(_alone(name, clips) for _ in range(runs)) for name in PARTS}
    rows = [(name, f"{cpu:.1f}", f"{seconds / cpu:.0f}") for name, cpu in parts.items()]
    about = f"{len(clips)} clips, {seconds / 60:.1f} minutes of video; medians of {runs}. {machine()}"
    yield Table("Each part alone, in one process", ("part", "CPU s", "video s a CPU second"), rows, about)

    of_stage = {stage: sum(parts[name] for name in names) for stage, names in MADE_OF.items()}
    rows, totals = [], {}
    for count in (1, 2):
        moments = stages(_project(folder / f"moment{count}", [_moment(clips, folder, n) for n in range(count)], count))
        ran = [
            stages(_project(folder / f"run{count}-{run}", [path for path, _ in clips], count)) for run in range(runs)
        ]
        whole = {stage: _median([one[stage] for one in ran]) for stage in STAGES}
        for stage in STAGES:
            net, least = whole[stage].cpu - moments[stage].cpu, of_stage.get(stage, 0.0)
            told = f"{least / net:.2f}" if least else "–"
            rows.append((stage, str(count), *_told(whole[stage]), f"{moments[stage].cpu:.1f}", f"{least:.1f}", told))
        totals[count] = sum(one.seconds for one in whole.values())
        cpu, start = (sum(one.cpu for one in some.values()) for some in (whole, moments))
        peak = max(one.peak_mib for one in whole.values())
        least = sum(of_stage.values())
        rows.append(
            (
                "all",
                str(count),
                *_told(Ran(totals[count], cpu, peak)),
                f"{start:.1f}",
                f"{least:.1f}",
                f"{least / (cpu - start):.2f}",
            )
        )
    speeds = ", ".join(f"{seconds / wall:.2f} with {count} worker{'s' * (count > 1)}" for count, wall in totals.items())
    note = f"Seconds of video a second: {speeds}; the second worker makes it {totals[1] / totals[2]:.2f} times as fast. {about}"
    header = (
        "stage",
        "workers",
        "seconds",
        "CPU s",
        "peak of a process, MiB",
        "of the CPU s start-up",
        "the parts alone",
        "efficiency",
    )
    yield Table("The stages end to end", header, rows, note)
    yield _landmarks(clips, seconds)


def _landmarks(clips: list[tuple[Path, float]], seconds: float) -> Table:
    """Vision's own work beside decoding and the bare model, over the same frames, two processes each."""
    halves = [clips[0::2], clips[1::2]]
    rows = [(name, *(f"{value:.1f}" for value in _beside([Part(name, half) for half in halves]))) for name in TOGETHER]
    ratio = float(rows[0][1]) / float(rows[1][1])
    note = f"The stage's speed is {ratio:.2f} of that of decoding and the bare model. {seconds / 60:.1f} minutes of video. {machine()}"
    return Table("Landmarks, two processes", ("work", "seconds", "CPU s"), rows, note)


def _alone(name: str, clips: list[tuple[Path, float]]) -> float:
    return _beside([Part(name, clips)])[1]


def _beside(tasks: list[Part]) -> tuple[float, float]:
    """The longest of these parts' seconds, and the sum of their CPU seconds; each in a process of its own."""
    found = []
    for outcome in workers.run(_measured, tasks, title=tasks[0].name, workers=len(tasks), threads=1, limits=None):
        if outcome.value is None:
            raise SystemExit(outcome.failure and outcome.failure.trace)
        found.append(outcome.value)
    return max(wall for wall, _ in found), sum(cpu for _, cpu in found)


def _measured(part: Part) -> tuple[float, float]:
    work = PARTS.get(part.name) or TOGETHER[part.name]
    with chdir(ROOT):
        work(part.clips[:1])
        wall, cpu = 0.0, 0.0
        for clip in part.clips:
            seconds, used = work([clip])
            wall, cpu = wall + seconds, cpu + used
    return wall, cpu


def _timed(work: Callable[[], Any]) -> tuple[float, float]:
    """Seconds, and CPU seconds of this process and its ended children."""
    start, before = time.perf_counter(), sum(os.times()[:4])
    work()
    return time.perf_counter() - start, sum(os.times()[:4]) - before


def _decode(clips: list[tuple[Path, float]]) -> tuple[float, float]:
    def work() -> None:
        for path, _ in clips:
            with media.open(path) as container:
                for frame in container.decode():
                    del frame

    return _timed(work)


def _frames(clips: list[tuple[Path, float]]) -> tuple[float, float]:
    return _timed(lambda: [_sampled(*clip) for clip in clips])


def _model(clips: list[tuple[Path, float]]) -> tuple[float, float]:
    shown = [_sampled(*clip) for clip in clips]
    return _timed(lambda: [_detected(images) for images in shown])


def _bare(clips: list[tuple[Path, float]]) -> tuple[float, float]:
    return _timed(lambda: [_detected(_sampled(*clip)) for clip in clips])


def _extracted(clips: list[tuple[Path, float]]) -> tuple[float, float]:
    recipe = features.recipe("vision", params.load("vision", features.Params))
    return _timed(lambda: [recipe.extract(Clip(path, None, None, seconds)) for path, seconds in clips])


def _sampled(path: Path, seconds: float) -> list[tuple[int, np.ndarray]]:
    """Milliseconds and picture of each frame that vision looks at."""
    fps = _landmark_params().fps
    times = np.arange(int(np.ceil(seconds * fps))) / fps
    found: list[tuple[int, np.ndarray]] = []
    for at, image in zip(times, media.frames(path, times), strict=True):
        if image is not None and not (found and found[-1][1] is image):
            found.append((round(at * 1000), image))
    return found


def _detected(images: list[tuple[int, np.ndarray]]) -> None:
    from pipeline.vision import landmarks

    with landmarks.detector(_landmark_params()) as detect:
        for at, image in images:
            detect(image, at)


def _landmark_params() -> Any:
    return features.recipe("vision", params.load("vision", features.Params)).params


def _sound(clips: list[tuple[Path, float]]) -> tuple[float, float]:
    return _timed(lambda: [media.sound(path) for path, _ in clips])


def _covarep(clips: list[tuple[Path, float]]) -> tuple[float, float]:
    from pipeline.audio.covarep import analysis

    sounds = [media.sound(path) for path, _ in clips]
    return _timed(lambda: [analysis.analyse(sound) for sound in sounds])


def _egemaps(clips: list[tuple[Path, float]]) -> tuple[float, float]:
    from pipeline.audio.egemaps import _smile

    sounds = [media.sound(path) for path, _ in clips]
    return _timed(lambda: [_smile("eGeMAPSv02").process_signal(sound, media.SAMPLE_RATE) for sound in sounds])


def _heard(clips: list[tuple[Path, float]]) -> tuple[float, float]:
    from pipeline.transcribe import recogniser

    options = params.load("transcribe", recogniser.Params)
    sounds = [media.sound(path) for path, _ in clips]
    return _timed(lambda: [recogniser.hear(sound, "en", options, 1) for sound in sounds])


def _parquet(clips: list[tuple[Path, float]]) -> tuple[float, float]:
    """Of frames as smooth as features are, at 100 Hz x 74 and 15 Hz x 262."""
    rng, records = np.random.default_rng(0), {74: [], 262: []}
    for width, rate in ((74, 100), (262, 15)):
        for path, seconds in clips:
            x = np.cumsum(rng.normal(size=(int(seconds * rate), width)), axis=0).astype(np.float32)
            frames = tables.Frames(np.arange(len(x)) / rate, x, np.ones(len(x), bool))
            records[width].append({"id": path.name, "status": "ok", "reason": None, "frames": frames})

    def work() -> None:
        with tempfile.TemporaryDirectory() as folder:
            for width, some in records.items():
                tables.write(Path(folder) / f"{width}.parquet", feature_shards.table(some, width))

    return _timed(work)


PARTS: dict[str, Callable[[list[tuple[Path, float]]], tuple[float, float]]] = {
    "decode every frame and sample": _decode,
    "decode, convert the sampled frames": _frames,
    "landmark model on these": _model,
    "sound by ffmpeg": _sound,
    "COVAREP-like": _covarep,
    "openSMILE (eGeMAPS)": _egemaps,
    "recogniser": _heard,
    "Parquet of both features": _parquet,
}
MADE_OF = {
    "ingest": ("decode every frame and sample",),
    "transcribe": ("sound by ffmpeg", "recogniser"),
    "audio": ("sound by ffmpeg", "COVAREP-like"),
    "vision": ("decode, convert the sampled frames", "landmark model on these", "Parquet of both features"),
}
TOGETHER = {"decode and bare model": _bare, "what the stage does of a clip": _extracted}


def stages(project: Path) -> dict[str, Ran]:
    """Every stage up to the features, one after the other. Raises SystemExit where one fails."""
    return {stage: _stage(project, stage) for stage in STAGES}


def _stage(project: Path, stage: str) -> Ran:
    return process([sys.executable, "-m", "stages", stage], project, _environment(project))[0]


def process(command: list[str], folder: Path, environment: dict[str, str]) -> tuple[Ran, str]:
    """What a command costs with all its children, and what it prints. Raises SystemExit where it fails."""
    start = time.perf_counter()
    with subprocess.Popen(  # noqa: S603  our own command
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as ran:
        told = ran.stdout.read().decode() if ran.stdout else ""
        _, status, used = os.wait4(ran.pid, 0)
        ran.returncode = os.waitstatus_to_exitcode(status)
    if ran.returncode:
        raise SystemExit(f"{' '.join(command)}: {told}")
    return Ran(time.perf_counter() - start, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024), told


def _median(ran: list[Ran]) -> Ran:
    return Ran(*(statistics.median(getattr(one, name) for one in ran) for name in ("seconds", "cpu", "peak_mib")))


def _told(ran: Ran) -> tuple[str, str, str]:
    return f"{ran.seconds:.1f}", f"{ran.cpu:.1f}", f"{ran.peak_mib:.0f}"


def _project(project: Path, clips: list[Path], count: int) -> Path:
    """A project of these clips in a temporary folder, with so many workers."""
    for number, path in enumerate(clips):
        target = project / paths.RAW / DATASET / f"v{number:04d}" / f"0{path.suffix}"
        target.parent.mkdir(parents=True)
        target.symlink_to(path.resolve())
    values = yaml.safe_load((ROOT / paths.PARAMS).read_text()) | {"workers": count}
    (project / paths.PARAMS).write_text(yaml.safe_dump(values, sort_keys=False))
    shutil.copytree(ROOT / paths.NETWORKS, project / paths.NETWORKS)
    return project


def _environment(project: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("DVC_", "RAWMSA_"))}
    return {**kept, "PYTHONPATH": str(ROOT), "RAWMSA_CACHE": str(project / "cache")}


def _repeated(found: list[tuple[Path, float]], seconds: float, folder: Path) -> list[tuple[Path, float]]:
    """The clips and copies of them, until there is so much video; bytes of 0 at the end, which no reader minds, part them."""
    made: list[tuple[Path, float]] = []
    for number, (path, length) in enumerate(cycle(found)):
        if sum(each for _, each in made) >= seconds and number >= len(found):
            return made
        copy = folder / f"{number:04d}{path.suffix}"
        copy.write_bytes(path.read_bytes() + bytes(8 * (number // len(found))))
        made.append((copy, length))
    return made


def _moment(clips: list[tuple[Path, float]], folder: Path, number: int) -> Path:
    """A clip of a moment, each of other bytes."""
    target = folder / f"moment{number}.mp4"
    command = [
        assets.ffmpeg(),
        "-v",
        "error",
        "-y",
        "-i",
        clips[number][0],
        "-t",
        str(MOMENT),
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        target,
    ]
    subprocess.run(command, check=True)  # noqa: S603  our own command
    return target


def _flat(found: list[tuple[Path, float]], count: int) -> Table:
    """Resident memory of one process over many clips of a moment."""
    notes: dict[str, list[float]] = {}
    for modality in ("audio", "vision"):
        task = (modality, [path for path, _ in found], count)
        (outcome,) = workers.run(_resident, [task], title=modality, workers=1, threads=1, limits=None)
        if outcome.value is None:
            raise SystemExit(outcome.failure and outcome.failure.trace)
        notes[modality] = outcome.value
    rows = [(str((place + 1) * NOTED), *(f"{notes[m][place]:.0f}" for m in notes)) for place in range(count // NOTED)]
    return Table("Memory of a worker, MiB", ("after clips", *notes), rows, f"Clips of {MOMENT} s. {machine()}")


def _resident(task: tuple[str, list[Path], int]) -> list[float]:
    modality, files, count = task
    notes = []
    with chdir(ROOT):
        recipe = features.recipe(modality, params.load(modality, features.Params))
        for number, path in zip(range(1, count + 1), cycle(files), strict=False):
            recipe.extract(Clip(path, 0.0, MOMENT, MOMENT))
            if number % NOTED == 0:
                status = Path("/proc/self/status").read_text()
                notes.append(int(status.split("VmRSS:")[1].split()[0]) / 1024)
    return notes


def _hour(found: list[tuple[Path, float]], folder: Path) -> Table:
    path, length = max(found, key=lambda clip: clip[1])
    target = folder / f"hour{path.suffix}"
    loop = ("-stream_loop", str(int(3600 / length)), "-i", path, "-c", "copy", "-t", str(HOUR))
    command = [assets.ffmpeg(), "-v", "error", *loop, target]
    subprocess.run(command, check=True)  # noqa: S603  our own command
    project = _project(folder / "hour", [target], 1)
    values = yaml.safe_load((project / paths.PARAMS).read_text())
    values["limits"]["seconds"] = 3600
    (project / paths.PARAMS).write_text(yaml.safe_dump(values, sort_keys=False))
    rows = [(stage, *_told(_stage(project, stage))) for stage in ("ingest", "audio", "vision")]
    header = ("stage", "seconds", "CPU s", "peak of a process, MiB")
    return Table(f"A clip of {duration(target) / 60:.0f} minutes", header, rows, f"{path.name}, looped. {machine()}")


def duration(path: Path) -> float:
    with media.open(path) as container:
        return float((container.duration or 0) / 1_000_000)


def machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    name = next((line.split(": ", 1)[1] for line in lines if line.startswith("model name")), platform.machine())
    return f"{name}, {os.cpu_count()} cores."


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.extract", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="with videos, at any depth")
    parser.add_argument("--minutes", type=float, default=10.0, help="of video, at least; default: 10")
    parser.add_argument("--runs", type=int, default=3, help="of each measurement, whose median is told; default: 3")
    parser.add_argument("--flat", type=int, metavar="CLIPS", help="memory of a process over so many clips, no more")
    parser.add_argument("--hour", action="store_true", help="one clip of an hour, no more")
    return parser.parse_args()


if __name__ == "__main__":
    main()
