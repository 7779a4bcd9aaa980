"""LF: late fusion, one prediction a modality and the mean of them."""

from collections.abc import Mapping
from typing import Annotated

import torch
from pydantic import PositiveInt
from torch import nn

from model.encoders.layers import subnetworks
from model.networks.base import BaseNetwork, Share, named
from model.records import Batch, Branch, Dims, Output


class Network(BaseNetwork):
    """Late fusion: TFN's subnetworks, a Linear of each to a sentiment, and the mean over the modalities a clip has.

    hidden: of the text's LSTM and of the three layers for audio and vision, which see the mean of the real frames;
    text: columns of the text's vector; dropout: before the text's Linear, before the others' first layer. Unaligned data. A modality that a
    clip lacks has no say; for a clip that has none it is the mean of the biases of all heads. Loss: the mean absolute
    error of each modality's prediction, which learns the m-label by itself; a clip without the modality adds 0.
    """

    TITLE = "LF"

    def __init__(
        self,
        dims: Dims,
        hidden: Annotated[Mapping[str, PositiveInt], named("text", "audio", "vision")],
        text: PositiveInt,
        dropout: Annotated[Mapping[str, Share], named("text", "audio", "vision")],
    ) -> None:
        super().__init__()
        encoders = subnetworks(dims, hidden, text, dropout)
        self.encoders = nn.ModuleDict(encoders)
        self.heads = nn.ModuleDict({m: nn.Linear(encoder.width, 1) for m, encoder in encoders.items()})

    def forward(self, batch: Batch) -> Output:
        z = {m: encode(batch.inputs[m], batch.lengths[m]) for m, encode in self.encoders.items()}  # (B, d_s) each
        said = {m: Branch(z[m], head(z[m])[:, 0].float()) for m, head in self.heads.items()}
        present = torch.stack([batch.present(m) for m in said], dim=1)  # (B, M)
        predictions = torch.stack([branch.prediction for branch in said.values()], dim=1)  # (B, M)
        fusion = Branch(torch.cat(list(z.values()), dim=1), mean_over(predictions, present))
        return Output({"fusion": fusion, **said})

    def loss(self, output: Output, batch: Batch) -> dict[str, torch.Tensor]:
        errors = {m: (output[m].prediction - batch.labels).abs() for m in self.heads}
        return {m: (error * batch.present(m)).mean() for m, error in errors.items()}


def mean_over(predictions: torch.Tensor, present: torch.Tensor) -> torch.Tensor:
    """(B, M), bool (B, M) -> (B,): the mean over what is present, over all where nothing is."""
    counted = present | ~present.any(dim=1, keepdim=True)
    return (predictions * counted).sum(1) / counted.sum(1)
