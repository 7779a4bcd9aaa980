"""MulT: cross-modal transformers between sequences that need no alignment (Tsai et al., ACL 2019)."""

from collections.abc import Mapping
from itertools import permutations
from math import sqrt
from typing import Annotated

import torch
from pydantic import PositiveInt
from torch import nn

from model.encoders.layers import TokenVectors, last, real, where_present
from model.networks.base import BaseNetwork, Share, named
from model.records import Batch, Branch, Dims, Output
from pipeline.errors import ParamsError


class Layer(nn.Module):
    """A layer, pre-norm: attention (1) and a feed-forward net of width 4d, each added to what it was given."""

    def __init__(self, width: int, heads: int, attention: float, relu: float, residual: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.attend = nn.MultiheadAttention(width, heads, dropout=attention, batch_first=True)
        self.feed = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.ReLU(), nn.Dropout(relu), nn.Linear(4 * width, width)
        )
        self.dropout = nn.Dropout(residual)

    def forward(self, target: torch.Tensor, source: torch.Tensor, barred: torch.Tensor) -> torch.Tensor:
        keys = self.norm(source)  # (B, S, d)
        seen, _ = self.attend(self.norm(target), keys, keys, attn_mask=barred, need_weights=False)  # (B, T, d)
        target = target + self.dropout(seen)
        return target + self.dropout(self.feed(target))


