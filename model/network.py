"""What a network is to the loop: forward and loss, and what it may do besides.

The loop, the checkpoint and `predict` know no more than this file, so a further network is one file
`model/<name>.py` with a class `Network`, and a block of the same name under `networks` in params.yaml.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import torch
from torch import nn

from model.batch import Batch

if TYPE_CHECKING:
    from transformers import BertModel

BRANCHES = ("fusion", "text", "audio", "vision")


class Branch(NamedTuple):
    """What one branch makes of a batch: feature (B, d), prediction (B,)."""

    feature: torch.Tensor
    prediction: torch.Tensor


Output = dict[str, Branch]


@dataclass(frozen=True)
class Dims:
    """What a data set offers a network.

    encoder: the text encoder, None where no clip has text; audio, vision: columns a frame, 0 where the
    data set lacks the modality; label_range: lowest and highest label.
    """

    encoder: "BertModel | None"
    audio: int
    vision: int
    label_range: tuple[float, float]

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities there are, in the order in which their features are joined."""
        there = {"text": self.encoder is not None, "audio": self.audio > 0, "vision": self.vision > 0}
        return tuple(modality for modality, is_there in there.items() if is_there)


class BaseNetwork(nn.Module):
    """The seam between a network and the one loop. Constructor: `Network(dims: Dims, **architecture)`.

    The types in the constructor's signature check the block's `architecture`, GROUPS the names in its `groups`.
    """

    GROUPS: tuple[str, ...] = ("all",)  # every name that parameter_groups may yield, on whatever data set

    def forward(self, batch: Batch) -> Output:
        """At least the branch `fusion`. Branches named text, audio, vision are sentiments too and are
        written with the predictions; a network may add others (a reconstruction, say) for its loss."""
        raise NotImplementedError

    def loss(self, output: Output, batch: Batch) -> dict[str, torch.Tensor]:
        """The terms whose sum is minimised, each a mean over the clips of the batch."""
        raise NotImplementedError

    def observe(self, output: Output, batch: Batch, epoch: int) -> None:
        """Called once a training batch, after its gradients; epochs count from 1."""

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Parameters by group; each name has its learning rate and weight decay in the block's `groups`."""
        return {"all": list(self.parameters())}

    def ulabels(self) -> pa.Table | None:
        """The u-labels as they stand (tables.ULABELS less the epoch), from a network that makes some."""
        return None
