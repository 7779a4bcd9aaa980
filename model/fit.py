"""The one loop: optimiser, accumulation, early stop on the validation split. It never receives the test split."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from model import metrics
from model.batch import Batch, Clips
from model.hyper import Fit, Group
from model.network import BaseNetwork, Output
from pipeline import tables
from pipeline.errors import ParamsError

EVALUATION_BATCH = 64


@dataclass(frozen=True)
class History:
    """curves: one row an epoch; ulabels: tables.ULABELS, or None; best_epoch counts from 1."""

    curves: list[dict[str, Any]]
    ulabels: pa.Table | None
    best_epoch: int

    @property
    def best(self) -> dict[str, Any]:
        return self.curves[self.best_epoch - 1]


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def precision() -> str:
    """What the network computes in: bfloat16 (autocast) on CUDA, else float32."""
    return "bfloat16" if device().type == "cuda" else "float32"


def seeded(seed: int) -> None:
    """Makes all that follows repeatable; call it before the network is built."""
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # what CUDA's matrix products and LSTMs want for it
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)


def fit(
    network: BaseNetwork,
    train: Clips,
    valid: Clips,
    groups: Mapping[str, Group],
    params: Fit,
    seed: int,
    tell: Callable[[Mapping[str, Any]], None] = lambda row: None,
) -> History:
    """Train in place and leave the weights of the epoch that the validation split prefers (hyper.Fit says how).

    tell: called with each epoch's row of the curves.
    Raises ParamsError where the loss ceases to be a number.
    """
    network.to(device())
    optimizer = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[params.optimizer](
        _groups(network, groups, params)
    )
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=params.plateau) if params.plateau else None
    curves: list[dict[str, Any]] = []
    ulabels: list[pa.Table] = []
    best_epoch, weights = 0, {}
    for epoch in range(1, params.max_epochs + 1):
        terms = _train_epoch(network, train, optimizer, params, seed, epoch)
        if not np.isfinite(sum(terms.values())):
            raise ParamsError(
                f"The loss of epoch {epoch} is not finite. Lower the learning rates under networks in params.yaml "
                f"(now {', '.join(f'{name} {group.lr:g}' for name, group in groups.items())}), then: dvc repro train"
            )
        curves.append(
            {"epoch": epoch, "train_loss": sum(terms.values()), **_validate(network, valid, params, seed, epoch)}
        )
        curves[-1] |= {f"loss_{name}": value for name, value in terms.items()}
        tell(curves[-1])
        if plateau:
            plateau.step(_criterion(curves[-1], params))
        if (made := network.ulabels()) is not None:
            ulabels.append(made.add_column(0, tables.ULABELS.field("epoch"), pa.array([epoch] * len(made), pa.int32())))
        if not best_epoch or _criterion(curves[-1], params) < _criterion(curves[best_epoch - 1], params):
            best_epoch = epoch
            weights = {name: value.clone() for name, value in network.state_dict().items()}
        if epoch - best_epoch >= params.patience:
            break
    network.load_state_dict(weights)
    return History(curves, pa.concat_tables(ulabels) if ulabels else None, best_epoch)


def check(params: Fit, clips: int) -> None:
    """Raise ParamsError where so many training clips would not make one step."""
    if params.gradients == "sum" and clips <= params.batch * (params.accumulate - 1):
        raise ParamsError(
            f"The {clips} training clips do not fill one step of {params.accumulate} batches of {params.batch}, and "
            "gradients: sum leaves out a step that is not full: nothing would be learned. Lower fit.accumulate or "
            "fit.batch of the values in params.yaml, or take a preset with gradients: mean."
        )


def forward(network: BaseNetwork, batch: Batch) -> Output:
    with torch.autocast(device().type, torch.bfloat16, enabled=precision() == "bfloat16"):
        return network(batch)


def _train_epoch(
    network: BaseNetwork, train: Clips, optimizer: torch.optim.Optimizer, params: Fit, seed: int, epoch: int
) -> dict[str, float]:
    """The mean of each term of the loss over the clips."""
    network.train()
    totals: dict[str, float] = {}
    for step in train.steps(params.batch, params.accumulate, seed, epoch):
        clips = sum(len(batch) for batch in step)
        optimizer.zero_grad()
        for batch in (batch.to(device()) for batch in step):
            output = forward(network, batch)
            terms = network.loss(output, batch)
            share = len(batch) / clips if params.gradients == "mean" else 1.0
            (sum(terms.values(), torch.zeros(())) * share).backward()
            network.observe(output, batch, epoch)
            for name, term in terms.items():
                totals[name] = totals.get(name, 0.0) + term.item() * len(batch)
        if params.gradients == "mean" or len(step) == params.accumulate:
            if params.clip:
                torch.nn.utils.clip_grad_value_(network.parameters(), params.clip)
            optimizer.step()
    return {name: total / len(train) for name, total in totals.items()}


@torch.inference_mode()
def _validate(network: BaseNetwork, valid: Clips, params: Fit, seed: int, epoch: int) -> dict[str, float | None]:
    """Loss, MAE and correlation of the validation split; the loss over clips, or over batches (hyper.Fit)."""
    by_clip = params.validation == "clips"
    batches = list(valid.ordered(EVALUATION_BATCH)) if by_clip else valid.drawn(params.batch, seed, epoch)
    losses, sizes, predictions, labels = [], [], [], []
    network.eval()
    for positions in batches:
        batch = valid.batch(positions).to(device())
        output = forward(network, batch)
        losses.append(sum(term.item() for term in network.loss(output, batch).values()))
        sizes.append(len(batch))
        predictions.append(output["fusion"].prediction.float().cpu().numpy())
        labels.append(batch.labels.cpu().numpy())
    loss = float(np.average(losses, weights=sizes if by_clip else None))
    p, y = np.concatenate(predictions), np.concatenate(labels)
    return {"valid_loss": loss, "valid_mae": metrics.mae(p, y), "valid_corr": metrics.corr(p, y)}


def _criterion(row: Mapping[str, Any], params: Fit) -> float:
    return float(row["valid_mae"] if params.validation == "clips" else round(row["valid_loss"], 4))


def _groups(network: BaseNetwork, groups: Mapping[str, Group], params: Fit) -> list[dict[str, Any]]:
    """Two optimiser groups a group: what decays, and biases and norms that do not."""
    settings = []
    for name, parameters in network.parameter_groups().items():
        if name not in groups:
            raise ParamsError(f"params.yaml: the network's groups have no '{name}', only {sorted(groups)}. Add it.")
        all_decay = params.optimizer == "adam" and name != "text"
        for decays in (True, False):
            members = [parameter for parameter in parameters if (all_decay or parameter.ndim > 1) == decays]
            decay = groups[name].weight_decay if decays else 0.0
            settings.append({"params": members, "lr": groups[name].lr, "weight_decay": decay})
    return [group for group in settings if group["params"]]
