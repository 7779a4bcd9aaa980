"""dataset.yaml, all of it optional: what a data set is, where its name does not tell."""

import os
import reprlib
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import AfterValidator, BeforeValidator, FiniteFloat, ValidationError, ValidationInfo

from pipeline import conventions
from pipeline.datasets.folder import decoded
from pipeline.datasets.refusal import shown
from pipeline.errors import DatasetError
from pipeline.params import Block
from pipeline.tables import NUMBER

MOST = 64 << 10  # bytes of dataset.yaml
MOST_FAULTS = 10  # that a message tells
HELP = "Write lines such as 'language: en'."


def _known(name: object) -> object:
    if name not in conventions.names():
        raise ValueError(f"expected one of {', '.join(conventions.names())}")
    return name


def _classes(found: object) -> object:
    """The keys of `labels` as cells are compared with them. YAML reads yes, no, on and off as truth values."""
    if not isinstance(found, dict):
        return found
    if truth := [key for key in found if isinstance(key, bool)]:
        raise ValueError(f"a key is read as {str(truth[0]).lower()}; write yes, no, on, off, true, false in quotes")
    return {as_class(str(key)): value for key, value in found.items()}


def as_class(cell: str) -> str:
    """A cell as a key of `labels`: case does not matter, and 1 is 1.0."""
    found = cell.strip()
    return f"{float(found):g}" if NUMBER.fullmatch(found) else found.casefold()


def _bounds(bounds: tuple[float, float], told: ValidationInfo) -> tuple[float, float]:
    low, high = bounds
    if not low < high:
        raise ValueError("the first number must be below the second")
    name, neutral = told.data.get("convention"), told.data.get("neutral")
    if name and neutral is not None:  # which are absent where they are wrong themselves
        _measurable(low, high, neutral, name, conventions.find(name))
    for word, value in (told.data.get("labels") or {}).items():
        if not low <= value <= high:
            raise ValueError(f"`labels` gives {word} the number {value:g}, which is outside. Change either")
    return bounds


def _measurable(low: float, high: float, neutral: float, name: str, convention: conventions.Convention) -> None:
    """Raises ValueError where labels from low to high have no meaning in the convention's measures."""
    if not low < neutral < high:
        raise ValueError(
            f"the neutral label is {neutral:g}, expected a range with labels on both sides of it. If {(low + high) / 2:g} is neutral "
            f"in these labels, write 'neutral: {(low + high) / 2:g}' beside it; else write the lowest and highest of them as 'label_range: [LOWEST, HIGHEST]'"
        )
    if convention.clip and not convention.clip[0] <= low - neutral < high - neutral <= convention.clip[1]:
        others = " or ".join(
            f"'convention: {other}'" for other in conventions.names() if not conventions.find(other).clip
        )
        raise ValueError(
            f"the metrics of 'convention: {name}' clip to [{convention.clip[0]:g}, {convention.clip[1]:g}], expected "
            f"numbers within. Scale the labels, or write {others}"
        )


class Description(Block):
    """What dataset.yaml may say; what it leaves out follows from the data set's name and language.

    Labels are kept less `neutral`: every table, network and measure behind ingest takes 0 for neutral.
    """

    language: Literal["en", "zh"]
    convention: Annotated[str, BeforeValidator(_known)]  # whose metrics and hyper-parameters
    neutral: FiniteFloat  # the label that is neither negative nor positive
    labels: Annotated[dict[str, FiniteFloat] | None, BeforeValidator(_classes)]  # the number of each class
    label_range: Annotated[tuple[FiniteFloat, FiniteFloat], AfterValidator(_bounds)]  # as label.csv has them
    redistribute: bool  # pictures, transcripts and clips may enter the report
    synthetic: bool  # said wherever its numbers show
    split: Literal["mode", "by_video"]  # mode: label.csv's column where it has one

    def number(self, cell: str) -> float | None:
        """What a label's cell says, on the scale of label.csv; None where it is no number and no class of `labels`."""
        if self.labels is not None:
            return self.labels.get(as_class(cell))
        return float(cell) if NUMBER.fullmatch(cell) else None


