"""LMF: TFN's product by modality-specific factors of low rank (Liu et al., ACL 2018)."""

from collections.abc import Mapping
from typing import Annotated

import torch
from pydantic import PositiveInt
from torch import nn

from model.encoders.layers import subnetworks
from model.networks.base import BaseNetwork, Share, named
from model.networks.tfn import with_one
from model.records import Batch, Branch, Dims, Output


class Network(BaseNetwork):
    """Low-rank Multimodal Fusion, "Efficient Low-rank Multimodal Fusion with Modality-Specific Factors": the outer
    product of (2) times a weight tensor that is a sum of `rank` outer products (4), without making either (8).
    Unaligned data, token vectors.

    hidden, text, dropout: as TFN's subnetworks, which these are; rank: r. As in the released code the sum over the rank
    is weighted, with a bias, and is the prediction itself. Loss: mean absolute error. The released code's batch
    normalisation is left out, as in TFN.
    """

    TITLE = "LMF"
    GROUPS: tuple[str, ...] = ("factors", "rest")

    def __init__(
        self,
        dims: Dims,
        hidden: Annotated[Mapping[str, PositiveInt], named("text", "audio", "vision")],
        text: PositiveInt,
        rank: PositiveInt,
        dropout: Annotated[Mapping[str, Share], named("text", "audio", "vision")],
    ) -> None:
        super().__init__()
        encoders = subnetworks(dims, hidden, text, dropout)
        self.encoders = nn.ModuleDict(encoders)
        self.widths = {modality: encoder.width for modality, encoder in encoders.items()}
        self.factors = nn.ParameterDict({m: torch.empty(width + 1, rank) for m, width in self.widths.items()})
        for factor in self.factors.values():
            nn.init.xavier_normal_(factor)
        self.sum = nn.Linear(rank, 1)

    def forward(self, batch: Batch) -> Output:
        return Output({"fusion": self.fuse(self.embed(batch))})

    def embed(self, batch: Batch) -> dict[str, torch.Tensor]:
        """z of each modality: (B, d_s), 0 for a clip without it."""
        return {m: encode(batch.inputs[m], batch.lengths[m]) for m, encode in self.encoders.items()}

    def fuse(self, z: Mapping[str, torch.Tensor]) -> Branch:
        """(8): prod_s ([1; z_s] W_s), then the sum over the rank."""
        projected = [with_one(x) @ self.factors[m] for m, x in z.items()]  # (B, rank) each
        feature = torch.stack(projected).prod(0)  # (B, rank)
        return Branch(feature, self.sum(feature)[:, 0].float())  # (B,)

    def loss(self, output: Output, batch: Batch) -> dict[str, torch.Tensor]:
        return {"fusion": (output["fusion"].prediction - batch.labels).abs().mean()}

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        return {
            "factors": list(self.factors.values()),
            "rest": [p for name, p in self.named_parameters() if not name.startswith("factors.")],
        }
