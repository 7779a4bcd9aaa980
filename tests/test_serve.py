"""rawmsa serve: windows of a clip, and the server as its page meets it, over HTTP."""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from threading import Thread
from typing import Any

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml

from app import answers, predict, predictor, serve, settings, windows
from app.predict import Content
from app.serve import app, work
from app.serve.clips import Clips
from model.run_files import RunRecord
from pipeline import assemble, features, params, paths, tables, text
from pipeline.errors import MediaError, RawmsaError, Reason, TableError
from pipeline.media import Media
from pipeline.params import Limits
from pipeline.tables import Column, Frames, Word
from pipeline.tables.frames import Clip
from pipeline.vision import landmarks
from tests import clips as videos
from tests import projects

pytestmark = pytest.mark.slow  # whole stages or figures, a second or more each

ROOT = Path(__file__).parents[1]
PARAMS = yaml.safe_load((ROOT / paths.PARAMS).read_text())
OPTIONS = serve.Params.model_validate(PARAMS["serve"])
LIMITS = Limits(seconds=60, memory_gib=8, max_failed_fraction=1, checkpoint_seconds=0)
FACTS = {"run": "made/self_mm-1", "max_upload_mib": 1}
SECONDS = 30.0  # until a test gives up
GRACE = 1.0
NAME = "<script>alert(1)</script> é.mp4"


# Windows


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (3.0, []),
        (4.0, []),
        (4.5, [(0.0, 4.0), (0.5, 4.5)]),
        (6.0, [(0.0, 4.0), (1.0, 5.0), (2.0, 6.0)]),
        (6.2, [(0.0, 4.0), (1.0, 5.0), (2.0, 6.0), (2.2, 6.2)]),
    ],
)
def test_the_last_window_ends_with_the_clip(seconds: float, expected: list[tuple[float, float]]) -> None:
    assert windows.windows(seconds, 4.0, 1.0) == [pytest.approx(window) for window in expected]


def content() -> Content:
    """Six seconds at 10 frames a second, each frame its number; a word a second, said in its first half."""
    x = np.arange(60, dtype=np.float32)[:, None]
    frames = Frames(np.arange(60) / 10, x, np.ones(60, bool))
    words = [Word(word, i, i + 0.5) for i, word in enumerate(["so", "this", "is", "not", "that", "good"])]
    facts = Media(True, False, 6.0, *[None] * 6, 0, 0.0, 0.0, ())
    return Content(facts, words, "recogniser", {"audio": frames, "vision": None}, [])


def made(aligned: bool = False) -> RunRecord:
    """What of a run's record decides the shape of a clip."""
    policy = {"aligned": aligned, "pool": {"audio": 4, "vision": 1}, "max_frames": {"audio": 5, "vision": 5}}
    columns = [{"name": "count", "unit": "", "kind": "value"}]
    extraction = {"text": {"max_tokens": 64}, "audio": {"columns": columns, "extractor": "made"}, "vision": {}}
    return projects.record(policy=policy, columns={"audio": ["count"], "vision": []}, extraction=extraction)


def test_a_window_is_shaped_as_a_clip_of_its_own() -> None:
    taken = predict.inputs(windows.cut(content(), 1.0, 3.25), made())
    numbers = np.arange(10, 33, dtype=np.float32)[:, None]
    expected = assemble.shape(numbers, np.ones(23, bool), [Column("count", "")], 4, 5)
    assert np.array_equal(taken.frames["audio"], expected) and len(expected) == 5
    assert taken.transcript == "this is"  # "not" has its middle at 3.25
    assert taken.tokens == text.tokenise("this is", "packaged", 64)
    assert taken.frames["vision"].shape == (0, 0)


def test_what_the_network_does_not_take_of_a_clip_is_told() -> None:
    assert list(map(str, predict.inputs(content(), made()).flags)) == ["sound: first 2 of 6 s"]
    assert predict.inputs(windows.cut(content(), 1.0, 3.0), made()).flags == []


