"""Cards: one of every run and data set, that the hub's own library reads, with the figures of the report and no clip's name."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from huggingface_hub import DatasetCard, ModelCard

from model import checkpoint, metrics
from pipeline import paths, tables
from pipeline.report.data_card import FOLDER
from stages import cards, publish, train
from tests.projects import SECRET, clips, content, features, film, ingest, write
from tests.projects import trained as of_rows


def test_every_run_has_a_card_with_the_numbers_of_its_test_split(trainable: Path, in_process: None) -> None:
    blocks = yaml.safe_load(paths.PARAMS.read_text())
    blocks["train"] |= {"keep": "best", "seeds": {"default": [1, 2]}}
    paths.PARAMS.write_text(yaml.safe_dump(blocks))
    train.main()
    cards.write()
    assert sorted(file.name for file in (FOLDER / "models").iterdir()) == ["made-self_mm-1.md", "made-self_mm-2.md"]
    truth = {row["id"]: row["label"] for row in tables.read_arrow(paths.table("made")).to_pylist()}
    for seed in (1, 2):
        card = ModelCard.load(FOLDER / f"models/made-self_mm-{seed}.md")
        rows = tables.read(paths.run("made", "self_mm", seed) / checkpoint.PREDICTIONS).to_pylist()
        tested = [row for row in rows if row["split"] == "test"]
        expected = metrics.score("mosi", *([row["fusion"] for row in tested], [truth[row["id"]] for row in tested]))
        assert card.data.eval_results is not None
        assert {one.metric_type: one.metric_value for one in card.data.eval_results} == pytest.approx(
            {name: value for name, value in expected.items() if value is not None}
        )
        for section in ("Results", "How it was made", "Intended use", "Limits", "Licences"):
            assert f"## {section}" in card.content
        assert f"rawmsa predict CLIP --run made/self_mm-{seed}" in card.content
        assert re.search(r"\| MAE .*\d to \d", card.content)  # with its interval
        assert not any(clip in card.content for clip in truth)
    before = content(FOLDER)
    cards.write()
    assert content(FOLDER) == before


def test_a_published_card_differs_in_its_name_and_how_it_is_used_alone(trainable: Path, in_process: None) -> None:
    train.main()
    run = next(paths.RUNS.glob("made/*/weights.safetensors")).parent
    record = json.loads((run / checkpoint.RUN).read_text())
    (run / checkpoint.RUN).write_text(json.dumps(record | {"encoder": "packaged"}))
    cards.write()
    publish.main(f"made/{run.name}", Path("hub"))
    ours = (FOLDER / f"models/made-{run.name}.md").read_text().splitlines()
    theirs = (Path("hub") / "README.md").read_text().splitlines()
    differing = [(a, b) for a, b in zip(ours, theirs, strict=True) if a != b]
    assert [a for a, _ in differing] == [
        f"- name: made-{run.name}",
        next(line for line in ours if "run.json" in line),
        f"rawmsa predict CLIP --run made/{run.name}",
    ]


def test_a_data_set_has_a_card_with_the_reports_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = clips("demo")
    rows[0] |= {"source": "recogniser", "model": "packaged", "confidence": 0.8, "label_T": 1.0}
    refused = {"dataset": "demo", "file": "bad.mp4", "reason": "no streams", "message": "bad.mp4 is empty."}
    ingest(({"name": "demo", "synthetic": True, "elsewhere": {"mosi": ["v2/1"]}}, rows), refused=[refused])
    features("demo", "audio", ["rms"], {"v0/1": np.array([[0.5]], np.float32)}, flags=["silent sound"])
    page = write()
    file = FOLDER / "datasets/demo.md"
    card = DatasetCard.load(file)
    assert card.data.pretty_name == "demo (synthetic demo)" and card.data.size_categories == "n<1K"
    for name, value in re.findall(r"<dt>(.*?)</dt><dd>(.*?)</dd>", page):
        assert re.search(rf"\| {re.escape(name.replace('&#39;', chr(39)))} +\| {re.escape(value)} +\|", card.content)
    for told in (
        "no streams",
        "audio: silent sound",
        "contents shared with mosi",
        "Human labels of text alone",
        "Whisper",
    ):
        assert told in card.content, told
    (code,) = re.findall(r"```python\n(.*?)```", card.content, re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", f"{code}print(len(audio), len(labels))"], capture_output=True, text=True
    )
    assert done.stdout.split() == ["1", "7"], done.stderr


def test_no_card_names_a_clip_or_what_was_said_even_where_the_report_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = of_rows(shared_texts=[SECRET], duplicates=[["v0/1", "v3/1"]])
    film(rows)
    write(show_all=True)
    card = (FOLDER / "datasets/demo.md").read_text()
    assert "they said" not in card and not re.search(r"v\d/1", card)
    assert "does not say that videos and texts may be passed on" in card


def test_cards_of_what_is_gone_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ingest(({"name": "one"}, clips("one")), ({"name": "two"}, clips("two")))
    write()
    (FOLDER / "models").mkdir()
    (FOLDER / "models/one-self_mm-9.md").touch()
    ingest(({"name": "one"}, clips("one")))
    write()
    assert [file.name for file in FOLDER.rglob("*.md")] == ["one.md"]
