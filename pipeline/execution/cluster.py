"""Tasks on the nodes of a Ray cluster (`executor: ray`): beside each Ray worker one killable child process, as on one machine.

A clip that crashes, hangs or eats the memory costs its child, and fails as it would anywhere; a worker or a node that
is lost costs nobody's result: Ray gives its tasks to others. Every node sees the project's folder and the cache at the
same paths, and has the same Python and packages.
"""

import logging
import os
import socket
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import pipeline
from pipeline import paths
from pipeline.errors import StageError
from pipeline.execution import shared
from pipeline.execution.processes import Processes, use_threads
from pipeline.execution.tasks import Failure, Outcome
from pipeline.params import Limits

T = TypeVar("T")
R = TypeVar("R")
RETRIES = 3  # of a task whose worker or node was lost


class Nodes:
    """The cluster that RAY_ADDRESS names, or that runs on this machine; where there is none, a Ray of `workers` processes here."""

    def __init__(self, workers: int, threads: int, limits: Limits | None) -> None:
        try:
            import ray
        except ImportError:
            raise StageError(
                "executor: ray of params.yaml needs Ray, which is not installed. Install it with: "
                'pip install -c constraints.txt -e ".[ray]"; or set executor: local.'
            ) from None
        _connect(ray, workers)
        self._ray, self._threads = ray, threads
        self._carry = ray.remote(num_cpus=threads, max_retries=RETRIES)(_carry)
        self._project = Path.cwd()
        self._given = (threads, limits, self._project)

    def places(self) -> int:
        return max(1, int(self._ray.cluster_resources().get("CPU", 0)) // self._threads)

    def schedule(self, function: Callable[[T], R], task: T, length: float = 0.0) -> Future[Any]:
        ref = self._carry.remote(function, task, length, *self._given)
        future: Future[Any] = ref.future()
        return future

    def outcome(self, index: int, future: Future[Any]) -> Outcome[Any]:
        """Raises StageError where a node cannot work on this project."""
        try:
            found: Outcome[Any] = future.result()
        except self._ray.exceptions.RayTaskError as error:
            raise StageError(
                f"A node of the Ray cluster cannot work in {self._project}: {error.cause}. Every node needs this folder (shared "
                "storage), and the same Python with the same packages (docs/scale.md)."
            ) from None
        except self._ray.exceptions.RayError as error:
            lost = f"its worker or node was lost {RETRIES + 1} times ({type(error).__name__})"
            return Outcome(index, None, Failure("crashed", lost))
        return replace(found, index=index)

    def close(self) -> None:
        self._ray.shutdown()


def _connect(ray: Any, workers: int) -> None:
    code = str(Path(pipeline.__file__).parents[1])
    variables = {
        "PYTHONPATH": os.pathsep.join(filter(None, [code, os.environ.get("PYTHONPATH")])),
        "RAWMSA_CACHE": str(paths.cache().absolute()),
        **{name: value for name, value in os.environ.items() if name == shared.VARIABLE},
    }
    settings = {"log_to_driver": False, "logging_level": logging.ERROR, "runtime_env": {"env_vars": variables}}
    if address := os.environ.get("RAY_ADDRESS"):
        _ask(address)
    try:
        ray.init(address="auto", **settings)
    except ConnectionError:
        ray.init(address="local", num_cpus=workers, include_dashboard=False, **settings)


def _ask(address: str) -> None:
    """Raise StageError where nobody answers; Ray itself would ask for minutes, and then end the process."""
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, ValueError) as error:
        raise StageError(
            f"RAY_ADDRESS is {address}, where no Ray cluster answers ({error}); expected host:port of its head. Start one "
            "(ray start --head), correct it, or set executor: local in params.yaml."
        ) from None


def _carry(
    function: Callable[[Any], Any], task: Any, length: float, threads: int, limits: Limits | None, project: Path
) -> Outcome[Any]:
    """In a Ray worker: have its child do a task."""
    os.chdir(project)
    child = _child(threads, limits)
    return child.outcome(0, child.schedule(function, task, length))


@cache
def _child(threads: int, limits: Limits | None) -> Processes:
    use_threads(threads)
    return Processes(1, limits)
