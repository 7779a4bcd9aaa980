"""The cards of the report: one of every run and of every data set, in the hub's form, with nothing of a clip in it."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from huggingface_hub import DatasetCard, ModelCard

import report
from app import publish
from model import run_files, train
from model.measures import metrics
from model.measures.intervals import Bootstrap
from pipeline import paths, tables
from report import cards, data_page, facts
from report.tables import MARKDOWN
from stages import report as door
from tests import projects

MODELS, DATASETS = paths.CARDS / "models", paths.CARDS / "datasets"
CELL = re.compile(r"^\| (.*?) +\| (.*?) +\|$", re.MULTILINE)


def write() -> None:
    cards.write(facts.read())


def pairs(text: str) -> dict[str, str]:
    """The rows of a card's tables of two columns."""
    return dict(CELL.findall(text))


def change(run: Path, **changes: object) -> None:
    file = run / run_files.RUN
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def trained(trainable: Path, in_process: None) -> Path:
    """The data set `made`, which may not be passed on, with the runs of two seeds, of which one has its weights."""
    made = tables.read_arrow(paths.table("made")).select(["id", "video_id", "split", "label"]).to_pylist()
    usual = projects.clips("made", seconds=1.0, has_vision=False)[0]
    rows = [usual | row | {"clip_id": row["id"].split("/")[1], "spoken": projects.SECRET} for row in made]
    projects.ingest(({"name": "made"}, rows))
    blocks = yaml.safe_load(paths.PARAMS.read_text())
    paths.PARAMS.write_text(yaml.safe_dump(blocks | {"report": projects.OPTIONS}))
    train.run()
    for seed in (1, 2):
        change(paths.run("made", "self_mm", seed), encoder="packaged")
    return trainable


def kept() -> Path:
    return next(paths.RUNS.glob("*/*/*.safetensors")).parent


def test_every_run_has_a_card_with_its_numbers_and_their_intervals(trained: Path) -> None:
    write()
    assert {file.name for file in MODELS.iterdir()} == {"made-self_mm-1.md", "made-self_mm-2.md"}
    truth = {row["id"]: row for row in tables.read_arrow(paths.table("made")).to_pylist()}
    for seed in (1, 2):
        card = ModelCard.load(MODELS / f"made-self_mm-{seed}.md")
        predicted = tables.read(paths.run("made", "self_mm", seed) / run_files.PREDICTIONS).to_pylist()
        rows = [row for row in predicted if row["split"] == "test"]
        predictions = np.array([row["fusion"] for row in rows], np.float32)
        labels = np.array([truth[row["id"]]["label"] for row in rows], np.float32)
        expected = {name: x for name, x in metrics.score("mosi", predictions, labels).items() if x is not None}
        assert card.data.eval_results is not None and card.data.model_name == f"made-self_mm-{seed}"
        assert {one.metric_type: one.metric_value for one in card.data.eval_results} == pytest.approx(expected)
        bootstrap = Bootstrap([truth[row["id"]]["video_id"] for row in rows])
        low, high = bootstrap.intervals(bootstrap.draws("mosi", predictions[None], labels))["mae"] or (0, 0)
        assert re.search(rf"\| MAE +\| {expected['mae']:.3f} \| {low:.3f} to {high:.3f} +\|", card.text)
        videos = {row["video_id"] for row in truth.values() if row["split"] == "train"}
        assert re.search(rf"\| train +\| 12 +\| {len(videos)} +\|", card.text)
        hyper = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", card.text, re.DOTALL)[0])
        assert hyper == run_files.read(paths.run("made", "self_mm", seed)).hyper.model_dump()
        assert f"from seed {seed}" in card.text and "The data are synthetic" in card.text


def test_a_run_is_published_with_the_card_that_the_report_gives_it(trained: Path) -> None:
    write()
    publish.main("made/self_mm", Path("published"))
    published = (Path("published") / publish.CARD).read_text()
    name = f"made-{kept().name}"
    assert published.replace("name: published\n", f"name: {name}\n") == (MODELS / f"{name}.md").read_text()


