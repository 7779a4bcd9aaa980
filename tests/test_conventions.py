"""What every convention must hold, and that a new one is one file."""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from typer.testing import CliRunner

from model.measures import floors, metrics
from model.measures.intervals import Bootstrap, weighted
from model.training import jobs
from pipeline import conventions, tables
from pipeline.datasets import description
from pipeline.errors import DatasetError
from stages.__main__ import app
from tests import projects, tiny

ROOT = Path(__file__).parents[1]
DATA_SETS = {"pipeline/mmsa/importing.py"}  # which means the data sets of these names
EXAMPLE = """
from pipeline.conventions import CORR, MAE, Convention, Measure

CONVENTION = Convention(
    label_range=(1.0, 5.0),
    neutral=3.0,
    measures=(
        Measure("agree2", "Agree-2", "accuracy", "Disagree against agree.", lambda x: x > 0, neutral_counts=False),
        Measure("agree2_f1", "Agree-F1", "f1", "The same as weighted F1.", lambda x: x > 0, neutral_counts=False),
        MAE,
        CORR,
    ),
    positive=lambda x: x > 0,
    note="Agree-2: the 3s are left out.",
    data_sets="example-.*",
    values_of="mosi",
)
"""
P, Y = (np.array(x, np.float32) - 3 for x in ([1.5, 4.0, 2.9, 3.2, 5.0], [1.0, 5.0, 3.0, 2.0, 4.0]))


@pytest.fixture
def example(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A convention that this one file adds."""
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "example.py").write_text(EXAMPLE)
    monkeypatch.setattr(conventions, "__path__", [*conventions.__path__, str(tmp_path / "more")])
    yield "example"
    sys.modules.pop("pipeline.conventions.example", None)


def table(name: str, labels: list[float]) -> pa.Table:
    """A training table of clips in every split, with these labels in each."""
    made = tiny.table([split for split in tables.SPLITS for _ in labels])
    place = made.column_names.index("label")
    made = made.set_column(place, made.schema.field("label"), pa.array(labels * len(tables.SPLITS), pa.float32()))
    return tables.with_metadata(made, tables.metadata(tiny.table()) | {"convention": name, "label_range": [-2.0, 2.0]})


# What holds for every convention


@pytest.mark.parametrize("name", conventions.names())
def test_a_convention_is_whole(name: str) -> None:
    found = conventions.find(name)
    low, high = (bound - found.neutral for bound in found.label_range)
    assert low < 0 < high
    assert found.clip is None or found.clip[0] <= low < high <= found.clip[1]
    assert {conventions.MAE, conventions.CORR} < set(found.measures)
    keys = [measure.key for measure in found.measures]
    assert len(set(keys)) == len(keys)
    assert sorted(keys) == sorted(key for column in found.columns.values() for key in column)
    assert found.meanings.keys() == found.columns.keys() and all(found.meanings.values()) and found.note
    assert all((measure.classes is None) == (measure.kind in ("mae", "corr")) for measure in found.measures)
    assert found.values_of in (None, *conventions.names())


@pytest.mark.parametrize("name", conventions.names())
def test_right_predictions_are_right_by_every_measure_and_the_interval_is_of_the_same(name: str) -> None:
    found = conventions.find(name)
    labels = np.linspace(*found.label_range, 21, dtype=np.float32) - np.float32(found.neutral)
    scores = metrics.score(name, labels, labels)
    assert scores.pop("mae") == 0 and scores == pytest.approx(dict.fromkeys(scores, 1.0))
    assert scores.keys() | {"mae"} == {measure.key for measure in found.measures}
    assert weighted(name, labels, labels, np.ones((1, 21))).keys() == scores.keys() | {"mae"}
    assert found.positive(labels)[[0, -1]].tolist() == [False, True]


def test_no_name_and_no_language_is_claimed_twice() -> None:
    for data_set in ("mosi", "mosei", "sims", "simsv2", "own"):
        assert len([name for name in conventions.names() if claims(name, data_set)]) <= 1
    languages = [found.language for name in conventions.names() if (found := conventions.find(name)).language]
    assert len(set(languages)) == len(languages)
    assert conventions.DEFAULT in conventions.names()


def claims(name: str, data_set: str) -> bool:
    pattern = conventions.find(name).data_sets
    return bool(pattern and re.fullmatch(pattern, data_set, re.IGNORECASE))


# A new convention is one file


def test_a_new_convention_is_one_file(example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From dataset.yaml to the report, with no other file touched."""
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "dataset.yaml").write_text(f"convention: {example}")
    told = description.load(tmp_path / "own")
    assert (told.label_range, told.neutral, told.kept_range) == ((1.0, 5.0), 3.0, (-2.0, 2.0))
    named = description.describe("example-2", {}, "here")
    assert (named.convention, named.language, named.label_range) == (example, "en", (1.0, 5.0))
    assert description.describe("own", {}, "here").convention == conventions.DEFAULT

    scores = metrics.score(example, P, Y)
    assert scores["agree2"] == 3 / 4 and scores["mae"] == pytest.approx((0.5 + 1 + 0.1 + 1.2 + 1) / 5)
    draws = Bootstrap(["a", "b", "c", "d", "e"]).draws(example, P[None], Y)
    assert draws.keys() == scores.keys() and np.nanmin(draws["agree2"]) < 3 / 4 < np.nanmax(draws["agree2"])

    median, majority, _ = floors.floors(table(example, [-2.0, 1.0, 2.0, 2.0]))
    assert median.scores.means["agree2"] == 3 / 4 and median.scores.means["mae"] == pytest.approx(
        (3.5 + 0.5 + 0.5 + 0.5) / 4
    )
    assert majority.scores.means["mae"] == pytest.approx((11 / 3 + 2 / 3 + 1 / 3 + 1 / 3) / 4)  # of the mean of 1, 2, 2
    assert majority.scores.means["agree2"] == 3 / 4 and "mean of the positive train labels" in str(majority.note)

    monkeypatch.chdir(tmp_path)
    about = {"name": "own", "convention": example, "label_range": [-2, 2], "neutral": 3}
    projects.ingest((about, projects.clips("own")))
    projects.measured(own={"self_mm": scores | {"std": {}, "seeds": 1}, "train_median": median.scores.means})
    page, shown = projects.write(), Path("data/report/tables.md").read_text()
    heads, _, floor, own = ([cell.strip() for cell in line.split("|")[1:-1]] for line in shown.splitlines()[2:6])
    assert heads == ["Data set", "Model", "Agree-2", "Agree-F1", "MAE", "Corr", "Seeds"]
    assert floor[2] == own[2] == "75.00" and "Agree-2: the 3s are left out." in shown
    assert 'data-meaning="Disagree against agree."' in page
    assert "shown from -2 to 2 with 0 for neutral: the label file&#39;s 1 to 5 less 3. For its scale, add 3." in page


