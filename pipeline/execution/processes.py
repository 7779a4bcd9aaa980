"""Tasks in killable child processes: a task that crashes, hangs or eats the memory costs itself alone."""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from multiprocessing.context import SpawnContext, SpawnProcess
from threading import RLock
from types import ModuleType
from typing import Any, TypeVar

from pipeline.errors import MediaError, RawmsaError
from pipeline.execution import platform
from pipeline.execution.tasks import Failure, Outcome
from pipeline.params import Limits

T = TypeVar("T")
R = TypeVar("R")
THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)


class _Child(SpawnProcess):
    """A child that does not import the script that is running: a task is a function of a module, and a script without a
    main guard would start children again in each child."""

    def start(self) -> None:
        main = sys.modules["__main__"]
        if (
            getattr(main, "__spec__", None) is None
        ):  # a script; a module that `python -m` runs may hold the task's function
            sys.modules["__main__"] = ModuleType("__main__")  # what a notebook has: there is no file to import
        try:
            super().start()
        finally:
            sys.modules["__main__"] = main


class _Spawn(SpawnContext):
    Process = _Child


class Processes:
    """Child processes of this one."""

    def __init__(self, count: int, limits: Limits | None) -> None:
        from pebble import ProcessPool

        if limits:
            platform.warn_of_unlimited_memory()
        self._count, self._limits = count, limits
        memory = limits.memory_gib if limits else None
        self._pool = ProcessPool(count, context=_Spawn(), initializer=_begin, initargs=(os.getpid(), memory))

    def places(self) -> int:
        return self._count

    def schedule(self, function: Callable[[T], R], task: T, length: float = 0.0) -> Future[object]:
        timeout = self._limits.allowed(length) if self._limits else None
        future: Future[object] = self._pool.schedule(function, args=(task,), timeout=timeout)
        return future

    def outcome(self, index: int, future: Future[object]) -> Outcome[Any]:
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


def _begin(parent: int, memory_gib: float | None) -> None:
    from tqdm import tqdm

    platform.die_with_parent(parent)
    tqdm.set_lock(RLock())  # tqdm's own lock is a semaphore: Python warns of a leak where a worker with one is killed
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops its workers
    if memory_gib:
        platform.limit_memory(memory_gib)
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # before a task imports torch: no GPU's driver fits in that memory


def _outcome(index: int, future: Future[object]) -> Outcome[Any]:
    from pebble import ProcessExpired

    try:
        return Outcome(index, future.result(), None)
    except MediaError as error:
        return Outcome(index, None, Failure(error.reason, error.message))
    except RawmsaError as error:
        return Outcome(index, None, Failure(type(error).__name__, str(error)))
    except ProcessExpired as error:
        return Outcome(index, None, Failure("crashed", f"its process ended with code {error.exitcode}"))
    except MemoryError:
        return Outcome(index, None, Failure("memory", "it needed more than limits.memory_gib of params.yaml"))
    except Exception as error:
        ours = error.__cause__ is None  # an error that a task raised carries the task's traceback
        if isinstance(error, TimeoutError) and ours:
            told = (
                f"it ran longer than {error.args[-1]:,.0f} s, which limits.seconds of params.yaml allows a clip of its length. "
                "Raise limits.seconds before you try again"
            )
            return Outcome(index, None, Failure("timeout", told))
        trace = str(error.__cause__ or "".join(traceback.format_exception(error)))  # the worker's own
        return Outcome(index, None, Failure(type(error).__name__, str(error) or type(error).__name__, trace))
