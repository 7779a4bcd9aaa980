"""What an epoch of training costs: Self-MM on made tables in the shapes of CMU-MOSI and CMU-MOSEI, beside the peer's.

    python -m benchmarks.train                     MOSI's shape, ours: a minute
    python -m benchmarks.train --shape mosei       MOSEI's, whose table takes 5 GB of disk
    python -m benchmarks.train --peer              MMSA's self_mm beside ours, MOSI's shape alone
    python -m benchmarks.train --at-once 2         two runs beside each other, on two cores or one GPU
    python -m benchmarks.train --bert-base         with an encoder of BERT-base's size and random weights

Each side trains in a process of its own, of one thread, on the GPU where there is one; an epoch is all training clips
and the validation split. The floor is what this machine needs for the arithmetic alone (at the rate of its own large
matrix product) or for moving the weights, their gradients and the optimiser's state (at that of a copy), whichever
is more. Operations are counted by torch over some steps, those of the LSTMs, which it leaves out, from their shapes.
Time needs an otherwise idle machine.
"""

import argparse
import json
import os
import pickle
import platform
import shutil
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers import BertConfig, BertModel

from benchmarks import peer, peer_runner, train_made
from model.encoders.bert import load_bert
from model.networks.base import BaseNetwork
from model.training import checkpoint, jobs
from model.training.batch import Clips
from model.training.fit import device, fit, forward, precision, seeded
from model.training.hyper import Fit
from model.training.predict import clips_for
from model.training.run import Job, setup_of
from pipeline import assets, paths, tables
from pipeline.execution import workers
from pipeline.mmsa import exporting
from pipeline.mmsa.importing import SEPARATOR
from report.tables import Table, markdown

SEED = 1111
COUNTED = 8  # steps whose operations are counted
LSTM = (
    2 * 4 * 3
)  # operations a weight and frame: multiply and add; the four gates are in the weights; forward, backward


@dataclass(frozen=True)
class Asked:
    shape: str
    encoder: Path
    preset: str
    epochs: int
    fit: Mapping[str, int]  # changes to hyper.Fit


@dataclass(frozen=True)
class Cost:
    """seconds, cpu: of each epoch; floor: operations and bytes of an epoch, and the rates of this machine for them."""

    name: str
    clips: int
    seconds: list[float]
    cpu: list[float]
    peak_mib: float
    own_mib: float | None = None  # of the peak, what is not pages of the mapped table
    gpu_mib: float | None = None
    floor: Mapping[str, float] | None = None


def main() -> None:
    options = _options()
    out = options.out.resolve()
    encoder = _bert_base(out) if options.bert_base else Path(assets.encoder(assets.PACKAGED))
    costs = []
    changes = {
        name: getattr(options, name) for name in ("batch", "accumulate", "bucket") if getattr(options, name) is not None
    }
    for shape in options.shape:
        project = _project(out, shape)
        with chdir(project):
            asked = Asked(shape, encoder, options.preset, options.epochs, changes)
            runs = [asked] * options.at_once
            for outcome in workers.run(measure, runs, title="train", workers=len(runs), threads=1, limits=None):
                if outcome.failure or not outcome.value:
                    raise SystemExit(f"{outcome.failure and outcome.failure.trace}")
                costs.append(outcome.value)
            if options.peer:
                costs.append(_theirs(shape, encoder, options.epochs, out, options.venv.resolve()))
    print(markdown(_tables(costs)))


def measure(asked: Asked) -> Cost:
    """Ours. In the project's folder."""
    torch.set_num_threads(1)
    file = paths.table(asked.shape)
    table = tables.read_arrow(file)
    choice = jobs.Choice(preset=asked.preset, values="mmsa")
    changes = {"fit": {**asked.fit, "max_epochs": asked.epochs, "patience": asked.epochs}}
    block, hyper = jobs.hyper_of("self_mm", choice, asked.shape, "mosi", changes)
    seeded(SEED)
    bert = load_bert(asked.encoder, pooler=False)
    job = Job(
        file, "self_mm", asked.preset, "mmsa", block, changes=changes, hyper=hyper, seed=SEED, encoder=asked.encoder,
        vectors=None, threads=1, processes=1, precision=precision("auto"),
    )  # fmt: skip
    setup = setup_of(job, tables.metadata(table), bert, None, 0)
    network = checkpoint.network_of(setup, bert)
    seen, held_out = (clips_for(setup, table, split) for split in ("train", "valid"))
    ends = [(time.perf_counter(), time.process_time())]
    fit(
        network, seen, held_out, hyper.groups, hyper.fit, SEED,
        lambda row: ends.append((time.perf_counter(), time.process_time())),
    )  # fmt: skip
    peak, own, gpu = peer_runner.peak_mib(), _own_mib(), None
    if device().type == "cuda":
        gpu = torch.cuda.max_memory_allocated() / 2**20
    seconds, cpu = ([end[k] - start[k] for start, end in zip(ends, ends[1:], strict=False)] for k in (0, 1))
    name = f"rawmsa, {asked.preset}, {asked.shape}'s shape, batch {hyper.fit.batch} x {hyper.fit.accumulate}, bucket {hyper.fit.bucket}"
    counted = _floor(network, seen, len(held_out), hyper.fit)
    return Cost(name, len(seen), seconds, cpu, peak, own, gpu, counted)


