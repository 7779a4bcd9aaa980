"""data/raw: what DVC cannot hash (it would stop there with a bare errno, or hang), and what ingest refuses by its name."""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from app.doctor.finding import Finding
from pipeline import datasets, paths
from pipeline.datasets.refusal import printable
from pipeline.errors import DatasetError


def entries() -> Iterator[Finding]:
    if not paths.RAW.is_dir():
        yield Finding(
            "fault", f"there is no folder {paths.RAW}, which dvc repro needs", f"Make it: mkdir -p {paths.RAW}"
        )
        return
    shut: list[OSError] = []
    walked = list(os.walk(paths.RAW, onerror=shut.append))  # as DVC walks: no link to a folder is followed
    folders = [Path(folder, name) for folder, names, _ in walked for name in names]
    files = [Path(folder, name) for folder, _, names in walked for name in names]
    unread = ("a folder that cannot be read", "Allow it (chmod), or remove it")
    faults = [(Path(error.filename), *unread) for error in shut]
    faults += [(path, *fault) for path in folders if (fault := _misnamed(path))]
    faults += [(path, *fault) for path in files if (fault := _misnamed(path) or _unreadable(path))]
    yield from (Finding("fault", f"{printable(path)}: {what}", remedy) for path, what, remedy in sorted(faults))
    sets, refused = datasets.discover(paths.RAW)
    notes: list[str] = []
    with suppress(DatasetError):  # a folder that cannot be listed is a fault above
        for folder, found in ((folder, datasets.scan(folder)) for folder in sets):
            refused += found.refused
            notes += [f"{printable(folder)}: {note}" for note in found.notes]
    empty = [path for path in files if _size(path) == 0]
    yield from (Finding("note", f"{printable(path)} has no bytes", "Copy it again, or remove it") for path in empty)
    yield from (Finding("note", told) for told in (*(refusal.message for refusal in refused), *notes))
    if not faults:
        yield Finding("ok", f"{paths.RAW} is fine: {len(files)} files in {len(sets)} data sets")


def _size(file: Path) -> int | None:
    with suppress(OSError):
        return file.stat().st_size
    return None


def _misnamed(path: Path) -> tuple[str, str] | None:
    try:
        path.name.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8", "Rename it"
    return None


def _unreadable(file: Path) -> tuple[str, str] | None:
    """What keeps DVC from reading it; nothing is opened, since a pipe would hang whoever does."""
    try:
        regular = stat.S_ISREG(file.stat().st_mode)
    except PermissionError:
        regular = True  # as far as one may see
    except OSError:
        return "a link to nothing", "Remove it, or restore what it points to"
    if not regular:
        return "a pipe, socket or device, no regular file", "Remove it"
    return None if os.access(file, os.R_OK) else ("a file that cannot be read", "Allow it (chmod), or remove it")
