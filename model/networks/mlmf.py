"""MLMF: LMF with human unimodal labels for further tasks (Yu et al., CH-SIMS, ACL 2020)."""

from collections.abc import Mapping
from typing import Annotated

import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import nn

from model.networks import lmf, multitask
from model.networks.base import Share, named
from model.records import BRANCHES, Batch, Dims, Output


class Network(lmf.Network):
    """ "CH-SIMS: A Chinese Multimodal Sentiment Analysis Dataset with Fine-grained Annotation of Modality", section 4:
    LMF, and on each modality's vector a head of three layers that learns the modality's human label.

    heads: width of each head's layers; head_dropout: before them; weights: of each task's mean absolute error.
    """

    TITLE = "MLMF"
    GROUPS = ("text", "audio", "vision", "factors", "rest")

    def __init__(
        self,
        dims: Dims,
        hidden: Annotated[Mapping[str, PositiveInt], named("text", "audio", "vision")],
        text: PositiveInt,
        rank: PositiveInt,
        dropout: Annotated[Mapping[str, Share], named("text", "audio", "vision")],
        heads: Annotated[Mapping[str, PositiveInt], named("text", "audio", "vision")],
        head_dropout: Annotated[Mapping[str, Share], named("text", "audio", "vision")],
        weights: Annotated[Mapping[str, NonNegativeFloat], named(*BRANCHES)],
    ) -> None:
        super().__init__(dims, hidden, text, rank, dropout)
        self.heads = nn.ModuleDict(
            {m: multitask.Head(width, heads[m], head_dropout[m]) for m, width in self.widths.items()}
        )
        self.weights = weights

    def forward(self, batch: Batch) -> Output:
        z = self.embed(batch)  # (B, d_s) each
        return Output({"fusion": self.fuse(z), **{m: head(z[m], batch.lengths[m]) for m, head in self.heads.items()}})

    def loss(self, output: Output, batch: Batch) -> dict[str, torch.Tensor]:
        return multitask.loss(output, batch, self.weights)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        groups = {m: list(encoder.parameters()) for m, encoder in self.encoders.items()}
        groups["factors"] = list(self.factors.values())
        told = {id(p) for members in groups.values() for p in members}
        return {**groups, "rest": [p for p in self.parameters() if id(p) not in told]}
