"""ULGM: unimodal labels from the multimodal one and the distances to the class centres.

Equations (1)-(9) and Algorithm 1 of the paper (Yu et al., AAAI 2021); `Settings` says in what the paper, its
released code and what is studied of both differ. In every setting a class without members keeps its centre and
equation (7) stands alone where equation (6) would divide by zero.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import pyarrow as pa
import torch
from pydantic import ConfigDict, NonNegativeFloat, with_config
from typing_extensions import TypedDict

from model.records import Batch, Tree
from pipeline import tables

EPSILON = 1e-8  # equation (5), "in case of zero exceptions"
NOTED = ("alpha", "positive", "negative")  # of each branch: alpha, and the distances to the two centres


@with_config(ConfigDict(extra="forbid"))
class Settings(TypedDict):
    """`architecture.ulgm` in networks/self_mm.yaml."""

    labels: Literal["generated", "human"]  # human: label_T, label_A, label_V in the u-labels' place (Human-MM)
    equations: Literal["both", "ratio", "difference"]  # (8), or (6) or (7) alone
    alpha: Literal["paper", "symmetric"]  # (5), or (D^n - D^p) / (D^n + D^p)
    min_alpha: (
        NonNegativeFloat | None
    )  # |alpha_m| below which, or of another sign than y_m, (7) stands alone; null: never
    ratio_epsilon: NonNegativeFloat  # added to alpha_m in (6): 1e-8 in the released code
    clamp: bool  # a new u-label to the label range
    zeros: Literal["neither", "positive"]  # the class of a label 0
    momentum: bool  # (9); false: the last value counts
    weights: bool  # W of (10): tanh|u - m|; false: 1


class Ulgm:
    """Keeps, by clip id, the u-labels and the global representations F^g of every branch.

    modalities: those that have a unimodal task.
    """

    def __init__(self, modalities: Sequence[str], label_range: tuple[float, float], settings: Settings) -> None:
        self.modalities = tuple(modalities)
        self.label_range = label_range
        self.settings = settings
        self._rows: dict[str, int] = {}
        self._seen: torch.Tensor | None = None  # (N,) epochs in which the clip was observed
        self._labels: dict[str, torch.Tensor] = {}  # branch -> (N,), fusion: the m-labels
        self._present: dict[str, torch.Tensor] = {}  # branch -> (N,) bool
        self._features: dict[str, torch.Tensor] = {}  # branch -> (N, d), F^g
        self._sums: dict[
            str, torch.Tensor
        ] = {}  # branch -> (2, d) float64: of the positive and the negative clips' F^g
        self._counts: dict[str, torch.Tensor] = {}  # branch -> (2,) float64
        self._centres: dict[str, torch.Tensor] = {}  # branch -> C^p, C^n: (2, d)
        self._noted: dict[str, torch.Tensor] = {}  # column of tables.ULABELS -> (N,), NaN where there is none

    def targets(self, batch: Batch) -> dict[str, torch.Tensor]:
        """modality -> (B,): the u-labels as they stand; the m-label for a clip not observed before.

        With human labels these, NaN where there is none.
        """
        if self.settings["labels"] == "human":
            return {m: batch.unimodal[m] for m in self.modalities}
        return {m: self._stored(self._labels.get(m), batch, batch.labels) for m in self.modalities}

    def weights(self, batch: Batch, targets: Mapping[str, torch.Tensor], training: bool) -> dict[str, torch.Tensor]:
        """modality -> (B,): W of (10); 0 for a clip that lacks the modality or the target, or is not trained on."""
        never = torch.zeros(len(batch), dtype=torch.long, device=batch.labels.device)
        seen = self._stored(self._seen, batch, never)
        trained_on = (seen > 0) | training
        weights = {}
        for modality, target in targets.items():
            weight = torch.tanh((target - batch.labels).abs())
            if not self.settings["weights"]:
                weight = torch.ones_like(weight)
            counted = batch.present(modality) & ~target.isnan() & trained_on
            weights[modality] = torch.where(counted, weight, torch.zeros_like(weight))
        return weights

    def update(self, features: Mapping[str, torch.Tensor], batch: Batch, epoch: int) -> None:
        """Lines 10-15 of Algorithm 1 for one batch; features: branch -> F* (B, d)."""
        features = {branch: x.detach().float() for branch, x in features.items()}
        if epoch == 1:
            self._enrol(features, batch)
        rows = torch.tensor([self._rows[clip] for clip in batch.ids], device=batch.labels.device)
        if epoch > 1:
            self._recentre()
            self._account(rows, -1)
            if self.settings["labels"] == "generated":
                self._relabel(features, batch, epoch, rows)
        self._seen[rows] = epoch  # type: ignore[index]
        for branch, x in features.items():
            self._features[branch][rows] = x
        self._account(rows, 1)

    def table(self) -> pa.Table:
        """tables.ULABELS less the epoch, by clip id; null where the clip lacks the modality."""
        clips = sorted(self._rows)
        rows = [self._rows[clip] for clip in clips]
        columns = {name: values[rows].cpu().numpy() for name, values in self._noted.items()}
        for m in self.modalities:
            there = self._present[m][rows].cpu().numpy()
            columns[m] = np.where(there, self._labels[m][rows].cpu().numpy(), np.float32(np.nan))
        nothing = np.full(len(rows), np.nan, np.float32)
        schema = pa.schema(list(tables.ULABELS)[1:])
        arrays = {name: pa.array(columns.get(name, nothing), from_pandas=True) for name in schema.names[1:]}
        return pa.table({"id": clips, **arrays}, schema=schema)

    def remembered(self) -> dict[str, Tree]:
        """What it keeps, for `recall` of another."""
        return {name: value for name, value in vars(self).items() if name.startswith("_")}

    def recall(self, remembered: Mapping[str, Tree]) -> None:
        vars(self).update(remembered)

    def _stored(self, stored: torch.Tensor | None, batch: Batch, otherwise: torch.Tensor) -> torch.Tensor:
        """(B,): what is stored of the batch's clips, `otherwise` (B,) of those not observed before."""
        if stored is None or not self._rows:
            return otherwise
        known = torch.tensor([clip in self._rows for clip in batch.ids], device=otherwise.device)
        return torch.where(known, stored[[self._rows.get(clip, 0) for clip in batch.ids]], otherwise)

    def _enrol(self, features: Mapping[str, torch.Tensor], batch: Batch) -> None:
        """Lines 2 and 3 of Algorithm 1: u-labels start as the m-labels, F^g as 0."""
        self._rows.update({clip: len(self._rows) + place for place, clip in enumerate(batch.ids)})
        everywhere = torch.ones(len(batch), dtype=torch.bool, device=batch.labels.device)
        self._seen = _append(self._seen, torch.zeros_like(everywhere, dtype=torch.long))
        for branch, x in features.items():
            present = everywhere if branch == "fusion" else batch.present(branch)
            self._labels[branch] = _append(self._labels.get(branch), batch.labels.float())
            self._present[branch] = _append(self._present.get(branch), present)
            self._features[branch] = _append(self._features.get(branch), torch.zeros_like(x))
            for name in (f"raw_{branch}", *(f"{noted}_{branch}" for noted in NOTED)):
                self._noted[name] = _append(self._noted.get(name), torch.full_like(batch.labels, torch.nan))

    def _account(self, rows: torch.Tensor, sign: Literal[1, -1]) -> None:
        """Add these clips to their classes' sums and counts, or take them out, by F^g and the labels as they stand.

        In float64: what thousands of additions and subtractions leave is far below the last digit of a centre.
        """
        for branch, stored in self._features.items():
            labels = self._labels[branch][rows]
            positive = labels >= 0 if self.settings["zeros"] == "positive" else labels > 0
            members = (torch.stack([positive, labels < 0]) & self._present[branch][rows]).double()  # (2, B)
            if branch not in self._sums:
                self._sums[branch] = members.new_zeros(2, stored.shape[1])
                self._counts[branch] = members.new_zeros(2)
            self._sums[branch] += sign * (members @ stored[rows].double())
            self._counts[branch] += sign * members.sum(1)

    def _recentre(self) -> None:
        """(1), (2): C^p and C^n of every branch from F^g and the labels as they stand."""
        for branch, sums in self._sums.items():
            counts = self._counts[branch][:, None]
            means = (sums / counts.clamp(min=1)).float()
            self._centres[branch] = torch.where(counts > 0, means, self._centres.get(branch, torch.zeros_like(means)))

    def _relabel(self, features: Mapping[str, torch.Tensor], batch: Batch, epoch: int, rows: torch.Tensor) -> None:
        alphas = {branch: self._alpha(branch, x, rows) for branch, x in features.items()}
        for modality in self.modalities:
            new = shifted(batch.labels, alphas[modality], alphas["fusion"], self.label_range, self.settings)
            old = self._labels[modality][rows]
            averaged = momentum(old, new, epoch) if self.settings["momentum"] else new
            present = batch.present(modality)
            self._labels[modality][rows] = torch.where(present, averaged, old)
            self._noted[f"raw_{modality}"][rows] = torch.where(present, new, torch.nan)

    def _alpha(self, branch: str, x: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        positive, negative = distances(x, *self._centres[branch])
        found = alpha(positive, negative, self.settings["alpha"])
        for noted, values in zip(NOTED, (found, positive, negative), strict=True):
            self._noted[f"{noted}_{branch}"][rows] = torch.where(self._present[branch][rows], values, torch.nan)
        return found


def distances(
    features: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(3), (4): D^p and D^n of features (B, d) from the two centres (d,) -> (B,) each."""
    scale = features.shape[-1] ** 0.5
    to_positive, to_negative = (torch.linalg.vector_norm(features - c, dim=-1) / scale for c in (positive, negative))
    return to_positive, to_negative


def alpha(positive: torch.Tensor, negative: torch.Tensor, form: Literal["paper", "symmetric"]) -> torch.Tensor:
    """(5) of D^p and D^n, (B,); symmetric: over their sum, so that it lies in [-1, 1]."""
    over = positive if form == "paper" else positive + negative
    return (negative - positive) / (over + EPSILON)


def shifted(
    m_label: torch.Tensor,
    alpha_s: torch.Tensor,
    alpha_m: torch.Tensor,
    label_range: tuple[float, float],
    settings: Settings,
) -> torch.Tensor:
    """(8), the mean of (6) and (7), or one of them, and what else the settings make of it; all (B,)."""
    difference = m_label + alpha_s - alpha_m  # (7)
    denominator = alpha_m + settings["ratio_epsilon"]
    meaningless = denominator == 0
    if settings["min_alpha"] is not None:
        meaningless |= (alpha_m.abs() < settings["min_alpha"]) | (alpha_m * m_label < 0)
    ratio = alpha_s * m_label / torch.where(meaningless, torch.ones_like(alpha_m), denominator)  # (6)
    new = {"both": (ratio + difference) / 2, "ratio": ratio, "difference": difference}[settings["equations"]]
    new = torch.where(meaningless, difference, new)
    if settings["clamp"]:
        new = new.clamp(*label_range)
    return new


def momentum(old: torch.Tensor, new: torch.Tensor, epoch: int) -> torch.Tensor:
    """(9): over n epochs the value made in epoch i weighs 2i / (n (n + 1))."""
    return (epoch - 1) / (epoch + 1) * old + 2 / (epoch + 1) * new


def _append(stored: torch.Tensor | None, more: torch.Tensor) -> torch.Tensor:
    return more.clone() if stored is None else torch.cat([stored, more])