def test_a_modality_that_fails_costs_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(clip: Clip, params: object) -> Frames:
        raise OSError("libEGL.so.1: cannot open shared object file")

    monkeypatch.setattr(landmarks, "extract", fails)
    columns = [{"name": "count", "unit": "", "kind": "value"}]
    blocks = params.read()
    extraction = {
        "text": {"max_tokens": 64},
        "audio": {"columns": columns, "extractor": "mfcc", "params": blocks["audio"]["mfcc"]},
        "vision": {"columns": columns, "extractor": "landmarks", "params": blocks["vision"]["landmarks"]},
    }
    run = projects.record(columns={"audio": ["count"], "vision": ["count"]}, extraction=extraction)
    path = videos.make(tmp_path / "a.mp4")
    facts = Media(True, True, 1.0, *[None] * 6, 0, 0.0, 0.0, ())
    sound, picture = (predict.extract(modality, path, facts, run) for modality in ("audio", "vision"))
    assert len(sound.x) > 90 and sound.flags == () and len(picture.x) == 0
    assert list(map(str, picture.flags)) == ["picture not used: libEGL.so.1: cannot open shared object file"]


def test_a_window_to_the_end_has_what_comes_late() -> None:
    whole = content()
    late = replace(whole, words=[*whole.words[:-1], replace(whole.words[-1], end=9.0)])  # as recognisers have it
    assert windows.cut(late, 4.0, 6.0).words == late.words[4:]
    assert windows.cut(late, 3.0, 5.0).words == late.words[3:5]


def test_a_window_of_an_aligned_run_has_a_frame_a_token() -> None:
    taken = predict.inputs(windows.cut(content(), 1.0, 3.0), made(aligned=True))
    assert len(taken.tokens.input_ids) == 4  # [CLS] this is [SEP]
    assert taken.frames["audio"][:, 0].tolist() == pytest.approx([np.nan, 12.0, 22.0, np.nan], nan_ok=True)


def test_words_without_times_are_in_no_window() -> None:
    whole = content()
    untimed = replace(whole, words=[replace(whole.words[0], start=None), *whole.words[1:]])
    taken = predict.inputs(windows.cut(untimed, 0.0, 4.0), made())
    assert taken.transcript == "" and taken.tokens.input_ids == [] and len(taken.frames["audio"]) == 5


def test_leans_are_of_heads_that_are_known_to_be_good() -> None:
    valid = {"loss": 1.0, "mae": 1.0, "corr": None}
    run = projects.record(valid=valid | {"heads": {"text": 0.3, "audio": 0.29, "vision": None}})
    job = work.Job(Path("data/runs/made/self_mm-1"), run, settings.of_project(ROOT / paths.PARAMS), OPTIONS)
    told = work.facts(job)
    assert told["run"] == "made/self_mm-1" and told["steps"] == work.STEPS and told["max_seconds"] == 600
    assert told["heads"] == {
        "text": {"corr": 0.3, "shown": True},
        "audio": {"corr": 0.29, "shown": False},
        "vision": {"corr": None, "shown": False},
    }
    before = replace(job, made=projects.record(valid=valid))  # heads were not recorded
    assert work.facts(before)["heads"] == {} and not work._shown(before)


# The server, with work that waits for the test


