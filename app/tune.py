"""rawmsa tune: random search over a network's values on one data set, scored on its validation split alone."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Annotated, Any

import yaml
from pydantic import Field, NonNegativeInt, PositiveInt

from model import run_files, train
from model.training import jobs
from model.training.hyper import merged
from model.training.jobs import Choice, Source, Task
from pipeline import params, paths, tables
from pipeline.errors import ParamsError, StageError
from pipeline.execution import cache
from pipeline.execution.cache import RUNS

SHOWN = 10  # of the best draws
Space = dict[str, Annotated[list[Any], Field(min_length=1)]]


class Params(params.Block):
    """params.yaml: tune."""

    seed: NonNegativeInt  # of the draws
    draws: PositiveInt
    seeds: train.Seeds  # each draw is trained with each; the mean of their validation MAE counts
    space: dict[str, Space]  # by network: dotted keys of its values, and what each may be


@dataclass(frozen=True)
class Search:
    """What is searched."""

    source: Source
    network: str
    choice: Choice
    options: Params

    @property
    def space(self) -> Space:
        return self.options.space[self.network]

    @property
    def name(self) -> str:
        return f"{self.source.dataset}-{self.network}"

    def hyper(self, changes: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """The block that the data set takes, and all hyper-parameters with these dotted changes, as dotted keys."""
        metadata = self.source.metadata
        block, hyper = jobs.hyper_of(
            self.network, self.choice, self.source.dataset, metadata["convention"], params.nested(changes)
        )
        return block, params.flat(hyper.model_dump())


@dataclass(frozen=True)
class Draw:
    """One set of values, dotted, and its runs, one a seed. index 0: the values as they are in params.yaml."""

    index: int
    values: dict[str, Any]
    tasks: list[Task]

    @property
    def name(self) -> str:
        return f"draw {self.index}" if self.index else "the values as they are"

    @property
    def trained(self) -> bool:
        return not jobs.missing(self.tasks)

    @property
    def score(self) -> float:
        return mean(map(jobs.valid_mae, self.tasks))


def main(dataset: str, network: str | None, draws: int | None) -> None:
    """Train every draw that the cache lacks; write data/tune/<dataset>-<network>.csv and .yaml; print the best."""
    options = params.load("tune", Params)
    if draws:
        options = options.model_copy(update={"draws": draws})
    search = Search(jobs.source(dataset), *_network(network, options), options)
    _check(search)
    drawn = _draws(search)
    tasks = {task.key: (draw, task) for draw in drawn for task in draw.tasks}
    cache.Store(RUNS).remember(_used(search), list(tasks))  # now, so that what is interrupted is not pruned
    missing = jobs.missing([task for _, task in tasks.values()])
    print(
        f"tune: {len(drawn) - 1} different of {options.draws} draws and the values as they are, "
        f"{len(tasks)} runs, {len(tasks) - len(missing)} of them in the cache",
        flush=True,
    )
    try:
        jobs.compute(missing, lambda done: (), "tune", lambda task: _title(tasks[task.key][0], task))
    except StageError as error:
        if 2 * sum(draw.trained for draw in drawn) < len(drawn):
            raise
        print(f"tune: {error}")
    _finish(search, drawn)


def _network(network: str | None, options: Params) -> tuple[str, Choice]:
    """The network to tune and its choice in train.networks."""
    trained = params.load("train", train.Params).networks
    known = [name for name in trained if name in options.space]
    if network in known or (network is None and len(known) == 1):
        return (name := network or known[0]), trained[name]
    raise ParamsError(
        f"params.yaml: {network or 'several networks'} to tune: those both in train.networks and in tune.space are "
        f"{', '.join(known) or 'none'}. Name one of them: --network"
    )


def _check(search: Search) -> None:
    """Raise ParamsError where the space names what cannot be searched, before anything is trained."""
    _, known = search.hyper({})
    where = f"params.yaml: tune.space.{search.network}"
    if unknown := [key for key in search.space if key not in known]:
        raise ParamsError(f"{where} names {', '.join(unknown)}; {search.network} has {', '.join(known)}.")
    preset = params.read()["networks"][search.network]["presets"][search.choice.preset]
    if fixed := [key for key in search.space if key in params.flat(preset)]:
        raise ParamsError(
            f"{where} names {', '.join(fixed)}, which the preset {search.choice.preset} decides. Leave it out: tune looks for "
            "values; what a network does is chosen by train.networks"
        )
    for key, values in search.space.items():
        for value in values:
            try:
                search.hyper({key: value})
            except ParamsError as error:
                raise ParamsError(f"{where}.{key} holds {value!r}, which does not fit.\n{error}") from None


def _draws(search: Search) -> list[Draw]:
    """The values as they are and the draws, those left out that another equals.

    A draw depends on tune.seed, its index and the space: it is the same however many there are.
    """
    _, now = search.hyper({})
    found = [(0, {key: now[key] for key in search.space})]
    for index in range(1, search.options.draws + 1):
        _, hyper = search.hyper({key: _drawn(search, index, key) for key in search.space})
        values = {key: hyper[key] for key in search.space}  # as the network wants them: 1e-3 is a text to YAML
        if all(values != other for _, other in found):
            found.append((index, values))
    return [Draw(index, values, _tasks(search, values, now)) for index, values in found]


def _drawn(search: Search, index: int, key: str) -> Any:
    """By key, so that a key more or less in the space leaves what is drawn for the others."""
    return random.Random(f"{search.options.seed}/{index}/{key}").choice(search.space[key])  # noqa: S311  a draw, no secret


def _tasks(search: Search, values: Mapping[str, Any], now: Mapping[str, Any]) -> list[Task]:
    changes = params.nested({key: value for key, value in values.items() if value != now[key]})
    return [jobs.task(search.source, search.network, search.choice, seed, changes) for seed in search.options.seeds]


def _used(search: Search) -> dict[str, Any]:
    networks = params.read()["networks"][search.network]
    return {
        "tune": search.options.model_dump(),
        "dataset": search.source.dataset,
        "networks": {search.network: networks},
        "choice": search.choice.model_dump(),
    }


def _title(draw: Draw, task: Task) -> str:
    return draw.name if len(draw.tasks) == 1 else f"{draw.name}, seed {task.job.seed}"


def _finish(search: Search, drawn: Sequence[Draw]) -> None:
    best_first = sorted((draw for draw in drawn if draw.trained), key=lambda draw: (draw.score, draw.index))
    rows = [row for draw in drawn for row in _rows(draw)]
    columns = ("draw", "seed", *search.space, "valid_mae", "valid_corr", "best_epoch", "epochs", "key")
    tables.write_csv(paths.TUNE / f"{search.name}.csv", columns, rows)
    file = paths.TUNE / f"{search.name}.yaml"
    file.write_text(_block(search, best_first[0], drawn))
    _print(search, best_first, drawn[0])
    if not best_first[0].index:
        print(f"tune: no draw is better on the validation split than the values as they are; {file} holds those.")
    print(f"tune: the best are in {file}, which says how to use them; every draw is in {file.with_suffix('.csv')}")


def _rows(draw: Draw) -> list[dict[str, Any]]:
    """A row a seed; empty results where it failed."""
    rows = []
    for task in draw.tasks:
        row = {"draw": draw.index, "seed": task.job.seed, **draw.values, "key": task.key}
        if folder := cache.Store(RUNS).find(task.key):
            made = run_files.read(folder)
            row |= {"valid_mae": made.valid.mae, "valid_corr": made.valid.corr}
            row |= {"best_epoch": made.best_epoch, "epochs": made.epochs}
        rows.append(row)
    return rows


def _block(search: Search, best: Draw, drawn: Sequence[Draw]) -> str:
    """The best values as a block of params.yaml, under the comments that say how to use it."""
    dataset, network, choice = search.source.dataset, search.network, search.choice
    taken, _ = search.hyper({})
    values = params.read()["networks"][network]["values"][choice.values][taken]
    place = f"in place of its block {taken}" if taken == dataset else f"beside its block {taken}"
    now = f"; {drawn[0].name}: {drawn[0].score:.4f}" if best.index and drawn[0].trained else ""
    seeds = ", ".join(map(str, search.options.seeds))
    comments = [
        f"{network} on {dataset} with the preset {choice.preset}: the best by validation MAE, {best.score:.4f} ({best.name}),",
        f"of {sum(draw.trained for draw in drawn)} sets of values (tune.seed {search.options.seed}), trained with seed {seeds}{now}.",
        f"To use it, paste it into params.yaml under networks.{network}.values.{choice.values}, {place}, then: dvc repro",
        "The validation split has chosen it, so its MAE there flatters; what was gained the test split tells, over seeds.",
    ]
    block = {dataset: merged(values, params.nested(best.values))}
    return "".join(f"# {line}\n" for line in comments) + yaml.safe_dump(block, sort_keys=False, default_flow_style=None)


def _print(search: Search, best_first: Sequence[Draw], now: Draw) -> None:
    from rich.console import Console
    from rich.table import Table

    title = f"{search.network} on {search.source.dataset}: the best of {len(best_first)} sets by validation MAE"
    table = Table("draw", "valid MAE", "what differs from the values as they are", title=title)
    for draw in best_first[:SHOWN]:
        differing = [f"{key} {value}" for key, value in draw.values.items() if value != now.values[key]]
        table.add_row(str(draw.index), f"{draw.score:.4f}", ", ".join(differing) or "nothing")
    Console(markup=False, emoji=False).print(table)
