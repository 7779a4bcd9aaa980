"""The cache: complete entries or none, and what --prune may take."""

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import CacheError
from pipeline.execution import cache, fingerprint

SUM = 64  # bytes of an entry's hash


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAWMSA_CACHE", str(tmp_path))
    return tmp_path


def test_a_key_depends_on_content_not_on_order() -> None:
    assert fingerprint.key(a=1, b=[2]) == fingerprint.key(b=[2], a=1) != fingerprint.key(a=1, b=[3])


def test_an_entry_is_whole_or_absent() -> None:
    store, key = cache.Store("audio"), fingerprint.key(clip=1)
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
    store, key = cache.Store("runs"), fingerprint.key(clip=1)
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
    store, key = cache.Store("audio"), fingerprint.key(clip=1)
    told = f"The cache {folder} cannot be written: No space left on device. Free space"
    with pytest.raises(CacheError, match=told), store.put(key):
        raise OSError(errno.ENOSPC, "No space left on device")
    with pytest.raises(PermissionError), store.put(key):
        raise PermissionError(errno.EACCES, "Permission denied", "clip.mp4")  # the clip's fault, not the cache's


def test_a_folder_may_be_put_twice() -> None:
    store, key = cache.Store("runs"), fingerprint.key(seed=1)
    for _ in range(2):
        with store.put(key) as part:
            part.mkdir()
            (part / "run.json").write_text("{}")
    assert (store.find(key) / "run.json").read_text() == "{}"
    assert [path.name for path in store.path(key).parents[1].iterdir()] == [key]


def test_prune_takes_what_no_parameter_set_uses() -> None:
    store = cache.Store("vision")
    keys = [fingerprint.key(clip=index) for index in range(3)]
    for key in keys:
        with store.put(key) as part:
            part.write_text("12345")
    store.remember({"fps": 15}, keys[:1])
    store.remember({"fps": 25}, keys[:2])
    lines = {str(line.params): (line.entries, line.bytes) for line in cache.usage()}
    one = 5 + SUM
    assert lines == {"{'fps': 15}": (1, one), "{'fps': 25}": (2, 2 * one), "None": (1, one)}
    assert cache.prune() == 5 + SUM
    assert [store.find(key) is not None for key in keys] == [True, True, False]


@pytest.mark.parametrize("directory", [False, True])
def test_an_entry_and_its_hash_appear_in_one_step(
    directory: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two writers of one key with different bytes; a reader looks before and after each change of a name on the disk."""
    store, key = cache.Store("runs"), fingerprint.key(seed=1)
    seen: list[bytes | None] = []

    def look() -> None:
        found = store.find(key)
        seen.append(found and (found / "a" if directory else found).read_bytes())

    def watched(change: Any) -> Any:
        def changed(*arguments: Any) -> Any:
            look()
            try:
                return change(*arguments)
            finally:
                look()

        return changed

    for name in ("rename", "replace"):
        monkeypatch.setattr(Path, name, watched(getattr(Path, name)))

    def write(part: Path, content: bytes) -> None:
        if directory:
            part.mkdir()
            (part / "a").write_bytes(content)
        else:
            part.write_bytes(content)

    with store.put(key) as first:
        write(first, b"the slower")
        with store.put(key) as second:
            write(second, b"the quicker one")
    look()
    assert seen == [None, *[b"the quicker one"] * (len(seen) - 1)]
    assert not capsys.readouterr().err  # no reader took an entry for a damaged one
    assert [path.name for path in store.path(key).parents[1].iterdir()] == [key]


def put(store: cache.Store, *clips: int) -> list[str]:
    """Entries of these clips; their keys."""
    keys = [fingerprint.key(clip=clip) for clip in clips]
    for key in keys:
        if not store.find(key):
            with store.put(key) as part:
                part.write_text("12345")
    return keys


def project(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """From now on this is where commands run."""
    folder.mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(folder)
    return folder


def test_projects_that_share_a_cache_keep_each_others_entries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setenv("RAWMSA_CACHE", str(tmp_path / "cache"))
    store, params = cache.Store("audio"), {"extractor": "mfcc"}
    for name, clips in (("one", (1, 2)), ("two", (2, 3))):  # equal parameters, other clips
        project(tmp_path / name, monkeypatch)
        store.remember(params, put(store, *clips))
    put(store, 4)
    assert {(Path(line.project).name, line.entries) for line in cache.usage() if line.project} == {
        ("one", 2),
        ("two", 2),
    }
    assert cache.prune() == 5 + SUM  # the fourth, which nobody uses
    assert all(store.find(fingerprint.key(clip=clip)) for clip in (1, 2, 3))
    project(tmp_path / "one", monkeypatch)
    shutil.rmtree(tmp_path / "two")
    cache.prune()
    assert [bool(store.find(fingerprint.key(clip=clip))) for clip in (1, 2, 3)] == [True, True, False]
    assert len(list((store.root / "uses").iterdir())) == 1


def test_a_temporary_experiment_counts_as_its_main_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.setenv("RAWMSA_CACHE", str(tmp_path / "cache"))
    store = cache.Store("audio")
    main = project(tmp_path / "main", monkeypatch)
    temporary = project(main / ".dvc/tmp/exps/tmp1", monkeypatch)
    monkeypatch.setenv("DVC_ROOT", str(main))
    store.remember({"hop": 2}, put(store, 1))
    project(main, monkeypatch)
    shutil.rmtree(temporary)
    assert cache.prune() == 0 and store.find(fingerprint.key(clip=1))


def test_what_a_project_of_another_machine_uses_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = cache.Store("audio")
    monkeypatch.setattr("platform.node", lambda: "another")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "no such folder here"))
    store.remember({}, put(store, 1))
    monkeypatch.undo()
    monkeypatch.setenv("RAWMSA_CACHE", str(tmp_path))
    assert cache.prune() == 0 and store.find(fingerprint.key(clip=1))


def test_prune_takes_what_an_earlier_layout_left(folder: Path) -> None:
    store = cache.Store("audio")
    (key,) = put(store, 1)
    store.remember({}, [key])
    (folder / "audio/ab").mkdir(exist_ok=True)
    (folder / "audio/ab" / ("ab" * 32)).write_text("an entry")
    (folder / "audio/ab" / f"{'ab' * 32}.sha256").write_text("its hash")
    (folder / "audio/uses/old.json").write_text(json.dumps({"params": {}, "keys": ["ab" * 32]}))
    cache.prune()
    assert sorted(file.name for file in folder.rglob("*") if file.is_file()) == sorted(
        ["content", "sha256", next((folder / "audio/uses").iterdir()).name]
    )
    assert store.find(key)
