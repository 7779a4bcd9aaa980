"""ULGM: unimodal labels from the multimodal one and the distances to the class centres.

Equations (1)-(9) and Algorithm 1 of the paper (Yu et al., AAAI 2021), with three guards: a new u-label is
clamped to the label range, equation (7) stands alone where the ratio of equation (6) would be meaningless,
and a class without members keeps its centre.
"""

from collections.abc import Mapping, Sequence

import pyarrow as pa
import torch

from model.batch import Batch
from pipeline import tables

EPSILON = 1e-8  # equation (5), "in case of zero exceptions"


class Ulgm:
    """Keeps, by clip id, the u-labels and the global representations F^g of every branch."""

    def __init__(self, modalities: Sequence[str], label_range: tuple[float, float], min_alpha: float) -> None:
        self.modalities = tuple(modalities)
        self.label_range = label_range
        self.min_alpha = min_alpha
        self._rows: dict[str, int] = {}
        self._labels: dict[str, torch.Tensor] = {}  # branch -> (N,), fusion: the m-labels
        self._present: dict[str, torch.Tensor] = {}  # branch -> (N,) bool
        self._features: dict[str, torch.Tensor] = {}  # branch -> (N, d), F^g
        self._centres: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}  # branch -> C^p, C^n: (d,)

    def targets(self, batch: Batch) -> dict[str, torch.Tensor]:
        """modality -> (B,): the u-labels as they stand; the m-label for a clip not seen before."""
        known = torch.tensor([clip in self._rows for clip in batch.ids], device=batch.labels.device)
        rows = [self._rows.get(clip, 0) for clip in batch.ids]
        if not self._rows:
            return dict.fromkeys(self.modalities, batch.labels)
        return {m: torch.where(known, self._labels[m][rows], batch.labels) for m in self.modalities}

    def update(self, features: Mapping[str, torch.Tensor], batch: Batch, epoch: int) -> None:
        """Lines 10-15 of Algorithm 1 for one batch; features: branch -> F* (B, d)."""
        features = {branch: x.detach().float() for branch, x in features.items()}
        if epoch == 1:
            self._enrol(features, batch)
        rows = [self._rows[clip] for clip in batch.ids]
        if epoch > 1:
            self._relabel(features, batch, epoch, rows)
        for branch, x in features.items():
            self._features[branch][rows] = x

    def table(self) -> pa.Table:
        """tables.ULABELS less the epoch, by clip id; null where the clip lacks the modality."""
        clips = sorted(self._rows)
        rows = [self._rows[clip] for clip in clips]
        columns = {
            m: self._nullable(m, rows) if m in self.modalities else [None] * len(rows) for m in tables.MODALITIES
        }
        return pa.table({"id": clips, **columns}, schema=pa.schema(list(tables.ULABELS)[1:]))

    def _enrol(self, features: Mapping[str, torch.Tensor], batch: Batch) -> None:
        """Lines 2 and 3 of Algorithm 1: u-labels start as the m-labels, F^g as 0."""
        self._rows.update({clip: len(self._rows) + place for place, clip in enumerate(batch.ids)})
        for branch, x in features.items():
            everywhere = torch.ones(len(batch), dtype=torch.bool, device=x.device)
            present = everywhere if branch == "fusion" else batch.present(branch)
            self._labels[branch] = _append(self._labels.get(branch), batch.labels.float())
            self._present[branch] = _append(self._present.get(branch), present)
            self._features[branch] = _append(self._features.get(branch), torch.zeros_like(x))

    def _relabel(self, features: Mapping[str, torch.Tensor], batch: Batch, epoch: int, rows: list[int]) -> None:
        alphas = {branch: alpha(x, *self._update_centres(branch)) for branch, x in features.items()}
        for modality in self.modalities:
            new = shifted(batch.labels, alphas[modality], alphas["fusion"], self.label_range, self.min_alpha)
            old = self._labels[modality][rows]
            averaged = momentum(old, new, epoch)
            self._labels[modality][rows] = torch.where(batch.present(modality), averaged, old)

    def _update_centres(self, branch: str) -> tuple[torch.Tensor, torch.Tensor]:
        there, stored = self._present[branch], self._features[branch]
        zero = torch.zeros_like(stored[0])
        positive, negative = self._centres.get(branch, (zero, zero))
        self._centres[branch] = (
            centre(stored, there & (self._labels[branch] > 0), positive),
            centre(stored, there & (self._labels[branch] < 0), negative),
        )
        return self._centres[branch]

    def _nullable(self, modality: str, rows: list[int]) -> list[float | None]:
        labels, present = self._labels[modality][rows].tolist(), self._present[modality][rows].tolist()
        return [label if there else None for label, there in zip(labels, present, strict=True)]


def centre(features: torch.Tensor, members: torch.Tensor, previous: torch.Tensor) -> torch.Tensor:
    """(1), (2): the mean of the members' features (N, d) -> (d,); without members the previous centre."""
    if not members.any():
        return previous
    return features[members].mean(dim=0)


def alpha(features: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor) -> torch.Tensor:
    """(3)-(5): the relative distance of features (B, d) from the two centres (d,) -> (B,)."""
    scale = features.shape[-1] ** 0.5
    to_positive = torch.linalg.vector_norm(features - positive, dim=-1) / scale
    to_negative = torch.linalg.vector_norm(features - negative, dim=-1) / scale
    return (to_negative - to_positive) / (to_positive + EPSILON)


def shifted(
    m_label: torch.Tensor,
    alpha_s: torch.Tensor,
    alpha_m: torch.Tensor,
    label_range: tuple[float, float],
    min_alpha: float,
) -> torch.Tensor:
    """(8), the mean of (6) and (7), clamped to the label range; all (B,).

    (7) stands alone where |alpha_m| < min_alpha or alpha_m and the m-label have opposite signs.
    """
    difference = m_label + alpha_s - alpha_m  # (7)
    meaningless = (alpha_m.abs() < min_alpha) | (alpha_m * m_label < 0)
    ratio = alpha_s * m_label / torch.where(meaningless, torch.ones_like(alpha_m), alpha_m)  # (6)
    return torch.where(meaningless, difference, (ratio + difference) / 2).clamp(*label_range)


def momentum(old: torch.Tensor, new: torch.Tensor, epoch: int) -> torch.Tensor:
    """(9): over n epochs the value made in epoch i weighs 2i / (n (n + 1))."""
    return (epoch - 1) / (epoch + 1) * old + 2 / (epoch + 1) * new


def _append(stored: torch.Tensor | None, more: torch.Tensor) -> torch.Tensor:
    return more.clone() if stored is None else torch.cat([stored, more])
