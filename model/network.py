"""What a network is to the loop: forward and loss, and what it may do besides.

The loop, the checkpoint and `predict` know no more than this file, so a further network is one file
`model/<name>.py` with a class `Network`, and a block of the same name under `networks` in params.yaml.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

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


class BaseNetwork(nn.Module):
    """The seam between a network and the one loop. Constructor: `Network(dims: Dims, **architecture)`.

    The types in the constructor's signature check the block's `architecture`, GROUPS the names in its `groups`.
    """

    TITLE: str  # as tables print it
    GROUPS: tuple[str, ...] = ("all",)  # every name that parameter_groups may yield, on whatever data set
    NEEDS: tuple[str, ...] = ()  # modalities without which it is no network
    POOLER = False  # whether its BERT, where it trains one, has BERT's own pooling layer
    A_FRAME_A_TOKEN = (
        False  # whether it wants aligned data; else each token has an equal share of the frames (encoders.bounds)
    )

    def forward(self, batch: Batch) -> Output:
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

    def remembered(self) -> dict[str, Any]:
        """What training has left in the network beside its state_dict: dicts, lists, tensors and what JSON knows."""
        return {}

    def recall(self, remembered: Mapping[str, Any]) -> None:
        """Take back what `remembered` gave, tuples as lists."""
