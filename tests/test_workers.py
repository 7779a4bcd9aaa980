"""A task that crashes, hangs or fails costs itself alone; results do not depend on how many work."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tqdm import tqdm

from pipeline.errors import BusyError, MediaError, Reason, StageError, TableError
from pipeline.execution import locks, workers
from pipeline.execution.tasks import Outcome
from pipeline.params import Limits

pytestmark = pytest.mark.slow  # whole stages or figures, a second or more each

ROOT = Path(__file__).parents[1]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT)}
LIMITS = Limits(seconds=3, memory_gib=4, max_failed_fraction=0.5, checkpoint_seconds=0)


def behave(task: str | int) -> int:
    if task == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if task == "bar":
        list(tqdm([1], disable=True))
        os.kill(os.getpid(), signal.SIGKILL)
    if task == "hang":
        time.sleep(60)
    if task == "refuse":
        raise MediaError(Reason.CORRUPT, "every frame is broken")
    if task == "eat":
        return len(bytearray(6 << 30))
    if task == "slow storage":
        raise TimeoutError("s3: no answer")
    if task == "fail":
        raise ValueError("no such thing")
    if task == "known":
        raise TableError("made is damaged")
    if task == "uninstalled":
        raise ModuleNotFoundError("No module named 'opensmile'")
    return int(task) ** 2


def run(tasks: list[str | int], count: int = 2, limits: Limits = LIMITS) -> list[Outcome[int]]:
    outcomes = workers.run(behave, tasks, title="test", workers=count, threads=1, limits=limits)
    return sorted(outcomes, key=lambda outcome: outcome.index)


def threads_of(_: int) -> str:
    import torch

    return f"{os.environ['OMP_NUM_THREADS']} {torch.get_num_threads()}"


def sleepy(task: str) -> str:
    time.sleep(2 if task == "sleepy" else 0)
    return task


def devices_of(_: int) -> str | None:
    assert "torch" not in sys.modules
    return os.environ.get("CUDA_VISIBLE_DEVICES")


@pytest.mark.slow
def test_each_fault_costs_one_task() -> None:
    outcomes = run([0, "crash", 2, "hang", 4, "refuse", 6, "eat", 8, "fail", 10, 11, 12])
    assert [o.value for o in outcomes] == [0, None, 4, None, 16, None, 36, None, 64, None, 100, 121, 144]
    reasons = [outcome.failure.reason for outcome in outcomes if outcome.failure]
    assert reasons == ["crashed", "timeout", "corrupt", "memory", "ValueError"]


def test_a_tasks_own_time_out_is_not_the_pools() -> None:
    storage, overrun, _, _ = (outcome.failure for outcome in run(["slow storage", "hang", 1, 2]))
    assert (storage.reason, storage.message) == ("TimeoutError", "s3: no answer") and "Traceback" in storage.trace
    assert overrun.reason == "timeout" and "longer than 3 s, which limits.seconds of params.yaml" in overrun.message


def test_a_long_clip_gets_more_time() -> None:
    assert [LIMITS.allowed(length) for length in (0.0, 8.0, 60.0, 720.0)] == [3, 3, 3, 36]
    tasks, limits = ["short", "sleepy"], LIMITS.model_copy(update={"seconds": 1, "max_failed_fraction": 1})
    several = {"title": "test", "workers": 2, "threads": 1, "limits": limits}
    found = workers.run(sleepy, tasks, length=lambda task: 600.0 if task == "sleepy" else 0.0, **several)
    assert all(outcome.failure is None for outcome in found)
    (outcome,) = workers.run(sleepy, ["sleepy"], **several)
    assert outcome.failure and outcome.failure.reason == "timeout"


def test_a_script_needs_no_main_guard(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        f"print('once', flush=True)\nfrom tests.test_workers import run\nprint([o.value for o in run({[1, 2]})])\n"
    )
    done = subprocess.run([sys.executable, str(script)], env=ENVIRONMENT, capture_output=True, text=True)
    assert (done.stdout, done.stderr, done.returncode) == ("once\n[1, 4]\n", "", 0)


def test_a_killed_worker_leaves_no_semaphore(tmp_path: Path) -> None:
    """tqdm's lock would be one: faster-whisper and transformers make it in workers, and Python warns at the end."""
    script = tmp_path / "script.py"
    script.write_text("from tests.test_workers import run\nprint([o.value for o in run(['bar', 2])])\n")
    done = subprocess.run([sys.executable, str(script)], env=ENVIRONMENT, capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[None, 4]\n", "")


def test_a_worker_of_limited_memory_sees_no_gpu() -> None:
    for limits, expected in ((LIMITS, ["", ""]), (None, [None, None])):
        outcomes = workers.run(devices_of, [0, 1], title="test", workers=1, threads=1, limits=limits)
        assert [outcome.value for outcome in outcomes] == expected


def test_a_message_that_says_all_comes_without_a_traceback() -> None:
    known, unknown, _, _ = (outcome.failure for outcome in run(["known", "fail", 1, 2]))
    assert (known.reason, known.message, known.trace) == ("TableError", "made is damaged", "")
    assert unknown.message == "no such thing" and "Traceback" in unknown.trace


def test_one_and_two_workers_agree() -> None:
    assert run(list(range(6)), 1) == run(list(range(6)), 2)


def test_too_many_failures_stop_the_stage_with_the_cause() -> None:
    with pytest.raises(
        StageError, match=r"5 of 5 failed \(ValueError 5\). The first with ValueError: no such thing\n\W*Traceback"
    ):
        run(["fail"] * 9, 1)


def test_at_the_end_the_failed_fraction_decides() -> None:
    told = r"3 of 5 failed, more than limits.max_failed_fraction of params.yaml allows \(corrupt 2, TableError 1\)"
    with pytest.raises(StageError, match=told):
        run(["refuse", 1, "known", 2, "refuse"], 1)


def test_what_succeeded_before_counts() -> None:
    """A clip that fails again and again must not stop the rest of its thousands."""
    outcomes = list(workers.run(behave, ["fail"] * 6, title="test", workers=1, threads=1, limits=LIMITS, before=6))
    assert len(outcomes) == 6


def test_a_missing_package_stops_the_stage_at_once() -> None:
    with pytest.raises(StageError, match="No module named 'opensmile'"):
        run(["uninstalled", 1, 2], 1)


def test_workers_compute_with_the_asked_threads() -> None:
    outcomes = workers.run(threads_of, [0], title="test", workers=1, threads=1, limits=None)
    assert [outcome.value for outcome in outcomes] == ["1 1"]


def test_a_second_run_is_told_who_holds_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with (
        locks.lock("vision"),
        pytest.raises(BusyError, match=rf"held by vision \(process {os.getpid()}, since 20"),
        locks.lock("audio"),
    ):
        pass
    with locks.lock("audio"):
        assert True  # free again


def test_pruning_waits_for_runs_of_other_checkouts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAWMSA_CACHE", str(tmp_path / "shared"))
    code = """
import sys
from pipeline.execution import locks
with locks.lock(sys.argv[1], alone=len(sys.argv) > 2):
    print("held", flush=True)
    sys.stdin.readline()
"""

    def elsewhere(name: str, *arguments: str) -> subprocess.Popen[str]:
        (tmp_path / name).mkdir(exist_ok=True)
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", code, name, *arguments]
        return subprocess.Popen(
            command, cwd=tmp_path / name, env=environment, text=True, stdin=-1, stdout=-1, stderr=-1
        )

    first, second = elsewhere("one"), elsewhere("two")
    assert first.stdout.readline() == second.stdout.readline() == "held\n"  # two runs share a cache
    _, told = elsewhere("three", "alone").communicate("\n")
    assert "is held by a run, of another checkout perhaps. Wait for it to end." in told
    first.communicate("\n")
    second.kill()
    second.wait()
    third = elsewhere("three", "alone")
    assert third.stdout.readline() == "held\n"
    _, told = elsewhere("one").communicate("\n")
    assert "is held by rawmsa cache --prune" in told
    third.communicate("\n")


def test_workers_end_with_a_killed_parent(tmp_path: Path) -> None:
    note = tmp_path / "worker.pid"
    code = f"""
import os, sys, time
from pipeline.execution import workers
from tests.test_workers import sleep_and_tell
if __name__ == "__main__":
    list(workers.run(sleep_and_tell, [{str(note)!r}], title="test", workers=1, threads=1, limits=None))
"""
    script = tmp_path / "parent.py"
    script.write_text(code)
    parent = subprocess.Popen([sys.executable, str(script)], env={**os.environ, "PYTHONPATH": str(Path.cwd())})
    wait_for(lambda: note.is_file() and note.read_text())
    worker = int(note.read_text())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    wait_for(lambda: not alive(worker))
    assert not alive(worker)


@pytest.mark.parametrize("adopted", [False, True])
def test_a_stage_whose_dvc_was_killed_before_it_could_look_does_not_go_on(adopted: bool) -> None:
    code = "from pipeline.execution.platform import die_with_dvc; die_with_dvc(); print('goes on')"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code]  # of another process group than its parent, as init is for an orphan
    done = subprocess.run(command, env=environment, text=True, capture_output=True, start_new_session=adopted)
    assert ("goes on" in done.stdout) is not adopted
    assert ("StageError: The dvc that started this stage was stopped" in done.stderr) is adopted


def sleep_and_tell(note: str) -> None:
    Path(note).write_text(str(os.getpid()))
    time.sleep(60)


def alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def wait_for(condition, seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)
