"""Training tables of made data in the shapes of CMU-MOSI and CMU-MOSEI: what an epoch costs, not what it learns.

Token ids and frames are noise; labels follow neither. Token lengths are drawn as the real transcripts have them
(mean 15.4, 90 % up to 27, at most 50); every clip has all the frames of the field's unaligned files.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline import assets, tables

TOKENS = (3, 50)
LENGTHS = (2.2, 6.3)  # shape and scale of the gamma distribution beyond [CLS] and [SEP]
VOCABULARY = (1000, 30000)  # ids of words
CLS, SEP = 101, 102
CHUNK = 64  # clips at a time


@dataclass(frozen=True)
class Shape:
    """Clips by split, and (frames, columns) by modality."""

    clips: Mapping[str, int]
    frames: Mapping[str, tuple[int, int]]


SHAPES = {
    "mosi": Shape({"train": 1284, "valid": 229, "test": 686}, {"audio": (375, 5), "vision": (500, 20)}),
    "mosei": Shape({"train": 16326, "valid": 1871, "test": 4659}, {"audio": (500, 74), "vision": (500, 35)}),
}


def write(name: str, folder: Path) -> None:
    """The table of SHAPES[name] at `folder`, as assemble would have written it."""
    shape = SHAPES[name]
    widths = {modality: columns for modality, (_, columns) in shape.frames.items()}
    tables.write_table(folder, _chunks(shape, tables.training_schema(widths)), _metadata(name, shape))


def _chunks(shape: Shape, schema: pa.Schema) -> Iterator[pa.Table]:
    rng = np.random.default_rng(0)
    splits = [split for split, count in shape.clips.items() for _ in range(count)]
    for start in range(0, len(splits), CHUNK):
        some = splits[start : start + CHUNK]
        frames = {m: tables.sequences(_noise(rng, len(some), size), size[1]) for m, size in shape.frames.items()}
        ids = [f"v{place:05d}/1" for place in range(start, start + len(some))]
        content = {
            "id": ids,
            "video_id": [id.split("/")[0] for id in ids],
            "split": some,
            "label": rng.integers(-15, 16, len(some)) / 5,
            **dict.fromkeys(tables.UNIMODAL.values(), [None] * len(some)),
            "transcript": [""] * len(some),
            "input_ids": [_tokens(rng) for _ in some],
            "flags": [[]] * len(some),
        }
        yield pa.table({**content, **frames}, schema=schema)


def _noise(rng: np.random.Generator, clips: int, size: tuple[int, int]) -> Iterator[np.ndarray]:
    return (rng.standard_normal(size, np.float32) for _ in range(clips))


def _tokens(rng: np.random.Generator) -> list[int]:
    length = int(np.clip(2 + rng.gamma(*LENGTHS), *TOKENS))
    return [CLS, *rng.integers(*VOCABULARY, length - 2).tolist(), SEP]


def _metadata(name: str, shape: Shape) -> dict[str, Any]:
    nothing = {"extractor": "made"}
    return {
        "dataset": name,
        "convention": "mosi",
        "label_range": [-3.0, 3.0],
        "language": "en",
        "synthetic": True,
        "encoder": assets.PACKAGED,
        "encoder_sha256": assets.encoder_sha256(assets.PACKAGED),
        "columns": {m: [f"{m}_{i}" for i in range(columns)] for m, (_, columns) in shape.frames.items()},
        "statistics": {
            m: {"mean": [0.0] * columns, "std": [1.0] * columns} for m, (_, columns) in shape.frames.items()
        },
        "extraction": {"text": nothing, "audio": nothing, "vision": nothing},
        "policy": {"aligned": False, "pool": {"audio": 1, "vision": 1}, "max_frames": {"audio": None, "vision": None}},
    }
