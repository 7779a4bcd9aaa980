"""What a network is to the loop: forward and loss, and what it may do besides.

The loop, the checkpoint and `predict` know no more than this file, so a further network is one file
`model/networks/<name>.py` with a class `Network`, and a file of the same name for its values, `networks/<name>.yaml`.
"""

from collections.abc import Mapping
from typing import Annotated

import pyarrow as pa
import torch
from pydantic import AfterValidator, Field
from torch import nn

from model.records import Batch, Output, Tree

Share = Annotated[float, Field(ge=0, lt=1)]  # a dropout


def named(*names: str) -> AfterValidator:
    """For Annotated[Mapping[str, ...], named(...)]: a value for each of these names and for no other."""

    def check(found: dict[str, object]) -> dict[str, object]:
        if found.keys() != set(names):
            raise ValueError(f"expected the keys {', '.join(names)}")
        return found

    return AfterValidator(check)


class BaseNetwork(nn.Module):
    """The seam between a network and the one loop. Constructor: `Network(dims: Dims, **architecture)`.

    The types in the constructor's signature check the block's `architecture`, GROUPS the names in its `groups`.
    """

    TITLE: str  # as tables print it
    GROUPS: tuple[str, ...] = ("all",)  # every name that parameter_groups may yield, on whatever data set
    NEEDS: tuple[str, ...] = ()  # modalities without which it is no network
    POOLER = False  # whether its BERT, where it trains one, has BERT's own pooling layer
    A_FRAME_A_TOKEN = (
        False  # whether it wants aligned data; else each token has an equal share of the frames (layers.bounds)
    )

    precision = "float32"  # of its training on a GPU: float32 or bfloat16

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

    def remembered(self) -> dict[str, Tree]:
        """What training has left in the network beside its state_dict."""
        return {}

    def recall(self, remembered: Mapping[str, Tree]) -> None:
        """Take back what `remembered` gave, tuples as lists."""
