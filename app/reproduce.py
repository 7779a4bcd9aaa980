"""dvc repro, called from a command of ours."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from pipeline.errors import StageError


def reproduce(*arguments: str) -> int:
    """`dvc repro` with these arguments, its output shown as it comes; its exit code. Raises StageError without DVC."""
    if not importlib.util.find_spec("dvc"):
        raise StageError("DVC is not installed here. Install it with: pip install 'rawmsa[extract]'")
    python = str(Path(sys.executable).parent)  # which the stages' commands name
    environment = {**os.environ, "PATH": f"{python}{os.pathsep}{os.environ.get('PATH', '')}"}
    sys.stdout.flush()
    return subprocess.run([sys.executable, "-m", "dvc", "repro", *arguments], env=environment).returncode  # noqa: S603  this python, our own arguments
