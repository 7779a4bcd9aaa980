"""A cache in object storage that machines share beside their own: RAWMSA_SHARED_CACHE, any URL that fsspec knows.

An entry is <kind>/<first two digits>/<key>, an object or a folder of them, and its hash <key>.sha256, which is written last: what has
a hash is whole.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import CacheError

VARIABLE = "RAWMSA_SHARED_CACHE"
SUM = ".sha256"  # ends the name of what holds an entry's hash


class Shared:
    """The entries of one kind. Every method raises CacheError where the storage cannot be had."""

    def __init__(self, url: str, kind: str) -> None:
        self.url = f"{url.rstrip('/')}/{kind}"
        with self._asked():
            from fsspec.core import url_to_fs

            self._files, self._root = url_to_fs(self.url, use_listings_cache=False)
        self._listed: dict[str, set[str]] = {}

    def has(self, key: str) -> bool:
        """Whether it was there when this object first asked for a key of the same first two digits: one request for all
        of these, where asking for each would take hours of millions."""
        prefix = key[:2]
        if prefix not in self._listed:
            with self._asked():
                try:
                    names = self._files.ls(f"{self._root}/{prefix}", detail=False)
                except FileNotFoundError:
                    names = []
            self._listed[prefix] = {name.rsplit("/", 1)[-1] for name in names}
        return key + SUM in self._listed[prefix]

    def get(self, key: str, target: Path) -> str | None:
        """Copy an entry, a file or a folder, to `target`. Returns its hash; None where it is not there."""
        source = self._path(key)
        with self._asked():
            try:
                noted = self._files.cat_file(source + SUM).decode()
                if self._files.isfile(source):
                    self._files.get_file(source, str(target))
                    return str(noted)
                for name in self._files.find(source):
                    file = target / name.rsplit(f"{key}/", 1)[-1]
                    file.parent.mkdir(parents=True, exist_ok=True)
                    self._files.get_file(name, str(file))
            except FileNotFoundError:
                return None
        return str(noted)

    def put(self, key: str, content: Path, noted: str) -> None:
        """Copy an entry there, and its hash last."""
        target = self._path(key)
        files = [file for file in sorted(content.rglob("*")) if file.is_file()] if content.is_dir() else [content]
        with self._asked():
            for file in files:
                place = target if file == content else f"{target}/{file.relative_to(content).as_posix()}"
                self._files.makedirs(place.rsplit("/", 1)[0], exist_ok=True)
                self._files.put_file(str(file), place)
            self._files.pipe_file(target + SUM, noted.encode())
        self._listed.setdefault(key[:2], set()).add(key + SUM)

    def forget(self, key: str) -> None:
        """Let a damaged entry be no entry: the next `put` takes its place."""
        with self._asked():
            self._files.rm_file(self._path(key) + SUM)
        self._listed.pop(key[:2], None)

    def _path(self, key: str) -> str:
        return f"{self._root}/{key[:2]}/{key}"

    @contextmanager
    def _asked(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # every storage has errors of its own
            raise CacheError(
                f"The shared cache {self.url} ({VARIABLE}) cannot be used: {type(error).__name__}: {error}. Correct the address, "
                "see to the credentials and the network, install what reaches it (S3: pip install -c constraints.txt -e "
                '".[s3]"), or unset the variable; what was computed is in the local cache.'
            ) from None


def of(kind: str) -> Shared | None:
    url = os.environ.get(VARIABLE)
    return Shared(url, kind) if url else None
