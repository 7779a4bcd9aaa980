"""Shards: what one clip more or less changes, and that a table does not tell what it was before."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import assemble, features, paths, tables
from pipeline.assemble import statistics
from pipeline.errors import TableError
from pipeline.execution import cache
from pipeline.execution.tasks import Outcome
from pipeline.files import sha256
from pipeline.tables import ClipRow, shards
from tests import projects

pytestmark = pytest.mark.slow  # whole stages or figures, a second or more each

ROOT = Path(__file__).parents[1]
WORDS = ["id", "video_id", "split", "label", "label_T", "label_A", "label_V", "transcript", "input_ids", "flags"]


def rows(ids: list[str], seconds: float = 1.0) -> list[ClipRow]:
    return [ClipRow(dataset="d", id=id, video_id=id, clip_id="", seconds=seconds) for id in sorted(ids)]


def cut(ids: list[str], seconds: float = 1.0) -> dict[str, list[str]]:
    """Ids by name of their shard."""
    return {shards.name(some): [row.id for row in some] for some in shards.split(rows(ids, seconds))}


IDS = [f"v{number:04d}/0" for number in range(1000)]


@settings(deadline=None, max_examples=30)
@given(st.sets(st.sampled_from(IDS), max_size=400), st.sampled_from(IDS))
def test_a_clip_more_changes_no_shard_but_its_own(ids: set[str], more: str):
    before, after = cut(sorted(ids - {more})), cut(sorted(ids | {more}))
    assert sorted(id for some in after.values() for id in some) == sorted(ids | {more})
    changed = [name for name in after if before.get(name) != after[name]]
    assert 1 <= len(changed) <= 2  # its own, and what it parts from it where the hash elects it


def test_shards_have_the_clips_that_were_meant():
    sizes = [len(some) for some in cut([f"v{number:05d}/0" for number in range(20000)]).values()]
    assert 50 < np.mean(sizes) < 80
    assert max(len(some) for some in cut(IDS, seconds=400.0).values()) == 3
    assert max(sizes) == shards.MOST


def test_a_data_set_of_no_clips_has_one_shard():
    assert cut([]) == {shards.name([]): []}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    paths.PARAMS.write_text((ROOT / "params.yaml").read_text())
    return tmp_path


def write(ids: list[str], label: float = 0.5) -> None:
    """What the stages before `audio` and `assemble` say of these clips; the features by a stage that finds them all in
    the cache. label: of the first clip."""
    clips = [_clip(id) for id in sorted(ids)]
    tables.write(paths.CLIPS, tables.rows(tables.CLIPS, clips))
    numbers = [sum(map(ord, row["id"])) for row in clips]
    labels = [
        {"dataset": "d", "id": row["id"], "split": ("train", "valid", "test")[number % 3], "label": float(number % 5)}
        for row, number in zip(clips, numbers, strict=True)
    ]
    labels[0]["label"] = label
    tables.write(paths.LABELS, tables.rows(tables.LABELS, [dict.fromkeys(UNIMODAL) | row for row in labels]))
    facts = {"convention": "mosi", "label_range": [-3, 3], "language": "en", "synthetic": True, "labelled": True}
    facts |= {"redistribute": False, "split": "mode"}
    tables.write_json(paths.DATASETS, {"d": facts})
    said = [
        {"id": row["id"], "text": row["id"], "spoken": row["id"], "source": "label", "words": [], "flags": []}
        for row in clips
    ]
    tables.write(paths.transcripts("d"), tables.rows(tables.TRANSCRIPTS, said))
    tokens = [{"id": row["id"], "input_ids": [1, 5, 2], "attention_mask": [1] * 3, "token_type_ids": [0] * 3, "word": [-1, 0, -1], "total": 3} for row in clips]  # fmt: skip
    described = {"encoder": "packaged", "encoder_sha256": "0"}
    tables.write(paths.features("text", "d"), tables.rows(tables.TOKENS, tokens), described)


UNIMODAL = ("label_T", "label_A", "label_V")


def _clip(id: str) -> dict[str, Any]:
    empty = dict.fromkeys(tables.CLIPS.names)
    known = {"dataset": "d", "id": id, "video_id": id.split("/")[0], "clip_id": "0", "path": f"{id}.mp4"}
    told = {"sha256": id, "seconds": 1.0, "has_audio": True, "has_vision": False, "status": "ok", "flags": []}
    return empty | known | told


@pytest.fixture
def extracted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """In the extractor's place: frames that the clip's name decides. The clips that it was asked for."""
    asked: list[str] = []

    def run(function: Any, tasks: Any, **_: Any) -> Any:
        for index, (chosen, clip, key) in enumerate(tasks):
            asked.append(str(clip.path))
            rng = np.random.default_rng(len(str(clip.path)) + sum(map(ord, str(clip.path))))
            width = len(chosen.module.columns(chosen.params))
            x = rng.normal(3, 2, (int(rng.integers(1, 6)), width)).astype(np.float32)
            with cache.Store(chosen.modality).put(key) as part:
                tables.Frames(np.arange(len(x)) / 25, x, np.ones(len(x), bool)).save(part)
            yield Outcome(index, 1, None)

    monkeypatch.setattr(features.workers, "run", run)
    return asked


def make(ids: list[str], label: float = 0.5) -> None:
    write(ids, label)
    for modality in ("audio", "vision"):
        features.run(modality)
    assemble.run()


def stamps() -> dict[str, tuple[int, int]]:
    """Of each shard what DVC looks at to see whether it must hash it."""
    folders = [*(paths.FEATURES / modality for modality in ("audio", "vision")), paths.TABLES]
    files = [file for folder in folders for file in folder.rglob("*") if file.suffix in (".parquet", ".arrow")]
    return {str(file): (file.stat().st_ino, file.stat().st_mtime_ns) for file in files}


def outputs() -> dict[str, bytes]:
    return {
        f"{folder}/{name}": found
        for folder in (paths.FEATURES, paths.TABLES)
        for name, found in projects.content(folder).items()
    }


MANY = IDS[:400]


def test_what_is_made_does_not_depend_on_what_was_there(project: Path, extracted: list[str]):
    make(MANY)
    whole = outputs()
    make([*MANY[:100], *MANY[150:]])
    make(MANY[:250], label=-1.0)
    make(MANY)
    assert outputs() == whole
    assert len(whole) > 10


def test_a_clip_more_writes_its_shards_alone(project: Path, extracted: list[str]):
    make(MANY)
    before, asked = stamps(), len(extracted)
    make([*MANY, "v0100/1"])
    after = stamps()
    changed = [name for name in after if before.get(name) != after[name]]
    assert len(extracted) == asked + 1
    assert 3 <= len(changed) <= 6 and len(after) > 15  # audio, vision, table
    assert tables.read_arrow(paths.table("d"))["id"].to_pylist() == sorted([*MANY, "v0100/1"])


def test_a_label_edited_extracts_nothing_and_writes_one_shard(project: Path, extracted: list[str]):
    make(MANY)
    before, asked = stamps(), len(extracted)
    make(MANY, label=-1.0)
    after = stamps()
    changed = [name for name in after if before.get(name) != after[name]]
    assert len(extracted) == asked
    assert len(changed) == 1 and changed[0].startswith("data/tables/d/")
    assert tables.read_arrow(paths.table("d"))["label"][0].as_py() == -1.0


def test_statistics_over_shards_are_those_over_all_frames(project: Path, extracted: list[str]):
    make(MANY)
    table = tables.read_arrow(paths.table("d"))
    found = tables.metadata(table)["statistics"]["audio"]
    train = [tables.sequence(x) for x, split in zip(table["audio"], table["split"].to_pylist(), strict=True) if split == "train"]  # fmt: skip
    frames = np.concatenate(train).astype(np.float64)
    expected = statistics.scale(statistics.moments([frames], frames.shape[1]), assemble_columns())
    np.testing.assert_allclose(found["mean"], expected.mean, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found["std"], expected.std, rtol=1e-12)
    scaled = np.array(found["std"]) != 1
    np.testing.assert_allclose(np.array(found["std"])[scaled], np.nanstd(frames, axis=0)[scaled], rtol=1e-9)
    assert scaled.any()


def assemble_columns() -> list[tables.Column]:
    return [tables.Column(**column) for column in tables.metadata(paths.features("audio", "d"))["columns"]]


def test_a_modality_that_no_clip_has_is_no_column(project: Path, extracted: list[str]):
    make(MANY)
    table = tables.read_arrow(paths.table("d"))
    assert table.column_names == [*WORDS, "audio"]
    assert tables.metadata(table)["columns"]["vision"] == []
    assert tables.metadata(table)["statistics"]["vision"] == {"mean": [], "std": []}


@pytest.mark.parametrize("folder", [paths.FEATURES / "audio" / "d", paths.TABLES / "d"])
@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "gone"])
def test_a_damaged_shard_is_made_anew(project: Path, extracted: list[str], folder: Path, damage: str):
    make(MANY)
    whole, asked = outputs(), len(extracted)
    file = sorted(file for file in folder.iterdir() if file.suffix in (".parquet", ".arrow"))[2]
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 1
    then = file.stat()
    if damage == "gone":
        file.unlink()
    else:
        file.write_bytes({"flip": bytes(content), "cut": bytes(content[:-100]), "empty": b""}[damage])
        os.utime(file, ns=(then.st_atime_ns, then.st_mtime_ns))
    make(MANY)
    assert outputs() == whole
    assert len(extracted) == asked  # all is in the cache


def test_a_table_half_written_is_no_table(project: Path, extracted: list[str], monkeypatch: pytest.MonkeyPatch):
    make(MANY)
    whole, write_arrow, written = outputs(), tables.write_arrow, []

    def killed(*arguments: Any) -> None:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(arguments[0])
        write_arrow(*arguments)

    paths.PARAMS.write_text(paths.PARAMS.read_text().replace("pool: {audio: 4,", "pool: {audio: 2,"))
    monkeypatch.setattr(tables, "write_arrow", killed)
    with pytest.raises(KeyboardInterrupt):
        assemble.run()
    with pytest.raises(TableError, match="no whole training table"):
        tables.read_arrow(paths.table("d"))
    monkeypatch.setattr(tables, "write_arrow", write_arrow)
    assemble.run()
    assert len(tables.read_arrow(paths.table("d"))) == len(MANY)
    paths.PARAMS.write_text(paths.PARAMS.read_text().replace("pool: {audio: 2,", "pool: {audio: 4,"))
    assemble.run()
    assert outputs() == whole


def test_what_a_killed_stage_left_is_removed(project: Path, extracted: list[str]):
    make(MANY)
    whole = outputs()
    for folder in (paths.FEATURES / "audio" / "d", paths.TABLES / "d"):
        (folder / ".x.parquet.part").write_bytes(b"half")
    (paths.FEATURES / "audio" / "gone.parquet").write_bytes(b"of an earlier layout")
    make(MANY)
    assert outputs() == whole


def test_one_clip_is_read_from_its_shard(project: Path, extracted: list[str]):
    make(MANY)
    folder = paths.features("audio", "d")
    whole = {row["id"]: row for row in tables.read(folder).to_pylist()}
    assert list(whole) == MANY
    for id in (MANY[0], MANY[137], MANY[-1]):
        assert tables.read(folder, clip=id).to_pylist() == [whole[id]]
    assert not len(tables.read(folder, clip="nobody/0"))


def test_features_a_data_set_brings_are_cut_in_the_same_shards(project: Path, extracted: list[str]):
    write(MANY)
    clips = [row | {"path": None} for row in tables.read(paths.CLIPS).to_pylist()]
    tables.write(paths.CLIPS, tables.rows(tables.CLIPS, clips))
    frames = [np.full((number % 4, 2), number, np.float32) for number in range(len(MANY))]
    records = [
        tables.FeatureRow(id, "ok", tables.Frames(np.arange(len(x)) / 1.0, x, np.ones(len(x), bool)))
        for id, x in zip(MANY, frames, strict=True)
    ]  # fmt: skip
    metadata = {"extractor": tables.IMPORTED, "columns": [{"name": n, "unit": "", "kind": "value"} for n in "ab"], "params": {"aligned": False}}  # fmt: skip
    table = tables.feature_table(records, 2)
    groups = [table.slice(start, 7) for start in range(0, len(table), 7)]
    tables.write_groups(paths.imported("audio", "d"), table.schema, groups, metadata)
    for modality in ("audio", "vision"):
        features.run(modality)
    names = {file.stem for file in paths.features("audio", "d").iterdir()}
    assert names == {file.stem for file in paths.features("vision", "d").iterdir()} == set(cut(MANY))
    assert tables.read(paths.features("audio", "d"))["x"].to_pylist() == table["x"].to_pylist()
    assemble.run()
    made = tables.read_arrow(paths.table("d"))
    assert len(tables.sequence(made["audio"][6])) == 2
    before = stamps()
    features.run("audio")
    assert stamps() == before


def test_shards_of_other_clips_are_told(project: Path, extracted: list[str]):
    make(MANY)
    write(MANY[1:])
    with pytest.raises(TableError, match="audio/d holds other clips than data/ingest/clips.parquet"):
        assemble.run()


def test_a_training_table_of_chunks_is_read_in_their_order(tmp_path: Path):
    schema = tables.training_schema({"audio": 2})
    content = {"video_id": "v", "split": "train", **dict.fromkeys(("label", "label_T", "label_A", "label_V"), 1.0)}
    chunks = [
        pa.Table.from_pylist(
            [content | {"id": id, "transcript": "", "input_ids": [1], "audio": [[1.0, 2.0]], "flags": []}], schema
        )
        for id in "cab"
    ]
    tables.write_table(tmp_path / "t", iter(chunks), {"columns": {"audio": ["x", "y"]}})
    assert tables.read_arrow(tmp_path / "t")["id"].to_pylist() == ["c", "a", "b"]
    assert sha256(tmp_path / "t/00001.arrow") == tables.read_json(tmp_path / "t" / tables.TABLE)["shards"]["00001"]
