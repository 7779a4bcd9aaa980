"""What could make landmarks cheaper, and how far they then lie from those of today.

    python -m benchmarks.extract_trials FOLDER                    other settings of the model, on the folder's videos
    python -m benchmarks.extract_trials FOLDER --sides 1080 2160  pictures made smaller before the model sees them, on the
                                                                  videos scaled up to so many pixels on the shorter side

Frames are sampled as vision.landmarks.fps says. CPU time is of this process, one thread, less what MediaPipe spends on
Python objects for its results. Errors are against the settings of params.yaml on the same frames: of the 478 points in
the picture, as a share of the distance between the outer eye corners; of the blendshapes (0 to 1); of the head's angles.
Settings go by turns, so that other work on the machine falls on all of them alike.
"""

import argparse
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import extract
from pipeline import assets, features, media, params
from pipeline.execution.processes import use_threads
from pipeline.vision import landmarks
from report.tables import Table, markdown

LARGEST = (1080, 720, 512, 360, 256)  # pixels on the longer side that the model is shown
HEADER = (
    *("CPU ms a frame", "of today's", "frames without the face", "points, mean", "points, p95"),
    *("blendshapes, mean", "head, mean"),
)


@dataclass(frozen=True)
class Setting:
    """How the model is asked. prepare: the clip's frames -> those it is shown; restore: points in shares of the shown
    picture, and its (width, height) -> in shares of the original."""

    name: str
    options: dict[str, Any]
    step: int = 1  # every step-th frame is looked at, those between are interpolated
    prepare: Callable[[np.ndarray], np.ndarray] = np.ascontiguousarray
    restore: Callable[[np.ndarray, tuple[int, int]], np.ndarray] = lambda points, size: points


@dataclass
class Seen:
    """One clip's face: NaN where there is none."""

    points: np.ndarray  # (frames, 478, 2) pixels of the original
    blendshapes: np.ndarray  # (frames, 52)
    angles: np.ndarray  # (frames, 3) radians


class Clock:
    """CPU seconds of what runs under it, less those of results made into Python objects; by run."""

    def __init__(self) -> None:
        self.spent, self.objects = 0.0, 0.0
        self.runs: list[float] = []

    def end(self) -> None:
        """A run ends."""
        self.runs.append(self.spent)
        self.spent = 0.0

    @property
    def median(self) -> float:
        return statistics.median(self.runs)

    @contextmanager
    def on(self) -> Iterator[None]:
        from mediapipe.tasks.python.vision.face_landmarker import FaceLandmarkerResult as Result

        made = Result.from_ctypes

        def timed(c_struct: Any) -> Any:
            start = time.process_time()
            result = made(c_struct)
            self.objects += time.process_time() - start
            return result

        Result.from_ctypes = timed
        start, before = time.process_time(), self.objects
        try:
            yield
        finally:
            self.spent += time.process_time() - start - (self.objects - before)
            Result.from_ctypes = made


def main() -> None:
    options = _options()
    use_threads(1)
    files = [path for path in sorted(options.folder.rglob("*")) if path.suffix in extract.SUFFIXES]
    if not files:
        raise SystemExit(f"{options.folder} holds no {', '.join(extract.SUFFIXES)}. Name a folder of videos.")
    if options.sides:
        with tempfile.TemporaryDirectory() as folder:
            print(markdown([_smaller(files, side, Path(folder), options.runs) for side in options.sides]))
    else:
        print(markdown([_settings(files, options.runs)]))


def _settings(files: list[Path], runs: int) -> Table:
    today = _today()
    trials = [
        Setting("as in params.yaml", today),
        Setting("one face looked for", today | {"num_faces": 1}),
        Setting("no blendshapes", today | {"output_face_blendshapes": False}),
        Setting(
            "no blendshapes, no head pose",
            today | {"output_face_blendshapes": False, "output_facial_transformation_matrixes": False},
        ),
        Setting("each frame alone (IMAGE mode)", today | {"running_mode": _mode("IMAGE")}),
        Setting("every second frame, the rest interpolated", today, step=2),
        Setting("every third frame, the rest interpolated", today, step=3),
        Setting("(a yardstick) the picture moved by one pixel", today, prepare=_moved, restore=_moved_back),
    ]
    clocks = {trial.name: Clock() for trial in trials}
    found: dict[str, list[Seen]] = {}
    count = 0
    for _ in range(runs):
        found, count = {trial.name: [] for trial in trials}, 0
        for path in files:
            images = [image for _, image in extract._sampled(path, extract.duration(path))]
            count += len(images)
            for trial in trials:
                found[trial.name].append(_seen(images, trial, clocks[trial.name]))
        for clock in clocks.values():
            clock.end()
    first = trials[0].name
    rows = [_row(name, clocks[name].median, clocks[first].median, found[name], found[first], count) for name in found]
    objects = clocks[first].objects / runs / count * 1000
    note = (
        f"{len(files)} clips, {count:,} frames, medians of {runs}; the same points move {_motion(found[first]):.2f} % from one frame to the next. "
        f"Python objects of the results, left out: {objects:.1f} ms a frame. {extract.machine()}"
    )
    return Table("Other settings of the landmark model", ("setting", *HEADER), rows, note)


