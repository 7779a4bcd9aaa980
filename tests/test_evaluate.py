"""A run measured on another data set: its predictions in that one's label range, and scores that say whose they are."""

import csv
from pathlib import Path
from typing import Any

import pytest

from model import evaluate, run_files, train
from model.measures import floors
from model.training.predict import predict
from pipeline import paths, tables
from pipeline.errors import ParamsError, TableError
from tests import trainable as made

pytestmark = pytest.mark.usefixtures("trainable", "in_process")
SIMS = {"convention": "sims", "label_range": [-1.0, 1.0]}


def crossed(dataset: str = "other", run: str = "made/self_mm", **blocks: Any) -> list[dict[str, Any]]:
    """The rows of predictions.parquet of a data set that evaluate.across names."""
    made.write_params(evaluate={"across": [{"run": run, "dataset": dataset}]}, **blocks)
    train.run()
    evaluate.run()
    return [row for row in tables.read(paths.PREDICTIONS).to_pylist() if row["dataset"] == dataset]


def test_a_run_on_another_data_set_is_mapped_and_scored_on_its_test_split(capsys: pytest.CaptureFixture[str]):
    table = made.write_table("other", ("test",) * 4 + ("valid",), **SIMS)
    rows = crossed()
    assert {(row["trained_on"], row["network"]) for row in rows} == {("made", "self_mm")}
    direct = predict(evaluate.kept_run("made/self_mm"), table, Path("tiny")).to_pylist()
    for name, output in (("prediction", "fusion"), ("text", "text"), ("audio", "audio"), ("vision", "vision")):
        assert [row[name] for row in rows] == pytest.approx([row[output] / 3 for row in direct], abs=1e-6)
    scores = tables.read_json(paths.METRICS)
    assert set(scores["made"]) == {"self_mm", "train_median"}
    assert set(scores["other"]) == {"self_mm from made"}  # it has no train split whose median could be a floor
    found = scores["other"]["self_mm from made"]
    assert {key: found[key] for key in ("trained_on", "split", "mapped", "seeds")} == {
        "trained_on": "made",
        "split": "test",
        "mapped": [[-3.0, 3.0], [-1.0, 1.0]],
        "seeds": 1,
    }
    clipped = [(max(-1, min(1, row["prediction"])), max(-1, min(1, row["label"]))) for row in rows[:4]]
    assert found["mae"] == pytest.approx(sum(abs(p - y) for p, y in clipped) / 4)
    said = capsys.readouterr().out
    assert "predicts is mapped from [-3.0, 3.0] to [-1.0, 1.0]" in said
    assert f"self_mm from made on other: MAE {found['mae']:.3f} over 4 clips of the test split" in said
    with (paths.PLOTS / "predictions.csv").open(newline="") as file:
        plotted = list(csv.DictReader(file))
    assert sum(row["network"] == "self_mm from made" for row in plotted) == 4


def test_without_a_test_split_all_labelled_clips_count(capsys: pytest.CaptureFixture[str]):
    made.write_table("other", ("valid",) * 3 + (None,) * 2)
    crossed()
    found = tables.read_json(paths.METRICS)["other"]["self_mm from made"]
    assert found["split"] == "all" and "mapped" not in found
    assert "over 3 clips with a label (it has no test split)" in capsys.readouterr().out


def test_a_trained_data_set_has_both_its_own_scores_and_the_others():
    made.write_table("other")
    crossed()
    scores = tables.read_json(paths.METRICS)["other"]
    assert set(scores) == {"self_mm", "self_mm from made", "train_median"}
    assert scores["self_mm"]["seeds"] == 2 and scores["self_mm from made"]["seeds"] == 1


