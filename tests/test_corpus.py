"""Every odd, broken or hostile file gets the record it should, and costs no other clip a byte."""

import hashlib
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipeline import features, params, paths, tables
from pipeline.datasets import ingest
from pipeline.datasets.refusal import printable
from tests import clips, corpus
from tests.projects import content

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
GOOD = "good"  # the data set beside the bad one
OUTPUTS = ("ingest", "features")


@contextmanager
def listening() -> Iterator[socket.socket]:
    """The address that the playlists name."""
    with socket.socket() as found:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # several test processes may listen at once
        found.bind(("127.0.0.1", corpus.PORT))
        found.listen()
        found.settimeout(0.1)
        yield found


def stages(folder: Path, patch: pytest.MonkeyPatch, workers: int) -> None:
    """ingest, audio and vision in a project's folder with a cache of its own."""
    patch.chdir(folder)
    patch.delenv("DVC_ROOT", raising=False)
    text = (ROOT / "params.yaml").read_text().replace("workers: 2", f"workers: {workers}")
    paths.PARAMS.write_text(text.replace("extractor: covarep", "extractor: mfcc"))
    ingest.run(params.load("ingest", ingest.Params))
    for modality in ("audio", "vision"):
        features.run(modality)


def of_good(folder: Path) -> dict[str, Any]:
    """All that the stages say of the good data set: its feature files byte by byte, its rows."""
    files = {m: content(folder / paths.features(m, GOOD)) for m in ("audio", "vision")}
    rows = [row for row in tables.read(folder / paths.CLIPS).to_pylist() if row["dataset"] == GOOD]
    return {**files, "clips": rows}


@pytest.fixture(scope="module")
def projects(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """The stages run on the good clips alone, and with the corpus, by one worker and by two; nobody called the listener."""
    folder = tmp_path_factory.mktemp("projects")
    for number in range(2):
        clips.make(folder / "alone" / paths.RAW / GOOD / f"{number}.mp4", seconds=0.5, tone=200 + 50 * number)
    corpus.make(folder / "one" / paths.RAW / "odd")
    shutil.copytree(folder / "alone" / paths.RAW / GOOD, folder / "one" / paths.RAW / GOOD)
    (folder / "two" / paths.RAW).mkdir(parents=True)
    for name in (GOOD, "odd"):
        (folder / "two" / paths.RAW / name).symlink_to(folder / "one" / paths.RAW / name)
    with pytest.MonkeyPatch.context() as patch, listening() as port:
        for name, workers in (("alone", 1), ("one", 1), ("two", 2)):
            stages(folder / name, patch, workers)
        with pytest.raises(TimeoutError):
            port.accept()
    yield {name: folder / name for name in ("alone", "one", "two")}


@pytest.mark.parametrize("case", corpus.CASES, ids=lambda case: ascii(case.name[:30]))
def test_each_file_gets_its_record(case: corpus.Case, projects: dict[str, Path]) -> None:
    used = {row["id"]: row for row in tables.read(projects["one"] / paths.CLIPS).to_pylist() if row["dataset"] == "odd"}
    refused = [row for row in tables.read(projects["one"] / paths.REFUSED).to_pylist() if row["dataset"] == "odd"]
    shown = printable(case.name)
    told = [row for row in refused if Path(row["file"]).name == shown]
    if case.status in ("ok", "degraded"):
        assert not told
        assert (used[case.clip]["status"], tuple(used[case.clip]["flags"])) == (case.status, case.told)
    else:
        assert case.clip not in used
        assert tuple(row["reason"] for row in told) == case.told
        assert all(Path(shown).stem[:40] in row["message"] for row in told)


def test_the_other_clips_are_the_same_without_them(projects: dict[str, Path]) -> None:
    assert of_good(projects["alone"]) == of_good(projects["one"]) == of_good(projects["two"])


def test_one_and_two_workers_write_the_same_bytes(projects: dict[str, Path]) -> None:
    one, two = (
        {
            str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
            for name in OUTPUTS
            for file in sorted((folder / paths.DATA / name).rglob("*"))
            if file.is_file()
        }
        for folder in (projects["one"], projects["two"])
    )
    assert len(one) >= 9 and one == two


def test_extraction_has_a_record_of_each_clip_that_was_let_in(projects: dict[str, Path]) -> None:
    for modality in ("audio", "vision"):
        rows = {row["id"]: row for row in tables.read(projects["one"] / paths.features(modality, "odd")).to_pylist()}
        for case in corpus.CASES:
            if case.status in ("ok", "degraded"):
                lacks = {"audio": {"no sound", "silent sound"}, "vision": {"no picture"}}[modality]
                absent = bool(lacks & set(case.told))
                assert rows[case.clip]["status"] == ("absent" if absent else "ok"), (
                    case.name,
                    rows[case.clip]["reason"],
                )


def test_the_page_has_every_case() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text()
    for case in corpus.CASES:
        name = printable(case.name).replace("<", "\\<")
        shown = name if len(case.name) < 60 else f"{name[:3]}… ({len(case.name)} characters)"
        assert f"| {shown} | {case.status} | {', '.join(case.told)} |" in page
