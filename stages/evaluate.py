"""evaluate: data/runs, data/tables -> data/predictions.parquet, data/metrics.json, data/plots (the test split opens)."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from model import metrics
from pipeline import params, paths, tables
from pipeline.errors import TableError

FLOOR = "train_median"
CURVES = ("dataset", "network", "seed", "epoch", "train_loss", "valid_loss", "valid_mae", "valid_corr")
PREDICTED = ("dataset", "network", "actual", "predicted")


class Params(params.Block):
    """params.yaml: evaluate."""

    unlabelled_run: str  # <dataset>/<network>; its kept seed predicts where nothing was trained


def main() -> None:
    options = params.load("evaluate", Params)
    predictions: list[dict[str, Any]] = []
    scores: dict[str, dict[str, Any]] = {}
    for dataset in tables.datasets_of(paths.TABLES, ".arrow"):
        table = tables.read_arrow(paths.table(dataset))
        rows = list(_predictions(dataset, table, options))
        predictions += rows
        if tested := [row for row in rows if row["split"] == "test" and row["trained_on"] == dataset]:
            scores[dataset] = _scores(table, tested)
    tables.write(paths.PREDICTIONS, tables.rows(tables.PREDICTIONS, predictions))
    tables.write_json(paths.METRICS, scores)
    _write_plots(predictions)
    print(f"evaluate: {len(predictions)} predictions, {len(scores)} data sets with test scores")


def kept_run(name: str) -> Path:
    """The folder of <dataset>/<network>-<seed>; of <dataset>/<network> the seed with the lowest validation MAE.

    Raises TableError where no such run has its weights.
    """
    dataset, _, network = name.partition("/")
    runs = {folder: tables.read_json(folder / "run.json") for folder in _runs(dataset)}
    named = [folder for folder, run in runs.items() if network in (run["network"], folder.name)]
    kept = [folder for folder in named if runs[folder]["weights"]]
    if not kept:
        there = ", ".join(f"{folder.name}{'' if run['weights'] else ' (no weights)'}" for folder, run in runs.items())
        keep = "all" if network in (folder.name for folder in named) else "best"
        raise TableError(
            f"{paths.RUNS} holds no run {name} with its weights; {dataset} has {there or 'none'}. "
            "Name another (--run of rawmsa predict, evaluate.unlabelled_run in params.yaml)"
            + (f", or set train.keep to {keep}, then: dvc repro" if named else ", or train it with: dvc repro")
        )
    return min(kept, key=lambda folder: runs[folder]["valid"]["mae"])


def _runs(dataset: str) -> list[Path]:
    return sorted(file.parent for file in (paths.RUNS / dataset).glob("*/run.json"))


def _predictions(dataset: str, table: pa.Table, options: Params) -> Iterator[dict[str, Any]]:
    """tables.PREDICTIONS of every run of a data set; of the run for unlabelled data where it has none."""
    labels = dict(zip(table["id"].to_pylist(), table["label"].to_pylist(), strict=True))
    own = [(tables.read(folder / "predictions.parquet"), folder) for folder in _runs(dataset)]
    for predicted, folder in own or _foreign(dataset, table, options.unlabelled_run):
        run = tables.read_json(folder / "run.json")
        common = {"dataset": dataset, "network": run["network"], "seed": run["seed"], "trained_on": run["dataset"]}
        for row in predicted.to_pylist():
            yield {**row, **common, "label": labels[row["id"]], "prediction": row["fusion"]}


def _foreign(dataset: str, table: pa.Table, name: str) -> list[tuple[pa.Table, Path]]:
    """What the named run of another data set predicts; nothing, said so, where it does not fit."""
    from model.predict import predict

    try:
        folder = kept_run(name)
        return [(predict(folder, table), folder)]
    except TableError as error:
        print(f"evaluate: {dataset} is left without predictions: {error}")
        return []


def _scores(table: pa.Table, tested: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """{network: mean, std and number of seeds, train_median: the floor} of one data set's test split."""
    convention = tables.metadata(table)["convention"]
    scores = {
        network: metrics.summary([metrics.score(convention, *_columns(rows)) for rows in _by(rows, "seed").values()])
        for network, rows in _by(tested, "network").items()
    }
    train = [
        y for y, split in zip(table["label"].to_pylist(), table["split"].to_pylist(), strict=True) if split == "train"
    ]
    _, truth = _columns(next(iter(_by(tested, "seed").values())))
    return {**scores, FLOOR: metrics.score(convention, np.full_like(truth, np.median(train)), truth)}


def _columns(rows: Iterable[Mapping[str, Any]]) -> tuple[np.ndarray, np.ndarray]:
    """Predictions and labels, (N,) each."""
    pairs = np.array([(row["prediction"], row["label"]) for row in rows], np.float32)
    return pairs[:, 0], pairs[:, 1]


def _by(rows: Iterable[Mapping[str, Any]], key: str) -> dict[Any, list[Mapping[str, Any]]]:
    groups: dict[Any, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row[key], []).append(row)
    return groups


def _write_plots(predictions: Sequence[Mapping[str, Any]]) -> None:
    """What `dvc plots` draws: the curves of every run, and the test predictions of each network's best seed."""
    runs = {file.parent: tables.read_json(file) for file in sorted(paths.RUNS.glob("*/*/run.json"))}
    curves = [
        {**{key: run[key] for key in CURVES[:3]}, **{key: row[key] for key in CURVES[3:]}}
        for folder, run in runs.items()
        for row in _curves(folder)
    ]
    best: dict[tuple[str, str], dict[str, Any]] = {}
    for run in runs.values():
        name = (run["dataset"], run["network"])
        best[name] = min(best.get(name, run), run, key=lambda one: one["valid"]["mae"])
    tested = [
        {"dataset": row["dataset"], "network": row["network"], "actual": row["label"], "predicted": row["prediction"]}
        for row in predictions
        if row["split"] == "test" and row["seed"] == best[row["trained_on"], row["network"]]["seed"]
    ]
    tables.write_csv(paths.PLOTS / "curves.csv", CURVES, curves)
    tables.write_csv(paths.PLOTS / "predictions.csv", PREDICTED, tested)


def _curves(folder: Path) -> list[dict[str, str]]:
    with (folder / "curves.csv").open(newline="") as file:
        return list(csv.DictReader(file))
