"""The seam: what is written comes back, equal content gives equal bytes, damage is noticed."""

import csv
import gc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import tables
from pipeline.errors import TableError

CLIPS = [np.arange(8.0).reshape(4, 2), np.zeros((0, 2)), np.full((3, 2), np.nan)]


def features() -> pa.Table:
    content = {
        "id": ["a", "b", "c"],
        "status": ["ok", "absent", "ok"],
        "reason": [None] * 3,
        "flags": [[], [], ["no face"]],
        "n_frames": [4, 0, 3],
        "times": [[0.0, 0.1, 0.2, 0.3], [], [0.0, 0.1, 0.2]],
        "mask": [[True] * 4, [], [False] * 3],
        "x": tables.sequences(CLIPS, 2),
    }
    return pa.table(content, schema=tables.features_schema(2))


def test_frames_come_back(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    tables.write(path, features(), {"rate_hz": 15.0})
    for cell, expected in zip(tables.read(path)["x"], CLIPS, strict=True):
        np.testing.assert_array_equal(tables.sequence(cell), expected.astype(np.float32))
    assert tables.metadata(path) == {"rate_hz": 15.0}


def test_equal_content_gives_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        tables.write(tmp_path / name, features(), {"b": 1, "a": 2})
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one", "two"]  # no part left


def test_floats_are_split_by_byte_and_not_in_a_dictionary(tmp_path: Path) -> None:
    tables.write(tmp_path / "f.parquet", features())
    group = pq.ParquetFile(tmp_path / "f.parquet").metadata.row_group(0)
    encodings = {group.column(i).path_in_schema: group.column(i).encodings for i in range(group.num_columns)}
    assert "BYTE_STREAM_SPLIT" in encodings["x.list.element.list.element"]
    assert "RLE_DICTIONARY" not in encodings["x.list.element.list.element"]


def test_a_flipped_byte_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "f.parquet"
    tables.write(path, features())
    damaged = bytearray(path.read_bytes())
    damaged[len(damaged) // 4] ^= 0xFF
    path.write_bytes(damaged)
    with pytest.raises(TableError, match=r"f\.parquet is damaged .* Delete it, then: dvc repro"):
        tables.read(path)


def test_whatever_byte_is_flipped_no_value_changes_unnoticed(tmp_path: Path) -> None:
    """Pages have checksums. The footer has none: a column may lose its name or type there, the metadata nothing."""
    path = tmp_path / "f.parquet"
    tables.write(path, features(), {"rate_hz": 15.0})
    good = path.read_bytes()
    footer = len(good) - 8 - int.from_bytes(good[-8:-4], "little")
    expected = str(tables.read(path).to_pylist())
    noticed = 0
    for place in range(0, len(good), 2):
        path.write_bytes(good[:place] + bytes([good[place] ^ 0xFF]) + good[place + 1 :])
        try:
            found, told = tables.read(path), tables.metadata(path)
        except TableError:
            noticed += 1
            continue
        assert told == {"rate_hz": 15.0}, place
        assert place >= footer or str(found.to_pylist()) == expected, place
    assert noticed > len(good) / 4


def test_a_missing_table_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="is not there. Make it with: dvc repro"):
        tables.read(tmp_path / "none.parquet")


def test_a_training_table_is_mapped_not_read(tmp_path: Path) -> None:
    path = tmp_path / "t.arrow"
    tables.write_arrow(path, features(), {"dataset": "made"})
    gc.collect()  # what earlier tests left would be freed in between
    before = pa.total_allocated_bytes()
    table = tables.read_arrow(path)
    np.testing.assert_array_equal(tables.sequence(table["x"][0]), CLIPS[0].astype(np.float32))
    assert pa.total_allocated_bytes() == before
    assert tables.metadata(path) == {"dataset": "made"}


def test_a_modality_of_width_0_has_no_column() -> None:
    assert "audio" not in tables.training_schema({"audio": 0, "vision": 3}).names


@pytest.mark.parametrize(
    "cell", ["=1+1", "+cmd", "-2+3", "@SUM(A1)", "\tx", "\r=1", "  =1", "-x\r=1", "-g3dqA", '=HYPERLINK("http://x")']
)
def test_no_text_of_a_csv_is_a_formula(tmp_path: Path, cell: str) -> None:
    tables.write_csv(tmp_path / "t.csv", ["a", "b"], [{"a": cell, "b": "x=1"}])
    with (tmp_path / "t.csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == [{"a": f"'{cell}".replace("\r", " "), "b": "x=1"}]


def test_numbers_of_a_csv_stay_numbers(tmp_path: Path) -> None:
    numbers = [-1, -0.5, "-0.713", "+1", "-1e-05", "", None, 2]
    tables.write_csv(tmp_path / "t.csv", ["n"], [{"n": number} for number in numbers])
    assert (tmp_path / "t.csv").read_text() == 'n\n-1\n-0.5\n-0.713\n+1\n-1e-05\n""\n""\n2\n'


def test_a_label_file_keeps_its_cells(tmp_path: Path) -> None:
    tables.write_label_csv(tmp_path / "label.csv", ["video_id", "text"], [{"video_id": "-g3dqA", "text": "=so, so"}])
    assert (tmp_path / "label.csv").read_text() == 'video_id,text\n-g3dqA,"=so, so"\n'
