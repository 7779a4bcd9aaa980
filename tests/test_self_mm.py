"""Self-MM's forward pass, loss (10) and what an absent modality may and may not do."""

from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch

from model.networks import build
from model.networks.base import BaseNetwork
from model.records import Branch
from pipeline import tables
from pipeline.errors import ParamsError
from tests import tiny


def network(text: bool = True, audio: int = 3, vision: int = 5, seed: int = 0, **changes: Any) -> BaseNetwork:
    torch.manual_seed(seed)
    dims = tiny.dims(tiny.bert() if text else None, audio, vision)
    return build("self_mm", dims, tiny.architecture(**changes)).eval()


def test_features_and_predictions_follow_the_equations():
    net, clips = network(), tiny.clips(tiny.table())
    batch = clips.batch([0, 1, 2])
    output = net(batch)
    seen = {m: net.encoders[m](batch.inputs[m], batch.lengths[m]) for m in ("text", "audio", "vision")}
    seen["fusion"] = torch.cat([seen["text"], seen["audio"], seen["vision"]], dim=1)
    for branch, x in seen.items():
        head = net.heads[branch]
        feature = torch.relu(x @ head.project.weight.T + head.project.bias)
        torch.testing.assert_close(output[branch].feature, feature)
        torch.testing.assert_close(output[branch].prediction, feature @ head.predict.weight[0] + head.predict.bias)


def test_a_second_layer_of_a_head_lies_between_feature_and_prediction():
    net, batch = network(layers=2), tiny.clips(tiny.table()).batch([0, 1, 2])
    seen = net.encoders["audio"](batch.inputs["audio"], batch.lengths["audio"])
    head, (feature, prediction) = net.heads["audio"], net(batch)["audio"]
    (deeper,) = head.deeper
    torch.testing.assert_close(feature, torch.relu(seen @ head.project.weight.T + head.project.bias))
    hidden = torch.relu(feature @ deeper.weight.T + deeper.bias)
    torch.testing.assert_close(prediction, hidden @ head.predict.weight[0] + head.predict.bias)


def test_outputs_are_a_linear_of_the_lstms_end_state():
    net, batch = network(outputs={"audio": 7, "vision": 9}), tiny.clips(tiny.table()).batch([3])
    encoder = net.encoders["audio"]
    states, _ = encoder.lstm(batch.inputs["audio"])
    expected = states[:, -1] @ encoder.project.weight.T + encoder.project.bias
    torch.testing.assert_close(encoder(batch.inputs["audio"], batch.lengths["audio"]), expected)
    assert net.heads["fusion"].project.in_features == 32 + 7 + 9
    silent = tiny.clips(tiny.table(absent=[(0, "audio")])).batch([0])
    assert not encoder(silent.inputs["audio"], silent.lengths["audio"]).any()  # nor does the Linear's bias enter


@pytest.mark.parametrize("tasks", [list(c) for n in range(4) for c in combinations(("text", "audio", "vision"), n)])
def test_only_the_named_tasks_are_trained_beside_m(tasks: list[str]):
    net, batch = network(tasks=tasks).train(), tiny.clips(tiny.table()).batch([0, 1, 2])
    output = net(batch)
    assert set(output) == set(net.heads) == set(net.loss(output, batch)) == {"fusion", *tasks}
    assert net.heads["fusion"].project.in_features == 32 + 4 + 6  # F_m joins every modality all the same
    net.observe(output, batch, 1)
    made = net.ulabels()
    assert (made is None) == (not tasks)
    if made:
        assert [m for m in ("text", "audio", "vision") if made[m].null_count == 0] == tasks


def test_human_labels_are_targets_where_there_are_some():
    net, batch = network(ulgm={"labels": "human"}).train(), tiny.clips(tiny.table()).batch([0, 1])
    nan = float("nan")
    human = {"text": [2.0, nan], "audio": [nan, nan], "vision": [1.0, 3.0]}
    batch = replace(batch, unimodal={m: torch.tensor(values) for m, values in human.items()})
    batch.labels.copy_(torch.tensor([1.0, 1.0]))
    output = net(batch) | {m: Branch(torch.zeros(2, 1), torch.tensor([0.5, 9.0])) for m in ("text", "vision")}
    terms = net.loss(output, batch)
    assert terms["text"].item() == pytest.approx(np.tanh(1.0) * 1.5 / 2)
    assert terms["audio"].item() == 0.0
    assert terms["vision"].item() == pytest.approx(np.tanh(2.0) * 6.0 / 2)
    sum(terms.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)
    assert net.ulabels() is None  # it makes none


def test_text_is_the_first_token_and_audio_the_end_state():
    net, clips = network(), tiny.clips(tiny.table())
    batch = clips.batch([3])
    states = net.encoders["text"].bert(input_ids=batch.inputs["text"]).last_hidden_state
    torch.testing.assert_close(net.encoders["text"](batch.inputs["text"], batch.lengths["text"]), states[:, 0])
    every_state, _ = net.encoders["audio"].lstm(batch.inputs["audio"])
    torch.testing.assert_close(net.encoders["audio"](batch.inputs["audio"], batch.lengths["audio"]), every_state[:, -1])


