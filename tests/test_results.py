"""metrics.json and the experiments' files: what is read is written with the same bytes, and what does not fit is named."""

from pathlib import Path

import pytest

from model.measures import experiment_files, results
from pipeline import paths, tables
from pipeline.errors import TableError
from tests.test_report_experiments import figure4, figure5, record

CROSSED = {"trained_on": "made", "split": "all", "mapped": [[-3.0, 3.0], [-1.0, 1.0]]}
METRICS = {
    "made": {"self_mm": {"mae": 0.5, "corr": None, "std": {"mae": 0.25, "corr": None}, "seeds": 2}},
    "far": {
        "self_mm from made": {"mae": 0.5, "std": {"mae": 0.0}, "seeds": 1, **CROSSED},
        "train_median": {"mae": 0.5},
    },
}


@pytest.fixture(autouse=True)
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_metrics_that_were_read_are_written_with_the_same_bytes() -> None:
    tables.write_json(paths.METRICS, METRICS)
    before = paths.METRICS.read_bytes()
    found = results.read()
    results.write(found)
    assert paths.METRICS.read_bytes() == before
    assert found["far"]["self_mm from made"].mapped == ((-3.0, 3.0), (-1.0, 1.0))
    assert found["far"]["train_median"].seeds is None


@pytest.mark.parametrize("name", ["table1", "figure4", "figure5"])
def test_an_experiment_that_was_read_is_written_with_the_same_content_and_bytes(name: str) -> None:
    content = {"table1": record("table1"), "figure4": figure4(), "figure5": figure5()}[name]
    content["label_range"] = [-3.0, 3.0]
    file = paths.experiment("mosi", name)
    tables.write_json(file, content)
    experiment_files.write(experiment_files.read(file))
    assert tables.read_json(file) == content
    before = file.read_bytes()
    experiment_files.write(experiment_files.read(file))
    assert file.read_bytes() == before


def test_what_does_not_fit_is_named() -> None:
    tables.write_json(paths.METRICS, {"made": {"self_mm": {"mae": "low"}}})
    with pytest.raises(
        TableError, match=r"data/metrics\.json does not fit: made\.self_mm\.means\.mae: input should be"
    ):
        results.read()
    file = paths.experiment("mosi", "table1")
    tables.write_json(file, {key: value for key, value in record("table1").items() if key != "reference"})
    with pytest.raises(TableError, match=r"table1\.json does not fit: reference: field required\. Make it again"):
        experiment_files.read(file)
