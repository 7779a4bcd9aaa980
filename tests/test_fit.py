"""The one loop: what it learns, what it may see, and that equal seeds give equal results."""

import re
from contextlib import nullcontext
from importlib import import_module
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import torch

from model.networks import build
from model.networks.base import BaseNetwork
from model.records import Batch, Branch, Output
from model.training.batch import Clips
from model.training.fit import History, check, fit, forward, precision, seeded
from model.training.hyper import Fit, Group, Hyper
from pipeline import tables
from pipeline.errors import ParamsError, TableError
from tests import tiny

LOOP = import_module("model.training.fit")


def trained(table: pa.Table, seed: int = 1, preset: str = "paper", **settings: Any) -> tuple[BaseNetwork, History]:
    hyper = tiny.preset(preset, **settings)
    network = built(hyper, seed)
    return network, fitted(network, table, hyper, seed)


def built(hyper: Hyper, seed: int = 1) -> BaseNetwork:
    seeded(seed)
    return build("self_mm", tiny.dims(tiny.bert(seed)), hyper.architecture)


def fitted(network: BaseNetwork, table: pa.Table, hyper: Hyper, seed: int = 1) -> History:
    return fit(network, tiny.clips(table, "train"), tiny.clips(table, "valid"), hyper.groups, hyper.fit, seed)


