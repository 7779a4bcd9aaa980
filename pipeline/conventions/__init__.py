"""The conventions by which the field measures predictions, one a file; the file's name is the registry.

A data set names its convention in dataset.yaml. CONVENTION of pipeline/conventions/<name>.py is all that the rest knows
of it: the labels' range and neutral point, the measures, and how tables show them.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Literal

from pipeline.errors import DatasetError

if TYPE_CHECKING:
    import numpy as np

DEFAULT = "mosi"  # of a data set whose name and language tell nothing

Classes = Callable[["np.ndarray"], "np.ndarray"]  # values of which 0 is neutral, (N,) float32 -> the class of each


@dataclass(frozen=True)
class Measure:
    """One number of how well predictions fit labels. Accuracies and F1s are shown in percent, MAE and Corr as they are.

    key: its name in metrics.json; head: of its column in tables, where measures of one head share a column;
    meaning: a sentence that the report shows at the head; classes: what an accuracy or F1 compares;
    neutral_counts: whether clips with a neutral label count.
    """

    key: str
    head: str
    kind: Literal["mae", "corr", "accuracy", "f1"]
    meaning: str
    classes: Classes | None = None
    neutral_counts: bool = True


MAE = Measure("mae", "MAE", "mae", "Mean absolute error of the predicted sentiment; lower is better.")
CORR = Measure("corr", "Corr", "corr", "Pearson correlation of prediction and label.")


@dataclass(frozen=True)
class Convention:
    """How the labels of some data sets are read and predictions of them measured.

    label_range, neutral: lowest and highest label and the one that is neither negative nor positive, where dataset.yaml
    does not say otherwise; ingest keeps labels less the neutral one, so that measures and networks take 0 for it; measures: in the order of the tables, MAE and CORR among them; positive: true for the values
    that the majority-class floor counts as positive; note: printed below tables; clip: predictions and labels are
    clipped to it before they are measured; data_sets: a regular expression of the names of data sets that have this
    convention unless they name another; language: of these data sets, and other data sets in it have this convention
    too; values_of: the convention whose hyper-parameters stand in where a network has none for this one.
    """

    label_range: tuple[float, float]
    neutral: float
    measures: tuple[Measure, ...]
    positive: Classes
    note: str
    clip: tuple[float, float] | None = None
    data_sets: str | None = None
    language: str | None = None
    values_of: str | None = None

    @property
    def columns(self) -> dict[str, tuple[str, ...]]:
        """The keys of the measures by the head of their column, in order."""
        heads = dict.fromkeys(measure.head for measure in self.measures)
        return {head: tuple(measure.key for measure in self.measures if measure.head == head) for head in heads}

    @property
    def meanings(self) -> dict[str, str]:
        """What the numbers of a column mean, by its head."""
        return {
            head: " ".join(measure.meaning for measure in self.measures if measure.head == head)
            for head in self.columns
        }


def names() -> list[str]:
    return sorted(module.name for module in iter_modules(__path__))


def find(name: str) -> Convention:
    """Raises DatasetError where there is no such file, or it has no CONVENTION."""
    if name in names():
        found = getattr(import_module(f"{__name__}.{name}"), "CONVENTION", None)
        if isinstance(found, Convention):
            return found
        raise DatasetError(
            f"pipeline/conventions/{name}.py has no CONVENTION = Convention(...). Write one; mosi.py is an example."
        )
    raise DatasetError(
        f"A data set has the convention '{name}', but there is no pipeline/conventions/{name}.py; there are "
        f"{', '.join(names())}. Correct 'convention' in dataset.yaml, or write that file."
    )


def of_name(data_set: str) -> str | None:
    """The convention that claims a data set's name; None where none does."""
    claims = {name: find(name).data_sets for name in names()}
    return next(
        (n for n, pattern in claims.items() if pattern and re.fullmatch(pattern, data_set, re.IGNORECASE)), None
    )


def of_language(language: object) -> str:
    """The convention of data sets in a language, else the default."""
    return next((name for name in names() if language and find(name).language == language), DEFAULT)
