"""train: data/tables -> data/runs/<dataset>/<network>-<seed> (one run a data set, network and seed)."""

import os
import shutil
from collections.abc import Collection, Sequence
from itertools import groupby
from pathlib import Path

from model import run_files, settings
from model.measures import experiments
from model.settings import Train
from model.training import jobs
from model.training.jobs import Task
from pipeline import paths, tables
from pipeline.errors import StageError
from pipeline.execution import cache
from pipeline.execution.cache import RUNS, WEIGHTS


def run() -> None:
    options = settings.train()
    tasks = [task for dataset in tables.datasets_of(paths.TABLES) for task in _tasks(dataset, options)]
    missing = jobs.missing(tasks)
    there = set(tasks) - set(missing)
    computed = jobs.compute(missing, lambda done: _kept(tasks, there.union(done), options.keep), "train")
    kept = _kept(tasks, tasks, options.keep)
    computed += jobs.compute(jobs.missing(kept, WEIGHTS), lambda done: kept, "train")
    _place(tasks, kept)
    used = {
        "train": options.model_dump(),
        "networks": {name: settings.network(name).model_dump() for name in options.networks},
    }
    cache.Store(RUNS).remember(used, [task.key for task in tasks])
    weights = cache.Store(WEIGHTS)
    weights.remember(used, [task.key for task in kept])
    for task in kept:
        weights.share(task.key)
    print(
        f"train: {len(tasks)} runs, computed {computed}, from cache {len(tasks) - computed}, weights kept {len(kept)}"
    )


def _tasks(dataset: str, options: Train) -> list[Task]:
    try:
        source = jobs.source(dataset)
    except StageError as error:
        print(f"train: {error}")
        return []
    seeds = options.seeds.get(dataset, options.seeds["default"])
    table = tables.read_arrow(source.file)
    tasks = []
    for network, choice in options.networks.items():
        if lacking := experiments.lacking(network, table):
            print(f"train: {dataset}: {network} is not trained: it needs {' and '.join(lacking)}")
            continue
        tasks += [jobs.task(source, network, choice, seed, {}) for seed in seeds]
    return tasks


def _kept(tasks: Sequence[Task], done: Collection[Task], keep: str) -> list[Task]:
    """Of the runs that are done, those whose weights stay: of each group the lowest validation MAE, or all, or none."""
    there = [task for task in tasks if task in done]
    if keep == "best":
        return [min(seeds, key=jobs.valid_mae) for _, seeds in groupby(there, key=lambda task: task.group)]
    return there if keep == "all" else []


def _place(tasks: Sequence[Task], kept: Sequence[Task]) -> None:
    """data/runs, anew: these runs and no other."""
    shutil.rmtree(paths.RUNS, ignore_errors=True)
    paths.RUNS.mkdir(parents=True)
    for task in tasks:
        shutil.copytree(cache.Store(RUNS).path(task.key), task.folder)
        record = run_files.read(task.folder)
        run_files.write(task.folder, record.model_copy(update={"weights": task in kept, "key": task.key}))
        if task in kept:
            _link(cache.Store(WEIGHTS).path(task.key), task.folder / run_files.WEIGHTS)


def _link(source: Path, target: Path) -> None:
    """A second name for the same bytes, where the two places share a disk."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
