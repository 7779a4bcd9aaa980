"""data/experiments/<dataset>/<name>.json: what the paper's tables and figures are made of, unrounded."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, JsonValue, ValidationError

from model.measures.intervals import Interval
from model.measures.metrics import Scores
from model.measures.results import Range, Spread, Summary
from model.run_files import faults
from pipeline import paths, tables
from pipeline.errors import TableError

MeanStd = tuple[float, float]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True)


class Contribution(_Record):
    """How the test MAE changes without a modality, over seeds: when it is masked, and when it is another clip's."""

    masked: MeanStd
    shuffled: MeanStd


class Chosen(_Record):
    """The validation MAE, by which epochs are chosen, over seeds."""

    mae: float
    std: float


class Row(_Record):
    """The runs of one row of a table, one run per seed.

    interval: low and high by measure; contributions, heads: by modality, heads are the unimodal outputs against human
    labels; setting: the paper's column "data setting"; difference: mean, low and high by measure of this row less the
    reference row, None in the reference row.
    """

    label: str
    network: str
    preset: str
    values: str
    changes: dict[str, JsonValue]
    scores: Summary
    interval: dict[str, Interval]
    valid: Chosen
    contributions: dict[str, Contribution]
    heads: dict[str, Scores]
    setting: str
    difference: dict[str, list[float] | None] | None


class Floor(_Record):
    """What any network must beat; scores is None where there can be none, and note says why."""

    label: str
    scores: Summary | None
    note: str | None


class Nearness(Spread):
    """The u-labels of one epoch, by modality: means over the runs that reached the epoch (ulabels.epochs)."""

    SPREAD = "figures"

    epoch: int
    seeds: int
    figures: dict[str, Scores]


class Followed(_Record):
    """The u-labels of a row's runs, epoch by epoch."""

    label: str
    epochs: list[Nearness]


class Experiment(_Record):
    """What every experiment says of itself. labelled: clips by split; none in records of older versions."""

    name: str
    dataset: str
    convention: str
    synthetic: bool
    label_range: Range
    seeds: list[int]
    labelled: dict[str, int] = {}


class Comparison(Experiment):
    """table1, table3, table4, ulgm: rows beside each other. reference: the label of the row that others are set against."""

    reference: str
    rows: list[Row]
    ulabels: list[Followed]
    floors: list[Floor]


class Shown(Experiment):
    """A figure of one run, the best of its seeds by validation."""

    network: str
    preset: str
    values: str
    seed: int


class Counts(Spread):
    """Clips by bin of one epoch, by modality."""

    SPREAD = "clips"

    epoch: int
    clips: dict[str, list[int]]


class Distributions(Shown):
    """figure4. edges: of the bins, on the scale of the labels."""

    edges: list[float]
    epochs: list[Counts]


class Case(_Record):
    """One clip: its transcript, m-label, prediction, u-labels and human labels."""

    id: str
    text: str
    label: float
    prediction: float
    text_u: float | None
    audio_u: float | None
    vision_u: float | None
    label_T: float | None
    label_A: float | None
    label_V: float | None

    @property
    def made(self) -> dict[str, float | None]:
        """The u-labels by modality."""
        return {"text": self.text_u, "audio": self.audio_u, "vision": self.vision_u}

    @property
    def human(self) -> dict[str, float | None]:
        """The human labels by modality."""
        return {"text": self.label_T, "audio": self.label_A, "vision": self.label_V}


class Cases(Shown):
    """figure5. epoch: of the u-labels."""

    epoch: int
    clips: list[Case]


AnyExperiment = Comparison | Distributions | Cases
KINDS: dict[str, type[AnyExperiment]] = {
    "table1": Comparison,
    "table3": Comparison,
    "table4": Comparison,
    "ulgm": Comparison,
    "figure4": Distributions,
    "figure5": Cases,
}


def write(experiment: AnyExperiment) -> None:
    file = paths.experiment(experiment.dataset, experiment.name)
    tables.write_json(file, experiment.model_dump(mode="json", exclude_unset=True))


def read(file: Path) -> AnyExperiment:
    """Raises TableError where the file is missing or does not fit."""
    try:
        return KINDS[file.stem].model_validate(tables.read_json(file))
    except ValidationError as error:
        raise TableError(f"{file} does not fit: {faults(error)}. Make it again with: dvc repro experiment") from None
