"""The content-addressed cache: what was computed once is not computed again, in no experiment.

An entry's key is a hash of all that decides its content (the clip's bytes and segment, the extractor's
version, library, params and model file), so an entry is never stale and never changes. Its own hash lies
beside it; an entry that differs from it is damaged, and made again. Each run of a stage notes which entries its parameter set uses; `rawmsa cache --prune` removes the rest.

Machines without a disk in common can share entries through object storage (pipeline/execution/shared.py).
"""

import errno
import hashlib
import json
import shutil
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline import paths
from pipeline.errors import CacheError, ParamsError
from pipeline.execution import shared
from pipeline.execution.shared import SUM
from pipeline.files import sha256

KEY_LENGTH = 64
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
RUNS = "runs"  # kinds: all of a run but its weights,
WEIGHTS = "weights"  # and the weights, which not every run keeps
OF_FILES = "hash"  # hashes of files by their place and times, which say nothing to another machine
LOGS = "logs"  # no kind: a file for each run ever trained (paths.log), which goes with its run


def key(**parts: Any) -> str:
    """A hash of the parts, independent of their order. Parts must be JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


@dataclass(frozen=True)
class Part:
    """What one job of an array computes: the entries whose keys fall to it, whatever else there is. number: from 1."""

    number: int
    of: int

    @classmethod
    def parse(cls, text: str) -> "Part":
        """Of "3/100". Raises ParamsError."""
        number, _, of = text.partition("/")
        if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
            raise ParamsError(f"--shard is '{text}', expected i/n with i from 1 to n, e.g. --shard 3/100.")
        return cls(int(number), int(of))

    def holds(self, key: str) -> bool:
        return int(key, 16) % self.of == self.number - 1


class _NoEntryError(Exception):
    """The shared cache has none."""


class Store:
    """The entries of one kind: <cache>/<kind>/<first two digits>/<key>, each a file or a folder."""

    def __init__(self, kind: str) -> None:
        self.root = paths.cache() / kind
        self._shared = shared.of(kind) if kind != OF_FILES else None

    def path(self, key: str) -> Path:
        return self.root / key[:2] / key

    def find(self, key: str) -> Path | None:
        """The entry, complete and as it was put there, or None. A damaged one is removed, and that is said."""
        path = self.path(key)
        if path.exists():
            noted = _sum(path)
            if noted.is_file() and noted.read_text() == _hash(path):
                return path
            print(f"cache: the entry {path} is damaged and will be made again", file=sys.stderr, flush=True)
            self.remove(key)
        return self._fetched(key) if self._shared and self._shared.has(key) else None

    def made(self, key: str) -> Path:
        """The entry that a worker has made by now, here or on another machine. Raises CacheError where it is nowhere."""
        path = self.path(key)
        if path.exists() or self._fetched(key):
            return path
        raise CacheError(
            f"{path} was made on another machine and is not here. All machines need one cache: a folder that all mount "
            f"(RAWMSA_CACHE), or object storage ({shared.VARIABLE}); docs/scale.md tells how."
        )

    def remove(self, key: str) -> None:
        """From this machine's cache."""
        _remove(self.path(key))
        _sum(self.path(key)).unlink(missing_ok=True)

    @contextmanager
    def put(self, key: str, share: bool = True) -> Iterator[Path]:
        """A path to write a file to, or to make a folder at; it becomes the entry when the block ends well.

        Raises CacheError where the disk is full or may not be written to.
        """
        with self._placed(key) as part:
            yield part
        if share:
            self.share(key)

    def share(self, key: str) -> None:
        """Have an entry of this machine in the shared cache too, where there is one."""
        if self._shared and not self._shared.has(key):
            self._shared.put(key, self.path(key), _sum(self.path(key)).read_text())

    def _fetched(self, key: str) -> Path | None:
        """The entry, now here too, of the shared cache; None where it has none that is whole."""
        if not self._shared:
            return None
        try:
            with self._placed(key) as part:
                noted = self._shared.get(key, part)
                if noted is None:
                    raise _NoEntryError
                if not part.exists() or noted != _hash(part):
                    print(
                        f"cache: {key} of {self._shared.url} is damaged and will be made again",
                        file=sys.stderr,
                        flush=True,
                    )
                    self._shared.forget(key)
                    raise _NoEntryError
        except _NoEntryError:
            return None
        return self.path(key)

    @contextmanager
    def _placed(self, key: str) -> Iterator[Path]:
        path = self.path(key)
        part = path.with_name(f".{uuid.uuid4().hex}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield part
            noted = part.with_suffix(SUM)
            noted.write_text(_hash(part))
            noted.replace(_sum(path))
            _publish(part, path)
        except OSError as error:
            if error.errno in UNWRITABLE or str(self.root) in str(error.filename):
                raise CacheError(
                    f"The cache {paths.cache()} cannot be written: {error.strerror}. Free space (rawmsa cache --prune), "
                    "allow writing, or set RAWMSA_CACHE to another folder; then run the same command again."
                ) from None
            raise
        finally:
            _remove(part)
            _remove(part.with_suffix(SUM))

    def remember(self, params: Any, keys: list[str]) -> None:
        """Note which entries this parameter set uses now, in place of what it used before."""
        note = self.root / "uses" / f"{key(params=params)}.json"
        note.parent.mkdir(parents=True, exist_ok=True)
        part = note.with_suffix(f".{uuid.uuid4().hex}.part")
        part.write_text(json.dumps({"params": params, "keys": sorted(set(keys))}, indent=1))
        part.replace(note)


@dataclass(frozen=True)
class Usage:
    """One line of `rawmsa cache`: a parameter set of a kind, or what no set uses (params None)."""

    kind: str
    params: Any
    entries: int
    bytes: int


def usage() -> list[Usage]:
    """What the cache holds, by kind and parameter set. An entry that two sets use counts in both."""
    lines = []
    for root in _kinds():
        sizes = {path.name: _size(path) for path in _entries(root)}
        used: set[str] = set()
        for note in _notes(root):
            keys = sizes.keys() & set(note["keys"])
            used |= keys
            lines.append(Usage(root.name, note["params"], len(keys), sum(sizes[k] for k in keys)))
        rest = sizes.keys() - used
        lines.append(Usage(root.name, None, len(rest), sum(sizes[k] for k in rest)))
    return lines


def size() -> int:
    """Bytes of the whole cache."""
    return _size(paths.cache()) if paths.cache().is_dir() else 0


def prune() -> int:
    """Remove the entries that no parameter set uses, and what interrupted writes left. Returns bytes freed."""
    freed = 0
    for root in _kinds():
        used = {k for note in _notes(root) for k in note["keys"]}
        unused = [path for path in _entries(root) if path.name not in used]
        for path in [*unused, *map(_sum, unused), *root.glob("??/.*")]:
            freed += _size(path)
            _remove(path)
    return freed + _prune_logs()


def _prune_logs() -> int:
    runs = {path.name for path in _entries(paths.cache() / RUNS)}
    orphans = [path for path in (paths.cache() / LOGS).glob("*") if path.stem not in runs]
    freed = sum(_size(path) for path in orphans)
    for path in orphans:
        _remove(path)
    return freed


def _sum(path: Path) -> Path:
    return path.with_name(path.name + SUM)


def _hash(path: Path) -> str:
    """sha256 of a file; of a folder that of its files' names and hashes."""
    if not path.is_dir():
        return sha256(path)
    return key(
        **{file.relative_to(path).as_posix(): sha256(file) for file in sorted(path.rglob("*")) if file.is_file()}
    )


def _publish(part: Path, path: Path) -> None:
    try:
        part.replace(path)
    except OSError:
        if not path.is_dir():  # a folder cannot replace one that another process put there; the two are equal
            raise


def _kinds() -> list[Path]:
    root = paths.cache()
    return sorted(p for p in root.iterdir() if p.is_dir() and p.name != LOGS) if root.is_dir() else []


def _entries(root: Path) -> list[Path]:
    return [p for p in sorted(root.glob("??/*")) if len(p.name) == KEY_LENGTH]


def _notes(root: Path) -> list[dict[str, Any]]:
    return [json.loads(note.read_text()) for note in sorted((root / "uses").glob("*.json"))]


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
    return path.stat().st_size if path.exists() else 0


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
