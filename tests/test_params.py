"""params.yaml: every fault named with what was found and what was expected; no default hides in code."""

import importlib
import pkgutil
from pathlib import Path
from pkgutil import iter_modules

import pytest
import yaml

import model
import pipeline
import pipeline.audio
import report
import stages
from pipeline import assemble, features, params, text, transcribe
from pipeline.datasets import ingest
from pipeline.errors import ParamsError
from pipeline.params import Block

ROOT = Path(__file__).parents[1]
BLOCKS = {
    "ingest": ingest.Params,
    "transcribe": transcribe.Params,
    "text": text.Params,
    "audio": features.Params,
    "vision": features.Params,
    "assemble": assemble.Params,
    "report": report.Params,
    "limits": params.Limits,
}


def everything() -> None:
    """Import every module of ours, so that every Block is known."""
    for package in (pipeline, model, stages):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__"):
                importlib.import_module(module.name)


def subclasses(model: type[Block]) -> list[type[Block]]:
    return [deeper for child in model.__subclasses__() for deeper in [child, *subclasses(child)]]


@pytest.mark.parametrize("name", BLOCKS)
def test_the_committed_params_fit(name: str) -> None:
    assert params.load(name, BLOCKS[name], ROOT / "params.yaml")


def test_no_block_has_a_default() -> None:
    everything()
    assert len(subclasses(Block)) > 10
    for block in subclasses(Block):
        assert all(field.is_required() for field in block.model_fields.values()), block


def test_every_fault_is_named_at_once(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text("limits: {seconds: soon, memory_gib: 4, speed: 3}")
    with pytest.raises(ParamsError) as caught:
        params.load("limits", params.Limits, file)
    message = str(caught.value)
    assert "limits.seconds: found 'soon'" in message
    assert "limits.max_failed_fraction" in message and "limits.speed" in message


@pytest.mark.parametrize(
    ("block", "key", "value"),
    [
        ("vision", "fps", 0),
        ("vision", "max_faces", 0),
        ("vision", "min_confidence", 3),
        ("audio", "coefficients", 200),
        ("audio", "hop_seconds", 0),
    ],
)
def test_a_value_out_of_its_range_is_named(block: str, key: str, value: object) -> None:
    values = params.read(ROOT / "params.yaml")[block]
    name = "landmarks" if block == "vision" else "mfcc"
    wrong = {**values, "extractor": name, name: {**values[name], key: value}}
    with pytest.raises(ParamsError, match=rf"{block}\.{name}\.{key}: found {value}"):
        features.recipe(block, features.Params.model_validate(wrong))


def test_allowed_values_are_told_as_they_are_written() -> None:
    wrong = features.Params.model_validate({"extractor": "egemaps", "egemaps": {"feature_set": "ComParE"}})
    with pytest.raises(ParamsError, match="input should be 'eGeMAPSv02'"):
        features.recipe("audio", wrong)


def test_a_missing_block_or_file_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParamsError, match="Run rawmsa from the project's folder"):
        params.threads()
    Path("params.yaml").write_text("workers: 2")
    with pytest.raises(ParamsError, match="has no block 'threads'; it has workers"):
        params.threads()


def test_an_unknown_extractor_lists_the_known(tmp_path: Path) -> None:
    known = ", ".join(sorted(found.name for found in iter_modules(pipeline.audio.__path__)))
    with pytest.raises(ParamsError, match=rf"audio.extractor is 'opensmile', expected one of: {known}\."):
        features.recipe("audio", features.Params.model_validate({"extractor": "opensmile"}))


def test_params_are_parsed_again_where_they_changed_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file, parsed = tmp_path / "params.yaml", []
    loaded = yaml.load
    monkeypatch.setattr(params.yaml, "load", lambda *arguments: parsed.append(1) or loaded(*arguments))
    file.write_text("workers: 2\ntrain: {seeds: [1]}\n")
    params.read(file)["train"]["seeds"].append(2)
    assert params.read(file) == {"workers": 2, "train": {"seeds": [1]}} and len(parsed) == 1
    file.write_text("workers: 3\ntrain: {seeds: [1]}\n")
    assert params.load("workers", int, file) == 3 and len(parsed) == 2
