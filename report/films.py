"""The films of the page: report/proxy.py makes each once, in a worker, and the cache keeps it."""

from collections.abc import Sequence
from pathlib import Path

from pipeline import params
from pipeline.execution import cache, workers
from pipeline.execution.fingerprint import Fingerprint
from report import proxy
from report.proxy import Row

KIND = "proxy"  # of the cache
CODE = ("report.proxy",)
DECIDING = ("sha256", "start", "end", "seconds", "has_audio", "has_vision")  # of a clip
Task = tuple[Row, str]  # and its key in the cache


def made(clips: Sequence[Row]) -> dict[tuple[str, str], Path]:
    """The films of the clips of all data sets on the page, by data set and id; a clip whose film cannot be made has none, with a
    warning."""
    shown = [row for row in clips if row["path"] and (row["has_audio"] or row["has_vision"])]
    key = Fingerprint(CODE).key
    keys = {(row["dataset"], row["id"]): key(**{name: row[name] for name in DECIDING}) for row in shown}
    store = cache.Store(KIND)
    store.remember({"fps": proxy.FPS, "width": proxy.WIDTH}, list(keys.values()))
    by_key = {keys[row["dataset"], row["id"]]: row for row in shown}
    tasks = [(row, key) for key, row in by_key.items() if store.find(key) is None]
    limits = params.load("limits", params.Limits).model_copy(update={"max_failed_fraction": 1.0})
    outcomes = workers.run(
        _make,
        tasks,
        title="report",
        workers=params.workers(),
        threads=params.threads(),
        limits=limits,
        length=lambda task: task[0]["seconds"],
    )
    for outcome in outcomes:
        if outcome.failure:
            print(f"report: {tasks[outcome.index][0]['id']} has no film on the page: {outcome.failure.message}")
    return {clip: store.path(key) for clip, key in keys.items() if store.path(key).exists()}


def _make(task: Task) -> None:
    """In a worker: one film into the cache."""
    clip, key = task
    with cache.Store(KIND).put(key) as part:
        proxy.write(part, clip)
