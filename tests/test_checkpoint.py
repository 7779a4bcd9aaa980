"""A run's folder rebuilds its network by itself, and the train and evaluate stages keep what they should."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from model import evaluate, run_files, train
from model.training import checkpoint, jobs, run
from model.training.predict import clips_for, infer, predict
from pipeline import paths, tables
from pipeline.errors import ParamsError, TableError
from pipeline.execution import workers
from tests import tiny
from tests.trainable import CHOICE, read_network, write_network, write_params, write_table

pytestmark = pytest.mark.slow  # whole stages or figures, a second or more each

NO_ENCODER = Path("none")  # the run has its own


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A trained run."""
    return _train(tmp_path, tmp_path / "run")


def _train(place: Path, folder: Path, seed: int = 7) -> Path:
    table = tiny.table(absent=[(3, "audio"), (4, "text")])
    tables.write_table(place / "made", [table], tables.metadata(table))
    encoder = tiny.encoder(place / "bert")
    run.train(
        run.Job(
            place / "made", "self_mm", "paper", "made", "mosi", {}, tiny.hyper(), seed, encoder, None, 1, 1, "float32"
        ),
        folder,
    )
    shutil.rmtree(encoder)  # a run needs no encoder but its own
    return folder


def test_a_run_is_trained_on_train_and_chosen_with_valid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    given: list[Any] = []
    fit = run.fit

    def spied(network: Any, seen: Any, held_out: Any, *rest: Any) -> Any:
        given.extend([seen, held_out])
        return fit(network, seen, held_out, *rest)

    monkeypatch.setattr(run, "fit", spied)
    _train(tmp_path, tmp_path / "run")
    made = tiny.table()
    split = dict(zip(made["id"].to_pylist(), made["split"].to_pylist(), strict=True))
    shown = [[split[id] for id in clips.batch(range(len(clips))).ids] for clips in given]
    assert shown == [["train"] * 12, ["valid"] * 4]


def test_a_saved_run_predicts_the_same_again(folder: Path):
    kept = tables.read(folder / "predictions.parquet")
    assert predict(folder, tiny.table(absent=[(3, "audio"), (4, "text")]), NO_ENCODER).sort_by("id").equals(kept)
    assert kept.schema.equals(tables.RUN_PREDICTIONS)
    assert kept["audio"].null_count == kept["text"].null_count == 1
    assert kept["fusion"].null_count == 0


def test_same_seed_same_bytes(folder: Path, tmp_path: Path):
    again = _train(tmp_path, tmp_path / "again")
    assert sorted(p.name for p in again.iterdir()) == sorted(p.name for p in folder.iterdir())
    for file in folder.iterdir():
        assert (again / file.name).read_bytes() == file.read_bytes(), file.name


def test_run_json_says_what_the_run_was(folder: Path, tmp_path: Path):
    record = run_files.read(folder)
    assert record.hyper.fit.accumulate == 2
    assert record.valid.mae == pytest.approx(min(float(row) for row in _column(folder / "curves.csv", "valid_mae")))
    assert str(tmp_path) not in (folder / "run.json").read_text()
    labels = {row["id"]: row["label"] for row in tiny.table().to_pylist()}
    valid = [row for row in tables.read(folder / "predictions.parquet").to_pylist() if row["split"] == "valid"]
    for modality, corr in record.valid.heads.items():
        pairs = np.array([[row[modality], labels[row["id"]]] for row in valid]).T
        assert corr == pytest.approx(np.corrcoef(pairs)[0, 1], abs=1e-5)
    assert list(record.valid.heads) == ["text", "audio", "vision"]
    assert record.best_epoch <= record.epochs == 3


def test_only_heads_that_are_there_are_measured() -> None:
    table = tiny.table(("train", "valid", "valid", "valid"))
    rows = [
        {"id": id, "split": split, "fusion": 0.0, "text": 1.0, "audio": float(place) if split == "train" else None}
        for place, (id, split) in enumerate(zip(table["id"].to_pylist(), table["split"].to_pylist(), strict=True))
    ]
    found = run.heads(tables.rows(tables.RUN_PREDICTIONS, rows), table)
    assert found == {"text": None, "audio": None}  # constant; of no clip of the split; and no head for vision


def test_clips_without_labels_are_predicted_too(folder: Path):
    unlabelled = tiny.table(splits=(None,) * 5, dataset="mine")
    found = predict(folder, unlabelled, NO_ENCODER)
    assert found["split"].null_count == len(found) == 5
    assert predict(folder, unlabelled.take([4, 0, 2]), NO_ENCODER)["id"].to_pylist() == [
        unlabelled["id"][i].as_py() for i in (4, 0, 2)
    ]
    silent = predict(folder, tiny.table(splits=(None,) * 5, without=["audio"], dataset="mine"), NO_ENCODER)
    assert silent["audio"].null_count == 5 and silent["vision"].null_count == 0


