"""Places for trainings on the GPUs of a box: each held by one at a time, given back whatever becomes of its holder."""

import subprocess
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

from model.training import gpus
from pipeline import paths
from pipeline.errors import ParamsError

HOLDER = "import sys; from filelock import FileLock; lock = FileLock(sys.argv[1]); lock.acquire(); print('held', flush=True); input()"


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[int]:
    """A box of two GPUs for two trainings each; the GPUs that were set, in order."""
    monkeypatch.setenv("RAWMSA_CACHE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("gpu_runs: 2\n")
    chosen: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    return chosen


def test_without_a_gpu_nobody_waits(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpus.places() == 0
    with gpus.place() as none:
        assert none == ()


def test_gpus_fill_evenly(taken: list[int]):
    assert gpus.places() == 4
    with ExitStack() as stack:
        assert [stack.enter_context(gpus.place()) for _ in range(4)] == [(0,), (1,), (0,), (1,)]
    assert taken == [0, 1, 0, 1]


def test_a_training_waits_until_a_place_is_given_back(taken: list[int], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gpus, "WAIT", 0.01)
    got: list[int] = []

    def train() -> None:
        with gpus.place() as gpu:
            got.extend(gpu)

    with ExitStack() as others:
        mine = gpus.place()
        mine.__enter__()
        for _ in range(3):
            others.enter_context(gpus.place())
        waiting = threading.Thread(target=train)
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive() and not got
        mine.__exit__(None, None, None)
        waiting.join(30)
        assert got == [0]


def test_a_training_that_is_killed_gives_back_its_place(taken: list[int]):
    file = str(paths.cache() / ".gpu-0-0.lock")
    with subprocess.Popen([sys.executable, "-c", HOLDER, file], stdout=subprocess.PIPE, stdin=subprocess.PIPE) as other:
        assert other.stdout and other.stdout.readline() == b"held\n"
        with gpus.place() as gpu:
            assert gpu == (1,)
        other.kill()
        other.wait()
        with gpus.place() as gpu:
            assert gpu == (0,)


def test_a_training_of_several_gpus_takes_all_of_them_or_waits(taken: list[int], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(gpus, "WAIT", 0.01)
    got: list[tuple[int, ...]] = []

    def train() -> None:
        with gpus.place(2) as pair:
            got.append(pair)

    assert gpus.places(2) == 2
    with ExitStack() as others:
        first = gpus.place()
        first.__enter__()
        for _ in range(2):
            others.enter_context(gpus.place())  # which leaves one place, on GPU 1
        waiting = threading.Thread(target=train)
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive() and not got
        with gpus.place() as last:  # what waits keeps none of what it found
            assert last == (1,)
        first.__exit__(None, None, None)
        waiting.join(30)
    assert got == [(0, 1)]


def test_trainings_on_one_gpu_share_what_a_table_may_take(taken: list[int], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (1000, 4000))
    assert gpus.share(0.3) == 150  # gpu_runs: 2
    Path("params.yaml").write_text("gpu_runs: 4\n")
    assert gpus.share(0.3) == 75


def test_more_processes_than_gpus_are_refused(taken: list[int]):
    with pytest.raises(ParamsError, match="found processes: 3, expected at most 2, the GPUs of this box"):
        gpus.places(3)
