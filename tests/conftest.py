"""A project that trains in a second, for the tests of what is done with runs; one torch thread, as everywhere."""

import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import RawmsaError
from pipeline.execution import workers
from pipeline.execution.tasks import Failure, Outcome

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded: two threads are many times slower on a busy machine
QUICK = 5.0  # seconds; a test that takes longer is marked slow


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name the tests that take longer than QUICK and are not marked slow. They do not fail: the machine may be busy."""
    seconds: dict[str, float] = defaultdict(float)
    for reports in terminalreporter.stats.values():
        for report in reports:
            if isinstance(report, pytest.TestReport) and "slow" not in report.keywords:
                seconds[report.nodeid] += report.duration
    for test, duration in seconds.items():
        if duration > QUICK:
            terminalreporter.write_line(f"{test} takes {duration:.1f} s. Make it faster, or mark it slow.")


@pytest.fixture
def trainable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: the data set `made` with its training table, params.yaml, a cache of its own."""
    from tests import tiny, trainable  # torch, which not every test needs

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RAWMSA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "300")
    tiny.encoder(Path("tiny"))
    trainable.write_table("made")
    trainable.write_params()
    return tmp_path


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tasks without processes, which cost seconds each to start."""

    def run_here(function: Callable[[Any], Any], tasks: Sequence[Any], **_: object) -> Iterator[Outcome[Any]]:
        for index, task in enumerate(tasks):
            try:
                yield Outcome(index, function(task), None)
            except RawmsaError as error:
                yield Outcome(index, None, Failure(type(error).__name__, str(error)))

    monkeypatch.setattr(workers, "run", run_here)


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Append to a source file, e.g. ("model/networks/tfn.py", "CHANGED = 1"): of a copy, which fingerprints then read."""
    from pipeline.execution import fingerprint

    caches = [function for function in vars(fingerprint).values() if hasattr(function, "cache_clear")]
    copy = tmp_path / "sources"
    for room in fingerprint.ROOMS:
        shutil.copytree(fingerprint.ROOT / room, copy / room, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(fingerprint, "ROOT", copy)

    def append(file: str, text: str) -> None:
        with (copy / file).open("a") as opened:
            opened.write(f"\n{text}\n")
        for one in caches:
            one.cache_clear()

    yield append
    for one in caches:
        one.cache_clear()
