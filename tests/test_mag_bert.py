"""The gate inside BERT: its equations (1)-(5), where it stands and what has no part in it."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.nn.functional import layer_norm
from transformers import BertConfig, BertModel

from model.networks import build
from model.networks.base import BaseNetwork
from model.networks.mag_bert import Gate
from model.records import Batch
from pipeline.errors import ParamsError
from tests import tiny

ARCHITECTURE = {"layer": 0, "beta": 1.0, "dropout": 0.0}
LAYERS = 2


def network(audio: int = 3, vision: int = 5, **changes: Any) -> BaseNetwork:
    torch.manual_seed(0)
    bert = BertModel(BertConfig.from_dict(tiny.BERT.to_dict() | {"num_hidden_layers": LAYERS}))
    net = build("mag_bert", tiny.dims(bert, audio, vision), ARCHITECTURE | changes).eval()
    if net.gate is not None:
        torch.nn.init.normal_(net.gate.bias)
    return net


def batch(absent: Sequence[tuple[int, str]] = ()) -> Batch:
    return tiny.clips(tiny.table(absent=absent)).batch(range(6))


def vectors(lengths: dict[str, list[int]], size: float = 1.0) -> Batch:
    """A batch for the gate alone."""
    torch.manual_seed(1)
    clips = len(lengths["text"])
    return Batch(
        ids=("",) * clips,
        labels=torch.zeros(clips),
        unimodal={},
        inputs={m: size * torch.randn(clips, max(1, *lengths[m], 1), width) for m, width in tiny.WIDTHS.items()},
        lengths={m: torch.tensor(of) for m, of in lengths.items()},
    )


def gate(beta: float = 1.0, bias: float = 1.0) -> Gate:
    torch.manual_seed(0)
    made = Gate(8, tiny.WIDTHS, beta, 0.0).eval()
    torch.nn.init.normal_(made.bias, std=bias)
    return made


def by_hand(net: Gate, z: torch.Tensor, a: torch.Tensor | None, v: torch.Tensor | None) -> torch.Tensor:
    """h of one token: (1)-(3), a modality left out where it is None."""
    h = net.bias
    for modality, x in (("audio", a), ("vision", v)):
        if x is not None:
            g = torch.relu(net.gates[modality].weight @ torch.cat([z, x]) + net.gates[modality].bias)
            h = h + g * (net.values[modality].weight @ x)
    return h


def shifted(net: Gate, z: torch.Tensor, h: torch.Tensor) -> torch.Tensor:
    """(4), (5)"""
    alpha = min((net.beta * z.norm() / h.norm()).item(), 1.0)
    return layer_norm(z + alpha * h, (8,), net.norm.weight, net.norm.bias)


@pytest.mark.parametrize("beta", [0.01, 100.0])  # alpha below 1, alpha 1
def test_the_gate_follows_the_equations(beta: float):
    net, clips = gate(beta), vectors({"text": [2], "audio": [2], "vision": [4]})
    z, audio, vision = torch.randn(1, 2, 8), clips.inputs["audio"][0], clips.inputs["vision"][0]
    expected = [  # audio is aligned; of vision each token has the mean of its half
        shifted(net, z[0, i], by_hand(net, z[0, i], audio[i], vision[2 * i : 2 * i + 2].mean(0))) for i in range(2)
    ]
    torch.testing.assert_close(net(z, clips)[0], torch.stack(expected))


@pytest.mark.parametrize("size", [0.0, 0.01, 1.0, 1000.0])
@pytest.mark.parametrize("beta", [0.1, 1.0, 7.0])
def test_a_token_moves_by_at_most_beta_of_its_length_and_freely_within(beta: float, size: float):
    net, clips = gate(beta, bias=0.0), vectors({"text": [3, 2], "audio": [3, 9], "vision": [3, 1]}, size)
    net.norm = torch.nn.Identity()
    z = torch.randn(2, 3, 8)
    moved = (net(z, clips) - z)[0]
    assert (moved.norm(dim=-1) <= beta * z[0].norm(dim=-1) * 1.001 + 1e-5).all()
    if size <= 0.01:  # h is small: alpha is 1
        frames = zip(z[0], clips.inputs["audio"][0, :3], clips.inputs["vision"][0], strict=True)
        expected = torch.stack([by_hand(net, *token) for token in frames])
        torch.testing.assert_close(moved, expected, atol=1e-5, rtol=1e-3)


def test_an_absent_modality_adds_nothing_and_without_both_there_is_layer_norm_alone():
    net, clips = gate(), vectors({"text": [2, 2, 2], "audio": [0, 2, 0], "vision": [2, 0, 0]})
    z, audio, vision = torch.randn(3, 2, 8), clips.inputs["audio"], clips.inputs["vision"]
    made = net(z, clips)
    for i in range(2):
        seen = shifted(net, z[0, i], by_hand(net, z[0, i], None, vision[0, i]))
        heard = shifted(net, z[1, i], by_hand(net, z[1, i], audio[1, i], None))
        torch.testing.assert_close(made[:2, i], torch.stack([seen, heard]))
    torch.testing.assert_close(made[2], layer_norm(z[2], (8,)))


@pytest.mark.parametrize("layer", range(LAYERS + 1))
def test_the_gate_stands_after_the_layer(layer: int):
    net, clips = network(layer=layer), batch()
    text, lengths = clips.inputs["text"], clips.lengths["text"]
    seen = torch.arange(text.shape[1]) < lengths[:, None]
    mask = torch.zeros(seen.shape).masked_fill(~seen, -1e9)[:, None, None]  # (B, 1, 1, L)
    z = net.bert.embeddings(text)
    for step in range(LAYERS + 1):
        if step:
            z = net.bert.encoder.layer[step - 1](z, mask)
        if step == layer:
            z = net.gate(z, clips)
    pooled = torch.tanh(net.bert.pooler.dense(z[:, 0]))
    output = net(clips)["fusion"]
    torch.testing.assert_close(output.feature, pooled, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        output.prediction, (pooled @ net.predict.weight.T + net.predict.bias)[:, 0], atol=1e-5, rtol=1e-5
    )


@pytest.mark.parametrize("layer", [0, 1])
def test_padding_and_other_clips_do_not_matter(layer: int):
    net, clips = network(layer=layer), tiny.clips(tiny.table(absent=[(2, "audio"), (3, "vision"), (4, "text")]))
    together = clips.batch(range(8))
    for modality, x in together.inputs.items():
        for row, length in enumerate(together.lengths[modality]):
            x[row, length:] = 7
    alone = torch.cat([net(clips.batch([i]))["fusion"].prediction for i in range(8)])
    torch.testing.assert_close(net(together)["fusion"].prediction, alone, atol=1e-5, rtol=1e-5)


def test_bert_is_left_as_it_was():
    net, clips = network(), batch()
    text = clips.inputs["text"][:1, : int(clips.lengths["text"][0])]
    before = net.bert(text).pooler_output
    net(clips)
    torch.testing.assert_close(net.bert(text).pooler_output, before)  # the gate acts during the network's call alone


def test_text_alone_is_bert():
    net = network(audio=0, vision=0)
    clips = tiny.clips(tiny.table(), modalities=("text",)).batch([0])
    assert net.gate is None
    torch.testing.assert_close(net(clips)["fusion"].feature, net.bert(clips.inputs["text"]).pooler_output)


def test_a_clip_without_text_has_the_last_layers_bias():
    net, silent = network(), batch(absent=[(0, "text")])
    torch.nn.init.ones_(net.predict.bias)
    row = silent.lengths["text"].tolist().index(0)
    output = net(silent)["fusion"]
    assert not output.feature[row].any()
    assert output.prediction[row] == 1


def test_weights_hold_bert_and_the_gate_and_fill_another_network():
    net, other, clips = network(), network(), batch()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    weights = net.state_dict()
    assert {name.split(".")[0] for name in weights} == {"bert", "gate", "predict"}
    assert any(name.startswith("bert.pooler") for name in weights)
    other.load_state_dict(weights)
    torch.testing.assert_close(other(clips)["fusion"].prediction, net(clips)["fusion"].prediction)


def test_new_weights_are_drawn_as_berts_own():
    torch.manual_seed(0)
    net = build("mag_bert", tiny.dims(tiny.bert(pooler=True), 300, 300), ARCHITECTURE)
    for linear in (*net.gate.gates.values(), *net.gate.values.values(), net.predict):
        assert linear.weight.std().item() == pytest.approx(tiny.BERT.initializer_range, rel=0.5)
        assert linear.bias is None or not linear.bias.any()
    assert not net.gate.bias.any()


def test_the_dropout_at_the_end_is_the_encoders():
    bert = BertModel(BertConfig.from_dict(tiny.BERT.to_dict() | {"hidden_dropout_prob": 0.4}))
    net = build("mag_bert", tiny.dims(bert), ARCHITECTURE | {"dropout": 0.3})
    assert (net.gate.dropout.p, net.dropout.p) == (0.3, 0.4)


def test_the_loss_is_the_absolute_error():
    net, clips = network(), batch()
    output = net(clips)
    expected = (output["fusion"].prediction - clips.labels).abs().sum() / 6
    assert set(net.loss(output, clips)) == {"fusion"}
    torch.testing.assert_close(net.loss(output, clips)["fusion"], expected)


def test_vectors_that_are_not_trained_are_refused():
    with pytest.raises(ParamsError, match=r"set `text` of its preset .* to finetuned"):
        build("mag_bert", tiny.dims(None, text=32), ARCHITECTURE)


def test_a_layer_that_bert_lacks_is_refused():
    with pytest.raises(ParamsError, match="after layer 2, but the text encoder has 1"):
        build("mag_bert", tiny.dims(tiny.bert(pooler=True)), ARCHITECTURE | {"layer": 2})


def test_the_order_of_the_clips_does_not_matter():
    net, clips = network(), batch()
    turned = replace(
        clips,
        inputs={m: x.flip(0) for m, x in clips.inputs.items()},
        lengths={m: x.flip(0) for m, x in clips.lengths.items()},
    )
    torch.testing.assert_close(net(turned)["fusion"].prediction.flip(0), net(clips)["fusion"].prediction)
