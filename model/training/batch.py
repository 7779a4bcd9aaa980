"""Training table -> batches: standardised, padded to the longest clip of the batch, drawn by clip id and seed.

On a CPU a batch is read from the table's memory-mapped pages, and nothing else of the table is held; `hold` puts all
of it on a GPU instead.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
import torch
from torch.nn.utils.rnn import pad_sequence

from model.records import Batch
from pipeline import tables
from pipeline.tables import Statistics


class Clips:
    """The clips of a (memory-mapped) training table, or of one split of it, in order of their ids.

    modalities: which to read; one that the table has no column for is absent from every clip.
    widths: columns a frame of audio and vision; statistics: by modality, to standardise with.
    """

    def __init__(
        self,
        table: pa.Table,
        modalities: Sequence[str],
        widths: Mapping[str, int],
        statistics: Mapping[str, Statistics],
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
        self._vectors = "text" in table.column_names  # vectors.attached
        names = {"text": "text" if self._vectors else "input_ids", "audio": "audio", "vision": "vision"}
        self._cells = {
            m: _cells(table[names[m]], self.rows)
            if names[m] in table.column_names
            else [np.zeros((0, widths[m]), np.float32)] * len(self)
            for m in modalities
        }
        self._scales = {m: _scale(statistics[m]) for m in modalities if m != "text" and m in table.column_names}
        self._tokens = [len(cell) for cell in _cells(table["input_ids"], self.rows)]
        self._held: dict[str, list[torch.Tensor]] = {}  # modality -> each clip's input, on a device

    def __len__(self) -> int:
        return len(self.ids)

    def steps(self, size: int, accumulate: int, bucket: int, seed: int, epoch: int) -> Iterator[list[Batch]]:
        """One epoch, every clip once: the batches of one optimiser step at a time.

        Clips are drawn by id and seed, whatever the order of the table's rows; those of `bucket` steps are sorted by
        length together, so that batches pad little; 0: not at all (hyper.Fit).
        """
        step = size * accumulate
        for drawn in self.drawn(step * max(bucket, 1), seed, epoch):
            if bucket:
                drawn.sort(key=self._tokens.__getitem__)
            steps = [drawn[start : start + step] for start in range(0, len(drawn), step)]
            if bucket > 1:
                np.random.default_rng([seed, epoch, drawn[0]]).shuffle(steps)
            for clips in steps:
                yield [self.batch(clips[start : start + size]) for start in range(0, len(clips), size)]

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
        return Batch(
            ids=tuple(self.ids[p] for p in positions),
            labels=torch.from_numpy(self.labels[list(positions)]),
            unimodal={m: torch.from_numpy(x[list(positions)]) for m, x in self.unimodal.items()},
            inputs={m: self._padded(m, positions) for m in self.modalities},
            lengths={m: torch.tensor([len(self._cells[m][p]) for p in positions]) for m in self.modalities},
        )

    def hold(self, device: torch.device) -> None:
        """Keep every clip's input on this device, standardised; batches are then made there, of equal values."""
        for modality, cells in self._cells.items():
            lengths = [len(cell) for cell in cells]
            like = self._padded(modality, [0])
            held = torch.empty(sum(lengths), *like.shape[2:], dtype=like.dtype, device=device).split(lengths)
            for place, x in enumerate(held):
                x.copy_(self._padded(modality, [place])[0, : len(x)])
            self._held[modality] = list(held)

    def bytes(self) -> int:
        """What `hold` would take."""
        return sum(cell.size * (8 if cell.ndim == 1 else 4) for cells in self._cells.values() for cell in cells)

    def _padded(self, modality: str, positions: Sequence[int]) -> torch.Tensor:
        """(B, T, ...), T at least 1 so that every encoder has something to run over."""
        if held := self._held.get(modality):
            x = pad_sequence([held[p] for p in positions], batch_first=True)
            return x if x.shape[1] else x.new_zeros(len(x), 1, *x.shape[2:])
        cells = [self._cells[modality][p] for p in positions]
        longest = max(1, *(len(cell) for cell in cells))
        kind = np.int64 if cells[0].ndim == 1 else np.float32
        padded = np.zeros((len(cells), longest, *cells[0].shape[1:]), kind)
        for row, cell in zip(padded, cells, strict=True):
            real = row[: len(cell)]
            if modality in self._scales:
                mean, std = self._scales[modality]
                np.subtract(cell, mean, out=real)
                np.divide(real, std, out=real)
                real[np.isnan(real)] = 0
            else:
                real[:] = cell
        return torch.from_numpy(padded)

    def _labels(self, column: pa.ChunkedArray) -> np.ndarray:
        values = column.to_pylist()
        return np.array([np.nan if values[row] is None else values[row] for row in self.rows], np.float32)


def _cells(column: pa.ChunkedArray, rows: Sequence[int]) -> list[np.ndarray]:
    """Each row's (L,) tokens or (T, D) frames, read-only views of the column; a null has none."""
    views: list[np.ndarray] = []
    for chunk in column.chunks:
        values = chunk.values
        width = values.type.list_size if pa.types.is_fixed_size_list(values.type) else None
        flat = (values.flatten() if width else values).to_numpy(zero_copy_only=True)
        flat = flat.reshape(-1, width) if width else flat
        starts = chunk.offsets.to_numpy(zero_copy_only=True).tolist()
        views += [flat[start:end] for start, end in pairwise(starts)]
    return [views[row] for row in rows]


def _scale(statistics: Statistics) -> tuple[np.ndarray, np.ndarray]:
    return np.array(statistics.mean, np.float32), np.array(statistics.std, np.float32)
