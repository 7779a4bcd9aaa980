"""MFN: an LSTM for each modality, and a gated memory of what changes across them (Zadeh et al., AAAI 2018)."""

from collections.abc import Mapping
from typing import Annotated

import torch
from pydantic import PositiveInt
from torch import nn
from typing_extensions import TypedDict

from model.encoders.layers import Aligned, TokenVectors, aligned, real, vectors
from model.networks.base import BaseNetwork, Share, named
from model.records import Batch, Branch, Dims, Output


class Layer(TypedDict):
    """A layer with ReLU, and what is dropped of it."""

    width: PositiveInt
    dropout: Share


LAYERS = ("attention", "candidate", "retain", "update", "output")


class Network(BaseNetwork):
    """Memory Fusion Network, "Memory Fusion Network for Multi-view Sequential Learning": a system of LSTMs, the
    delta-memory attention over c of the last two steps, and the multi-view gated memory. Aligned data, one frame a
    token (of other data the means: layers.aligned), token vectors.

    hidden: of each LSTM; memory: columns of u; layers: of the networks D_a (attention), D_u (candidate), D_gamma1
    (retain), D_gamma2 (update) and of the output. Loss: mean absolute error. Steps past a clip's end change nothing;
    MMSA averages audio and vision over time, padding included, before they are cut into steps: the paper does not.
    """

    TITLE = "MFN"
    A_FRAME_A_TOKEN = True

    def __init__(
        self,
        dims: Dims,
        hidden: Annotated[Mapping[str, PositiveInt], named("text", "audio", "vision")],
        memory: PositiveInt,
        layers: Annotated[Mapping[str, Layer], named(*LAYERS)],
    ) -> None:
        super().__init__()
        self.tokens = TokenVectors(dims)
        self.fusion = MemoryFusion(dims, hidden, memory, layers)
        self.predict = mlp(self.fusion.width, layers["output"], 1)

    def forward(self, batch: Batch) -> Output:
        feature = self.fusion(aligned(batch, vectors(self.tokens, batch)))  # (B, h_t + h_a + h_v + memory)
        return Output({"fusion": Branch(feature, self.predict(feature)[:, 0].float())})

    def loss(self, output: Output, batch: Batch) -> dict[str, torch.Tensor]:
        return {"fusion": (output["fusion"].prediction - batch.labels).abs().mean()}


class MemoryFusion(nn.Module):
    """The network but for its output: aligned sequences -> [h_t; h_a; h_v; u] of each clip's last step."""

    def __init__(self, dims: Dims, hidden: Mapping[str, int], memory: int, layers: Mapping[str, Layer]) -> None:
        super().__init__()
        self.cells = nn.ModuleDict({m: nn.LSTMCell(columns, hidden[m]) for m, columns in dims.widths.items()})
        self.widths, self.memory = {m: hidden[m] for m in dims.widths}, memory
        states = sum(self.widths.values())
        self.attention = mlp(2 * states, layers["attention"], 2 * states)  # D_a
        self.candidate = mlp(2 * states, layers["candidate"], memory)  # D_u
        self.retain = mlp(2 * states + memory, layers["retain"], memory)  # D_gamma1
        self.update = mlp(2 * states + memory, layers["update"], memory)  # D_gamma2
        self.width = states + memory

    def forward(self, sequences: Aligned) -> torch.Tensor:
        x = sequences.inputs
        first = next(iter(x.values()))  # (B, S, D)
        h = {m: first.new_zeros(len(first), width) for m, width in self.widths.items()}  # (B, h_s)
        c, u = dict(h), first.new_zeros(len(first), self.memory)
        goes_on = real(sequences.lengths, first.shape[1])[..., None]  # (B, S, 1)
        for step in range(first.shape[1]):
            now = {m: cell(x[m][:, step], (h[m], c[m])) for m, cell in self.cells.items()}
            before, after = torch.cat(list(c.values()), 1), torch.cat([state for _, state in now.values()], 1)
            going = goes_on[:, step]
            u = torch.where(going, self.remember(torch.cat([before, after], 1), u), u)
            h = {m: torch.where(going, now[m][0], h[m]) for m in h}
            c = {m: torch.where(going, now[m][1], c[m]) for m in c}
        return torch.cat([*h.values(), u], 1)

    def remember(self, c: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
        """One step of the memory. c: (B, 2 sum h_s), the LSTMs' memories at t - 1 and t; u: (B, memory) at t - 1."""
        attended = c * self.attention(c).softmax(1)  # c hat
        candidate = self.candidate(attended).tanh()  # u hat
        both = torch.cat([attended, u], 1)
        return self.retain(both).sigmoid() * u + self.update(both).sigmoid() * candidate


def mlp(columns: int, layer: Layer, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(columns, layer["width"]), nn.ReLU(), nn.Dropout(layer["dropout"]), nn.Linear(layer["width"], outputs)
    )
