"""The clips whose u-labels part most from the m-label (the paper's Figure 5), and what they look like."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipeline import media
from pipeline.errors import MediaError
from pipeline.tables import MODALITIES
from report.facts import Dataset, Row

THUMBNAIL = 160  # pixels wide
TEXT_SHOWN = 240  # characters of a transcript


@dataclass(frozen=True)
class Example:
    """One clip: its m-label, what stands beside it (its u-labels), and what may be shown of it."""

    id: str
    label: float
    values: dict[str, float]  # by name
    transcript: str | None
    picture: str | None  # a data URI


@dataclass(frozen=True)
class Gallery:
    """Clips shown side by side."""

    caption: str
    examples: list[Example]


def parting(ulabels: Sequence[Row], labels: dict[str, Row], count: int) -> list[Row]:
    """The `count` clips with the largest |u-label - m-label| in any modality, the largest first."""

    def distance(row: Row) -> float:
        return max((abs(row[name] - labels[row["id"]]["label"]) for name in known(row)), default=0.0)

    return sorted(ulabels, key=lambda row: (-distance(row), row["id"]))[:count]


def known(row: Row) -> list[str]:
    """The modalities that a clip has a u-label for."""
    return [name for name in MODALITIES if row[name] is not None]


def example(data: Dataset, row: Row, shown: bool, thumbnails: bool) -> Example:
    return Example(
        id=row["id"],
        label=data.labels[row["id"]]["label"],
        values={name: row[name] for name in known(row)},
        transcript=spoken(data, row["id"]) if shown else None,
        picture=thumbnail(data.clips[row["id"]]) if shown and thumbnails else None,
    )


def spoken(data: Dataset, clip: str) -> str:
    """What was said as it was written or heard; empty where nobody knows."""
    return str(data.transcripts.get(clip, {}).get("spoken", ""))


def shortened(text: str) -> str:
    return text if len(text) <= TEXT_SHOWN else f"{text[:TEXT_SHOWN]}…"


def thumbnail(clip: Row) -> str | None:
    """The clip's middle frame as a small JPEG in a data URI; None where none can be read."""
    if not clip["has_vision"] or clip["path"] is None:
        return None
    middle = np.array([(clip["seconds"] or 0.0) / 2])
    try:
        frame = next(media.frames(Path(clip["path"]), middle, clip["start"], clip["end"]), None)
    except MediaError:
        return None
    return None if frame is None else f"data:image/jpeg;base64,{base64.b64encode(_jpeg(frame)).decode()}"


def _jpeg(frame: np.ndarray) -> bytes:
    """(H, W, 3) RGB -> a JPEG of THUMBNAIL pixels' width."""
    from PIL import Image

    height = max(1, round(frame.shape[0] * THUMBNAIL / frame.shape[1]))
    out = io.BytesIO()
    Image.fromarray(frame).resize((THUMBNAIL, height)).save(out, "JPEG", quality=80)
    return out.getvalue()
