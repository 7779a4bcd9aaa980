"""doctor: look through data/raw for what DVC cannot hash; DVC itself would stop there with a bare errno, or hang."""

import os
import stat
from pathlib import Path

from pipeline import datasets, paths
from pipeline.datasets.folder import printable
from pipeline.errors import DatasetError


def main() -> None:
    """Print what would stop DVC, each with what to do. Raises DatasetError where there is anything."""
    if not paths.RAW.is_dir():
        raise DatasetError(f"There is no folder {paths.RAW}, which dvc repro needs. Make it: mkdir -p {paths.RAW}")
    shut: list[OSError] = []
    walked = list(os.walk(paths.RAW, onerror=shut.append))  # as DVC walks: no link to a folder is followed
    folders = [Path(folder, name) for folder, names, _ in walked for name in names]
    files = [Path(folder, name) for folder, _, names in walked for name in names]
    faults = [(Path(error.filename), "a folder that cannot be read. Allow it (chmod), or remove it") for error in shut]
    faults += [(path, fault) for path in folders if (fault := _misnamed(path))]
    faults += [(path, fault) for path in files if (fault := _misnamed(path) or _unreadable(path))]
    for path, fault in sorted(faults):
        print(f"{printable(path)}: {fault}")
    if faults:
        raise DatasetError(
            f"{len(faults)} entries of {paths.RAW} would stop dvc repro. Mend each as said above, then start again."
        )
    sets, _ = datasets.discover(paths.RAW)
    print(f"doctor: {paths.RAW} is fine: {len(files)} files in {len(sets)} data sets")


def _misnamed(path: Path) -> str | None:
    return None if path.name == printable(path.name) else "its name is not UTF-8. Rename it"


def _unreadable(file: Path) -> str | None:
    """What keeps DVC from reading it; nothing is opened, since a pipe would hang whoever does."""
    try:
        regular = stat.S_ISREG(file.stat().st_mode)
    except PermissionError:
        regular = True  # as far as one may see
    except OSError:
        return "a link to nothing. Remove it, or restore what it points to"
    if not regular:
        return "a pipe, socket or device, no regular file. Remove it"
    return None if os.access(file, os.R_OK) else "a file that cannot be read. Allow it (chmod), or remove it"
