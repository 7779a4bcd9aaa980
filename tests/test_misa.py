"""MISA's losses by hand, its bi-directional LSTMs, and what a clip without a modality has no part in."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from math import sqrt
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.functional import layer_norm
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from model.encoders.layers import real
from model.networks.misa import BothWays, FrameEncoder, Network, discrepancy, orthogonality
from model.records import Batch
from tests import tiny

ARCHITECTURE: dict[str, Any] = {
    "hidden": 8,
    "dropout": 0.0,
    "weights": {"difference": 0.2, "similarity": 0.3, "reconstruction": 0.5},
}
MODALITIES = ("text", "audio", "vision")


def network(without: Sequence[str] = (), **changes: Any) -> Network:
    widths = {m: 0 if m in without else width for m, width in tiny.WIDTHS.items()}
    dims = tiny.dims(None if "text" in without else tiny.bert(), **widths)
    torch.manual_seed(0)
    return Network(dims, **ARCHITECTURE | changes).eval()


def batch(absent: Sequence[tuple[int, str]] = (), without: Sequence[str] = ()) -> Batch:
    """absent: (clip of the batch, modality) pairs."""
    rows = tiny.clips(tiny.table()).rows
    table = tiny.table(absent=[(rows[clip], m) for clip, m in absent], without=without)
    return tiny.clips(table, modalities=[m for m in MODALITIES if m not in without]).batch(range(6))


def weighed(**weights: float) -> dict[str, Mapping[str, float]]:
    """Every weight 0 but these."""
    return {"weights": {"difference": 0.0, "similarity": 0.0, "reconstruction": 0.0, **weights}}


def everyone(x: torch.Tensor) -> torch.Tensor:
    return torch.ones(len(x), dtype=torch.bool)


def test_the_discrepancy_of_equal_distributions_is_nothing_and_has_a_gradient():
    x = torch.rand(5, 3, requires_grad=True)
    y = x.detach()[[3, 1, 4, 0, 2]]  # the same points in another order
    made = discrepancy(x, y, everyone(x))
    assert made.item() == pytest.approx(0, abs=1e-6)
    made = discrepancy(x, x.detach().clone(), everyone(x))
    made.backward()
    assert made.item() == 0 and x.grad is not None and not x.grad.isnan().any()


def test_the_discrepancy_of_distributions_that_differ_by_a_shift_is_the_distance_of_their_means():
    x = torch.rand(7, 2)
    made = discrepancy(x, x + torch.tensor([0.3, -0.4]), everyone(x))
    assert made.item() == pytest.approx(0.5, abs=1e-5)


def test_the_discrepancy_of_two_points_and_one():
    """m ± d has central moments d^2, 0, d^4, 0; a constant has none."""
    x = torch.tensor([[0.5 - 0.2, 0.1], [0.5 + 0.2, 0.5]])  # deviations 0.2 and 0.2, means 0.5 and 0.3
    y = torch.tensor([[0.6, 0.3], [0.6, 0.3]])
    moments = [0.1, sqrt(2) * 0.2**2, 0, sqrt(2) * 0.2**4, 0]
    assert discrepancy(x, y, everyone(x)).item() == pytest.approx(sum(moments), abs=1e-6)


def test_the_discrepancy_goes_up_to_the_fifth_moment():
    x = torch.tensor([[0.0], [0.0], [0.0], [1.0]])  # a Bernoulli of p = 1/4
    central = [0.25 * 0.75**k + 0.75 * (-0.25) ** k for k in range(2, 6)]
    made = discrepancy(x, torch.full((4, 1), 0.25), everyone(x))
    assert made.item() == pytest.approx(sum(central), abs=1e-6)


def test_orthogonal_columns_have_no_difference_loss():
    """Over the clips (1, 1, -1, -1) and (1, -1, 1, -1) have no correlation."""
    x, y = torch.tensor([[1.0, 1, -1, -1]]).T, torch.tensor([[1.0, -1, 1, -1]]).T
    assert orthogonality(3 + 2 * x, 1 - 5 * y, everyone(x)).item() == pytest.approx(0, abs=1e-10)


def test_the_difference_loss_of_equal_matrices():
    """Of (1, 0) and (0, 1), rows of zero mean and unit length are ±(1, -1) / sqrt 2, X^T X = [[1, -1], [-1, 1]]."""
    x = torch.eye(2)
    assert orthogonality(x, x, everyone(x)).item() == pytest.approx(1.0)
    assert orthogonality(x + 7, 3 * x - 1, everyone(x)).item() == pytest.approx(1.0)


def test_the_difference_loss_is_the_paper_s_over_the_square_of_the_width():
    torch.manual_seed(0)
    x, y = torch.randn(5, 3), torch.randn(5, 3)
    rows = [z - z.mean(0) for z in (x, y)]
    a, b = (torch.stack([row / row.norm() for row in z]) for z in rows)
    frobenius = sum((a[:, i] @ b[:, j]) ** 2 for i in range(3) for j in range(3))
    torch.testing.assert_close(orthogonality(x, y, everyone(x)), frobenius / 9)


@pytest.mark.parametrize("term", [orthogonality, discrepancy])
def test_only_the_clips_that_are_named_have_a_part(term: Any):
    torch.manual_seed(0)
    x, y = torch.rand(5, 3), torch.rand(5, 3)
    clips = torch.tensor([True, False, True, True, False])
    made = term(x, y, clips)
    torch.testing.assert_close(made, term(x[clips], y[clips], everyone(x[clips])))
    y[1] += 3
    torch.testing.assert_close(term(x, y, clips), made)


@pytest.mark.parametrize("term", [orthogonality, discrepancy])
@pytest.mark.parametrize("count", [0, 1])
def test_no_clips_or_one_give_a_number_and_a_gradient(term: Any, count: int):
    x, y = (torch.rand(3, 2, requires_grad=True) for _ in range(2))
    made = term(x, y, torch.arange(3) < count)
    made.backward()
    assert made.shape == () and made.isfinite() and (count or made == 0)
    for grad in (x.grad, y.grad):
        assert grad is not None and grad.isfinite().all() and not grad[count:].any()


def packed(net: BothWays) -> nn.LSTM:
    """torch's own bi-directional LSTM with the same weights."""
    made = nn.LSTM(net.onward.input_size, net.onward.hidden_size, batch_first=True, bidirectional=True)
    weights = {**net.onward.state_dict(), **{f"{name}_reverse": w for name, w in net.back.state_dict().items()}}
    made.load_state_dict(weights)
    return made


