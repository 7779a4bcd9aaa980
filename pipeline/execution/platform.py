"""What only Linux has: a child that ends with its parent, and a limit to the address space of a process."""

import ctypes
import os
import signal
import sys

from pipeline.errors import StageError

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None)  # loaded here: between fork and exec nothing may be


def die_with_parent(parent: int) -> None:
    """End this process when `parent` ends, however that ends (Linux)."""
    if sys.platform == "linux":
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)


def die_with_dvc() -> None:
    """End this process, a stage, when the dvc that started it ends. Raises StageError where it has ended already: who
    adopted the stage then is of another process group (a child of dvc is of dvc's)."""
    parent = os.getppid()
    if os.getpgid(parent) != os.getpgrp():
        raise StageError(
            "The dvc that started this stage was stopped, so the stage stops too. Start again with: dvc repro"
        )
    die_with_parent(parent)
