"""BERT over packed tokens against transformers' own BertModel over padded rows."""

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from transformers import BertModel, __version__
from transformers.models.bert import modeling_bert

from model.encoders import packed
from model.encoders.layers import TextEncoder, TokenVectors
from tests import tiny

LENGTHS = st.lists(st.integers(1, 9), min_size=1, max_size=6)


def batch(lengths: list[int], padding: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids (B, L), rows filled with 0, and lengths (B,)."""
    ids = torch.zeros(len(lengths), max(lengths) + padding, dtype=torch.long)
    generator = torch.Generator().manual_seed(sum(lengths))
    for row, length in zip(ids, lengths, strict=True):
        row[:length] = torch.randint(3, 60, (length,), generator=generator)
    return ids, torch.tensor(lengths)


def padded(bert: BertModel, ids: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    real = torch.arange(ids.shape[1]) < lengths[:, None]
    return bert(input_ids=ids, attention_mask=real.long()).last_hidden_state * real[..., None]


@settings(deadline=None, max_examples=40)
@given(LENGTHS, st.integers(0, 3))
def test_token_vectors_are_those_of_padded_rows(lengths: list[int], padding: int):
    bert = tiny.bert().eval()
    ids, real = batch(lengths, padding)
    expected = padded(bert, ids, real)
    torch.testing.assert_close(packed.tokens(bert, ids, packed.packing(real, ids.shape[1])), expected)
    torch.testing.assert_close(packed.first_tokens(bert, ids, packed.packing(real, ids.shape[1])), expected[:, 0])


@pytest.mark.parametrize("first_alone", [False, True])
def test_gradients_are_those_of_padded_rows(first_alone: bool):
    ids, real = batch([5, 1, 8, 3], padding=2)
    packing = packed.packing(real, ids.shape[1])
    reader: Callable[[BertModel], torch.Tensor] = (
        (lambda bert: packed.first_tokens(bert, ids, packing))
        if first_alone
        else (lambda bert: packed.tokens(bert, ids, packing))
    )
    reference: Callable[[BertModel], torch.Tensor] = (
        (lambda bert: padded(bert, ids, real)[:, 0]) if first_alone else (lambda bert: padded(bert, ids, real))
    )
    found, expected = (_gradients(make) for make in (reader, reference))
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        worst = (gradient - expected[name]).abs().max() / expected[name].abs().max()
        assert worst < 1e-5, name


def test_dropout_is_on_in_training_alone():
    ids, real = batch([5, 1, 8, 3])
    bert = tiny.bert()
    bert.config.attention_probs_dropout_prob = bert.config.hidden_dropout_prob = 0.5
    bert = BertModel(bert.config, add_pooling_layer=False)
    packing = packed.packing(real, ids.shape[1])
    for read in (packed.tokens, packed.first_tokens):
        assert not torch.equal(read(bert.train(), ids, packing), read(bert, ids, packing))
        assert torch.equal(read(bert.eval(), ids, packing), read(bert, ids, packing))


@pytest.mark.parametrize("encoder", [TokenVectors, TextEncoder])
def test_a_clip_without_tokens_is_zeros_and_changes_no_other(encoder: type[TokenVectors]):
    network = encoder(tiny.dims(tiny.bert())).eval()
    ids, real = batch([4, 6, 2])
    alone = network(ids, real)
    ids = torch.cat([ids, torch.zeros(1, 6, dtype=torch.long)])
    found = network(ids, torch.cat([real, torch.tensor([0])]))
    assert not found[-1].any()
    torch.testing.assert_close(found[:-1], alone)


def test_the_walk_through_bert_fits_the_installed_transformers():
    why = packed._difference(tiny.bert())
    assert why is None, f"transformers {__version__}: packed._walk must be fitted to this version's BertLayer. {why}"


def renamed(monkeypatch: pytest.MonkeyPatch) -> None:
    bert_init = modeling_bert.BertSelfAttention.__init__

    def init(self: nn.Module, *arguments: Any, **named: Any) -> None:
        bert_init(self, *arguments, **named)
        self.query_projection = self._modules.pop("query")

    monkeypatch.setattr(modeling_bert.BertSelfAttention, "__init__", init)
    monkeypatch.setattr(
        modeling_bert.BertSelfAttention,
        "forward",
        lambda self, x, attention_mask=None, **named: _attention(self, self.query_projection, x, attention_mask),
    )


def scaled_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        modeling_bert.BertSelfAttention,
        "forward",
        lambda self, x, attention_mask=None, **named: _attention(self, self.query, 9 * x, attention_mask),
    )


def _attention(module: Any, query: nn.Module, x: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, None]:
    projected = (each(x).unflatten(-1, (2, -1)).transpose(1, 2) for each in (query, module.key, module.value))
    return nn.functional.scaled_dot_product_attention(*projected, mask).transpose(1, 2).flatten(2), None


@pytest.mark.parametrize(
    ("change", "said"), [(renamed, "AttributeError: .*query"), (scaled_otherwise, "numbers differ")]
)
def test_a_transformers_with_another_inside_is_named_and_runs_on_padded_rows(
    change: Callable[[pytest.MonkeyPatch], None],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    change(monkeypatch)
    packed._warn.cache_clear()
    bert = tiny.bert().train()
    ids, real = batch([4, 6, 2])
    packing = packed.packing(real, ids.shape[1])
    for _ in range(2):
        assert torch.equal(packed.tokens(bert, ids, packing), padded(bert, ids, real))
        assert torch.equal(packed.first_tokens(bert, ids, packing), padded(bert, ids, real)[:, 0])
    assert bert.training and all(module.training for module in bert.modules())
    warned = capsys.readouterr().err
    assert warned.count("\n") == 1 and re.search(rf"in transformers {re.escape(__version__)} .*{said}", warned), warned


def test_the_trial_of_a_bert_draws_no_random_number():
    torch.manual_seed(5)
    bert = tiny.bert().train()
    before = torch.get_rng_state()
    assert packed._walkable(bert) and torch.equal(before, torch.get_rng_state())


def _gradients(read: Callable[[BertModel], torch.Tensor]) -> dict[str, torch.Tensor]:
    """Of every parameter of a BERT that had a part in it."""
    bert = tiny.bert().eval()
    states = read(bert)
    (states * torch.randn(states.shape, generator=torch.Generator().manual_seed(1))).sum().backward()
    return {name: x.grad for name, x in bert.named_parameters() if x.grad is not None and x.grad.abs().max() > 1e-4}
