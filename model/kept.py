"""Which trained run answers: one that is named, or the one that a project has for clips without labels."""

from pathlib import Path

from model import run_files
from pipeline import paths, tables
from pipeline.errors import TableError

AUTO = "auto"  # in place of a name: the first of `own_first` that fits
NONE_YET = (
    "data/runs holds no run with its weights. Train one on your own clips: put them into data/raw/<name>/ with a label.csv, then "
    "dvc repro. To try it without: rawmsa demo && dvc repro (a run of synthetic clips, whose numbers say nothing about people)."
)


def kept_run(name: str) -> Path:
    """The folder of <dataset>/<network>-<seed>; of <dataset>/<network> the seed with the lowest validation MAE.

    Raises TableError where no such run has its weights.
    """
    dataset, _, network = name.partition("/")
    runs = {folder: run_files.read(folder) for folder in run_folders(dataset)}
    named = [folder for folder, run in runs.items() if network in (run.network, folder.name)]
    kept = [folder for folder in named if runs[folder].weights]
    if not kept:
        there = ", ".join(f"{folder.name}{'' if run.weights else ' (no weights)'}" for folder, run in runs.items())
        keep = "all" if network in (folder.name for folder in named) else "best"
        raise TableError(
            f"{paths.RUNS} holds no run {name} with its weights; {dataset} has {there or 'none'}. "
            "Name another (--run of rawmsa predict, evaluate.unlabelled_run and evaluate.across in params.yaml)"
            + (f", or set train.keep to {keep}, then: dvc repro" if named else ", or train it with: dvc repro")
        )
    return min(kept, key=lambda folder: runs[folder].valid.mae)


def own_first() -> list[Path]:
    """Every run with its weights, in the order in which they are asked about clips without labels.

    Runs of real clips come before runs of synthetic ones, then runs with more training clips, then those with the lower
    validation MAE as a share of the label range. Only data/runs decides, so that `evaluate` depends on its inputs alone: the
    time of a training differs between equal runs. Raises TableError where there is no such run.
    """
    found = []
    for folder in run_folders("*"):
        run = run_files.read(folder)
        if run.weights:
            splits = tables.read(folder / run_files.PREDICTIONS, columns=["split"])["split"].to_pylist()
            low, high = run.label_range
            found.append((run.synthetic, -splits.count("train"), run.valid.mae / (high - low), folder))
    if not found:
        raise TableError(NONE_YET)
    return [folder for *_, folder in sorted(found)]


def run_folders(dataset: str) -> list[Path]:
    """The folders of a data set's runs; of all data sets where it is *."""
    return sorted(file.parent for file in paths.RUNS.glob(f"{dataset}/*/{run_files.RUN}"))
