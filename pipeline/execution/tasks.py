"""What became of a task, and where tasks are computed."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")


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
    """Where tasks are computed: the processes of this machine, or a Ray cluster (pipeline/execution/cluster.py)."""

    def places(self) -> int:
        """How many tasks run at once."""

    def schedule(self, function: Callable[[T], R], task: T, length: float = 0.0) -> Future[object]:
        """length: seconds of the clip that the task works on, which decide how long it may take."""

    def outcome(self, index: int, future: Future[object]) -> Outcome[Any]:
        """Of a scheduled task that has ended."""

    def close(self) -> None:
        """Stop what still runs."""
