"""Tasks in killable child processes: a task that crashes, hangs or eats the memory costs itself alone.

Every process computes with `threads` torch/BLAS threads; speed comes from several tasks at once. Workers
end with their parent. Results come in order of completion, so no caller may depend on it.
"""

import ctypes
import json
import multiprocessing
import os
import resource
import signal
import sys
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from filelock import FileLock, ReadWriteLock, Timeout

from pipeline import paths
from pipeline.errors import BusyError, MediaError, RawmsaError, StageError
from pipeline.params import Executor, Limits

T = TypeVar("T")
R = TypeVar("R")
PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)  # loaded here: between fork and exec nothing may be
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)
AHEAD = 4  # tasks scheduled for each that can run, so that no place waits and no list of millions is gone through
SAMPLE = 8  # tasks after which the rest is estimated
ENOUGH_FAILURES = 5  # fewer for one reason never stop a stage before its end
INSTALLATION = ("ImportError", "ModuleNotFoundError", "AssetError", "CacheError", "NameError")  # no clip's fault


@dataclass(frozen=True)
class Failure:
    """Why a task gave no result. `reason` is a code to count by, `message` tells the rest."""

    reason: str
    message: str
    trace: str = ""


@dataclass(frozen=True)
class Outcome(Generic[R]):
    """The result of tasks[index]: a value or a failure."""

    index: int
    value: R | None
    failure: Failure | None


class Pool(Protocol):
    """Where tasks are computed: the processes of this machine, or a Ray cluster (pipeline/cluster.py)."""

    def places(self) -> int:
        """How many tasks run at once."""

    def schedule(self, function: Callable[[T], R], task: T) -> Future[Any]: ...

    def outcome(self, index: int, future: Future[Any]) -> Outcome[Any]:
        """Of a scheduled task that has ended."""

    def close(self) -> None:
        """Stop what still runs."""


def run(
    function: Callable[[T], R],
    tasks: Sequence[T],
    *,
    title: str,
    workers: int,
    threads: int,
    limits: Limits | None,
    size: Callable[[R], int] | None = None,
    before: int = 0,
    executor: Executor = "local",
) -> Iterator[Outcome[R]]:
    """Yield one Outcome a task, as they end. `function` and `tasks` must pickle.

    limits: None lets a task take what it needs (training). size: bytes on disk of a result, for the estimate.
    before: how many tasks of the same kind succeeded earlier. Raises StageError where the fault is not a clip's: one
    reason stops most, or at the end more than limits.max_failed_fraction of all failed.
    """
    if not tasks:
        return
    use_threads(threads)
    pool: Pool
    if executor == "ray":
        from pipeline import cluster

        pool = cluster.Nodes(workers, threads, limits)
    else:
        pool = Processes(min(workers, len(tasks)), limits)
    try:
        yield from _watch(pool, function, tasks, title, limits, size, before)
    finally:
        pool.close()


class Processes:
    """Child processes of this one."""

    def __init__(self, count: int, limits: Limits | None) -> None:
        from pebble import ProcessPool

        context = multiprocessing.get_context("spawn")
        self._count, self._seconds = count, limits.seconds if limits else None
        memory = limits.memory_gib if limits else None
        self._pool = ProcessPool(count, context=context, initializer=_begin, initargs=(os.getpid(), memory))

    def places(self) -> int:
        return self._count

    def schedule(self, function: Callable[[T], R], task: T) -> Future[Any]:
        future: Future[Any] = self._pool.schedule(function, args=(task,), timeout=self._seconds)
        return future

    def outcome(self, index: int, future: Future[Any]) -> Outcome[Any]:
        return _outcome(index, future)

    def close(self) -> None:
        self._pool.stop()
        self._pool.join()


