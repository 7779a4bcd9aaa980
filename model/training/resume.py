"""The state of a training after an epoch, so that one that was stopped goes on after the last epoch that was kept.

One safetensors file: the tensors of a tree of dicts and lists, the rest of the tree as JSON in the metadata, and there
too the hash of it all, so that a damaged file is no state.
"""

import hashlib
import json
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypedDict, cast, final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from model.records import Tree
from model.training import ranks

Tensors = dict[str, torch.Tensor]


@final
class _Tensor(TypedDict):
    """tensor: its name in the file."""

    tensor: str
    device: str


@final
class _Dict(TypedDict):
    """The items: an optimiser's keys are numbers, which JSON's are not."""

    dict: list[tuple[str | int, "_Json"]]


_Json = str | int | float | None | list["_Json"] | _Tensor | _Dict  # of a tree


class Keeper:
    """Keeps the state of one training in `file`, which is no other training's. Of its processes the first writes, all read.

    name: of the run, for what is printed; seconds: between two writes at least; resumed_after: the epoch of the state
    that was found.
    """

    def __init__(self, file: Path, name: str, seconds: float) -> None:
        self.file, self.name, self.seconds = file, name, seconds
        self.resumed_after: int | None = None
        self._last = time.monotonic()

    def found(self) -> Mapping[str, Tree] | None:
        """The state that an earlier process kept; None where there is none, or a damaged or foreign one, which is said."""
        if not self.file.is_file():
            return None
        try:
            kept = read(self.file)
        except (OSError, SafetensorError, ValueError, LookupError) as error:
            self._say(f"starts from the beginning: {self.file} is damaged, or not the state of this run ({error})")
            return None
        self.resumed_after = cast(int, kept["epoch"])
        self._say(f"goes on after epoch {self.resumed_after}")
        return cast(Mapping[str, Tree], kept["state"])

    def keep(self, epoch: int, state: Callable[[], Mapping[str, Tree]]) -> None:
        """Write the state after an epoch, if the time has come. A disk that is full does not stop the training."""
        if ranks.rank() or time.monotonic() - self._last < self.seconds:
            return
        try:
            write(self.file, {"epoch": epoch, "state": state()})
        except (OSError, SafetensorError) as error:
            self._say(f"the state after epoch {epoch} is not kept ({error})")
        self._last = time.monotonic()

    def _say(self, what: str) -> None:
        if not ranks.rank():
            print(f"train: {self.name}: {what}", file=sys.stderr, flush=True)


def write(file: Path, tree: Mapping[str, Tree]) -> None:
    """Atomically. The same tensor twice is kept once."""
    tensors: Tensors = {}
    text = json.dumps(_put(tree, tensors))
    metadata = {"tree": text, "sha256": _sha256(file.name, text, tensors)}
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f"{file.name}.part")  # one name: the next write takes the place of what a killed one left
    try:
        save_file(tensors, part, metadata)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)


def read(file: Path) -> Mapping[str, Tree]:
    """The tree, its tuples lists; its tensors on the kind of device they were on: of GPUs, the one that is set.

    Raises OSError, SafetensorError, ValueError or LookupError where it is damaged or was written for another name.
    """
    with safe_open(file, framework="pt") as opened:
        metadata = opened.metadata() or {}
        names = opened.keys()
        tensors = {name: opened.get_tensor(name).clone() for name in names}
    if metadata["sha256"] != _sha256(file.name, metadata["tree"], tensors):
        raise ValueError("its hash is another")
    return cast(Mapping[str, Tree], _take(json.loads(metadata["tree"]), tensors))


def _put(value: Tree, tensors: Tensors) -> _Json:
    """The JSON of a tree; its tensors go into `tensors`."""
    if isinstance(value, torch.Tensor):
        name = str(id(value))
        tensors.setdefault(name, value.detach().cpu().contiguous())
        return {"tensor": name, "device": value.device.type}
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        return {"dict": [(key, _put(inner, tensors)) for key, inner in value.items()]}
    return [_put(inner, tensors) for inner in value]


def _take(value: _Json, tensors: Tensors) -> Tree:
    """The other way."""
    if isinstance(value, list):
        return [_take(inner, tensors) for inner in value]
    if not isinstance(value, dict):
        return value
    if "dict" in value:
        return cast(Mapping[str, Tree], {key: _take(inner, tensors) for key, inner in value["dict"]})
    return tensors[value["tensor"]].to(value["device"])


def _sha256(name: str, text: str, tensors: Tensors) -> str:
    found = hashlib.sha256(f"{name}\n{text}".encode())
    for tensor, x in sorted(tensors.items()):
        found.update(f"{tensor} {x.dtype} {tuple(x.shape)}".encode())
        found.update(x.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
