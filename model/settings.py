"""What a project's files say of training: the blocks train and experiment of params.yaml, and networks/<name>.yaml.

Nothing here imports torch before `hyper_of` is asked, so that every stage can check all of it in no time.
"""

from collections.abc import Hashable, Mapping
from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, Field, JsonValue, field_validator, model_validator

from model.networks import find
from model.training.hyper import Hyper, merged, schema
from pipeline import conventions, params, paths
from pipeline.errors import ParamsError

T = TypeVar("T", bound=Hashable)
DEFAULTS = "defaults"  # what the blocks beside it share


def different(found: list[T]) -> list[T]:
    if len(set(found)) < len(found):
        raise ValueError("expected each once")
    return found


Seed = Annotated[int, Field(ge=0, lt=2**31)]  # predictions.parquet holds 32 bits
Seeds = Annotated[list[Seed], Field(min_length=1), AfterValidator(different)]
Names = Annotated[list[Literal["table1", "table3", "table4", "ulgm", "figure4", "figure5"]], AfterValidator(different)]


class Choice(params.Block):
    """Which preset and which values of a network's file; in params.yaml: <preset>/<values>."""

    preset: str
    values: str

    @model_validator(mode="before")
    @classmethod
    def _of_text(cls, found: object) -> object:
        if not isinstance(found, str):
            return found
        preset, slash, values = found.partition("/")
        if not (preset and slash and values):
            raise ValueError("expected <preset>/<values>, e.g. paper/mmsa")
        return {"preset": preset, "values": values}


class Train(params.Block):
    """params.yaml: train."""

    networks: Annotated[dict[str, Choice], Field(min_length=1)]
    seeds: dict[str, Seeds]  # by data set, or default
    keep: Literal["best", "all", "none"]

    @field_validator("seeds")
    @classmethod
    def _for_every_data_set(cls, seeds: dict[str, list[int]]) -> dict[str, list[int]]:
        if "default" not in seeds:
            raise ValueError("expected a list of seeds under `default`")
        return seeds


class Experiment(params.Block):
    """params.yaml: experiment."""

    seeds: Seeds
    networks: dict[str, Choice]  # the baselines of table1, in its order
    datasets: dict[str, Names]


class Network(params.Block):
    """networks/<name>.yaml: parts of Hyper by preset, and by source and block (a data set or a metric convention)."""

    presets: dict[str, dict[str, JsonValue]]
    values: dict[str, dict[str, dict[str, JsonValue]]]

    def preset(self, name: str) -> dict[str, JsonValue]:
        return merged(self.presets.get(DEFAULTS, {}), self.presets[name])

    def block(self, source: str, name: str) -> dict[str, JsonValue]:
        return merged(self.values[source].get(DEFAULTS, {}), self.values[source][name])


def train() -> Train:
    return params.load("train", Train)


def experiment() -> Experiment:
    return params.load("experiment", Experiment)


def networks() -> dict[str, Choice]:
    """The baselines of the experiments, then what train has besides; where both choose, as train does."""
    return experiment().networks | train().networks


def network(name: str) -> Network:
    """Raises ParamsError where networks/<name>.yaml is missing or does not fit."""
    file = paths.network(name)
    if not file.is_file():
        there = sorted(one.stem for one in paths.NETWORKS.glob("*.yaml"))
        raise ParamsError(
            f"params.yaml names the network '{name}', but there is no {file}{params.near(name, there)}. "
            f"{paths.NETWORKS} has {', '.join(there) or 'nothing'}. Correct the name, or write that file."
        )
    return params.check(name, params.read(file), Network, file)


def hyper_of(
    name: str, choice: Choice, dataset: str, convention: str, changes: Mapping[str, JsonValue]
) -> tuple[str, Hyper]:
    """The values of the data set's own name, else those of its convention or of the one that stands in for it; over them
    the preset, over both the changes.

    Returns the name of the block that had the values, too. Raises ParamsError.
    """
    blocks = _blocks(name, choice)
    for block in (dataset, convention, conventions.find(convention).values_of or convention):
        if block in blocks:
            found = merged(blocks[block], changes)
            checked = params.check(_called(name, choice, block), found, schema(find(name)), paths.network(name))
            return block, Hyper.model_validate(checked.model_dump())  # which pickles
    raise ParamsError(
        f"{paths.network(name)}: values.{choice.values} has the blocks {', '.join(blocks) or 'none'}, but {dataset} needs "
        f"one named {dataset} or, for its metric convention, {convention}. Copy the nearest and name it so."
    )


def faults(name: str, choice: Choice, whole: bool, changes: Mapping[str, JsonValue] | None = None) -> list[str]:
    """A line for each fault of the values that a choice has, with these changes.

    whole: of `architecture` too, whose types stand in the network's code, which is imported for it.
    """
    try:
        wanted, blocks = schema(find(name)) if whole else Hyper, _blocks(name, choice)
    except ParamsError as error:
        return [str(error)]
    return [
        f"{paths.network(name)}: {fault}"
        for block, found in blocks.items()
        for fault in params.faults(_called(name, choice, block), merged(found, changes or {}), wanted)
    ]


def _blocks(name: str, choice: Choice) -> dict[str, dict[str, JsonValue]]:
    """The values of each data set and convention that a choice has some for, under its preset."""
    found = network(name)
    for asked, part, there in (
        (choice.preset, "presets", sorted(found.presets.keys() - {DEFAULTS})),
        (choice.values, "values", sorted(found.values)),
    ):
        if asked not in there:
            raise ParamsError(
                f"{paths.network(name)}: {part} has {', '.join(there) or 'nothing'}, but train.networks or "
                f"experiment.networks of params.yaml names '{asked}'{params.near(asked, there)}. Name one of these, or add it."
            )
    preset, blocks = found.preset(choice.preset), found.values[choice.values].keys() - {DEFAULTS}
    return {block: merged(found.block(choice.values, block), preset) for block in sorted(blocks)}


def _called(name: str, choice: Choice, block: str) -> str:
    """What messages call the values of a block."""
    return f"{name} (preset {choice.preset}, values {choice.values}.{block})"
