"""Tables of rawmsa as torch tensors."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    import pandas as pd

LABELS = ("label", "label_T", "label_A", "label_V")


@dataclass(frozen=True)
class Tensors:
    """N clips. Lists have an entry for each clip, in order of `ids`.

    ids: of the clips; [""] for a clip that was extracted alone.
    frames: by modality, (T, D) float32, NaN where there is no value. columns: by modality, the D names.
    times: (T,) float64 seconds from the clip's start; empty for a training table, whose frames are pooled.
    tokens: (L,) int64; empty for features.
    labels: label, label_T, label_A, label_V, (N,) float32, NaN where there is none; empty for features.
    splits: train, valid, test or None; empty for features.
    """

    ids: list[str]
    frames: dict[str, list[torch.Tensor]]
    columns: dict[str, list[str]]
    times: list[torch.Tensor] = field(default_factory=list)
    tokens: list[torch.Tensor] = field(default_factory=list)
    labels: dict[str, torch.Tensor] = field(default_factory=dict)
    splits: list[str | None] = field(default_factory=list)


def tensors(table: "pd.DataFrame") -> Tensors:
    """As rawmsa.tensors has it."""
    return _of_features(table) if "modality" in table.attrs else _of_data_set(table)


def _of_data_set(table: "pd.DataFrame") -> Tensors:
    columns = {modality: list(names) for modality, names in table.attrs["columns"].items() if modality in table}
    return Tensors(
        ids=table["id"].tolist(),
        frames={modality: [torch.tensor(x) for x in table[modality]] for modality in columns},
        columns=columns,
        tokens=[torch.tensor(np.array(ids, np.int64)) for ids in table["input_ids"]],
        labels={name: torch.tensor(table[name].to_numpy(np.float32, na_value=np.nan)) for name in LABELS},
        splits=[split if isinstance(split, str) else None for split in table["split"]],
    )


def _of_features(table: "pd.DataFrame") -> Tensors:
    alone = table.index.nlevels == 1
    parts = [("", table)] if alone else list(table.groupby(level="id", sort=False))
    return Tensors(
        ids=[str(id) for id, _ in parts],
        frames={table.attrs["modality"]: [torch.tensor(part.to_numpy(np.float32)) for _, part in parts]},
        columns={table.attrs["modality"]: table.columns.tolist()},
        times=[torch.tensor(part.index.get_level_values("time").to_numpy(np.float64)) for _, part in parts],
    )
