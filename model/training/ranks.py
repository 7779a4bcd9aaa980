"""One training by several processes: each runs a part of every batch through the network, and all see the whole output.

torch.distributed's process group says how many there are (model/training/torchrun.py starts them); without a group there is one,
and nothing here does anything. What a network makes of the parts is gathered before its loss, so that a loss that looks
across the batch (MISA's, MFM's) and ULGM's F*, u-labels and centres are those of the whole batch in every process, as in
one. DistributedDataParallel averages over the losses of parts instead, which for those is another loss.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import nn

from model.records import Batch, Branch, Output


def count() -> int:
    """Processes of this training."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is: from 0, the one that writes."""
    return dist.get_rank() if count() > 1 else 0


def seeded(seed: int, epoch: int) -> None:
    """An epoch's own generators (dropout) in each of several processes; in one they run on from epoch to epoch."""
    if count() > 1:
        torch.manual_seed(int(np.random.SeedSequence([seed, epoch, rank()]).generate_state(1)[0]))


def part(batch: Batch) -> Batch:
    """This process's share of a batch: every count-th clip, so that the longest are spread; padded as the whole batch is.

    All have equally many: where they do not come out even, the batch's first clips are run again, and `gathered` drops
    what became of them.
    """
    if count() == 1:
        return batch
    shared = -(-len(batch) // count()) * count()
    return batch.rows([row % len(batch) for row in range(rank(), shared, count())])


def gathered(output: Output, clips: int) -> Output:
    """The output of a batch of so many clips, in its order, of the outputs of its parts; its gradients go back to them."""
    if count() == 1:
        return output

    def whole(x: torch.Tensor) -> torch.Tensor:
        parts: torch.Tensor = _Gather.apply(x)  # type: ignore[no-untyped-call]
        return parts[:clips]

    branches = {name: Branch(whole(made.feature), whole(made.prediction)) for name, made in output.items()}
    return Output(branches, **{name: whole(x) for name, x in output.hidden.items()})


def average(parameters: Iterable[nn.Parameter]) -> None:
    """The gradients of one step, of all processes: one exchange."""
    if count() == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    dist.all_reduce(flat)
    flat /= count()
    for gradient, values in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
        gradient.copy_(values.view_as(gradient))


class _Gather(torch.autograd.Function):
    """(b, ...) of each process -> (b * count, ...), row i from process i % count, in all of them.

    Each computes the same loss of it. The gradient of its own rows goes back times count, so that the average over the
    processes is the sum over the batch for what comes before, and itself for parameters that the loss uses directly.
    """

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        parts = [torch.empty_like(x, memory_format=torch.contiguous_format) for _ in range(count())]
        dist.all_gather(parts, x.contiguous())
        return torch.stack(parts, 1).flatten(0, 1)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        parts: torch.Tensor = gradient.unflatten(0, (-1, count()))
        return parts[:, rank()] * count()