def test_end_states_are_those_of_packed_sequences():
    net, batch = network(), tiny.clips(tiny.table()).batch(range(8))
    frames, lengths = batch.inputs["vision"], batch.lengths["vision"]
    packed = torch.nn.utils.rnn.pack_padded_sequence(frames, lengths, batch_first=True, enforce_sorted=False)
    _, (end, _) = net.encoders["vision"].lstm(packed)
    torch.testing.assert_close(net.encoders["vision"](frames, lengths), end[0])


def test_padding_does_not_leak():
    net, clips = network(), tiny.clips(tiny.table())
    together = clips.batch(range(10))
    for modality, x in together.inputs.items():  # whatever stands in the padding
        for row, length in enumerate(together.lengths[modality]):
            x[row, length:] = 7
    alone = torch.cat([net(clips.batch([i]))["fusion"].prediction for i in range(10)])
    torch.testing.assert_close(net(together)["fusion"].prediction, alone, atol=1e-5, rtol=1e-5)


def test_loss_is_equation_10_by_hand():
    net = network().train()
    net.ulgm.targets = lambda batch: {"text": torch.tensor([2.0, -1.0]), "audio": batch.labels, "vision": batch.labels}
    batch = tiny.clips(tiny.table()).batch([0, 1])
    batch.labels.copy_(torch.tensor([1.0, -1.0]))
    said = {"fusion": [1.5, -2.0], "text": [0.0, 3.0], "audio": [9.0, 9.0], "vision": [9.0, 9.0]}
    output = {branch: Branch(torch.zeros(2, 1), torch.tensor(values)) for branch, values in said.items()}
    terms = net.loss(output, batch)
    assert terms["fusion"].item() == pytest.approx((0.5 + 1.0) / 2)
    assert terms["text"].item() == pytest.approx(torch.tanh(torch.tensor(1.0)).item() * 2.0 / 2)
    assert terms["audio"].item() == terms["vision"].item() == 0.0  # u = m weighs nothing


@pytest.mark.parametrize("modality", ["text", "audio", "vision"])
def test_a_clip_without_a_modality_has_no_part_in_its_loss(modality: str):
    net = network().train()
    net.ulgm.targets = lambda batch: dict.fromkeys(("text", "audio", "vision"), batch.labels + 1)
    batch = tiny.clips(tiny.table(absent=[(0, modality)])).batch([0])
    output = net(batch)
    terms = net.loss(output, batch)
    assert terms[modality].item() == 0.0
    assert all(terms[other].item() > 0 for other in ("text", "audio", "vision") if other != modality)
    sum(terms.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)
    assert not any(p.grad.any() for p in net.encoders[modality].parameters() if p.grad is not None)


def test_an_absent_modality_enters_as_zero():
    net = network()
    batch = tiny.clips(tiny.table(absent=[(0, m) for m in ("text", "audio", "vision")])).batch([0])
    bias_only = torch.relu(net.heads["fusion"].project.bias)
    torch.testing.assert_close(net(batch)["fusion"].feature[0], bias_only)


def test_a_data_set_without_a_modality_has_no_branch_for_it():
    net = network(audio=0)
    output = net(tiny.clips(tiny.table(without=["audio"]), modalities=("text", "vision")).batch([0, 1]))
    assert set(output) == {"text", "vision", "fusion"}
    assert set(network(text=False).encoders) == {"audio", "vision"}


def test_every_parameter_is_in_one_group():
    net = network()
    grouped = [id(p) for group in net.parameter_groups().values() for p in group]
    assert sorted(grouped) == sorted(id(p) for p in net.parameters())
    assert tuple(net.parameter_groups()) == net.GROUPS


def test_wrong_hyper_parameters_say_what_is_expected():
    dims = tiny.dims(None)
    with pytest.raises(
        ParamsError,
        match=r"has \['frames'\], expected \['dropout', 'frames', 'layers', 'outputs', 'projected', 'tasks', 'ulgm'\]",
    ):
        build("self_mm", dims, {"frames": {}})
    with pytest.raises(ParamsError, match="names 'ulgm', but there is no model/networks/ulgm.py with a Network"):
        build("ulgm", dims, {})


def test_frames_are_standardised_and_missing_values_become_the_mean():
    table = tiny.table()
    row = table["id"].to_pylist().index(min(table["id"].to_pylist()))
    raw = np.array(table["audio"][row].as_py(), np.float32)
    raw[0, 1] = np.nan
    frames = [raw if i == row else np.zeros((1, 3)) for i in range(len(table))]
    holed = table.set_column(table.column_names.index("audio"), "audio", [tables.sequences(frames, 3)])
    expected = (raw - 0.1) / 2.0
    expected[0, 1] = 0.0
    batch = tiny.clips(tables.with_metadata(holed, tables.metadata(table))).batch([0])
    torch.testing.assert_close(batch.inputs["audio"][0], torch.from_numpy(expected))
