"""train: data/tables -> data/runs/<dataset>/<network>-<seed> (one run a data set, network and seed)."""

import hashlib
import io
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow as pa
from pydantic import AfterValidator, Field, field_validator

import model
from model import checkpoint, run
from model.fit import device, precision
from model.hyper import Hyper, schema
from pipeline import assets, cache, params, paths, tables, workers
from pipeline.errors import ParamsError, StageError

RUNS = "runs"  # kinds of the cache: all of a run but its weights,
WEIGHTS = "weights"  # and the weights, which `keep` may let go
CODE = Path(model.__file__).parent  # its sources are in every run's key, so that no version needs raising
UNSEEN = ("label_T", "label_A", "label_V", "transcript")  # columns of the table that no network reads
ROWS_HASHED = 256  # at a time


def _different(found: list[Any]) -> list[Any]:
    if len(set(found)) < len(found):
        raise ValueError("expected each once")
    return found


Seed = Annotated[int, Field(ge=0, lt=2**31)]  # predictions.parquet holds 32 bits


class Params(params.Block):
    """params.yaml: train."""

    networks: Annotated[list[str], Field(min_length=1), AfterValidator(_different)]
    seeds: dict[str, Annotated[list[Seed], Field(min_length=1), AfterValidator(_different)]]  # by data set, or default
    keep: Literal["best", "all", "none"]

    @field_validator("seeds")
    @classmethod
    def _for_every_data_set(cls, seeds: dict[str, list[int]]) -> dict[str, list[int]]:
        if "default" not in seeds:
            raise ValueError("expected a list of seeds under `default`")
        return seeds


@dataclass(frozen=True)
class Task:
    """A run to have: what decides it, its place under data/runs and its key in the cache."""

    job: run.Job = field(compare=False)
    folder: Path
    key: str

    @property
    def group(self) -> Path:
        """Runs that differ by seed alone share it."""
        return self.folder.parent / self.job.network


def main() -> None:
    options = params.load("train", Params)
    tasks = [task for dataset in tables.datasets_of(paths.TABLES, ".arrow") for task in _tasks(dataset, options)]
    computed = _compute([task for task in tasks if not cache.Store(RUNS).find(task.key)], tasks, options.keep)
    kept = _kept(tasks, options.keep)
    computed += _compute([task for task in kept if not cache.Store(WEIGHTS).find(task.key)], tasks, options.keep)
    _place(tasks, kept)
    used = {"train": options.model_dump(), "networks": params.read()["networks"]}
    cache.Store(RUNS).remember(used, [task.key for task in tasks])
    cache.Store(WEIGHTS).remember(used, [task.key for task in kept])
    print(
        f"train: {len(tasks)} runs, computed {computed}, from cache {len(tasks) - computed}, weights kept {len(kept)}"
    )


def _tasks(dataset: str, options: Params) -> list[Task]:
    file = paths.table(dataset)
    table = tables.read_arrow(file)
    if why := run.untrainable(table):
        print(f"train: {dataset} is not trained on: {why}")
        return []
    metadata, seen = tables.metadata(table), _seen(table)
    seeds = options.seeds.get(dataset, options.seeds["default"])
    return [_task(file, metadata, seen, network, seed) for network in options.networks for seed in seeds]


def _task(file: Path, metadata: dict[str, Any], seen: str, network: str, seed: int) -> Task:
    block, hyper = _hyper(network, metadata["dataset"], metadata["convention"])
    job = run.Job(file, network, seed, block, hyper, assets.encoder(metadata["encoder"]), params.threads())
    key = cache.key(
        table=seen,
        code=_code(),
        network=network,
        seed=seed,
        block=block,
        hyper=hyper.model_dump(),
        threads=job.threads,
        precision=precision(),
        versions=[version("torch"), version("transformers")],
    )
    return Task(job, paths.run(metadata["dataset"], network, seed), key)


class _Sha256(io.RawIOBase):
    """A file that keeps the hash of what is written to it."""

    def __init__(self) -> None:
        self.sha256 = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self.sha256.update(data)
        return len(data)


