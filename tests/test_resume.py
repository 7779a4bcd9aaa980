"""A training that is stopped, wherever, and begun again gives the bytes of one that was not."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from model import train
from model.networks.base import BaseNetwork
from model.records import Batch
from model.training import jobs, logs, resume
from model.training.fit import History, fit, seeded
from model.training.hyper import Hyper
from model.training.resume import Keeper
from pipeline import paths, tables
from pipeline.execution import cache
from pipeline.execution.cache import RUNS
from tests import networks, tiny
from tests.test_frozen import params as frozen_params
from tests.trainable import CHOICE, read_network, write_network, write_params

pytestmark = pytest.mark.slow  # whole stages or figures, a second or more each

EPOCHS = 5
BATCHES = 3  # an epoch of 12 clips has
DROPOUT = {"dropout": {"fusion": 0.3, "text": 0.2, "audio": 0.2, "vision": 0.2}}


class Stopped(Exception):
    """What stands in for the end of the process."""


def stopping(network: BaseNetwork, batch: int) -> BaseNetwork:
    """The network, which ends its process after so many training batches."""
    observe, seen = network.observe, []

    def observed(output: Any, shown: Batch, epoch: int) -> None:
        observe(output, shown, epoch)
        seen.append(epoch)
        if len(seen) == batch:
            raise Stopped

    network.observe = observed
    return network


def fitted(network: BaseNetwork, name: str, made: Hyper, keeper: Keeper | None = None) -> History:
    seen, held_out = (networks.clips(name, split) for split in ("train", "valid"))
    return fit(network, seen, held_out, made.groups, made.fit, 1, keeper=keeper)


def hyper_of(name: str) -> Hyper:
    return networks.hyper(name, batch=4, accumulate=1, max_epochs=EPOCHS, patience=EPOCHS, plateau=1)


def network_of(name: str) -> BaseNetwork:
    """As at the beginning of a process: seeded, and with dropout."""
    seeded(1)
    network = networks.network(name, **(DROPOUT if name == "self_mm" else {}))
    for part in network.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.2
    torch.manual_seed(1)
    return network


def equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


@pytest.mark.parametrize("name", networks.FILES)
def test_every_network_goes_on_as_if_it_had_not_been_stopped(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made, file = hyper_of(name), tmp_path / "state"
    undisturbed = network_of(name)
    expected = fitted(undisturbed, name, made)
    for batch in (BATCHES * 2 + 2, BATCHES + 1):  # in the middle of epoch 3; then, begun again, in that of epoch 4
        with pytest.raises(Stopped):
            fitted(stopping(network_of(name), batch), name, made, Keeper(file, name, 0))
    resumed, keeper = network_of(name), Keeper(file, name, 0)
    found = fitted(resumed, name, made, keeper)
    assert keeper.resumed_after == 3
    assert [line.split(": ")[2] for line in capsys.readouterr().err.splitlines()] == [
        "goes on after epoch 2",
        "goes on after epoch 3",
    ]
    assert found.curves == expected.curves and found.best_epoch == expected.best_epoch
    assert (found.ulabels is None) == (expected.ulabels is None) == (name != "self_mm")
    assert found.ulabels is None or found.ulabels.equals(expected.ulabels)
    assert equal(resumed.state_dict(), undisturbed.state_dict())


def test_a_learning_rate_that_a_plateau_has_lowered_stays_lowered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("model.training.fit._criterion", lambda point, params: float(point.epoch))  # ever worse
    rates: list[float] = []
    step = torch.optim.AdamW.step

    def watched(self: torch.optim.AdamW, *x: Any) -> Any:
        rates.append(self.param_groups[0]["lr"])
        return step(self, *x)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    made = networks.hyper("mult", batch=12, accumulate=1, max_epochs=6, patience=6, plateau=1)
    with pytest.raises(Stopped):
        fitted(stopping(network_of("mult"), 4), "mult", made, Keeper(tmp_path / "state", "mult", 0))
    fitted(network_of("mult"), "mult", made, Keeper(tmp_path / "state", "mult", 0))
    assert rates == pytest.approx([0.01, 0.01, 0.01, 0.001, 0.001, 0.0001])


def test_a_training_that_had_stopped_early_is_not_trained_further(tmp_path: Path) -> None:
    made = networks.hyper("lf", max_epochs=9, patience=2)
    still = {name: group.model_copy(update={"lr": 0.0}) for name, group in made.groups.items()}
    made = made.model_copy(update={"groups": still})
    first = fitted(network_of("lf"), "lf", made, Keeper(tmp_path / "state", "lf", 0))
    assert (first.best_epoch, len(first.curves)) == (1, 3)
    with_nothing_left = stopping(network_of("lf"), 1)
    assert fitted(with_nothing_left, "lf", made, Keeper(tmp_path / "state", "lf", 0)).curves == first.curves


def flip(file: Path, place: int) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: flip(file, -1),
        lambda file: flip(file, 1000),
        lambda file: file.write_bytes(file.read_bytes()[:-10]),
        lambda file: file.write_bytes(b""),
        lambda file: file.write_text("weights"),
        lambda file: shutil.copy("tiny/model.safetensors", file),
        lambda file: (resume.write(file.with_name("another"), {"epoch": 2}), file.with_name("another").replace(file)),
    ],
    ids=["tensor", "json", "cut", "empty", "text", "weights", "of another run"],
)
def test_a_state_that_is_none_is_said_and_training_starts_anew(
    damage: Callable[[Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    tiny.encoder(Path("tiny"))
    made, file = hyper_of("lf"), tmp_path / "state"
    expected = fitted(network_of("lf"), "lf", made)
    with pytest.raises(Stopped):
        fitted(stopping(network_of("lf"), BATCHES + 1), "lf", made, Keeper(file, "lf", 0))
    damage(file)
    capsys.readouterr()
    keeper = Keeper(file, "made/lf-1", 0)
    assert fitted(network_of("lf"), "lf", made, keeper).curves == expected.curves
    assert keeper.resumed_after is None
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"train: made/lf-1: starts from the beginning: {file} is damaged, or not the state of this")


def test_a_state_is_written_no_oftener_than_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    keeper, kept = Keeper(tmp_path / "state", "run", 30), []
    for epoch, at in enumerate((110, 131, 150, 161.5), 1):
        now[0] = at
        keeper.keep(epoch, lambda: {})
        kept.append(resume.read(keeper.file)["epoch"] if keeper.file.exists() else None)
    assert kept == [None, 2, 2, 4]


def test_a_state_that_cannot_be_written_does_not_stop_the_training(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "state").mkdir()  # which no file can replace
    made = hyper_of("lf")
    found = fitted(network_of("lf"), "lf", made, Keeper(tmp_path / "state", "made/lf-1", 0))
    assert len(found.curves) == EPOCHS
    assert "train: made/lf-1: the state after epoch 1 is not kept (" in capsys.readouterr().err
    assert [file.name for file in tmp_path.iterdir()] == ["state"]


def test_a_tree_comes_back_as_it_was(tmp_path: Path) -> None:
    twice = torch.arange(3.0)
    tree = {
        "tensors": [twice, twice, torch.tensor(True), torch.zeros(0, 4), torch.arange(6).reshape(2, 3).T],
        "numbers": {0: {"step": torch.tensor(7.0)}, "lr": 0.1, "best": float("inf"), "none": None},
    }
    resume.write(tmp_path / "state", tree)
    found = resume.read(tmp_path / "state")
    for was, there in zip(tree["tensors"], found["tensors"], strict=True):
        assert was.dtype == there.dtype and torch.equal(was, there)
    assert found["numbers"][0]["step"] == 7 and found["numbers"]["best"] == float("inf")
    assert list(found["numbers"]) == [0, "lr", "best", "none"]


def files() -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in sorted(paths.RUNS.rglob("*")) if file.is_file()}


def states() -> list[Path]:
    return list(cache.Store(RUNS).root.rglob("*.state"))


def stop_in(epoch: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let trainings end their process in the middle of an epoch."""
    batch = Batch.to

    def counted(self: Batch, device: torch.device) -> Batch:
        counted.left -= 1  # type: ignore[attr-defined]
        if counted.left < 0:  # type: ignore[attr-defined]
            raise Stopped
        return batch(self, device)

    counted.left = (epoch - 1) * (BATCHES + 1) + 1  # type: ignore[attr-defined]
    monkeypatch.setattr(Batch, "to", counted)