def test_the_command_line_and_errors_list_a_new_convention(example: str) -> None:
    known = ", ".join(conventions.names())
    assert "example" in known
    with pytest.raises(DatasetError, match=f"convention is 'mosj': expected one of {known}. Correct it there."):
        description.describe("own", {"convention": "mosj"}, "here")
    with pytest.raises(
        DatasetError, match=r"convention 'mosj', but there is no pipeline/conventions/mosj.py; there are example, "
    ):
        metrics.score("mosj", P, Y)


def test_help_lists_the_conventions() -> None:
    shown = CliRunner().invoke(app, ["import", "--help"], env={"COLUMNS": "200"}).output
    assert f"Whose metrics: {', '.join(conventions.names())};" in shown


def test_a_convention_takes_the_hyper_parameters_of_the_one_that_it_names(example: str) -> None:
    choice = jobs.Choice(preset="paper", values="mmsa")
    assert jobs.hyper_of("self_mm", choice, "own", example, {})[0] == "mosi"


# Labels without a neutral point


@pytest.mark.parametrize(
    ("name", "low", "high", "message"),
    [
        ("mosi", 1, 5, "the neutral label is 0, expected a range with labels on both sides of it"),
        ("mosi", 1, 5, "If 3 is neutral in these labels, write 'neutral: 3' beside it"),
        ("mosi", 0, 1, "If 0.5 is neutral in these labels, write 'neutral: 0.5' beside it"),
        ("mosi", -3, 0, "the neutral label is 0"),
        ("sims", 0, 1, "the neutral label is 0"),
        ("example", -2, 2, "If 0 is neutral in these labels, write 'neutral: 0' beside it"),
    ],
)
def test_a_range_has_the_neutral_label_inside(example: str, name: str, low: int, high: int, message: str) -> None:
    """From 1 to 5 no clip would be negative, and Acc-2 100 for whatever is predicted."""
    with pytest.raises(DatasetError) as error:
        description.describe("own", {"convention": name, "label_range": [low, high]}, "dataset.yaml")
    assert str(error.value).startswith(f"dataset.yaml: label_range is [{low}, {high}]: the neutral label is")
    assert message in str(error.value)
    assert description.describe("own", {"convention": "example", "label_range": [0, 4]}, "here").label_range == (0, 4)


# One place


def test_no_other_file_names_a_convention() -> None:
    """A convention's name is a key by which its object is found; what it means stands in that file alone."""
    named = set()
    for room in ("app", "report", "model", "pipeline", "stages"):
        for file in (ROOT / room).rglob("*.py"):
            strings = {node.value for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Constant)}
            if strings & set(conventions.names()) and file.parent != ROOT / "pipeline" / "conventions":
                named.add(file.relative_to(ROOT).as_posix())
    assert named <= DATA_SETS
    scripts = "".join(file.read_text() for room in ("app", "report") for file in (ROOT / room).rglob("*.js"))
    heads = {head for name in conventions.names() for head in conventions.find(name).columns}
    assert not [head for head in heads if head.startswith("Acc-") and head in scripts]
