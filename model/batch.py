"""Training table -> batches: standardised, padded to the longest clip of the batch, drawn by clip id and seed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from pipeline import tables


@dataclass(frozen=True)
class Batch:
    """B clips. Padding is at the end; `lengths` tells what is real, 0 that the clip lacks the modality.

    inputs: text (B, L) token ids, or (B, L, D) vectors of an encoder that is not trained; audio and vision (B, T, D)
    standardised frames;
    lengths: (B,) tokens or frames; labels: (B,), unimodal: (B,) by modality, human labels; NaN where there is none.
    """

    ids: tuple[str, ...]
    labels: torch.Tensor
    unimodal: dict[str, torch.Tensor]
    inputs: dict[str, torch.Tensor]
    lengths: dict[str, torch.Tensor]

    def __len__(self) -> int:
        return len(self.ids)

    def present(self, modality: str) -> torch.Tensor:
        """(B,) bool: which clips have the modality."""
        return self.lengths[modality] > 0

    def to(self, device: torch.device) -> "Batch":
        return replace(
            self,
            labels=self.labels.to(device),
            unimodal={modality: x.to(device) for modality, x in self.unimodal.items()},
            inputs={modality: x.to(device) for modality, x in self.inputs.items()},
            lengths={modality: x.to(device) for modality, x in self.lengths.items()},
        )


class Clips:
    """The clips of a (memory-mapped) training table, or of one split of it, in order of their ids.

    modalities: which to read; one that the table has no column for is absent from every clip.
    widths: columns a frame of audio and vision; statistics: {modality: {mean, std}} to standardise with.
    """

    def __init__(
        self,
        table: pa.Table,
        modalities: Sequence[str],
        widths: Mapping[str, int],
        statistics: Mapping[str, Mapping[str, Sequence[float]]],
        split: str | None = None,
    ) -> None:
        ids = table["id"].to_pylist()
        splits = table["split"].to_pylist()
        rows = [row for row in range(len(ids)) if split is None or splits[row] == split]
        self.rows = sorted(rows, key=ids.__getitem__)
        self.ids = [ids[row] for row in self.rows]
        self.splits = [splits[row] for row in self.rows]
        self.labels = self._labels(table["label"])
        self.unimodal = {m: self._labels(table[column]) for m, column in tables.UNIMODAL.items()}
        self.modalities = tuple(modalities)
        self._widths = widths
        self._vectors = "text" in table.column_names  # vectors.attached
        names = {"text": "text" if self._vectors else "input_ids", "audio": "audio", "vision": "vision"}
        self._columns = {m: table[names[m]] for m in modalities if names[m] in table.column_names}
        self._scales = {m: _scale(statistics[m]) for m in self._columns if m != "text"}
        tokens = table["input_ids"].to_pylist()
        self._tokens = [len(tokens[row]) for row in self.rows]

    def __len__(self) -> int:
        return len(self.ids)

    def steps(self, size: int, accumulate: int, seed: int, epoch: int) -> Iterator[list[Batch]]:
        """One epoch, every clip once: the batches of one optimiser step at a time.

        The clips of a step are drawn by id and seed, whatever the order of the table's rows; inside a
        step they are sorted by length, so that batches pad little while the step's gradient stays.
        """
        for drawn in self.drawn(size * accumulate, seed, epoch):
            step = sorted(drawn, key=self._tokens.__getitem__)
            yield [self.batch(step[i : i + size]) for i in range(0, len(step), size)]

    def drawn(self, size: int, seed: int, epoch: int) -> list[list[int]]:
        """Every clip once, by id and seed: the positions of one batch at a time."""
        order = np.random.default_rng([seed, epoch]).permutation(len(self)).tolist()
        return [order[start : start + size] for start in range(0, len(order), size)]

    def ordered(self, size: int) -> Iterator[list[int]]:
        """Every clip once, by length: the positions of one batch at a time."""
        order = sorted(range(len(self)), key=self._tokens.__getitem__)
        for start in range(0, len(order), size):
            yield order[start : start + size]

    def batch(self, positions: Sequence[int]) -> Batch:
        """The clips at these positions of `ids`."""
        cells = {m: [self._cell(m, self.rows[p]) for p in positions] for m in self.modalities}
        return Batch(
            ids=tuple(self.ids[p] for p in positions),
            labels=torch.from_numpy(self.labels[list(positions)]),
            unimodal={m: torch.from_numpy(x[list(positions)]) for m, x in self.unimodal.items()},
            inputs={m: _pad(clips) for m, clips in cells.items()},
            lengths={m: torch.tensor([len(clip) for clip in clips]) for m, clips in cells.items()},
        )

    def _labels(self, column: pa.ChunkedArray) -> np.ndarray:
        values = column.to_pylist()
        return np.array([np.nan if values[row] is None else values[row] for row in self.rows], np.float32)

    def _cell(self, modality: str, row: int) -> np.ndarray:
        if modality == "text" and not self._vectors:
            return np.array(self._columns["text"][row].as_py(), np.int64)  # (L,)
        if modality not in self._columns:
            return np.zeros((0, self._widths[modality]), np.float32)
        x = tables.sequence(self._columns[modality][row])  # (T, D)
        if modality == "text":
            return x
        mean, std = self._scales[modality]
        x = (x - mean) / std
        return np.where(np.isnan(x), np.float32(0), x)


def _scale(statistics: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    return np.array(statistics["mean"], np.float32), np.array(statistics["std"], np.float32)


def _pad(clips: list[np.ndarray]) -> torch.Tensor:
    """(T_i, ...) -> (B, T, ...), T at least 1 so that every encoder has something to run over."""
    longest = max(1, *(len(clip) for clip in clips))
    padded = np.zeros((len(clips), longest, *clips[0].shape[1:]), clips[0].dtype)
    for row, clip in zip(padded, clips, strict=True):
        row[: len(clip)] = clip
    return torch.from_numpy(padded)
