"""The GPUs of the box as places for trainings: `gpu_runs` of params.yaml at once on each."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from filelock import FileLock, Timeout

from pipeline import params, paths

WAIT = 0.5  # seconds until it is asked again whether a place is free


def places() -> int:
    """How many trainings the box holds at once; 0 without a GPU."""
    return torch.cuda.device_count() * params.gpu_runs() if torch.cuda.is_available() else 0


@contextmanager
def place() -> Iterator[int | None]:
    """Take a GPU for one training, and wait for it where all are taken; None where the box has none.

    Other checkouts that share the cache take from the same places. A process that ends, however, gives back its own.
    """
    if not places():
        yield None
        return
    taken = _free()
    while taken is None:
        time.sleep(WAIT)
        taken = _free()
    gpu, lock = taken
    try:
        torch.cuda.set_device(gpu)
        yield gpu
    finally:
        lock.release()


def _free() -> tuple[int, FileLock] | None:
    """A place, now taken, on a GPU that has as few trainings as any; None where there is none."""
    for row in range(params.gpu_runs()):
        for gpu in range(torch.cuda.device_count()):
            lock = FileLock(paths.cache() / f".gpu-{gpu}-{row}.lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            return gpu, lock
    return None
