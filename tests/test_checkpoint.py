"""A run's folder rebuilds its network by itself, and the train and evaluate stages keep what they should."""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml

from model import checkpoint, run
from model.predict import clips_for, infer, predict
from pipeline import paths, tables, workers
from pipeline.errors import ParamsError, TableError
from stages import evaluate, train
from tests import tiny


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A trained run."""
    return _train(tmp_path, tmp_path / "run")


def _train(place: Path, folder: Path, seed: int = 7) -> Path:
    table = tiny.table(absent=[(3, "audio"), (4, "text")])
    tables.write_arrow(place / "made.arrow", table, tables.metadata(table))
    encoder = tiny.encoder(place / "bert")
    run.train(run.Job(place / "made.arrow", "self_mm", seed, "mosi", tiny.hyper(), encoder, threads=1), folder)
    shutil.rmtree(encoder)  # a run needs no encoder but its own
    return folder


def test_a_saved_run_predicts_the_same_again(folder: Path):
    kept = tables.read(folder / "predictions.parquet")
    assert predict(folder, tiny.table(absent=[(3, "audio"), (4, "text")])).sort_by("id").equals(kept)
    assert kept.schema.equals(tables.RUN_PREDICTIONS)
    assert kept["audio"].null_count == kept["text"].null_count == 1
    assert kept["fusion"].null_count == 0


def test_same_seed_same_bytes(folder: Path, tmp_path: Path):
    again = _train(tmp_path, tmp_path / "again")
    assert sorted(p.name for p in again.iterdir()) == sorted(p.name for p in folder.iterdir())
    for file in folder.iterdir():
        assert (again / file.name).read_bytes() == file.read_bytes(), file.name


def test_run_json_says_what_the_run_was(folder: Path, tmp_path: Path):
    described = checkpoint.describe(folder)
    assert described["hyper"]["fit"]["accumulate"] == 2
    assert described["valid"]["mae"] == pytest.approx(
        min(float(row) for row in _column(folder / "curves.csv", "valid_mae"))
    )
    assert str(tmp_path) not in (folder / "run.json").read_text()
    assert described["best_epoch"] <= described["epochs"] == 3


def test_clips_without_labels_are_predicted_too(folder: Path):
    unlabelled = tiny.table(splits=(None,) * 5, dataset="mine")
    found = predict(folder, unlabelled)
    assert found["split"].null_count == len(found) == 5
    assert predict(folder, unlabelled.take([4, 0, 2]))["id"].to_pylist() == [
        unlabelled["id"][i].as_py() for i in (4, 0, 2)
    ]
    silent = predict(folder, tiny.table(splits=(None,) * 5, without=["audio"], dataset="mine"))
    assert silent["audio"].null_count == 5 and silent["vision"].null_count == 0


def test_predictions_do_not_depend_on_the_other_clips(folder: Path):
    described, network = checkpoint.describe(folder), checkpoint.load(folder)
    whole = infer(network, clips_for(described, tiny.table())).to_pylist()
    part = infer(network, clips_for(described, tiny.table().slice(5, 3))).to_pylist()
    by_id = {row["id"]: row["fusion"] for row in whole}
    assert all(row["fusion"] == pytest.approx(by_id[row["id"]], abs=1e-5) for row in part)


def test_another_extractor_is_refused(folder: Path):
    table = tiny.table(dataset="mine")
    metadata = tables.metadata(table)
    metadata["columns"]["audio"] = ["a", "b"]
    metadata["extraction"]["audio"]["extractor"] = "covarep"
    with pytest.raises(TableError) as error:
        predict(folder, tables.with_metadata(table, metadata))
    assert str(error.value) == (
        "mine holds 2 audio features (covarep), the run made/self_mm-7 was trained on 3 (audio_made); they differ in "
        "extractor. Set audio in params.yaml to what the run was trained on, then: dvc repro"
    )


def test_another_encoder_is_refused(folder: Path):
    table = tiny.table(dataset="mine")
    other = tables.with_metadata(table, tables.metadata(table) | {"encoder": "bert-base-chinese", "language": "zh"})
    with pytest.raises(
        TableError, match=r"text encoder bert-base-chinese \(zh\), the run made/self_mm-7 .* tiny \(en\)"
    ):
        predict(folder, other)


def test_a_run_without_weights_says_where_they_went(folder: Path):
    (folder / "weights.safetensors").unlink()
    with pytest.raises(TableError, match="train.keep in params.yaml kept another seed's, or none"):
        predict(folder, tiny.table())


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with two training tables, one of them without labels."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAWMSA_CACHE", str(tmp_path / "cache"))
    _table("made")
    _table("mine", splits=(None,) * 3)
    tiny.encoder(Path("tiny"))
    _params()
    return tmp_path


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks without processes, which cost seconds each to start."""

    def run_here(function: Callable[[Any], Any], tasks: Sequence[Any], **_: object) -> Iterator[workers.Outcome[Any]]:
        yield from (workers.Outcome(index, function(task), None) for index, task in enumerate(tasks))

    monkeypatch.setattr(workers, "run", run_here)


