"""MISA: modality-invariant and modality-specific representations (Hazarika et al., ACM MM 2020)."""

from collections.abc import Mapping
from itertools import combinations
from typing import Annotated

import torch
from pydantic import Field, NonNegativeFloat
from torch import nn
from torch.nn import functional as F

from model.encoders.layers import TokenVectors, last, mean, real, where_present
from model.networks.base import BaseNetwork, Share, named
from model.records import Batch, Branch, Dims, Output

MOMENTS = 5  # K of the central moment discrepancy


class TokenMean(nn.Module):
    """The mean of the token vectors."""

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.tokens = TokenVectors(dims)
        self.width = dims.text

    def forward(self, text: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return mean(self.tokens(text, lengths), lengths)  # (B, d_t)


class BothWays(nn.Module):
    """A bi-directional LSTM over the real frames: its states, and the two that have seen all frames.

    The backward one reads each clip's real frames in reverse, padding still at the end, which gives what a packed
    sequence would.
    """

    def __init__(self, columns: int, state: int) -> None:
        super().__init__()
        self.onward = nn.LSTM(columns, state, batch_first=True)
        self.back = nn.LSTM(columns, state, batch_first=True)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        onward, _ = self.onward(x)  # (B, T, s)
        back, _ = self.back(reversed_frames(x, lengths))
        ends = torch.cat([last(onward, lengths), last(back, lengths)], dim=1)  # (B, 2s)
        return torch.cat([onward, reversed_frames(back, lengths)], dim=2), ends  # (B, T, 2s)


class FrameEncoder(nn.Module):
    """Two stacked bi-directional LSTMs with a LayerNorm between; the end states of both."""

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.first = BothWays(columns, columns)
        self.norm = nn.LayerNorm(2 * columns)
        self.second = BothWays(2 * columns, columns)
        self.width = 4 * columns

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        states, first = self.first(x, lengths)  # (B, T, 2D), (B, 2D)
        _, second = self.second(self.norm(states), lengths)
        return torch.cat([first, second], dim=1)  # (B, 4D)


class Network(BaseNetwork):
    """Takes any lengths. hidden: h, even; dropout: of the fused vectors; weights: of the three further terms of the loss.

    Paper, section 3: an utterance vector u_m per modality, projected to h; h^p_m = E^p_m(u_m) by an encoder of its own,
    h^c_m = E^c(u_m) by one that all share; a transformer over these 2M vectors, joined for the prediction.
    From the released code, where the paper is silent: the mean of BERT's token vectors (here of real tokens alone), the
    two LSTMs and their sizes, one layer for each encoder and decoder, the transformer's inside (2048, dropout 0.1), and
    Mh between the fused vectors and the prediction. Unlike it and MMSA, audio and vision have their own lengths.

    A clip without a modality has 0 for that modality's vectors in the fusion, and takes no part in its terms of the loss.
    """

    TITLE = "MISA"

    def __init__(
        self,
        dims: Dims,
        hidden: Annotated[int, Field(ge=2, multiple_of=2)],
        dropout: Share,
        weights: Annotated[Mapping[str, NonNegativeFloat], named("difference", "similarity", "reconstruction")],
    ) -> None:
        super().__init__()
        encoders: dict[str, TokenMean | FrameEncoder] = {}
        for modality, columns in dims.widths.items():
            encoders[modality] = TokenMean(dims) if modality == "text" else FrameEncoder(columns)
        self.encoders = nn.ModuleDict(encoders)
        self.project = nn.ModuleDict(
            {m: nn.Sequential(nn.Linear(e.width, hidden), nn.ReLU(), nn.LayerNorm(hidden)) for m, e in encoders.items()}
        )
        self.private = nn.ModuleDict({m: nn.Sequential(nn.Linear(hidden, hidden), nn.Sigmoid()) for m in encoders})
        self.shared = nn.Sequential(nn.Linear(hidden, hidden), nn.Sigmoid())
        self.reconstruct = nn.ModuleDict({m: nn.Linear(hidden, hidden) for m in encoders})
        self.attend = nn.TransformerEncoderLayer(hidden, 2, dim_feedforward=2048, dropout=0.1, batch_first=True)
        joined = len(encoders) * hidden
        self.fuse = nn.Sequential(nn.Linear(2 * joined, joined), nn.Dropout(dropout), nn.ReLU())
        self.predict = nn.Linear(joined, 1)
        self.weights = dict(weights)

    def forward(self, batch: Batch) -> Output:
        parts: dict[str, dict[str, torch.Tensor]] = {"projected": {}, "private": {}, "shared": {}, "rebuilt": {}}
        for m, encode in self.encoders.items():
            lengths = batch.lengths[m]
            projected = self.project[m](encode(batch.inputs[m], lengths))  # (B, h), u_m
            parts["projected"][m] = where_present(projected, lengths)
            parts["private"][m] = where_present(self.private[m](projected), lengths)  # (B, h), h^p_m
            parts["shared"][m] = where_present(self.shared(projected), lengths)  # (B, h), h^c_m
            parts["rebuilt"][m] = self.reconstruct[m](parts["private"][m] + parts["shared"][m])  # (B, h)
        both = [*parts["private"].values(), *parts["shared"].values()]
        seen = self.attend(torch.stack(both, dim=1))  # (B, 2M, h)
        feature = self.fuse(seen.flatten(1))  # (B, Mh)
        hidden = {f"{part}_{m}": x.float() for part, vectors in parts.items() for m, x in vectors.items()}
        return Output({"fusion": Branch(feature, self.predict(feature)[:, 0].float())}, **hidden)

    def loss(self, output: Output, batch: Batch) -> dict[str, torch.Tensor]:
        """The error of the prediction, and the three further terms, each times its weight.

        The difference is summed over its pairs, the similarity is the mean over its pairs (0 where there is one
        modality), the reconstruction the mean over modalities.
        """
        modalities, x = list(self.encoders), output.hidden
        pairs = list(combinations(modalities, 2))
        both = {pair: batch.present(pair[0]) & batch.present(pair[1]) for pair in pairs}
        nothing = batch.labels.new_zeros(())
        apart = [orthogonality(x[f"private_{m}"], x[f"shared_{m}"], batch.present(m)) for m in modalities]
        apart += [orthogonality(x[f"private_{m}"], x[f"private_{n}"], clips) for (m, n), clips in both.items()]
        alike = [discrepancy(x[f"shared_{m}"], x[f"shared_{n}"], clips) for (m, n), clips in both.items()]
        rebuilt = [average((x[f"rebuilt_{m}"] - x[f"projected_{m}"]) ** 2, batch.present(m)).mean() for m in modalities]
        return {
            "fusion": F.mse_loss(output["fusion"].prediction, batch.labels),
            "difference": self.weights["difference"] * sum(apart, nothing),
            "similarity": self.weights["similarity"] * sum(alike, nothing) / max(1, len(pairs)),
            "reconstruction": self.weights["reconstruction"] * sum(rebuilt, nothing) / len(modalities),
        }


def reversed_frames(x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """(B, T, D): each clip's real frames in reverse, padding where it was."""
    frames = torch.arange(x.shape[1], device=x.device)
    order = torch.where(real(lengths, x.shape[1]), lengths[:, None] - 1 - frames, frames)  # (B, T)
    return x[torch.arange(len(x), device=x.device)[:, None], order]


def average(x: torch.Tensor, clips: torch.Tensor) -> torch.Tensor:
    """(D,) over these clips; 0 where there are none. x: (B, D), clips: (B,) bool."""
    return (x * clips[:, None]).sum(0) / clips.sum().clamp(min=1)


def orthogonality(x: torch.Tensor, y: torch.Tensor, clips: torch.Tensor) -> torch.Tensor:
    """Mean of the squares of X^T Y over these clips, X and Y of zero mean over them and rows of unit length.

    The paper's squared Frobenius norm is h^2 times as much; the weights in use are those of the released code, which
    takes the mean. Its gradient holds the lengths of the rows constant, this one does not.
    """
    x, y = (F.normalize((z - average(z, clips)) * clips[:, None], dim=1, eps=1e-6) for z in (x, y))
    return (x.T @ y).square().mean()


def discrepancy(x: torch.Tensor, y: torch.Tensor, clips: torch.Tensor) -> torch.Tensor:
    """Central moment discrepancy of two (B, h) over these clips: the distance of their means and of their central
    moments 2 to K. Sigmoids lie in [0, 1], so its divisors |b - a|^k are 1."""
    means = average(x, clips), average(y, clips)
    total = torch.linalg.vector_norm(means[0] - means[1])
    for k in range(2, MOMENTS + 1):
        moments = [average((z - z_mean) ** k, clips) for z, z_mean in zip((x, y), means, strict=True)]
        total = total + torch.linalg.vector_norm(moments[0] - moments[1])
    return total
