"""Rows and metadata as types: they have the columns of their tables, come back as they were, and say what is missing."""

import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from pipeline import tables
from pipeline.errors import Reason, TableError
from pipeline.flags import Flag, Flagged
from pipeline.tables import (
    ClipRow,
    Column,
    Cue,
    DatasetFacts,
    Extraction,
    FeatureMetadata,
    FeatureRow,
    Frames,
    LabelRow,
    Policy,
    RefusedRow,
    Statistics,
    TextRow,
    TokensMetadata,
    TokensRow,
    TrainingMetadata,
    TranscriptMetadata,
    TranscriptRow,
    Word,
)
from pipeline.tables.records import Row

FLAGS = (Flagged(Flag.NO_SOUND), Flagged(Flag.COLUMNS_NOT_FINITE, ("VUV", "NAQ"), count=10))
NAMED = {"dataset": "d", "id": "v/1"}
ROWS: list[Row] = [
    ClipRow(**NAMED, video_id="v", clip_id="1", path="a.mp4", seconds=1.5, has_audio=True, width=80, flags=FLAGS),
    TextRow(**NAMED, language="en", source="sidecar", text="a cat", cues=[Cue(0.0, 1.0, "a cat")]),
    LabelRow(**NAMED, split="train", label=-1.5, label_T=0.5),
    RefusedRow(dataset="d", file="label.csv", row=3, reason="label", message="found x"),
    TranscriptRow(
        id="v/1", text="a cat", spoken="A cat.", source="label", words=[Word("a", 0.0, 0.5), Word("cat")], flags=FLAGS
    ),
    TokensRow(id="v/1", input_ids=[101, 102], attention_mask=[1, 1], token_type_ids=[0, 0], word=[-1, -1], total=2),
]
FACTS = DatasetFacts(
    language="en",
    convention="mosi",
    label_range=(-3, 3),
    redistribute=False,
    synthetic=True,
    split="mode",
    labelled=True,
)
FEATURES = FeatureMetadata(
    extractor="mfcc", rate_hz=50, columns=[Column("level", "dB"), Column("F0", "Hz", "frequency")]
)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: type(row).__name__)
def test_a_row_has_the_columns_of_its_table(row: Row) -> None:
    assert sorted(field.name for field in fields(row)) == sorted(row.SCHEMA.names)
    nullable = {field.name for field in row.SCHEMA if field.nullable}
    assert not {field.name for field in fields(row) if field.default is None} - nullable


@pytest.mark.parametrize("row", ROWS, ids=lambda row: type(row).__name__)
def test_rows_come_back_from_their_file(tmp_path: Path, row: Row) -> None:
    tables.write(tmp_path / "a.parquet", tables.table_of(type(row), [row, row]))
    assert tables.read_rows(type(row), tmp_path / "a.parquet") == [row, row]
    assert tables.read(tmp_path / "a.parquet").schema.remove_metadata() == row.SCHEMA


def test_words_and_cues_have_the_fields_of_their_columns() -> None:
    assert [field.name for field in fields(Word)] == [field.name for field in tables.WORD]
    assert [field.name for field in fields(Cue)] == [field.name for field in tables.CUE]


def test_rows_of_features_have_the_columns_of_their_table() -> None:
    frames = Frames(np.arange(2.0), np.ones((2, 3), np.float32), np.array([True, False]), FLAGS)
    rows = [FeatureRow("a", "ok", frames), FeatureRow("b", "failed", Frames.none(3), "timeout: it ran longer")]
    table = tables.feature_table(rows, 3)
    assert table.schema == tables.features_schema(3)
    assert table["n_frames"].to_pylist() == [2, 0] and table["reason"].to_pylist() == [None, "timeout: it ran longer"]
    assert table["flags"].to_pylist() == [["no sound", "VUV, NAQ not finite in 10 frames"], []]


