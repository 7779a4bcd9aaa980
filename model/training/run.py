"""One run: a network trained on one data set from one seed, written to a folder with all that it was."""

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import torch
from pydantic import JsonValue

from model import run_files
from model.encoders import vectors
from model.encoders.bert import load_bert
from model.measures import metrics
from model.networks import find
from model.records import BRANCHES
from model.run_files import RunRecord, Setup, ValidScores
from model.training import checkpoint, predict, ranks
from model.training.fit import Epoch, History, check, fit, seeded
from model.training.hyper import Hyper
from model.training.resume import Keeper
from pipeline import tables
from pipeline.files import sha256

if TYPE_CHECKING:
    from transformers import BertModel

LIBRARIES = ("torch", "transformers")
SECONDS_A_LINE = 15  # of progress
CURVES = ("epoch", "train_loss", "valid_loss", "valid_mae", "valid_corr", *(f"loss_{branch}" for branch in BRANCHES))
CARRIED = (  # from the table's metadata to run.json
    "dataset",
    "convention",
    "label_range",
    "neutral",
    "language",
    "synthetic",
    "encoder",
    "encoder_sha256",
    "columns",
    "statistics",
    "extraction",
    "policy",
)


@dataclass(frozen=True)
class Job:
    """What decides a run. preset, values, block, changes: where hyper comes from (hyper.merged);
    encoder: a folder or hub name; processes: that train it (model/training/ranks.py); vectors: a file that vectors_of wrote, None where hyper.text is finetuned or there is no text."""

    table: Path
    network: str
    preset: str
    values: str
    block: str
    changes: Mapping[str, JsonValue]
    hyper: Hyper
    seed: int
    encoder: Path | str
    vectors: Path | None
    threads: int
    processes: int
    precision: str  # float32 or bfloat16

    @property
    def name(self) -> str:
        return f"{self.table.name}/{self.network}-{self.seed}"


def train(
    job: Job, folder: Path | None, keeper: Keeper | None = None, ended: Callable[[], None] = lambda: None
) -> None:
    """Fit on the train and valid splits, then write the run's files into `folder`, made here.

    folder: None in all of several processes but the first, so that one writes;
    keeper: of the state between epochs; ended: called at the end of every epoch.
    """
    torch.set_num_threads(job.threads)
    table = tables.read_arrow(job.table)
    metadata = tables.metadata(table)
    seeded(job.seed)
    has_text = any(len(tokens) for tokens in table["input_ids"])
    bert, vectors_sha256 = None, None
    if has_text and job.vectors:
        made = tables.read_arrow(job.vectors)
        table = vectors.attached(table, made["text"])
        vectors_sha256 = tables.metadata(made)["sha256"]
    elif has_text:
        bert = load_bert(job.encoder, find(job.network).POOLER, metadata["encoder_sha256"])
    setup = setup_of(job, metadata, bert, vectors_sha256, vectors.width(table))
    network = checkpoint.network_of(setup, bert)
    seen, held_out = (predict.clips_for(setup, table, split) for split in ("train", "valid"))
    check(job.hyper.fit, len(seen))
    history = fit(network, seen, held_out, job.hyper.groups, job.hyper.fit, job.seed, _Teller(job, ended), keeper)
    if not folder:
        return
    folder.mkdir(parents=True)
    predicted = predict.infer(network, predict.clips_for(setup, table))
    best = history.best
    record = RunRecord(
        **dict(setup),
        best_epoch=history.best_epoch,
        epochs=len(history.curves),
        valid=ValidScores(
            loss=best.valid_loss, mae=best.valid_mae, corr=best.valid_corr, heads=heads(predicted, table)
        ),
        weights_sha256=checkpoint.save(folder, network),
    )
    run_files.write(folder, record)
    _write(folder, history)
    tables.write(folder / run_files.PREDICTIONS, predicted)
    tested = predict.contributions(network, predict.clips_for(setup, table, "test"), job.seed)
    tables.write(folder / run_files.CONTRIBUTIONS, tested)


