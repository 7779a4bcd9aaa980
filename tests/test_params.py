"""params.yaml: every fault named with what was found and what was expected; no default hides in code."""

from pathlib import Path

import pytest

from pipeline import assemble, features, ingest, params, report, text, transcribe
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


def subclasses(model: type[Block]) -> list[type[Block]]:
    return [deeper for child in model.__subclasses__() for deeper in [child, *subclasses(child)]]


@pytest.mark.parametrize("name", BLOCKS)
def test_the_committed_params_fit(name: str) -> None:
    assert params.load(name, BLOCKS[name], ROOT / "params.yaml")


def test_no_block_has_a_default() -> None:
    for model in subclasses(Block):
        assert all(field.is_required() for field in model.model_fields.values()), model


def test_every_fault_is_named_at_once(tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text("limits: {seconds: soon, memory_gib: 4, speed: 3}")
    with pytest.raises(ParamsError) as caught:
        params.load("limits", params.Limits, file)
    message = str(caught.value)
    assert "limits.seconds: found 'soon'" in message
    assert "limits.max_failed_share" in message and "limits.speed" in message


def test_a_missing_block_or_file_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ParamsError, match="Run rawmsa from the project's folder"):
        params.threads()
    Path("params.yaml").write_text("workers: 2")
    with pytest.raises(ParamsError, match="has no block 'threads'; it has workers"):
        params.threads()


def test_an_unknown_extractor_lists_the_known(tmp_path: Path) -> None:
    with pytest.raises(ParamsError, match=r"audio.extractor is 'opensmile', expected one of: .*egemaps, mfcc"):
        features.recipe("audio", features.Params.model_validate({"extractor": "opensmile"}))