class Described(Description):
    """A description, and whether its label range is the convention's because dataset.yaml says nothing of it."""

    guessed: bool

    @property
    def kept_range(self) -> tuple[float, float]:
        """Lowest and highest label as they are kept: less the neutral one."""
        low, high = self.label_range
        return low - self.neutral, high - self.neutral


def load(folder: Path) -> Described:
    """The description of the data set in `folder`. Raises DatasetError naming the key, what it is and may be."""
    file = folder / "dataset.yaml"
    return describe(folder.name, _read(file) if os.path.lexists(file) else {}, f"{file}")


def describe(name: str, found: dict[str, object], where: str) -> Described:
    """What a data set of this name is, where `found` (said in `where`) does not say otherwise. Raises DatasetError."""
    claimed = conventions.of_name(name)
    language = found.get("language", (claimed and conventions.find(claimed).language) or "en")
    convention = found.get("convention", claimed or conventions.of_language(language))
    known = convention if isinstance(convention, str) and convention in conventions.names() else conventions.DEFAULT
    conventional = {
        "language": language,
        "convention": convention,
        "neutral": conventions.find(known).neutral,
        "labels": None,
        "label_range": _range_of(found.get("labels")) or conventions.find(known).label_range,
        "redistribute": False,
        "synthetic": False,
        "split": "mode",
    }
    try:
        told = Description.model_validate(conventional | found)
        return Described(**told.model_dump(), guessed=not {"label_range", "labels"} & found.keys())
    except ValidationError as error:
        faults = "; ".join(
            _fault(conventional | found, (*fault["loc"], "?")[0], fault["msg"])
            for fault in error.errors()[:MOST_FAULTS]
        )
        raise DatasetError(f"{where}: {faults}. Correct it there.") from None


def _range_of(labels: object) -> tuple[float, float] | None:
    """The range of what `labels` maps to; None where it maps to no two numbers."""
    numbers = [value for value in labels.values() if isinstance(value, int | float)] if isinstance(labels, dict) else []
    return (min(numbers), max(numbers)) if len(set(numbers)) > 1 else None


class _Loader(yaml.SafeLoader):
    """YAML in which a key is said once and nothing is said by reference: a few such lines can unfold into gigabytes."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.MarkedYAMLError(None, None, "found an alias, expected a value", self.peek_event().start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[object, object]:
        said = set()
        for key, _ in node.value:
            if key.value in said:
                fault = f"found the key '{shown(key.value)}' again, expected it once"
                raise yaml.MarkedYAMLError(None, None, fault, key.start_mark)
            said.add(key.value)
        return super().construct_mapping(node, deep)


def _read(file: Path) -> dict[str, object]:
    text = decoded(file, MOST)
    try:
        found = yaml.load(text, _Loader)  # noqa: S506  a SafeLoader, see above
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise DatasetError(f"{file} is not YAML{where}: {shown(str(error.problem))}. {HELP}") from None
    except Exception as error:  # whatever an odd document makes PyYAML say: it promises nothing
        fault = shown(str(error)) or type(error).__name__
        raise DatasetError(f"{file} is not YAML: {fault}. {HELP}") from None
    if not isinstance(found, dict | None):
        raise DatasetError(f"{file} holds {_quoted(found)}, expected lines such as 'language: en'. Correct it.")
    return {str(key): value for key, value in (found or {}).items()}


def _fault(found: dict[str, object], key: int | str, message: str) -> str:
    if key not in Description.model_fields:
        return f"the key '{shown(str(key))}' is not known; allowed are {', '.join(Description.model_fields)}"
    message = message.removeprefix("Value error, ")
    return f"{key} is {_quoted(found.get(str(key)))}: {message[0].lower()}{message[1:]}"


def _quoted(value: object) -> str:
    try:
        return shown(reprlib.repr(value))
    except ValueError:
        return "a number of thousands of digits"
