"""MFM: factors that tell the label, and factors that tell each modality apart (Tsai et al., ICLR 2019)."""

import math
from collections.abc import Mapping
from typing import Annotated

import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import nn

from model.encoders.layers import Aligned, TokenVectors, aligned, last, real, vectors
from model.networks.base import BaseNetwork, Share, named
from model.networks.mfn import LAYERS, Layer, MemoryFusion
from model.records import Batch, Branch, Dims, Output

MODALITIES = ("text", "audio", "vision")
LABEL = "fusion"  # the factor of the label


class Network(BaseNetwork):
    """Multimodal Factorization Model, "Learning Factorized Multimodal Representations" (MFMM in Self-MM's paper):
    z_y of MFN's last states and z_s of an LSTM a modality, each made a factor f by G; from f_y the label, from f_y and
    f_s the modality's sequence; the z are drawn to N(0, I) by MMD, as in (4). Aligned data, one frame a token (of
    other data the means: layers.aligned), token vectors.

    hidden, memory, layers: as MFN's, and the hidden states of the modalities' LSTMs; z, f: columns (fusion: z_y, f_y);
    dropout: within G, and `output` within the two layers that predict; reconstruction, mmd: weights of the loss. The
    loss: mean absolute error + mmd * the sum over the z of MMD + the reconstructions' mean squared error over real
    steps, weighted. MMD is that of the released code's kernel, but in closed form (the code draws from N(0, I)).
    """

    TITLE = "MFM"
    A_FRAME_A_TOKEN = True

    def __init__(
        self,
        dims: Dims,
        hidden: Annotated[Mapping[str, PositiveInt], named(*MODALITIES)],
        memory: PositiveInt,
        layers: Annotated[Mapping[str, Layer], named(*LAYERS)],
        z: Annotated[Mapping[str, PositiveInt], named(LABEL, *MODALITIES)],
        f: Annotated[Mapping[str, PositiveInt], named(LABEL, *MODALITIES)],
        dropout: Annotated[Mapping[str, Share], named(LABEL, *MODALITIES, "output")],
        reconstruction: Annotated[Mapping[str, NonNegativeFloat], named(*MODALITIES)],
        mmd: NonNegativeFloat,
    ) -> None:
        super().__init__()
        self.tokens = TokenVectors(dims)
        self.fusion = MemoryFusion(dims, hidden, memory, layers)
        self.lstms = nn.ModuleDict({m: nn.LSTM(n, hidden[m], batch_first=True) for m, n in dims.widths.items()})
        states = {LABEL: self.fusion.width} | {m: hidden[m] for m in dims.widths}
        self.to_z = nn.ModuleDict({name: nn.Linear(width, z[name]) for name, width in states.items()})
        self.to_f = nn.ModuleDict({name: generator(z[name], f[name], dropout[name]) for name in states})
        self.decoders = nn.ModuleDict({m: Decoder(f[LABEL] + f[m], n) for m, n in dims.widths.items()})
        self.predict = nn.Sequential(
            nn.Linear(f[LABEL], f[LABEL]), nn.ReLU(), nn.Dropout(dropout["output"]), nn.Linear(f[LABEL], 1)
        )
        self.reconstruction, self.mmd = reconstruction, mmd

    def forward(self, batch: Batch) -> Output:
        x = aligned(batch, vectors(self.tokens, batch))  # (B, S, D) each
        states = {LABEL: self.fusion(x)} | {m: last(lstm(x.inputs[m])[0], x.lengths) for m, lstm in self.lstms.items()}
        z = {name: self.to_z[name](state) for name, state in states.items()}  # (B, z_s) each
        f = {name: self.to_f[name](each) for name, each in z.items()}  # (B, f_s) each
        hidden = {f"z_{name}": each for name, each in z.items()}
        for modality, decode in self.decoders.items():
            made = decode(torch.cat([f[LABEL], f[modality]], 1), x.inputs[modality].shape[1])  # (B, S, D)
            hidden[f"error_{modality}"] = self._error(made, x, modality, batch)  # (B,)
        return Output({LABEL: Branch(f[LABEL], self.predict(f[LABEL])[:, 0].float())}, **hidden)

    def loss(self, output: Output, batch: Batch) -> dict[str, torch.Tensor]:
        terms = {LABEL: (output[LABEL].prediction - batch.labels).abs().mean()}
        z = [output.hidden[f"z_{name}"] for name in self.to_z]
        terms["mmd"] = self.mmd * torch.stack([mmd_to_normal(each.float()) for each in z]).sum()
        for modality in self.decoders:
            error = output.hidden[f"error_{modality}"].mean()
            terms[f"reconstruction_{modality}"] = self.reconstruction[modality] * error
        return terms

    def _error(self, made: torch.Tensor, x: Aligned, modality: str, batch: Batch) -> torch.Tensor:
        """(B,) the mean squared error over a clip's real steps; 0 where it lacks the modality."""
        steps = (made.float() - x.inputs[modality].float()).square().mean(2)  # (B, S)
        there = real(x.lengths, made.shape[1]) & batch.present(modality)[:, None]
        return (steps * there).sum(1) / x.lengths


class Decoder(nn.Module):
    """f -> a sequence: an LSTM that sees f first and then its own last state, and a Linear of its states."""

    def __init__(self, width: int, columns: int) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(width, width)
        self.project = nn.Linear(width, columns)

    def forward(self, f: torch.Tensor, steps: int) -> torch.Tensor:
        h = c = torch.zeros_like(f)
        states: list[torch.Tensor] = []
        for _ in range(steps):
            h, c = self.cell(h if states else f, (h, c))
            states.append(h)
        return self.project(torch.stack(states, 1))  # (B, steps, columns)


def generator(z: int, f: int, dropout: float) -> nn.Sequential:
    """G: z -> f."""
    return nn.Sequential(nn.Linear(z, f), nn.ReLU(), nn.Dropout(dropout), nn.Linear(f, f), nn.ReLU())


def mmd_to_normal(z: torch.Tensor) -> torch.Tensor:
    """The squared maximum mean discrepancy between the rows of z (B, d) and N(0, I), exact.

    The kernel is exp(-|x - y|^2 / d^2) = exp(-|x - y|^2 / (2 s^2)), s^2 = d^2 / 2. Of y ~ N(0, I) its mean is
    (s^2 / (s^2 + 1))^(d/2) exp(-|x|^2 / (2 (s^2 + 1))), and of two such (s^2 / (s^2 + 2))^(d/2).
    """
    d = z.shape[1]
    s2 = d * d / 2
    squares = z.square().sum(1)  # (B,)
    distances = (squares[:, None] + squares[None] - 2 * z @ z.T).clamp(min=0)  # (B, B)
    within = (-distances / (2 * s2)).exp().mean()
    between = (-squares / (2 * (s2 + 1))).exp().mean() * math.exp(d / 2 * math.log(s2 / (s2 + 1)))
    return within - 2 * between + math.exp(d / 2 * math.log(s2 / (s2 + 2)))
