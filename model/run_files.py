"""The files of a run's folder, and its record, which needs no torch to be read."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from model.training.hyper import Hyper
from pipeline import tables
from pipeline.blocks import flat
from pipeline.errors import TableError
from pipeline.tables import FeatureMetadata, Policy, Statistics

RUN = "run.json"
WEIGHTS = "weights.safetensors"
PUBLISHED, PUBLISHED_WEIGHTS = "config.json", "model.safetensors"  # as hubs name them, in a folder of `rawmsa publish`
CURVES = "curves.csv"
ULABELS = "ulabels.parquet"
PREDICTIONS = "predictions.parquet"
CONTRIBUTIONS = "contributions.parquet"
FRAMES = ("audio", "vision")
MOST_FAULTS = 5  # that an error lists
DERIVED = ("statistics", "encoder_config", "columns", "changes")  # long, or contained in other fields


class _Record(BaseModel):
    """Fields that a newer version adds are kept."""

    model_config = ConfigDict(extra="allow", frozen=True, allow_inf_nan=False)


class ValidScores(_Record):
    """Scores on the validation split in the best epoch.

    heads: the correlation of each unimodal output with the label; empty in records of older versions.
    """

    loss: float
    mae: float
    corr: float | None
    heads: dict[str, float | None] = {}


class Setup(_Record):
    """Everything that decides a run: what its training table says of itself, its parameters and its versions.

    columns: names by modality; statistics: by modality; extraction: the metadata of each modality's feature file;
    label_range: less `neutral`, which was subtracted from the labels of the label file, as outputs are;
    encoder_config: of a text encoder that is trained along; vectors_sha256: of token
    vectors that are not trained; preset, values, block, changes: where hyper comes from (hyper.merged);
    text_width: columns of a token's vector, 0 where no clip has text.
    """

    dataset: str
    convention: str
    label_range: tuple[float, float]
    neutral: float = 0.0
    language: str
    synthetic: bool
    encoder: str
    encoder_sha256: str | None
    columns: dict[str, list[str]]
    statistics: dict[str, Statistics]
    extraction: dict[str, dict[str, Any]]
    policy: Policy
    encoder_config: dict[str, JsonValue] | None
    network: str
    seed: int
    preset: str
    values: str
    block: str
    changes: dict[str, JsonValue]
    hyper: Hyper
    threads: int
    processes: int
    precision: str
    versions: dict[str, str]
    vectors_sha256: str | None
    text_width: int

    @property
    def name(self) -> str:
        """As in data/runs."""
        return f"{self.dataset}/{self.network}-{self.seed}"

    @property
    def widths(self) -> dict[str, int]:
        """Columns of a frame of audio and vision; 0 where the run takes none."""
        return {modality: len(self.columns.get(modality, [])) for modality in FRAMES}

    @property
    def max_tokens(self) -> int:
        """Tokens that a clip has at most."""
        return int(self.extraction["text"]["max_tokens"])

    def recorded(self, modality: str) -> FeatureMetadata:
        """The extractor of audio or vision and its columns, before they were shaped for the network. Raises TableError."""
        return tables.checked(FeatureMetadata, self.extraction[modality], f"{self.name}: extraction.{modality}")


class RunRecord(Setup):
    """run.json: what decided a run, and what became of it.

    weights, key: only in data/runs; whether the folder holds the weights, and the run's key in the cache. settings: only in a
    folder of `rawmsa publish`; what predicting takes besides the run (app/settings.py).
    """

    best_epoch: int
    epochs: int
    valid: ValidScores
    weights_sha256: str = "none"  # in records of older versions
    weights: bool = False
    key: str = ""
    settings: dict[str, JsonValue] | None = None

    @property
    def parameters(self) -> dict[str, JsonValue]:
        """Everything that decided the run except versions, by dotted keys."""
        left_out = {*RunRecord.model_fields} - {*Setup.model_fields} | {*DERIVED, "versions"}
        return flat({key: value for key, value in content(self).items() if key not in left_out})


def published(folder: Path) -> bool:
    """True if `rawmsa publish` made the folder."""
    return (folder / PUBLISHED).is_file() and not (folder / RUN).is_file()


def is_run(folder: Path) -> bool:
    """True if the folder holds a run, of a project or published."""
    return (folder / RUN).is_file() or published(folder)


def read(folder: Path) -> RunRecord:
    """The record of a run, from its run.json or from the config.json of a published run.

    Raises TableError where the file is missing or lacks a field.
    """
    file = folder / (PUBLISHED if published(folder) else RUN)
    try:
        return RunRecord.model_validate(tables.read_json(file))
    except ValidationError as error:
        raise TableError(
            f"{file} does not fit this version of rawmsa: {faults(error)}. Train the run again with: dvc repro; or publish it "
            "again, with this version."
        ) from None


def faults(error: ValidationError) -> str:
    """The first fields that do not fit, and why."""
    return "; ".join(
        f"{'.'.join(map(str, fault['loc']))}: {fault['msg'][0].lower()}{fault['msg'][1:]}"
        for fault in error.errors()[:MOST_FAULTS]
    )


def content(record: RunRecord) -> dict[str, JsonValue]:
    """The record as JSON holds it: the fields that were set, in order."""
    return record.model_dump(mode="json", exclude_unset=True)


def write(folder: Path, record: RunRecord) -> None:
    tables.write_json(folder / RUN, content(record))