def _seen(table: pa.Table) -> str:
    """sha256 of what training can see of a table and its metadata: a test label corrected retrains nothing."""
    rows = zip(table["split"].to_pylist(), table["label"].to_pylist(), strict=True)
    labels = pa.array([None if split == "test" else label for split, label in rows], pa.float32())
    column = table.column_names.index("label")
    seen = table.set_column(column, table.schema.field(column), labels).drop_columns(list(UNSEEN))
    file = _Sha256()
    with pa.ipc.new_stream(pa.PythonFile(file, "w"), seen.schema) as writer:
        writer.write_table(seen, max_chunksize=ROWS_HASHED)
    return file.sha256.hexdigest()


def _code() -> str:
    """sha256 of the sources of model/."""
    return cache.key(**{file.name: assets.sha256(file) for file in CODE.glob("*.py")})


def _hyper(network: str, dataset: str, convention: str) -> tuple[str, Hyper]:
    """The block of the data set's own name, else that of its convention, as the network wants it."""
    wanted = schema(model.find(network))
    blocks = params.load("networks", dict[str, dict[str, Any]]).get(network, {})
    for name in (dataset, convention):
        if name in blocks:
            checked = params.check(f"networks.{network}.{name}", blocks[name], wanted)
            return name, Hyper.model_validate(checked.model_dump())  # which pickles
    raise ParamsError(
        f"params.yaml: networks.{network} has the blocks {', '.join(blocks) or 'none'}, but {dataset} needs one "
        f"named {dataset} or, for its metric convention, {convention}. Copy the nearest and name it so."
    )


def _compute(missing: Sequence[Task], tasks: Sequence[Task], keep: str) -> int:
    """Train what is missing, several at a time on a CPU; weights that are not kept go as soon as that is known."""
    done: list[Task] = []
    failures: list[str] = []
    at_once = 1 if device().type == "cuda" else params.workers()
    outcomes = workers.run(_train, missing, title="train", workers=at_once, threads=params.threads(), limits=None)
    for outcome in outcomes:
        task = missing[outcome.index]
        if outcome.failure:
            failures.append(f"{task.folder}: {outcome.failure.message}\n{outcome.failure.trace}")
            continue
        done.append(task)
        print(f"train: {outcome.value}", flush=True)
        for one in set(done) - set(_kept(tasks, keep)):
            cache.Store(WEIGHTS).path(one.key).unlink(missing_ok=True)
    if failures:
        raise StageError(f"{len(failures)} of {len(missing)} runs failed; the others are kept.\n" + "\n".join(failures))
    return len(missing)


def _train(task: Task) -> str:
    """One run into the cache; what became of it, in a line."""
    with cache.Store(RUNS).put(task.key) as folder:
        described = run.train(task.job, folder)
        with cache.Store(WEIGHTS).put(task.key) as weights:
            (folder / checkpoint.WEIGHTS).rename(weights)
    mae, best, epochs = described["valid"]["mae"], described["best_epoch"], described["epochs"]
    return f"{task.folder}: validation MAE {mae:.3f} in epoch {best} of {epochs}"


def _kept(tasks: Sequence[Task], keep: str) -> list[Task]:
    """Of the runs that are there, those whose weights stay: of each group the lowest validation MAE, or all, or none."""
    there = [task for task in tasks if cache.Store(RUNS).find(task.key)]
    if keep == "best":
        return [min(seeds, key=_valid_mae) for _, seeds in groupby(there, key=lambda task: task.group)]
    return there if keep == "all" else []


def _valid_mae(task: Task) -> float:
    return float(checkpoint.describe(cache.Store(RUNS).path(task.key))["valid"]["mae"])


def _place(tasks: Sequence[Task], kept: Sequence[Task]) -> None:
    """data/runs, anew: these runs and no other."""
    shutil.rmtree(paths.RUNS, ignore_errors=True)
    paths.RUNS.mkdir(parents=True)
    for task in tasks:
        shutil.copytree(cache.Store(RUNS).path(task.key), task.folder)
        described = checkpoint.describe(task.folder)
        tables.write_json(task.folder / checkpoint.RUN, described | {"weights": task in kept})
        if task in kept:
            _link(cache.Store(WEIGHTS).path(task.key), task.folder / checkpoint.WEIGHTS)


def _link(source: Path, target: Path) -> None:
    """A second name for the same bytes, where the two places share a disk."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)
