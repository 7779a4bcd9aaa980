"""rawmsa tune searches by the validation split alone, goes on where it stopped, and writes what can be pasted."""

import csv
from pathlib import Path
from typing import Any

import optuna
import pyarrow as pa
import pytest
import yaml
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from app import tune
from model.training import jobs
from model.training.hyper import merged
from pipeline import params, paths, tables
from pipeline.errors import ParamsError, StageError
from tests import trainable as made

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("trainable", "in_process")]

SPACE = {
    "groups.audio.lr": ["1e-3", 0.01, 0.03],  # what YAML makes of 1e-3
    "architecture.dropout.text": [0.0, 0.1],
    "fit.batch": [2, 4],
}


def searched(draws: int = 4, space: dict[str, list[Any]] | None = None, **changes: Any) -> list[dict[str, str]]:
    """The rows of the CSV of a search."""
    found = params.read()
    found["tune"] |= {"space": {"self_mm": space or SPACE}, **changes}
    Path("params.yaml").write_text(yaml.safe_dump(found, sort_keys=False))
    tune.main("made", None, draws)
    with Path("data/tune/made-self_mm.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def studied() -> optuna.Study:
    """The study that optuna-dashboard opens."""
    storage = JournalStorage(JournalFileBackend("data/tune/made-self_mm.log"))
    return optuna.load_study(study_name="made-self_mm", storage=storage)


def test_the_best_is_a_block_that_trains_it(capsys: pytest.CaptureFixture[str]):
    rows = searched()
    said = capsys.readouterr().out
    assert rows[0]["draw"] == "0" and rows[0]["groups.audio.lr"] == "0.01"  # the values as they are
    best = min(rows, key=lambda row: float(row["valid_mae"]))
    assert said.index(f"│ {best['draw']}") == min(said.index(f"│ {row['draw']} ") for row in rows)
    file = Path("data/tune/made-self_mm.yaml")
    assert "paste it into networks/self_mm.yaml under values.made, beside its block mosi" in file.read_text()
    assert best["valid_mae"][:5] in file.read_text()
    study = studied()
    assert [trial.number for trial in study.trials] == [0, 1, 2, 3, 4]
    assert study.best_value == pytest.approx(float(best["valid_mae"])) and study.best_trial.number == int(best["draw"])

    block = yaml.safe_load(file.read_text())
    made.write_network("self_mm", merged(made.read_network(), {"values": {"made": block}}))
    name, hyper = jobs.hyper_of("self_mm", jobs.Choice(**made.CHOICE), "made", "mosi", {})
    assert name == "made"
    found = params.flat(hyper.model_dump())
    assert {key: str(found[key]) for key in SPACE} == {key: best[key] for key in SPACE}


def test_a_search_goes_on_where_it_stopped(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    train, trained = jobs._train, []

    def stopped(task: jobs.Task, seconds: float) -> str:
        if len(trained) == 2:
            raise KeyboardInterrupt
        trained.append(task.key)
        return train(task, seconds)

    monkeypatch.setattr(jobs, "_train", stopped)
    with pytest.raises(KeyboardInterrupt):
        searched()
    monkeypatch.setattr(jobs, "_train", lambda task, seconds: trained.append(task.key) or train(task, seconds))
    capsys.readouterr()
    rows = searched()
    assert f"{len(rows)} runs, 2 of them in the cache" in capsys.readouterr().out
    assert sorted(trained) == sorted(row["key"] for row in rows)  # each once


def test_a_draw_depends_on_its_number_alone():
    few, many, wider = drawn(3, SPACE), drawn(30, SPACE), drawn(3, SPACE | {"groups.text.lr": [0.01, 0.02]})
    for index, values in few.items():
        assert many[index] == values
        assert {key: wider[index][key] for key in SPACE} == values
    assert len(many) == len({str(values) for values in many.values()}) <= 3 * 2 * 2  # each once
    assert few[1] == {"groups.audio.lr": 0.001, "architecture.dropout.text": 0.0, "fit.batch": 2}
    assert few[2] == few[1] | {"groups.audio.lr": 0.03}  # so that a search of an earlier version goes on


def drawn(count: int, space: dict[str, list[Any]]) -> dict[int, dict[str, Any]]:
    options = tune.Params(sampler="random", seed=1, draws=count, seeds=[1], space={"self_mm": space})
    search = tune.Search(jobs.source("made"), "self_mm", jobs.Choice(**made.CHOICE), options)
    choices, study, found = tune._choices(search), optuna.create_study(), []
    for number in range(count + 1):
        tune._draw(search, tune._ask(study, search, choices, number), found)
    return {draw.index: draw.values for draw in found}


def tried(monkeypatch: pytest.MonkeyPatch, draws: int, good: float) -> list[dict[str, Any]]:
    """What tpe tries where a learning rate of audio has a validation MAE of 0 if it is `good`, else 1; trains nothing."""
    found: list[dict[str, Any]] = []
    monkeypatch.setattr(jobs, "missing", lambda tasks: [])
    monkeypatch.setattr(jobs, "valid_mae", lambda task: float(task.job.hyper.groups["audio"].lr != good))
    monkeypatch.setattr(
        tune, "_finish", lambda search, drawn, study: found.extend(trial.params for trial in study.trials)
    )
    blocks = params.read()
    blocks["tune"] |= {"space": {"self_mm": SPACE}, "sampler": "tpe"}
    Path("params.yaml").write_text(yaml.safe_dump(blocks, sort_keys=False))
    tune.main("made", None, draws)
    return found


def test_tpe_learns_from_the_rounds_before_and_draws_the_same_again(monkeypatch: pytest.MonkeyPatch):
    draws = tried(monkeypatch, 40, good=0.03)
    assert draws[0] == {} and len(draws) == 41
    assert tried(monkeypatch, 40, good=0.03) == draws
    assert tried(monkeypatch, 25, good=0.03) == draws[:26]
    other = tried(monkeypatch, 40, good=0.001)
    assert other[: tune.ROUND] == draws[: tune.ROUND]  # nothing was scored before
    for lr, found in ((0.03, draws), (0.001, other)):
        assert sum(draw["groups.audio.lr"] == lr for draw in found[20:]) >= 12  # by chance, 7 of 21


def test_test_labels_have_no_say():
    rows = searched()
    chosen = Path("data/tune/made-self_mm.yaml").read_bytes()
    table = tables.read_arrow(paths.table("made"))
    for name in ("label", "label_T", "label_A", "label_V"):
        labels = [
            -value if split == "test" and value is not None else (3.0 if split == "test" else value)
            for value, split in zip(table[name].to_pylist(), table["split"].to_pylist(), strict=True)
        ]
        place = table.column_names.index(name)
        table = table.set_column(place, table.schema.field(place), pa.array(labels, pa.float32()))
    assert table["label"] != tables.read_arrow(paths.table("made"))["label"]
    tables.write_table(paths.table("made"), [table], tables.metadata(table))
    assert searched() == rows  # the same keys, so nothing was trained, and the same results
    assert Path("data/tune/made-self_mm.yaml").read_bytes() == chosen


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (
            {"groups.adio.lr": [1]},
            r"tune.space.self_mm names groups.adio.lr; self_mm has text, architecture.tasks, .*fit.batch",
        ),
        ({"fit.optimizer": ["adam"]}, "names fit.optimizer, which the preset paper decides. Leave it out"),
        ({"fit.batch": [4, 0]}, r"(?s)tune.space.self_mm.fit.batch holds 0, which does not fit.*greater than 0"),
        ({"fit.batch": []}, r"tune.space.self_mm.fit.batch: found \[\], list should have at least 1 item"),
    ],
)
def test_a_space_that_cannot_be_searched_stops_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch, space: dict[str, list[Any]], message: str
):
    monkeypatch.setattr(jobs, "compute", lambda *_: pytest.fail("it trained"))
    with pytest.raises(ParamsError, match=message):
        searched(space=space)


