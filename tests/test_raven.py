"""RAVEN's shift of words by equations (2)-(6), how long it may be and what can have no part in it."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.networks import build
from model.networks.base import BaseNetwork
from model.networks.raven import Subword, bounded
from model.records import Batch
from pipeline.errors import ParamsError
from tests import tiny

TEXT = 32
ARCHITECTURE = {"hidden": 4, "words": 6, "frames": 3, "beta": 0.2, "dropout": 0.0}


def network(audio: int = 3, vision: int = 5, **changes: Any) -> BaseNetwork:
    torch.manual_seed(0)
    return build("raven", tiny.dims(None, audio, vision, text=TEXT), ARCHITECTURE | changes).eval()


def drawn(lengths: dict[str, list[int]], seed: int = 0) -> Batch:
    """Clips of so many tokens and frames, their padding full of numbers too."""
    torch.manual_seed(seed)
    widths = {"text": TEXT} | tiny.WIDTHS
    clips = len(lengths["text"])
    return Batch(
        ids=tuple(f"clip/{i}" for i in range(clips)),
        labels=torch.randn(clips),
        unimodal={},
        inputs={m: torch.randn(clips, max(1, *of), widths[m]) for m, of in lengths.items()},
        lengths={m: torch.tensor(of) for m, of in lengths.items()},
    )


def linear(layer: torch.nn.Linear, x: torch.Tensor) -> torch.Tensor:
    return x @ layer.weight.T + layer.bias


@settings(max_examples=60, deadline=None)
@given(
    beta=st.floats(0.01, 10), length=st.sampled_from([0.0, 1e-9, 1e-3, 1.0, 1e6]), own=st.sampled_from([0.0, 0.1, 50.0])
)
def test_a_shift_is_at_most_beta_of_the_word_and_else_itself(beta: float, length: float, own: float):
    h = torch.nn.functional.normalize(torch.randn(3, 4, 7), dim=-1) * length
    e = torch.nn.functional.normalize(torch.randn(3, 4, 7), dim=-1) * own
    shift = bounded(h, e, beta)
    assert torch.isfinite(shift).all()
    assert (shift.norm(dim=-1) <= beta * own * (1 + 1e-5)).all()
    if length <= 0.999 * beta * own:
        torch.testing.assert_close(shift, h)
    elif length >= 1e-3:  # as long as it may be, in the direction of h
        torch.testing.assert_close(shift, h * (beta * own / length))


def test_a_shift_of_zero_has_finite_gradients():
    h, e = torch.zeros(1, 2, 4, requires_grad=True), torch.tensor([[[0.0] * 4, [1.0] * 4]], requires_grad=True)
    bounded(h, e, 0.5).sum().backward()
    assert torch.isfinite(h.grad).all()
    assert torch.isfinite(e.grad).all()


@pytest.mark.parametrize("beta", [0.01, 100.0])  # alpha below 1, alpha 1
def test_one_token_follows_the_equations(beta: float):
    net, batch = network(beta=beta), drawn({"text": [1], "audio": [2], "vision": [3]})
    e = batch.inputs["text"][0, 0]
    gated = []
    for modality in ("audio", "vision"):
        entered = linear(net.shift.inside[modality].enter, batch.inputs[modality])
        h = net.shift.inside[modality].encode.lstm(entered)[0][0, -1]
        w = torch.sigmoid(linear(net.shift.gates[modality], torch.cat([h, e])))  # (2), (3)
        assert w.shape == (1,)
        gated.append(w * h)
    w_a, w_v = net.shift.join.weight.split(4, dim=1)
    h = w_v @ gated[1] + w_a @ gated[0] + net.shift.join.bias  # (4)
    alpha = min(beta * e.norm() / h.norm(), torch.tensor(1.0))  # (6)
    state = net.words.lstm((e + alpha * h)[None, None])[0][0, -1]  # (5)
    output = net(batch)["fusion"]
    torch.testing.assert_close(output.feature[0], state)
    torch.testing.assert_close(output.prediction, linear(net.predict, state))


def test_the_end_state_is_at_the_last_word():
    net, batch = network(), drawn({"text": [2, 4], "audio": [4, 3], "vision": [2, 9]})
    e = batch.inputs["text"].clone()
    e[0, 2:] = 0  # padding
    states = net.words.lstm(e + bounded(net.shift(e, batch), e, 0.2))[0]
    torch.testing.assert_close(net(batch)["fusion"].feature, torch.stack([states[0, 1], states[1, 3]]))


def test_of_aligned_data_a_token_has_its_own_frame():
    encode, x = Subword(3, 4, 20, 0.0).eval(), torch.randn(1, 5, 3)
    states = encode(x, torch.tensor([5]), torch.tensor([5]), 5)[0]
    alone = [encode(x[:, i : i + 1], torch.tensor([1]), torch.tensor([1]), 1)[0, 0] for i in range(5)]
    torch.testing.assert_close(states, torch.stack(alone))


def test_a_token_reads_the_frames_inside_it_and_of_many_so_many_evenly_apart():
    encode, x = Subword(3, 4, 3, 0.0).eval(), torch.randn(1, 16, 3)

    def read(*frames: int) -> torch.Tensor:
        return encode.encode.lstm(encode.enter(x[:, list(frames)]))[0][0, -1]

    few = encode(x[:, :4], torch.tensor([4]), torch.tensor([2]), 2)[0]
    torch.testing.assert_close(few, torch.stack([read(0, 1), read(2, 3)]))
    many = encode(x, torch.tensor([16]), torch.tensor([2]), 2)[0]
    torch.testing.assert_close(many, torch.stack([read(0, 2, 5), read(8, 10, 13)]))


def test_fewer_frames_than_tokens_are_read_more_than_once():
    encode, x = Subword(3, 4, 3, 0.0).eval(), torch.randn(1, 2, 3)
    states = encode(x, torch.tensor([2]), torch.tensor([4]), 4)[0]
    torch.testing.assert_close(states[[0, 2]], states[[1, 3]])
    assert not torch.allclose(states[0], states[2])


def test_tokens_that_are_not_there_have_no_state():
    encode = Subword(3, 4, 3, 0.0).eval()
    states = encode(torch.randn(3, 6, 3), torch.tensor([6, 0, 2]), torch.tensor([2, 4, 1]), 4)
    assert states[0, :2].all()
    assert states[2, :1].all()
    assert not states[0, 2:].any()
    assert not states[1].any()
    assert not states[2, 1:].any()


def test_padding_and_other_clips_do_not_matter():
    net, batch = network(), drawn({"text": [3, 7, 1], "audio": [9, 2, 30], "vision": [4, 0, 1]})
    together = net(batch)["fusion"].prediction
    for row in range(3):
        lengths = {m: of[row : row + 1] for m, of in batch.lengths.items()}
        inputs = {m: x[row : row + 1, : max(1, int(lengths[m]))] for m, x in batch.inputs.items()}
        alone = net(replace(batch, inputs=inputs, lengths=lengths))["fusion"].prediction
        torch.testing.assert_close(alone[0], together[row], atol=1e-5, rtol=1e-5)


def test_a_modality_that_the_clip_lacks_adds_nothing():
    net, batch = network(beta=100.0), drawn({"text": [2, 2, 2], "audio": [0, 4, 0], "vision": [3, 3, 0]})
    e = batch.inputs["text"]
    shift = net.shift(e, batch)
    vision = net.shift.inside["vision"](batch.inputs["vision"], batch.lengths["vision"], batch.lengths["text"], 2)
    gated = torch.sigmoid(linear(net.shift.gates["vision"], torch.cat([vision, e], -1))) * vision
    torch.testing.assert_close(shift[0], gated[0] @ net.shift.join.weight[:, 4:].T + net.shift.join.bias)
    assert not shift[2].any()  # nor the bias, where there is neither
    torch.testing.assert_close(net(batch)["fusion"].feature[2], net.words.lstm(e[2:])[0][0, -1])


def test_a_clip_without_words_has_no_state():
    net, batch = network(), drawn({"text": [0, 2], "audio": [4, 4], "vision": [3, 3]})
    output = net(batch)["fusion"]
    assert not output.feature[0].any()
    torch.testing.assert_close(output.prediction[:1], net.predict.bias)


def test_text_alone_is_shifted_by_nothing():
    net, batch = network(audio=0, vision=0), drawn({"text": [3]})
    assert net.shift is None
    torch.testing.assert_close(net(batch)["fusion"].feature[0], net.words.lstm(batch.inputs["text"])[0][0, -1])


def test_the_loss_is_the_squared_error():
    net, batch = network(), drawn({"text": [3, 1], "audio": [4, 4], "vision": [3, 3]})
    output = net(batch)
    expected = ((output["fusion"].prediction - batch.labels) ** 2).sum() / 2
    assert set(net.loss(output, batch)) == {"fusion"}
    torch.testing.assert_close(net.loss(output, batch)["fusion"], expected)


def test_it_is_nothing_without_text():
    with pytest.raises(ParamsError, match="raven is nothing without text"):
        build("raven", tiny.dims(None), ARCHITECTURE)