def test_predictions_do_not_depend_on_the_other_clips(folder: Path):
    record, network = run_files.read(folder), checkpoint.load(folder)
    whole = infer(network, clips_for(record, tiny.table())).to_pylist()
    part = infer(network, clips_for(record, tiny.table().slice(5, 3))).to_pylist()
    by_id = {row["id"]: row["fusion"] for row in whole}
    assert all(row["fusion"] == pytest.approx(by_id[row["id"]], abs=1e-5) for row in part)


def test_another_extractor_is_refused(folder: Path):
    table = tiny.table(dataset="mine")
    metadata = tables.metadata(table)
    metadata["columns"]["audio"] = ["a", "b"]
    metadata["extraction"]["audio"]["extractor"] = "covarep"
    with pytest.raises(TableError) as error:
        predict(folder, tables.with_metadata(table, metadata), NO_ENCODER)
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
        predict(folder, other, NO_ENCODER)


def test_a_run_without_weights_says_where_they_went(folder: Path):
    (folder / "weights.safetensors").unlink()
    with pytest.raises(TableError, match="train.keep in params.yaml kept another seed's, or none"):
        predict(folder, tiny.table(), NO_ENCODER)


def test_altered_weights_are_refused_with_the_file_both_hashes_and_the_remedy(folder: Path):
    weights = folder / "weights.safetensors"
    recorded = run_files.read(folder).weights_sha256
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    found = hashlib.sha256(content).hexdigest()
    with pytest.raises(TableError) as error:
        predict(folder, tiny.table(), NO_ENCODER)
    assert str(error.value) == (
        f"{weights} was altered: its SHA-256 begins with {found[:12]}, expected {recorded[:12]}. "
        "Restore it with: dvc checkout data/runs; or train anew with: dvc repro"
    )


def test_altered_weights_that_are_placed_again_are_trained_anew(
    project: Path, in_process: None, capsys: pytest.CaptureFixture[str]
):
    train.run()
    before = _bytes(paths.RUNS)
    (weights,) = paths.RUNS.rglob("weights.safetensors")
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")  # it is the cache's file too
    capsys.readouterr()
    train.run()
    assert "computed 1, from cache 1" in capsys.readouterr().out
    assert _bytes(paths.RUNS) == before
    evaluate.run()


@pytest.fixture
def project(trainable: Path) -> Path:
    """A project with two training tables, one of them without labels."""
    write_table("mine", splits=(None,) * 3)
    return trainable


def _params(**changes: object) -> None:
    write_params(train=changes)


def _column(file: Path, name: str) -> list[str]:
    header, *rows = (line.split(",") for line in file.read_text().splitlines())
    return [row[header.index(name)] for row in rows]


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


@pytest.mark.slow
def test_the_stages_end_to_end(project: Path, capsys: pytest.CaptureFixture[str]):
    train.run()
    assert "2 runs, computed 2, from cache 0, weights kept 1" in capsys.readouterr().out
    kept = {f.parent.name for f in paths.RUNS.rglob("weights.safetensors")}
    runs = {f.parent.name: json.loads(f.read_text()) for f in paths.RUNS.rglob("run.json")}
    best = min(runs, key=lambda name: runs[name]["valid"]["mae"])
    assert kept == {best} == {name for name, described in runs.items() if described["weights"]}
    assert len([f for f in (project / "cache").rglob("*") if f.is_file() and f.stat().st_nlink > 1]) == 1

    evaluate.run()
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


