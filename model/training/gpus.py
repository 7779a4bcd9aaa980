"""The GPUs of the box as places for trainings: `gpu_runs` of params.yaml at once on each."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from filelock import FileLock, Timeout

from pipeline import params, paths
from pipeline.errors import ParamsError

WAIT = 0.5  # seconds until it is asked again whether a place is free


def places(each: int = 1) -> int:
    """How many trainings of so many GPUs each the box holds at once; 0 without a GPU.

    Raises ParamsError where it has fewer than one takes.
    """
    if not torch.cuda.is_available():
        return 0
    if each > torch.cuda.device_count():
        raise ParamsError(
            f"params.yaml: found processes: {each}, expected at most {torch.cuda.device_count()}, the GPUs of this box: "
            "each process of a training has its own. Lower processes."
        )
    return torch.cuda.device_count() * params.gpu_runs() // each


def share(part: float) -> float:
    """Bytes of the current GPU's free memory that one training may take, where all `gpu_runs` on it take `part` at most."""
    free, _ = torch.cuda.mem_get_info()
    return part * free / params.gpu_runs()


@contextmanager
def place(each: int = 1) -> Iterator[tuple[int, ...]]:
    """Take so many GPUs for one training, and wait for them where they are taken; none where the box has none.

    Other checkouts that share the cache take from the same places. A process that ends, however, gives back its own.
    """
    if not places(each):
        yield ()
        return
    taken = _free(each)
    while not taken:
        time.sleep(WAIT)
        taken = _free(each)
    try:
        torch.cuda.set_device(next(iter(taken)))
        yield tuple(taken)
    finally:
        for lock in taken.values():
            lock.release()


def _free(each: int) -> dict[int, FileLock]:
    """Places, now taken, on so many GPUs, each with as few trainings as any; all or none. One asks at a time, so that
    no two keep what the other waits for."""
    taken: dict[int, FileLock] = {}
    with FileLock(paths.cache() / ".gpus.lock"):
        for row in range(params.gpu_runs()):
            for gpu in range(torch.cuda.device_count()):
                if gpu in taken:
                    continue
                lock = FileLock(paths.cache() / f".gpu-{gpu}-{row}.lock")
                try:
                    lock.acquire(timeout=0)
                except Timeout:
                    continue
                taken[gpu] = lock
                if len(taken) == each:
                    return taken
        for lock in taken.values():
            lock.release()
    return {}
