"""Who holds this checkout, and who the cache."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, ReadWriteLock, Timeout

from pipeline import paths
from pipeline.errors import BusyError


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