@dataclass
class Page:
    """A server, and what its page would do."""

    http: httpx.Client
    clips: Clips

    def upload(self, name: str, body: bytes = b"video", **headers: str) -> httpx.Response:
        return self.http.post("/clips", params={"name": name}, content=body, headers=headers)

    def clip(self, name: str, body: bytes = b"video") -> str:
        answer = self.upload(name, body)
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def folder(self, id: str) -> Path:
        found = self.clips.get(id)
        assert found
        return found.file.parent

    @contextmanager
    def events(self, id: str) -> Iterator[Iterator[dict[str, Any]]]:
        """An open stream."""
        with self.http.stream("GET", f"/clips/{id}/events") as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            lines = response.iter_lines()
            yield (json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: "))


def until(events: Iterator[dict[str, Any]], **expected: Any) -> dict[str, Any]:
    """The first event that has these values."""
    return next(event for event in events if expected.items() <= event.items())


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end, "it did not come about"
        time.sleep(0.02)


def alive(pid: int) -> bool:
    status = Path(f"/proc/{pid}/stat")
    return status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def stand_in(asked: work.Asked) -> dict[str, Any]:
    """Work on a clip, which ends when `go` lies beside it, or at once where its name does not say `slow`."""
    file, name = asked.file, asked.name
    work._begin(file.parent, "probe")
    (file.parent / "pid").write_text(str(os.getpid()))
    while "slow" in name and not (file.parent / "go").exists():
        time.sleep(0.02)
    if "crash" in name:
        os.kill(os.getpid(), signal.SIGSEGV)
    if "bad" in name:
        raise MediaError(Reason.UNREADABLE, f"{name} is no video")
    (file.parent / "text.parquet").write_bytes(b"PAR1")
    (file.parent / "film.mp4").write_bytes(b"film")
    told = {"run": "made/self_mm-1", "synthetic": True, "label_range": (-3.0, 3.0), "neutral": 0.0}
    return {
        "record": asdict(answers.Prediction(clip=name, prediction=1.0, windows=[] if asked.course else None, **told))
    }


def nothing(_: None) -> None:
    """What there is to warm up for it."""


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    clips = Clips(stand_in, nothing, LIMITS, GRACE)
    server = app.Server(
        app.application(clips, FACTS, FACTS["max_upload_mib"], ("127.0.0.1", "localhost", "lab.local")), clips
    )
    bound = serve.listen("127.0.0.1", 0)
    root = clips.folder().parent
    thread = Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    url = f"http://127.0.0.1:{bound.getsockname()[1]}"
    with httpx.Client(base_url=url, timeout=SECONDS, trust_env=False) as http:
        yield Page(http, clips)
    server.should_exit = True
    thread.join(SECONDS)
    assert not thread.is_alive() and not root.exists()


def test_the_page_and_its_facts(page: Page) -> None:
    shown = page.http.get("/")
    assert shown.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in shown.headers["content-security-policy"] and "https://" not in shown.text
    assert "Plotly" in page.http.get("/plotly.js").text
    assert page.http.get("/facts").json() == FACTS


def test_a_clip_is_worked_on_and_shown_until_its_page_is_closed(page: Page) -> None:
    id = page.clip(f"slow {NAME}")
    folder = page.folder(id)
    assert [file.name for file in folder.iterdir() if file.suffix] == ["clip.mp4"]
    with page.events(id) as events:
        assert until(events, state="working", step="probe")["ahead"] == 0
        assert page.http.get(f"/clips/{id}/text.parquet").status_code == 404  # not yet
        (folder / "go").touch()
        done = until(events, state="done")
        assert done["result"]["record"]["clip"] == f"slow {NAME}" and done["error"] is None
        file = page.http.get(f"/clips/{id}/text.parquet")
        assert file.content == b"PAR1" and file.headers["content-disposition"] == 'attachment; filename="text.parquet"'
        part = page.http.get(f"/clips/{id}/film.mp4", headers={"Range": "bytes=1-2"})
        assert (part.status_code, part.content, part.headers["content-type"]) == (206, b"il", "video/mp4")
        assert page.http.get(f"/clips/{id}/steps.parquet").status_code == 404
    wait_for(lambda: not folder.exists())
    assert page.http.get(f"/clips/{id}/film.mp4").status_code == 404


def test_as_long_as_one_stream_is_open_a_clip_is_kept(page: Page) -> None:
    id = page.clip("a.mp4")
    with page.events(id) as first:
        until(first, state="done")
        with page.events(id) as second:
            until(second, state="done")
        later = page.clip("b.mp4")
        wait_for(lambda: page.clips.get(later) is None)  # to which nobody listens: the grace is over
        assert page.clips.get(id)


def test_two_clips_queue_and_both_are_done(page: Page) -> None:
    first, second = page.clip("slow.mp4"), page.clip("b.mp4")
    with page.events(first) as ours, page.events(second) as theirs:
        until(ours, state="working")
        assert until(theirs, state="queued")["ahead"] == 1
        (page.folder(first) / "go").touch()
        until(ours, state="done")
        assert until(theirs, state="done")["ahead"] == 0


def test_a_closed_page_frees_its_turn_and_kills_its_work(page: Page) -> None:
    first, second, third = page.clip("slow.mp4"), page.clip("slow.mp4"), page.clip("c.mp4")
    folders = [page.folder(id) for id in (first, second)]
    with page.events(third) as events:
        with page.events(first) as ours, page.events(second):
            until(ours, state="working", step="probe")
            wait_for(lambda: (folders[0] / "pid").is_file() and (folders[0] / "pid").read_text())
            child = int((folders[0] / "pid").read_text())
            assert until(events, state="queued", ahead=2)
        until(events, state="done")
    assert not any(folder.exists() for folder in folders) and not alive(child)
    assert page.clips.get(first) is page.clips.get(second) is None


def test_a_clip_to_which_nobody_listens_goes(page: Page) -> None:
    id = page.clip("slow.mp4")
    folder = page.folder(id)
    wait_for(lambda: not folder.exists())
    assert page.clips.get(id) is None


def test_a_clip_is_removed_at_once_when_asked(page: Page) -> None:
    id = page.clip("slow.mp4")
    folder = page.folder(id)
    with page.events(id) as events:
        until(events, state="working")
        assert page.http.delete(f"/clips/{id}").status_code == 200
        assert not folder.exists()
        assert [event["state"] for event in events if event["state"] != "working"] == []  # and the stream ends


def test_a_clip_that_cannot_be_used_says_why_and_costs_no_other(page: Page) -> None:
    failed = {"state": "failed", "ahead": 0, "step": None, "result": None}
    with page.events(page.clip("bad.mp4")) as events:
        assert until(events, state="failed") == failed | {"error": "unreadable: bad.mp4 is no video"}
    with page.events(page.clip("crash.mp4")) as events:
        assert until(events, state="failed") == failed | {"error": "crashed: its process ended with code -11"}
    with page.events(page.clip("c.mp4")) as events:
        until(events, state="done")


def test_too_large_a_file_is_refused_and_removed(page: Page) -> None:
    id = page.clip("slow.mp4", bytes(2**20))  # just as large as it may be
    root = page.folder(id).parent
    page.http.delete(f"/clips/{id}")
    before = set(root.iterdir())
    answer = page.upload(NAME, bytes(2**20 + 1))
    assert answer.status_code == 413
    assert answer.json()["error"].startswith(f"{NAME} has 1.0 MiB, serve.max_upload_mib of params.yaml allows 1.")
    assert set(root.iterdir()) <= before


def test_an_upload_that_is_broken_off_leaves_nothing(page: Page) -> None:
    url = page.http.base_url
    root = page.clips.folder().parent
    before = set(root.iterdir())
    with socket.create_connection((url.host, url.port)) as half:
        head = f"POST /clips?name=a.mp4 HTTP/1.1\r\nHost: {url.host}:{url.port}\r\nContent-Length: 99\r\n\r\n"
        half.sendall(head.encode() + b"some")
        wait_for(lambda: set(root.iterdir()) - before)
    wait_for(lambda: not set(root.iterdir()) - before)


def test_no_other_page_reaches_it(page: Page) -> None:
    own = str(page.http.base_url).rstrip("/")
    for host in ("evil.example", "evil.example:7860", "192.168.1.7.evil.example", "[::1", ""):
        answer = page.http.get("/facts", headers={"Host": host})
        assert answer.status_code == 400 and "Open it by its IP address, or as" in answer.json()["error"]
    port = page.http.base_url.port
    for host in (f"localhost:{port}", "LAB.local", f"192.168.1.7:{port}", f"[fe80::7]:{port}", "[::1]"):
        assert page.http.get("/facts", headers={"Host": host}).status_code == 200, host
    for origin in ("http://evil.example", "null", f"{own}9"):
        answer = page.upload("a.mp4", Origin=origin)
        assert answer.status_code == 403 and f"The page of {origin} may not" in answer.json()["error"]
    id = page.clip("slow.mp4")
    with page.events(id) as events:
        until(events, state="working")
        assert page.http.delete(f"/clips/{id}", headers={"Origin": "http://evil.example"}).status_code == 403
        assert page.clips.get(id)
        assert page.http.delete(f"/clips/{id}", headers={"Origin": own}).status_code == 200
    assert "access-control-allow-origin" not in page.upload("b.mp4", Origin=own).headers


def test_another_program_gets_the_record(page: Page) -> None:
    asked = {"file": (NAME, b"video")}
    record = page.http.post("/api/predict", files=asked).json()
    assert (record["clip"], record["prediction"], record["windows"], record["synthetic"]) == (NAME, 1.0, None, True)
    assert page.http.post("/api/predict", params={"windows": True}, files=asked).json()["windows"] == []
    described = page.http.get("/openapi.json").json()
    assert list(described["paths"]) == ["/api/predict"]
    answer = described["paths"]["/api/predict"]["post"]["responses"]["200"]["content"]["application/json"]["schema"]
    fields = described["components"]["schemas"][answer["$ref"].rpartition("/")[2]]["properties"]
    assert fields.keys() == record.keys()
    bad = page.http.post("/api/predict", files={"file": ("bad.mp4", b"video")})
    assert (bad.status_code, bad.json()) == (422, {"error": "unreadable: bad.mp4 is no video"})
    assert page.http.post("/api/predict", files={"file": ("crash.mp4", b"video")}).status_code == 422
    assert page.http.post("/api/predict", files=asked).status_code == 200


def test_a_request_without_a_clip_is_refused_and_leaves_nothing(page: Page) -> None:
    root = page.clips.folder().parent
    before = set(root.iterdir())
    for request in ({"content": b"video"}, {"files": {"other": ("a.mp4", b"video")}}, {"data": {"file": "a.mp4"}}):
        answer = page.http.post("/api/predict", **request)
        assert answer.status_code == 400 and "curl -F file=@clip.mp4" in answer.json()["error"], request
    large = page.http.post("/api/predict", files={"file": ("a.mp4", bytes(2**20 + 2**17))})
    assert large.status_code == 413 and "serve.max_upload_mib of params.yaml allows 1" in large.json()["error"]
    for headers, code in (({"Origin": "http://evil.example"}, 403), ({"Host": "evil.example"}, 400)):
        assert page.http.post("/api/predict", files={"file": ("a", b"v")}, headers=headers).status_code == code
    assert page.http.get("/openapi.json", headers={"Host": "evil.example"}).status_code == 400
    assert set(root.iterdir()) <= before


def test_whoever_asks_and_leaves_frees_the_turn(page: Page) -> None:
    with pytest.raises(httpx.ReadTimeout):
        page.http.post("/api/predict", files={"file": ("slow.mp4", b"video")}, timeout=1)
    assert page.http.post("/api/predict", files={"file": ("b.mp4", b"video")}).status_code == 200


def test_what_is_not_there_is_404(page: Page) -> None:
    for path in ("film.mp4", "events", "text.parquet"):
        answer = page.http.get(f"/clips/no-such/{path}")
        assert answer.status_code == 404 and answer.json()["error"].startswith("There is no such clip")
    assert page.http.delete("/clips/no-such").status_code == 404
    assert page.http.get("/docs").json() == {"error": "Not Found"}


@pytest.mark.parametrize(
    ("name", "suffix"),
    [("a.MP4", ".MP4"), ("../../etc/passwd", ""), ("x.m/../p4", ""), ("a.m p;4", ".mp4"), (".mp4", ""), ("", "")],
)
def test_of_a_name_the_file_has_the_suffix_alone(name: str, suffix: str) -> None:
    assert app._suffix(name) == suffix


# The command


@pytest.fixture
def project(trainable: Path, in_process: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run that takes spectral frames of real videos, no pictures, and no words, as no recogniser is asked."""
    from model import train  # torch, which the child that only waits need not import
    from tests import tiny

    options = features.Params.model_validate(
        {"extractor": "mfcc", "mfcc": {"coefficients": 4, "hop_seconds": 0.02, "window_seconds": 0.025}}
    )
    recorded = features.recipe("audio", options).metadata()
    names = assemble.shaped_names(recorded.columns)
    monkeypatch.setattr(tiny, "WIDTHS", {"audio": len(names), "vision": 0})
    table = tiny.table()
    policy = {"aligned": False, "pool": {"audio": 4, "vision": 1}, "max_frames": {"audio": 400, "vision": 400}}
    extraction = {
        "text": {"max_tokens": 64, "encoder": "packaged", "dataset": "made"},
        "audio": recorded.content(),
        "vision": {},
    }
    metadata = tables.metadata(table) | {"extraction": extraction, "policy": policy}
    tables.write_table(paths.table("made"), [table], metadata)
    train.run()
    for file in paths.RUNS.rglob("run.json"):
        tables.write_json(file, tables.read_json(file) | {"encoder": "packaged"})
    blocks = yaml.safe_load(paths.PARAMS.read_text())
    blocks |= {name: PARAMS[name] for name in ("ingest", "transcribe", "serve")}
    blocks["transcribe"] |= {"recogniser": "none"}
    blocks["serve"] |= {"max_seconds": 8, "min_corr": -1}
    paths.PARAMS.write_text(yaml.safe_dump(blocks))
    return trainable


@contextmanager
def command(folder: Path, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], Page]]:
    """`rawmsa serve` in this folder, whose temporary files lie in its folder tmp."""
    (folder / "tmp").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(folder / "tmp")}
    order = [sys.executable, "-m", "stages", "serve", "--port", "0", *arguments]
    process = subprocess.Popen(order, cwd=folder, env=environment, text=True, stdout=-1, stderr=subprocess.STDOUT)
    try:
        assert process.stdout
        said = process.stdout.readline()
        assert said.startswith("serve: made/self_mm-") and "(Ctrl-C ends it)" in said, said + process.stdout.read()
        url = said.split(" at ")[1].split()[0]
        with httpx.Client(base_url=url, timeout=SECONDS, trust_env=False) as http:
            yield process, Page(http, None)  # type: ignore[arg-type]  # in another process
    finally:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_the_command_says_what_predict_says(project: Path) -> None:
    clip = videos.make(Path("a.mp4"), seconds=5.5, tone=440)
    Path("text.mp4").write_text("no video")
    with predictor.Model() as model:
        expected, refused = model.predict([clip, Path("text.mp4")], windows=True)
    with command(project) as (process, page):
        facts = page.http.get("/facts").json()
        shown = [name for name, head in facts["heads"].items() if head["shown"]]
        good, bad = page.clip("a.mp4", clip.read_bytes()), page.clip("text.mp4", b"no video")
        with page.events(good) as ours, page.events(bad) as theirs:
            assert until(theirs, state="queued")["ahead"] == 1
            result = until(ours, state="done")["result"]
            record = json.loads(json.dumps(asdict(expected))) | {"clip": "a.mp4"}
            assert result["record"] == record and expected.audio is not None
            asked = page.http.post("/api/predict?windows=true", files={"file": ("a.mp4", clip.read_bytes())})
            assert asked.json() == record
            assert result["player"]["seconds"] == pytest.approx(5.5, abs=0.1)
            assert {track["name"] for track in result["player"]["audio"]["tracks"]} >= {"rms"}
            assert result["files"] == ["text", "audio"]
            film = page.http.get(f"/clips/{good}/film.mp4")
            assert film.status_code == 200 and film.content[4:8] == b"ftyp"
            assert [round(window["start"]) for window in result["record"]["windows"]] == [0, 1, 2]
            assert all(
                window["audio"] is not None and window["text"] is window["vision"] is None
                for window in result["record"]["windows"]
            )
            assert "audio" in shown and result["leans"] == {"audio": answers.polarity(expected.audio, (-3, 3))}
            assert result["player"]["words"] == result["notes"] == []
            audio, words = (
                pq.read_table(io.BytesIO(page.http.get(f"/clips/{good}/{name}.parquet").content))
                for name in ("audio", "text")
            )
            recorded = tables.metadata(audio)
            assert audio.schema.remove_metadata().equals(tables.features_schema(len(recorded["columns"])))
            assert recorded["extractor"] == "mfcc" and recorded["rate_hz"] == 50
            (row,) = audio.to_pylist()
            assert (row["id"], row["status"], row["n_frames"]) == ("a.mp4", "ok", len(row["x"]))
            assert words.schema.remove_metadata().equals(tables.TOKENS)
            assert page.http.get(f"/clips/{good}/vision.parquet").status_code == 404
            assert until(theirs, state="failed")["error"] == str(refused.error).replace("MediaError", "unreadable")
        long = videos.make(Path("long.mp4"), seconds=9, video=False)
        with page.events(page.clip("long.mp4", long.read_bytes())) as events:
            told = "too long: long.mp4 lasts more than 8 s, which serve.max_seconds and ingest.max_seconds"
            assert until(events, state="failed")["error"].startswith(told)
            assert list((project / "tmp").glob("rawmsa-serve-*/*"))
            process.send_signal(signal.SIGTERM)
            process.wait(SECONDS)
    assert not list((project / "tmp").iterdir())


def test_what_cannot_be_served_is_said_before_the_server_starts(
    trainable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocks = yaml.safe_load(paths.PARAMS.read_text())
    paths.PARAMS.write_text(yaml.safe_dump(blocks | {"serve": PARAMS["serve"]}))
    with pytest.raises(TableError, match="data/runs holds no run made/self_mm with its weights"):
        serve.main(None, "127.0.0.1", 0, False)
    with serve.listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RawmsaError, match=f"127.0.0.1, port {port}, cannot be listened on .*--port 0: any"):
            serve.listen("127.0.0.1", port)
    with pytest.raises(RawmsaError, match="nowhere.invalid, port 7860, cannot be listened on"):
        serve.listen("nowhere.invalid", 7860)
    with pytest.raises(RawmsaError, match="port 70000, cannot be listened on"):
        serve.listen("127.0.0.1", 70000)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    with pytest.raises(RawmsaError, match=r'not all installed. Install them with: .*".\[serve\]"'):
        serve.main(None, "127.0.0.1", 0, False)


def test_a_server_of_the_network_is_called_by_the_machines_name(monkeypatch: pytest.MonkeyPatch) -> None:
    every = "0.0.0.0"  # noqa: S104  nothing listens
    monkeypatch.setattr(socket, "gethostname", lambda: "Lab")
    monkeypatch.setattr(socket, "getfqdn", lambda: "lab.example.org")
    assert serve.names(every) >= {"localhost", "lab", "lab.local", "lab.example.org"}
    assert serve.names("127.0.0.1") == {"localhost", "127.0.0.1"}
    assert [serve._here(host) for host in (every, "::", "lab", "10.0.0.2")] == [
        "127.0.0.1",
        "::1",
        "lab",
        "10.0.0.2",
    ]


def test_another_host_is_warned_of() -> None:
    assert serve._loopback("127.0.0.1") and serve._loopback("localhost") and serve._loopback("::1")
    assert not serve._loopback("192.168.1.2") and not serve._loopback("example.org")
