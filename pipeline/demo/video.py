"""Write one clip: H.264 and AAC in MP4, the same bytes every time."""

from collections.abc import Iterable
from pathlib import Path

import av
import numpy as np


def write(path: Path, frames: Iterable[np.ndarray], side: int, fps: int, sound: np.ndarray, rate: int) -> None:
    """frames: RGB uint8 (side, side, 3); sound: (N,) float32 in [-1, 1]. One encoder thread: more give other bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="mp4", options={"fflags": "+bitexact"}) as container:
        picture = container.add_stream("libx264", rate=fps, options={"preset": "veryfast", "crf": "23", "threads": "1"})
        picture.width = picture.height = side
        picture.pix_fmt = "yuv420p"
        track = container.add_stream("aac", rate=rate, layout="mono")
        track.bit_rate = 64_000
        for image in frames:
            container.mux(picture.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(picture.encode(None))
        samples = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
        samples.sample_rate = rate
        container.mux(track.encode(samples))
        container.mux(track.encode(None))