class Stack(nn.Module):
    """Layers, then a LayerNorm. Keys and values are the source as it entered, or the target itself without one.

    hidden: (B, T, S) bool, where a step of the target may not look.
    """

    def __init__(self, layers: int, width: int, heads: int, attention: float, relu: float, residual: float) -> None:
        super().__init__()
        self.heads = heads
        self.layers = nn.ModuleList(Layer(width, heads, attention, relu, residual) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(self, target: torch.Tensor, source: torch.Tensor | None, hidden: torch.Tensor) -> torch.Tensor:
        barred = torch.zeros(hidden.shape, device=hidden.device).masked_fill(hidden, -torch.inf)
        barred = barred.repeat_interleave(self.heads, dim=0)  # (B * heads, T, S); once a stack, not once a layer
        for layer in self.layers:
            target = layer(target, target if source is None else source, barred)
        return self.norm(target)  # (B, T, d)


class Network(BaseNetwork):
    """Takes any lengths, and text as vectors or as ids. Paper, section 3.2: temporal convolutions and positions, a
    cross-modal stack for each ordered pair, a self-attention stack for each target, the last step of each.

    width, heads: d and the heads of an attention; levels: layers of a cross-modal stack, and of a self-attention stack
    where they are 3 at least; kernels: of the convolutions; attention: dropouts of the attention weights, by source
    (a self-attention stack has the text's); dropout: `text` of the token vectors, `embedding` of what enters the
    stacks, `relu` inside the feed-forward nets, `residual` of what is added to the stream, `output` of the last layers;
    future_mask: whether a step sees only what is not later than it.

    From the paper, and unlike MMSA: convolutions that keep the length, and positions, added once. From the released
    code, where the paper is silent or differs: scale sqrt(d); pre-norm whose residual is not normalised; one
    LayerNorm for query and keys; the future mask; the dropouts. Unlike the released code, the real lengths enter the
    mask and the last real step is taken, so padding has no part, and a modality is embedded once for all its stacks.
    Where a clip lacks the source, a cross-modal stack leaves the target as it entered; a target that is absent is 0.
    With one modality there are no pairs: the self-attention stack reads what would have entered them.
    """

    TITLE = "MulT"

    def __init__(
        self,
        dims: Dims,
        width: PositiveInt,
        heads: PositiveInt,
        levels: PositiveInt,
        kernels: Annotated[Mapping[str, PositiveInt], named("text", "audio", "vision")],
        attention: Annotated[Mapping[str, Share], named("text", "audio", "vision")],
        dropout: Annotated[Mapping[str, Share], named("text", "embedding", "relu", "residual", "output")],
        future_mask: bool,
    ) -> None:
        super().__init__()
        if width % heads:
            raise ParamsError(
                f"networks/mult.yaml has width {width} and {heads} heads. Set width to a multiple of heads."
            )
        modalities = list(dims.widths)
        inside = dropout["relu"], dropout["residual"]
        joined = width * max(1, len(modalities) - 1)
        self.future_mask = future_mask
        self.tokens = TokenVectors(dims)
        self.text_dropout = nn.Dropout(dropout["text"])
        self.convolve = nn.ModuleDict(
            {m: nn.Conv1d(columns, width, kernels[m], padding="same", bias=False) for m, columns in dims.widths.items()}
        )
        self.embedding_dropout = nn.Dropout(dropout["embedding"])
        self.cross = nn.ModuleDict(
            {
                f"{source}_to_{target}": Stack(levels, width, heads, attention[source], *inside)
                for target, source in permutations(modalities, 2)
            }
        )
        self.memory = nn.ModuleDict(
            {target: Stack(max(levels, 3), joined, heads, attention["text"], *inside) for target in modalities}
        )
        final = joined * len(modalities)
        self.residual = nn.Sequential(
            nn.Linear(final, final), nn.ReLU(), nn.Dropout(dropout["output"]), nn.Linear(final, final)
        )
        self.predict = nn.Linear(final, 1)

    def forward(self, batch: Batch) -> Output:
        embedded = {m: self._embedded(m, batch) for m in self.convolve}  # (B, T_m, d) each
        ends = [self._target(target, embedded, batch) for target in embedded]  # (B, (M-1)d) each
        joined = torch.cat(ends, dim=1)  # (B, M(M-1)d)
        feature = joined + self.residual(joined)
        return Output({"fusion": Branch(feature, self.predict(feature)[:, 0].float())})

    def loss(self, output: Output, batch: Batch) -> dict[str, torch.Tensor]:
        return {"fusion": (output["fusion"].prediction - batch.labels).abs().mean()}

    def _embedded(self, modality: str, batch: Batch) -> torch.Tensor:
        """Convolution, scale and positions."""
        x, lengths = batch.inputs[modality], batch.lengths[modality]
        if modality == "text":
            x = self.text_dropout(self.tokens(x, lengths))
        x = x * real(lengths, x.shape[1])[..., None]  # (B, T, D)
        x = self.convolve[modality](x.transpose(1, 2)).transpose(1, 2)  # (B, T, d)
        return self.embedding_dropout(sqrt(x.shape[2]) * x + positions(x.shape[1], x.shape[2]).to(x.device))

    def _target(self, target: str, embedded: Mapping[str, torch.Tensor], batch: Batch) -> torch.Tensor:
        """The last step of all that one modality has learned from the others."""
        x, lengths = embedded[target], batch.lengths[target]

        def hidden(source: str) -> torch.Tensor:
            return mask(lengths, batch.lengths[source], x.shape[1], embedded[source].shape[1], self.future_mask)

        learned = []
        for source in (m for m in embedded if m != target):
            there = batch.present(source)[:, None, None]
            stack = self.cross[f"{source}_to_{target}"]
            learned.append(torch.where(there, stack(x, embedded[source], hidden(source)), x))  # (B, T, d)
        joined = torch.cat(learned, dim=2) if learned else x  # (B, T, (M-1)d)
        return where_present(last(self.memory[target](joined, None, hidden(target)), lengths), lengths)


def positions(length: int, width: int) -> torch.Tensor:
    """(T, d), the paper's appendix A: PE[i, 2j] = sin(i / 10000^(2j/d)), PE[i, 2j+1] = cos(the same), i from 1."""
    even = torch.arange(0, width, 2)
    angles = torch.arange(1, length + 1)[:, None] / 10000 ** (even / width)  # (T, ceil(d/2))
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :width]


def mask(targets: torch.Tensor, sources: torch.Tensor, rows: int, columns: int, future: bool) -> torch.Tensor:
    """(B, rows, columns), True where a step of the target may not look at a step of the source.

    targets, sources: (B,) real lengths; 0 counts as 1, so that no step looks at nothing.
    future: step i may look at steps up to i + |difference of the two lengths|.
    """
    targets, sources = targets.clamp(min=1), sources.clamp(min=1)
    padding = ~real(sources, columns)[:, None]  # (B, 1, S)
    if not future:
        return padding.expand(-1, rows, -1)
    ahead = (targets - sources).abs()[:, None] + torch.arange(rows, device=targets.device)  # (B, T)
    return padding | (torch.arange(columns, device=targets.device) > ahead[..., None])
