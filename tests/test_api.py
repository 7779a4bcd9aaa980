"""import rawmsa: what a notebook gets, as pandas."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import rawmsa
from app import predictor
from app.answers import Prediction
from model import train
from pipeline import paths, tables
from pipeline.errors import ParamsError, TableError
from tests import projects

ROOT = Path(__file__).parents[1]


def test_a_training_table_is_a_row_a_clip(trainable: Path) -> None:
    loaded, table = rawmsa.dataset("made"), tables.read_arrow(paths.table("made"))
    assert loaded["id"].tolist() == table["id"].to_pylist() and loaded["split"].tolist() == table["split"].to_pylist()
    for modality in ("audio", "vision"):
        for x, cell in zip(loaded[modality], table[modality], strict=True):
            np.testing.assert_array_equal(x, tables.sequence(cell))
            assert x.shape[1] == len(loaded.attrs["columns"][modality])


def test_features_are_a_row_a_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    x = np.array([[1, 2], [np.nan, np.nan], [5, 6]], np.float32)  # no face in the second frame
    projects.features("made", "vision", ["jawOpen", "yaw"], {"v/1": x, "v/2": x[:1], "v/3": x[:0]})
    loaded = rawmsa.features("made", "vision")
    assert loaded.columns.tolist() == ["jawOpen", "yaw"]
    assert loaded.index.names == ["id", "time"]
    assert loaded.index.tolist() == [("v/1", 0.0), ("v/1", 0.1), ("v/1", 0.2), ("v/2", 0.0)]
    np.testing.assert_array_equal(loaded.to_numpy(), np.concatenate([x, x[:1]]))
    clips = rawmsa.tensors(loaded)
    assert (clips.ids, clips.columns) == (["v/1", "v/2"], {"vision": ["jawOpen", "yaw"]})
    np.testing.assert_array_equal(clips.frames["vision"][0], x)
    assert clips.times[0].tolist() == [0.0, 0.1, 0.2] and len(clips.frames["vision"][1]) == 1


def test_a_training_table_becomes_tensors(trainable: Path) -> None:
    table = rawmsa.dataset("made")
    clips = rawmsa.tensors(table)
    assert clips.ids == table["id"].tolist() and clips.splits == table["split"].tolist()
    assert clips.columns == {name: table.attrs["columns"][name] for name in ("audio", "vision")}
    for modality in clips.columns:
        for x, expected in zip(clips.frames[modality], table[modality], strict=True):
            np.testing.assert_array_equal(x, expected)
    assert [ids.tolist() for ids in clips.tokens] == [list(ids) for ids in table["input_ids"]]
    np.testing.assert_allclose(clips.labels["label"], table["label"])


def test_what_is_not_there_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TableError, match="data/tables/none"):
        rawmsa.dataset("none")
    with pytest.raises(TableError, match="none is no file, and there are no features data/features/audio/none"):
        rawmsa.features("none", "audio")
    Path("clip.mpg").touch()
    for modality in ("text", "face"):
        with pytest.raises(TableError, match=f"no '{modality}' features to give; modality is one of: audio, vision"):
            rawmsa.features("clip.mpg", modality)  # type: ignore[arg-type]  # a user's mistake
    with pytest.raises(ParamsError, match=r"No run is named, .*features\(\.\.\., run=FOLDER\)"):
        rawmsa.features("clip.mpg", "audio")


def test_runs_are_a_row_a_run(trainable: Path, in_process: None) -> None:
    assert rawmsa.runs().empty
    train.run()
    assert rawmsa.runs()["run"].tolist() == ["made/self_mm-1", "made/self_mm-2"]


def test_predictions_are_a_row_a_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []

    class Stub:
        def __init__(self, run: str | None, at_once: int) -> None:
            self.run = run

        def __enter__(self) -> "Stub":
            return self

        def __exit__(self, *_: object) -> None:
            asked.append("closed")

        def predict(self, clips: list[str]) -> list[Prediction]:
            asked.append(clips)
            told = {"synthetic": False, "label_range": (-3.0, 3.0), "neutral": 0.0}
            return [Prediction(clip=clip, prediction=1.5, run=str(self.run), **told) for clip in clips]

    monkeypatch.setattr(predictor, "Model", Stub)
    (row,) = rawmsa.predict("c.mpg", run="made/self_mm").to_dict("records")
    assert (row["clip"], row["prediction"], row["run"]) == ("c.mpg", 1.5, "made/self_mm")
    assert asked == [["c.mpg"], "closed"]


def test_it_is_light_to_import_and_tells_its_version() -> None:
    code = (
        "import rawmsa, sys; print([m for m in ('torch', 'pandas', 'numpy') if m in sys.modules], rawmsa.__version__)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    command = [sys.executable, "-m", "stages", "--version"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert done.stdout == f"[] {rawmsa.__version__}\n" and told == f"rawmsa {rawmsa.__version__}\n"
