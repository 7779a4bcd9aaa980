"""Runs through the cache: whoever asks for one (train, an experiment, tune) gets the same run, trained once."""

import hashlib
import io
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path

import pyarrow as pa
from pydantic import JsonValue
from typing_extensions import Buffer

from model import run_files
from model.encoders.vectors import FINETUNED, FROZEN
from model.settings import Choice, hyper_of
from model.training import gpus, logs, ranks, run, torchrun
from model.training.fit import device, precision
from model.training.resume import Keeper
from pipeline import assets, params, paths, tables
from pipeline.errors import StageError
from pipeline.execution import cache, workers
from pipeline.execution.cache import RUNS, WEIGHTS
from pipeline.execution.fingerprint import Fingerprint
from pipeline.files import sha256

VECTORS = "vectors"  # a kind of the cache: token vectors of encoders that are not trained, made again where pruned
ROWS_HASHED = 256  # at a time


@dataclass(frozen=True)
class Source:
    """A training table, a folder, and what a run needs to know of it; seen: the hash of what training can see of it."""

    file: Path
    dataset: str
    convention: str
    encoder: str
    seen: str
    has_text: bool


@dataclass(frozen=True)
class Task:
    """A run to have: what decides it, its place under data/runs, its key in the cache and that of its token vectors."""

    job: run.Job = field(compare=False)
    folder: Path
    key: str
    vectors: str | None  # None where job.vectors is

    @property
    def group(self) -> Path:
        """Runs that differ by seed alone share it."""
        return self.folder.parent / self.job.network


def source(dataset: str) -> Source:
    """Raises StageError where the data set cannot be trained on."""
    file = paths.table(dataset)
    if not file.is_dir():
        raise StageError(f"{dataset} has no training table {file}. Make it with: dvc repro assemble")
    table = tables.read_arrow(file)
    if why := run.untrainable(table):
        raise StageError(f"{dataset} is not trained on: {why}")
    about = tables.metadata(table)
    has_text = any(len(tokens) for tokens in table["input_ids"])
    return Source(file, about["dataset"], about["convention"], about["encoder"], _seen(table), has_text)


def task(source: Source, network: str, choice: Choice, seed: int, changes: Mapping[str, JsonValue]) -> Task:
    """changes: nested parts of Hyper that stand in for those of the preset and the values; {} for none."""
    block, hyper = hyper_of(network, choice, source.dataset, source.convention, changes)
    names = {"network": network, "preset": choice.preset, "values": choice.values, "block": block}
    vectors = _vectors(source, hyper.text) if source.has_text and hyper.text != FINETUNED else None
    job = run.Job(
        source.file,
        **names,
        changes=changes,
        hyper=hyper,
        seed=seed,
        encoder=assets.encoder(source.encoder),
        vectors=cache.Store(VECTORS).path(vectors) if vectors else None,
        threads=params.threads(),
        processes=params.processes(),
        precision=precision(params.precision()),
    )
    decided = {
        **names,
        "changes": changes,
        "hyper": hyper.model_dump(),
        "threads": job.threads,
        "processes": job.processes,
        "precision": job.precision,
    }
    made = Fingerprint(("model.training.run", f"model.networks.{network}"), decided)
    key = made.key(table=source.seen, vectors=vectors, seed=seed)
    return Task(job, paths.run(source.dataset, network, seed), key, vectors)


def missing(tasks: Sequence[Task], kind: str = RUNS) -> list[Task]:
    """Those that the cache does not hold, each once."""
    lacking = {task.key: task for task in tasks if not cache.Store(kind).find(task.key)}
    return list(lacking.values())


def name(task: Task) -> str:
    """Its place under data/runs, and what differs from the parameters of the run there."""
    changes = ", ".join(f"{key} {value}" for key, value in params.flat(task.job.changes).items())
    return f"{task.folder}{f' ({changes})' if changes else ''}"


