"""rawmsa runs: what was trained, from which parameters, when and how well; and two runs side by side.

The test split appears for the runs of data/runs alone, from the labels that evaluate has opened: a run of the cache
(a row of an experiment, a draw of tune) is chosen by its validation MAE or not at all.
"""

import json
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue

from app import experiments
from model import run_files
from model.run_files import RunRecord
from model.training import logs
from model.training.logs import Log
from pipeline import params, paths, tables
from pipeline.errors import RawmsaError, TableError
from pipeline.execution import cache
from pipeline.execution.cache import RUNS, WEIGHTS

if TYPE_CHECKING:
    from rich.table import Table

Truth = dict[str, dict[str, float]]  # labels by data set and clip

SHORT = 8  # digits of a key or a revision that are shown
SHOWN = 60  # characters of a value that are shown
WIDEST = 1000  # characters of a line
LOGGED = ("python", "device", "cpus", "revision", "changed")
COST = ("seconds", "seconds_an_epoch", "resumed_after_epoch", "peak_memory_mib", "peak_device_memory_mib")


@dataclass(frozen=True)
class Run:
    """One run: its folder in data/runs (placed) or in the cache, its record and its log (None: none here)."""

    folder: Path
    placed: bool
    key: str
    made: RunRecord
    log: Log | None

    @property
    def name(self) -> str:
        """As in data/runs; runs of the cache may share one, and differ by key."""
        return self.made.name

    @property
    def weights(self) -> bool:
        return self.made.weights if self.placed else cache.Store(WEIGHTS).find(self.key) is not None


@dataclass(frozen=True)
class Line:
    """A run in the list. placed: it is in data/runs; started and what follows: of its log, None where there is none."""

    run: str
    key: str
    placed: bool
    dataset: str
    network: str
    seed: int
    preset: str
    values: str
    changes: dict[str, JsonValue]  # by dotted key
    valid_mae: float
    best_epoch: int
    epochs: int
    test_mae: float | None
    weights: bool
    started: str | None
    seconds: float | None
    revision: str | None
    changed: bool | None
    experiments: list[str]  # of DVC, that hold it; looked up with `every` alone


@dataclass(frozen=True)
class Comparison:
    """Two runs side by side; lists hold the first's value and the second's.

    parameters, versions: those that differ, by dotted key; metrics: all; difference: second less first, of the metrics that
    are numbers in both.
    """

    runs: list[dict[str, str]]
    parameters: dict[str, list[object]]
    versions: dict[str, list[object]]
    metrics: dict[str, list[object]]
    difference: dict[str, float]


def lines(every: bool, dataset: str | None = None, network: str | None = None) -> list[Line]:
    """The runs of data/runs and, with `every`, of the cache. Raises ParamsError outside a project."""
    params.read()
    truth = _test_labels()
    held = experiments.names() if every else {}
    return [
        _line(run, truth, held.get(run.key, []))
        for run in _runs(every)
        if dataset in (None, run.made.dataset) and network in (None, run.made.network)
    ]


def listing(
    every: bool, dataset: str | None, network: str | None, as_json: bool = False, file: Path | None = None
) -> None:
    """Print the runs of data/runs and, with `every`, those of the cache; of one data set or network where named.

    With `file`, write them as CSV instead.
    """
    found = lines(every, dataset, network)
    if file:
        rows = [
            vars(line) | {"changes": _text(line.changes), "experiments": " ".join(line.experiments)} for line in found
        ]
        tables.write_csv(file, [field.name for field in fields(Line)], rows)
    elif as_json:
        print(json.dumps([asdict(line) for line in found], indent=2, ensure_ascii=False))
    elif found:
        _print(_listed(found))
    else:
        where = f"{paths.RUNS} and the cache" if every else str(paths.RUNS)
        print(f"No such run in {where}. Train with: dvc repro" + ("" if every else " (--all: those of the cache too)"))


