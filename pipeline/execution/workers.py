"""Many tasks at once, each in a killable process, watched.

Every process computes with `threads` torch/BLAS threads; speed comes from several tasks at once. Workers
end with their parent. Results come in order of completion, so no caller may depend on it.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import TypeVar

from pipeline.execution.processes import Processes, use_threads
from pipeline.execution.progress import Progress, Tally
from pipeline.execution.tasks import Outcome, Pool
from pipeline.params import Executor, Limits

T = TypeVar("T")
R = TypeVar("R")

AHEAD = 4  # tasks scheduled for each that can run, so that no place waits and no list of millions is gone through


def run(
    function: Callable[[T], R],
    tasks: Sequence[T],
    *,
    title: str,
    workers: int,
    threads: int,
    limits: Limits | None,
    length: Callable[[T], float] = lambda task: 0.0,
    size: Callable[[R], int] | None = None,
    before: int = 0,
    executor: Executor = "local",
) -> Iterator[Outcome[R]]:
    """Yield one Outcome a task, as they end. `function` and `tasks` must pickle.

    limits: None lets a task take what it needs (training). length: seconds of the clip of a task, which gets the more time
    the longer that is. size: bytes on disk of a result, for the estimate.
    before: how many tasks of the same kind succeeded earlier. Raises StageError where the fault is not a clip's: one
    reason stops most, or at the end more than limits.max_failed_fraction of all failed.
    """
    if not tasks:
        return
    use_threads(threads)
    pool: Pool
    if executor == "ray":
        from pipeline.execution import cluster

        pool = cluster.Nodes(workers, threads, limits)
    else:
        pool = Processes(min(workers, len(tasks)), limits)
    try:
        yield from watch(pool, function, tasks, title=title, limits=limits, length=length, size=size, before=before)
    finally:
        pool.close()


def watch(
    pool: Pool,
    function: Callable[[T], R],
    tasks: Sequence[T],
    *,
    title: str,
    limits: Limits | None,
    length: Callable[[T], float] = lambda task: 0.0,
    size: Callable[[R], int] | None = None,
    before: int = 0,
) -> Iterator[Outcome[R]]:
    """The same in a pool that goes on afterwards."""
    progress = Progress(title, len(tasks))
    tally = Tally(title, before, limits)
    due, running, written = deque(range(len(tasks))), dict[Future[object], int](), 0
    try:
        while due or running:
            for _ in range(min(len(due), AHEAD * pool.places() - len(running))):
                index = due.popleft()
                running[pool.schedule(function, tasks[index], length(tasks[index]))] = index
            ended, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in sorted(ended, key=running.__getitem__):
                outcome: Outcome[R] = pool.outcome(running.pop(future), future)
                tally.add(outcome.failure)
                if size and outcome.value is not None:
                    written += size(outcome.value)
                progress.step(tally.done, sum(tally.reasons.values()), written)
                yield outcome
        tally.close()
    finally:
        progress.close()