def _table(name: str, **kwargs: object) -> None:
    table = tiny.table(dataset=name, **kwargs)
    tables.write_arrow(paths.table(name), table, tables.metadata(table))


def _params(**changes: object) -> None:
    blocks = {
        "workers": 1,
        "threads": 1,
        "train": {"networks": ["self_mm"], "seeds": {"default": [1, 2]}, "keep": "best", **changes},
        "networks": {"self_mm": {"mosi": tiny.hyper(max_epochs=2).model_dump()}},
        "evaluate": {"unlabelled_run": "made/self_mm"},
    }
    Path("params.yaml").write_text(yaml.safe_dump(blocks))


def _column(file: Path, name: str) -> list[str]:
    header, *rows = (line.split(",") for line in file.read_text().splitlines())
    return [row[header.index(name)] for row in rows]


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_the_stages_end_to_end(project: Path, capsys: pytest.CaptureFixture[str]):
    train.main()
    assert "2 runs, computed 2, from cache 0, weights kept 1" in capsys.readouterr().out
    kept = {f.parent.name for f in paths.RUNS.rglob("weights.safetensors")}
    runs = {f.parent.name: json.loads(f.read_text()) for f in paths.RUNS.rglob("run.json")}
    best = min(runs, key=lambda name: runs[name]["valid"]["mae"])
    assert kept == {best} == {name for name, described in runs.items() if described["weights"]}
    assert len([f for f in (project / "cache").rglob("*") if f.is_file() and f.stat().st_nlink > 1]) == 1

    evaluate.main()
    metrics = tables.read_json(paths.METRICS)
    assert set(metrics) == {"made"}
    assert metrics["made"]["self_mm"]["seeds"] == 2
    assert metrics["made"]["train_median"]["corr"] is None
    predictions = tables.read(paths.PREDICTIONS)
    assert predictions.schema.equals(tables.PREDICTIONS)
    rows = predictions.to_pylist()
    assert len([row for row in rows if row["dataset"] == "made"]) == 40
    assert [(r["trained_on"], r["network"], r["label"]) for r in rows if r["dataset"] == "mine"] == [
        ("made", "self_mm", None)
    ] * 3
    assert len(_column(paths.PLOTS / "curves.csv", "valid_mae")) == 4
    assert len(_column(paths.PLOTS / "predictions.csv", "actual")) == 4


def test_runs_depend_on_their_table_alone(
    project: Path, in_process: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    train.main()
    first = _bytes(paths.RUNS)
    _table("second")
    capsys.readouterr()
    train.main()  # a second data set does not retrain the first
    assert "4 runs, computed 2, from cache 2" in capsys.readouterr().out
    paths.table("second").unlink()
    train.main()  # and leaves no trace when it goes
    assert "computed 0" in capsys.readouterr().out
    assert _bytes(paths.RUNS) == first
    monkeypatch.undo()  # processes again
    monkeypatch.chdir(project)
    monkeypatch.setenv("RAWMSA_CACHE", str(project / "another cache"))
    train.main()  # a fresh run gives the same bytes
    assert _bytes(paths.RUNS) == first


def test_keep_all_trains_again_only_what_lost_its_weights(
    project: Path, in_process: None, capsys: pytest.CaptureFixture[str]
):
    train.main()
    _params(keep="all")
    capsys.readouterr()
    train.main()
    assert "2 runs, computed 1, from cache 1, weights kept 2" in capsys.readouterr().out
    _params(keep="none")
    train.main()
    assert not list(paths.RUNS.rglob("weights.safetensors"))
    evaluate.main()
    assert (
        "mine is left without predictions: data/runs holds no run made/self_mm with its weights"
        in capsys.readouterr().out
    )
    assert pq.read_table(paths.PREDICTIONS)["dataset"].unique().to_pylist() == ["made"]


def test_a_table_that_cannot_be_trained_on_is_named(project: Path, capsys: pytest.CaptureFixture[str]):
    paths.table("made").unlink()
    _table("short", splits=("train", "train"))
    train.main()
    out = capsys.readouterr().out
    assert "short is not trained on: its valid split has no clips" in out
    assert "mine is not trained on: it has no labels" in out


def test_seeds_need_a_default(project: Path):
    _params(seeds={"made": [1]})
    with pytest.raises(ParamsError, match="train.seeds: .* expected a list of seeds under `default`"):
        train.main()


def test_no_block_for_a_convention_says_which_are_there(project: Path):
    with pytest.raises(ParamsError, match=r"has the blocks mosi, but other needs one\s+named other or.*sims"):
        train._hyper("self_mm", "other", "sims")
