"""A training by several processes, started as torchrun does, beside the same training by one."""

import csv
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
import yaml

from model import train
from model.records import Branch, Output
from model.training import jobs, ranks, resume, torchrun
from model.training.fit import fit, seeded
from pipeline import paths, tables
from pipeline.errors import StageError
from pipeline.execution import cache
from pipeline.execution.cache import RUNS
from tests import networks, tiny
from tests.trainable import CHOICE, read_network, write_network, write_params

pytestmark = pytest.mark.slow
TOLERANCE = 1e-5  # of weights and losses
ULABELS = 1e-4  # of u-labels, alphas and distances: equation (6) divides by alpha_m, which enlarges rounding
EPSILON = 1e-3  # Adam's: with its own 1e-8 it makes whole steps of the rounding errors of gradients that are zero
LOOPS: dict[str, dict[str, Any]] = {  # of 12 training clips: batches that 2 and 3 do and do not divide, one of 2 clips
    "even": {"batch": 4, "accumulate": 1},
    "odd": {"batch": 5, "accumulate": 2, "gradients": "sum", "validation": "batches", "clip": 0.8},
    "mean": {"batch": 5, "accumulate": 2, "bucket": 0, "plateau": 1},
}
EPOCHS = {"max_epochs": 4, "patience": 4}


def fitted(name: str, loop: str, file: Path, dropout: float = 0.0) -> None:
    """Train a network; the first process writes what came of it."""
    seeded(1)
    network = networks.network(name)
    for part in network.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = dropout
        elif isinstance(part, torch.nn.MultiheadAttention):
            part.dropout = dropout
    made = networks.hyper(name, **EPOCHS, **LOOPS[loop])
    splits = (networks.clips(name, split) for split in ("train", "valid"))
    optimisers = {name: partial(getattr(torch.optim, name), eps=EPSILON) for name in ("Adam", "AdamW")}
    with patch.multiple(torch.optim, **optimisers):
        history = fit(network, *splits, made.groups, made.fit, 1)
    tree: dict[str, Any] = {"weights": network.state_dict(), "curves": [point.row for point in history.curves]}
    if history.ulabels:
        columns = history.ulabels.drop_columns(["id"]).columns
        tree["ulabels"] = [torch.tensor(column.to_numpy()) for column in columns]
        tree["ids"] = history.ulabels["id"].to_pylist()
    if not ranks.rank():
        resume.write(file, tree)


def everything(folder: Path) -> None:
    """What the processes of one start are asked for."""
    torch.set_num_threads(1)
    for name, loop in runs(ranks.count()):
        fitted(name, loop, folder / f"{name}-{loop}")
    for time_ in ("first", "second"):
        fitted("misa", "odd", folder / time_, dropout=0.3)
    drawn(folder / f"drawn-{ranks.rank()}")
    gradients(folder / f"gradients-{ranks.rank()}")


def runs(count: int) -> list[tuple[str, str]]:
    """What so many processes train: every network, and by three those whose losses look across the batch."""
    every = [(name, "odd") for name in networks.FILES if name != "self_mm"] + [("self_mm", loop) for loop in LOOPS]
    return every if count < 3 else [(name, loop) for name, loop in every if name in ("misa", "mfm", "self_mm")]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Processes -> the folder in which they wrote everything."""
    folders = {count: tmp_path_factory.mktemp(f"by {count}") for count in (1, 2, 3)}
    everything(folders[1])
    for count in (2, 3):
        torchrun.run(everything, folders[count], count, ())
    return folders


@pytest.mark.parametrize("count", [2, 3])
def test_several_processes_learn_what_one_does(count: int, made: dict[int, Path]) -> None:
    for name, loop in runs(count):
        one, several = (resume.read(made[each] / f"{name}-{loop}") for each in (1, count))
        assert several.pop("ids", None) == one.pop("ids", None)
        assert ("ulabels" in one) == ("ulabels" in several) == (name == "self_mm")
        of_clips = (each.pop("ulabels", []) for each in (several, one))
        torch.testing.assert_close(*of_clips, atol=ULABELS, rtol=ULABELS, equal_nan=True)
        for epochs in zip(several["curves"], one["curves"], strict=True):
            found, expected = (epoch.pop("valid_corr") for epoch in epochs)
            assert found == pytest.approx(expected, abs=100 * TOLERANCE)  # of predictions that hardly differ at first
        torch.testing.assert_close(several, one, atol=TOLERANCE, rtol=TOLERANCE, equal_nan=True)


def test_the_tolerance_is_far_below_what_is_learnt(made: dict[int, Path]) -> None:
    for name in networks.FILES:
        weights = resume.read(made[1] / f"{name}-odd")["weights"]
        untrained = networks.network(name).state_dict()
        assert max((weights[key] - value).abs().max() for key, value in untrained.items()) > 1000 * TOLERANCE
    first, *_, last = resume.read(made[1] / "self_mm-even")["curves"]
    assert abs(first["train_loss"] - last["train_loss"]) > 1000 * TOLERANCE


def test_each_process_drops_out_other_units_and_the_same_ones_every_time(made: dict[int, Path]) -> None:
    first, again = (resume.read(made[2] / time_)["weights"] for time_ in ("first", "second"))
    without = resume.read(made[2] / "misa-odd")["weights"]
    assert all(torch.equal(value, again[key]) for key, value in first.items())
    assert any(not torch.allclose(value, without[key], atol=TOLERANCE) for key, value in first.items())
    draws = [resume.read(made[2] / f"drawn-{rank}")["drawn"] for rank in (0, 1)]
    assert all(epoch_1 == again for epoch_1, _, again in draws)
    assert len({number for each in draws for number in each}) == 4


def drawn(file: Path) -> None:
    """The generators' first number in epochs 1, 2 and again 1."""
    said = []
    for epoch in (1, 2, 1):
        ranks.seeded(7, epoch)
        said.append(torch.rand(()).item())
    resume.write(file, {"drawn": said})


