"""Data shared through a DVC remote, a folder or S3: what one checkout pushes, another pulls and need not compute."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from moto.server import ThreadedMotoServer

from pipeline import paths
from tests import checkouts, clips
from tests.checkouts import CLIPS, Checkout
from tests.projects import content

pytest.importorskip("espeakng_loader")
pytestmark = pytest.mark.slow

KEYS = {"AWS_ACCESS_KEY_ID": "rawmsa", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A project that has run, its raw data tracked by DVC."""
    made, _ = checkouts.demo(tmp_path_factory)
    params = made.folder / "params.yaml"
    values = yaml.safe_load(params.read_text().replace("extractor: covarep", "extractor: mfcc"))
    values["train"]["seeds"]["demo"] = [1]
    params.write_text(yaml.safe_dump(values))
    made.run("dvc", "repro")
    made.run("dvc", "add", "data/raw")
    made.run("git", "config", "user.name", "test")
    made.run("git", "config", "user.email", "test@localhost")
    return made


@pytest.fixture(scope="module")
def s3() -> Iterator[Any]:
    """A client of an S3 server that has a bucket `lab`."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        client = boto3.client(
            "s3",
            endpoint_url=f"http://{host}:{port}",
            region_name=KEYS["AWS_DEFAULT_REGION"],
            aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        )
        client.create_bucket(Bucket="lab")
        yield client
    finally:
        server.stop()


@pytest.fixture(params=["folder", "s3"])
def pulled(request: pytest.FixtureRequest, origin: Checkout, tmp_path: Path) -> Checkout:
    """A clone of the origin, after push there and pull here; each test has its own."""
    if request.param == "folder":
        origin.run("dvc", "remote", "add", "--force", "--default", "shared", str(tmp_path / "store"))
    else:
        client = request.getfixturevalue("s3")
        origin.environment.update(KEYS)
        origin.run("dvc", "remote", "add", "--force", "--default", "shared", f"s3://lab/{tmp_path.name}")
        origin.run("dvc", "remote", "modify", "shared", "endpointurl", client.meta.endpoint_url)
    origin.run("git", "add", "--all")
    origin.run("git", "commit", "--quiet", "--message", f"Shared through {request.param}")
    origin.run("dvc", "push")
    if request.param == "s3":
        stored = client.list_objects_v2(Bucket="lab", Prefix=f"{tmp_path.name}/")
        assert stored["KeyCount"] > CLIPS
    clone = Checkout(tmp_path / "clone", **(KEYS if request.param == "s3" else {}))
    origin.run("git", "clone", "--quiet", str(origin.folder), str(clone.folder))
    assert not (clone.folder / paths.RAW).exists() and not (clone.folder / ".dvc/cache").exists()
    clone.run("dvc", "pull")
    return clone


def test_after_a_pull_there_is_nothing_to_do_and_a_change_runs_only_what_it_should(
    origin: Checkout, pulled: Checkout
) -> None:
    assert _data(pulled) == _data(origin)
    assert len(list((pulled.folder / paths.RAW).rglob("*.mp4"))) == CLIPS
    assert "Data and pipelines are up to date." in pulled.run("dvc", "status")
    again = pulled.run("dvc", "repro")
    assert "Data and pipelines are up to date." in again and not _ran(again)
    assert pulled.run("git", "status", "--porcelain") == ""
    if "AWS_ACCESS_KEY_ID" in pulled.environment:
        return  # where the bytes came from changes nothing of what follows
    params = pulled.folder / "params.yaml"

    params.write_text(params.read_text().replace("max_rows: 50", "max_rows: 51"))
    assert _ran(pulled.run("dvc", "repro")) == ["report"]

    params.write_text(params.read_text().replace("coefficients: 20", "coefficients: 13"))
    changed = pulled.run("dvc", "repro", "assemble")
    assert _ran(changed) == ["audio", "assemble"]
    assert f"audio: {CLIPS} clips: {CLIPS} computed" in changed


def test_a_data_set_more_costs_its_own_clips_though_no_clip_cache_was_pulled(pulled: Checkout) -> None:
    assert not (pulled.folder / ".dvc/tmp/rawmsa").exists()
    clips.make(pulled.folder / paths.RAW / "mine/one.mp4", seconds=1.5, size=(128, 96))
    added = pulled.run("dvc", "repro", "audio", "vision")
    assert sorted(_ran(added)) == ["audio", "ingest", "vision"]
    for stage in ("audio", "vision"):
        assert f"{stage}: {CLIPS + 1} clips: 1 computed, {CLIPS} from cache" in added


def _data(checkout: Checkout) -> dict[str, bytes]:
    """What lies in its folder data, but for what a run keeps there for itself."""
    own = (".lock", paths.CHECKED.name)
    return {name: held for name, held in content(checkout.folder / paths.DATA).items() if not name.startswith(own)}


def _ran(printed: str) -> list[str]:
    """The stages that a dvc repro ran."""
    return re.findall(r"Running stage '(\w+)'", printed)
