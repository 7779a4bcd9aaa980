"""Self-MM: one multimodal and three unimodal tasks over shared features (Yu et al., AAAI 2021)."""

from collections.abc import Mapping
from typing import Annotated

import pyarrow as pa
import torch
from pydantic import NonNegativeFloat, PositiveInt
from torch import nn

from model.batch import Batch
from model.encoders import SequenceEncoder, TextEncoder
from model.hyper import Share, named
from model.network import BRANCHES, BaseNetwork, Branch, Dims, Output
from model.ulgm import Ulgm


class Head(nn.Module):
    """F* = ReLU(W1 F + b1); y = W2 F* + b2."""

    def __init__(self, width: int, projected: int, dropout: float) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.project = nn.Linear(width, projected)
        self.predict = nn.Linear(projected, 1)

    def forward(self, x: torch.Tensor) -> Branch:
        feature = torch.relu(self.project(self.dropout(x)))  # (B, projected)
        return Branch(feature, self.predict(feature)[:, 0].float())  # (B,)


class Network(BaseNetwork):
    """frames: size of the LSTM's state, for audio and vision; projected, dropout: of each head's F*;
    min_alpha: see ulgm.shifted."""

    GROUPS = ("text", "audio", "vision", "heads")

    def __init__(
        self,
        dims: Dims,
        frames: Annotated[Mapping[str, PositiveInt], named("audio", "vision")],
        projected: Annotated[Mapping[str, PositiveInt], named(*BRANCHES)],
        dropout: Annotated[Mapping[str, Share], named(*BRANCHES)],
        min_alpha: NonNegativeFloat,
    ) -> None:
        super().__init__()
        encoders: dict[str, TextEncoder | SequenceEncoder] = {}
        if dims.encoder is not None:
            encoders["text"] = TextEncoder(dims.encoder)
        for modality, columns in (("audio", dims.audio), ("vision", dims.vision)):
            if columns:
                encoders[modality] = SequenceEncoder(columns, frames[modality])
        widths = {modality: encoder.width for modality, encoder in encoders.items()}
        widths["fusion"] = sum(widths.values())
        self.encoders = nn.ModuleDict(encoders)
        self.heads = nn.ModuleDict({b: Head(width, projected[b], dropout[b]) for b, width in widths.items()})
        self.ulgm = Ulgm(dims.modalities, dims.label_range, min_alpha)

    def forward(self, batch: Batch) -> Output:
        seen = {m: encode(batch.inputs[m], batch.lengths[m]) for m, encode in self.encoders.items()}  # (B, d_s) each
        seen["fusion"] = torch.cat(list(seen.values()), dim=-1)  # (B, d_t + d_a + d_v)
        return {branch: self.heads[branch](x) for branch, x in seen.items()}

    def loss(self, output: Output, batch: Batch) -> dict[str, torch.Tensor]:
        """(10), term by term; a clip without the modality adds 0 to that modality's term."""
        terms = {"fusion": (output["fusion"].prediction - batch.labels).abs().mean()}
        for modality, target in self.ulgm.targets(batch).items():
            weight = torch.tanh((target - batch.labels).abs()) * batch.present(modality)  # (B,)
            terms[modality] = (weight * (output[modality].prediction - target).abs()).mean()
        return terms

    def observe(self, output: Output, batch: Batch, epoch: int) -> None:
        self.ulgm.update({branch: part.feature for branch, part in output.items()}, batch, epoch)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        groups = {modality: list(encoder.parameters()) for modality, encoder in self.encoders.items()}
        return {**groups, "heads": list(self.heads.parameters())}

    def ulabels(self) -> pa.Table:
        return self.ulgm.table()