def test_a_run_without_weights_says_so(trained: Path) -> None:
    write()
    unkept = [file for file in MODELS.iterdir() if "Its weights were not kept" in file.read_text()]
    assert [file.stem for file in unkept] == [f"made-self_mm-{3 - int(kept().name[-1])}"]
    assert "rawmsa predict CLIP --run FOLDER" in (MODELS / f"made-{kept().name}.md").read_text()


def test_a_run_whose_training_table_is_gone_is_not_measured(trained: Path) -> None:
    shutil.rmtree(paths.TABLES)
    write()
    card = ModelCard.load(MODELS / "made-self_mm-1.md")
    assert card.data.eval_results is None
    assert "Not measured: data/tables/made, whose labels the numbers need, is not there." in card.text


def test_no_card_tells_a_path_or_a_clip(trained: Path) -> None:
    run = paths.run("made", "self_mm", 1)
    hyper = run_files.read(run).hyper.model_dump() | {"text": str(trained / "glove.txt")}
    change(run, encoder=str(trained / "tiny"), hyper=hyper, changes={"text": hyper["text"]})
    write()
    told = "".join(file.read_text() for file in paths.CARDS.rglob("*.md"))
    assert "tiny (glove.txt)" in told and str(trained) not in told
    rows = tables.read_arrow(paths.table("made")).select(["id", "video_id"]).to_pylist()
    assert not [row for row in rows if row["id"] in told or row["video_id"] in told]


@pytest.mark.slow
def test_the_door_writes_the_same_bytes_again_and_no_card_of_a_run_that_is_gone(trained: Path) -> None:
    door.main()
    first = projects.content(paths.REPORT)
    assert {"index.html", "cards/models/made-self_mm-2.md", "cards/datasets/made.md"} <= first.keys()
    door.main()
    assert projects.content(paths.REPORT) == first
    shutil.rmtree(paths.run("made", "self_mm", 2))
    (DATASETS / "gone.md").touch()
    door.main()
    assert set(first) - set(projects.content(paths.REPORT)) == {"cards/models/made-self_mm-2.md"}
    assert not (DATASETS / "gone.md").exists()


@pytest.mark.parametrize("redistribute", [False, True])
def test_a_data_card_has_every_figure_of_the_data_page_and_no_clip(empty: None, redistribute: bool) -> None:
    rows = projects.clips("mosi", flags=["silent sound"], label_T=0.5)
    rows[0] |= {"status": "degraded"}
    told: dict[str, Any] = {"shared_texts": ["they said it twice"], "shared_videos": ["v0"]}
    told |= {"duplicates": [["v0/1", "v3/1"]], "elsewhere": {"sims": ["v2/1", "v4/1"]}}
    found = {"dataset": "mosi", "file": "v9.mp4", "id": "v9/1", "reason": "label", "message": "found so I told them"}
    projects.ingest(({"name": "mosi", "redistribute": redistribute, **told}, rows), refused=[found])
    write()
    card = DatasetCard.load(DATASETS / "mosi.md")
    (data,) = facts.read()
    cells = pairs(card.text)
    assert [fact for fact in data_page.facts(data) if cells[fact[0]] != MARKDOWN.sub(r"\\\g<0>", fact[1])] == []
    assert cells["Clips"] == "7 (7 with sound, 7 with picture)"
    assert cells["Videos of labelled clips"] == "train 4, valid 1, test 2"
    assert cells["Human unimodal labels"] == "text 7"
    assert (cells["label"], cells["clip: silent sound"], cells["Contents that sims holds too"]) == ("1", "7", "2")
    assert f"(dataset.yaml) {'says' if redistribute else 'does not say'} that pictures" in card.text
    assert not re.search(r"v\d(/1|\b)|they said|so I told", card.text)