class Counting(BaseNetwork):
    """Predicts one number, and notes the clips it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.level = torch.nn.Parameter(torch.tensor([0.0]))
        self.shown: list[tuple[str, ...]] = []
        self.observed: list[tuple[int, int]] = []

    def forward(self, batch: object) -> Output:
        self.shown.append(batch.ids)
        return {"fusion": Branch(self.level.expand(len(batch), 1), self.level.expand(len(batch)))}

    def loss(self, output: Output, batch: object) -> dict[str, torch.Tensor]:
        return {"fusion": (output["fusion"].prediction - batch.labels).mean()}

    def observe(self, output: Output, batch: object, epoch: int) -> None:
        self.observed.append((epoch, len(batch)))


ALL = {"all": Group(lr=1.0, weight_decay=0.0)}


def test_overfits_sixteen_clips():
    table = tiny.table(splits=("train",) * 16 + ("valid",) * 2)
    _, history = trained(table, batch=16, accumulate=1, max_epochs=60, patience=60)
    assert history.curves[-1].terms["fusion"] < 0.3
    assert history.curves[0].terms["fusion"] > 1.0


@pytest.mark.parametrize("preset", tiny.PRESETS)
def test_unimodal_losses_are_exactly_zero_in_epochs_1_and_2(preset: str):
    _, history = trained(tiny.table(), preset=preset)
    for modality in ("text", "audio", "vision"):
        first, second, third = (point.terms[modality] for point in history.curves)
        assert first == second == 0.0
        assert third > 0.0


def test_idle_heads_stay_as_they_are_through_epochs_1_and_2():
    hyper = tiny.preset("paper")
    still = {name: group.model_copy(update={"weight_decay": 0.0}) for name, group in hyper.groups.items()}
    hyper = hyper.model_copy(update={"groups": still})
    network, states = built(hyper), []
    network.ulabels = lambda: states.append({k: v.clone() for k, v in network.state_dict().items()})
    before = {name: value.clone() for name, value in network.state_dict().items()}
    fitted(network, tiny.table(), hyper)
    for name in (name for name in before if name.startswith("heads.")):
        moved = [not torch.equal(state[name], before[name]) for state in states]
        assert moved == [name.startswith("heads.fusion")] * 2 + [True], name


@pytest.mark.parametrize("preset", ["paper", "released"])
def test_an_epochs_loss_is_equation_10_of_the_u_labels_as_the_epoch_before_left_them(preset: str):
    table, hyper = tiny.table(absent=[(0, "audio")]), tiny.preset(preset, max_epochs=4, patience=4)
    network, said = built(hyper), []
    observe = network.observe

    def spy(output: Output, batch: Batch, epoch: int) -> None:
        said.extend(
            (epoch, branch, clip, value)
            for branch, part in output.items()
            for clip, value in zip(batch.ids, part.prediction.tolist(), strict=True)
        )
        observe(output, batch, epoch)

    network.observe = spy
    history = fitted(network, table, hyper)
    labels = dict(zip(table["id"].to_pylist(), table["label"].to_pylist(), strict=True))
    left = {(row["epoch"], row["id"]): row for row in history.ulabels.to_pylist()}
    terms: dict[tuple[int, str], list[float]] = {}
    for epoch, branch, clip, value in said:
        m = labels[clip]
        u = m if branch == "fusion" or epoch == 1 else left[epoch - 1, clip][branch]
        weight = 1.0 if branch == "fusion" else np.tanh(abs((m if u is None else u) - m))
        terms.setdefault((epoch, branch), []).append(weight * abs(value - (m if u is None else u)))
    assert len(terms) == 4 * 4
    for (epoch, branch), values in terms.items():
        assert history.curves[epoch - 1].terms[branch] == pytest.approx(np.mean(values), rel=1e-5, abs=1e-6)
        assert len(values) == 12
    last = history.curves[-1]
    assert last.train_loss == pytest.approx(sum(last.terms[b] for b in ("fusion", "text", "audio", "vision")))


def test_u_labels_by_epoch_start_as_the_m_labels():
    table = tiny.table(absent=[(0, "vision")])
    _, history = trained(table)
    assert history.ulabels is not None
    first = history.ulabels.filter(pc.field("epoch") == 1).to_pylist()
    labels = dict(zip(table["id"].to_pylist(), table["label"].to_pylist(), strict=True))
    assert len(first) == 12
    assert all(row["text"] == labels[row["id"]] for row in first)
    second = history.ulabels.filter(pc.field("epoch") == 2).to_pylist()
    assert any(row["text"] != labels[row["id"]] for row in second)
    assert [row["id"] for row in second if row["vision"] is None] == [table["id"][0].as_py()]
    assert all(abs(row["audio"]) <= 3 for row in second)


def test_absent_modalities_give_finite_numbers_throughout():
    table = tiny.table(absent=[(0, "text"), (1, "audio"), (2, "vision"), (3, "audio"), (3, "vision"), (13, "text")])
    network, history = trained(table, batch=1, accumulate=1)
    assert all(np.isfinite(value) for point in history.curves for value in point.row.values())
    assert all(torch.isfinite(value).all() for value in network.state_dict().values())


def test_the_order_of_rows_changes_nothing():
    table = tiny.table()
    shuffled = table.take(np.random.default_rng(3).permutation(len(table)))
    assert trained(table)[1].ulabels.equals(trained(shuffled)[1].ulabels)
    assert trained(table)[1].curves == trained(shuffled)[1].curves


def test_another_seed_gives_other_numbers():
    assert trained(tiny.table(), seed=1)[1].curves != trained(tiny.table(), seed=2)[1].curves


def test_weights_are_those_of_the_best_validation_epoch():
    network, history = trained(tiny.table(), max_epochs=8, patience=8)
    assert history.best.valid_mae == min(point.valid_mae for point in history.curves)
    again, _ = trained(tiny.table(), max_epochs=history.best_epoch, patience=8)
    for name, value in again.state_dict().items():
        torch.testing.assert_close(network.state_dict()[name], value, rtol=0, atol=0)


def test_stops_after_patience_epochs_without_a_better_one():
    network, table = Counting(), tiny.table()
    network.loss = lambda output, batch: {"fusion": output["fusion"].prediction.mean() * 0}
    history = fit(
        network, tiny.clips(table, "train"), tiny.clips(table, "valid"), ALL, _fit(max_epochs=50, patience=4), 1
    )
    assert (history.best_epoch, len(history.curves)) == (1, 5)


def test_gradients_are_averaged_and_the_remainder_steps():
    table = tiny.table(splits=("train",) * 11 + ("valid",) * 2)
    steps: list[float] = []
    network = Counting()
    network.level.register_post_accumulate_grad_hook(lambda p: steps.append(p.grad.item()))
    fit(network, tiny.clips(table, "train"), tiny.clips(table, "valid"), ALL, _fit(batch=4, accumulate=2), 1)
    assert network.observed == [(1, 4), (1, 4), (1, 3)]
    # the loss's gradient is 1: after half of a step's clips .5, after all of them 1; the last 3 clips are a step too
    assert steps == pytest.approx([0.5, 1.0, 1.0])


def test_the_loop_never_shows_the_test_split():
    network, table = Counting(), tiny.table()
    fit(network, tiny.clips(table, "train"), tiny.clips(table, "valid"), ALL, _fit(max_epochs=2), 1)
    tested = {
        clip for clip, split in zip(table["id"].to_pylist(), table["split"].to_pylist(), strict=True) if split == "test"
    }
    assert not tested & {clip for clips in network.shown for clip in clips}


def test_idle_heads_do_not_decay():
    table = tiny.table()
    seeded(1)
    network = build("self_mm", tiny.dims(None, vision=0), tiny.ARCHITECTURE)
    before = network.heads["audio"].project.weight.detach().clone()
    groups = {name: Group(lr=0.001, weight_decay=0.001) for name in ("audio", "heads")}
    splits = [
        Clips(table, ("audio",), tiny.WIDTHS, tiny.statistics(tiny.metadata(tiny.WIDTHS, "x", True)), s)
        for s in ("train", "valid")
    ]
    fit(network, *splits, groups, _fit(batch=1, accumulate=1, max_epochs=2), 1)
    torch.testing.assert_close(network.heads["audio"].project.weight, before, rtol=1e-4, atol=0)


def test_every_clip_is_drawn_once_an_epoch_and_epochs_differ():
    clips = tiny.clips(tiny.table(), "train")
    orders = [
        [clip for step in clips.steps(4, 2, 1, 1, epoch) for batch in step for clip in batch.ids] for epoch in (1, 2)
    ]
    assert sorted(orders[0]) == sorted(orders[1]) == clips.ids
    assert orders[0] != orders[1]
    sizes = [[len(batch) for batch in step] for step in clips.steps(4, 2, 1, 1, 1)]
    assert sizes == [[4, 4], [4]]


@pytest.mark.parametrize(("clip", "name"), [("video2/07", "The loss"), ("video3/13", "The validation loss")])
def test_a_loss_that_is_no_number_stops_with_the_batchs_clips_and_the_learning_rates(clip: str, name: str):
    network, table = Counting(), tiny.table()
    loss, levels = network.loss, []

    def broken(output: Output, batch: Batch) -> dict[str, torch.Tensor]:
        term = loss(output, batch)["fusion"]
        levels.append(network.level.item())
        later = len(network.observed) >= 3  # than the first epoch's training
        return {"fusion": term / 0 if later and clip in batch.ids else term}

    network.loss = broken
    with pytest.raises(ParamsError) as error:
        fit(network, tiny.clips(table, "train"), tiny.clips(table, "valid"), ALL, _fit(batch=4, max_epochs=3), 1)
    message, shown = str(error.value), network.shown[-1]
    assert re.match(rf"{name} of epoch [12] is not finite: found fusion -?(inf|nan), expected numbers", message)
    assert clip in shown and len(shown) == 4
    assert f"expected numbers, in the batch of {', '.join(shown)}. Look at these clips with: rawmsa show" in message
    assert "lower the learning rates in the network's file of networks/ (now all 1), then: dvc repro train" in message
    assert network.level.item() == levels[-1]  # no step was taken with it


@pytest.mark.parametrize("clip", ["video2/07", "video3/13"])  # to train on, and held out
def test_an_input_that_is_no_number_stops_with_its_clip_and_modality(clip: str):
    table, network = tiny.table(), Counting()
    row = table["id"].to_pylist().index(clip)
    frames = [tables.sequence(cell) for cell in table["audio"]]
    frames[row] = frames[row] * np.inf
    place = table.column_names.index("audio")
    broken = table.set_column(place, table.schema.field(place), tables.sequences(frames, 3))
    broken = tables.with_metadata(broken, tables.metadata(table))
    message = f"not finite, expected numbers: audio of {clip}. Look at these clips with: rawmsa show"
    with pytest.raises(TableError, match=message):  # of whose frames this network makes no use
        fit(network, tiny.clips(broken, "train"), tiny.clips(broken, "valid"), ALL, _fit(), 1)


@pytest.mark.parametrize("preset", ["paper", "released"])
def test_sparse_gradients_of_words_are_learnt_from_as_dense_ones(preset: str):
    hyper, table, learnt = tiny.preset(preset), tiny.table(), []
    for sparse in (True, False):
        network = built(hyper)
        words = network.encoders["text"].bert.embeddings.word_embeddings
        words.sparse = sparse
        before = words.weight.detach().clone()
        curves = fitted(network, table, hyper).curves
        learnt.append((words.weight - before, torch.tensor([point.train_loss for point in curves])))
    assert learnt[0][0].abs().max() > 1e-3
    for one, other in zip(*learnt, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


def test_too_few_clips_for_a_summed_step_are_said_before_training():
    few = _fit(batch=6, accumulate=3, gradients="sum")
    with pytest.raises(ParamsError, match="12 training clips do not fill one step of 3 batches of 6"):
        check(few, 12)
    check(few, 13)
    check(_fit(batch=6, accumulate=3, gradients="mean"), 1)


def test_a_group_without_settings_is_named():
    with pytest.raises(ParamsError, match="no 'all', only"):
        fit(Counting(), tiny.clips(tiny.table()), tiny.clips(tiny.table()), {}, _fit(), 1)


def _fit(**settings: Any) -> Fit:
    return Fit(**tiny.FIT | {"accumulate": 1, "max_epochs": 1, "patience": 9, **settings})


def test_gradients_are_clipped_by_value(monkeypatch: pytest.MonkeyPatch):
    seen: list[float] = []
    step = torch.optim.AdamW.step

    def watched(self: torch.optim.AdamW, *x: Any) -> Any:
        seen.extend(
            p.grad.abs().max().item() for group in self.param_groups for p in group["params"] if p.grad is not None
        )
        return step(self, *x)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    for clip in (None, 1e-3):
        seen.clear()
        trained(tiny.table(), clip=clip)
        assert (max(seen) < 1.001e-3) == bool(clip)


def test_a_plateau_of_the_validation_lowers_the_learning_rates(monkeypatch: pytest.MonkeyPatch):
    rates: list[float] = []
    step = torch.optim.AdamW.step

    def watched(self: torch.optim.AdamW, *x: Any) -> Any:
        rates.append(self.param_groups[0]["lr"])
        return step(self, *x)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    monkeypatch.setattr("model.training.fit._criterion", lambda point, params: float(point.epoch))  # ever worse
    trained(tiny.table(), plateau=2, max_epochs=6, patience=6)
    by_epoch = rates[:: len(rates) // 6]
    assert by_epoch == pytest.approx([0.01, 0.01, 0.01, 0.01, 0.001, 0.001])


@pytest.mark.parametrize(
    ("where", "wanted", "used"),
    [
        ("cuda", "auto", "bfloat16"),
        ("cuda", "float32", "float32"),
        ("cpu", "auto", "float32"),
        ("cpu", "float32", "float32"),
    ],
)
def test_a_gpu_trains_in_bfloat16_unless_the_parameter_says_float32(
    monkeypatch: pytest.MonkeyPatch, where: str, wanted: str, used: str
) -> None:
    monkeypatch.setattr(LOOP, "device", lambda: torch.device(where))
    assert precision(wanted) == used


@pytest.mark.parametrize(
    ("where", "trained_in", "cast"),
    [("cuda", "bfloat16", True), ("cuda", "float32", False), ("cpu", "bfloat16", False)],
)
def test_a_network_computes_in_the_precision_it_was_trained_in_and_a_cpu_in_float32(
    monkeypatch: pytest.MonkeyPatch, where: str, trained_in: str, cast: bool
) -> None:
    seen = []
    monkeypatch.setattr(LOOP, "device", lambda: torch.device(where))
    monkeypatch.setattr(torch, "autocast", lambda kind, dtype, enabled: seen.append((kind, enabled)) or nullcontext())
    network = built(tiny.hyper())
    network.precision = trained_in
    forward(network, tiny.clips(tiny.table()).batch([0, 1]))
    assert (where, cast) in seen