def _floor(network: BaseNetwork, clips: Clips, held_out: int, params: Fit) -> dict[str, float]:
    """Operations and bytes of an epoch, and what this machine does of either in a second.

    held_out: clips that are validated, each for a third of a training clip's operations.
    """
    operations, shown = 0.0, 0
    lstms = [module for module in network.modules() if isinstance(module, nn.LSTM)]
    frames: list[tuple[nn.LSTM, int]] = []
    hooks = [m.register_forward_pre_hook(lambda m, x: frames.append((m, x[0].shape[0] * x[0].shape[1]))) for m in lstms]
    network.train()
    for step, _ in zip(
        clips.steps(params.batch, params.accumulate, params.bucket, SEED, 1), range(COUNTED), strict=False
    ):
        for held in step:
            batch = held.to(device())
            with FlopCounterMode(display=False) as counter:
                sum(network.loss(forward(network, batch), batch).values()).backward()
            operations += counter.get_total_flops()
            shown += len(batch)
    for hook in hooks:
        hook.remove()
    operations += sum(LSTM // 4 * (m.weight_ih_l0.numel() + m.weight_hh_l0.numel()) * count for m, count in frames)
    weights = sum(x.numel() for x in network.parameters())
    words = sum(m.weight.numel() for m in network.modules() if isinstance(m, nn.Embedding))
    batches, steps = (len(clips) / size for size in (params.batch, params.batch * params.accumulate))
    moved = 4 * (
        batches * 4 * (weights - words) + steps * 7 * weights
    )  # forward, backward, gradient read and written; Adam
    return {"operations": operations / shown * (len(clips) + held_out / 3), "bytes": moved + clips.bytes(), **_rates()}


def _rates() -> dict[str, float]:
    """This machine's: operations a second of a large matrix product, bytes a second of a copy (read and written)."""
    where = device()
    kind = torch.bfloat16 if where.type == "cuda" else torch.float32
    a, b = (torch.randn(1024, 1024, device=where, dtype=kind) for _ in range(2))
    big = torch.zeros(2**26, device=where)  # 256 MiB
    target = torch.empty_like(big)
    product, copy = (_best(work) for work in (lambda: torch.mm(a, b), lambda: target.copy_(big)))
    return {"operations_a_second": 2 * 1024**3 / product, "bytes_a_second": 2 * 4 * 2**26 / copy}


def _best(work: Callable[[], Any]) -> float:
    """Seconds of one, the best of several runs."""
    found = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(5):
            work()
        if device().type == "cuda":
            torch.cuda.synchronize()
        found.append((time.perf_counter() - start) / 5)
    return min(found)


def _own_mib() -> float:
    """Resident memory of this process that is not pages of mapped files (Linux)."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0]) / 1024


def _theirs(shape: str, encoder: Path, epochs: int, out: Path, venv: Path) -> Cost:
    """MMSA's self_mm on what rawmsa export writes of the table, with its own batch (16) and accumulation (4)."""
    peer.install(venv)
    pkl, file = out / f"{shape}.pkl", out / f"peer-{shape}.json"
    exporting.run(shape, pkl)
    _whole_text(tables.read_arrow(paths.table(shape)), pkl)
    command = [str(venv / "bin" / "python"), peer_runner.__file__, "train", "--network", "self_mm", "--pkl", str(pkl)]
    command += ["--seed", str(SEED), "--epochs", str(epochs), "--encoder", str(encoder), "--config", shape]
    subprocess.run([*command, "--out", str(file)], env=peer.environment(), check=True)  # noqa: S603  our own command
    result = json.loads(file.read_text())
    seconds, cpu = (
        [epoch[f"train_{unit}"] + epoch[f"valid_{unit}"] for epoch in result["epochs"]] for unit in ("seconds", "cpu")
    )
    clips = train_made.SHAPES[shape].clips["train"]
    return Cost(f"MMSA {result['versions']['MMSA']}, {shape}'s shape", clips, seconds, cpu, result["peak_mib"])


def _whole_text(table: pa.Table, pkl: Path) -> None:
    """Pad an export's tokens to the longest clip, as the field's own files have them; the export's rule would cut some."""
    ids = dict(zip(table["id"].to_pylist(), table["input_ids"].to_pylist(), strict=True))
    longest = max(map(len, ids.values()))
    content = pickle.loads(pkl.read_bytes())  # noqa: S301  exported a moment ago
    for split in (content[name] for name in peer_runner.SPLITS):
        split["text_bert"] = np.zeros((len(split["id"]), 3, longest), np.float32)  # ids, mask, segments
        for row, name in zip(split["text_bert"], split["id"], strict=True):
            clip = ids[name.replace(SEPARATOR, "/")]
            row[0, : len(clip)], row[1, : len(clip)] = clip, 1
    pkl.write_bytes(pickle.dumps(content, protocol=exporting.PROTOCOL))


def _tables(costs: list[Cost]) -> list[Table]:
    where = torch.cuda.get_device_name() if device().type == "cuda" else platform.processor() or platform.machine()
    header = (
        "side",
        "s an epoch",
        "first epoch",
        "CPU s",
        "clips/s",
        "peak memory, MiB",
        "of it not the table's pages",
        "GPU memory, MiB",
    )
    rows = [
        (
            cost.name,
            f"{_usual(cost.seconds):.1f}",
            f"{cost.seconds[0]:.1f}",
            f"{_usual(cost.cpu):.1f}",
            f"{cost.clips / _usual(cost.seconds):.0f}",
            f"{cost.peak_mib:.0f}",
            "–" if cost.own_mib is None else f"{cost.own_mib:.0f}",
            "–" if cost.gpu_mib is None else f"{cost.gpu_mib:.0f}",
        )
        for cost in costs
    ]
    note = f"Medians of the epochs after the first. {where}, {os.cpu_count()} cores, torch {torch.__version__}."
    found = [Table("An epoch of training", header, rows, note)]
    floors = [
        (
            cost.name,
            f"{cost.floor['operations'] / 1e12:.2f}",
            f"{cost.floor['operations_a_second'] / 1e9:.0f}",
            f"{cost.floor['bytes'] / 1e9:.1f}",
            f"{cost.floor['bytes_a_second'] / 1e9:.1f}",
            f"{(least := max(cost.floor[x] / cost.floor[f'{x}_a_second'] for x in ('operations', 'bytes'))):.1f}",
            f"{_usual(cost.seconds) / least:.2f}",
        )
        for cost in costs
        if cost.floor
    ]
    header = ("side", "10^12 operations", "10^9 a second here", "GB moved", "GB/s here", "floor, s", "measured / floor")
    return [*found, Table("The floor of a training epoch", header, floors)]


def _usual(values: list[float]) -> float:
    return statistics.median(values[1:] or values)


def _project(out: Path, shape: str) -> Path:
    """A folder with the parameters as they stand here and the shape's made table."""
    project = out / "project"
    project.mkdir(parents=True, exist_ok=True)
    shutil.copy(paths.PARAMS, project / paths.PARAMS)
    shutil.copytree(paths.NETWORKS, project / paths.NETWORKS, dirs_exist_ok=True)
    with chdir(project):
        if not paths.table(shape).exists():
            print(f"train: making the table of {shape}'s shape", flush=True)
            train_made.write(shape, paths.table(shape))
    return project


def _bert_base(out: Path) -> Path:
    """A folder with BERT-base's shape, random weights and the packaged encoder's vocabulary."""
    folder = out / "bert-base"
    if not (folder / "model.safetensors").is_file():
        torch.manual_seed(SEED)
        shutil.copytree(assets.encoder(assets.PACKAGED), folder, dirs_exist_ok=True)
        BertModel(BertConfig()).save_pretrained(folder)
    return folder


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.train", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shape", nargs="+", choices=train_made.SHAPES, default=["mosi"], help="default: mosi")
    parser.add_argument("--epochs", type=int, default=3, help="default: 3; the first is told apart")
    parser.add_argument("--preset", default="paper", help="of networks.self_mm in params.yaml; default: paper")
    parser.add_argument("--at-once", type=int, default=1, help="so many of ours beside each other; default: 1")
    parser.add_argument("--peer", action="store_true", help="MMSA's self_mm too")
    parser.add_argument("--bert-base", action="store_true", help="an encoder of BERT-base's size, random weights")
    parser.add_argument("--batch", type=int, help="in place of fit.batch")
    parser.add_argument("--accumulate", type=int, help="in place of fit.accumulate")
    parser.add_argument("--bucket", type=int, help="in place of fit.bucket")
    parser.add_argument("--venv", type=Path, default=Path(".peer"), help="MMSA's environment, as of benchmarks.peer")
    parser.add_argument("--out", type=Path, default=paths.DATA / "train_benchmark", help="folder of the made tables")
    return parser.parse_args()


if __name__ == "__main__":
    main()
