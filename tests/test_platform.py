"""What only Linux has, here and on a system that lacks it (sys.platform says darwin; nothing was run on macOS)."""

import resource
import subprocess
import sys

import pytest

from pipeline.execution import platform
from tests.test_workers import alive, wait_for

# A process that starts a child, tells its id and waits; the child ends with it by the means of `system`.
FAMILY = """
import os, subprocess, sys
system = sys.argv[1]
child = "import os, sys, time; sys.platform = sys.argv[1]; from pipeline.execution import platform; platform.LOOK_SECONDS = 0.05; platform.die_with_parent(int(sys.argv[2])); print(os.getpid(), flush=True); time.sleep(60)"
subprocess.run([sys.executable, "-c", child, system, str(os.getpid())])
"""


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A system that is not Linux."""
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(platform, "LIBC", None)
    platform.warn_of_unlimited_memory.cache_clear()


@pytest.mark.parametrize("system", ["linux", "darwin"])
def test_a_child_ends_with_its_killed_parent(system: str) -> None:
    with subprocess.Popen([sys.executable, "-c", FAMILY, system], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        parent.kill()
        parent.wait()
        wait_for(lambda: not alive(child))
        assert not alive(child)


def test_memory_is_limited_on_linux_alone(elsewhere: None, monkeypatch: pytest.MonkeyPatch, capfd) -> None:
    limits: list[tuple[int, tuple[int, int]]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda kind, limit: limits.append((kind, limit)))
    platform.limit_memory(2)
    platform.warn_of_unlimited_memory()
    platform.warn_of_unlimited_memory()
    assert not limits
    assert capfd.readouterr().err.count("limits.memory_gib of params.yaml has no effect on this system (darwin)") == 1
    monkeypatch.setattr(sys, "platform", "linux")
    platform.warn_of_unlimited_memory.cache_clear()
    platform.limit_memory(2)
    platform.warn_of_unlimited_memory()
    assert limits == [(resource.RLIMIT_AS, (2 << 30, 2 << 30))] and not capfd.readouterr().err


def test_a_program_is_bound_to_us_on_linux_alone(elsewhere: None, monkeypatch: pytest.MonkeyPatch) -> None:
    assert platform.program_dies_with_us() is None
    monkeypatch.setattr(sys, "platform", "linux")
    assert platform.program_dies_with_us() is not None


def test_peaks_of_memory_are_in_bytes(elsewhere: None, monkeypatch: pytest.MonkeyPatch) -> None:
    here = platform.peak_memory()
    assert here > 10 << 20
    used = resource.getrusage(resource.RUSAGE_SELF)
    monkeypatch.setattr(platform.Path, "read_text", lambda self: (_ for _ in ()).throw(FileNotFoundError()))
    assert platform.peak_memory() == used.ru_maxrss  # as macOS tells it
    monkeypatch.setattr(sys, "platform", "freebsd")
    assert platform.peak_memory() == used.ru_maxrss * 1024


def test_nothing_else_asks_for_the_system() -> None:
    """prctl, limits, /proc and process groups are in platform.py alone; preexec_fn takes what it gives."""
    from tests.test_house import ROOT, modules

    for module in modules():
        path = ROOT.joinpath(*module.split("."))
        file = path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py"
        if module != "pipeline.execution.platform":
            text = file.read_text()
            for word in ("prctl", "import resource", "import fcntl", "/proc/", "getpgid", "sys.platform", "/dev/shm"):  # noqa: S108
                assert word not in text, f"{module} has {word}"