def use_threads(threads: int) -> None:
    """Hold this process and its children to `threads` torch/BLAS threads. Call before importing NumPy or torch."""
    for name in THREAD_VARIABLES:
        os.environ[name] = str(threads)
    os.environ["OPENCV_FOR_THREADS_NUM"] = str(threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(threads)


def die_with_parent(parent: int) -> None:
    """End this process when `parent` ends, however that ends (Linux)."""
    if sys.platform == "linux":
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def die_with_dvc() -> None:
    """End this process, a stage, when the dvc that started it ends. Raises StageError where it has ended already: who
    adopted the stage then is of another process group (a child of dvc is of dvc's)."""
    parent = os.getppid()
    if os.getpgid(parent) != os.getpgrp():
        raise StageError(
            "The dvc that started this stage was stopped, so the stage stops too. Start again with: dvc repro"
        )
    die_with_parent(parent)


@contextmanager
def lock(stage: str, alone: bool = False) -> Iterator[None]:
    """Hold this checkout, and the cache with the runs of other checkouts, or alone. Raises BusyError naming who holds either."""
    paths.LOCK.parent.mkdir(parents=True, exist_ok=True)
    holder = paths.LOCK.with_name(paths.LOCK.name + ".json")
    try:
        with FileLock(paths.LOCK, timeout=0), cache_lock(alone):
            holder.write_text(json.dumps({"stage": stage, "pid": os.getpid(), "since": time.strftime("%F %T")}))
            try:
                yield
            finally:
                holder.unlink(missing_ok=True)
    except Timeout:
        known = json.loads(holder.read_text()) if holder.is_file() else {}
        who = f"{known.get('stage', 'a stage')} (process {known.get('pid', 'unknown')}, since {known.get('since', 'unknown')})"
        raise BusyError(f"This checkout is held by {who}. Wait for it to end, or stop that process.") from None


@contextmanager
def cache_lock(alone: bool) -> Iterator[None]:
    """Any number of runs share a cache; what removes entries needs it for itself."""
    paths.cache().mkdir(parents=True, exist_ok=True)
    held = ReadWriteLock(paths.cache() / ".lock", is_singleton=False)
    try:
        with held.write_lock(timeout=0) if alone else held.read_lock(timeout=0):
            yield
    except Timeout:
        raise BusyError(
            f"The cache {paths.cache()} is held by {'a run' if alone else 'rawmsa cache --prune'}, of another checkout "
            "perhaps. Wait for it to end."
        ) from None


def _begin(parent: int, memory_gib: float | None) -> None:
    die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops its workers
    if memory_gib:
        limit = int(memory_gib * 2**30)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def _watch(
    pool: Pool,
    function: Callable[[T], R],
    tasks: Sequence[T],
    title: str,
    limits: Limits | None,
    size: Callable[[R], int] | None,
    before: int,
) -> Iterator[Outcome[R]]:
    progress = _Progress(title, len(tasks))
    tally = _Tally(title, before, limits)
    due, running, written = deque(range(len(tasks))), dict[Future[Any], int](), 0
    try:
        while due or running:
            for _ in range(min(len(due), AHEAD * pool.places() - len(running))):
                index = due.popleft()
                running[pool.schedule(function, tasks[index])] = index
            ended, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in sorted(ended, key=running.__getitem__):
                outcome: Outcome[R] = pool.outcome(running.pop(future), future)
                tally.add(outcome)
                if size and outcome.value is not None:
                    written += size(outcome.value)
                progress.step(tally.done, sum(tally.reasons.values()), written)
                yield outcome
        tally.close()
    finally:
        progress.close()


def _outcome(index: int, future: Any) -> Outcome[Any]:
    from pebble import ProcessExpired

    try:
        return Outcome(index, future.result(), None)
    except MediaError as error:
        return Outcome(index, None, Failure(error.reason, error.message))
    except RawmsaError as error:
        return Outcome(index, None, Failure(type(error).__name__, str(error)))
    except TimeoutError as error:
        return Outcome(index, None, Failure("timeout", f"it ran longer than limits.seconds of params.yaml ({error})"))
    except ProcessExpired as error:
        return Outcome(index, None, Failure("crashed", f"its process ended with code {error.exitcode}"))
    except MemoryError:
        return Outcome(index, None, Failure("memory", "it needed more than limits.memory_gib of params.yaml"))
    except Exception as error:
        trace = str(error.__cause__ or "".join(traceback.format_exception(error)))  # the worker's own
        return Outcome(index, None, Failure(type(error).__name__, str(error) or type(error).__name__, trace))


class _Tally:
    """Counts failures by reason, and stops the stage where the fault is not the clips'."""

    def __init__(self, title: str, before: int, limits: Limits | None) -> None:
        self.title, self.before, self.limits = title, before, limits
        self.done = 0
        self.reasons: Counter[str] = Counter()
        self.first: dict[str, Failure] = {}

    def add(self, outcome: Outcome[Any]) -> None:
        self.done += 1
        if not (failure := outcome.failure):
            return
        reason = failure.reason
        self.reasons[reason] += 1
        self.first.setdefault(reason, failure)
        installation = reason in INSTALLATION
        asked = self.limits is not None and reason == "ParamsError"  # every clip meets the same params
        if installation or asked or (self.reasons[reason] >= ENOUGH_FAILURES and self._too_many(self.reasons[reason])):
            self._stop(reason, self.reasons[reason], "")

    def close(self) -> None:
        """Of many failures for several reasons, the commonest is told."""
        failures = sum(self.reasons.values())
        if self._too_many(failures):
            reason, _ = self.reasons.most_common(1)[0]
            self._stop(reason, failures, ", more than limits.max_failed_fraction of params.yaml allows")

    def _too_many(self, failures: int) -> bool:
        return self.limits is not None and failures / (self.before + self.done) > self.limits.max_failed_fraction

    def _stop(self, reason: str, failures: int, why: str) -> None:
        reasons = ", ".join(f"{each} {count}" for each, count in self.reasons.most_common())
        first = self.first[reason]
        raise StageError(
            f"{self.title}: {failures} of {self.before + self.done} failed{why} ({reasons}). The first with {reason}: "
            f"{first.message}\n{first.trace}What succeeded is kept. Remedy the cause, then run the stage again."
        )


class _Progress:
    """A bar on a terminal; elsewhere a line now and then. One estimate, from the first tasks."""

    def __init__(self, title: str, total: int) -> None:
        self.title, self.total, self.began, self.last = title, total, time.monotonic(), time.monotonic()
        self.bar: Any = None
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
            self.bar = Progress(*columns, console=Console(stderr=True), transient=True)
            self.bar.start()
            self.task = self.bar.add_task(title, total=total)

    def step(self, done: int, failures: int, written: int) -> None:
        now = time.monotonic()
        if done == SAMPLE:
            self._estimate((now - self.began) / done * (self.total - done), written / done * self.total)
        if self.bar:
            failed = f" ({failures} failed)" if failures else ""
            self.bar.update(self.task, completed=done, description=self.title + failed)
        elif now - self.last > 30:
            self.last = now
            print(f"{self.title}: {done} of {self.total}, {failures} failed", file=sys.stderr, flush=True)

    def _estimate(self, seconds: float, size: float) -> None:
        if seconds > 60:
            disk = f" and {size / 2**20:,.0f} MiB of cache" if size else ""
            print(
                f"{self.title}: about {seconds / 60:.0f} minutes more for {self.total} tasks{disk}",
                file=sys.stderr,
                flush=True,
            )

    def close(self) -> None:
        if self.bar:
            self.bar.stop()
