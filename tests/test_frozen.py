"""Runs whose text encoder is not trained: its vectors are made once, and predict on other tables makes them again."""

import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from model import evaluate, run_files, train
from model.encoders import vectors
from model.training import jobs
from model.training.predict import predict
from pipeline import paths, tables
from pipeline.errors import AssetError, StageError
from pipeline.execution import cache, fingerprint
from pipeline.files import sha256
from tests import networks, tiny
from tests.trainable import write_network, write_params


def params(text: str = vectors.FROZEN, seeds: tuple[int, ...] = (1, 2)) -> None:
    made = networks.hyper("lf", max_epochs=2).model_dump() | {"text": text}
    block = {"presets": {"plain": {"text": text}}, "values": {"made": {"mosi": {**made, "text": "finetuned"}}}}
    choice = {"lf": {"preset": "plain", "values": "made"}}
    write_params(train={"networks": choice, "seeds": {"default": list(seeds)}})
    write_network("lf", block)


def kept() -> list[Path]:
    return sorted(cache.Store(jobs.VECTORS).root.glob(f"??/*/{cache.CONTENT}"))


def test_vectors_are_made_once_for_all_seeds_and_are_berts(trainable: Path, in_process: None):
    params()
    train.run()
    (file,) = kept()
    written = file.stat().st_mtime_ns
    params(seeds=(1, 2, 3))
    train.run()
    assert kept() == [file] and file.stat().st_mtime_ns == written
    ids = tables.read_arrow(paths.table("made"))["input_ids"][3].as_py()
    with torch.inference_mode():
        expected = tiny.bert().eval()(input_ids=torch.tensor([ids])).last_hidden_state[0]
    found = torch.from_numpy(tables.sequence(tables.read_arrow(file)["text"][3]).copy())
    torch.testing.assert_close(found, expected)


def test_a_run_predicts_on_another_table_as_it_did_on_its_own(trainable: Path, in_process: None):
    params()
    train.run()
    folder = evaluate.kept_run("made/lf")
    known = tables.read(folder / run_files.PREDICTIONS).sort_by("id")
    found = predict(folder, tables.read_arrow(paths.table("made")), Path("tiny")).sort_by("id")
    assert found["fusion"].to_pylist() == pytest.approx(known["fusion"].to_pylist(), abs=1e-6)
    assert found["text"].null_count == 0
    weights = (folder / run_files.WEIGHTS).stat().st_size
    assert weights < Path("tiny/model.safetensors").stat().st_size  # the encoder is not among them


def test_a_run_refuses_another_encoder_than_its_vectors_are_of(trainable: Path, in_process: None):
    table = tables.read_arrow(paths.table("made"))
    weights = Path("tiny/model.safetensors")
    described = tables.metadata(table) | {"encoder_sha256": sha256(weights)}
    tables.write_table(paths.table("made"), [tables.with_metadata(table, described)], described)
    table = tables.read_arrow(paths.table("made"))
    params()
    train.run()
    folder = evaluate.kept_run("made/lf")
    predict(folder, table, Path("tiny"))
    tiny.bert(seed=5).save_pretrained("tiny")
    with pytest.raises(
        AssetError, match=r"model\.safetensors was altered: .* make everything anew with: dvc repro -fs text"
    ):
        predict(folder, table, Path("tiny"))
    shutil.rmtree(cache.Store(jobs.VECTORS).root)
    params(seeds=(1, 2, 3))
    with pytest.raises(StageError, match=r"model\.safetensors was altered"):  # nor are more of its runs trained
        train.run()


def test_a_run_refuses_another_glove_file(trainable: Path, in_process: None, monkeypatch: pytest.MonkeyPatch):
    pieces = {number: f"w{number}" for number in range(80)}
    tokenizer = SimpleNamespace(convert_ids_to_tokens=lambda ids: [pieces[number] for number in ids])
    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", lambda _: tokenizer)
    glove = Path("glove.txt")
    glove.write_text("".join(f"{word} {number} 1\n" for number, word in pieces.items()))
    params(text="glove.txt")
    train.run()
    folder, table = evaluate.kept_run("made/lf"), tables.read_arrow(paths.table("made"))
    assert predict(folder, table, "a model on the hub")["fusion"].null_count == 0
    glove.write_text(glove.read_text().replace("w9 9", "w9 8"))
    with pytest.raises(AssetError, match=r"glove\.txt was altered: .* train anew with: dvc repro -fs train"):
        predict(folder, table, "a model on the hub")


def test_a_data_set_without_text_needs_no_vectors(trainable: Path, in_process: None):
    table = tiny.table(without=["text"])
    tables.write_table(paths.table("made"), [table], tables.metadata(table))
    params()
    train.run()
    assert run_files.read(evaluate.kept_run("made/lf")).text_width == 0


def test_what_a_network_shares_with_another_decides_its_key(sources: Callable[[str, str], None]):
    def codes() -> dict[str, str]:
        return {name: fingerprint.code(f"model.networks.{name}") for name in ("tfn", "mtfn", "lmf", "self_mm")}

    before = codes()
    sources("model/networks/tfn.py", "CHANGED = 1")
    assert {name for name, code in codes().items() if code != before[name]} == {"tfn", "mtfn", "lmf"}  # which import it