def test_predictions_of_unlabelled_clips_are_in_their_data_sets_range():
    """Each side by its own factor, so that what is neutral stays neutral."""
    table = made.write_table("mine", (None,) * 3, label_range=[-6.0, 1.0])
    train.run()
    evaluate.run()
    rows = [row for row in tables.read(paths.PREDICTIONS).to_pylist() if row["dataset"] == "mine"]
    direct = predict(evaluate.kept_run("made/self_mm"), table, Path("tiny"))["fusion"].to_pylist()
    assert [row["prediction"] for row in rows] == pytest.approx(
        [value / 3 if value > 0 else value * 2 for value in direct], abs=1e-5
    )
    assert "mine" not in tables.read_json(paths.METRICS)


def test_clips_without_a_label_are_predicted_by_their_data_sets_own_run_and_counted_nowhere(
    capsys: pytest.CaptureFixture[str],
) -> None:
    splits = ("train",) * 6 + ("valid",) * 3 + ("test",) * 3
    table = made.write_table("mine", (*splits, None, None), neutral=3.0)
    train.run()
    evaluate.run()
    rows = [row for row in tables.read(paths.PREDICTIONS).to_pylist() if row["dataset"] == "mine"]
    ids = table["id"].to_pylist()
    for seed in (1, 2):
        own = {row["id"]: row for row in rows if row["seed"] == seed}
        assert own.keys() == set(ids) and {row["trained_on"] for row in own.values()} == {"mine"}
        assert [own[id]["split"] for id in ids[-2:]] == [own[id]["label"] for id in ids[-2:]] == [None, None]
    assert "Too few clips: mine has 6 train clips and 3 test clips; at least 30 train" in capsys.readouterr().out
    before = tables.read_json(paths.METRICS)["mine"]["train_median"]
    record = run_files.read(paths.run("mine", "self_mm", 1))
    assert record.neutral == 3 and "For its scale, add 3." in tables.scale(record.label_range, record.neutral)
    made.write_table("mine", splits)
    evaluate_again = floors.train_median(tables.read_arrow(paths.table("mine")))
    assert before == pytest.approx(evaluate_again), "the floor counts labelled clips alone"


def test_an_own_run_predicts_unlabelled_clips_before_the_demos(capsys: pytest.CaptureFixture[str]):
    made.write_table("demo", synthetic=True)
    made.write_table("made", synthetic=False)
    made.write_table("mine", (None,) * 3)
    made.write_params(evaluate={"unlabelled_run": "auto"})
    train.run()
    for trained_on, said in (("made", ""), ("demo", ". WARNING: that run was trained on SYNTHETIC clips")):
        evaluate.run()
        rows = [row for row in tables.read(paths.PREDICTIONS).to_pylist() if row["dataset"] == "mine"]
        assert {row["trained_on"] for row in rows} == {trained_on} and len(rows) == 3
        out = capsys.readouterr().out
        assert f"evaluate: no run was trained on mine; {trained_on}/self_mm-" in out and (
            said in out if said else "SYN" not in out
        )
        for file in paths.RUNS.glob("made/*/run.json"):
            tables.write_json(file, tables.read_json(file) | {"weights": False})


@pytest.mark.parametrize(
    ("dataset", "run", "error", "message"),
    [
        ("othr", "made/self_mm", ParamsError, r"names the data set othr; data/tables has made, mine, other\."),
        ("made", "made/self_mm", ParamsError, "made/self_mm on made, which it was trained on"),
        ("mine", "made/self_mm", TableError, "on mine, which has no labels. Give it a label.csv, or take the row out"),
        ("other", "made/tfn", TableError, "no run made/tfn with its weights.* evaluate.across in params.yaml"),
    ],
)
def test_what_cannot_be_measured_is_an_error(dataset: str, run: str, error: type[Exception], message: str):
    made.write_table("other", ("test",) * 3)
    made.write_table("mine", (None,) * 3)
    with pytest.raises(error, match=message):
        crossed(dataset, run)


def test_weights_that_were_not_kept_are_an_error():
    made.write_table("other", ("test",) * 3)
    with pytest.raises(TableError, match="set train.keep to best, then: dvc repro"):
        crossed(train={"keep": "none"})
    assert not Path(paths.METRICS).exists()
