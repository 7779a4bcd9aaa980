"""A clip as a small film for a web page: H.264 and AAC in MP4, which every browser plays; equal clips, equal bytes."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np

from pipeline import media, params
from pipeline.errors import MediaError, Reason
from pipeline.execution import cache, workers

Row = dict[str, Any]  # of tables.CLIPS
Task = tuple[Row, str]  # and its key in the cache

VERSION = 1  # of what is written
FPS = 15
WIDTH = 320  # pixels at most
BLOCK = 1024  # samples that an AAC frame holds
SOUND_BITS = 48_000  # a second
# More threads may give other bytes, and so may the macroblock tree (docs/decisions.md).
PICTURE = {"preset": "veryfast", "crf": "28", "threads": "1", "x264-params": "mbtree=0"}


def made(clips: Sequence[Row]) -> dict[str, Path]:
    """The films of these clips by id, each made once; a clip whose film cannot be made has none, and that is said."""
    keys = {row["id"]: _key(row) for row in clips if row["path"] and (row["has_audio"] or row["has_vision"])}
    store = cache.Store("proxy")
    store.remember({"version": VERSION}, list(keys.values()))
    missing = {keys[row["id"]]: row for row in clips if row["id"] in keys and store.find(keys[row["id"]]) is None}
    tasks = [(row, key) for key, row in missing.items()]
    limits = params.load("limits", params.Limits).model_copy(update={"max_failed_fraction": 1.0})
    outcomes = workers.run(
        _make, tasks, title="report", workers=params.workers(), threads=params.threads(), limits=limits
    )
    for outcome in outcomes:
        if outcome.failure:
            print(f"report: {tasks[outcome.index][0]['id']} has no film on the page: {outcome.failure.message}")
    return {clip: store.path(key) for clip, key in keys.items() if store.path(key).exists()}


def write(out: Path, clip: Row) -> None:
    """The film of a clip: at most WIDTH wide, FPS frames a second. Raises MediaError."""
    path, start, end = Path(clip["path"]), clip["start"], clip["end"]
    sound = media.sound(path, start, end) if clip["has_audio"] else np.zeros(0, np.float32)
    pictures = _pictures(path, clip) if clip["has_vision"] else iter(())
    first = next(pictures, None)
    if first is None and not len(sound):
        raise MediaError(Reason.NO_PICTURE, f"{path.name} has no frame that can be shown, and no sound.")
    with av.open(str(out), "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        shown: Any = _picture_track(container, first) if first is not None else None
        heard: Any = _sound_track(container) if len(sound) else None
        said = 0
        for index, image in enumerate(pictures if first is None else chain([first], pictures)):
            container.mux(shown.encode(_frame(image, shown, index)))
            while said < min(
                len(sound), (index + 1) * media.SAMPLE_RATE / FPS
            ):  # side by side, so that seeking is quick
                container.mux(heard.encode(_block(sound, said)))
                said += BLOCK
        for position in range(said, len(sound), BLOCK):
            container.mux(heard.encode(_block(sound, position)))
        for track in filter(None, (shown, heard)):
            container.mux(track.encode(None))


def _make(task: Task) -> None:
    """In a worker: one film into the cache."""
    clip, key = task
    with cache.Store("proxy").put(key) as part:
        write(part, clip)


def _key(clip: Row) -> str:
    told = ("sha256", "start", "end", "seconds", "has_audio", "has_vision")
    return cache.key(version=VERSION, av=av.__version__, **{name: clip[name] for name in told})


def _pictures(path: Path, clip: Row) -> Iterator[np.ndarray]:
    """A frame for each 1/FPS seconds; where there is none, the one before it, or the first. None at all: nothing."""
    times = np.arange(max(1, int(np.ceil(clip["seconds"] * FPS)))) / FPS
    last, waiting = None, 0
    for image in media.frames(path, times, clip["start"], clip["end"]):
        last = last if image is None else image
        if last is None:
            waiting += 1
            continue
        for _ in range(waiting + 1):
            yield last
        waiting = 0


def _picture_track(container: Any, first: np.ndarray) -> Any:
    height, width = first.shape[:2]
    scale = min(1.0, WIDTH / width)
    track = container.add_stream("libx264", rate=FPS, options=PICTURE)
    track.width, track.height = (max(2, round(side * scale / 2) * 2) for side in (width, height))
    track.pix_fmt = "yuv420p"
    return track


def _sound_track(container: Any) -> Any:
    track = container.add_stream("aac", rate=media.SAMPLE_RATE, layout="mono")
    track.bit_rate = SOUND_BITS
    return track


def _frame(image: np.ndarray, track: Any, index: int) -> Any:
    frame = av.VideoFrame.from_ndarray(image, format="rgb24")
    frame = frame.reformat(width=track.width, height=track.height, format="yuv420p")
    frame.pts, frame.time_base = index, Fraction(1, FPS)
    return frame


def _block(sound: np.ndarray, position: int) -> Any:
    block = av.AudioFrame.from_ndarray(sound[None, position : position + BLOCK], format="fltp", layout="mono")
    block.sample_rate, block.pts, block.time_base = media.SAMPLE_RATE, position, Fraction(1, media.SAMPLE_RATE)
    return block