def test_a_table_of_another_version_says_which_columns_are_missing() -> None:
    table = tables.table_of(RefusedRow, [ROWS[3]]).drop_columns(["row", "reason"])  # type: ignore[list-item]
    with pytest.raises(TableError, match=r"lacks row, reason of RefusedRow\. Make it again with: dvc repro"):
        tables.read_rows(RefusedRow, table)


def test_rows_are_grouped_by_data_set_in_order_of_name() -> None:
    rows = [RefusedRow(dataset=name, file=str(place), reason="name", message="") for place, name in enumerate("bab")]
    assert {name: [row.file for row in found] for name, found in tables.grouped(rows).items()} == {
        "a": ["1"],
        "b": ["0", "2"],
    }
    assert list(tables.grouped(rows)) == ["a", "b"] and rows[0].kind is Reason.NAME


def training() -> TrainingMetadata:
    text = TokensMetadata(dataset="d", language="en", encoder="packaged", encoder_sha256=None, max_tokens=64)
    return TrainingMetadata(
        dataset="d",
        convention="mosi",
        label_range=(-3, 3),
        language="en",
        synthetic=True,
        encoder="packaged",
        encoder_sha256=None,
        columns={"audio": ["level", "log_F0"], "vision": []},
        statistics={"audio": Statistics(mean=[0.1, 0.2], std=[1.0, 2.0]), "vision": Statistics(mean=[], std=[])},
        extraction=Extraction(text=text, audio=FEATURES, vision=FEATURES),
        policy=Policy(aligned=False, pool={"audio": 4, "vision": 1}, max_frames={"audio": 400, "vision": None}),
    )


def test_metadata_come_back_and_keep_what_another_version_added(tmp_path: Path) -> None:
    table = pa.table({"id": ["a"]})
    for number, found in enumerate((training(), FEATURES, TranscriptMetadata(dataset="d", language="zh"))):
        file = tmp_path / f"{number}.parquet"
        tables.write(file, table, {**found.content(), "newer": 1})
        again = tables.read_metadata(type(found), file)
        assert again.content() == {**found.content(), "newer": 1}


def test_the_extraction_of_a_training_table_is_as_in_the_feature_files() -> None:
    told = training().content()["extraction"]["audio"]  # type: ignore[index]
    assert list(told) == sorted(told) and json.dumps(told["rate_hz"]) == "50"
    assert told["columns"][1] == {"kind": "frequency", "name": "F0", "unit": "Hz"}


@pytest.mark.parametrize(
    ("gone", "kind"),
    [
        ("columns", FeatureMetadata),
        ("extractor", FeatureMetadata),
        ("policy", TrainingMetadata),
        ("language", TranscriptMetadata),
    ],
)
def test_foreign_metadata_are_an_error_that_says_what_is_missing(tmp_path: Path, gone: str, kind: type) -> None:
    whole = {
        FeatureMetadata: FEATURES,
        TrainingMetadata: training(),
        TranscriptMetadata: TranscriptMetadata(dataset="d", language="zh"),
    }[kind]
    file = tmp_path / "a.parquet"
    tables.write(file, pa.table({"id": ["a"]}), {key: value for key, value in whole.content().items() if key != gone})
    with pytest.raises(
        TableError, match=f"a.parquet does not describe .*: {gone}: field required. Make it again with: dvc repro"
    ):
        tables.read_metadata(kind, file)


def test_facts_come_back_and_a_damaged_entry_is_named(tmp_path: Path) -> None:
    file = tmp_path / "datasets.json"
    tables.write_facts(file, {"d": FACTS})
    assert tables.read_facts(file) == {"d": FACTS}
    tables.write_json(file, {"d": FACTS.content() | {"label_range": "wide"}})
    with pytest.raises(
        TableError, match=r"datasets.json: d does not describe .*: label_range: input should be a valid tuple"
    ):
        tables.read_facts(file)
    tables.write_json(file, [])
    with pytest.raises(TableError, match="holds no data sets by name"):
        tables.read_facts(file)