def gradients(file: Path) -> None:
    """Those of a loss that looks across the batch, and uses a weight beside those that make its input."""
    torch.manual_seed(3)
    x, weight, scale = torch.randn(5, 4), torch.randn(4, requires_grad=True), torch.ones(1, requires_grad=True)
    x = x[[row % 5 for row in range(ranks.rank(), 6, ranks.count())]] if ranks.count() > 1 else x
    product = x * weight
    output = ranks.gathered(Output({"fusion": Branch(product, product.sum(1))}, cubes=product**3), 5)
    seen = output["fusion"].prediction
    ((seen[:, None] - seen).square().mean() * scale + output.hidden["cubes"].std()).sum().backward()
    ranks.average([torch.nn.Parameter(torch.zeros(1)), weight, scale])  # type: ignore[list-item]
    resume.write(file, {"seen": seen, "weight": weight.grad, "scale": scale.grad})


def test_every_process_has_the_whole_output_and_the_gradients_of_the_whole_batch(made: dict[int, Path]) -> None:
    expected = resume.read(made[1] / "gradients-0")
    for rank in (0, 1):
        torch.testing.assert_close(resume.read(made[2] / f"gradients-{rank}"), expected)


def failing(how: str) -> None:
    if ranks.rank() == 1:
        if how == "killed":
            os.kill(os.getpid(), signal.SIGKILL)
        raise ZeroDivisionError("in a network")
    torch.distributed.barrier()  # which the other never reaches


@pytest.mark.parametrize(
    ("how", "said"), [("unforeseen", "Zero.*in a network"), ("killed", "Nothing was heard of process 1|was killed")]
)
def test_where_one_process_fails_the_others_end_and_it_is_said_why(
    how: str, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(StageError, match=said):
        torchrun.run(failing, how, 2, ())
    assert not capfd.readouterr().err


def together(processes: int = 2, epochs: int = 2, **groups: Any) -> None:
    """params.yaml for one run by so many processes."""
    write_params(train={"seeds": {"default": [1]}})
    blocks = yaml.safe_load(Path("params.yaml").read_text())
    network = read_network()
    values = network["values"]["made"]["mosi"]
    values["fit"] |= {"max_epochs": epochs, "patience": epochs}
    values["groups"]["heads"] |= groups
    write_network("self_mm", network)
    Path("params.yaml").write_text(yaml.safe_dump(blocks | {"processes": processes}))


def files() -> dict[str, bytes]:
    return {str(file): file.read_bytes() for file in sorted(paths.RUNS.rglob("*")) if file.is_file()}


def test_a_loss_that_is_no_number_is_told_as_by_one_process(trainable: Path) -> None:
    said = []
    for processes in (1, 2):
        together(processes, lr=1e30)
        with pytest.raises(StageError) as error:
            train.run()
        said.append(str(error.value))
    assert "is not finite" in said[0] and said[0].split() == said[1].split()


def processes_in(folder: Path) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if process.joinpath("cwd").resolve() == folder.resolve() and int(process.name) != os.getpid():
                found.append(process.joinpath("cmdline").read_text())
        except OSError:
            continue
    return [command for command in found if command]


def test_a_stage_trains_a_run_by_several_processes_killed_or_not(
    trainable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [sys.executable, "-c", "from stages import train\nif __name__ == '__main__': train.main()"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    folder = paths.run("made", "self_mm", 1)
    curves = {}
    for processes in (1, 2):
        together(processes, epochs=2 if processes == 1 else 30)
        subprocess.run(command, env=environment, check=True)
        assert tables.read_json(folder / "run.json")["processes"] == processes
        with (folder / "curves.csv").open() as file:
            curves[processes] = [float(row["train_loss"]) for row in csv.DictReader(file)]
    assert curves[1][:2] == pytest.approx(curves[2][:2], rel=1e-4)  # later Adam's own epsilon lets them drift apart
    expected = files()

    environment["RAWMSA_CACHE"] = str(trainable / "another cache")
    monkeypatch.setenv("RAWMSA_CACHE", environment["RAWMSA_CACHE"])
    killed = subprocess.Popen(command, env=environment)
    while not list(cache.Store(RUNS).root.rglob("*.state")):
        assert killed.poll() is None
        time.sleep(0.01)
    killed.kill()
    killed.wait()
    since = time.monotonic()
    while left := processes_in(trainable):
        assert time.monotonic() - since < 20, left
        time.sleep(0.1)
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    assert done.stderr.count("goes on after epoch") == 1
    assert files() == expected


def test_how_many_processes_is_in_the_key_of_a_run(trainable: Path) -> None:
    keys = set()
    for processes in (1, 2):
        together(processes)
        keys.add(jobs.task(jobs.source("made"), "self_mm", jobs.Choice(**CHOICE), 1, {}).key)
    assert len(keys) == 2


def test_the_rows_of_a_batch_are_its_clips() -> None:
    clips = tiny.clips(tiny.table(), "train")
    batch = clips.batch(range(5))
    rows = batch.rows([4, 1])
    assert rows.ids == (batch.ids[4], batch.ids[1]) and len(rows) == 2
    for modality, x in rows.inputs.items():
        assert torch.equal(x, batch.inputs[modality][[4, 1]]) and rows.lengths[modality].shape == (2,)