def reference(net: BothWays, x: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    states, (ends, _) = packed(net)(pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False))
    return pad_packed_sequence(states, batch_first=True, total_length=x.shape[1])[0], torch.cat(list(ends), 1)


def test_an_lstm_both_ways_is_a_packed_bidirectional_one():
    torch.manual_seed(0)
    net, x, lengths = BothWays(3, 4), torch.randn(4, 6, 3), torch.tensor([6, 1, 3, 5])
    states, ends = net(x, lengths)
    expected_states, expected_ends = reference(net, x, lengths)
    torch.testing.assert_close(states * real(lengths, 6)[..., None], expected_states)
    torch.testing.assert_close(ends, expected_ends)


def test_frames_are_the_end_states_of_two_lstms_with_a_layer_norm_between():
    torch.manual_seed(0)
    net, x, lengths = FrameEncoder(3), torch.randn(4, 6, 3), torch.tensor([6, 1, 3, 5])
    states, first = reference(net.first, x, lengths)
    _, second = reference(net.second, layer_norm(states, (6,)), lengths)
    torch.testing.assert_close(net(x, lengths), torch.cat([first, second], 1))
    assert net.width == 12


def test_text_is_the_mean_of_the_real_tokens():
    net, made = network(), batch()
    bert, ids, lengths = net.encoders["text"].tokens.bert, made.inputs["text"], made.lengths["text"]
    assert lengths.unique().numel() > 1
    found = net.encoders["text"](ids, lengths)
    for clip, length in enumerate(lengths):
        vectors = bert(input_ids=ids[clip : clip + 1, :length]).last_hidden_state[0]
        torch.testing.assert_close(found[clip], vectors.mean(0))


def test_vectors_and_prediction_follow_the_equations():
    net, made = network(), batch()
    output = net(made)
    for m in MODALITIES:
        x = net.encoders[m](made.inputs[m], made.lengths[m])
        linear, own, decoder = net.project[m][0], net.private[m][0], net.reconstruct[m]
        projected = layer_norm(torch.relu(x @ linear.weight.T + linear.bias), (8,))
        private = torch.sigmoid(projected @ own.weight.T + own.bias)
        shared = torch.sigmoid(projected @ net.shared[0].weight.T + net.shared[0].bias)
        rebuilt = (private + shared) @ decoder.weight.T + decoder.bias
        for name, expected in (
            ("projected", projected),
            ("private", private),
            ("shared", shared),
            ("rebuilt", rebuilt),
        ):
            torch.testing.assert_close(output.hidden[f"{name}_{m}"], expected)
    six = torch.stack([output.hidden[f"{part}_{m}"] for part in ("private", "shared") for m in MODALITIES])
    fusion = nn.TransformerEncoder(net.attend, 1, enable_nested_tensor=False)
    seen = torch.cat(list(fusion(six.transpose(0, 1)).transpose(0, 1)), 1)  # (B, 6h)
    feature = torch.relu(seen @ net.fuse[0].weight.T + net.fuse[0].bias)  # (B, 3h)
    torch.testing.assert_close(output["fusion"].feature, feature)
    torch.testing.assert_close(output["fusion"].prediction, feature @ net.predict.weight[0] + net.predict.bias)


