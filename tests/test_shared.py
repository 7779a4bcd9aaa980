"""A cache in object storage: what one machine made, another takes, though they share no disk."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from model import train
from pipeline import features, params, paths
from pipeline.datasets import ingest
from pipeline.errors import CacheError
from pipeline.execution import cache, fingerprint, shared
from tests import clips
from tests.projects import content
from tests.test_remote import KEYS, s3  # noqa: F401  a fixture
from tests.trainable import write_params

ROOT = Path(__file__).parents[1]


@pytest.fixture(params=["folder", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Its URL is in the environment; a function that gives the bytes of what lies there, by its name."""
    if request.param == "folder":
        monkeypatch.setenv(shared.VARIABLE, f"file://{tmp_path}/storage")
        return lambda: content(tmp_path / "storage")
    client = request.getfixturevalue("s3")
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", client.meta.endpoint_url)
    monkeypatch.setenv(shared.VARIABLE, f"s3://lab/{tmp_path.name}/cache")

    def there() -> dict[str, bytes]:
        prefix = f"{tmp_path.name}/cache/"
        listed = client.list_objects_v2(Bucket="lab", Prefix=prefix).get("Contents", [])
        names = [one["Key"] for one in listed]
        return {name.removeprefix(prefix): client.get_object(Bucket="lab", Key=name)["Body"].read() for name in names}

    return there


def machine(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on this is another machine, with a local cache of its own."""
    monkeypatch.setenv("RAWMSA_CACHE", str(tmp_path / name))


def put(store: cache.Store, key: str, folder: bool) -> None:
    with store.put(key) as part:
        if folder:
            (part / "deep").mkdir(parents=True)
            (part / "deep/run.json").write_text("{}")
            (part / "curves.csv").write_text("epoch")
        else:
            part.write_bytes(bytes(range(256)))


@pytest.mark.parametrize("folder", [False, True], ids=["file", "directory"])
def test_an_entry_of_one_machine_is_found_on_another(
    folder: bool, storage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, other = fingerprint.key(clip=1), fingerprint.key(clip=2)
    machine("first", tmp_path, monkeypatch)
    put(cache.Store("runs"), key, folder)
    expected = content(tmp_path / "first")
    there = {name.replace("/content", "").replace(f"{key}/sha256", f"{key}.sha256"): x for name, x in expected.items()}
    assert storage() == there
    machine("second", tmp_path, monkeypatch)
    store = cache.Store("runs")
    assert store.find(key) == store.path(key) and store.find(other) is None
    assert content(tmp_path / "second") == expected
    machine("third", tmp_path, monkeypatch)
    assert cache.Store("runs").made(key).exists()
    with pytest.raises(CacheError, match="was made on another machine and is not here"):
        cache.Store("runs").made(other)


def test_an_entry_without_its_hash_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(shared.VARIABLE, f"file://{tmp_path}/storage")
    key = fingerprint.key(clip=1)
    machine("first", tmp_path, monkeypatch)
    put(cache.Store("audio"), key, False)
    (tmp_path / f"storage/audio/{key[:2]}/{key}.sha256").unlink()  # as while it is being written
    machine("second", tmp_path, monkeypatch)
    assert cache.Store("audio").find(key) is None
    with pytest.raises(CacheError):
        cache.Store("audio").made(key)


@pytest.mark.parametrize("fault", ["flipped", "lost"])
def test_a_damaged_shared_entry_is_said_and_made_again(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(shared.VARIABLE, f"file://{tmp_path}/storage")
    key = fingerprint.key(clip=1)
    machine("first", tmp_path, monkeypatch)
    put(cache.Store("runs"), key, True)
    whole = content(tmp_path / "storage")
    file = tmp_path / f"storage/runs/{key[:2]}/{key}/curves.csv"
    file.write_text("epock") if fault == "flipped" else file.unlink()
    machine("second", tmp_path, monkeypatch)
    store = cache.Store("runs")
    assert store.find(key) is None
    assert "is damaged and will be made again" in capsys.readouterr().err
    assert not list((tmp_path / "second").rglob("*.*"))  # nothing half
    put(store, key, True)
    assert content(tmp_path / "storage") == whole


def test_storage_that_cannot_be_had_is_told_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine("first", tmp_path, monkeypatch)
    (tmp_path / "storage").write_text("a file")
    monkeypatch.setenv(shared.VARIABLE, f"file://{tmp_path}/storage")
    key = fingerprint.key(clip=1)
    with pytest.raises(CacheError, match=r"shared cache file:.*storage/audio \(RAWMSA_SHARED_CACHE\) cannot be used: "):
        put(cache.Store("audio"), key, False)
    monkeypatch.setenv(shared.VARIABLE, "nowhere://lab")
    with pytest.raises(CacheError, match="nowhere://lab/audio"):
        cache.Store("audio")
    monkeypatch.delenv(shared.VARIABLE)
    assert cache.Store("audio").find(key) is not None


def extract(project: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """ingest and audio in a project's folder; what they wrote for the next stages."""
    monkeypatch.chdir(project)
    blocks = params.read(ROOT / "params.yaml")
    blocks |= {"workers": 1, "audio": blocks["audio"] | {"extractor": "mfcc"}}
    paths.PARAMS.write_text(yaml.safe_dump(blocks, sort_keys=False))
    ingest.run(params.load("ingest", ingest.Params))
    features.run("audio")
    return content(project / "data/features")


@pytest.mark.slow
def test_a_machine_takes_the_clips_that_another_has_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(shared.VARIABLE, f"file://{tmp_path}/storage")
    for number in range(3):
        clips.make(tmp_path / "one" / paths.RAW / "made" / f"{number}.mp4", seconds=0.5, tone=200 + 50 * number)
    shutil.copytree(tmp_path / "one" / paths.RAW, tmp_path / "two" / paths.RAW)
    clips.make(tmp_path / "two" / paths.RAW / "made" / "3.mp4", seconds=0.5, tone=400)
    machine("cache of one", tmp_path, monkeypatch)
    extract(tmp_path / "one", monkeypatch)
    monkeypatch.delenv(shared.VARIABLE)
    machine("cache of nobody", tmp_path, monkeypatch)
    expected = extract(tmp_path / "two", monkeypatch)
    shutil.rmtree(tmp_path / "two/data/features")
    monkeypatch.setenv(shared.VARIABLE, f"file://{tmp_path}/storage")
    machine("cache of two", tmp_path, monkeypatch)
    capsys.readouterr()
    assert extract(tmp_path / "two", monkeypatch) == expected
    told = capsys.readouterr().out
    assert (
        "1 computed, 3 from cache, 0 failed; 0 refused" in told and "audio: 4 clips: 1 computed, 3 from cache" in told
    )
    assert not (tmp_path / "storage/hash").exists()


def test_a_run_and_its_kept_weights_are_not_trained_twice(
    trainable: Path, in_process: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(shared.VARIABLE, f"file://{trainable}/storage")
    write_params()
    train.run()
    expected = content(paths.RUNS)
    entries = [file for file in (trainable / "storage/weights").rglob("*") if file.is_file()]
    assert len(entries) == 2  # of two seeds the better, and its hash
    monkeypatch.setenv("RAWMSA_CACHE", str(trainable / "cache of another"))
    capsys.readouterr()
    train.run()
    assert "2 runs, computed 0, from cache 2, weights kept 1" in capsys.readouterr().out
    assert content(paths.RUNS) == expected
