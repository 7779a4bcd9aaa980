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

MOST = 64 << 10  # bytes of dataset.yaml
MOST_FAULTS = 10  # that a message tells
HELP = "Write lines such as 'language: en'."


def _known(name: object) -> object:
    if name not in conventions.names():
        raise ValueError(f"expected one of {', '.join(conventions.names())}")
    return name


def _bounds(bounds: tuple[float, float], told: ValidationInfo) -> tuple[float, float]:
    low, high = bounds
    if not low < high:
        raise ValueError("the first number must be below the second")
    if name := told.data.get("convention"):  # which is absent where it is wrong itself
        _measurable(low, high, name, conventions.find(name))
    return bounds


def _measurable(low: float, high: float, name: str, convention: conventions.Convention) -> None:
    """Raises ValueError where labels from low to high have no meaning in the convention's measures."""
    if convention.clip and not convention.clip[0] <= low < high <= convention.clip[1]:
        others = " or ".join(
            f"'convention: {other}'" for other in conventions.names() if not conventions.find(other).clip
        )
        raise ValueError(
            f"the metrics of 'convention: {name}' clip to [{convention.clip[0]:g}, {convention.clip[1]:g}], expected "
            f"numbers within. Scale the labels, or write {others}"
        )
    if not low < convention.neutral < high:
        half, off = (high - low) / 2, (low + high) / 2 - convention.neutral
        change = f"subtract {off:g} from each label" if off > 0 else f"add {-off:g} to each label"
        raise ValueError(
            f"in 'convention: {name}' the label {convention.neutral:g} is neutral, expected a range with "
            f"{convention.neutral:g} inside. If {(low + high) / 2:g} is neutral in these labels, {change} and write "
            f"'label_range: [{convention.neutral - half:g}, {convention.neutral + half:g}]'"
        )


class Description(Block):
    """What dataset.yaml may say; what it leaves out follows from the data set's name and language."""

    language: Literal["en", "zh"]
    convention: Annotated[str, BeforeValidator(_known)]  # whose metrics and hyper-parameters
    label_range: Annotated[tuple[FiniteFloat, FiniteFloat], AfterValidator(_bounds)]
    redistribute: bool  # pictures, transcripts and clips may enter the report
    synthetic: bool  # said wherever its numbers show
    split: Literal["mode", "by_video"]  # mode: label.csv's column where it has one


def load(folder: Path) -> Description:
    """The description of the data set in `folder`. Raises DatasetError naming the key, what it is and may be."""
    file = folder / "dataset.yaml"
    return describe(folder.name, _read(file) if os.path.lexists(file) else {}, f"{file}")


def describe(name: str, found: dict[str, object], where: str) -> Description:
    """What a data set of this name is, where `found` (said in `where`) does not say otherwise. Raises DatasetError."""
    claimed = conventions.of_name(name)
    language = found.get("language", (claimed and conventions.find(claimed).language) or "en")
    convention = found.get("convention", claimed or conventions.of_language(language))
    known = convention if isinstance(convention, str) and convention in conventions.names() else conventions.DEFAULT
    conventional = {
        "language": language,
        "convention": convention,
        "label_range": conventions.find(known).label_range,
        "redistribute": False,
        "synthetic": False,
        "split": "mode",
    }
    try:
        return Description.model_validate(conventional | found)
    except ValidationError as error:
        faults = "; ".join(
            _fault(found, (*fault["loc"], "?")[0], fault["msg"]) for fault in error.errors()[:MOST_FAULTS]
        )
        raise DatasetError(f"{where}: {faults}. Correct it there.") from None


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