def test_what_is_not_there_to_tune_is_named():
    with pytest.raises(ParamsError, match="tfn to tune: those both in train.networks and in tune.space are self_mm"):
        tune.main("made", "tfn", 1)
    with pytest.raises(StageError, match="other has no training table"):
        tune.main("other", None, 1)


def test_a_draw_that_fails_costs_no_other(capsys: pytest.CaptureFixture[str]):
    rows = searched(draws=8, space={"groups.audio.lr": [0.01, 0.02, 1.0e30]})
    failed = [row for row in rows if not row["valid_mae"]]
    assert [row["groups.audio.lr"] for row in failed] == ["1e+30"] and len(rows) == 3
    assert "loss of epoch 1 is not finite" in capsys.readouterr().out
    states = {trial.params.get("groups.audio.lr"): trial.state.name for trial in studied().trials}
    assert states == {None: "COMPLETE", 0.01: "COMPLETE", 0.02: "COMPLETE", 1.0e30: "FAIL"}
    assert yaml.safe_load(Path("data/tune/made-self_mm.yaml").read_text())["made"]["groups"]["audio"]["lr"] < 1


def test_a_draw_of_several_seeds_counts_by_their_mean():
    rows = searched(seeds=[1, 2])
    assert len(rows) == 2 * len({row["draw"] for row in rows})
    means: dict[str, list[float]] = {}
    for row in rows:
        means.setdefault(row["draw"], []).append(float(row["valid_mae"]))
    best = min(sum(values) / 2 for values in means.values())
    assert f"by validation MAE, {best:.4f}" in Path("data/tune/made-self_mm.yaml").read_text()