def _smaller(files: list[Path], side: int, folder: Path, runs: int) -> Table:
    """Decoding is left out: it costs the same whatever is made of the frames."""
    clips = [_scaled(path, side, folder) for path in files]
    sizes: list[int | None] = [None, *LARGEST]
    clocks = {size: (Clock(), Clock()) for size in sizes}  # of converting, of the model
    found: dict[int | None, list[Seen]] = {}
    count = 0
    for _ in range(runs):
        found, count = {size: [] for size in sizes}, 0
        for path in clips:
            for size in sizes:
                found[size].append(_shrunk(path, size, *clocks[size]))
            count += len(found[None][-1].points)
        for converting, model in clocks.values():
            converting.end()
            model.end()
    spent = {size: sum(clock.median for clock in both) for size, both in clocks.items()}
    rows = []
    for size in sizes:
        name = f"at most {size} pixels" if size else "full size"
        row = _row(name, spent[size], spent[None], found[size], found[None], count)
        rows.append((row[0], f"{clocks[size][0].median / count * 1000:.1f}", *row[1:]))
    note = (
        f"{len(files)} clips, {count:,} frames, medians of {runs}. CPU of conversion to RGB (with the scaling) and model. "
        f"{extract.machine()}"
    )
    return Table(
        f"Pictures made smaller, {side} pixels on the shorter side",
        ("picture", "of it conversion", *HEADER),
        rows,
        note,
    )


def _seen(images: list[np.ndarray], setting: Setting, clock: Clock) -> Seen:
    shown = [setting.prepare(image) for image in images[:: setting.step]]
    results = []
    with _landmarker(setting.options) as detect, clock.on():
        for place, image in enumerate(shown):
            results.append(detect(image, place * setting.step))
    height, width = images[0].shape[:2]
    seen = _read(results, (width, height), setting, shown[0].shape[1::-1])
    return _interpolated(seen, setting.step, len(images)) if setting.step > 1 else seen


def _shrunk(path: Path, largest: int | None, converting: Clock, model: Clock) -> Seen:
    from av.video.reformatter import VideoReformatter

    scaler = VideoReformatter()
    results: list[Any] = []
    setting = Setting("", _today())
    width = height = 0
    with media.open(path) as container, _landmarker(setting.options) as detect:
        container.streams.video[0].thread_type = "NONE"
        due, step = 0.0, 1 / _fps()
        for frame in container.decode(video=0):
            if frame.time < due - 0.001:
                continue
            due += step
            width, height = frame.width, frame.height
            share = min(1.0, largest / max(width, height)) if largest else 1.0
            start = time.process_time()
            small = scaler.reformat(
                frame,
                width=round(width * share),
                height=round(height * share),
                format="rgb24",
                interpolation="AREA",
                threads=1,
            )
            image = np.ascontiguousarray(small.to_ndarray())
            converting.spent += time.process_time() - start
            with model.on():
                results.append(detect(image, len(results)))
    return _read(results, (width, height), setting, (width, height))


@contextmanager
def _landmarker(options: dict[str, Any]) -> Iterator[Callable[[np.ndarray, int], Any]]:
    """(image, number of the frame) -> MediaPipe's result."""
    from mediapipe import Image, ImageFormat
    from mediapipe.tasks.python import vision

    made = vision.FaceLandmarkerOptions(**options)
    step, alone = (
        1000 / _fps(),
        options["running_mode"] is _mode("IMAGE"),
    )  # here: params.yaml is read, which takes 20 ms
    with landmarks._quiet(), vision.FaceLandmarker.create_from_options(made) as model:

        def detect(image: np.ndarray, number: int) -> Any:
            shown = Image(image_format=ImageFormat.SRGB, data=image)
            return model.detect(shown) if alone else model.detect_for_video(shown, round(number * step))

        yield detect


