"""MulT's positions, masks, cross-modal attention and what it does without a modality, by the equations."""

from collections.abc import Sequence
from dataclasses import replace
from math import cos, exp, sin, sqrt
from typing import Any

import pytest
import torch
from torch.nn.functional import conv1d, layer_norm

from model.networks.mult import Layer, Network, mask, positions
from model.records import Batch
from pipeline.errors import ParamsError
from tests import tiny

ARCHITECTURE: dict[str, Any] = {
    "width": 8,
    "heads": 2,
    "levels": 2,
    "kernels": {"text": 1, "audio": 3, "vision": 5},
    "attention": {"text": 0.0, "audio": 0.0, "vision": 0.0},
    "dropout": {"text": 0.0, "embedding": 0.0, "relu": 0.0, "residual": 0.0, "output": 0.0},
    "future_mask": True,
}
WIDTHS = {"text": 6, **tiny.WIDTHS}


def network(without: Sequence[str] = (), **changes: Any) -> Network:
    torch.manual_seed(0)
    widths = {m: 0 if m in without else width for m, width in WIDTHS.items()}
    dims = tiny.dims(None, widths["audio"], widths["vision"], text=widths["text"])
    return Network(dims, **ARCHITECTURE | changes).eval()


def batch(**lengths: Sequence[int]) -> Batch:
    """Made frames of these lengths; zeros after them."""
    torch.manual_seed(1)
    clips = len(next(iter(lengths.values())))
    inputs = {m: torch.randn(clips, max(1, *of, 1), WIDTHS[m]) for m, of in lengths.items()}
    for m, of in lengths.items():
        for row, length in zip(inputs[m], of, strict=True):
            row[length:] = 0
    sizes = {m: torch.tensor(of) for m, of in lengths.items()}
    return Batch(("",) * clips, torch.linspace(-2, 2, clips), {}, inputs, sizes)


def changed(made: Batch, modality: str, clip: int, frame: int) -> Batch:
    x = made.inputs[modality].clone()
    x[clip, frame] += 5
    return replace(made, inputs=made.inputs | {modality: x})


def hidden(rows: Sequence[str]) -> list[list[bool]]:
    return [[cell == "x" for cell in row] for row in rows]