def test_the_loss_is_the_squared_error_and_three_weighted_terms():
    net, made = network(), batch()
    output = net(made)
    x, clips = output.hidden, everyone(made.labels)
    pairs = list(combinations(MODALITIES, 2))
    apart = sum(orthogonality(x[f"private_{m}"], x[f"shared_{m}"], clips) for m in MODALITIES)
    apart = apart + sum(orthogonality(x[f"private_{m}"], x[f"private_{n}"], clips) for m, n in pairs)
    alike = sum(discrepancy(x[f"shared_{m}"], x[f"shared_{n}"], clips) for m, n in pairs) / 3
    rebuilt = sum(((x[f"rebuilt_{m}"] - x[f"projected_{m}"]) ** 2).mean() for m in MODALITIES) / 3
    terms = net.loss(output, made)
    expected = {
        "fusion": ((output["fusion"].prediction - made.labels) ** 2).mean(),
        "difference": 0.2 * apart,
        "similarity": 0.3 * alike,
        "reconstruction": 0.5 * rebuilt,
    }
    assert terms.keys() == expected.keys()
    for name, value in expected.items():
        assert value > 0
        torch.testing.assert_close(terms[name], value)


def test_a_clip_without_a_modality_takes_no_part_in_its_terms():
    net, made = network(), batch(absent=[(1, "audio"), (4, "audio")])
    output = net(made)
    for part in ("projected", "private", "shared"):
        assert not output.hidden[f"{part}_audio"][[1, 4]].any()
    x, with_audio = output.hidden, made.present("audio")
    few = {name: vectors[with_audio] for name, vectors in x.items()}
    count = torch.ones(4, dtype=torch.bool)
    apart = sum(orthogonality(x[f"private_{m}"], x[f"shared_{m}"], made.present(m)) for m in MODALITIES)
    apart = apart + orthogonality(x["private_text"], x["private_vision"], everyone(made.labels))
    apart = apart + sum(orthogonality(few["private_audio"], few[f"private_{m}"], count) for m in ("text", "vision"))
    alike = discrepancy(x["shared_text"], x["shared_vision"], everyone(made.labels))
    alike = alike + sum(discrepancy(few["shared_audio"], few[f"shared_{m}"], count) for m in ("text", "vision"))
    rebuilt = sum(((x[f"rebuilt_{m}"] - x[f"projected_{m}"]) ** 2).mean() for m in ("text", "vision"))
    rebuilt = rebuilt + ((few["rebuilt_audio"] - few["projected_audio"]) ** 2).mean()
    terms = net.loss(output, made)
    torch.testing.assert_close(terms["difference"], 0.2 * apart)
    torch.testing.assert_close(terms["similarity"], 0.3 * alike / 3)
    torch.testing.assert_close(terms["reconstruction"], 0.5 * rebuilt / 3)


def test_what_stands_in_an_absent_modality_does_not_matter():
    net, made = network(), batch(absent=[(1, "vision")])
    other = made.inputs["vision"].clone()
    other[1] = 9.0
    output, changed = net(made), net(replace(made, inputs=made.inputs | {"vision": other}))
    torch.testing.assert_close(output["fusion"].prediction, changed["fusion"].prediction)
    for term, value in net.loss(output, made).items():
        torch.testing.assert_close(net.loss(changed, made)[term], value)


def test_a_modality_that_no_clip_of_the_batch_has_leaves_the_terms_of_the_others():
    net, made = network(**weighed(similarity=1.0)), batch(absent=[(clip, "audio") for clip in range(6)])
    output = net(made)
    terms = net.loss(output, made)
    x = output.hidden
    alone = discrepancy(x["shared_text"], x["shared_vision"], everyone(made.labels)) / 3
    torch.testing.assert_close(terms["similarity"], alone)
    sum(terms.values()).backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in net.parameters())


def test_text_alone_has_a_difference_and_a_reconstruction_but_no_similarity():
    net, made = network(without=("audio", "vision")), batch(without=("audio", "vision"))
    output = net(made)
    x, terms = output.hidden, net.loss(output, made)
    assert terms["similarity"].item() == 0
    apart = orthogonality(x["private_text"], x["shared_text"], everyone(made.labels))
    torch.testing.assert_close(terms["difference"], 0.2 * apart)
    torch.testing.assert_close(terms["reconstruction"], 0.5 * ((x["rebuilt_text"] - x["projected_text"]) ** 2).mean())
    assert net.fuse[0].in_features == 16 and net.predict.in_features == 8


def test_audio_is_read_to_its_own_end():
    """Its last frame matters although the clip has fewer tokens than frames."""
    net, made = network(), batch()
    clip = int((made.lengths["audio"] - made.lengths["text"]).argmax())
    assert made.lengths["audio"][clip] > made.lengths["text"][clip]
    other = made.inputs["audio"].clone()
    other[clip, made.lengths["audio"][clip] - 1] += 5
    changed = net(replace(made, inputs=made.inputs | {"audio": other}))
    assert changed["fusion"].prediction[clip] != net(made)["fusion"].prediction[clip]
