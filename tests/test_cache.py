"""The cache: complete entries or none, and what --prune may take."""

from pathlib import Path

import pytest

from pipeline import cache


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
    assert cache.prune() == len("whole")  # the half left nothing behind


def test_an_empty_file_is_no_entry() -> None:
    store, key = cache.Store("audio"), cache.key(clip=1)
    with store.put(key) as part:
        part.touch()
    assert store.find(key) is None


def test_a_folder_may_be_put_twice() -> None:
    store, key = cache.Store("runs"), cache.key(seed=1)
    for _ in range(2):
        with store.put(key) as part:
            part.mkdir()
            (part / "run.json").write_text("{}")
    assert (store.find(key) / "run.json").read_text() == "{}"
    assert len(list(store.path(key).parent.iterdir())) == 1


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
    assert cache.prune() == 5
    assert [store.find(key) is not None for key in keys] == [True, True, False]