def test_a_data_card_is_in_the_hubs_form(empty: None) -> None:
    many = [row | {"id": f"v{number}/{row['id']}"} for number in range(200) for row in projects.clips("sims")]
    projects.ingest(
        ({"name": "demo", "synthetic": True}, projects.clips("demo")),
        ({"name": "sims", "language": "zh", "convention": "sims", "label_range": [-1, 1]}, many),
    )
    write()
    demo, sims = (DatasetCard.load(DATASETS / f"{name}.md") for name in ("demo", "sims"))
    assert (demo.data.language, demo.data.pretty_name) == ("en", "demo (synthetic demo)")
    assert demo.data.tags == ["multimodal-sentiment-analysis", "synthetic"] and demo.data.license == "unknown"
    assert "The data are synthetic" in demo.text and "The data are synthetic" not in sims.text
    assert (sims.data.language, sims.data.size_categories) == ("zh", "1K<n<10K")
    assert "Chinese" in sims.text and "from -1 (negative) to 1 (positive)" in sims.text


def test_a_data_card_tells_what_made_the_features_and_whose_licences_they_have(empty: None) -> None:
    rows = projects.clips("mosi")
    rows[2] |= {"source": "recogniser", "model": "packaged"}
    projects.ingest(({"name": "mosi"}, rows))
    made = {"extractor": "egemaps", "library": "opensmile 2.6.0", "rate_hz": 100.0, "params": {"a": 1}}
    frames = np.zeros((3, 1), np.float32)
    projects.features("mosi", "audio", ["Loudness"], {"v0/1": frames})
    table = tables.read(paths.features("audio", "mosi"))
    shutil.rmtree(paths.features("audio", "mosi"))
    projects.write_features("audio", "mosi", table, made | {"columns": [{"name": "Loudness"}]})
    write()
    text = (DATASETS / "mosi.md").read_text()
    told = 'egemaps, opensmile 2.6.0; 1 columns; 100 frames a second; {"a": 1}'
    assert pairs(text)["audio"] == told and pairs(text)["Recogniser"] == "Whisper tiny.en"
    licences = text.split("## Provenance and licences")[1].split("##")[0]
    assert "- openSMILE, which" in licences and "- speech recogniser Whisper tiny.en: MIT" in licences
    assert "MediaPipe" not in licences and "encoder" not in licences


def test_a_run_tells_of_the_recogniser_where_it_was_asked(trained: Path) -> None:
    write()
    assert "recogniser Whisper" not in (MODELS / "made-self_mm-1.md").read_text()
    heard = tables.read(paths.transcripts("made")).to_pylist()
    heard[0] |= {"source": "recogniser", "model": "packaged"}
    tables.write(paths.transcripts("made"), tables.rows(tables.TRANSCRIPTS, heard))
    write()
    assert "- speech recogniser Whisper tiny.en: MIT" in (MODELS / "made-self_mm-1.md").read_text()
    paths.transcripts("made").unlink()
    write()
    card = (MODELS / "made-self_mm-1.md").read_text()
    assert (
        pairs(card)["recogniser"] == "not known: data/transcripts has none of made" and "recogniser Whisper" not in card
    )


def test_the_snippet_loads_the_data(empty: None) -> None:
    projects.ingest(({"name": "other"}, projects.clips("other")), ({"name": "demo"}, projects.clips("demo")))
    for modality in ("audio", "vision"):
        shape = np.zeros((3, 2), np.float32)
        projects.features("demo", modality, ["a", "b"], {f"v{index}/1": shape for index in range(7)})
    write()
    (snippet,) = re.findall(r"```python\n(.*?)```", (DATASETS / "demo.md").read_text(), re.DOTALL)
    loaded: dict[str, Any] = {}
    exec(snippet, loaded)  # noqa: S102  the card's own, which a reader runs
    assert loaded["clips"]["dataset"].unique().to_pylist() == ["demo"]
    ids = loaded["clips"]["id"].to_pylist()
    assert len(ids) == 7
    assert all(sorted(loaded[name]["id"].to_pylist()) == ids for name in ("labels", "words", "audio", "vision"))
    assert "x: (frames, 2) a clip" in snippet and np.shape(loaded["audio"]["x"][0].as_py()) == (3, 2)


def test_what_has_no_clip_has_no_card(empty: None) -> None:
    refused = {"dataset": "edge", "file": "data/raw/edge/a.mp4", "reason": "empty", "message": "a.mp4 has no bytes."}
    projects.ingest(refused=[refused, refused | {"dataset": ""}])
    cards.write(report.write(report.Params(**projects.OPTIONS)))
    assert not list(paths.CARDS.rglob("*.md"))
