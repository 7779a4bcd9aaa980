"""Hashes of files: which one a file is, and whether it is still that one."""

import hashlib
import json
from pathlib import Path

from pipeline.errors import AssetError

DIGITS = 12  # of a hash in a message


def sha256(file: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def tree_sha256(path: Path) -> str:
    """The same of a file; of a folder one hash of its files' names and contents, e.g. of a model's folder. Raises AssetError."""
    if not path.exists():
        raise AssetError(f"{path} is not there. Correct the path in params.yaml, or put the model there.")
    if not path.is_dir():
        return sha256(path)
    found = {file.relative_to(path).as_posix(): sha256(file) for file in path.rglob("*") if file.is_file()}
    return hashlib.sha256(json.dumps(sorted(found.items())).encode()).hexdigest()


def altered(file: Path, expected: str) -> str | None:
    """The beginning of a message that the file has another SHA-256; None where it has this one."""
    found = sha256(file)
    if found == expected:
        return None
    return f"{file} was altered: its SHA-256 begins with {found[:DIGITS]}, expected {expected[:DIGITS]}."
