"""params.yaml, block by block, checked by pydantic. No model has a default: DVC cannot see one in code."""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import (
    JsonValue,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
    TypeAdapter,
    ValidationError,
)

from pipeline import paths
from pipeline.blocks import Block, Share
from pipeline.blocks import flat as flat  # params.flat, for who has params
from pipeline.errors import ParamsError

T = TypeVar("T")
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # a grid reads the file hundreds of times; C is ten times faster
Executor = Literal["local", "ray"]
Precision = Literal["auto", "float32"]


class Limits(Block):
    """What one clip may cost before it is given up, and how many may fail before the stage stops."""

    seconds: PositiveFloat  # wall clock a stage and clip of up to a minute; a longer one gets as many times more
    memory_gib: PositiveFloat  # address space a worker
    max_failed_fraction: Share  # of a stage's clips; above it the stage ends with an error
    checkpoint_seconds: NonNegativeFloat  # between two states of a training that are kept, at least

    def allowed(self, length: float) -> float:
        """Seconds of wall clock for a clip of this length, in seconds."""
        return self.seconds * max(1.0, length / 60)


def load(name: str, model: type[T], file: Path = paths.PARAMS) -> T:
    """The block `name` of params.yaml as `model` (a Block, or any type that pydantic checks).

    Raises ParamsError naming the key, what was found and what was expected.
    """
    blocks = read(file)
    if name not in blocks:
        raise ParamsError(
            f"{file} has no block '{name}'; it has {', '.join(blocks)}. Take it from the repository's params.yaml."
        )
    return check(name, blocks[name], model, file)


def check(name: str, found: object, model: type[T], file: Path = paths.PARAMS) -> T:
    """What was found under `name`, as `model`. Raises ParamsError that names every fault."""
    if wrong := faults(name, found, model):
        raise unfit(file, wrong)
    return TypeAdapter(model).validate_python(found)


def unfit(file: Path, wrong: Iterable[str]) -> ParamsError:
    """The error for these faults of a file."""
    lines = "\n".join(f"  {line}" for line in wrong)
    return ParamsError(f"{file} does not fit:\n{lines}\nCorrect it there (the comments tell each key's range).")


def faults(name: str, found: object, model: Any) -> list[str]:
    """A line for each fault of what was found under `name`: its key, what was found and what was expected.

    model: a Block, or any type that pydantic checks.
    """
    try:
        TypeAdapter(model).validate_python(found)
    except ValidationError as error:
        wrong = error.errors()
    else:
        return []
    lacking = [fault["loc"] for fault in wrong if fault["type"] == "missing"]
    lines = []
    for fault in wrong:
        *place, key = fault["loc"] or ("",)
        message = fault["msg"][0].lower() + fault["msg"][1:]
        if fault["type"] == "extra_forbidden":
            beside = [str(loc[-1]) for loc in lacking if list(loc[:-1]) == place]
            message = f"unknown key{near(str(key), [*beside, *_keys(found, place)])}"
        lines.append(f"{'.'.join([name, *map(str, fault['loc'])])}: found {fault['input']!r}, {message}")
    return lines


def near(name: str, known: Iterable[str]) -> str:
    """The known name that was probably meant, as the end of a message; "" where none is near."""
    close = get_close_matches(name, [one for one in known if one != name], n=1)
    return f"; did you mean {close[0]}?" if close else ""


def _keys(found: object, place: Iterable[int | str]) -> list[str]:
    """The keys of the mapping at a place in what was found."""
    for key in place:
        found = found.get(key) if isinstance(found, Mapping) else None
    return [str(key) for key in found] if isinstance(found, Mapping) else []


def read(file: Path = paths.PARAMS) -> dict[str, object]:
    if not file.is_file():
        raise ParamsError(f"No {file} in {Path.cwd()}. Run rawmsa from the project's folder, where dvc.yaml lies.")
    try:
        return deepcopy(_parsed(file.read_text()))
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise ParamsError(f"{file} is not a YAML mapping of blocks: {error}") from None


@lru_cache(maxsize=32)  # a grid asks for a block hundreds of times; its text says whether the file has changed
def _parsed(text: str) -> dict[str, object]:
    return dict(yaml.load(text, LOADER))  # noqa: S506  a SafeLoader, see above


def nested(dotted: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """The other way."""
    groups: dict[str, dict[str, JsonValue]] = {}
    for key, value in dotted.items():
        first, _, rest = key.partition(".")
        groups.setdefault(first, {})[rest] = value
    return {name: group[""] if "" in group else nested(group) for name, group in groups.items()}


def workers() -> int:
    """How many processes; no stage depends on it, because no result does."""
    return load("workers", PositiveInt)


def executor() -> Executor:
    """Where clips are worked on: the processes of this machine, or a Ray cluster; no result depends on it."""
    chosen: Executor = load("executor", Executor)  # type: ignore[arg-type]
    return chosen


def gpu_runs() -> int:
    """How many trainings at once on each GPU; no result depends on it."""
    return load("gpu_runs", PositiveInt)


def threads() -> int:
    """torch/BLAS threads a process; recorded with every stage, since another number gives other weights."""
    return load("threads", PositiveInt)


def precision() -> Precision:
    """What a GPU trains in, recorded with every run; a CPU always computes in float32."""
    chosen: Precision = load("precision", Precision)  # type: ignore[arg-type]
    return chosen


def processes() -> int:
    """Of one training, each with a part of every batch; recorded, since another number gives other last digits, and
    other draws of dropout."""
    return load("processes", PositiveInt)
