"""MMSA 2.2.1's own networks, as installed and unedited, beside ours: same data, encoder, hyper-parameters, seeds.

    python -m benchmarks.peer                                  Self-MM on a small synthetic set: minutes
    python -m benchmarks.peer --network tfn                    another network
    python -m benchmarks.peer --dataset mosi --preset released a data set of data/tables: hours
    python -m benchmarks.peer --white-box                      equal weights and batch: equal u-labels, loss, gradients?

The synthetic set is made here and goes the way of any: an MMSA .pkl, rawmsa import, the stages, the table. What
MMSA trains on is what rawmsa export writes of the table; for a network that reads token vectors, with those of the
text encoder as it was pretrained, as ours has them. MMSA lives in a virtual environment of its own, made at
the first use. Every seed is a fresh process of one thread, one at a time; its result is a JSON file in
OUT/DATASET, and what is there is not trained again. Ours go through the project's run cache: where it holds a run,
that run's logged time and memory are shown. Time and memory need an otherwise idle machine.
"""

import argparse
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from benchmarks import peer_runner, peer_synthetic, peer_table
from model import run_files
from model.encoders import vectors
from model.networks import find
from model.training import jobs, logs
from pipeline import assets, params, paths, tables
from pipeline.execution import cache
from pipeline.mmsa import exporting
from pipeline.mmsa.importing import SEPARATOR

REQUIREMENTS = ("MMSA==2.2.1", "torch==2.13.0")
SELF_MM = "self_mm"
PRESETS = {SELF_MM: ("released", "paper")}  # ours beside MMSA's; of another network, paper
SYNTHETIC = "synthetic"
WAY = ("ingest", "transcribe", "text", "audio", "vision", "assemble")  # from an imported file to a training table
SEEDS = (1111, 1112, 1113, 1114, 1115)
PEER = "MMSA 2.2.1"
CONFIGS = ("mosi", "mosei", "sims")  # blocks of MMSA's configuration


@dataclass(frozen=True)
class Benchmark:
    """One network and data set, both sides. pkl: what MMSA reads; content: the hash of that; venv: MMSA's."""

    network: str
    dataset: str
    metadata: dict[str, Any]
    pkl: Path
    content: str
    out: Path
    venv: Path
    epochs: int

    @property
    def convention(self) -> str:
        return "sims" if self.metadata["convention"] == "sims" else "mosi"

    @property
    def config(self) -> str:
        return self.dataset if self.dataset in CONFIGS else self.convention

    @property
    def encoder(self) -> Path:
        encoder = assets.encoder(self.metadata["encoder"])
        if not isinstance(encoder, Path):
            raise SystemExit(f"The text encoder {encoder} is a name on the hub. Set text.encoder to a folder for this.")
        return encoder

    def file(self, side: str, seed: int) -> Path:
        """Of one seed's result. Those of Self-MM do not name the network."""
        names = (side, str(seed)) if self.network == SELF_MM else (side, self.network, str(seed))
        return self.out / f"{'-'.join(names)}.json"

    def command(self, name: str) -> list[str]:
        """What runs peer_runner.py with the options that its commands share."""
        runner = [str(self.venv / "bin" / "python"), peer_runner.__file__, name]
        return [*runner, "--encoder", str(self.encoder), "--config", self.config]


