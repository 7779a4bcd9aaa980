"""Batches of a training table: what is drawn together, what is padded, and what a GPU would hold."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from model.records import Batch
from model.training.batch import Clips
from model.training.fit import fit
from pipeline import tables
from tests import tiny
from tests.test_fit import built

CPU = torch.device("cpu")
MANY = ("train",) * 150 + ("valid",) * 20


def drawn(clips: Clips, bucket: int, epoch: int = 1) -> list[list[Batch]]:
    return list(clips.steps(4, 2, bucket, 1, epoch))


def padding(steps: list[list[Batch]]) -> int:
    """Tokens that are none."""
    return sum(int(x.inputs["text"].numel() - x.lengths["text"].sum()) for step in steps for x in step)


@pytest.mark.parametrize("bucket", [0, 1, 3, 100])
def test_every_clip_is_in_one_batch_of_every_epoch(bucket: int):
    clips = tiny.clips(tiny.table(splits=MANY), "train")
    for epoch in (1, 2):
        steps = drawn(clips, bucket, epoch)
        assert sorted(clip for step in steps for batch in step for clip in batch.ids) == clips.ids
        assert sorted(sum(len(batch) for batch in step) for step in steps) == [6] + [8] * 18


def test_a_bucket_of_one_step_leaves_every_step_its_clips():
    clips = tiny.clips(tiny.table(splits=MANY), "train")
    unsorted, sorted_ = (
        [{clip for batch in step for clip in batch.ids} for step in drawn(clips, bucket)] for bucket in (0, 1)
    )
    assert unsorted == sorted_


def test_larger_buckets_pad_less():
    clips = tiny.clips(tiny.table(splits=MANY), "train")
    none, one, all_ = (padding(drawn(clips, bucket)) for bucket in (0, 1, 100))
    assert none > one > all_


def test_steps_of_a_bucket_come_in_no_order_of_length():
    clips = tiny.clips(tiny.table(splits=MANY), "train")
    longest = [max(int(batch.lengths["text"].max()) for batch in step) for step in drawn(clips, 100)]
    assert longest != sorted(longest) and longest != sorted(longest, reverse=True)


@pytest.mark.slow
def test_what_is_learnt_does_not_depend_on_the_bucket():
    """Loss curves over seeds: those of sorted batches lie within what seeds alone make of unsorted ones."""
    curves = {bucket: np.array([_curve(bucket, seed) for seed in range(4)]) for bucket in (0, 1, 4)}
    spread = curves[0].std(axis=0, ddof=1)
    for bucket in (1, 4):
        away = np.abs(curves[bucket].mean(axis=0) - curves[0].mean(axis=0))
        assert (away < 3 * spread + 0.02).all(), (bucket, curves[bucket].mean(axis=0), curves[0].mean(axis=0))
    assert (curves[0][:, -1] < 0.7 * curves[0][:, 0]).all()  # that something is learnt


@pytest.mark.parametrize("absent", [[], [(0, "audio"), (1, "text"), (2, "vision")]])
def test_held_clips_make_equal_batches(absent: list[tuple[int, str]]):
    table = tiny.table(absent=absent)
    read, held = (tiny.clips(table, "train") for _ in range(2))
    held.hold(CPU)
    for places in ([0], [3, 0, 2], list(range(len(read)))):
        expected, found = read.batch(places), held.batch(places)
        assert found.ids == expected.ids
        for modality in tables.MODALITIES:
            assert torch.equal(found.inputs[modality], expected.inputs[modality])
            assert torch.equal(found.lengths[modality], expected.lengths[modality])


def test_held_clips_take_what_they_say():
    clips = tiny.clips(tiny.table(), "train")
    batch = clips.batch(range(len(clips)))
    tokens, audio, vision = (int(batch.lengths[m].sum()) for m in tables.MODALITIES)
    assert clips.bytes() == 8 * tokens + 4 * (3 * audio + 5 * vision)


def test_a_table_of_several_chunks_makes_the_batches_of_one():
    table = tiny.table(absent=[(5, "audio")])
    parts = pa.concat_tables([table.slice(0, 3), table.slice(3, 5), table.slice(8)])
    whole, apart = (tiny.clips(tables.with_metadata(each, tables.metadata(table)), "train") for each in (table, parts))
    one, other = (clips.batch(range(len(clips))) for clips in (whole, apart))
    assert one.ids == other.ids
    assert all(torch.equal(one.inputs[m], other.inputs[m]) for m in tables.MODALITIES)


def test_frames_are_standardised_and_nan_and_padding_are_zero():
    table = tiny.table(splits=("train", "train", "valid"))
    frames = [tables.sequence(cell).copy() for cell in table["audio"]]
    frames[0] = frames[0][:2]
    frames[1] = frames[1][:1]
    frames[0][1, 2] = np.nan
    place = table.column_names.index("audio")
    made = table.set_column(place, table.schema.field(place), tables.sequences(frames, 3))
    clips = Clips(made, ("audio",), tiny.WIDTHS, tiny.statistics(tiny.metadata(tiny.WIDTHS, "x", True)), "train")
    x = clips.batch([0, 1]).inputs["audio"].numpy()
    expected = (frames[0] - np.float32(0.1)) / np.float32(2)
    expected[1, 2] = 0
    assert np.array_equal(x[0], expected)
    assert np.array_equal(x[1, 0], (frames[1][0] - np.float32(0.1)) / np.float32(2)) and not x[1, 1].any()


def _curve(bucket: int, seed: int) -> list[float]:
    table: Any = tiny.table(splits=MANY)
    hyper = tiny.preset("paper", batch=4, accumulate=2, max_epochs=4, patience=4, bucket=bucket)
    network = built(hyper, seed)
    splits = tiny.clips(table, "train"), tiny.clips(table, "valid")
    return [point.terms["fusion"] for point in fit(network, *splits, hyper.groups, hyper.fit, seed).curves]
