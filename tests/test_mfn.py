"""MFN's gated memory, MFM's factors and its discrepancy, and how frames become a frame a token."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model.encoders.layers import aligned, parts, vectors
from model.networks.mfm import mmd_to_normal
from tests import networks


def test_the_memory_follows_the_equations_step_by_step():
    net, batch = networks.network("mfn"), networks.clips("mfn").batch([2])
    fusion, sequences = net.fusion, aligned(batch, vectors(net.tokens, batch))
    h = {m: torch.zeros(1, cell.hidden_size) for m, cell in fusion.cells.items()}
    c, u = dict(h), torch.zeros(1, fusion.memory)
    for step in range(int(sequences.lengths[0])):
        before = torch.cat(list(c.values()), 1)
        for m, cell in fusion.cells.items():
            h[m], c[m] = cell(sequences.inputs[m][:, step], (h[m], c[m]))
        window = torch.cat([before, *c.values()], 1)  # c of t - 1 and t
        attended = torch.softmax(fusion.attention(window), 1) * window
        gates = [torch.sigmoid(gate(torch.cat([attended, u], 1))) for gate in (fusion.retain, fusion.update)]
        u = gates[0] * u + gates[1] * torch.tanh(fusion.candidate(attended))
    torch.testing.assert_close(net(batch)["fusion"].feature, torch.cat([*h.values(), u], 1))


@pytest.mark.parametrize(("retain", "update"), [(50.0, -50.0), (-50.0, 50.0)])
def test_the_gates_keep_or_replace(retain: float, update: float):
    fusion = networks.network("mfn").fusion
    for gate, bias in ((fusion.retain, retain), (fusion.update, update)):
        torch.nn.init.zeros_(gate[-1].weight)
        torch.nn.init.constant_(gate[-1].bias, bias)
    c, u = torch.randn(3, 36), torch.randn(3, 6)
    candidate = torch.tanh(fusion.candidate(torch.softmax(fusion.attention(c), 1) * c))
    torch.testing.assert_close(fusion.remember(c, u), u if retain > 0 else candidate)


def test_aligned_frames_stay_as_they_are():
    x = torch.randn(2, 5, 3)
    lengths = torch.tensor([5, 3])
    expected = x.clone()
    expected[1, 3:] = 0
    torch.testing.assert_close(parts(x, lengths, lengths, 5), expected)


@given(st.integers(1, 40), st.integers(1, 12))
def test_parts_are_torchs_adaptive_average(frames: int, steps: int):
    x = torch.from_numpy(np.random.default_rng(frames).normal(size=(1, frames + 4, 2))).float()
    expected = torch.nn.functional.adaptive_avg_pool1d(x[:, :frames].transpose(1, 2), steps).transpose(1, 2)
    found = parts(x, torch.tensor([frames]), torch.tensor([steps]), steps + 2)
    torch.testing.assert_close(found[:, :steps], expected, atol=1e-5, rtol=1e-5)
    assert not found[:, steps:].any()


def test_a_clip_without_text_has_the_steps_of_its_longest_modality():
    net, batch = networks.network("mfn"), networks.clips("mfn", absent=[(0, "text")]).batch([0, 1])
    made = aligned(batch, vectors(net.tokens, batch))
    assert made.lengths[0] == max(batch.lengths["audio"][0], batch.lengths["vision"][0])
    assert made.lengths[1] == batch.lengths["text"][1]
    assert not made.inputs["text"][0].any()


@pytest.mark.parametrize("d", [2, 8])
def test_mmd_is_what_draws_from_the_normal_tend_to(d: int):
    rng = np.random.default_rng(0)
    z = rng.normal(0.5, 1.5, (40, d))
    draws = rng.normal(size=(4000, d))

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:  # the released code's: mean square over columns, / d
        return np.exp(-((a[:, None] - b[None]) ** 2).mean(2) / d)

    pairs = kernel(draws[:2000], draws[2000:]).mean()
    expected = kernel(z, z).mean() - 2 * kernel(z, draws).mean() + pairs
    found = mmd_to_normal(torch.from_numpy(z).float()).item()
    assert found == pytest.approx(expected, rel=0.05)
    assert 0 <= mmd_to_normal(torch.from_numpy(draws).float()).item() < 0.01 * found


def test_mfms_loss_is_its_terms():
    net, batch = networks.network("mfm"), networks.clips("mfm", absent=[(5, "audio")]).batch([0, 1])
    output = net(batch)
    terms = net.loss(output, batch)
    assert set(terms) == {"fusion", "mmd", *(f"reconstruction_{m}" for m in ("text", "audio", "vision"))}
    torch.testing.assert_close(terms["fusion"], (output["fusion"].prediction - batch.labels).abs().mean())
    z = [output.hidden[f"z_{name}"] for name in ("fusion", "text", "audio", "vision")]
    torch.testing.assert_close(terms["mmd"], 0.1 * sum(mmd_to_normal(each) for each in z))
    assert output.hidden["error_audio"][1] == 0  # nothing to make again


def test_a_decoder_sees_the_factors_once_and_then_itself():
    decode = networks.network("mfm").decoders["audio"]
    f = torch.randn(1, decode.cell.input_size)
    h, c = decode.cell(f, (torch.zeros_like(f), torch.zeros_like(f)))
    second, _ = decode.cell(h, (h, c))
    torch.testing.assert_close(decode(f, 2)[0], torch.cat([decode.project(h), decode.project(second)]))
