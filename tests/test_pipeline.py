"""The whole way, as a user goes it: raw video, dvc repro, the table, one clip more, a new clip's sentiment."""

import doctest
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import rawmsa
from app import predictor
from pipeline import paths
from pipeline.execution.cache import KEY_LENGTH
from tests import checkouts, clips
from tests.checkouts import CLIPS, Checkout
from tests.projects import content

pytest.importorskip("espeakng_loader")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Checkout, str]:
    return checkouts.demo(tmp_path_factory)


@pytest.fixture(scope="module")
def project(made: tuple[Checkout, str]) -> Checkout:
    return made[0]


@pytest.fixture(scope="module")
def first(made: tuple[Checkout, str]) -> str:
    """What the first dvc repro printed."""
    return made[1]


@pytest.fixture(autouse=True)
def _made(first: str) -> None:
    """Every test finds the pipeline run."""


def test_one_command_makes_the_table(project: Checkout, first: str) -> None:
    assert f"ingest: demo {CLIPS} clips; {CLIPS} computed" in first
    assert f"vision: {CLIPS} clips: {CLIPS} computed, 0 from cache, 0 failed" in first
    scores = json.loads((project.folder / paths.METRICS).read_text())["demo"]
    assert scores["self_mm"]["seeds"] == 2
    assert {"mae", "corr", "acc2_nonneg", "f1_pos", "acc7"} <= scores["self_mm"].keys() & scores[
        "train_median"
    ].keys() | {"corr"}
    shown = project.stages("results")
    assert f"{scores['train_median']['mae']:.3f}" in shown and "synthetic demo" in shown
    assert (project.folder / paths.REPORT / "index.html").is_file()


def test_a_second_time_there_is_nothing_to_do(project: Checkout) -> None:
    assert "Data and pipelines are up to date." in project.run("dvc", "repro")


def test_the_weights_of_one_seed_are_kept(project: Checkout) -> None:
    weights = list((project.folder / paths.RUNS).glob("demo/*/weights.safetensors"))
    assert len(weights) == 1


def test_predict_agrees_with_the_table(project: Checkout) -> None:
    """A clip without a written text, so that both ways hear it."""
    heard = next(row for row in project.read(paths.transcripts("demo")) if row["source"] == "recogniser")
    clip = next(row for row in project.read(paths.CLIPS) if row["id"] == heard["id"])
    bad = project.folder / "bad.mp4"
    bad.write_bytes(b"nothing")
    command = [sys.executable, "-m", "stages", "predict", clip["path"], str(bad), "--json"]
    done = subprocess.run(command, cwd=project.folder, env=project.environment, capture_output=True, text=True)
    assert (
        done.returncode == 1 and done.stderr.endswith("predict: 1 of 2 clips failed\n") and "SYNTHETIC" in done.stderr
    )
    good, refused = json.loads(done.stdout)
    expected = [
        row
        for row in project.read(paths.PREDICTIONS)
        if row["id"] == clip["id"] and good["run"].endswith(f"-{row['seed']}")
    ]
    assert good["transcript"] == heard["text"]
    for name in ("prediction", "text", "audio", "vision"):
        assert good[name] == pytest.approx(expected[0][name], abs=1e-4)
    assert refused["prediction"] is None and refused["error"].startswith("unreadable: bad.mp4 cannot be opened")


SCRIPT = """
import sys, threading, rawmsa
answers = []
model = rawmsa.load(sys.argv[1])
def ask():
    answers.append(model.predict(sys.argv[2]))
threads = [threading.Thread(target=ask) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert answers[0] == answers[1]
print(answers[0].prediction, answers[0].polarity, answers[0].transcript_source)
"""


