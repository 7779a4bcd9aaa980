"""TFN: the outer product of three modalities' vectors (Zadeh et al., EMNLP 2017)."""

from collections.abc import Mapping
from math import prod
from typing import Annotated

import torch
from pydantic import PositiveInt
from torch import nn

from model.encoders.layers import subnetworks
from model.networks.base import BaseNetwork, Share, named
from model.records import Batch, Branch, Dims, Output


class Network(BaseNetwork):
    """Tensor Fusion Network, "Tensor Fusion Network for Multimodal Sentiment Analysis": the embedding subnetworks of
    its section 4.1, the product of (2) and the inference subnetwork of section 4.3. Unaligned data, token vectors.

    hidden: of the text's LSTM and of the three layers for audio and vision, which see the mean of the real frames;
    text: columns of the text's vector; fused: of the two layers after the product; dropout: before the text's Linear,
    before the first layer for audio and vision, and before `fused`. As in the paper the output is a sigmoid, scaled to the label range of the data set
    (MMSA scales to [-3, 3] on every data set). Loss: mean absolute error. The frames being standardised, the released
    code's batch normalisation of audio and vision, which the paper has not, is left out.
    """

    TITLE = "TFN"

    def __init__(
        self,
        dims: Dims,
        hidden: Annotated[Mapping[str, PositiveInt], named("text", "audio", "vision")],
        text: PositiveInt,
        fused: PositiveInt,
        dropout: Annotated[Mapping[str, Share], named("text", "audio", "vision", "fusion")],
    ) -> None:
        super().__init__()
        encoders = subnetworks(dims, hidden, text, dropout)
        self.encoders = nn.ModuleDict(encoders)
        self.widths = {modality: encoder.width for modality, encoder in encoders.items()}
        width = prod(width + 1 for width in self.widths.values())
        self.infer = nn.Sequential(
            nn.Dropout(dropout["fusion"]), nn.Linear(width, fused), nn.ReLU(), nn.Linear(fused, fused), nn.ReLU()
        )
        self.predict = nn.Linear(fused, 1)
        self.range = dims.label_range

    def forward(self, batch: Batch) -> Output:
        return Output({"fusion": self.fuse(self.embed(batch))})

    def embed(self, batch: Batch) -> dict[str, torch.Tensor]:
        """z of each modality: (B, d_s), 0 for a clip without it."""
        return {m: encode(batch.inputs[m], batch.lengths[m]) for m, encode in self.encoders.items()}

    def fuse(self, z: Mapping[str, torch.Tensor]) -> Branch:
        feature = self.infer(product(list(z.values())))  # (B, fused)
        low, high = self.range
        return Branch(feature, low + (high - low) * self.predict(feature)[:, 0].float().sigmoid())  # (B,)

    def loss(self, output: Output, batch: Batch) -> dict[str, torch.Tensor]:
        return {"fusion": (output["fusion"].prediction - batch.labels).abs().mean()}


def product(vectors: list[torch.Tensor]) -> torch.Tensor:
    """(2): the outer product of the vectors (B, d_s), each with a 1 before it: (B, prod(d_s + 1)), the last fastest."""
    result = with_one(vectors[0])
    for x in vectors[1:]:
        result = torch.einsum("bi,bj->bij", result, with_one(x)).flatten(1)
    return result


def with_one(x: torch.Tensor) -> torch.Tensor:
    """(B, d) -> (B, 1 + d): [1; x]."""
    return torch.cat([torch.ones_like(x[:, :1]), x], dim=1)
