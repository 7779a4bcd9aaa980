"""The floors beside every table: made of the train split, scored on the test split."""

import numpy as np
import pyarrow as pa
import pytest

from model.measures import floors
from pipeline import tables
from tests import tiny

WORDS = {-2: "awful dull", -1: "dull", 1: "fine", 2: "fine wonderful"}


def told(train: list[float], test: list[float], convention: str = "mosi", speaks: bool = True) -> pa.Table:
    """A table of these labels, the validation split being the train split's, and words that tell them."""
    labels = [*train, *train, *test]
    splits = [*["train"] * len(train), *["valid"] * len(train), *["test"] * len(test)]
    made = tiny.table(splits)
    texts = [WORDS[int(label)] if speaks else "" for label in labels]
    for name, values in (("label", pa.array(labels, pa.float32())), ("transcript", pa.array(texts))):
        place = made.column_names.index(name)
        made = made.set_column(place, made.schema.field(name), values)
    return tables.with_metadata(made, tables.metadata(tiny.table()) | {"convention": convention})


def test_the_train_median_is_a_constant():
    found = floors.train_median(told([-1, 1, 2], [2, -1]))
    assert found["mae"] == pytest.approx((1 + 2) / 2) and found["corr"] is None


def test_the_majority_class_is_that_of_the_train_split():
    """Two of three are positive, their mean is 1.5; the test split is mostly negative, and the row says so."""
    table = told([-1, 1, 2], [-2, -1, 2, -1])
    assert floors.majority_class(table)["acc2_nonneg"] == pytest.approx(1 / 4)
    assert floors.majority_class(table)["mae"] == pytest.approx((3.5 + 2.5 + 0.5 + 2.5) / 4)
    assert "less frequent one in the test split" in str(floors.floors(table)[1].note)
    assert floors.majority_class(told([-1, -2, 1], [-1, -1, 1], "sims"))["acc2"] == pytest.approx(2 / 3)


def test_words_that_tell_the_label_beat_the_constants():
    train = [-2, -1, 1, 2] * 4
    found = floors.floors(told(train, [-2, 2, -1, 1]))
    rows = {floor.label: floor.scores.means for floor in found if floor.scores}
    assert rows["TF-IDF + ridge"]["mae"] < 0.2 < 1 < rows["Train median"]["mae"]
    assert rows["TF-IDF + ridge"]["acc2_nonneg"] == 1.0


def test_the_ridge_is_chosen_without_the_test_split():
    """Were the labels of the test split turned round, its predictions would be the same."""
    train = [-2, -1, 1, 2] * 4
    right, wrong = (floors.tfidf_ridge(table) for table in (told(train, [-2, 2]), _turned(told(train, [-2, 2]))))
    assert right["mae"] < 0.3 and wrong["mae"] == pytest.approx(4 - right["mae"], abs=0.3)


def test_without_transcripts_there_is_no_text_row():
    row = floors.floors(told([-1, 1, 2], [1], speaks=False))[2]
    assert row.scores is None and row.note == "the train split has no transcripts"


def _turned(table: pa.Table) -> pa.Table:
    rows = zip(table["label"].to_pylist(), table["split"].to_pylist(), strict=True)
    labels = np.array([-label if split == "test" else label for label, split in rows], np.float32)
    place = table.column_names.index("label")
    return table.set_column(place, table.schema.field("label"), pa.array(labels))
