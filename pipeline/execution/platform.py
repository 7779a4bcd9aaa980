"""What only Linux has, and what happens elsewhere: children that end with their parent, limits and peaks of memory.

Every call that a system may lack is in this file. rawmsa runs on Linux; on macOS it should start, but nobody has run it there.
"""

import ctypes
import os
import re
import resource
import signal
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache, partial
from pathlib import Path

from pipeline.errors import StageError

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)  # loaded here: between fork and exec nothing may be
LOOK_SECONDS = 1.0  # between two looks at the parent, where the system sends no signal at its death


def missing(libraries: Mapping[str, str]) -> dict[str, str]:
    """Those of these shared libraries of the system that do not load; none on another system than Linux.

    libraries: Debian's package by the library's name.
    """
    found = {}
    for name, package in libraries.items() if sys.platform == "linux" else ():
        try:
            ctypes.CDLL(name)
        except OSError:
            found[name] = package
    return found


def to_install(libraries: Mapping[str, str]) -> str:
    """How these are installed."""
    return f"On Debian and Ubuntu: apt-get install {' '.join(dict.fromkeys(libraries.values()))}"


def die_with_parent(parent: int) -> None:
    """End this process when `parent` ends, however that ends.

    On Linux the kernel kills it at once. Elsewhere a thread looks every second, so a call that holds Python's lock delays the end.
    """
    if sys.platform == "linux":
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
    else:
        threading.Thread(target=_watch, args=(parent,), name="watch the parent", daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_SECONDS)
    os._exit(1)


def program_dies_with_us() -> Callable[[], None] | None:
    """What `subprocess` takes as preexec_fn to start a program that ends when this process ends.

    Linux only. Elsewhere None: the program ends when it next writes into a pipe that this process no longer reads.
    """
    return partial(die_with_parent, os.getpid()) if sys.platform == "linux" else None


def die_with_dvc() -> None:
    """End this process, a stage, when the dvc that started it ends. Raises StageError where it has ended already: who
    adopted the stage then is of another process group (a child of dvc is of dvc's)."""
    parent = os.getppid()
    if _group(parent) != os.getpgrp():
        raise StageError(
            "The dvc that started this stage was stopped, so the stage stops too. Start again with: dvc repro"
        )
    die_with_parent(parent)


def _group(process: int) -> int | None:
    """The process group of a process; None where it has ended, or the system does not say."""
    with suppress(OSError):
        return os.getpgid(process)
    return None


def limit_memory(gib: float) -> None:
    """Limit this process's address space. Linux only: other systems ignore such a limit or refuse it."""
    if sys.platform == "linux":
        limit = int(gib * 2**30)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


@cache
def warn_of_unlimited_memory() -> None:
    """Print, once a process, that limits.memory_gib has no effect on this system."""
    if sys.platform != "linux":
        print(
            f"limits.memory_gib of params.yaml has no effect on this system ({sys.platform}): only Linux limits a process's "
            "memory. A clip that needs too much can slow the whole machine.",
            file=sys.stderr,
            flush=True,
        )


def forget_peak_memory() -> None:
    """Let peak_memory count from now on. Linux only: elsewhere it counts from the start of the process."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_memory() -> int:
    """The most memory that this process held, in bytes."""
    with suppress(OSError):
        if found := re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE):
            return int(found[1]) * 1024
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts in bytes, others in KiB
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
