"""How far a stage is, and when so much fails that the fault is not the clips'."""

import sys
import time
from collections import Counter
from typing import TYPE_CHECKING

from pipeline.errors import StageError
from pipeline.execution.tasks import Failure
from pipeline.params import Limits

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

SAMPLE = 8  # tasks after which the rest is estimated
ENOUGH_FAILURES = 5  # fewer for one reason never stop a stage before its end
INSTALLATION = ("ImportError", "ModuleNotFoundError", "AssetError", "CacheError", "NameError")  # no clip's fault


class Tally:
    """Counts failures by reason, and stops the stage where the fault is not the clips'."""

    def __init__(self, title: str, before: int, limits: Limits | None) -> None:
        self.title, self.before, self.limits = title, before, limits
        self.done = 0
        self.reasons: Counter[str] = Counter()
        self.first: dict[str, Failure] = {}

    def add(self, failure: Failure | None) -> None:
        """One task more has ended; None: well."""
        self.done += 1
        if not failure:
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


class Progress:
    """A bar on a terminal; elsewhere a line now and then. One estimate, from the first tasks."""

    def __init__(self, title: str, total: int) -> None:
        self.title, self.total, self.began, self.last = title, total, time.monotonic(), time.monotonic()
        self.bar: Bar | None = None
        if sys.stderr.isatty():
            from rich import progress
            from rich.console import Console

            columns = (
                progress.TextColumn("{task.description}"),
                progress.BarColumn(),
                progress.MofNCompleteColumn(),
                progress.TimeRemainingColumn(),
            )
            self.bar = progress.Progress(*columns, console=Console(stderr=True), transient=True)
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
