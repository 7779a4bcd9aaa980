"""rawmsa tune: a search over a network's values on one data set, by Optuna, scored on its validation split alone.

A search that was stopped starts again from draw 0: its draws are the same, and the cache has the runs that were done.
"""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean
from typing import Annotated, Literal, cast

import optuna
import yaml
from optuna.distributions import CategoricalChoiceType, CategoricalDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from pydantic import Field, JsonValue, NonNegativeInt, PositiveInt

from model import run_files, settings
from model.settings import Choice
from model.training import jobs
from model.training.hyper import merged
from model.training.jobs import Source, Task
from pipeline import params, paths, tables
from pipeline.errors import ParamsError, StageError
from pipeline.execution import cache
from pipeline.execution.cache import RUNS

SHOWN = 10  # of the best draws
ROUND = 10  # draws that tpe makes between two looks at the scores; a fixed number, so that workers change no draw
Space = dict[str, Annotated[list[JsonValue], Field(min_length=1)]]


class Params(params.Block):
    """params.yaml: tune."""

    sampler: Literal["random", "tpe"]
    seed: NonNegativeInt  # of the draws
    draws: PositiveInt
    seeds: settings.Seeds  # each draw is trained with each; the mean of their validation MAE counts
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

    def hyper(self, changes: Mapping[str, JsonValue]) -> tuple[str, dict[str, JsonValue]]:
        """The block that the data set takes, and all hyper-parameters with these dotted changes, as dotted keys."""
        block, hyper = settings.hyper_of(
            self.network, self.choice, self.source.dataset, self.source.convention, params.nested(changes)
        )
        return block, params.flat(hyper.model_dump())


@dataclass(frozen=True)
class Draw:
    """One set of values, dotted, and its runs, one a seed. index 0: the values as they are in params.yaml."""

    index: int
    values: dict[str, JsonValue]
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
    """Train every draw that the cache lacks; write data/tune/<dataset>-<network>.csv, .yaml and .log; print the best."""
    options = params.load("tune", Params)
    if draws:
        options = options.model_copy(update={"draws": draws})
    search = Search(jobs.source(dataset), *_network(network, options), options)
    space = _choices(search)
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # not a line for every trial
    study = optuna.create_study(study_name=search.name, sampler=optuna.samplers.TPESampler(seed=options.seed))
    numbers = range(options.draws + 1)
    drawn: list[Draw] = []
    together = ROUND if options.sampler == "tpe" else len(numbers)
    for first in numbers[::together]:
        trials = [_ask(study, search, space, number) for number in numbers[first : first + together]]
        asked = [_draw(search, trial, drawn) for trial in trials]
        _train(search, drawn)
        for trial, draw in zip(trials, asked, strict=True):
            if draw.trained:
                study.tell(trial, draw.score)
            else:
                study.tell(trial, state=optuna.trial.TrialState.FAIL)
    _finish(search, drawn, study)


def _network(network: str | None, options: Params) -> tuple[str, Choice]:
    """The network to tune and its choice in train.networks."""
    trained = settings.train().networks
    known = [name for name in trained if name in options.space]
    if network in known or (network is None and len(known) == 1):
        return (name := network or known[0]), trained[name]
    raise ParamsError(
        f"params.yaml: {network or 'several networks'} to tune: those both in train.networks and in tune.space are "
        f"{', '.join(known) or 'none'}. Name one of them: --network"
    )


def _choices(search: Search) -> dict[str, CategoricalDistribution]:
    """The space, its values as the network takes them (1e-3 is a string to YAML).

    Raises ParamsError where the space names what cannot be searched, before anything is trained.
    """
    _, known = search.hyper({})
    where = f"params.yaml: tune.space.{search.network}"
    if unknown := [key for key in search.space if key not in known]:
        raise ParamsError(f"{where} names {', '.join(unknown)}; {search.network} has {', '.join(known)}.")
    fixed_by = params.flat(settings.network(search.network).preset(search.choice.preset))
    if fixed := [key for key in search.space if key in fixed_by]:
        raise ParamsError(
            f"{where} names {', '.join(fixed)}, which the preset {search.choice.preset} decides. Leave it out: tune looks for "
            "values; what a network does is chosen by train.networks"
        )
    found: dict[str, list[JsonValue]] = {key: [] for key in search.space}
    for key, values in search.space.items():
        for value in values:
            try:
                found[key].append(search.hyper({key: value})[1][key])
            except ParamsError as error:
                raise ParamsError(f"{where}.{key} holds {value!r}, which does not fit.\n{error}") from None
    return {key: CategoricalDistribution(cast(list[CategoricalChoiceType], values)) for key, values in found.items()}


def _ask(
    study: optuna.Study, search: Search, space: dict[str, CategoricalDistribution], number: int
) -> optuna.trial.Trial:
    """The trial of this number. Number 0 has no values of its own: it stands for the values as they are.

    A random draw depends on tune.seed, its number and the key, so that it is the same however many there are, and a key
    more in the space leaves what is drawn for the others. Optuna's own sampler takes all draws from one generator.
    """
    if number and search.options.sampler == "random":
        draws = {key: random.Random(f"{search.options.seed}/{number}/{key}") for key in space}  # noqa: S311  no secret
        study.enqueue_trial({key: draw.choice(space[key].choices) for key, draw in draws.items()})
    return study.ask(dict(space) if number else None)