def comparison(names: Sequence[str], as_json: bool) -> None:
    """Print what differs between two runs. Raises RawmsaError where a name fits none or several."""
    params.read()
    if len(names) != 2:
        raise RawmsaError(f"Found {len(names)} runs to compare, expected two, or none to list them: rawmsa runs A B")
    runs = _runs(every=True)
    first, second = (_named(name, runs) for name in names)
    compared = compare(first, second)
    if as_json:
        print(json.dumps(asdict(compared), indent=2, ensure_ascii=False))
        return
    headings = [f"{run.name} {run.key[:SHORT]}" for run in (first, second)]
    for part, rows in {"parameters": compared.parameters, "versions": compared.versions}.items():
        if rows:
            _print(_side_by_side(part, headings, rows, None))
        else:
            print(f"{part}: no difference")
    _print(_side_by_side("metrics", headings, compared.metrics, compared.difference))
    if not (compared.parameters or compared.versions) and first.key != second.key:
        print("Their keys differ all the same: by the code of model/, or by the training table.")


def compare(first: Run, second: Run) -> Comparison:
    truth = _test_labels()
    metrics = _pairs(_metrics(first, truth), _metrics(second, truth))
    return Comparison(
        runs=[{"run": run.name, "key": run.key} for run in (first, second)],
        parameters=_differing(first.made.parameters, second.made.parameters),
        versions=_differing(_versions(first), _versions(second)),
        metrics=metrics,
        difference={
            key: b - a for key, (a, b) in metrics.items() if isinstance(a, int | float) and isinstance(b, int | float)
        },
    )


def _runs(every: bool) -> list[Run]:
    """By data set, network and seed, those of data/runs before the others."""
    records = {file.parent: run_files.read(file.parent) for file in paths.RUNS.glob(f"*/*/{run_files.RUN}")}
    placed = [Run(folder, True, made.key, made, logs.read(made.key)) for folder, made in records.items()]
    return sorted(
        placed + (list(_cached({run.key for run in placed})) if every else []),
        key=lambda run: (
            run.made.dataset,
            run.made.network,
            not run.placed,
            _changes(run),
            run.made.seed,
            run.key,
        ),
    )


def _cached(known: Collection[str]) -> Iterator[Run]:
    """The runs of the cache that have other keys. A record that does not fit this version is left out with a warning."""
    for file in cache.Store(RUNS).root.glob(f"??/{'[0-9a-f]' * cache.KEY_LENGTH}/{cache.CONTENT}/{run_files.RUN}"):
        folder, key = file.parent, file.parents[1].name
        if key in known:
            continue
        try:
            yield Run(folder, False, key, run_files.read(folder), logs.read(key))
        except TableError as error:
            print(f"runs: a run of the cache is left out: {error}", file=sys.stderr)


def _named(name: str, runs: Sequence[Run]) -> Run:
    """The run of data/runs with this name, else the one whose key begins so."""
    found = [run for run in runs if run.placed and run.name == name] or [
        run for run in runs if name and run.key.startswith(name)
    ]
    if len(found) == 1:
        return found[0]
    if found:
        keys = ", ".join(f"{run.key[: len(name) + SHORT]} ({run.name})" for run in found[:5])
        raise RawmsaError(f"{len(found)} runs have a key that begins with {name}: {keys} … Give more digits.")
    there = ", ".join(run.name for run in runs if run.placed) or "none"
    raise RawmsaError(
        f"There is no run {name}: {paths.RUNS} has {there}. Name one of these, or a run of the cache by the first digits "
        "of its key: rawmsa runs --all shows them"
    )


def _line(run: Run, truth: Truth, held: list[str]) -> Line:
    made, log = run.made, run.log
    return Line(
        run=run.name,
        key=run.key,
        placed=run.placed,
        dataset=made.dataset,
        network=made.network,
        seed=made.seed,
        preset=made.preset,
        values=made.values,
        changes=params.flat(made.changes),
        valid_mae=made.valid.mae,
        best_epoch=made.best_epoch,
        epochs=made.epochs,
        test_mae=_test(run, truth).get("mae"),
        weights=run.weights,
        started=log.started if log else None,
        seconds=log.seconds if log else None,
        revision=log.revision if log else None,
        changed=log.changed if log else None,
        experiments=held,
    )


def _changes(run: Run) -> str:
    return _text(params.flat(run.made.changes))


def _versions(run: Run) -> dict[str, object]:
    log = run.log.model_dump() if run.log else {}
    return {**log.get("versions", {}), **run.made.versions, **{name: log.get(name) for name in LOGGED}}


def _metrics(run: Run, truth: Truth) -> dict[str, object]:
    log = run.log.model_dump() if run.log else {}
    return {
        "validation mae": run.made.valid.mae,
        "validation corr": run.made.valid.corr,
        "best epoch": run.made.best_epoch,
        "epochs": run.made.epochs,
        **{f"test {name}": value for name, value in _test(run, truth, whole=True).items()},
        **{name.replace("_", " "): log[name] for name in COST if log.get(name) is not None},
    }


