"""experiment: data/tables -> data/experiments/<dataset>/<name>.json (the paper's tables and figures, as params.yaml asks)."""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from model import settings
from model.measures import experiment_files, experiments
from model.measures.experiments import Row, Runs
from model.settings import Choice
from pipeline import paths, tables
from pipeline.errors import StageError
from pipeline.execution import cache
from pipeline.execution.cache import RUNS

if TYPE_CHECKING:  # torch takes seconds to import; params.yaml asks for no experiment by default
    from model.training.jobs import Source, Task


@dataclass(frozen=True)
class Plan:
    """One experiment: its rows, each with a run a seed."""

    name: str
    source: "Source"
    rows: "list[tuple[Row, list[Task]]]"

    @property
    def tasks(self) -> "list[Task]":
        return [task for _, tasks in self.rows for task in tasks]


def run() -> None:
    options = settings.experiment()
    plans = [plan for dataset, names in options.datasets.items() for plan in _plans(dataset, names, options.seeds)]
    tasks = list({task.key: task for plan in plans for task in plan.tasks}.values())
    missing, failure = _computed(tasks) if tasks else ([], None)
    shutil.rmtree(paths.EXPERIMENTS, ignore_errors=True)
    paths.EXPERIMENTS.mkdir(parents=True)
    ready = [plan for plan in plans if all(cache.Store(RUNS).find(task.key) for task in plan.tasks)]
    for plan in ready:
        _write(plan, options.seeds)
    names = [{"dataset": plan.source.dataset, "experiment": plan.name} for plan in ready]
    tables.write_csv(paths.EXPERIMENTS_MADE, ["dataset", "experiment"], names)  # DVC warns of an empty folder
    chosen = settings.networks()
    used = {
        "experiment": options.model_dump(),
        "chosen": {name: choice.model_dump() for name, choice in chosen.items()},
        "networks": {name: settings.network(name).model_dump() for name in chosen},
    }
    cache.Store(RUNS).remember(used, [task.key for task in tasks])
    if failure:
        raise failure
    print(
        f"experiment: {len(plans)} tables and figures of {len(tasks)} runs, computed {len(missing)}, "
        f"from cache {len(tasks) - len(missing)}"
    )


def _computed(tasks: "Sequence[Task]") -> "tuple[list[Task], StageError | None]":
    """Train the runs that the cache lacks. Returns these, and why some failed: experiments without them are made all the same."""
    from model.training import jobs

    missing = jobs.missing(tasks)
    try:
        jobs.compute(missing, lambda done: (), "experiment")
    except StageError as error:
        return missing, error
    return missing, None


def _plans(dataset: str, names: Sequence[str], seeds: Sequence[int]) -> Iterator[Plan]:
    from model.training import jobs

    networks = settings.networks()
    try:
        source = jobs.source(dataset)  # hashes the whole table: once for all its experiments
    except StageError as error:
        for name in names:
            print(f"experiment: {dataset}/{name} is not made: {error}")
        return
    table = tables.read_arrow(source.file)
    for name in names:
        if why := experiments.unable(name, table, list(networks)):
            print(f"experiment: {dataset}/{name} is not made: {why}")
            continue
        found = list(_possible(dataset, experiments.rows(name, table, list(networks)), table))
        yield Plan(name, source, list(_rows(source, found, networks, seeds)))


def unable(name: str, dataset: str) -> str | None:
    """Why an experiment cannot be made; None where it can."""
    from model.training import jobs

    try:
        source = jobs.source(dataset)
    except StageError as error:
        return str(error)
    return experiments.unable(name, tables.read_arrow(source.file), list(settings.networks()))


def _possible(dataset: str, rows: Sequence[Row], table: pa.Table) -> Iterator[Row]:
    """The rows whose network the data set has enough for."""
    for row in rows:
        if lacking := experiments.lacking(row.network, table):
            print(f"experiment: {dataset}: the row '{row.label}' is left out: it needs {' and '.join(lacking)}")
        else:
            yield row


def _rows(
    source: "Source", rows: Sequence[Row], networks: Mapping[str, Choice], seeds: Sequence[int]
) -> "Iterator[tuple[Row, list[Task]]]":
    """Each row with its runs; a row that is no other than one before it is left out, since the default has it."""
    from model.training import jobs

    seen = []
    for row in rows:
        choice = networks[row.network]
        plain, changed = (jobs.task(source, row.network, choice, seeds[0], c).job.hyper for c in ({}, row.changes))
        if (row.network, changed) in seen:
            print(f"experiment: {source.dataset}: the row '{row.label}' is left out: it is what the default does")
            continue
        seen.append((row.network, changed))
        changes = {} if changed == plain else row.changes  # so that it is the very run that train has
        yield row, [jobs.task(source, row.network, choice, seed, changes) for seed in seeds]


def _write(plan: Plan, seeds: Sequence[int]) -> None:
    runs = [Runs(row, [cache.Store(RUNS).path(task.key) for task in tasks]) for row, tasks in plan.rows]
    experiment_files.write(experiments.content(plan.name, tables.read_arrow(plan.source.file), runs, seeds))