def test_a_published_folder_alone_predicts_in_a_script_without_a_main_guard(project: Checkout, tmp_path: Path) -> None:
    """Elsewhere, of threads, with the words beside the clip; and it says what the project's run says."""
    clip = next(row["path"] for row in project.read(paths.CLIPS))
    shutil.copy(project.folder / clip, tmp_path / "clip.mp4")
    (tmp_path / "clip.srt").write_text("1\n00:00:00,000 --> 00:00:01,000\nWhat a film!\n")
    (tmp_path / "script.py").write_text(SCRIPT)
    project.stages("publish", "demo/self_mm", "--to", str(tmp_path / "published"))
    environment = {**project.environment, "PYTHONPATH": str(checkouts.ROOT)}
    order = [sys.executable, "script.py", "published", "clip.mp4"]
    done = subprocess.run(order, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (here,) = json.loads(project.stages("predict", str(tmp_path / "clip.mp4"), "--json"))
    assert done.stdout == f"{here['prediction']} {here['polarity']} sidecar\n"
    assert here["transcript"] == "what a film" and here["label_range"] == [-3, 3] and here["synthetic"] is True


def test_the_examples_of_the_docstrings_run(project: Checkout, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(project.folder / project.read(paths.CLIPS)[0]["path"], project.folder / "clip.mp4")
    monkeypatch.chdir(project.folder)
    examples = [(rawmsa, name) for name in rawmsa.__all__ if name != "__version__"] + [(predictor, "Model")]
    finder, runner = doctest.DocTestFinder(exclude_empty=False), doctest.DocTestRunner()
    for module, name in examples:
        found = [test for test in finder.find(getattr(module, name), name, globs={}) if test.docstring]
        assert found[0].examples, f"{name} has no example"
        for test in found:
            report: list[str] = []
            assert runner.run(test, out=report.append).failed == 0, "".join(report)


def test_a_killed_stage_goes_on_where_it_was(project: Checkout) -> None:
    output = project.folder / paths.features("vision", "demo")
    before = content(output)
    shutil.rmtree(output)
    store = project.folder / ".dvc/tmp/rawmsa/vision"
    shutil.rmtree(store)
    stage = subprocess.Popen([sys.executable, "-m", "stages", "vision"], cwd=project.folder, env=project.environment)
    end = time.monotonic() + 120
    while len(list(store.glob("??/*"))) < 3 and time.monotonic() < end:
        time.sleep(0.02)
    stage.send_signal(signal.SIGKILL)
    stage.wait()
    time.sleep(0.5)
    kept = len([path for path in store.glob("??/*") if len(path.name) == KEY_LENGTH])
    assert 0 < kept < CLIPS
    assert f"{CLIPS - kept} computed, {kept} from cache, 0 failed" in project.stages("vision")
    assert content(output) == before


def test_a_dropped_folder_costs_its_clips_and_is_predicted(project: Checkout) -> None:
    clips.make(project.folder / "data/raw/mine/one.mp4", seconds=1.5, size=(128, 96))
    again = project.run("dvc", "repro")
    for stage in ("ingest", "transcribe", "audio", "vision"):
        assert "1 computed" in next(line for line in again.splitlines() if line.startswith(f"{stage}: ")), stage
    assert "train: mine is not trained on: it has no labels" in again
    assert "2 runs, computed 0, from cache 2" in again
    mine = [row for row in project.read(paths.PREDICTIONS) if row["dataset"] == "mine"]
    assert [(row["id"], row["trained_on"], row["text"], row["vision"]) for row in mine] == [
        ("one/0", "demo", None, None)
    ]
    assert mine[0]["audio"] is not None
    assert "WARNING: that run was trained on SYNTHETIC clips" in again
    shown = project.stages("results", "--csv", "mine.csv")
    assert "mine: 1 clip without a label, predicted by the run demo/self_mm-" in shown and "WARNING" in shown
    assert f"mine,one/0,{mine[0]['prediction']}" in (project.folder / "mine.csv").read_text()


def test_the_cache_shows_and_prunes(project: Checkout) -> None:
    shown = project.stages("cache", "--prune")
    assert "Freed" in shown and "vision" in shown
    assert "0 computed" in next(line for line in project.stages("audio").splitlines() if line.startswith("audio"))