@pytest.mark.slow
def test_runs_depend_on_their_table_alone(
    project: Path, in_process: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    train.run()
    first = _bytes(paths.RUNS)
    write_table("second")
    capsys.readouterr()
    train.run()  # a second data set does not retrain the first
    assert "4 runs, computed 2, from cache 2" in capsys.readouterr().out
    shutil.rmtree(paths.table("second"))
    train.run()  # and leaves no trace when it goes
    assert "computed 0" in capsys.readouterr().out
    assert _bytes(paths.RUNS) == first
    monkeypatch.undo()  # processes again
    monkeypatch.chdir(project)
    monkeypatch.setenv("RAWMSA_CACHE", str(project / "another cache"))
    train.run()  # a fresh run gives the same bytes
    assert _bytes(paths.RUNS) == first


def test_keep_all_trains_again_only_what_lost_its_weights(
    project: Path, in_process: None, capsys: pytest.CaptureFixture[str]
):
    train.run()
    _params(keep="all")
    capsys.readouterr()
    train.run()
    assert "2 runs, computed 1, from cache 1, weights kept 2" in capsys.readouterr().out
    _params(keep="none")
    train.run()
    assert not list(paths.RUNS.rglob("weights.safetensors"))
    evaluate.run()
    assert (
        "mine is left without predictions: data/runs holds no run made/self_mm with its weights"
        in capsys.readouterr().out
    )
    assert pq.read_table(paths.PREDICTIONS)["dataset"].unique().to_pylist() == ["made"]


def test_a_table_that_cannot_be_trained_on_is_named(project: Path, capsys: pytest.CaptureFixture[str]):
    shutil.rmtree(paths.table("made"))
    write_table("short", splits=("train", "train"))
    train.run()
    out = capsys.readouterr().out
    assert "short is not trained on: its valid split has no clips; give rows of label.csv the mode 'valid'" in out
    assert "mine is not trained on: it has no labels" in out


def test_seeds_need_a_default(project: Path):
    _params(seeds={"made": [1]})
    with pytest.raises(ParamsError, match="train.seeds: .* expected a list of seeds under `default`"):
        train.run()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"networks": {}}, r"train.networks: found {}, dictionary should have at least 1 item"),
        (
            {"networks": {"self_mm": CHOICE | {"preset": "papr"}}},
            "networks/self_mm.yaml: presets has paper, but .* names 'papr'; did you mean paper?",
        ),
        (
            {"networks": {"self_mm": CHOICE | {"values": "mine"}}},
            "networks/self_mm.yaml: values has made, but .* names 'mine'",
        ),
        ({"networks": {"selfmm": CHOICE}}, "names 'selfmm', but there is no model/networks/selfmm.py with a Network"),
        ({"seeds": {"default": [1], "made": [1, 1]}}, r"train.seeds.made: found \[1, 1\].* expected each once"),
        ({"seeds": {"default": [-1]}}, "train.seeds.default.0: found -1, .* greater than or equal to 0"),
        ({"seeds": {"default": []}}, r"train.seeds.default: found \[\], list should have at least 1 item"),
    ],
)
def test_a_fault_in_train_stops_before_anything_is_lost(
    project: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], message: str
):
    _nothing_runs(monkeypatch)
    (paths.RUNS / "made").mkdir(parents=True)
    _params(**changes)
    with pytest.raises(ParamsError, match=message):
        train.run()
    assert (paths.RUNS / "made").is_dir()


@pytest.mark.parametrize(
    ("part", "wrong", "message"),
    [
        (
            "groups",
            {"vison": {"lr": 1, "weight_decay": 0}},
            "groups: found .*'vison'.* keys text, audio, vision, heads",
        ),
        ("groups", {"text": {"lr": -1, "weight_decay": 0}}, "groups.text.lr: found -1, .* greater than 0"),
        ("architecture", {"frames": {"audoi": 16}}, "architecture.frames: found {'audoi': 16}, .* keys audio, vision"),
        ("architecture", {"layers": "abc"}, "architecture.layers: found 'abc', .* valid integer"),
        (
            "architecture",
            {"ulgm": tiny.ULGM | {"clamps": 1}},
            "architecture.ulgm.clamps: found 1, unknown key; did you mean clamp?",
        ),
        ("architecture", {"dropout": {"fusion": 1.5}}, "architecture.dropout.fusion: found 1.5, .* less than 1"),
        ("architecture", {"depth": 2}, "architecture.depth: found 2, unknown key"),
    ],
)
def test_a_fault_in_a_networks_block_stops_before_anything_runs(
    project: Path, monkeypatch: pytest.MonkeyPatch, part: str, wrong: dict[str, Any], message: str
):
    _nothing_runs(monkeypatch)
    _networks_block(part, wrong)
    with pytest.raises(
        ParamsError,
        match=rf"(?s)networks/self_mm.yaml does not fit:.*self_mm \(preset paper, values made.mosi\).{message}",
    ):
        train.run()


def _nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "run", lambda *_, **__: pytest.fail("a worker started"))


def _networks_block(part: str, changes: dict[str, Any]) -> None:
    found = read_network()
    found["values"]["made"]["mosi"][part] |= changes
    write_network("self_mm", found)


def test_the_precision_that_is_used_is_of_the_key_and_recorded(
    project: Path, in_process: None, monkeypatch: pytest.MonkeyPatch
):
    def task(**changes: Any) -> jobs.Task:
        write_params()
        blocks = yaml.safe_load(paths.PARAMS.read_text())
        paths.PARAMS.write_text(yaml.safe_dump(blocks | changes))
        return jobs.task(jobs.source("made"), "self_mm", jobs.Choice(**CHOICE), 1, {})

    on_cpu = task()
    assert task(precision="float32").key == on_cpu.key and on_cpu.job.precision == "float32"
    monkeypatch.setattr(jobs, "precision", {"auto": "bfloat16", "float32": "float32"}.__getitem__)  # as on a GPU
    assert task().key != on_cpu.key and task(precision="float32").key == on_cpu.key
    task()
    train.run()
    assert {run_files.read(file.parent).precision for file in paths.RUNS.rglob("run.json")} == {"bfloat16"}
    assert checkpoint.load(next(paths.RUNS.rglob("weights.safetensors")).parent).precision == "bfloat16"


