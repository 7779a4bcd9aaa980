"""Self-MM: one multimodal and three unimodal tasks over shared features (Yu et al., AAAI 2021)."""

from collections.abc import Mapping
from typing import Annotated, Literal

import pyarrow as pa
import torch
from pydantic import PositiveInt
from torch import nn

from model.encoders.layers import SequenceEncoder, TextEncoder
from model.networks.base import BaseNetwork, Share, named
from model.networks.ulgm import Settings, Ulgm
from model.records import BRANCHES, Batch, Branch, Dims, Output, Tree


class Head(nn.Module):
    """F* = ReLU(W1 F + b1); y = W2 F* + b2; a second layer, as in the released code, lies between F* and y."""

    def __init__(self, width: int, projected: int, dropout: float, layers: int) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.project = nn.Linear(width, projected)
        self.deeper = nn.ModuleList(nn.Linear(projected, projected) for _ in range(layers - 1))
        self.predict = nn.Linear(projected, 1)

    def forward(self, x: torch.Tensor) -> Branch:
        feature = x = torch.relu(self.project(self.dropout(x)))  # (B, projected), F*
        for layer in self.deeper:
            x = torch.relu(layer(x))
        return Branch(feature, self.predict(x)[:, 0].float())  # (B,)


class Network(BaseNetwork):
    """tasks: the unimodal tasks trained beside M; layers: hidden layers of a head; frames: size of the LSTM's state,
    for audio and vision; outputs: of a Linear after it, null for none (F_s is the state); projected, dropout: of
    each head's F*; ulgm: see ulgm.Settings."""

    TITLE = "Self-MM"
    GROUPS = ("text", "audio", "vision", "heads")

    def __init__(
        self,
        dims: Dims,
        tasks: list[Literal["text", "audio", "vision"]],
        layers: PositiveInt,
        frames: Annotated[Mapping[str, PositiveInt], named("audio", "vision")],
        outputs: Annotated[Mapping[str, PositiveInt], named("audio", "vision")] | None,
        projected: Annotated[Mapping[str, PositiveInt], named(*BRANCHES)],
        dropout: Annotated[Mapping[str, Share], named(*BRANCHES)],
        ulgm: Settings,
    ) -> None:
        super().__init__()
        encoders: dict[str, TextEncoder | SequenceEncoder] = {}
        for modality, columns in dims.widths.items():
            if modality == "text":
                encoders["text"] = TextEncoder(dims)
            else:
                output = outputs[modality] if outputs else None
                encoders[modality] = SequenceEncoder(columns, frames[modality], output, dropout=0.0)
        self.encoders = nn.ModuleDict(encoders)
        widths = {str(modality): encoder.width for modality, encoder in encoders.items() if modality in tasks}
        widths["fusion"] = sum(encoder.width for encoder in encoders.values())
        self.heads = nn.ModuleDict({b: Head(width, projected[b], dropout[b], layers) for b, width in widths.items()})
        self.ulgm = Ulgm([m for m in widths if m != "fusion"], dims.label_range, ulgm)

    def forward(self, batch: Batch) -> Output:
        seen = {m: encode(batch.inputs[m], batch.lengths[m]) for m, encode in self.encoders.items()}  # (B, d_s) each
        seen["fusion"] = torch.cat(list(seen.values()), dim=-1)  # (B, d_t + d_a + d_v)
        return Output({branch: head(seen[branch]) for branch, head in self.heads.items()})

    def loss(self, output: Output, batch: Batch) -> dict[str, torch.Tensor]:
        """(10), term by term; a clip without the modality adds 0 to that modality's term."""
        terms = {"fusion": (output["fusion"].prediction - batch.labels).abs().mean()}
        targets = self.ulgm.targets(batch)
        for modality, weight in self.ulgm.weights(batch, targets, self.training).items():
            error = (output[modality].prediction - targets[modality].nan_to_num()).abs()  # (B,)
            terms[modality] = (weight * error).mean()
        return terms

    def observe(self, output: Output, batch: Batch, epoch: int) -> None:
        self.ulgm.update({branch: part.feature for branch, part in output.items()}, batch, epoch)

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        groups = {modality: list(encoder.parameters()) for modality, encoder in self.encoders.items()}
        return {**groups, "heads": list(self.heads.parameters())}

    def ulabels(self) -> pa.Table | None:
        made = self.ulgm.modalities and self.ulgm.settings["labels"] == "generated"
        return self.ulgm.table() if made else None

    def remembered(self) -> dict[str, Tree]:
        return self.ulgm.remembered()

    def recall(self, remembered: Mapping[str, Tree]) -> None:
        self.ulgm.recall(remembered)
