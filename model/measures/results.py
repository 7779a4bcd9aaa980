"""data/metrics.json: the test scores of each network on each data set."""

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    JsonValue,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    ValidationError,
    model_serializer,
    model_validator,
)

from model.measures.metrics import Scores
from model.run_files import faults
from pipeline import paths, tables
from pipeline.datasets.refusal import counted
from pipeline.errors import TableError

Range = tuple[float, float]  # lowest and highest label
ENOUGH = {"train": 30, "test": 10}  # labelled clips; numbers of a data set with fewer are noise


class Spread(BaseModel):
    """A record one of whose fields, SPREAD, is a dictionary; JSON has its entries in its place."""

    model_config = ConfigDict(frozen=True)

    SPREAD: ClassVar[str]

    @model_validator(mode="before")
    @classmethod
    def _gathered(cls, found: object) -> object:
        if not isinstance(found, dict) or cls.SPREAD in found:
            return found
        fields = {key: value for key, value in found.items() if key in cls.model_fields}
        return fields | {cls.SPREAD: {key: value for key, value in found.items() if key not in fields}}

    @model_serializer(mode="wrap")
    def _spread(self, fields: SerializerFunctionWrapHandler) -> dict[str, JsonValue]:
        result: dict[str, JsonValue] = {}
        for name, value in fields(self).items():
            result |= value if name == self.SPREAD else {name: value}
        return result


class Summary(Spread):
    """Mean and population standard deviation of each measure over seeds.

    std, seeds: not set for a floor, which has no seeds; trained_on, split: set for the runs of another data set, split
    is all where this one has no test split; mapped: the ranges from and to which predictions were brought.
    """

    SPREAD = "means"

    means: Scores
    std: Scores = {}
    seeds: int | None = None
    trained_on: str | None = None
    split: str | None = None
    mapped: tuple[Range, Range] | None = None


Results = dict[str, dict[str, Summary]]  # by data set, then by network or floor
RESULTS = TypeAdapter(Results)


def too_few(dataset: str, clips: Mapping[str, int]) -> str:
    """A sentence where a data set has so few labelled clips that its numbers mean nothing, else "". clips: by split."""
    few = [
        counted(f"{split} clip", clips.get(split, 0))
        for split, enough in ENOUGH.items()
        if clips.get(split, 0) < enough
    ]
    if not few:
        return ""
    needed = " and ".join(f"{enough} {split}" for split, enough in ENOUGH.items())
    return f"Too few clips: {dataset} has {' and '.join(few)}; at least {needed} clips are needed. Its numbers mean nothing."


def summary(scores: Sequence[Scores]) -> Summary:
    """Of the scores of each seed. None where one seed has none."""
    columns = {name: [seed[name] for seed in scores] for name in scores[0]}
    return Summary(
        means={name: _over(np.mean, values) for name, values in columns.items()},
        std={name: _over(np.std, values) for name, values in columns.items()},
        seeds=len(scores),
    )


def write(results: Results) -> None:
    tables.write_json(paths.METRICS, RESULTS.dump_python(results, mode="json", exclude_unset=True))


def read() -> Results:
    """Raises TableError where the file is missing or does not fit."""
    try:
        return RESULTS.validate_python(tables.read_json(paths.METRICS))
    except ValidationError as error:
        raise TableError(f"{paths.METRICS} does not fit: {faults(error)}. Make it again with: dvc repro") from None


def _over(statistic: Callable[[list[float]], np.floating], values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(statistic(known)) if len(known) == len(values) else None
