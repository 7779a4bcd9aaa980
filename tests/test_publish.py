"""rawmsa publish: a folder for a hub, which predict takes back, with a card that says what the run is."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard

from app import publish, settings
from app.predict import located
from model import run_files, train
from model.measures import metrics
from model.training import checkpoint
from model.training.predict import predict
from pipeline import paths, tables
from pipeline.errors import TableError

TO = Path("published")
RUN = paths.RUNS / "made/self_mm-1"


def change(**changes: object) -> None:
    """Of run.json."""
    file = RUN / run_files.RUN
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


@pytest.fixture
def trained(trainable: Path, in_process: None) -> Path:
    """A run with its weights, whose text encoder is found on every machine."""
    blocks = yaml.safe_load(paths.PARAMS.read_text())
    blocks["train"] |= {"keep": "all", "seeds": {"default": [1]}}
    blocks["transcribe"]["recogniser"] = "none"
    paths.PARAMS.write_text(yaml.safe_dump(blocks))
    train.run()
    change(encoder="packaged")
    return trainable


def test_a_published_run_predicts_what_the_run_predicts(trained: Path) -> None:
    publish.main("made/self_mm", TO)
    assert sorted(file.name for file in TO.iterdir()) == ["README.md", "config.json", "model.safetensors"]
    table = tables.read_arrow(paths.table("made"))
    table = tables.with_metadata(table, tables.metadata(table) | {"encoder": "packaged"})
    assert run_files.read(TO).valid.heads.keys() == {"text", "audio", "vision"}
    expected = predict(RUN, table, "packaged")
    shutil.rmtree(paths.RUNS)  # as on another machine
    assert predict(TO, table, "packaged").equals(expected)
    paths.PARAMS.unlink()
    told = settings.of(TO, run_files.read(TO))
    assert told.transcribe.recogniser == "none" and told.limits.seconds == 600
    assert located(str(TO)) == TO


def test_a_folder_of_another_version_says_how_to_make_it_again(trained: Path) -> None:
    publish.main("made/self_mm", TO)
    file = TO / run_files.PUBLISHED
    content = json.loads(file.read_text())
    del content["settings"]["transcribe"]
    file.write_text(json.dumps(content))
    with pytest.raises(TableError, match="its settings do not fit .*transcribe: field required. Publish the run again"):
        settings.of(TO, run_files.read(TO))


def test_the_card_has_the_numbers_of_the_test_split(trained: Path) -> None:
    publish.main("made/self_mm", TO)
    card = ModelCard.load(TO / "README.md")
    truth = {row["id"]: row for row in tables.read_arrow(paths.table("made")).to_pylist()}
    rows = [row for row in tables.read(RUN / "predictions.parquet").to_pylist() if row["split"] == "test"]
    pairs = [[row["fusion"] for row in rows], [truth[row["id"]]["label"] for row in rows]]
    expected = {name: value for name, value in metrics.score("mosi", *pairs).items() if value is not None}
    assert card.data.eval_results is not None
    assert {one.metric_type: one.metric_value for one in card.data.eval_results} == pytest.approx(expected)
    assert {one.dataset_split for one in card.data.eval_results} == {"test"}
    assert f"| MAE                 | {expected['mae']:.3f} |" in card.text
    assert f"{len(rows)} clips of {len({truth[row['id']]['video_id'] for row in rows})} videos" in card.text
    assert "Not for decisions about a person" in card.text and "all-MiniLM-L6-v2: Apache-2.0" in card.text


def test_nothing_of_a_clip_is_published(trained: Path) -> None:
    publish.main("made/self_mm", TO)
    text = (TO / "README.md").read_text() + (TO / "config.json").read_text()
    ids = tables.read_arrow(paths.table("made"))["id"].to_pylist()
    assert ids and not [one for one in ids if one in text]
    assert str(trained) not in text


def test_a_name_that_would_be_markup_is_text(trained: Path) -> None:
    change(preset="<script>alert(1)</script>|")
    publish.main("made/self_mm", TO)
    assert "<script>" not in (TO / "README.md").read_text().replace(r"\<script>", "")


def test_altered_weights_are_refused(trained: Path) -> None:
    publish.main("made/self_mm", TO)
    weights = TO / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    with pytest.raises(TableError, match=r"model\.safetensors"):
        checkpoint.load(TO)
    weights.unlink()
    with pytest.raises(TableError, match=r"published holds no model\.safetensors. Download it"):
        checkpoint.load(TO)


def test_what_could_not_be_used_elsewhere_is_not_published(trained: Path) -> None:
    change(encoder=str(trained / "tiny"))
    with pytest.raises(TableError, match="lies in the folder .*tiny of this machine"):
        publish.main("made/self_mm", TO)
    hyper = run_files.read(RUN).hyper.model_dump()
    change(hyper=hyper | {"text": "/data/glove.txt"})
    with pytest.raises(TableError, match=r"takes its token vectors from the file /data/glove\.txt"):
        publish.main("made/self_mm", TO)
    change(encoder="packaged", hyper=hyper)
    TO.mkdir()
    (TO / "mine.txt").touch()
    with pytest.raises(TableError, match="published is there already, and not empty"):
        publish.main("made/self_mm", TO)
    assert [file.name for file in TO.iterdir()] == ["mine.txt"]
    with pytest.raises(TableError, match=r"mine\.txt is there already"):
        publish.main("made/self_mm", TO / "mine.txt")
