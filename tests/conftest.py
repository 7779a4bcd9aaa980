"""A project that trains in a second, for the tests of what is done with runs; one torch thread, as everywhere."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline import workers
from pipeline.errors import RawmsaError

os.environ["OMP_NUM_THREADS"] = "1"  # before torch is loaded: two threads are many times slower on a busy machine


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

    def run_here(function: Callable[[Any], Any], tasks: Sequence[Any], **_: object) -> Iterator[workers.Outcome[Any]]:
        for index, task in enumerate(tasks):
            try:
                yield workers.Outcome(index, function(task), None)
            except RawmsaError as error:
                yield workers.Outcome(index, None, workers.Failure(type(error).__name__, str(error)))

    monkeypatch.setattr(workers, "run", run_here)
