"""The one loop: optimiser, accumulation, early stop on the validation split. It never receives the test split.

Where a training has several processes (model/training/ranks.py) each runs this loop on the same clips, and all stay equal.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import NamedTuple, TypedDict, cast

import numpy as np
import pyarrow as pa
import torch
from torch import nn

from model.measures import metrics
from model.networks.base import BaseNetwork
from model.records import Batch, Output, Tree
from model.training import gpus, ranks
from model.training.batch import Clips
from model.training.hyper import Fit, Group
from model.training.resume import Keeper
from pipeline import tables
from pipeline.errors import ParamsError, TableError

EVALUATION_BATCH = 64
TABLE_SHARE = (
    0.3  # of a GPU's free memory that a split may fill, over all trainings on it; a larger split is sent batch by batch
)


@dataclass(frozen=True)
class Epoch:
    """One point of the curves. terms: of the training loss, by name (fusion, text, …); epochs count from 1."""

    epoch: int
    train_loss: float
    valid_loss: float
    valid_mae: float
    valid_corr: float | None
    terms: dict[str, float]

    @property
    def row(self) -> dict[str, float | None]:
        """As curves.csv has it."""
        return {
            "epoch": self.epoch,
            "train_loss": self.train_loss,
            "valid_loss": self.valid_loss,
            "valid_mae": self.valid_mae,
            "valid_corr": self.valid_corr,
            **{f"loss_{name}": value for name, value in self.terms.items()},
        }


@dataclass(frozen=True)
class History:
    """ulabels: tables.ULABELS, or None; best_epoch counts from 1."""

    curves: list[Epoch]
    ulabels: pa.Table | None
    best_epoch: int

    @property
    def best(self) -> Epoch:
        return self.curves[self.best_epoch - 1]


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def precision(wanted: str) -> str:
    """What a training computes in: bfloat16 (autocast) on CUDA where the parameter `precision` is auto, else float32."""
    return "bfloat16" if wanted == "auto" and device().type == "cuda" else "float32"


def seeded(seed: int) -> None:
    """Makes all that follows repeatable; call it before the network is built."""
    os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # what CUDA's matrix products and LSTMs want for it
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # nothing reads what it did not write


def fit(
    network: BaseNetwork,
    train: Clips,
    valid: Clips,
    groups: Mapping[str, Group],
    params: Fit,
    seed: int,
    tell: Callable[[Epoch], None] = lambda point: None,
    keeper: Keeper | None = None,
) -> History:
    """Train in place and leave the weights of the epoch that the validation split prefers (hyper.Fit says how).

    tell: called with each epoch's point of the curves; keeper: of the state between epochs, from which a training that
    was stopped goes on as if it had not been.
    Raises ParamsError where a loss ceases to be a number, TableError where what a clip brings is none.
    """
    network.to(device())
    for clips in (train, valid):
        if device().type == "cuda" and clips.bytes() < gpus.share(TABLE_SHARE):
            clips.hold(device())
    course = _Course(network, groups, params)
    if keeper and (state := keeper.found()):
        course.restore(cast(_State, state))
    for epoch in range(len(course.curves) + 1, params.max_epochs + 1):
        if course.best_epoch and len(course.curves) - course.best_epoch >= params.patience:
            break
        terms = _train_epoch(network, train, course.optimizer, groups, params, seed, epoch)
        point = Epoch(epoch, sum(terms.values()), *_validate(network, valid, groups, params, seed, epoch), terms)
        course.add(point, params)
        tell(point)
        if keeper:
            keeper.keep(epoch, lambda: cast(Mapping[str, Tree], course.state()))
    network.load_state_dict(course.weights)
    return History(course.curves, pa.concat_tables(course.ulabels) if course.ulabels else None, course.best_epoch)


class _Point(TypedDict):
    """An Epoch."""

    epoch: int
    train_loss: float
    valid_loss: float
    valid_mae: float
    valid_corr: float | None
    terms: dict[str, float]


class _State(TypedDict):
    """A _Course as a tree. network, weights: state_dicts; ulabels: as bytes."""

    network: dict[str, torch.Tensor]
    remembered: dict[str, Tree]
    optimizer: dict[str, Tree]
    plateau: dict[str, Tree] | None
    curves: list[_Point]
    ulabels: torch.Tensor | None
    best_epoch: int
    weights: dict[str, torch.Tensor]
    cpu_generator: torch.Tensor
    cuda_generators: list[torch.Tensor]


class _Course:
    """A training between two epochs: all that decides how it goes on, and what it has brought so far.

    weights: of the best epoch.
    """

    def __init__(self, network: BaseNetwork, groups: Mapping[str, Group], params: Fit) -> None:
        self.network = network
        self.optimizer: torch.optim.Optimizer = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[
            params.optimizer
        ](_groups(network, groups, params), fused=True)
        self.plateau = (
            torch.optim.lr_scheduler.ReduceLROnPlateau(self.optimizer, patience=params.plateau)
            if params.plateau
            else None
        )
        self.curves: list[Epoch] = []
        self.ulabels: list[pa.Table] = []
        self.best_epoch = 0
        self.weights: dict[str, torch.Tensor] = {}

    def add(self, point: Epoch, params: Fit) -> None:
        """An epoch has ended with this point of the curves."""
        epoch = point.epoch
        self.curves.append(point)
        if self.plateau:
            self.plateau.step(_criterion(point, params))
        if (made := self.network.ulabels()) is not None:
            epochs = pa.array([epoch] * len(made), pa.int32())
            self.ulabels.append(made.add_column(0, tables.ULABELS.field("epoch"), epochs))
        if not self.best_epoch or _criterion(point, params) < _criterion(self.curves[self.best_epoch - 1], params):
            self.best_epoch = epoch
            self.weights = {name: value.clone() for name, value in self.network.state_dict().items()}

    def state(self) -> _State:
        return {
            "network": self.network.state_dict(),
            "remembered": self.network.remembered(),
            "optimizer": self.optimizer.state_dict(),
            "plateau": self.plateau.state_dict() if self.plateau else None,
            "curves": [cast(_Point, asdict(point)) for point in self.curves],
            "ulabels": _packed(self.ulabels),
            "best_epoch": self.best_epoch,
            "weights": self.weights,
            "cpu_generator": torch.get_rng_state(),
            "cuda_generators": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        }

    def restore(self, state: _State) -> None:
        self.network.load_state_dict(state["network"])
        self.network.recall(state["remembered"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.plateau and state["plateau"]:
            self.plateau.load_state_dict(state["plateau"])
        self.curves = [Epoch(**point) for point in state["curves"]]
        self.ulabels = _unpacked(state["ulabels"])
        self.best_epoch = state["best_epoch"]
        self.weights = state["weights"]
        torch.set_rng_state(state["cpu_generator"])
        for place, generator in enumerate(state["cuda_generators"][: torch.cuda.device_count()]):
            torch.cuda.set_rng_state(generator, place)


def _packed(made: list[pa.Table]) -> torch.Tensor | None:
    """Tables as the bytes of one Arrow stream."""
    if not made:
        return None
    stream = pa.BufferOutputStream()
    with pa.ipc.new_stream(stream, made[0].schema) as writer:
        for table in made:
            writer.write_table(table)
    return torch.frombuffer(bytearray(stream.getvalue()), dtype=torch.uint8)


def _unpacked(packed: torch.Tensor | None) -> list[pa.Table]:
    """In one table, of the same chunks: the bytes that Parquet makes of them may depend on these."""
    return [] if packed is None else [pa.ipc.open_stream(pa.py_buffer(packed.numpy())).read_all()]


def check(params: Fit, clips: int) -> None:
    """Raise ParamsError where so many training clips would not make one step."""
    if params.gradients == "sum" and clips <= params.batch * (params.accumulate - 1):
        raise ParamsError(
            f"The {clips} training clips do not fill one step of {params.accumulate} batches of {params.batch}, and "
            "gradients: sum leaves out a step that is not full: nothing would be learned. Lower fit.accumulate or "
            "fit.batch of the values in the network's file of networks/, or take a preset with gradients: mean."
        )


def forward(network: BaseNetwork, batch: Batch) -> Output:
    """In this process alone, as all that is not training does; on CUDA in the precision that the network was trained in."""
    used = network.precision if device().type == "cuda" else "float32"
    with torch.autocast(device().type, torch.bfloat16, enabled=used == "bfloat16"):
        output: Output = network(batch)
    return output


def _forward(network: BaseNetwork, batch: Batch) -> Output:
    """The same by all processes of the training."""
    return ranks.gathered(forward(network, ranks.part(batch)), len(batch))


def _train_epoch(
    network: BaseNetwork,
    train: Clips,
    optimizer: torch.optim.Optimizer,
    groups: Mapping[str, Group],
    params: Fit,
    seed: int,
    epoch: int,
) -> dict[str, float]:
    """The mean of each term of the loss over the clips."""
    network.train()
    ranks.seeded(seed, epoch)
    losses = _Losses(f"loss of epoch {epoch}", groups)
    for step in train.steps(params.batch, params.accumulate, params.bucket, seed, epoch):
        clips = sum(len(batch) for batch in step)
        optimizer.zero_grad()
        for held in step:
            if epoch == 1:
                _check_inputs(held)
            batch = held.to(device())
            output = _forward(network, batch)
            terms = network.loss(output, batch)
            share = len(batch) / clips if params.gradients == "mean" else 1.0
            (sum(terms.values(), torch.zeros(())) * share).backward()
            network.observe(output, batch, epoch)
            losses.add(terms, batch)
        if params.gradients == "mean" or len(step) == params.accumulate:
            for parameter in network.parameters():
                if parameter.grad is not None and parameter.grad.is_sparse:
                    parameter.grad = parameter.grad.to_dense()
            ranks.average(network.parameters())
            if params.clip:
                torch.nn.utils.clip_grad_value_(network.parameters(), params.clip)
            optimizer.step()
    means, sizes = losses.read()
    return {name: float(np.average(values, weights=sizes)) for name, values in means.items()}


class _Valid(NamedTuple):
    """Of the validation split."""

    loss: float
    mae: float
    corr: float | None


@torch.inference_mode()
def _validate(
    network: BaseNetwork, valid: Clips, groups: Mapping[str, Group], params: Fit, seed: int, epoch: int
) -> _Valid:
    """Loss, MAE and correlation of the validation split; the loss over clips, or over batches (hyper.Fit)."""
    by_clip = params.validation == "clips"
    batches = list(valid.ordered(EVALUATION_BATCH)) if by_clip else valid.drawn(params.batch, seed, epoch)
    losses, predictions, labels = _Losses(f"validation loss of epoch {epoch}", groups), [], []
    network.eval()
    for positions in batches:
        held = valid.batch(positions)
        if epoch == 1:
            _check_inputs(held)
        batch = held.to(device())
        output = _forward(network, batch)
        losses.add(network.loss(output, batch), batch)
        predictions.append(output["fusion"].prediction.float())
        labels.append(held.labels)
    terms, sizes = losses.read()
    loss = float(np.average(np.sum(list(terms.values()), axis=0), weights=sizes if by_clip else None))
    p, y = torch.cat(predictions).cpu().numpy(), torch.cat(labels).cpu().numpy()
    return _Valid(loss, metrics.mae(p, y), metrics.corr(p, y))


class _Losses:
    """The terms of each batch's loss. A GPU is asked for them once, after the last batch, so that it never waits.

    name: of the loss, in errors. Raises ParamsError at a batch whose loss is not a number: on a CPU there and then.
    """

    def __init__(self, name: str, groups: Mapping[str, Group]) -> None:
        self.name = name
        self.groups = groups
        self._terms: dict[str, list[torch.Tensor]] = {}
        self._ids: list[tuple[str, ...]] = []

    def add(self, terms: Mapping[str, torch.Tensor], batch: Batch) -> None:
        for name, term in terms.items():
            self._terms.setdefault(name, []).append(term.detach())
        self._ids.append(batch.ids)
        if batch.labels.device.type == "cpu":
            self._check({name: term.item() for name, term in terms.items()}, batch.ids)

    def read(self) -> tuple[dict[str, np.ndarray], list[int]]:
        """Each term by batch, and the clips of each batch."""
        terms = {name: torch.stack(values).double().cpu().numpy() for name, values in self._terms.items()}
        for place, ids in enumerate(self._ids):
            self._check({name: values[place] for name, values in terms.items()}, ids)
        return terms, [len(ids) for ids in self._ids]

    def _check(self, terms: Mapping[str, float], ids: tuple[str, ...]) -> None:
        if not np.isfinite(sum(terms.values())):
            raise ParamsError(
                f"The {self.name} is not finite: found {', '.join(f'{name} {value:g}' for name, value in terms.items())}, "
                f"expected numbers, in the batch of {', '.join(ids)}. Look at these clips with: rawmsa show "
                "<dataset>/<clip>; or lower the learning rates in the network's file of networks/ "
                f"(now {', '.join(f'{group} {settings.lr:g}' for group, settings in self.groups.items())}), then: dvc repro train"
            )


def _check_inputs(batch: Batch) -> None:
    """Raise TableError where an input or a label is not a number; a network may make a number of it all the same, and
    then learn NaN."""
    odd = []
    for name, x in {**batch.inputs, "label": batch.labels}.items():
        fine = torch.isfinite(x).reshape(len(batch), -1).all(1).tolist()
        if not all(fine):
            odd.append(
                f"{name} of {', '.join(clip for clip, is_fine in zip(batch.ids, fine, strict=True) if not is_fine)}"
            )
    if odd:
        raise TableError(
            f"Found values that are not finite, expected numbers: {'; '.join(odd)}. Look at these clips with: rawmsa show "
            "<dataset>/<clip>; correct or leave out what data/raw has of them, then: dvc repro"
        )


def _criterion(point: Epoch, params: Fit) -> float:
    return point.valid_mae if params.validation == "clips" else round(point.valid_loss, 4)


def _groups(
    network: BaseNetwork, groups: Mapping[str, Group], params: Fit
) -> list[dict[str, list[nn.Parameter] | float]]:
    """Two optimiser groups a group: what decays, and biases and norms that do not."""
    settings: list[dict[str, list[nn.Parameter] | float]] = []
    for name, parameters in network.parameter_groups().items():
        if name not in groups:
            raise ParamsError(f"params.yaml: the network's groups have no '{name}', only {sorted(groups)}. Add it.")
        all_decay = params.optimizer == "adam" and name != "text"
        for decays in (True, False):
            members = [parameter for parameter in parameters if (all_decay or parameter.ndim > 1) == decays]
            decay = groups[name].weight_decay if decays else 0.0
            settings.append({"params": members, "lr": groups[name].lr, "weight_decay": decay})
    return [group for group in settings if group["params"]]