def heads(predicted: pa.Table, table: pa.Table) -> dict[str, float | None]:
    """Pearson's correlation of each unimodal output with the m-label, against which the fusion is measured too, over the
    clips of the validation split that have the modality; None where that is not defined. A head that is not there, or that
    no clip of any split has the modality for, is left out.

    predicted: tables.RUN_PREDICTIONS of the clips of `table`, a training table.
    """
    labels = dict(zip(table["id"].to_pylist(), table["label"].to_pylist(), strict=True))
    valid = [row for row in predicted.to_pylist() if row["split"] == "valid"]
    found = {}
    for modality in tables.MODALITIES:
        if predicted[modality].null_count < len(predicted):
            pairs = [(row[modality], labels[row["id"]]) for row in valid if row[modality] is not None]
            p, y = np.array(pairs, np.float32).reshape(-1, 2).T
            found[modality] = metrics.corr(p, y)
    return found


def vectors_of(job: Job, file: Path) -> None:
    """Write the token vectors that the job's network takes, in the order of its table."""
    torch.set_num_threads(job.threads)
    table = tables.read_arrow(job.table)
    tokens, source = table["input_ids"].to_pylist(), job.hyper.text
    of_encoder = tables.metadata(table)["encoder_sha256"] if source == vectors.FROZEN else None
    made = vectors.of(tokens, source, job.encoder, of_encoder)
    hashed = of_encoder if source == vectors.FROZEN else sha256(Path(source))
    tables.write_arrow(file, pa.table({"text": made}), {"sha256": hashed})


def untrainable(table: pa.Table) -> str | None:
    """Why a training table cannot be trained on; None where it can."""
    if tables.metadata(table)["statistics"] is None:
        return "it has no labels"
    splits = table["split"].to_pylist()
    missing = [split for split in ("train", "valid") if split not in splits]
    if missing:
        modes = " and ".join(f"'{split}'" for split in missing)
        return (
            f"its {' and '.join(missing)} split has no clips; give rows of label.csv the mode {modes} "
            "(or remove the mode column to split by video; that needs three videos). Runs that it had before are in the cache, and "
            "come back to data/runs when it can be trained again"
        )
    return None


class _Teller:
    """A line an epoch of a long run, so that nobody waits in the dark; short epochs share one."""

    def __init__(self, job: Job, ended: Callable[[], None]) -> None:
        self.ended = ended
        self.name = job.name
        self.last = time.monotonic()

    def __call__(self, point: Epoch) -> None:
        self.ended()
        now = time.monotonic()
        if now - self.last > SECONDS_A_LINE and not ranks.rank():
            self.last = now
            print(
                f"train: {self.name}: epoch {point.epoch}, validation MAE {point.valid_mae:.3f}",
                file=sys.stderr,
                flush=True,
            )


def setup_of(
    job: Job, metadata: Mapping[str, Any], encoder: "BertModel | None", vectors_sha256: str | None, vectors_width: int
) -> Setup:
    """What the run's record says before the run is trained. encoder: one that is trained along, else None."""
    config = encoder.config.to_diff_dict() if encoder else {}
    return Setup(
        **{key: metadata[key] for key in CARRIED if key in metadata},
        encoder_config={key: value for key, value in config.items() if key != "_name_or_path"} or None,
        network=job.network,
        seed=job.seed,
        preset=job.preset,
        values=job.values,
        block=job.block,
        changes=dict(job.changes),
        hyper=job.hyper,
        threads=job.threads,
        processes=job.processes,
        precision=job.precision,
        versions={"torch": torch.__version__, "transformers": version("transformers")},
        vectors_sha256=vectors_sha256,
        text_width=encoder.config.hidden_size if encoder else vectors_width,
    )


def _write(folder: Path, history: History) -> None:
    columns = dict.fromkeys((*CURVES, *history.best.row))
    tables.write_csv(folder / run_files.CURVES, list(columns), [point.row for point in history.curves])
    if history.ulabels is not None:
        tables.write(folder / run_files.ULABELS, history.ulabels)
