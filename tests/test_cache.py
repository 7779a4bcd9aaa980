"""The cache: complete entries or none, and what --prune may take."""

import errno
from pathlib import Path

import pytest

from pipeline.errors import CacheError
from pipeline.execution import cache

SUM = 64  # bytes beside each entry


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAWMSA_CACHE", str(tmp_path))
    return tmp_path


def test_a_key_depends_on_content_not_on_order() -> None:
    assert cache.key(a=1, b=[2]) == cache.key(b=[2], a=1) != cache.key(a=1, b=[3])


def test_an_entry_is_whole_or_absent() -> None:
    store, key = cache.Store("audio"), cache.key(clip=1)
    with pytest.raises(ZeroDivisionError), store.put(key) as part:
        part.write_text("half")
        raise ZeroDivisionError
    assert store.find(key) is None
    with store.put(key) as part:
        part.write_text("whole")
    assert store.find(key).read_text() == "whole"
    assert cache.prune() == len("whole") + SUM  # the half left nothing behind


@pytest.mark.parametrize("fault", ["flipped", "cut", "emptied", "longer", "hash lost", "file lost", "file added"])
def test_a_damaged_entry_is_none_and_says_so(fault: str, capsys: pytest.CaptureFixture[str]) -> None:
    store, key = cache.Store("runs"), cache.key(clip=1)
    with store.put(key) as part:
        part.mkdir()
        (part / "run.json").write_bytes(bytes(range(256)))
    file, content = store.path(key) / "run.json", bytes(range(256))
    assert store.find(key) is not None
    match fault:
        case "flipped":
            file.write_bytes(content[:99] + b"?" + content[100:])
        case "cut":
            file.write_bytes(content[:99])
        case "emptied":
            file.write_bytes(b"")
        case "longer":
            file.write_bytes(content + b"\0")
        case "hash lost":
            (store.path(key).parent / "sha256").unlink()
        case "file lost":
            file.unlink()
        case "file added":
            (store.path(key) / "more").touch()
    assert store.find(key) is None
    assert f"{key} is damaged and will be made again" in capsys.readouterr().err
    assert not list(store.path(key).parents[1].iterdir())


def test_a_disk_that_is_full_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, key = cache.Store("audio"), cache.key(clip=1)
    told = f"The cache {folder} cannot be written: No space left on device. Free space"
    with pytest.raises(CacheError, match=told), store.put(key):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(PermissionError), store.put(key):
        raise PermissionError(errno.EACCES, "Permission denied", "clip.mp4")  # the clip's fault, not the cache's


def test_a_folder_may_be_put_twice() -> None:
    store, key = cache.Store("runs"), cache.key(seed=1)
    for _ in range(2):
        with store.put(key) as part:
            part.mkdir()
            (part / "run.json").write_text("{}")
    assert (store.find(key) / "run.json").read_text() == "{}"
    assert [path.name for path in store.path(key).parents[1].iterdir()] == [key]


def test_prune_takes_what_no_parameter_set_uses() -> None:
    store = cache.Store("vision")
    keys = [cache.key(clip=index) for index in range(3)]
    for key in keys:
        with store.put(key) as part:
            part.write_text("12345")
    store.remember({"fps": 15}, keys[:1])
    store.remember({"fps": 25}, keys[:2])
    lines = {str(line.params): (line.entries, line.bytes) for line in cache.usage()}
    assert lines == {"{'fps': 15}": (1, 5), "{'fps': 25}": (2, 10), "None": (1, 5)}
    assert cache.prune() == 5 + SUM
    assert [store.find(key) is not None for key in keys] == [True, True, False]
