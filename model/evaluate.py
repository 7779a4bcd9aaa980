"""evaluate: data/runs, data/tables -> data/predictions.parquet, data/metrics.json, data/plots (the test split opens)."""

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
import pyarrow as pa

from model import run_files
from model.kept import AUTO, kept_run, own_first, run_folders
from model.measures import floors, metrics, results
from model.measures.results import Range, Summary
from model.run_files import RunRecord
from pipeline import assets, params, paths, tables
from pipeline.datasets.refusal import counted
from pipeline.errors import ParamsError, TableError

FLOOR = "train_median"
CURVES = ("dataset", "network", "seed", "epoch", "train_loss", "valid_loss", "valid_mae", "valid_corr")
PREDICTED = ("dataset", "network", "actual", "predicted")


class Crossing(params.Block):
    """A run that is measured on a data set other than its own."""

    run: str  # <dataset>/<network>, of which the kept seed, or <dataset>/<network>-<seed>
    dataset: str


class Params(params.Block):
    """params.yaml: evaluate."""

    unlabelled_run: str  # which predicts where nothing was trained: auto, or as model/kept.py takes a name
    across: list[Crossing]


class Prediction(TypedDict):
    """A row of tables.PREDICTIONS."""

    dataset: str
    network: str
    seed: int
    id: str
    split: str | None
    label: float | None
    prediction: float
    text: float | None
    audio: float | None
    vision: float | None
    trained_on: str


class Outputs(TypedDict):
    """A row of tables.RUN_PREDICTIONS."""

    id: str
    split: str | None
    fusion: float
    text: float | None
    audio: float | None
    vision: float | None


@dataclass(frozen=True)
class Predicted:
    """What one run says of a data set's clips.

    mapped: the run's label range and the data set's, where the predictions were brought from the one into the other.
    """

    run: RunRecord
    rows: list[Prediction]
    mapped: tuple[Range, Range] | None = None


def run() -> None:
    options = params.load("evaluate", Params)
    datasets = tables.datasets_of(paths.TABLES)
    _check(options.across, datasets)
    predictions: list[Prediction] = []
    scores: results.Results = {}
    for dataset in datasets:
        table = tables.read_arrow(paths.table(dataset))
        measured = [*_own(dataset, table), *_across(dataset, table, options.across)]
        for predicted in measured or _unlabelled(dataset, table, options.unlabelled_run):
            predictions += predicted.rows
        if found := _scores(table, measured):
            scores[dataset] = found
            if few := results.too_few(dataset, Counter(table["split"].to_pylist())):
                print(f"evaluate: {few}")
    tables.write(paths.PREDICTIONS, tables.rows(tables.PREDICTIONS, predictions))
    results.write(scores)
    _write_plots(predictions)
    print(f"evaluate: {len(predictions)} predictions, {len(scores)} data sets with test scores")


def _check(across: Sequence[Crossing], datasets: Sequence[str]) -> None:
    for one in across:
        if one.dataset not in datasets:
            raise ParamsError(
                f"params.yaml: evaluate.across names the data set {one.dataset}; {paths.TABLES} has {', '.join(datasets)}."
            )
        if one.run.partition("/")[0] == one.dataset:
            raise ParamsError(
                f"params.yaml: evaluate.across measures {one.run} on {one.dataset}, which it was trained on and is "
                "measured on as it is. Name another data set's run, or leave the row out."
            )


def _own(dataset: str, table: pa.Table) -> Iterator[Predicted]:
    """The data set's own runs, which predicted when they were trained."""
    for folder in run_folders(dataset):
        run = run_files.read(folder)
        yield Predicted(run, _rows(run, table, tables.read(folder / run_files.PREDICTIONS).to_pylist()))


def _across(dataset: str, table: pa.Table, across: Sequence[Crossing]) -> Iterator[Predicted]:
    """What evaluate.across wants measured on a data set. Raises TableError."""
    wanted = {kept_run(one.run): None for one in across if one.dataset == dataset}
    if wanted and table["label"].null_count == len(table):
        raise TableError(
            f"evaluate.across measures a run on {dataset}, which has no labels. Give it a label.csv, or take the row out "
            "of params.yaml: a data set without labels is predicted by evaluate.unlabelled_run"
        )
    for folder in wanted:
        yield _foreign(folder, table)


def _unlabelled(dataset: str, table: pa.Table, name: str) -> list[Predicted]:
    """What a run of another data set predicts: the named one, or the first that fits; nothing, said so, where none does."""
    faults = []
    try:
        for folder in own_first() if name == AUTO else [kept_run(name)]:
            try:
                predicted = _foreign(folder, table)
            except TableError as error:
                faults.append(error)
                continue
            print(
                f"evaluate: no run was trained on {dataset}; {predicted.run.name} predicts it{_caution(predicted.run)}"
            )
            return [predicted]
    except TableError as error:
        faults.append(error)
    print(f"evaluate: {dataset} is left without predictions: {faults[0]}")
    return []


def _caution(run: RunRecord) -> str:
    return (
        ". WARNING: that run was trained on SYNTHETIC clips: its numbers say nothing about people"
        if run.synthetic
        else ""
    )


