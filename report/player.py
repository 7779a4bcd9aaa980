"""What a page needs to play a clip: its words, tracks and landmarks as numbers that JSON holds, on the clip's time axis.

report/web/player.js draws them; the report and the served page share both.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NotRequired, TypedDict

import numpy as np

from pipeline.assemble import align
from pipeline.tables import Word
from pipeline.vision import landmarks
from report.tracks import Modality

LONGEST = 3000  # values of a track; a longer one is thinned
COVAREP = ("MCEP_0", "NAQ", "Rd")  # beside F0
OTHERS = ("Loudness_sma3", "HNRdBACF_sma3nz", "rms", "spectral_centroid")  # where the extractor was another
MOUTH, SMILE, BROWS = "mouth opening", "smile", "brows raised"
PLACES = 1000  # of a picture's width and height: landmarks are integers


class Track(TypedDict):
    """values: one per time, None for what is not known."""

    name: str
    unit: str
    values: list[float | None]


class Frames(TypedDict):
    """present: the stretches of time in which a voice or a face is there."""

    times: list[float]
    tracks: list[Track]
    present: list[tuple[float, float]]


class Landmarks(TypedDict):
    """points: for each frame x and y by turns of the 68 points, in thousandths of the picture's width and height; None
    where there is no face."""

    times: list[float]
    points: list[list[int] | None]


class Faces(Frames):
    """landmarks: None where the features do not tell."""

    landmarks: Landmarks | None


class Playable(TypedDict):
    """words: each with its start and end, None where that is not known; film: the modality that it shows, None: no film."""

    seconds: float
    timed: bool
    words: list[tuple[str, float | None, float | None]]
    audio: Frames | None
    vision: Faces | None
    film: NotRequired[str | None]


def content(
    seconds: float,
    words: Sequence[Word],
    audio: Modality | None,
    vision: Modality | None,
    size: tuple[int, int] | None,
) -> Playable:
    """size: the picture's width and height in pixels; None: unknown."""
    return {
        "seconds": _time(seconds),
        "timed": align.timed(words),
        "words": [(word.word, _known(word.start), _known(word.end)) for word in words],
        "audio": None if audio is None else _frames(audio, list(_voice(audio)), audio.voiced),
        "vision": None
        if vision is None
        else {**_frames(vision, list(_face(vision)), vision.there), "landmarks": _landmarks(vision, size)},
    }


def _frames(found: Modality, tracks: Sequence[tuple[str, str, np.ndarray]], present: np.ndarray | None) -> Frames:
    step = -(-len(found.times) // LONGEST)
    return {
        "times": [_time(time) for time in found.times[::step]],
        "tracks": [{"name": name, "unit": unit, "values": _numbers(values[::step])} for name, unit, values in tracks],
        "present": [] if present is None else list(_stretches(found.times, present)),
    }


def _voice(audio: Modality) -> Iterator[tuple[str, str, np.ndarray]]:
    if (f0 := audio.f0) is not None:
        yield "F0", "Hz, voiced", f0 if audio.voiced is None else np.where(audio.voiced, f0, np.nan)
    units = {column.name: column.unit for column in audio.columns}
    for name in (*COVAREP, *OTHERS):
        if (values := audio.column(name)) is not None:
            yield name.split("_sma3")[0], re.split(r",| \(", units[name])[0], values  # without its range and paper


def _face(vision: Modality) -> Iterator[tuple[str, str, np.ndarray]]:
    if (mouth := vision.mouth) is not None:
        yield MOUTH, "eye distances", mouth
    smiles = [smile for side in ("Left", "Right") if (smile := vision.column(f"mouthSmile{side}")) is not None]
    if smiles:
        yield SMILE, "0 to 1", np.mean(smiles, axis=0)
    if (brows := vision.column("browInnerUp")) is not None:
        yield BROWS, "0 to 1", brows


def _landmarks(vision: Modality, size: tuple[int, int] | None) -> Landmarks | None:
    if size is None:
        return None
    points = landmarks.placed(vision.x, [column.name for column in vision.columns], size)
    if points is None:
        return None
    there = np.isfinite(points).all(axis=(1, 2))
    places = np.round(np.where(there[:, None, None], points, 0) * PLACES).astype(int).reshape(len(points), -1)
    found = [row.tolist() if known else None for row, known in zip(places, there, strict=True)]
    return {"times": [_time(time) for time in vision.times], "points": found}


def _stretches(times: np.ndarray, present: np.ndarray) -> Iterator[tuple[float, float]]:
    """The first and last moment of each run of frames in which it is there."""
    step = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    edges = np.flatnonzero(np.diff(np.concatenate([[False], present, [False]]).astype(int)))
    for first, after in edges.reshape(-1, 2):
        yield _time(times[first]), _time(times[after - 1] + step)


def _time(seconds: float) -> float:
    """To the millisecond."""
    return round(float(seconds), 3)


def _known(seconds: float | None) -> float | None:
    return None if seconds is None else _time(seconds)


def _numbers(values: np.ndarray) -> list[float | None]:
    return [_number(value) for value in values.tolist()]


def _number(value: float | None) -> float | None:
    """Of four digits; None for what is not known."""
    return None if value is None or not np.isfinite(value) else float(f"{value:.4g}")