def main() -> None:
    options = _options()
    if params.threads() != 1:
        raise SystemExit("threads in params.yaml is not 1, which is what MMSA is given here. Set it to 1.")
    out, venv = options.out.resolve() / options.dataset, options.venv.resolve()
    if options.side != "ours" or options.white_box:
        install(venv)
    project = _synthetic(out) if options.dataset == SYNTHETIC else Path.cwd()
    with chdir(project):
        benchmark = _benchmark(options.network, options.dataset, out, venv, options.epochs)
        if options.white_box:
            from benchmarks import peer_white_box

            peer_white_box.run(benchmark.dataset, benchmark.command("white-box"), out / "white_box")
            return
        rows: dict[str, list[peer_table.Result]] = {}
        if options.side != "ours":
            rows[PEER] = [_theirs(benchmark, seed) for seed in options.seeds]
        if options.side != "peer":
            for preset in options.preset:
                choice = jobs.Choice(preset=preset, values="mmsa")
                rows[f"rawmsa, {preset}"] = [_ours(benchmark, choice, seed) for seed in options.seeds]
        print("\n".join(_cut(benchmark)))
    title = find(options.network).TITLE
    print(peer_table.table(title, options.dataset, benchmark.convention, rows))
    if peers := rows.pop(PEER, []):
        print("\n".join(peer_table.comparison(benchmark.convention, peers, rows)))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peer", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", choices=peer_runner.READ, default=SELF_MM, help="default: self_mm")
    parser.add_argument(
        "--dataset", default=SYNTHETIC, help="synthetic (made here, the default) or a data set of data/tables"
    )
    parser.add_argument("--side", choices=("both", "peer", "ours"), default="both", help="which to train")
    parser.add_argument(
        "--preset",
        nargs="+",
        help="ours: presets of the network in params.yaml, with the values mmsa (default: paper, of Self-MM also released)",
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=SEEDS, metavar="SEED", help="default: 1111 to 1115")
    parser.add_argument(
        "--epochs",
        type=int,
        default=0,
        help="at most so many, both sides (default: MMSA none, ours max_epochs in params.yaml)",
    )
    parser.add_argument(
        "--venv",
        type=Path,
        default=Path(".peer"),
        help=f"MMSA's virtual environment (default: .peer; made with {' '.join(REQUIREMENTS)} where absent)",
    )
    parser.add_argument(
        "--out", type=Path, default=paths.DATA / "peer", help="folder of the results, default data/peer"
    )
    parser.add_argument(
        "--white-box",
        action="store_true",
        help="train nothing to the end: one batch through MMSA's Self-MM, its loss and ULGM in the state of ours",
    )
    options = parser.parse_args()
    if options.white_box and options.network != SELF_MM:
        parser.error("--white-box is of self_mm alone")
    options.preset = options.preset or PRESETS.get(options.network, ("paper",))
    return options


def install(venv: Path, requirements: Sequence[str] = REQUIREMENTS, package: str = "MMSA") -> None:
    """A peer's virtual environment, where it is not there yet."""
    if any(venv.glob(f"lib/python*/site-packages/{package}")):
        return
    print(f"peer: making {venv} with {' '.join(requirements)}", flush=True)
    subprocess.run([sys.executable, "-m", "venv", venv], check=True)  # noqa: S603  our own command
    pip = (venv / "bin" / "python", "-m", "pip")
    subprocess.run([*pip, "install", "--quiet", *requirements], check=True)  # noqa: S603  our own command


def _synthetic(out: Path) -> Path:
    """A project of its own in `out`, with the synthetic set's training table."""
    project = out / "project"
    project.mkdir(parents=True, exist_ok=True)
    shutil.copy(paths.PARAMS, project / paths.PARAMS)
    shutil.copytree(paths.NETWORKS, project / paths.NETWORKS, dirs_exist_ok=True)
    if not (project / paths.table(SYNTHETIC)).exists():
        file = out / f"{SYNTHETIC}.pkl"
        peer_synthetic.make(file, Path(assets.encoder("packaged")))
        shutil.rmtree(project / paths.DATA, ignore_errors=True)
        options = ("--dataset", SYNTHETIC, "--convention", "mosi", "--language", "en")
        for command in (("import", str(file), *options), *((stage,) for stage in WAY)):
            subprocess.run([sys.executable, "-m", "stages", *command], cwd=project, env=environment(), check=True)  # noqa: S603  our own command
    return project


def environment() -> dict[str, str]:
    """One thread, and this checkout's code whatever the folder."""
    root = str(Path(__file__).parents[1])
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return {**os.environ, **threads, "PYTHONPATH": root}


def _benchmark(network: str, dataset: str, out: Path, venv: Path, epochs: int) -> Benchmark:
    """With the table exported anew."""
    pkl = out / f"exported-{network}.pkl"
    exporting.run(dataset, pkl)
    table = tables.read_arrow(paths.table(dataset))
    if "text" in peer_runner.READ[network]:
        _add_vectors(table, pkl)
    content = peer_runner.content(network, pkl)
    return Benchmark(network, dataset, tables.metadata(table), pkl, content, out, venv, epochs)


def _add_vectors(table: pa.Table, pkl: Path) -> None:
    """Put `text` into an export: the pretrained encoder's token vectors, cut and padded as text_bert is."""
    torch.set_num_threads(1)
    encoder = assets.encoder(tables.metadata(table)["encoder"])
    table = vectors.attached(table, vectors.of(table["input_ids"].to_pylist(), vectors.FROZEN, encoder))
    names = [SEPARATOR.join(id.rsplit("/", 1)) for id in table["id"].to_pylist()]
    clips = {name: tables.sequence(cell) for name, cell in zip(names, table["text"], strict=True)}
    content = pickle.loads(pkl.read_bytes())  # noqa: S301  exported a moment ago
    for split in (content[name] for name in peer_runner.SPLITS):
        count, _, longest = split["text_bert"].shape
        split["text"] = np.zeros((count, longest, vectors.width(table)), np.float32)  # (N, L, D)
        for row, name in zip(split["text"], split["id"], strict=True):
            row[: len(clips[name])] = clips[name][:longest]
    pkl.write_bytes(pickle.dumps(content, protocol=exporting.PROTOCOL))