def _test(run: Run, truth: Truth, whole: bool = False) -> dict[str, float | None]:
    """The test MAE of a run of data/runs, or all its test metrics; empty where evaluate has not seen its data set."""
    if not run.placed:
        return {}
    import numpy as np

    from model.measures import metrics

    labels = truth.get(run.made.dataset, {})
    found = tables.read(run.folder / run_files.PREDICTIONS, ["id", "fusion"]).to_pylist()
    pairs = np.array([(row["fusion"], labels[row["id"]]) for row in found if row["id"] in labels], np.float32).reshape(
        -1, 2
    )
    if not len(pairs):
        return {}
    convention = run.made.convention
    if whole:
        return metrics.score(convention, pairs[:, 0], pairs[:, 1])
    return {"mae": metrics.mae(*metrics.comparable(convention, pairs[:, 0], pairs[:, 1]))}


def _test_labels() -> Truth:
    """As evaluate has opened them."""
    labels: dict[str, dict[str, float]] = {}
    if paths.PREDICTIONS.is_file():
        for row in tables.read(paths.PREDICTIONS, ["dataset", "id", "split", "label"]).to_pylist():
            if row["split"] == "test" and row["label"] is not None:
                labels.setdefault(row["dataset"], {})[row["id"]] = row["label"]
    return labels


def _pairs(first: Mapping[str, object], second: Mapping[str, object]) -> dict[str, list[object]]:
    return {key: [first.get(key), second.get(key)] for key in dict.fromkeys((*first, *second))}


def _differing(first: Mapping[str, object], second: Mapping[str, object]) -> dict[str, list[object]]:
    return {key: pair for key, pair in _pairs(first, second).items() if pair[0] != pair[1]}


def _listed(found: Sequence[Line]) -> "Table":
    """The list as a table; a column that no run fills is left out."""
    from rich import box
    from rich.table import Table

    rows = [dict(_cells(line)) for line in found]
    columns = [name for name in rows[0] if any(row[name] for row in rows)]
    table = Table(*columns, box=box.SIMPLE, pad_edge=False)
    for row in rows:
        table.add_row(*(row[name] for name in columns))
    return table


def _cells(line: Line) -> Iterator[tuple[str, str]]:
    yield "run", line.run
    yield "key", line.key[:SHORT]
    yield "only in the cache", "" if line.placed else "yes"
    yield "valid MAE", _text(line.valid_mae)
    yield "test MAE", _text(line.test_mae) if line.test_mae is not None else ""
    yield "best epoch", f"{line.best_epoch} of {line.epochs}"
    yield "weights", "kept" if line.weights else ""
    yield "preset x values", " x ".join(filter(None, (line.preset, line.values)))
    yield "changes", _text(line.changes)
    yield "experiments", ", ".join(line.experiments)
    yield "trained", f"{datetime.fromisoformat(line.started).astimezone():%F %R}" if line.started else ""
    yield "seconds", f"{line.seconds:.0f}" if line.seconds is not None else ""
    yield "revision", (line.revision or "")[:SHORT] + ("+" if line.changed else "")


def _side_by_side(
    title: str, headings: Sequence[str], rows: Mapping[str, Sequence[object]], difference: Mapping[str, float] | None
) -> "Table":
    from rich import box
    from rich.table import Table

    columns = (title, *headings, *(["difference"] if difference is not None else []))
    table = Table(*columns, box=box.SIMPLE, pad_edge=False)
    for key, pair in rows.items():
        more = [] if difference is None else [_signed(difference.get(key))]
        table.add_row(key, *map(_text, pair), *more)
    return table


def _signed(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:+d}" if isinstance(value, int) else f"{value:+.3f}"


def _text(value: object) -> str:
    """A value in a cell; "-" for none."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    text = ", ".join(f"{k}={_text(v)}" for k, v in value.items()) if isinstance(value, dict) else str(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"


def _print(table: "Table") -> None:
    """As wide as it must be: a terminal that is narrower folds lines, where cells cut to it would say nothing."""
    from rich.console import Console

    wide = Console(width=WIDEST).measure(table).maximum
    Console(markup=False, emoji=False, width=max(wide, Console().width)).print(table)