def _read(results: list[Any], size: tuple[int, int], setting: Setting, shown: tuple[int, int]) -> Seen:
    """The largest face of each result."""
    seen = Seen(
        np.full((len(results), landmarks.MESH, 2), np.nan),
        np.full((len(results), 52), np.nan),
        np.full((len(results), 3), np.nan),
    )
    for place, result in enumerate(results):
        faces = [np.array([(p.x, p.y) for p in face]) for face in result.face_landmarks]
        if not faces:
            continue
        face = max(range(len(faces)), key=lambda each: float(np.ptp(faces[each], axis=0).prod()))
        seen.points[place] = setting.restore(faces[face], shown) * size
        if result.face_blendshapes:
            seen.blendshapes[place] = [shape.score for shape in result.face_blendshapes[face]]
        if result.facial_transformation_matrixes:
            pose = np.asarray(result.facial_transformation_matrixes[face])[:3, :3]
            seen.angles[place] = landmarks.angles(pose / np.linalg.norm(pose, axis=0))
    return seen


def _interpolated(seen: Seen, step: int, count: int) -> Seen:
    """Linear in time; behind the last frame that was looked at, it stays."""
    at, known = np.arange(count), np.arange(len(seen.points)) * step

    def between(x: np.ndarray) -> np.ndarray:
        flat = x.reshape(len(x), -1)
        made = np.stack([np.interp(at, known, column) for column in flat.T], axis=1)
        return made.reshape(count, *x.shape[1:])

    return Seen(between(seen.points), between(seen.blendshapes), between(seen.angles))


def _row(name: str, spent: float, today: float, found: list[Seen], true: list[Seen], count: int) -> tuple[str, ...]:
    points = np.concatenate([_apart(x.points, y.points, y.points) for x, y in zip(found, true, strict=True)])
    shapes, angles = (
        np.concatenate([np.abs(getattr(x, what) - getattr(y, what)) for x, y in zip(found, true, strict=True)])
        for what in ("blendshapes", "angles")
    )
    lost = sum(
        int(np.isnan(x.points[~np.isnan(y.points[:, 0, 0]), 0, 0]).sum()) for x, y in zip(found, true, strict=True)
    )
    known = points[~np.isnan(points[:, 0])]
    return (
        name,
        f"{spent / count * 1000:.1f}",
        f"{spent / today:.2f}",
        str(lost),
        f"{known.mean():.2f} %",
        f"{np.percentile(known, 95):.2f} %",
        _mean(shapes, "{:.4f}"),
        _mean(np.rad2deg(angles), "{:.2f}°"),
    )


def _mean(x: np.ndarray, form: str) -> str:
    return "–" if np.isnan(x).all() else form.format(np.nanmean(x))


def _apart(points: np.ndarray, others: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """(frames, 478) distances in percent of that between the outer eye corners of `scale`."""
    eyes = np.linalg.norm(scale[:, landmarks.EYES[0]] - scale[:, landmarks.EYES[1]], axis=-1)
    return np.linalg.norm(points - others, axis=-1) / eyes[:, None] * 100


def _motion(found: list[Seen]) -> float:
    return float(np.nanmean(np.concatenate([_apart(x.points[1:], x.points[:-1], x.points[:-1]) for x in found])))


def _moved(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image[1:, 1:])


def _moved_back(points: np.ndarray, shown: tuple[int, int]) -> np.ndarray:
    return (points * shown + 1) / (np.array(shown) + 1)


def _scaled(path: Path, side: int, folder: Path) -> Path:
    target = folder / f"{side}-{path.stem}.mp4"
    size = f"scale='if(gt(iw,ih),-2,{side})':'if(gt(iw,ih),{side},-2)':flags=bicubic"
    command = [assets.ffmpeg(), "-v", "error", "-y", "-i", str(path), "-an", "-vf", size]
    command += ["-c:v", "libx264", "-preset", "ultrafast", "-crf", "16", str(target)]
    subprocess.run(command, check=True)  # noqa: S603  our own command
    return target


def _today() -> dict[str, Any]:
    """The options that landmarks.detector makes of params.yaml."""
    from mediapipe.tasks.python import BaseOptions

    asked = _params()
    return {
        "base_options": BaseOptions(model_asset_path=str(assets.landmark_model())),
        "running_mode": _mode("VIDEO"),
        "num_faces": asked.max_faces,
        "min_face_detection_confidence": asked.min_confidence,
        "min_face_presence_confidence": asked.min_confidence,
        "min_tracking_confidence": asked.min_confidence,
        "output_face_blendshapes": True,
        "output_facial_transformation_matrixes": True,
    }


def _mode(name: str) -> Any:
    from mediapipe.tasks.python import vision

    return vision.RunningMode[name]


def _params() -> Any:
    return features.recipe("vision", params.load("vision", features.Params)).params


def _fps() -> float:
    return float(_params().fps)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.extract_trials",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="with videos, at any depth")
    parser.add_argument("--sides", type=int, nargs="+", default=[], help="of the scaled videos, pixels")
    parser.add_argument("--runs", type=int, default=3, help="of each measurement, whose median is told; default: 3")
    return parser.parse_args()


if __name__ == "__main__":
    main()
