"""The content-addressed cache: what was computed once is not computed again, in no experiment.

An entry's key is that of its Fingerprint (pipeline/execution/fingerprint.py), so an entry is never stale and never changes. It is
a folder <cache>/<kind>/<first two digits>/<key> that holds the content, a file or a folder, and its hash; it appears by one rename,
so that nobody sees the one without the other. An entry that differs from its hash is damaged, and made again.

Each stage of a project notes which entries each of its parameter sets uses; `rawmsa cache --prune` removes what no note of any
project names. Machines without a disk in common can share entries through object storage (pipeline/execution/shared.py).
"""

import errno
import json
import platform
import shutil
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

from pipeline import paths
from pipeline.errors import CacheError, ParamsError
from pipeline.execution import shared
from pipeline.execution.fingerprint import key
from pipeline.files import tree_sha256

KEY_LENGTH = 64
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
RUNS = "runs"  # kinds: all of a run but its weights,
WEIGHTS = "weights"  # and the weights, which not every run keeps
OF_FILES = "hash"  # hashes of files by their place and times, which say nothing to another machine
LOGS = "logs"  # no kind: a file for each run ever trained (paths.log), which goes with its run
CONTENT, SUM = "content", "sha256"  # what an entry holds
NOTES = "uses"  # the folder of a kind's notes


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
    """The entries of one kind."""

    def __init__(self, kind: str) -> None:
        self.root = paths.cache() / kind
        self._shared = shared.of(kind) if kind != OF_FILES else None

    def path(self, key: str) -> Path:
        """Where the content of an entry is, or will be: a file or a folder."""
        return self._entry(key) / CONTENT

    def find(self, key: str) -> Path | None:
        """The content, complete and as it was put there, or None. A damaged entry is removed, with a warning."""
        entry = self._entry(key)
        if entry.exists():
            if _whole(entry):
                return entry / CONTENT
            print(f"cache: the entry {entry} is damaged and will be made again", file=sys.stderr, flush=True)
            self.remove(key)
        return self._fetched(key) if self._shared and self._shared.has(key) else None

    def made(self, key: str) -> Path:
        """What a worker has made by now, here or on another machine. Raises CacheError where it is nowhere."""
        path = self.path(key)
        if path.exists() or self._fetched(key):
            return path
        raise CacheError(
            f"{path} was made on another machine and is not here. All machines need one cache: a folder that all mount "
            f"(RAWMSA_CACHE), or object storage ({shared.VARIABLE}); docs/scale.md tells how."
        )

    def remove(self, key: str) -> None:
        """From this machine's cache."""
        gone = self._part(key)
        try:
            self._entry(key).rename(gone)  # nobody sees half of it
        except FileNotFoundError:
            return
        _remove(gone)

    def state(self, key: str) -> Path:
        """Where work on an entry is kept until the entry is there; `rawmsa cache --prune` removes it."""
        return self._entry(key).with_name(f".{key}.state")

    @contextmanager
    def put(self, key: str, share: bool = True) -> Iterator[Path]:
        """A path to write a file to, or to make a folder at; it becomes the entry when the block ends well.

        Of several writers of one entry the first stays. Raises CacheError where the disk is full or may not be written to.
        """
        with self._placed(key) as content:
            yield content
        if share:
            self.share(key)

    def share(self, key: str) -> None:
        """Have an entry of this machine in the shared cache too, where there is one."""
        if self._shared and not self._shared.has(key):
            self._shared.put(key, self.path(key), (self._entry(key) / SUM).read_text())

    def _entry(self, key: str) -> Path:
        return self.root / key[:2] / key

    def _part(self, key: str) -> Path:
        """A name beside the entry that no other process uses."""
        return self._entry(key).with_name(f".{uuid.uuid4().hex}.part")

    def _fetched(self, key: str) -> Path | None:
        """The content, now here too, of the shared cache's entry; None where it has none that is whole."""
        if not self._shared:
            return None
        try:
            with self._placed(key) as content:
                noted = self._shared.get(key, content)
                if noted is None:
                    raise _NoEntryError
                if not content.exists() or noted != tree_sha256(content):
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
        entry, part = self._entry(key), self._part(key)
        try:
            part.mkdir(parents=True)
            yield part / CONTENT
            (part / SUM).write_text(tree_sha256(part / CONTENT))
            _publish(part, entry)
        except OSError as error:
            if error.errno in UNWRITABLE or str(self.root) in str(error.filename):
                raise CacheError(
                    f"The cache {paths.cache()} cannot be written: {error.strerror}. Free space (rawmsa cache --prune), "
                    "allow writing, or set RAWMSA_CACHE to another folder; then run the same command again."
                ) from None
            raise
        finally:
            _remove(part)

    def remember(self, params: object, keys: list[str]) -> None:
        """Note which entries this project uses now with this parameter set, in place of what it used before."""
        project = str(paths.project())
        note = self.root / NOTES / f"{key(project=project, host=platform.node(), params=params)}.json"
        note.parent.mkdir(parents=True, exist_ok=True)
        part = note.with_suffix(f".{uuid.uuid4().hex}.part")
        told = _Note(project=project, host=platform.node(), params=params, keys=sorted(set(keys)))
        part.write_text(json.dumps(told, indent=1))
        part.replace(note)


