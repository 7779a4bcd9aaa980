"""What the demo's clips say, how and by whom: drawn from a seed before anything is made."""

from dataclasses import dataclass

import numpy as np

from pipeline.demo import sentences
from pipeline.demo.voice import VOICES
from pipeline.errors import DatasetError

CLIPS_A_VIDEO = 5
FEWEST_CLIPS = 6  # three videos, one a split, each with a positive and a negative clip
SHARES = {"valid": 0.15, "test": 0.25}  # of the videos; the rest trains
AGREEMENT = 0.75  # how often a modality follows the clip's mood instead of going its own way
WITHHELD = 5  # one clip in so many has no text in label.csv
STRETCH = 1.2  # a mean of three is smaller than its parts


@dataclass(frozen=True)
class Clip:
    """One sentence and the sentiments, in [-3, 3], that its text, voice and face carry."""

    clip_id: str
    sentence: str
    text: int
    voice: float
    face: float
    seed: int

    @property
    def label(self) -> float:
        return label(self.text, self.voice, self.face)


@dataclass(frozen=True)
class Video:
    """Clips of one speaker, all in one split. `speaker` counts from 0."""

    video_id: str
    speaker: int
    mode: str
    clips: tuple[Clip, ...]


def label(text: float, voice: float, face: float) -> float:
    """The multimodal label: 1.2 (0.4 text + 0.3 voice + 0.3 face), to one decimal, clipped to [-3, 3]."""
    return _decimal(STRETCH * (0.4 * text + 0.3 * voice + 0.3 * face))


def draw(clips: int, seed: int) -> list[Video]:
    """So many clips in videos of about five. Every split has a video, every video a positive and a negative clip.

    Raises DatasetError for fewer than 6 clips.
    """
    if clips < FEWEST_CLIPS:
        raise DatasetError(f"A demo of {clips} clips cannot be split in three. Ask for at least {FEWEST_CLIPS}.")
    rng = np.random.default_rng(seed)
    count = max(len(SHARES) + 1, round(clips / CLIPS_A_VIDEO))
    modes = _modes(count, rng)
    sizes = [len(part) for part in np.array_split(np.arange(clips), count)]
    return [_video(number, mode, size, rng) for number, (mode, size) in enumerate(zip(modes, sizes, strict=True))]


def withheld(clips: int, seed: int) -> set[int]:
    """Which clips, counted over all videos, have no text in label.csv."""
    order = np.random.default_rng([seed, 1]).permutation(clips)
    return set(order[: round(clips / WITHHELD)].tolist())


def _modes(count: int, rng: np.random.Generator) -> list[str]:
    held_out = [mode for mode, share in SHARES.items() for _ in range(max(1, round(share * count)))]
    return [str(mode) for mode in rng.permutation(held_out + ["train"] * (count - len(held_out)))]


def _video(number: int, mode: str, size: int, rng: np.random.Generator) -> Video:
    speaker = number % len(VOICES)
    signs = [1, -1] + [0] * (size - 2)
    clips = tuple(_clip(str(index + 1), sign, rng) for index, sign in enumerate(signs))
    return Video(f"s{speaker + 1}-{number + 1:03d}", speaker, mode, clips)


def _clip(clip_id: str, sign: int, rng: np.random.Generator) -> Clip:
    """A clip whose label has this sign; 0: any."""
    while True:
        mood = rng.uniform(-3, 3)
        following = mood + rng.normal(0, 0.5, 3)
        drawn = np.where(rng.random(3) < AGREEMENT, following, rng.uniform(-3, 3, 3))
        text, voice, face = round(_decimal(drawn[0])), _decimal(drawn[1]), _decimal(drawn[2])
        clip = Clip(clip_id, sentences.write(text, rng), text, voice, face, int(rng.integers(2**31)))
        if sign == 0 or clip.label * sign > 0:
            return clip


def _decimal(sentiment: float) -> float:
    """To one decimal, in [-3, 3], never -0.0."""
    return min(max(round(float(sentiment), 1), -3.0), 3.0) + 0.0
