"""Unimodal tasks with human labels beside the multimodal one (Yu et al., CH-SIMS, ACL 2020), for MTFN and MLMF."""

from collections.abc import Mapping

import torch
from torch import nn

from model.encoders.layers import where_present
from model.records import Batch, Branch, Output


class Head(nn.Module):
    """z (B, columns) -> three layers, the last of them the prediction; dropout before the first."""

    def __init__(self, columns: int, width: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Dropout(dropout), nn.Linear(columns, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()
        )
        self.predict = nn.Linear(width, 1)

    def forward(self, z: torch.Tensor, lengths: torch.Tensor) -> Branch:
        feature = self.layers(z)  # (B, width)
        return Branch(feature, where_present(self.predict(feature), lengths)[:, 0].float())


def loss(output: Output, batch: Batch, weights: Mapping[str, float]) -> dict[str, torch.Tensor]:
    """The weighted mean absolute error of each task; a clip without the modality or its human label adds 0."""
    errors = {"fusion": (output["fusion"].prediction - batch.labels).abs()}
    for modality in (m for m in output if m != "fusion"):
        error = (output[modality].prediction - batch.unimodal[modality]).abs()
        there = batch.present(modality) & ~batch.unimodal[modality].isnan()
        errors[modality] = torch.where(there, error.nan_to_num(), torch.zeros_like(error))
    return {task: weights[task] * error.mean() for task, error in errors.items()}