class _Note(TypedDict):
    """A project's parameter set and the entries that it uses."""

    project: str
    host: str
    params: object
    keys: list[str]


@dataclass(frozen=True)
class Usage:
    """One line of `rawmsa cache`: a parameter set of a project and kind, or what none uses (project None)."""

    kind: str
    project: str | None
    params: object
    entries: int
    bytes: int


def usage() -> list[Usage]:
    """What the cache holds, by kind, project and parameter set. An entry that two sets use counts in both."""
    lines = []
    for root in _kinds():
        sizes = {path.name: _size(path) for path in _entries(root)}
        used: set[str] = set()
        for note in _notes(root):
            keys = sizes.keys() & set(note["keys"])
            used |= keys
            lines.append(Usage(root.name, note["project"], note["params"], len(keys), sum(sizes[k] for k in keys)))
        rest = sizes.keys() - used
        lines.append(Usage(root.name, None, None, len(rest), sum(sizes[k] for k in rest)))
    return lines


def size() -> int:
    """Bytes of the whole cache."""
    return _size(paths.cache()) if paths.cache().is_dir() else 0


def prune() -> int:
    """Remove the entries that no project's parameter set uses, the notes of projects that are gone, and what interrupted
    writes and earlier layouts left. Returns bytes freed."""
    freed = 0
    for root in _kinds():
        used = {key for note in _notes(root) for key in note["keys"]}
        entries = [path for path in root.glob("??/*") if path.name not in used or not path.is_dir()]
        for path in [*entries, *(note for note in (root / NOTES).glob("*") if not _counts(note))]:
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


def _whole(entry: Path) -> bool:
    content, noted = entry / CONTENT, entry / SUM
    return content.exists() and noted.is_file() and noted.read_text() == tree_sha256(content)


def _publish(part: Path, entry: Path) -> None:
    try:
        part.rename(entry)
    except OSError:
        if not (entry / SUM).is_file():  # else another process was first: a folder cannot take the place of a full one
            raise


def _kinds() -> list[Path]:
    root = paths.cache()
    return sorted(p for p in root.iterdir() if p.is_dir() and p.name != LOGS) if root.is_dir() else []


def _entries(root: Path) -> list[Path]:
    return [p for p in sorted(root.glob("??/*")) if len(p.name) == KEY_LENGTH]


def _notes(root: Path) -> list[_Note]:
    return [json.loads(note.read_text()) for note in sorted((root / NOTES).glob("*.json")) if _counts(note)]


def _counts(note: Path) -> bool:
    """False for a note of a project whose folder is gone, of an earlier layout, or half written. Whether a project of another
    machine is gone cannot be known here: its notes count."""
    if note.suffix != ".json":
        return False
    told = json.loads(note.read_text())
    return "project" in told and (told["host"] != platform.node() or Path(told["project"]).is_dir())


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(p.stat().st_size for p in path.rglob("*") if p.is_file())
    return path.stat().st_size if path.exists() else 0


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
