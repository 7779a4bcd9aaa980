"""What passes between the rooms of model/: what a data set offers a network, a batch, and what the network makes of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, NamedTuple

import torch

if TYPE_CHECKING:
    from transformers import BertModel

BRANCHES = ("fusion", "text", "audio", "vision")

# What a training keeps between two epochs (model/training/resume.py): tensors and what JSON holds.
Tree = torch.Tensor | str | int | float | None | Sequence["Tree"] | Mapping[str, "Tree"] | Mapping[int, "Tree"]


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
        return self._each(lambda x: x.to(device, non_blocking=True))

    def rows(self, rows: Sequence[int]) -> "Batch":
        """These clips of it, padded as it is."""
        return replace(self._each(lambda x: x[rows]), ids=tuple(self.ids[row] for row in rows))

    def _each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> "Batch":
        def changed(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            return {name: change(x) for name, x in tensors.items()}

        inputs, lengths = changed(self.inputs), changed(self.lengths)
        return replace(
            self, labels=change(self.labels), unimodal=changed(self.unimodal), inputs=inputs, lengths=lengths
        )


class Branch(NamedTuple):
    """What one branch makes of a batch: feature (B, d), prediction (B,)."""

    feature: torch.Tensor
    prediction: torch.Tensor


class Output(dict[str, Branch]):
    """Branches by name, `fusion` at least. Those named text, audio, vision are sentiments too and are written with the
    predictions. hidden: what else the loss needs (a reconstruction, say), each (B, ...)."""

    def __init__(self, branches: Mapping[str, Branch], **hidden: torch.Tensor) -> None:
        super().__init__(branches)
        self.hidden = hidden


@dataclass(frozen=True)
class Dims:
    """What a data set offers a network.

    text: columns of a token's vector, audio, vision: columns a frame, 0 where the data set lacks the modality;
    encoder: the text encoder that is trained along, None where its vectors come with the batch, or where there is no
    text; label_range: lowest and highest label.
    """

    text: int
    audio: int
    vision: int
    label_range: tuple[float, float]
    encoder: "BertModel | None"

    @property
    def widths(self) -> dict[str, int]:
        """Columns by modality, of those there are."""
        widths = {"text": self.text, "audio": self.audio, "vision": self.vision}
        return {modality: width for modality, width in widths.items() if width}