def _draw(search: Search, trial: optuna.trial.Trial, drawn: list[Draw]) -> Draw:
    """One of those drawn so far if its values are the trial's, else a new one, which is added to them."""
    _, now = search.hyper({})
    values = {key: now[key] for key in search.space} | trial.params
    for draw in drawn:
        if draw.values == values:
            return draw
    drawn.append(Draw(trial.number, values, _tasks(search, values, now)))
    return drawn[-1]


def _train(search: Search, drawn: Sequence[Draw]) -> None:
    """Train what the cache lacks. Raises StageError where most draws failed."""
    tasks = {task.key: (draw, task) for draw in drawn for task in draw.tasks}
    cache.Store(RUNS).remember(_used(search), list(tasks))  # now, so that what is interrupted is not pruned
    missing = jobs.missing([task for _, task in tasks.values()])
    print(
        f"tune: {len(drawn) - 1} different of {search.options.draws} draws and the values as they are, "
        f"{len(tasks)} runs, {len(tasks) - len(missing)} of them in the cache",
        flush=True,
    )
    try:
        jobs.compute(missing, lambda done: (), "tune", lambda task: _title(tasks[task.key][0], task))
    except StageError as error:
        if 2 * sum(draw.trained for draw in drawn) < len(drawn):
            raise
        print(f"tune: {error}")


def _tasks(search: Search, values: Mapping[str, JsonValue], now: Mapping[str, JsonValue]) -> list[Task]:
    changes = params.nested({key: value for key, value in values.items() if value != now[key]})
    return [jobs.task(search.source, search.network, search.choice, seed, changes) for seed in search.options.seeds]


def _used(search: Search) -> dict[str, object]:
    return {
        "tune": search.options.model_dump(),
        "dataset": search.source.dataset,
        "networks": {search.network: settings.network(search.network).model_dump()},
        "choice": search.choice.model_dump(),
    }


def _title(draw: Draw, task: Task) -> str:
    return draw.name if len(draw.tasks) == 1 else f"{draw.name}, seed {task.job.seed}"


def _finish(search: Search, drawn: Sequence[Draw], study: optuna.Study) -> None:
    best_first = sorted((draw for draw in drawn if draw.trained), key=lambda draw: (draw.score, draw.index))
    rows = [row for draw in drawn for row in _rows(draw)]
    columns = ("draw", "seed", *search.space, "valid_mae", "valid_corr", "best_epoch", "epochs", "key")
    tables.write_csv(paths.TUNE / f"{search.name}.csv", columns, rows)
    file = paths.TUNE / f"{search.name}.yaml"
    file.write_text(_block(search, best_first[0], drawn))
    journal = file.with_suffix(".log")
    journal.unlink(missing_ok=True)
    storage = JournalStorage(JournalFileBackend(str(journal)))
    optuna.create_study(storage=storage, study_name=search.name).add_trials(study.get_trials())
    _print(search, best_first, drawn[0])
    if not best_first[0].index:
        print(f"tune: no draw is better on the validation split than the values as they are; {file} holds those.")
    print(f"tune: the best are in {file}, which says how to use them; every draw is in {file.with_suffix('.csv')}")


def _rows(draw: Draw) -> list[dict[str, object]]:
    """A row a seed; empty results where it failed."""
    rows: list[dict[str, object]] = []
    for task in draw.tasks:
        row: dict[str, object] = {"draw": draw.index, "seed": task.job.seed, **draw.values, "key": task.key}
        if folder := cache.Store(RUNS).find(task.key):
            made = run_files.read(folder)
            row |= {"valid_mae": made.valid.mae, "valid_corr": made.valid.corr}
            row |= {"best_epoch": made.best_epoch, "epochs": made.epochs}
        rows.append(row)
    return rows


def _block(search: Search, best: Draw, drawn: Sequence[Draw]) -> str:
    """The best values as a block of the network's file, under the comments that say how to use it."""
    dataset, network, choice = search.source.dataset, search.network, search.choice
    taken, _ = search.hyper({})
    values = settings.network(network).values[choice.values][taken]
    place = f"in place of its block {taken}" if taken == dataset else f"beside its block {taken}"
    now = f"; {drawn[0].name}: {drawn[0].score:.4f}" if best.index and drawn[0].trained else ""
    seeds = ", ".join(map(str, search.options.seeds))
    comments = [
        f"{network} on {dataset} with the preset {choice.preset}: the best by validation MAE, {best.score:.4f} ({best.name}),",
        f"of {sum(draw.trained for draw in drawn)} sets of values (tune.seed {search.options.seed}), trained with seed {seeds}{now}.",
        f"To use it, paste it into {paths.network(network)} under values.{choice.values}, {place}, then: dvc repro",
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
