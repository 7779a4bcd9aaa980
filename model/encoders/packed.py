"""BERT over a batch's real tokens alone, all clips in one row, instead of over rows padded to the longest clip.

All of it but attention works token by token; for that alone the clips lie apart, padded to the longest. A reader of
each clip's first token alone has the last layer computed for no other. What comes out is what transformers' BertModel
makes of padded rows, rounding aside; the modules, and so weights, dropout and gradients, are its own.

The inside of BertModel is private to transformers. So each BERT is first tried with a few tokens (`_walkable`); where that
gives other numbers than BertModel itself, or fails, BertModel is called on padded rows instead.
"""

import sys
from functools import cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from transformers import BertModel

TOLERANCE = 1e-3  # of the largest number, between what the two ways give
_tried: "WeakKeyDictionary[BertModel, bool]" = WeakKeyDictionary()


class Packing(NamedTuple):
    """Where the N real tokens of B clips lie in rows padded to L.

    places: (N,) in B * L; first: (B,) of each clip's first token in N; real: (B, L) bool, what is no padding.
    """

    places: torch.Tensor
    first: torch.Tensor
    real: torch.Tensor


def packing(lengths: torch.Tensor, longest: int) -> Packing:
    """lengths: (B,), each 1 at least and `longest` at most."""
    real = torch.arange(longest, device=lengths.device) < lengths[:, None]
    return Packing(real.flatten().nonzero()[:, 0], lengths.cumsum(0) - lengths, real)


def tokens(bert: "BertModel", ids: torch.Tensor, packed: Packing) -> torch.Tensor:
    """(B, L) token ids -> (B, L, d), the last layer; 0 where there is padding."""
    return (_walk if _walkable(bert) else _padded)(bert, ids, packed)


def first_tokens(bert: "BertModel", ids: torch.Tensor, packed: Packing) -> torch.Tensor:
    """(B, L) token ids -> (B, d), the last layer at each clip's first token."""
    if _walkable(bert):
        return _walk(bert, ids, packed, first_alone=True)
    return _padded(bert, ids, packed)[:, 0]


def _padded(bert: "BertModel", ids: torch.Tensor, packed: Packing) -> torch.Tensor:
    states = bert(input_ids=ids, attention_mask=packed.real.long()).last_hidden_state
    return states * packed.real[..., None]  # (B, L, d)


def _walkable(bert: "BertModel") -> bool:
    """Whether this file knows the inside of this BERT; a warning where it does not."""
    if bert not in _tried:
        why = _difference(bert)
        _tried[bert] = why is None
        if why:
            _warn(why)
    return _tried[bert]


def _difference(bert: "BertModel") -> str | None:
    """What parts the two ways over two clips, of two tokens and of three; None where nothing does."""
    device = next(bert.parameters()).device
    ids = torch.tensor([[2, 3, 0], [4, 3, 2]], device=device)
    packed = packing(torch.tensor([2, 3], device=device), 3)
    training = bert.training
    bert.eval()
    try:
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            expected = _padded(bert, ids, packed)
            away = max(
                (_walk(bert, ids, packed) - expected).abs().max().item(),
                (_walk(bert, ids, packed, first_alone=True) - expected[:, 0]).abs().max().item(),
            )
        return None if away <= TOLERANCE * expected.abs().max().item() else f"numbers differ by {away:.2g}"
    except (AttributeError, TypeError, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"
    finally:
        bert.train(training)


@cache
def _warn(why: str) -> None:
    print(
        f"text encoder: the inside of BERT in transformers {version('transformers')} is not as expected ({why}). BertModel runs on "
        "padded rows instead: the same numbers, rounding aside, but slower.",
        file=sys.stderr,
        flush=True,
    )


def _walk(bert: "BertModel", ids: torch.Tensor, packed: Packing, first_alone: bool = False) -> torch.Tensor:
    """(B, L) token ids -> (B, L, d), or (B, d) of the first tokens."""
    positions = packed.places % ids.shape[1]
    x = bert.embeddings(input_ids=ids.flatten()[packed.places][None], position_ids=positions[None])[0]  # (N, d)
    *layers, last = bert.encoder.layer
    for layer in layers:
        x = _layer(layer, x, packed)  # (N, d)
    x = _layer(last, x, packed, first_alone)
    return x if first_alone else _Spread.apply(x, packed.places, ids.numel()).view(*ids.shape, -1)


def _layer(layer: Any, x: torch.Tensor, packed: Packing, first_alone: bool = False) -> torch.Tensor:
    """One layer over (N, d), for all tokens -> (N, d) or for the clips' first ones -> (B, d)."""
    attention = layer.attention.self
    asking = x.index_select(0, packed.first) if first_alone else x

    def heads(projected: torch.Tensor) -> torch.Tensor:
        return projected.view(len(packed.real), -1, attention.num_attention_heads, attention.attention_head_size)

    def apart(projected: torch.Tensor) -> torch.Tensor:
        return heads(_Spread.apply(projected, packed.places, packed.real.numel()))  # (B, L, heads, d / heads)

    query = attention.query(asking)
    query, key, value = (
        heads(query) if first_alone else apart(query),
        apart(attention.key(x)),
        apart(attention.value(x)),
    )
    seen = functional.scaled_dot_product_attention(
        query.transpose(1, 2),
        key.transpose(1, 2),
        value.transpose(1, 2),
        packed.real[:, None, None],
        dropout_p=attention.dropout.p if attention.training else 0.0,
    )
    seen = seen.transpose(1, 2).reshape(-1, attention.all_head_size)
    told = layer.attention.output(seen if first_alone else _Gather.apply(seen, packed.places), asking)
    return layer.output(layer.intermediate(told), told)


class _Spread(torch.autograd.Function):
    """(N, d) -> (size, d): the rows at their places, each another, and 0 elsewhere."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, places: torch.Tensor, size: int) -> torch.Tensor:
        ctx.save_for_backward(places)
        return _spread(x, places, size)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return gradients[0].index_select(0, *ctx.saved_tensors), None, None


class _Gather(torch.autograd.Function):
    """(size, d) -> (N, d): the rows at these places, each another; the other way round."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(places)
        ctx.size = len(x)
        return x.index_select(0, places)

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        (places,) = ctx.saved_tensors
        return _spread(gradients[0], places, ctx.size), None


def _spread(x: torch.Tensor, places: torch.Tensor, size: int) -> torch.Tensor:
    return x.new_zeros(size, x.shape[1]).index_copy_(0, places, x)