@pytest.mark.parametrize("width", [6, 7])
def test_positions_are_sines_and_cosines_that_count_from_one(width: int):
    made = positions(4, width)
    assert made.shape == (4, width)
    for i in range(1, 5):
        for column in range(width):
            angle = i / 10000 ** (2 * (column // 2) / width)
            expected = sin(angle) if column % 2 == 0 else cos(angle)
            assert made[i - 1, column].item() == pytest.approx(expected, abs=1e-6)


def test_what_enters_the_stacks_is_a_convolution_scaled_and_its_positions():
    net, made = network(), batch(text=[2], audio=[4], vision=[3])
    x, weight = made.inputs["audio"][0], net.convolve["audio"].weight  # (4, 3), (8, 3, 3)
    framed = torch.cat([torch.zeros(1, 3), x, torch.zeros(1, 3)])
    steps = [sum(framed[t + k] @ weight[:, :, k].T for k in range(3)) for t in range(4)]
    expected = sqrt(8) * torch.stack(steps) + positions(4, 8)
    torch.testing.assert_close(net._embedded("audio", made)[0], expected)


def test_a_step_sees_none_later_than_itself_and_the_difference_of_the_lengths():
    same = mask(torch.tensor([3]), torch.tensor([3]), 3, 3, future=True)
    assert same[0].tolist() == hidden([".xx", "..x", "..."])
    longer = mask(torch.tensor([2]), torch.tensor([4]), 2, 4, future=True)  # sees j <= i + 2
    assert longer[0].tolist() == hidden(["...x", "...."])
    shorter = mask(torch.tensor([4]), torch.tensor([3]), 4, 3, future=True)  # j <= i + 1
    assert shorter[0].tolist() == hidden(["..x", "...", "...", "..."])


def test_the_mask_goes_by_real_lengths_and_hides_padding():
    padded = mask(torch.tensor([3, 2]), torch.tensor([3, 4]), 5, 6, future=True)
    assert padded[0].tolist() == hidden([".xxxxx", "..xxxx", "...xxx", "...xxx", "...xxx"])
    assert padded[1].tolist() == hidden(["...xxx", "....xx", "....xx", "....xx", "....xx"])
    alone = mask(torch.tensor([3, 2]), torch.tensor([3, 4]), 5, 6, future=False)
    assert alone[0].tolist() == hidden(["...xxx"] * 5) and alone[1].tolist() == hidden(["....xx"] * 5)


@pytest.mark.parametrize("future", [True, False])
def test_of_a_modality_that_is_absent_the_first_frame_stands_for_all(future: bool):
    nothing = mask(torch.tensor([0, 3]), torch.tensor([2, 0]), 3, 2, future)
    assert not nothing.all(2).any()  # no step looks at nothing, which would be NaN
    assert nothing[1].tolist() == hidden([".x"] * 3)


def test_a_layer_of_cross_modal_attention_follows_the_equations():
    layer = Layer(2, 1, 0.0, 0.0, 0.0).eval()
    query, key, value, out = (
        [[1.0, 0.5], [0.0, 1.0]],
        [[1.0, 0.0], [-1.0, 1.0]],
        [[2.0, 0.0], [0.0, 3.0]],
        [[1.0, 1.0], [0.0, 1.0]],
    )
    with torch.no_grad():
        layer.attend.in_proj_weight.copy_(torch.tensor(query + key + value))
        layer.attend.out_proj.weight.copy_(torch.tensor(out))
    target, source = torch.tensor([[[3.0, 1.0]]]), torch.tensor([[[0.0, 4.0], [2.0, 0.0], [9.0, 9.5]]])
    # of two columns LayerNorm leaves (1, -1) or (-1, 1); the third frame is hidden
    # q = W_q (1, -1) = (0.5, -1); k = W_k (-1, 1) = (-1, 2) and W_k (1, -1) = (1, -2); v = (-2, 3) and (2, -3)
    scores = [(0.5 * -1 + -1 * 2) / sqrt(2), (0.5 * 1 + -1 * -2) / sqrt(2)]
    share = exp(scores[0]) / (exp(scores[0]) + exp(scores[1]))
    seen = [share * -2 + (1 - share) * 2, share * 3 + (1 - share) * -3]
    after = torch.tensor([3 + seen[0] + seen[1], 1 + seen[1]])
    first, second = layer.feed[1], layer.feed[4]
    expected = after + torch.relu(layer_norm(after, (2,)) @ first.weight.T + first.bias) @ second.weight.T + second.bias
    barred = torch.tensor([[[0.0, 0.0, -torch.inf]]])
    torch.testing.assert_close(layer(target, source, barred)[0, 0], expected, atol=1e-4, rtol=1e-4)
    assert first.out_features == 8  # 4d


def test_heads_are_softmax_attention_side_by_side():
    layer = Layer(8, 2, 0.0, 0.0, 0.0).eval()
    torch.manual_seed(2)
    target, source = torch.randn(1, 3, 8), torch.randn(1, 4, 8)
    q, k, v = (
        layer_norm(x, (8,)) @ weight.T
        for x, weight in zip((target, source, source), layer.attend.in_proj_weight.split(8), strict=True)
    )
    heads = [torch.softmax(q[0, :, at] @ k[0, :, at].T / sqrt(4), 1) @ v[0, :, at] for at in (slice(0, 4), slice(4, 8))]
    after = target[0] + torch.cat(heads, 1) @ layer.attend.out_proj.weight.T
    torch.testing.assert_close(layer(target, source, torch.zeros(2, 3, 4))[0], after + layer.feed(after))


def test_keys_and_values_of_every_layer_are_the_source_as_it_entered():
    net, made = network(levels=3, future_mask=False), batch(text=[3], audio=[4], vision=[2])
    target, source = net._embedded("text", made), net._embedded("audio", made)
    stack, nothing = net.cross["audio_to_text"], torch.zeros(1, 3, 4, dtype=torch.bool)
    x = target
    for layer in stack.layers:
        x = layer(x, source, torch.zeros(2, 3, 4))
    torch.testing.assert_close(stack(target, source, nothing), stack.norm(x))


def test_the_prediction_is_of_the_last_real_steps_through_a_residual():
    net, made = network(), batch(text=[2, 4], audio=[5, 3], vision=[3, 3])
    ends = []
    for target in ("text", "audio", "vision"):
        x = net._embedded(target, made)
        learned = []
        for source in (m for m in ("text", "audio", "vision") if m != target):
            y = net._embedded(source, made)
            at = mask(made.lengths[target], made.lengths[source], x.shape[1], y.shape[1], future=True)
            learned.append(net.cross[f"{source}_to_{target}"](x, y, at))
        at = mask(made.lengths[target], made.lengths[target], x.shape[1], x.shape[1], future=True)
        states = net.memory[target](torch.cat(learned, 2), None, at)
        ends.append(torch.stack([states[i, made.lengths[target][i] - 1] for i in range(2)]))
    joined = torch.cat(ends, 1)  # (2, 3 * 2 * 8)
    first, second = net.residual[0], net.residual[3]
    feature = joined + torch.relu(joined @ first.weight.T + first.bias) @ second.weight.T + second.bias
    output = net(made)["fusion"]
    torch.testing.assert_close(output.feature, feature)
    torch.testing.assert_close(output.prediction, feature @ net.predict.weight[0] + net.predict.bias)


def test_a_step_does_not_learn_from_a_frame_it_may_not_see():
    """kernels of 1: a frame reaches its own step alone."""
    net = network(kernels={"text": 1, "audio": 1, "vision": 1})
    made = batch(text=[3], audio=[5], vision=[2])
    other = changed(made, "audio", 0, 3)  # step i of text sees frames up to i + 2
    text, at = net._embedded("text", made), mask(made.lengths["text"], made.lengths["audio"], 3, 5, future=True)
    stack = net.cross["audio_to_text"]
    before, after = (stack(text, net._embedded("audio", one), at)[0] for one in (made, other))
    assert torch.equal(before[0], after[0])
    assert not torch.isclose(before[1:], after[1:]).all(1).any()


def test_without_the_future_mask_every_step_sees_every_frame():
    net, made = network(kernels={"text": 1, "audio": 1, "vision": 1}), batch(text=[3], audio=[5], vision=[2])
    text, at = net._embedded("text", made), mask(made.lengths["text"], made.lengths["audio"], 3, 5, future=False)
    stack = net.cross["audio_to_text"]
    before, after = (stack(text, net._embedded("audio", one), at)[0] for one in (made, changed(made, "audio", 0, 4)))
    assert not torch.isclose(before, after).all(1).any()


@pytest.mark.parametrize("future_mask", [True, False])
def test_a_clip_is_predicted_as_if_it_were_alone(future_mask: bool):
    net, lengths = network(future_mask=future_mask), {"text": [2, 7], "audio": [9, 4], "vision": [3, 11]}
    made = batch(**lengths)
    together = net(made)["fusion"].prediction
    for clip in range(2):
        cut = {m: x[clip : clip + 1, : lengths[m][clip]] for m, x in made.inputs.items()}
        sizes = {m: of[clip : clip + 1] for m, of in made.lengths.items()}
        alone = Batch(("",), made.labels[clip : clip + 1], {}, cut, sizes)
        torch.testing.assert_close(net(alone)["fusion"].prediction[0], together[clip], atol=1e-5, rtol=1e-5)


def test_an_absent_modality_leaves_the_others_as_they_entered():
    net, made = network(), batch(text=[3, 3], audio=[0, 4], vision=[2, 2])
    feeds: dict[str, torch.Tensor] = {}
    for m, stack in net.memory.items():
        stack.register_forward_pre_hook(lambda _, given, m=m: feeds.update({m: given[0]}))
    joined: list[torch.Tensor] = []
    net.residual.register_forward_pre_hook(lambda _, given: joined.append(given[0]))
    prediction = net(made)["fusion"].prediction
    entered = net._embedded("text", made)
    torch.testing.assert_close(feeds["text"][0, :, :8], entered[0])  # from audio, which clip 0 lacks
    assert not torch.allclose(feeds["text"][0, :, 8:], entered[0])  # from vision
    assert not torch.allclose(feeds["text"][1, :, :8], entered[1])
    assert not joined[0][0, 16:32].any() and joined[0][1, 16:32].any()  # audio's own last step
    torch.testing.assert_close(net(changed(made, "audio", 0, 2))["fusion"].prediction, prediction)


def test_with_one_modality_the_self_attention_stack_reads_it_at_once():
    net, made = network(without=("audio", "vision")), batch(text=[3])
    assert not net.cross and net.predict.in_features == 8
    at = mask(made.lengths["text"], made.lengths["text"], 3, 3, future=True)
    end = net.memory["text"](net._embedded("text", made), None, at)[:, 2]
    torch.testing.assert_close(net(made)["fusion"].feature, end + net.residual(end))


def test_layers_and_dropouts_are_where_the_parameters_put_them():
    attention, dropout = {"text": 0.1, "audio": 0.2, "vision": 0.3}, {"relu": 0.4, "residual": 0.5}
    net = network(attention=attention, dropout=ARCHITECTURE["dropout"] | dropout)
    assert len(net.cross) == 6
    for pair, stack in net.cross.items():
        source, target = pair.split("_to_")
        assert source != target and len(stack.layers) == 2
        assert all(layer.attend.dropout == attention[source] for layer in stack.layers)
    for memory in net.memory.values():
        assert len(memory.layers) == 3  # at least
        assert all(layer.attend.dropout == attention["text"] for layer in memory.layers)
        assert {(layer.feed[3].p, layer.dropout.p) for layer in memory.layers} == {(0.4, 0.5)}
    assert len(network(levels=5).memory["text"].layers) == 5


def test_the_loss_is_the_mean_absolute_error():
    net, made = network(), batch(text=[3, 2], audio=[2, 2], vision=[2, 2])
    output = net(made)
    expected = (output["fusion"].prediction - made.labels).abs().mean()
    assert net.loss(output, made).keys() == {"fusion"}
    torch.testing.assert_close(net.loss(output, made)["fusion"], expected)


def test_heads_must_divide_the_width():
    with pytest.raises(ParamsError, match="width 8 and 3 heads. Set width to a multiple of heads"):
        network(heads=3)


def test_the_convolution_sees_zeros_where_there_is_padding():
    net, made = network(), batch(text=[2], audio=[3], vision=[2])
    more = torch.cat([made.inputs["audio"], torch.full((1, 2, 3), 7.0)], 1)
    kernel = net.convolve["audio"].weight
    expected = conv1d(made.inputs["audio"].transpose(1, 2), kernel, padding=1)[0].T * sqrt(8) + positions(3, 8)
    padded = replace(made, inputs=made.inputs | {"audio": more})
    torch.testing.assert_close(net._embedded("audio", padded)[0, :3], expected)
