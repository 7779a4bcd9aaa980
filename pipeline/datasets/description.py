"""dataset.yaml, all of it optional: what a data set is, where its name does not tell."""

import re
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import AfterValidator, ValidationError, ValidationInfo

from pipeline.errors import DatasetError
from pipeline.params import Block

SIMS = re.compile(r"(ch[-_.]?)?sims(v\d+)?([-_.].*)?", re.IGNORECASE)  # CH-SIMS, sims, SIMSv2, sims-mini; not simson
LABEL_RANGES = {"mosi": (-3.0, 3.0), "sims": (-1.0, 1.0)}


def _bounds(bounds: tuple[float, float], told: ValidationInfo) -> tuple[float, float]:
    low, high = bounds
    if not low < high:
        raise ValueError("the first number must be below the second")
    if told.data.get("convention") == "sims" and not -1 <= low < high <= 1:
        raise ValueError(
            "the metrics of 'convention: sims' clip to [-1, 1], expected numbers within. "
            "Scale the labels, or write 'convention: mosi'"
        )
    return bounds


class Description(Block):
    """What dataset.yaml may say; what it leaves out follows from the data set's name and language."""

    language: Literal["en", "zh"]
    convention: Literal["mosi", "sims"]  # whose metrics and hyper-parameters
    label_range: Annotated[tuple[float, float], AfterValidator(_bounds)]
    redistribute: bool  # pictures, transcripts and clips may enter the report
    synthetic: bool  # said wherever its numbers show
    split: Literal["mode", "by_video"]  # mode: label.csv's column where it has one


def load(folder: Path) -> Description:
    """The description of the data set in `folder`. Raises DatasetError naming the key, what it is and may be."""
    file = folder / "dataset.yaml"
    return describe(folder.name, _read(file) if file.is_file() else {}, f"{file}")


def describe(name: str, found: dict[str, object], where: str) -> Description:
    """What a data set of this name is, where `found` (said in `where`) does not say otherwise. Raises DatasetError."""
    language = found.get("language", "zh" if SIMS.fullmatch(name) else "en")
    sims = SIMS.fullmatch(name) or language == "zh"
    convention = found.get("convention", "sims" if sims else "mosi")
    conventional = {
        "language": language,
        "convention": convention,
        "label_range": LABEL_RANGES.get(str(convention), LABEL_RANGES["mosi"]),
        "redistribute": False,
        "synthetic": False,
        "split": "mode",
    }
    try:
        return Description.model_validate(conventional | found)
    except ValidationError as error:
        faults = "; ".join(_fault(found, fault["loc"][0], fault["msg"]) for fault in error.errors())
        raise DatasetError(f"{where}: {faults}. Correct it there.") from None


def _read(file: Path) -> dict[str, object]:
    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DatasetError(f"{file} is not YAML: {error}. Write lines such as 'language: en'.") from None
    if not isinstance(found or {}, dict):
        raise DatasetError(f"{file} holds {found!r}, expected lines such as 'language: en'.")
    return {str(key): value for key, value in (found or {}).items()}


def _fault(found: dict[str, object], key: int | str, message: str) -> str:
    if key not in Description.model_fields:
        return f"the key '{key}' is not known; allowed are {', '.join(Description.model_fields)}"
    return f"{key} is {found.get(str(key))!r}: {message[0].lower()}{message[1:]}"