def test_a_number_that_yaml_reads_as_text_becomes_a_number(project: Path):
    _networks_block("architecture", {"ulgm": tiny.ULGM | {"min_alpha": "1e-3"}})  # what YAML makes of 1e-3
    hyper = jobs.hyper_of("self_mm", jobs.Choice(**CHOICE), "made", "mosi", {})[1]
    assert hyper.architecture["ulgm"]["min_alpha"] == 0.001


def test_a_change_of_the_code_trains_anew(
    project: Path, in_process: None, capsys: pytest.CaptureFixture[str], sources: Callable[[str, str], None]
):
    train.run()
    capsys.readouterr()
    for file, text, computed in (
        ("model/networks/ulgm.py", "# a comment", 0),
        ("model/networks/lf.py", "CHANGED = 1", 0),  # which self_mm does not import
        ("model/networks/ulgm.py", "CHANGED = 1", 2),
    ):
        sources(file, text)
        train.run()
        assert f"computed {computed}, from cache {2 - computed}" in capsys.readouterr().out, (file, text)


@pytest.mark.parametrize(
    ("column", "row", "value", "computed"),
    [
        ("label", 19, 0.25, 0),  # of the test split
        ("label", 12, 0.25, 2),  # valid
        ("label", 0, 0.25, 2),  # train
        ("label_T", 0, 0.25, 2),  # what Human-MM trains on
        ("label_T", 19, 0.25, 0),
        ("transcript", 0, "other", 0),
    ],
)
def test_only_what_training_sees_trains_anew(
    project: Path,
    in_process: None,
    capsys: pytest.CaptureFixture[str],
    column: str,
    row: int,
    value: Any,
    computed: int,
):
    train.run()
    table = tiny.table()
    place = table.column_names.index(column)
    values = table[column].to_pylist()
    values[row] = value
    field = table.schema.field(place)
    table = table.set_column(place, field, pa.array(values, field.type))
    tables.write_table(paths.table("made"), [table], tables.metadata(table))
    capsys.readouterr()
    train.run()
    assert f"computed {computed}," in capsys.readouterr().out


def test_the_key_of_a_table_holds_its_frames_and_metadata():
    table = tiny.table()
    other = tables.with_metadata(table, tables.metadata(table) | {"label_range": [-1.0, 1.0]})
    frames = [tables.sequence(cell) + (row == 19) for row, cell in enumerate(table["audio"])]
    louder = table.set_column(table.column_names.index("audio"), "audio", [tables.sequences(frames, 3)])
    louder = tables.with_metadata(louder, tables.metadata(table))
    assert len({jobs._seen(one) for one in (table, other, louder)}) == 3
    assert jobs._seen(table) == jobs._seen(tiny.table())


def test_a_kept_run_that_is_not_there_says_how_to_have_it(project: Path, in_process: None):
    train.run()
    best = evaluate.kept_run("made/self_mm").name
    (other,) = {"self_mm-1", "self_mm-2"} - {best}
    assert evaluate.kept_run(f"made/{best}").name == best
    with pytest.raises(TableError, match=rf"{other} \(no weights\).* set train.keep to all, then: dvc repro"):
        evaluate.kept_run(f"made/{other}")
    with pytest.raises(TableError, match="mine has none. Name another .* or train it with: dvc repro"):
        evaluate.kept_run("mine/self_mm")
    _params(keep="none")
    train.run()
    with pytest.raises(TableError, match="set train.keep to best, then: dvc repro"):
        evaluate.kept_run("made/self_mm")


@pytest.mark.parametrize("stage", [train, evaluate])
def test_without_tables_nothing_is_written(project: Path, stage: Any):
    shutil.rmtree(paths.TABLES)
    paths.METRICS.write_text("kept")
    (paths.RUNS / "made").mkdir(parents=True)
    before = sorted(project.rglob("*"))
    with pytest.raises(TableError, match="data/tables is not there"):
        stage.run()
    assert sorted(project.rglob("*")) == before
    assert paths.METRICS.read_text() == "kept"


def test_no_block_for_a_convention_says_which_are_there(project: Path):
    with pytest.raises(ParamsError, match=r"has the blocks mosi, but other needs one\s+named other or.*sims"):
        jobs.hyper_of("self_mm", jobs.Choice(**CHOICE), "other", "sims", {})
