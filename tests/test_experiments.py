"""Experiments end to end: the rows that the paper's tables have, what is measured of them, and what is never trained twice."""

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pyarrow as pa
import pytest
import yaml

from app import experiment as command
from model import experiment, settings
from model.measures import experiments, metrics, ulabels
from model.measures.experiments import Row, Runs
from model.training import jobs
from pipeline import paths, tables
from pipeline.errors import ParamsError, StageError
from pipeline.execution import cache, workers
from pipeline.execution.cache import RUNS, WEIGHTS
from pipeline.execution.tasks import Failure, Outcome
from report.experiments import text
from stages import __main__ as command_line
from tests import networks, projects, tiny
from tests.trainable import read_network, write_network

ROOT = Path(__file__).parents[1]
SEEDS = [1, 2]
HUMAN = tuple(ulabels.UNIMODAL.values())
CHOICE = {"preset": "paper", "values": "made"}
PAPERS = ["tfn", "lmf", "mfn", "raven", "mfm", "mult", "misa", "mag_bert"]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A training table with human labels, a tiny encoder, and tasks that run here, not in processes of their own."""

    def run_here(function: Callable[[Any], Any], tasks: Sequence[Any], **_: object) -> Iterator[Outcome[Any]]:
        yield from (Outcome(index, function(task), None) for index, task in enumerate(tasks))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAWMSA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(workers, "run", run_here)
    tiny.encoder(Path("tiny"))
    _write(_table())
    return tmp_path


def _table(**kwargs: Any) -> pa.Table:
    """Clips that five videos share, with human labels by the m-label."""
    made = tiny.table(("train",) * 12 + ("valid",) * 4 + ("test",) * 10, **kwargs)
    for offset, name in enumerate(HUMAN):
        labels = pa.array(made["label"].to_numpy() / 2 + offset / 10, pa.float32())
        made = made.set_column(made.column_names.index(name), made.schema.field(name), labels)
    return made


def _without(table: pa.Table, split: str) -> pa.Table:
    return table.filter(pa.compute.not_equal(table["split"], split))


def _write(table: pa.Table, name: str = "made") -> None:
    tables.write_table(paths.table(name), [table], tables.metadata(table) | {"dataset": name})


def _params(
    datasets: dict[str, list[str]], trained: Sequence[str] = ("self_mm",), baselines: Sequence[str] = ()
) -> None:
    """trained: train.networks; baselines: experiment.networks, with other values, those of `baseline`."""
    blocks = {
        "workers": 1,
        "threads": 1,
        "processes": 1,
        "limits": {"seconds": 600, "memory_gib": 8, "max_failed_fraction": 0.5, "checkpoint_seconds": 0},
        "train": {"networks": dict.fromkeys(trained, CHOICE), "seeds": {"default": SEEDS}, "keep": "best"},
        "precision": "auto",
        "experiment": {
            "seeds": SEEDS,
            "networks": dict.fromkeys(baselines, CHOICE | {"values": "baseline"}),
            "datasets": datasets,
        },
    }
    Path("params.yaml").write_text(yaml.safe_dump(blocks, sort_keys=False))
    for name in {*trained, *baselines}:
        write_network(name, _block(name))


def _block(network: str) -> dict[str, Any]:
    values = {"mosi": networks.hyper(network, max_epochs=2).model_dump()}
    return {"presets": {"paper": {}}, "values": {"made": values, "baseline": values}}


def _plan(name: str, **chosen: Sequence[str]) -> experiment.Plan:
    """What would be trained for an experiment on the data set `made`."""
    _params({}, **chosen)
    (plan,) = experiment._plans("made", [name], SEEDS)
    return plan


def _make(datasets: dict[str, list[str]], capsys: pytest.CaptureFixture[str]) -> str:
    _params(datasets)
    experiment.run()
    return capsys.readouterr().out


def _read(name: str, dataset: str = "made") -> dict[str, Any]:
    return tables.read_json(paths.experiment(dataset, name))


def _cached(kind: str) -> list[Path]:
    return [path for path in (paths.cache() / kind).glob("??/*") if len(path.name) == cache.KEY_LENGTH]


def _runs() -> list[Path]:
    """The folders of the runs in the cache."""
    return [cache.Store(RUNS).path(entry.name) for entry in _cached(RUNS)]


@pytest.mark.slow
def test_tables_and_figures_from_one_grid(project: Path, capsys: pytest.CaptureFixture[str]):
    """Without vision table4 has four rows, one of them Self-MM itself, which table1, table3 and the figures share."""
    _write(_table(without=["vision"]))
    said = _make({"made": ["table1", "table3", "table4", "figure4", "figure5"]}, capsys)
    assert "5 tables and figures of 10 runs, computed 10, from cache 0" in said  # (4 + Human-MM) x 2 seeds
    assert _cached(WEIGHTS) == [] and len(_cached(RUNS)) == 10
    _table4(_read("table4"))
    table3 = _read("table3")
    assert [row["label"] for row in table3["rows"]] == ["Human-MM", "Self-MM"] and table3["reference"] == "Self-MM"
    assert table3["rows"][1]["scores"] == _read("table1")["rows"][0]["scores"]
    assert [entry["label"] for entry in table3["ulabels"]] == ["Self-MM"]  # Human-MM makes none
    _figures(_read("figure4"), _read("figure5"))
    projects.ingest(({"name": "made"}, projects.clips("made")))  # for the report
    for name in ("table1", "table3", "table4", "figure4", "figure5"):
        assert "|" in text("made", name), name
    _again(capsys)


def _table4(found: dict[str, Any]) -> None:
    assert {key: found[key] for key in ("dataset", "convention", "synthetic", "seeds", "reference")} == {
        "dataset": "made",
        "convention": "mosi",
        "synthetic": True,
        "seeds": SEEDS,
        "reference": "MTA",
    }
    rows = {row["label"]: row for row in found["rows"]}
    assert list(rows) == ["M", "MA", "MT", "MTA"]
    assert rows["MT"]["changes"] == {"architecture": {"tasks": ["text"]}}
    assert rows["M"]["heads"] == {} and set(rows["MA"]["heads"]) == {"audio"}
    assert found["ulabels"][0]["label"] == "MA"
    assert [floor["label"] for floor in found["floors"]] == ["Train median", "Majority class", "TF-IDF + ridge"]
    for row in rows.values():
        scores = row["scores"]
        assert scores["seeds"] == 2 and scores["std"].keys() == row["interval"].keys()
        low, high = row["interval"]["mae"]
        assert low < scores["mae"] < high
        assert set(row["contributions"]) == {"text", "audio"} and row["setting"] == "unaligned"
    assert rows["MTA"]["difference"] is None
    mean, low, high = rows["M"]["difference"]["mae"]
    assert mean == rows["M"]["scores"]["mae"] - rows["MTA"]["scores"]["mae"] and low <= mean <= high
    assert high - low < rows["M"]["interval"]["mae"][1] - rows["M"]["interval"]["mae"][0]  # paired


def _figures(figure4: dict[str, Any], figure5: dict[str, Any]) -> None:
    labels = _table().slice(0, 12)["label"].to_numpy()
    first, *_, last = figure4["epochs"]
    assert first["text"] == np.histogram(labels, figure4["edges"])[0].tolist()  # u = m in the first epoch
    assert first["epoch"] == 1 and last["audio"] != first["audio"] and sum(last["audio"]) == 12 and "vision" not in last
    clips = figure5["clips"]
    assert len({clip["id"] for clip in clips}) == 3
    assert {"id", "text", "label", "prediction", "text_u", "audio_u", "vision_u", *HUMAN} <= clips[0].keys()
    assert figure5["seed"] == figure4["seed"]


def _again(capsys: pytest.CaptureFixture[str]) -> None:
    """A grid resumes: of two runs lost, two are trained, and the files are the same to the byte."""
    before = {file.name: file.read_bytes() for file in paths.EXPERIMENTS.rglob("*.json")}
    for folder in _cached(RUNS)[:2]:
        shutil.rmtree(folder)
    assert "computed 2, from cache 8" in _make({"made": ["table1", "table3", "table4", "figure4", "figure5"]}, capsys)
    assert {file.name: file.read_bytes() for file in paths.EXPERIMENTS.rglob("*.json")} == before
    assert paths.EXPERIMENTS_MADE.read_text().splitlines()[1:3] == ["made,table1", "made,table3"]
    assert "0 tables and figures" in _make({}, capsys)  # what is named no more goes
    assert list(paths.EXPERIMENTS.iterdir()) == [paths.EXPERIMENTS_MADE]  # DVC would warn of an empty folder
    assert paths.EXPERIMENTS_MADE.read_text() == "dataset,experiment\n"


def test_scores_are_the_tables_measures_of_the_runs(project: Path, capsys: pytest.CaptureFixture[str]):
    _make({"made": ["table1"]}, capsys)
    (row,) = _read("table1")["rows"]
    truth = {clip["id"]: clip for clip in _table().to_pylist() if clip["split"] == "test"}
    maes, valid, text_head, masked = [], [], [], []
    for folder in _runs():
        predicted = [r for r in tables.read(folder / "predictions.parquet").to_pylist() if r["id"] in truth]
        labels = np.array([truth[r["id"]]["label"] for r in predicted], np.float32)
        maes.append(metrics.mae(np.array([r["fusion"] for r in predicted], np.float32), labels))
        valid.append(tables.read_json(folder / "run.json")["valid"]["mae"])
        text_head.append(np.mean([abs(r["text"] - truth[r["id"]]["label_T"]) for r in predicted]))
        without = [r for r in tables.read(folder / "contributions.parquet").to_pylist() if r["modality"] == "audio"]
        masked.append(np.mean([abs(r["masked"] - truth[r["id"]]["label"]) for r in without]) - maes[-1])
    assert row["scores"]["mae"] == pytest.approx(np.mean(maes)) and row["scores"]["std"]["mae"] == pytest.approx(
        np.std(maes)
    )
    assert row["valid"] == pytest.approx({"mae": np.mean(valid), "std": np.std(valid)})
    assert row["heads"]["text"]["mae"] == pytest.approx(np.mean(text_head))
    assert row["contributions"]["audio"]["masked"] == pytest.approx([np.mean(masked), np.std(masked)], abs=1e-6)


def test_test_labels_are_for_scores_alone(project: Path, capsys: pytest.CaptureFixture[str]):
    """Other labels of the test split train nothing anew and choose no other run or epoch."""
    _make({"made": ["table1", "figure4"]}, capsys)
    before, chosen = _read("table1"), _read("figure4")
    table = _table()
    labels = np.where(np.array(table["split"].to_pylist()) == "test", 1.0, table["label"].to_numpy())
    for name in ("label", *HUMAN):
        values = pa.array(
            labels if name == "label" else np.where(labels == 1, 0.0, table[name].to_numpy()), pa.float32()
        )
        table = table.set_column(table.column_names.index(name), table.schema.field(name), values)
    _write(table)
    assert "computed 0, from cache 2" in _make({"made": ["table1", "figure4"]}, capsys)
    after = _read("table1")
    assert after["rows"][0]["valid"] == before["rows"][0]["valid"] and _read("figure4") == chosen
    assert after["ulabels"] == before["ulabels"]
    assert after["rows"][0]["scores"]["mae"] != before["rows"][0]["scores"]["mae"]


def test_what_cannot_be_made_says_why_and_the_rest_is_made(project: Path, capsys: pytest.CaptureFixture[str]):
    _write(tiny.table(), "unjudged")
    _write(_without(_table(), "test"), "untested")
    asked = {"unjudged": ["table3"], "untested": ["table1", "figure5"], "nowhere": ["table1"]}
    said = _make(asked, capsys)
    assert "unjudged/table3 is not made: it needs human unimodal labels: the columns label_T, label_A, label_V" in said
    assert "untested/table1 is not made: it needs clips in the test split" in said
    assert "nowhere/table1 is not made: nowhere has no training table" in said
    assert [file.name for file in paths.EXPERIMENTS.rglob("*.json")] == ["figure5.json"]
    with pytest.raises(ParamsError, match=r"found 'table2', input should be 'table1', 'table3'"):
        _make({"made": ["table2"]}, capsys)


def test_a_failed_run_stops_its_experiment_alone(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    real = workers.run

    def human_fails(function: Any, tasks: Sequence[Any], **kwargs: Any) -> Iterator[Outcome[Any]]:
        fails = [bool(task.job.changes) for task in tasks]
        done = real(function, [task for task, fail in zip(tasks, fails, strict=True) if not fail], **kwargs)
        for index, fail in enumerate(fails):
            value = None if fail else next(done).value
            yield Outcome(index, value, Failure("ParamsError", "the loss is no number") if fail else None)

    monkeypatch.setattr(workers, "run", human_fails)
    with pytest.raises(StageError, match="2 of 4 runs failed; runs that ended are kept"):
        _make({"made": ["table1", "table3"]}, capsys)
    assert [file.name for file in paths.EXPERIMENTS.rglob("*.json")] == ["table1.json"]


def test_rows_of_modalities_that_a_data_set_lacks_are_left_out():
    full = ["M", "MV", "MA", "MT", "MAV", "MTV", "MTA", "MTAV"]  # the paper's order
    rows = {row.label: row for row in experiments.rows("table4", tiny.table(), ["self_mm"])}
    assert list(rows) == full and rows["MTV"].changes == {"architecture": {"tasks": ["text", "vision"]}}
    table = tiny.table(without=["audio", "vision"])
    assert [row.label for row in experiments.rows("table4", table, ["self_mm"])] == ["M", "MT"]
    assert experiments.unable("table4", table, ["lmf"]).startswith("it needs self_mm in train.networks")


def test_table1_has_the_papers_baselines_then_what_is_trained_besides_then_self_mm(project: Path):
    plan = _plan("table1", trained=["self_mm", "mtfn", "mfn"], baselines=PAPERS)
    labels = [row.label for row, _ in plan.rows]
    assert labels == ["TFN", "LMF", "MFN", "RAVEN", "MFM", "MulT", "MISA", "MAG-BERT", "MTFN", "Self-MM"]
    assert experiments.reference("table1", [row for row, _ in plan.rows]).label == "Self-MM"
    jobs = {task.job.network: task.job for task in plan.tasks}
    assert jobs["lmf"].values == "baseline" and jobs["mfn"].values == "made"  # as train has it
    assert [task.job.seed for _, tasks in plan.rows for task in tasks] == SEEDS * 10


def test_table1_is_made_without_self_mm(project: Path):
    plan = _plan("table1", trained=["mult"], baselines=["tfn"])
    assert [row.label for row, _ in plan.rows] == ["TFN", "MulT"]
    assert experiments.reference("table1", [row for row, _ in plan.rows]).label == "MulT"


def test_a_network_that_needs_what_the_data_set_lacks_is_no_row(project: Path, capsys: pytest.CaptureFixture[str]):
    _write(_table(without=["text"]))
    plan = _plan("table1", baselines=["raven", "mult", "mag_bert"])
    assert [row.label for row, _ in plan.rows] == ["MulT", "Self-MM"]
    assert capsys.readouterr().out.splitlines() == [
        "experiment: made: the row 'RAVEN' is left out: it needs text",
        "experiment: made: the row 'MAG-BERT' is left out: it needs text",
    ]
    _params({}, trained=["raven"], baselines=["mag_bert"])
    assert list(experiment._plans("made", ["table1"], SEEDS)) == []
    assert "made/table1 is not made: mag_bert and raven need modalities that it lacks" in capsys.readouterr().out


def test_table3_has_the_papers_rows(project: Path):
    plan = _plan("table3", baselines=PAPERS)
    assert [row.label for row, _ in plan.rows] == ["TFN", "LMF", "Human-MM", "Self-MM"]
    assert [task.job.values for task in plan.tasks[::2]] == ["baseline", "baseline", "made", "made"]
    assert experiments.reference("table3", [row for row, _ in plan.rows]).label == "Self-MM"


def test_a_row_says_how_its_network_takes_the_data(project: Path, capsys: pytest.CaptureFixture[str]):
    _make({"made": ["table1"]}, capsys)
    of_self_mm = _runs()
    rows = [
        Runs(Row("MFN", "mfn"), of_self_mm),
        Runs(Row("MulT", "mult"), of_self_mm),
        Runs(Row("Self-MM"), of_self_mm),
    ]

    def settings(table: pa.Table) -> list[str]:
        content = experiments.content("table1", table, rows, SEEDS)
        return [row.setting for row in content.rows]

    table = _table()
    metadata = tables.metadata(table)
    aligned = tables.with_metadata(table, metadata | {"policy": {"aligned": True}})
    silent = tables.with_metadata(table, metadata | {"columns": {}})
    untold = tables.with_metadata(_table(without=["text"]), metadata)
    assert settings(table) == ["unaligned, a share a token", "unaligned", "unaligned"]
    assert settings(aligned) == ["aligned"] * 3
    assert settings(silent) == ["text only"] * 3
    assert settings(untold) == ["unaligned"] * 3  # no token to take a mean for


@pytest.mark.parametrize("dataset", ["mosi", "mosei", "sims"])
def test_the_repositorys_baselines_are_the_papers_and_have_values(dataset: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(ROOT)
    chosen = settings.experiment().networks
    assert list(chosen) == PAPERS
    for name, choice in chosen.items():
        assert settings.hyper_of(name, choice, dataset, "sims" if dataset == "sims" else "mosi", {})[0] == dataset


def test_every_ablation_changes_a_setting_that_there_is_and_a_row_that_changes_nothing_is_left_out(
    project: Path, capsys: pytest.CaptureFixture[str]
):
    rows = experiments.rows("ulgm", _table(), ["self_mm"])
    assert all(set(row.changes["architecture"]["ulgm"]) <= tiny.ULGM.keys() for row in rows[1:])
    _params({"made": ["ulgm"]})
    content = read_network()
    content["values"]["made"]["mosi"]["architecture"]["ulgm"]["alpha"] = "symmetric"
    write_network("self_mm", content)
    (plan,) = experiment._plans("made", ["ulgm"], SEEDS)
    assert len(plan.rows) == len(rows) - 1
    assert "the row 'symmetric alpha' is left out: it is what the default does" in capsys.readouterr().out


def test_ulabels_against_human_labels_by_hand(tmp_path: Path):
    """Two clips, m = 1 and -1, human text labels 2 and -1."""
    made = tiny.table(("train", "train", "valid"))
    for name, values in (("label", [1.0, -1.0, 0.0]), ("label_T", [2.0, -1.0, None])):
        place = made.column_names.index(name)
        made = made.set_column(place, made.schema.field(name), pa.array(values, pa.float32()))
    first, second = made["id"].to_pylist()[:2]
    rows = [
        {"epoch": 1, "id": first, "text": 1.0},
        {"epoch": 1, "id": second, "text": -1.0},
        {"epoch": 2, "id": first, "text": 1.5, "raw_text": 1.75},
        {"epoch": 2, "id": second, "text": -1.25, "raw_text": -2.0},
    ]
    tables.write(tmp_path / "ulabels.parquet", tables.rows(tables.ULABELS, rows))
    start, end = ulabels.epochs([tmp_path, tmp_path / "none"], made)
    assert (start.epoch, start.seeds, list(start.figures)) == (1, 1, ["text"])
    text = start.figures["text"]
    assert text["mae"] == text["control_mae"] == 0.5
    assert text["shift"] == 0 and text["raw_shift"] is None and text["offset_corr"] is None
    assert end.figures["text"] == pytest.approx(
        {
            "shift": 0.375,
            "raw_shift": 0.875,
            "change": 0.375,
            "raw_change": None,
            "mae": 0.375,
            "corr": 1.0,
            "control_mae": 0.5,
            "control_corr": 1.0,
            "offset_corr": 1.0,
        }
    )


def test_an_experiment_is_asked_for_in_params_and_nothing_else_there_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    before = re.sub(r"datasets: {.*} #", "datasets: {} #", (ROOT / "params.yaml").read_text())
    Path("params.yaml").write_text(before)
    wanted = [("table4", "new"), ("figure4", "new"), ("table1", "other")]
    assert [command._asked(name, dataset) for name, dataset in wanted] == [False] * 3
    assert all(command._asked(name, dataset) for name, dataset in wanted)
    after = Path("params.yaml").read_text()
    datasets = "{new: [table4, figure4], other: [table1]}"
    assert after == before.replace("datasets: {} #", f"datasets: {datasets} #")


def test_the_command_makes_and_prints(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    _params({})
    projects.ingest(({"name": "made"}, projects.clips("made")))
    monkeypatch.setattr(command, "_reproduce", experiment.run)
    command.run("table1", "made")
    said = capsys.readouterr().out
    assert "added table1 to experiment.datasets.made in params.yaml" in said and "Self-MM" in said
    with pytest.raises(StageError, match="There is no data set mad: data/raw holds none"):
        command.run("table1", "mad")
    _write(_without(_table(), "test"))
    with pytest.raises(StageError, match="made/table4 was not made: it needs clips in the test split"):
        command.run("table4", "made")


def test_the_command_line_knows_every_experiment():
    asked = command_line.experiment.__annotations__["name"]
    known = {name for one in get_args(asked) for kind in get_args(one) for name in get_args(kind)}
    assert known == {*experiments.TABLES, *experiments.FIGURES}
    for name in known:
        settings.Experiment(seeds=[1], networks={}, datasets={"made": [name]})


def test_a_table_is_hashed_once_for_all_its_experiments(project: Path, monkeypatch: pytest.MonkeyPatch):
    _write(_table())
    _params({})
    seen, hashed = jobs._seen, []
    monkeypatch.setattr(jobs, "_seen", lambda table: hashed.append(1) or seen(table))
    assert len(list(experiment._plans("made", ["table1", "figure4", "figure5"], SEEDS))) == 3
    assert len(hashed) == 1