def compute(
    tasks: Sequence[Task],
    keep: Callable[[Sequence[Task]], Collection[Task]],
    title: str,
    named: Callable[[Task], str] = name,
) -> int:
    """Train them into the cache, several at a time (on GPUs: model/training/gpus.py). Returns how many.

    keep: of the runs that are done by now, those whose weights stay; the others' go as soon as that is known.
    Raises StageError where some failed; the others are kept.
    """
    _prepare(tasks)
    done: list[Task] = []
    failures: list[str] = []
    each = params.processes()
    at_once = gpus.places(each) or max(1, params.workers() // each)
    train = partial(_train, seconds=params.load("limits", params.Limits).checkpoint_seconds)
    outcomes = workers.run(train, tasks, title=title, workers=at_once, threads=params.threads(), limits=None)
    for outcome in outcomes:
        task = tasks[outcome.index]
        if outcome.failure:
            failures.append(f"{named(task)}: {outcome.failure.message}\n{outcome.failure.trace}")
            continue
        done.append(task)
        print(f"{title}: {named(task)}: {outcome.value}", flush=True)
        for one in set(done) - set(keep(done)):
            cache.Store(WEIGHTS).remove(one.key)
    if failures:
        raise StageError(
            f"{len(failures)} of {len(tasks)} runs failed; runs that ended are kept.\n" + "\n".join(failures)
        )
    return len(tasks)


def valid_mae(task: Task) -> float:
    """Of a run that the cache holds."""
    return run_files.read(cache.Store(RUNS).path(task.key)).valid.mae


def _vectors(source: Source, text: str) -> str:
    """The key of a table's token vectors."""
    glove = Path(text) if text != FROZEN and Path(text).is_file() else None
    made = Fingerprint(("model.encoders.vectors",), {"threads": params.threads(), "device": device().type})
    return made.key(table=source.seen, text=_sha256(glove, glove.stat().st_mtime_ns) if glove else text)


@lru_cache
def _sha256(file: Path, mtime_ns: int) -> str:
    """Of a file that every task of a grid names."""
    return sha256(file)


def _prepare(tasks: Sequence[Task]) -> None:
    """Make the token vectors that these runs take and the cache lacks. Raises StageError."""
    store = cache.Store(VECTORS)
    lacking = {task.vectors: task for task in tasks if task.vectors and not store.find(task.vectors)}
    wanted = list(lacking.values())
    outcomes = workers.run(_embed, wanted, title="token vectors", workers=1, threads=params.threads(), limits=None)
    for outcome in outcomes:
        if outcome.failure:
            raise StageError(f"{wanted[outcome.index].folder}: {outcome.failure.message}\n{outcome.failure.trace}")


def _embed(task: Task) -> None:
    if not task.vectors:
        raise ValueError(f"{task.folder}: its encoder is trained along, there are no vectors to make")
    with cache.Store(VECTORS).put(task.vectors) as file:
        run.vectors_of(task.job, file)


def _train(task: Task, seconds: float) -> str:
    """One run into the cache; what became of it, in a line. seconds: between two states of it that are kept."""
    processes = task.job.processes
    with gpus.place(processes) as places:
        if processes == 1:
            _into_cache((task, seconds))
        else:
            torchrun.run(_into_cache, (task, seconds), processes, places)
    made = run_files.read(cache.Store(RUNS).path(task.key))
    return f"validation MAE {made.valid.mae:.3f} in epoch {made.best_epoch} of {made.epochs}"


def _into_cache(asked: tuple[Task, float]) -> None:
    """Of several processes that train it the first writes it, and its log."""
    task, seconds = asked
    state = cache.Store(RUNS).state(task.key)
    keeper = Keeper(state, task.job.name, seconds)
    if ranks.rank():
        run.train(task.job, None, keeper)
        return
    with logs.written(task.key) as log, cache.Store(RUNS).put(task.key) as folder:
        run.train(task.job, folder, keeper, log.ended)
        log.resumed_after_epoch = keeper.resumed_after
        with cache.Store(WEIGHTS).put(task.key, share=False) as weights:
            (folder / run_files.WEIGHTS).rename(weights)
    state.unlink(missing_ok=True)


class _Sha256(io.RawIOBase):
    """A file that keeps the hash of what is written to it."""

    def __init__(self) -> None:
        self.sha256 = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer) -> int:
        self.sha256.update(data)
        return memoryview(data).nbytes


def _seen(table: pa.Table) -> str:
    """sha256 of what training can see of a table and its metadata: a test label corrected retrains nothing."""
    splits = table["split"].to_pylist()
    seen = table.drop_columns(["transcript"])
    for name in ("label", "label_T", "label_A", "label_V"):
        rows = zip(splits, table[name].to_pylist(), strict=True)
        labels = pa.array([None if split == "test" else label for split, label in rows], pa.float32())
        column = seen.column_names.index(name)
        seen = seen.set_column(column, seen.schema.field(column), labels)
    file = _Sha256()
    with pa.ipc.new_stream(pa.PythonFile(file, "w"), seen.schema) as writer:
        writer.write_table(seen, max_chunksize=ROWS_HASHED)
    return file.sha256.hexdigest()