def _foreign(folder: Path, table: pa.Table) -> Predicted:
    """What a run of another data set predicts, in the range of this one's labels."""
    from model.training.predict import predict

    run, facts = run_files.read(folder), tables.metadata(table)
    predicted = predict(folder, table, assets.encoder(facts["encoder"])).to_pylist()
    own, wanted = run.label_range, (facts["label_range"][0], facts["label_range"][1])
    if own == wanted:
        return Predicted(run, _rows(run, table, predicted))
    name = "/".join(folder.parts[-2:])
    print(f"evaluate: {facts['dataset']}: what {name} predicts is mapped from {list(own)} to {list(wanted)}")
    return Predicted(run, _rows(run, table, [_mapped(row, own, wanted) for row in predicted]), (own, wanted))


def _mapped(row: Outputs, own: Range, wanted: Range) -> Outputs:
    """The outputs in the other range, each side by its own factor: 0 is neutral in both and stays 0."""
    (low, high), (to_low, to_high) = own, wanted

    def mapped(value: float) -> float:
        return value * (to_high / high if value > 0 else to_low / low)

    def known(value: float | None) -> float | None:
        return None if value is None else mapped(value)

    text, audio, vision = known(row["text"]), known(row["audio"]), known(row["vision"])
    return {**row, "fusion": mapped(row["fusion"]), "text": text, "audio": audio, "vision": vision}


def _rows(run: RunRecord, table: pa.Table, predicted: Iterable[Outputs]) -> list[Prediction]:
    labels = dict(zip(table["id"].to_pylist(), table["label"].to_pylist(), strict=True))
    dataset = tables.metadata(table)["dataset"]
    return [
        {
            "dataset": dataset,
            "network": run.network,
            "seed": run.seed,
            "id": row["id"],
            "split": row["split"],
            "label": labels[row["id"]],
            "prediction": row["fusion"],
            "text": row["text"],
            "audio": row["audio"],
            "vision": row["vision"],
            "trained_on": run.dataset,
        }
        for row in predicted
    ]


def _scores(table: pa.Table, measured: Sequence[Predicted]) -> dict[str, Summary]:
    """One data set's {network: mean, std and number of seeds, train_median: the floor}.

    On the test split; where there is none, another data set's runs are measured on all labelled clips.
    """
    facts, truth = tables.metadata(table), table.select(["split", "label"]).to_pylist()
    split = "test" if any(row["split"] == "test" for row in truth) else "all"
    groups: dict[str, list[Predicted]] = {}
    for predicted in measured:
        if split == "test" or predicted.run.dataset != facts["dataset"]:
            name = _name(facts["dataset"], predicted.run.network, predicted.run.dataset)
            groups.setdefault(name, []).append(predicted)
    scores = {
        name: _summary(name, facts["dataset"], facts["convention"], split, members) for name, members in groups.items()
    }
    if scores and any(row["split"] == "train" for row in truth):
        scores[FLOOR] = Summary(means=floors.train_median(table, split))
    return scores


def _summary(name: str, dataset: str, convention: str, split: str, members: Sequence[Predicted]) -> Summary:
    """The scores of a network's seeds; of another data set's with where they are from."""
    scores = results.summary([metrics.score(convention, *_columns(_tested(one.rows, split))) for one in members])
    trained_on = members[0].run.dataset
    if trained_on == dataset:
        return scores
    clips = len(_tested(members[0].rows, split))
    of = "of the test split" if split == "test" else "with a label (it has no test split)"
    print(f"evaluate: {name} on {dataset}: MAE {scores.means['mae']:.3f} over {counted('clip', clips)} {of}")
    mapped = {"mapped": members[0].mapped} if members[0].mapped else {}
    return scores.model_copy(update={"trained_on": trained_on, "split": split, **mapped})


def _tested(rows: Sequence[Prediction], split: str) -> list[Prediction]:
    return [row for row in rows if row["label"] is not None and split in ("all", row["split"])]


def _name(dataset: str, network: str, trained_on: str) -> str:
    """The key of metrics.json for what a network says of a data set."""
    return network if trained_on == dataset else f"{network} from {trained_on}"


def _columns(rows: Iterable[Prediction]) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and labels, (N,) each."""
    pairs = np.array([(row["prediction"], row["label"]) for row in rows], np.float32)
    return pairs[:, 0], pairs[:, 1]


def _write_plots(predictions: Sequence[Prediction]) -> None:
    """What `dvc plots` draws: the curves of every run, and the test predictions of each network's best seed."""
    runs = {folder: run_files.read(folder) for folder in run_folders("*")}
    curves = [
        {"dataset": run.dataset, "network": run.network, "seed": run.seed, **{key: row[key] for key in CURVES[3:]}}
        for folder, run in runs.items()
        for row in _curves(folder)
    ]
    best: dict[tuple[str, str], RunRecord] = {}
    for run in runs.values():
        name = (run.dataset, run.network)
        best[name] = min(best.get(name, run), run, key=lambda one: one.valid.mae)
    tested = [
        {
            "dataset": row["dataset"],
            "network": _name(row["dataset"], row["network"], row["trained_on"]),
            "actual": row["label"],
            "predicted": row["prediction"],
        }
        for row in predictions
        if row["split"] == "test" and row["seed"] == best[row["trained_on"], row["network"]].seed
    ]
    tables.write_csv(paths.PLOTS / "curves.csv", CURVES, curves)
    tables.write_csv(paths.PLOTS / "predictions.csv", PREDICTED, tested)


def _curves(folder: Path) -> list[dict[str, str]]:
    with (folder / run_files.CURVES).open(newline="") as file:
        return list(csv.DictReader(file))
