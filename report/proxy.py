"""A clip as a small film for a web page: H.264 and AAC in MP4, which every browser plays; equal clips, equal bytes."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np

from pipeline import media
from pipeline.errors import MediaError, Reason

Row = dict[str, Any]  # of tables.CLIPS

FPS = 15
WIDTH = 320  # pixels at most
BLOCK = 1024  # samples that an AAC frame holds
SOUND_BITS = 48_000  # a second
# More threads may give other bytes, and so may the macroblock tree (docs/decisions.md).
PICTURE = {"preset": "veryfast", "crf": "28", "threads": "1", "x264-params": "mbtree=0"}


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
