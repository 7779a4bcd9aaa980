"""Whether a microphone turned a sound over (RESKEW: Drugman 2013, "Residual excitation skewness for automatic speech polarity detection")."""

import numpy as np
from scipy.signal import butter, sosfiltfilt

from pipeline.audio.covarep.blocks import HOP, Sound
from pipeline.audio.covarep.residual import WINDOW, inverse_filtered
from pipeline.media import SAMPLE_RATE

ORDER = SAMPLE_RATE // 1000 + 2
VOCAL_TRACT = 480  # Hz, above which the glottal source hardly shows


def sign(sound: Sound) -> int:
    """1 where the derivative of the flow falls furthest at the closures; -1 where the microphone turned the sound over.

    Of the residual, and of the rough glottal source that the prediction of the high-passed sound leaves, the residual is
    skewed more.
    """
    high_pass = butter(2, VOCAL_TRACT, "highpass", fs=SAMPLE_RATE, output="sos")
    moments = []
    for block in sound.blocks():
        padded = np.pad(block.x, WINDOW)
        left = [inverse_filtered(x, padded, ORDER) for x in (padded, sosfiltfilt(high_pass, padded))]
        start = WINDOW + block.own.start * HOP if block.own.start else 0
        end = None if block.last else WINDOW + block.own.stop * HOP
        moments.append([_moments(x[start:end]) for x in left])
    residual, source = (_skewness(of_blocks) for of_blocks in np.swapaxes(np.array(moments), 0, 1))
    return 1 if source <= residual else -1


def _moments(x: np.ndarray) -> tuple[float, float, float, float]:
    """How many, their mean, and the means of the squares and cubes of what is left."""
    centred = x - x.mean()
    square = centred * centred
    return len(x), x.mean(), square.mean(), (square * centred).mean()


def _skewness(moments: np.ndarray) -> float:
    """Of the blocks' moments (B, 4) together; 0 of silence."""
    counts, means, squares, cubes = moments.T
    shares = counts / counts.sum()
    apart = means - shares @ means
    power = shares @ (squares + apart**2)
    return float(shares @ (cubes + 3 * apart * squares + apart**3) / power**1.5) if power > 0 else 0.0