def _cut(benchmark: Benchmark) -> list[str]:
    """Where the export's rule of lengths (the field's) takes tokens or frames from MMSA that ours has."""
    table = tables.read_arrow(paths.table(benchmark.dataset))
    with benchmark.pkl.open("rb") as file:
        train = pickle.load(file)["train"]  # noqa: S301  exported a moment ago
    columns = {"text": "input_ids", "audio": "audio", "vision": "vision"}
    lines = []
    for modality, column in columns.items():
        longest = train["text_bert"].shape[2] if modality == "text" else train[modality].shape[1]
        if column in table.column_names:
            count = pc.sum(pc.greater(pc.list_value_length(table[column]), longest)).as_py()
            told = f"The export cuts the {modality} of {count} of {len(table)} clips to {longest}; ours has it whole."
            lines += [told] * (count > 0)
    return lines


def _theirs(benchmark: Benchmark, seed: int) -> peer_table.Result:
    """One seed of MMSA, trained unless its file is there."""
    file = benchmark.file("peer", seed)

    def train() -> None:
        print(f"peer: MMSA, {benchmark.network}, seed {seed}", flush=True)
        told = {"network": benchmark.network, "pkl": benchmark.pkl, "seed": seed, "epochs": benchmark.epochs}
        options = [text for name, value in (told | {"out": file}).items() for text in (f"--{name}", str(value))]
        subprocess.run([*benchmark.command("train"), *options], env=environment(), check=True)  # noqa: S603  our own command

    asked = {"network": benchmark.network, "data": benchmark.content, "encoder": benchmark.metadata["encoder_sha256"]}
    return _had(file, asked | {"config": benchmark.config, "epochs": benchmark.epochs}, train)


def _ours(benchmark: Benchmark, choice: jobs.Choice, seed: int) -> peer_table.Result:
    """One seed of ours, trained unless its file or its run is there."""
    file = benchmark.file(f"{choice.preset}-{choice.values}", seed)
    changes = {"fit": {"max_epochs": benchmark.epochs}} if benchmark.epochs else {}
    task = jobs.task(jobs.source(benchmark.dataset), benchmark.network, choice, seed, changes)
    asked = {"network": benchmark.network, "data": benchmark.content, "encoder": benchmark.metadata["encoder_sha256"]}
    asked |= {"hyper": task.job.hyper.model_dump()}

    def train() -> None:
        print(f"peer: ours, {benchmark.network}, {choice.preset}, seed {seed}", flush=True)
        jobs.compute(jobs.missing([task]), lambda done: [], "peer")
        peer_runner.write(file, {"side": "ours", "seed": seed, "asked": asked, **_of_cache(task)})

    return _had(file, asked, train)


def _of_cache(task: jobs.Task) -> peer_table.Result:
    """What the cache holds of a run: its test predictions with their labels, best epoch, seconds and memory."""
    folder = cache.Store(jobs.RUNS).path(task.key)
    record, log = run_files.read(folder), logs.read(task.key)
    predicted = tables.read(folder / run_files.PREDICTIONS).to_pylist()
    table = tables.read_arrow(task.job.table)
    labels = dict(zip(table["id"].to_pylist(), table["label"].to_pylist(), strict=True))
    tested = [row for row in predicted if row["split"] == "test"]
    return {
        "key": task.key,
        "versions": record.versions,
        "predictions": [row["fusion"] for row in tested],
        "labels": [labels[row["id"]] for row in tested],
        "best_epoch": record.best_epoch,
        "seconds_an_epoch": log and log.seconds_an_epoch,
        "peak_mib": log and log.peak_memory_mib,
    }


def _had(file: Path, asked: dict[str, Any], train: Callable[[], None]) -> peer_table.Result:
    """The file's content, made first where it is not there."""
    if not file.is_file():
        train()
    result: peer_table.Result = json.loads(file.read_text())
    made_of = {"network": SELF_MM} | result["asked"]  # files that tell no network are Self-MM's
    if differing := [key for key, value in asked.items() if made_of.get(key) != value]:
        raise SystemExit(f"{file} was made of other {', '.join(differing)}. Remove it, or choose another --out.")
    return result


if __name__ == "__main__":
    main()
