"""The rows of the tables as types: one dataclass for each schema, whose fields are its columns."""

from collections.abc import Iterable, Sequence
from dataclasses import Field, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol, TypeVar

import pyarrow as pa

from pipeline.errors import Reason, TableError
from pipeline.flags import Flagged
from pipeline.tables import schemas
from pipeline.tables.frames import Frames
from pipeline.tables.io import read, sequences
from pipeline.tables.spoken import Cue, Word

# A cell that holds more than a number or a text: how to make it of what Arrow gives, and back.
FLAGS = {
    "read": lambda texts: tuple(map(Flagged.parse, texts)),
    "write": lambda flags: [str(flagged) for flagged in flags],
}
CUES = {"read": lambda cues: [Cue(**cue) for cue in cues], "write": lambda cues: [vars(cue) for cue in cues]}
WORDS = {"read": lambda words: [Word(**word) for word in words], "write": lambda words: [vars(word) for word in words]}


@dataclass(frozen=True, kw_only=True)
class ClipRow:
    """A clip that can be used, and what its file holds."""

    SCHEMA: ClassVar[pa.Schema] = schemas.CLIPS

    dataset: str
    id: str
    video_id: str
    clip_id: str
    path: str | None = None
    sha256: str | None = None
    start: float | None = None
    end: float | None = None
    seconds: float | None = None
    has_audio: bool = False
    has_vision: bool = False
    fps: float | None = None
    width: int | None = None
    height: int | None = None
    sound_rate: int | None = None
    sound_offset: float | None = None
    frames_declared: int | None = None
    frames_decoded: int | None = None
    corrupt_share: float | None = None
    gap: float | None = None
    status: Literal["ok", "degraded"] = "ok"
    flags: tuple[Flagged, ...] = field(default=(), metadata=FLAGS)

    def has(self, modality: str) -> bool:
        """Whether it has a sound (audio) or a picture (vision)."""
        return self.has_audio if modality == "audio" else self.has_vision


@dataclass(frozen=True, kw_only=True)
class TextRow:
    """What somebody wrote down of a clip."""

    SCHEMA: ClassVar[pa.Schema] = schemas.TEXTS

    dataset: str
    id: str
    language: str
    source: str | None = None
    text: str | None = None
    cues: Sequence[Cue] = field(default=(), metadata=CUES)


@dataclass(frozen=True, kw_only=True)
class LabelRow:
    """A clip's split and labels."""

    SCHEMA: ClassVar[pa.Schema] = schemas.LABELS

    dataset: str
    id: str
    split: str | None = None
    label: float | None = None
    label_T: float | None = None
    label_A: float | None = None
    label_V: float | None = None
    annotation: str | None = None


@dataclass(frozen=True, kw_only=True)
class RefusedRow:
    """A file, a row or a clip that is not used. reason: a code that `Reason.of` reads."""

    SCHEMA: ClassVar[pa.Schema] = schemas.REFUSED

    dataset: str
    file: str
    row: int | None = None
    id: str | None = None
    reason: str
    message: str

    @property
    def kind(self) -> Reason:
        return Reason.of(self.reason)


@dataclass(frozen=True, kw_only=True)
class TranscriptRow:
    """The words of a clip."""

    SCHEMA: ClassVar[pa.Schema] = schemas.TRANSCRIPTS

    id: str
    text: str
    spoken: str
    source: str
    model: str | None = None
    confidence: float | None = None
    no_speech: float | None = None
    heard: str | None = None
    words: Sequence[Word] = field(default=(), metadata=WORDS)
    flags: tuple[Flagged, ...] = field(default=(), metadata=FLAGS)


@dataclass(frozen=True, kw_only=True)
class Tokens:
    """The tokens of a text, each of them in four columns; none of no text. total: how many the whole text has."""

    input_ids: list[int]
    attention_mask: list[int]
    token_type_ids: list[int]
    word: list[int]
    total: int


@dataclass(frozen=True, kw_only=True)
class TokensRow(Tokens):
    """A clip's tokens; none where it has no text."""

    SCHEMA: ClassVar[pa.Schema] = schemas.TOKENS

    id: str


@dataclass(frozen=True)
class FeatureRow:
    """A clip's frames of one modality. reason: why the extraction failed."""

    id: str
    status: Literal["ok", "absent", "failed"]
    frames: Frames
    reason: str | None = None


class Row(Protocol):
    """A dataclass with the schema of its table."""

    SCHEMA: ClassVar[pa.Schema]
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]


R = TypeVar("R", bound=Row)


def read_rows(row: type[R], source: Path | pa.Table, clip: str | None = None) -> list[R]:
    """A table as rows; of one clip alone where its id is given. Raises TableError where a column is missing or damaged."""
    table = source if isinstance(source, pa.Table) else read(source, clip=clip)
    told = source if isinstance(source, Path) else "The table"
    if missing := [each.name for each in fields(row) if each.name not in table.column_names]:
        raise TableError(f"{told} lacks {', '.join(missing)} of {row.__name__}. Make it again with: dvc repro")
    names = [each.name for each in fields(row)]
    columns = []
    for each in fields(row):
        cells, make = table[each.name].to_pylist(), each.metadata.get("read")
        columns.append([make(cell) for cell in cells] if make else cells)
    return [row(**dict(zip(names, cells, strict=True))) for cells in zip(*columns, strict=True)]


def table_of(row: type[R], rows: Iterable[R]) -> pa.Table:
    """The inverse of `read_rows`."""
    columns: dict[str, list[object]] = {name: [] for name in row.SCHEMA.names}
    write = {each.name: each.metadata.get("write") for each in fields(row)}
    for one in rows:
        for name, column in columns.items():
            cell, make = getattr(one, name), write[name]
            column.append(make(cell) if make else cell)
    return pa.Table.from_pydict(columns, schema=row.SCHEMA)


def feature_table(rows: Sequence[FeatureRow], width: int) -> pa.Table:
    """Rows of features of this width, as features_schema has them."""
    frames = [row.frames for row in rows]
    return pa.table(
        {
            "id": [row.id for row in rows],
            "status": [row.status for row in rows],
            "reason": [row.reason for row in rows],
            "flags": [[str(flagged) for flagged in found.flags] for found in frames],
            "n_frames": [len(found.times) for found in frames],
            "times": [found.times for found in frames],
            "mask": [found.mask for found in frames],
            "x": sequences((found.x for found in frames), width),
        },
        schema=schemas.features_schema(width),
    )


class Owned(Protocol):
    """A row that says whose data set it is of."""

    @property
    def dataset(self) -> str: ...


O = TypeVar("O", bound=Owned)  # noqa: E741


def grouped(rows: Iterable[O]) -> dict[str, list[O]]:
    """Rows by data set, in order of its name."""
    found: dict[str, list[O]] = {}
    for row in rows:
        found.setdefault(row.dataset, []).append(row)
    return dict(sorted(found.items()))
