"""One shard of a training table: its clips' rows of the stages' tables, and their shaped frames."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline import paths, tables
from pipeline.assemble.shaping import Shaped, Spoken, cut, shaped, shaped_names
from pipeline.assemble.statistics import moments
from pipeline.errors import TableError
from pipeline.flags import Flagged
from pipeline.tables import ClipRow, Column, Extraction, Frames, LabelRow, Policy, TokensRow

FRAMES = ("audio", "vision")


@dataclass(frozen=True)
class Recipe:
    """What all shards of a data set share. columns: of the extractors, by modality."""

    extraction: Extraction
    policy: Policy

    def columns(self, modality: str) -> list[Column]:
        """What the extractor makes."""
        return self.extraction.frames(modality).columns

    def names(self, modality: str) -> list[str]:
        """The columns of the training table."""
        return shaped_names(self.columns(modality))


@dataclass(frozen=True)
class Part:
    """The rows of one shard's clips in the stages' tables. features: its feature files by modality."""

    clips: Sequence[ClipRow]
    labels: Sequence[LabelRow]
    tokens: pa.Table
    words: pa.Table
    spoken: Sequence[Spoken]
    features: dict[str, Path]

    def told(self) -> dict[str, object]:
        """What of it decides the shard, beside its frames."""
        names = ("split", "label", *tables.UNIMODAL.values())
        return {
            "clips": [[clip.id, clip.video_id] for clip in self.clips],
            "labels": [[getattr(row, name) for name in names] for row in self.labels],
            "tokens": [self.tokens[name].to_pylist() for name in ("input_ids", "total")],
            "words": self.words["text"].to_pylist(),
            "spoken": [[spoken.said, spoken.word] for spoken in self.spoken],
        }


def shard(part: Part, recipe: Recipe) -> tuple[pa.Table, dict[str, object]]:
    """A shard, and what is noted of it: which modalities have frames, and the moments of its training clips' frames."""
    train = [index for index, row in enumerate(part.labels) if row.split == "train"]
    shapes = {modality: _frames(part, recipe, modality) for modality in FRAMES}
    sequences = {modality: [each.x for each in found] for modality, found in shapes.items()}
    flags = [
        [*cut(row), *(flagged for found in shapes.values() for flagged in found[index].flags)]
        for index, row in enumerate(tables.read_rows(TokensRow, part.tokens))
    ]
    widths = {modality: len(recipe.names(modality)) for modality in FRAMES}
    found = {m: moments([sequences[m][index] for index in train], widths[m]) for m in FRAMES}
    about = {
        "frames": {m: any(len(x) for x in sequences[m]) for m in FRAMES},
        "moments": {m: each.content() for m, each in found.items()},
    }
    return _table(part, sequences, widths, flags), about


def others(folder: Path, modality: str) -> TableError:
    return TableError(f"{folder} holds other clips than {paths.CLIPS}. Make it anew with: dvc repro {modality}")


def _frames(part: Part, recipe: Recipe, modality: str) -> list[Shaped]:
    """A modality's shaped frames in the order of the clips."""
    file, made = part.features[modality], recipe.extraction.frames(modality)
    table = tables.read(file)
    if [clip.id for clip in part.clips] != table["id"].to_pylist():
        raise others(file.parent, modality)
    found = (_cell(table, index) for index in range(len(table)))
    return [shaped(cell, modality, made, recipe.policy, one) for cell, one in zip(found, part.spoken, strict=True)]


def _cell(table: pa.Table, index: int) -> Frames:
    """One clip's frames as the extractor gave them."""
    times, mask = (table[column][index].values.to_numpy(zero_copy_only=False) for column in ("times", "mask"))
    return Frames(times, tables.sequence(table["x"][index]), mask.astype(bool))


def _table(
    part: Part, sequences: dict[str, list[np.ndarray]], widths: dict[str, int], flags: list[list[Flagged]]
) -> pa.Table:
    content = {
        "id": [clip.id for clip in part.clips],
        "video_id": [clip.video_id for clip in part.clips],
        "split": [row.split for row in part.labels],
        **{name: [getattr(row, name) for row in part.labels] for name in ("label", *tables.UNIMODAL.values())},
        "transcript": part.words["text"],
        "input_ids": part.tokens["input_ids"],
        **{m: tables.sequences(sequences[m], width) for m, width in widths.items() if width},
        "flags": [list(map(str, found)) for found in flags],
    }
    return pa.table(content, schema=tables.training_schema(widths))
