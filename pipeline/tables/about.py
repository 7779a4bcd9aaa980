"""What tables and data sets say of themselves, as types. Fields that another version adds are kept."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from pipeline.errors import TableError
from pipeline.tables.frames import Column
from pipeline.tables.io import metadata, read_json, write_json
from pipeline.tables.schemas import IMPORTED

MOST_FAULTS = 5  # that an error lists


class Metadata(BaseModel):
    """A record that lies in a table's schema or in a JSON file."""

    model_config = ConfigDict(extra="allow", frozen=True)

    def content(self) -> dict[str, object]:
        """As JSON holds it: the fields that were set, in order."""
        return self.model_dump(mode="json", exclude_unset=True)


class DatasetFacts(Metadata):
    """An entry of datasets.json: what a data set is, and what its splits, or it and another data set, share.

    Labels are kept less the neutral one, and so is the label range; `neutral` is what was subtracted.
    """

    language: str
    convention: str
    label_range: tuple[float, float]
    neutral: float = 0.0
    redistribute: bool  # pictures, transcripts and clips may enter the report
    synthetic: bool
    split: str  # where the splits come from: mode, by_video, none
    labelled: bool
    text_only: bool = False
    shared_videos: list[str] = []
    shared_texts: list[str] = []
    shared_contents: list[list[str]] = []  # ids of clips with the same file
    elsewhere: dict[str, list[str]] = {}  # ids, by the data set that holds their files too
    duplicates: list[list[str]] = []  # ids of clips with the same segment of the same file
    notes: list[str] = []  # what of its folder is not read, and what is doubtful, in sentences


class TranscriptMetadata(Metadata):
    """Of data/transcripts/<dataset>.parquet."""

    dataset: str
    language: str


class TokensMetadata(Metadata):
    """Of data/features/text/<dataset>.parquet. extractor: only where the data set brings its token ids; absent: why no clip
    has tokens, where the encoder could not be had."""

    dataset: str = ""
    language: str = ""
    encoder: str
    encoder_sha256: str | None
    vocabulary: int = 0
    max_tokens: int = 0
    extractor: str = ""
    absent: str = ""


class FeatureMetadata(Metadata):
    """Of data/features/<audio or vision>/<dataset>: the extractor and the columns that it makes."""

    modality: str = ""
    extractor: str
    library: str = ""
    asset_sha256: str | None = None
    params: dict[str, JsonValue] = {}
    rate_hz: int | float | None = None
    columns: list[Column]

    @property
    def imported(self) -> bool:
        """True if the data set brings these features."""
        return self.extractor == IMPORTED


class Extraction(Metadata):
    """What each modality of a training table was made by."""

    text: TokensMetadata
    audio: FeatureMetadata
    vision: FeatureMetadata

    def frames(self, modality: str) -> FeatureMetadata:
        """Of audio or vision."""
        return self.audio if modality == "audio" else self.vision


class Statistics(Metadata):
    """Mean and standard deviation of each column of a modality, over the train split."""

    mean: list[float]
    std: list[float]


class Policy(Metadata):
    """The block `assemble` of params.yaml, as the frames of a training table were made with it."""

    aligned: bool = False
    pool: dict[str, int] = Field(default={})
    max_frames: dict[str, int | None] = Field(default={})  # None: all


class TrainingMetadata(Metadata):
    """Of data/tables/<dataset>. columns: names by modality; statistics: by modality, None where nothing is labelled."""

    dataset: str
    convention: str
    label_range: tuple[float, float]  # less neutral, as the labels are
    neutral: float = 0.0  # of the label file
    language: str
    synthetic: bool
    encoder: str
    encoder_sha256: str | None
    columns: dict[str, list[str]]
    statistics: dict[str, Statistics] | None
    extraction: Extraction
    policy: Policy

    def content(self) -> dict[str, object]:
        """As JSON holds it; the extraction's keys in order of name, as in the metadata of the feature files."""
        extraction = {modality: _sorted(told) for modality, told in self.extraction.content().items()}
        return {**super().content(), "extraction": extraction}


def scale(label_range: tuple[float, float], neutral: float) -> str:
    """How labels and predictions of this range are read where they are kept less a neutral label; "" where that is 0."""
    if not neutral:
        return ""
    low, high = label_range
    return (
        f"Labels and predictions are shown from {low:g} to {high:g} with 0 for neutral: the label file's {low + neutral:g} to "
        f"{high + neutral:g} less {neutral:g}. For its scale, {'add' if neutral > 0 else 'subtract'} {abs(neutral):g}."
    )


M = TypeVar("M", bound=Metadata)


def read_metadata(kind: type[M], source: Path | pa.Table) -> M:
    """The metadata of a table, of its file or of its folder. Raises TableError where they are missing or lack a field."""
    return checked(kind, metadata(source), str(source) if isinstance(source, Path) else "The table")


def read_facts(path: Path) -> dict[str, DatasetFacts]:
    """datasets.json, by data set. Raises TableError."""
    found = read_json(path)
    if not isinstance(found, dict):
        raise TableError(f"{path} holds no data sets by name. Make it again with: dvc repro ingest")
    return {name: checked(DatasetFacts, told, f"{path}: {name}") for name, told in found.items()}


def write_facts(path: Path, facts: Mapping[str, DatasetFacts]) -> None:
    write_json(path, {name: told.content() for name, told in facts.items()})


def checked(kind: type[M], found: object, where: str) -> M:
    """What JSON holds as a type. where: what an error names. Raises TableError."""
    try:
        return kind.model_validate(found)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg'][0].lower()}{fault['msg'][1:]}"
            for fault in error.errors()[:MOST_FAULTS]
        )
        raise TableError(
            f"{where} does not describe itself as this version expects: {faults}. Make it again with: dvc repro"
        ) from None


def _sorted(content: object) -> dict[str, object]:
    found: dict[str, object] = json.loads(json.dumps(content, sort_keys=True))
    return found
