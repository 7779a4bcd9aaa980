"""Tiny videos, made in milliseconds: a moving gradient and a steady tone."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np

SOUND_RATE = 16_000
SOUND_BLOCK = 1024  # samples an AAC frame holds


def make(
    path: Path,
    seconds: float = 1.0,
    fps: int = 25,
    size: tuple[int, int] = (64, 48),
    audio: bool = True,
    video: bool = True,
    tone: float = 220.0,
    colour: int = 0,
) -> Path:
    """Writes H.264 and AAC to `path` (folders are made); its extension chooses the container. Equal arguments, equal bytes.

    seconds: the length of either track (a frame's worth more of sound at most); size: width and height in
    pixels, even; tone: Hz, 0 for silence; colour: added to the pixels, so that two clips differ in content.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", options={"fflags": "+bitexact"}) as container:
        if video:
            shown = container.add_stream("libx264", rate=fps, options={"preset": "ultrafast"})
            shown.width, shown.height, shown.pix_fmt = *size, "yuv420p"
        if audio:
            heard = container.add_stream("aac", rate=SOUND_RATE, layout="mono")
        if video:
            for picture in [*_pictures(round(seconds * fps), size, colour), None]:
                container.mux(shown.encode(picture))
        if audio:
            for block in [*_sounds(round(seconds * SOUND_RATE), tone), None]:
                container.mux(heard.encode(block))
    return path


def _pictures(count: int, size: tuple[int, int], colour: int) -> list[av.VideoFrame]:
    width, height = size
    ramp = np.add.outer(np.arange(height), np.arange(width))  # (H, W)
    pictures = []
    for index in range(count):
        grey = ((ramp + 4 * index + colour) % 256).astype(np.uint8)
        picture = av.VideoFrame.from_ndarray(np.repeat(grey[:, :, None], 3, axis=2), format="rgb24")
        picture.pts = index
        pictures.append(picture.reformat(format="yuv420p"))
    return pictures


def _sounds(count: int, tone: float) -> list[av.AudioFrame]:
    samples = 0.3 * np.sin(2 * np.pi * tone * np.arange(count) / SOUND_RATE)
    blocks = []
    for start in range(0, count, SOUND_BLOCK):
        block = samples[None, start : start + SOUND_BLOCK].astype(np.float32)  # (1, at most SOUND_BLOCK)
        frame = av.AudioFrame.from_ndarray(block, "fltp", "mono")
        frame.sample_rate, frame.pts, frame.time_base = SOUND_RATE, start, Fraction(1, SOUND_RATE)
        blocks.append(frame)
    return blocks