@pytest.mark.parametrize("block", ["self_mm", "frozen"])
@pytest.mark.parametrize("epoch", [1, 2, 3])
def test_a_stage_that_is_begun_again_gives_the_same_files(
    block: str,
    epoch: int,
    trainable: Path,
    in_process: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if block == "frozen":
        frozen_params(seeds=(1,))
    else:
        write_params(train={"seeds": {"default": [1]}})
    name = "lf" if block == "frozen" else "self_mm"
    _train_for(4, name)
    train.run()
    expected = files()
    assert not states()

    monkeypatch.setenv("RAWMSA_CACHE", str(trainable / "another cache"))
    with monkeypatch.context() as patch:
        stop_in(epoch, patch)
        with pytest.raises(Stopped):
            train.run()
    assert len(states()) == (epoch > 1)
    capsys.readouterr()
    train.run()
    assert files() == expected and not states()
    told = f"train: made/{name}-1: goes on after epoch {epoch - 1}\n"
    assert (told in capsys.readouterr().err) == (epoch > 1)
    described = tables.read_json(paths.run("made", name, 1) / "run.json")
    assert logs.read(described["key"]).resumed_after_epoch == (epoch - 1 or None)


def test_pruning_removes_the_state_of_a_training_that_was_given_up(
    trainable: Path, in_process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_in(2, patch)
        with pytest.raises(Stopped):
            train.run()
    (state,) = states()
    size = state.stat().st_size
    assert cache.prune() >= size
    assert not states()


def test_how_often_a_training_is_kept_decides_no_run(trainable: Path) -> None:
    source = jobs.source("made")
    first = jobs.task(source, "self_mm", jobs.Choice(**CHOICE), 1, {})
    write_params(limits={"checkpoint_seconds": 99})
    assert jobs.task(source, "self_mm", jobs.Choice(**CHOICE), 1, {}).key == first.key


def _train_for(epochs: int, name: str = "self_mm") -> None:
    found = read_network(name)
    found["values"]["made"]["mosi"]["fit"] |= {"max_epochs": epochs, "patience": epochs}
    write_network(name, found)


SLOW = """
import time
from model import train
from model.training import fit

whole = fit.forward
def slowed(*x):
    time.sleep(0.02)
    return whole(*x)
fit.forward = slowed
from pipeline.execution import workers
from pipeline.execution.tasks import Outcome
workers.run = lambda function, tasks, **_: (Outcome(i, function(task), None) for i, task in enumerate(tasks))
train.run()
"""


@pytest.mark.slow
def test_a_training_that_was_killed_gives_the_same_files_when_it_is_run_again(
    trainable: Path, in_process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_params(train={"seeds": {"default": [1]}})
    _train_for(40)
    train.run()
    expected = files()

    monkeypatch.setenv("RAWMSA_CACHE", str(trainable / "another cache"))
    shutil.rmtree(paths.RUNS)
    root = str(Path(__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": root}
    command = [sys.executable, "-c", SLOW]
    killed = subprocess.Popen(command, env=environment)
    while not states():
        assert killed.poll() is None
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert len(states()) == 1 and not paths.RUNS.exists()
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "train: made/self_mm-1: goes on after epoch " in done.stderr
    assert files() == expected and not states()
