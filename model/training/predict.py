"""Predictions for the clips of any training table that holds the features a run was trained on."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch

from model import run_files
from model.encoders import vectors
from model.networks.base import BaseNetwork
from model.records import BRANCHES, Batch
from model.run_files import Setup
from model.training import checkpoint
from model.training.batch import Clips
from model.training.fit import EVALUATION_BATCH, device, forward
from pipeline import tables
from pipeline.errors import TableError


def predict(run_folder: Path, table: pa.Table, encoder: Path | str, network: BaseNetwork | None = None) -> pa.Table:
    """tables.RUN_PREDICTIONS for every clip of a training table, in its order, by the run's kept weights.

    encoder: folder or hub name of the table's text encoder, for runs that did not train one along. network: the run's,
    where `loaded` has read it already.
    A modality that the table lacks is absent from all its clips. Raises TableError where the table's
    features are not those of the run, where the run's weights were not kept or were altered; AssetError where the
    encoder's were.
    """
    run = run_files.read(run_folder)
    check_fits(run, tables.metadata(table))
    network = network or loaded(run_folder)
    source = run.hyper.text
    if run.text_width and source != vectors.FINETUNED:
        made = vectors.of(table["input_ids"].to_pylist(), source, encoder, run.vectors_sha256)
        table = vectors.attached(table, made)
    clips = clips_for(run, table)
    return infer(network, clips).take(np.argsort(clips.rows))


def loaded(run_folder: Path) -> BaseNetwork:
    """The run's network with its kept weights, on the device that computes. Raises TableError as `predict` does."""
    return checkpoint.load(run_folder).to(device())


def clips_for(run: Setup, table: pa.Table, split: str | None = None) -> Clips:
    """The table's clips as the run's network takes them: its modalities, its standardisation."""
    modalities = [m for m in tables.MODALITIES if (run.text_width if m == "text" else run.widths[m])]
    return Clips(table, modalities, run.widths, run.statistics, split)


@torch.inference_mode()
def infer(network: BaseNetwork, clips: Clips) -> pa.Table:
    """tables.RUN_PREDICTIONS, by clip id; null where a clip lacks the modality or the network the branch."""
    network.eval()
    rows: list[dict[str, str | float | None]] = [
        {"id": i, "split": s} for i, s in zip(clips.ids, clips.splits, strict=True)
    ]
    for positions in clips.ordered(EVALUATION_BATCH):
        batch = clips.batch(positions)
        output = forward(network, batch.to(device()))
        for branch in BRANCHES & output.keys():
            predicted = output[branch].prediction.float().tolist()
            there = [True] * len(batch) if branch == "fusion" else batch.present(branch).tolist()
            for position, value, is_there in zip(positions, predicted, there, strict=True):
                rows[position][branch] = value if is_there else None
    return tables.rows(tables.RUN_PREDICTIONS, rows)


@torch.inference_mode()
def contributions(network: BaseNetwork, clips: Clips, seed: int) -> pa.Table:
    """tables.CONTRIBUTIONS: each clip's prediction without a modality, and with the modality of another clip.

    The others are drawn by seed: every clip lends to one and borrows from one, never itself where there are two.
    """
    network.eval()
    circle = np.random.default_rng(seed).permutation(len(clips))
    lender = dict(zip(circle.tolist(), np.roll(circle, -1).tolist(), strict=True))
    rows = []
    for positions in clips.ordered(EVALUATION_BATCH):
        batch, other = clips.batch(positions), clips.batch([lender[position] for position in positions])
        for modality in clips.modalities:
            masked = _with(batch, modality, batch.inputs[modality], torch.zeros_like(batch.lengths[modality]))
            shuffled = _with(batch, modality, other.inputs[modality], other.lengths[modality])
            predicted = [
                forward(network, x.to(device()))["fusion"].prediction.float().tolist() for x in (masked, shuffled)
            ]
            rows += [
                {"id": clip, "modality": modality, "masked": without, "shuffled": borrowed}
                for clip, without, borrowed in zip(batch.ids, *predicted, strict=True)
            ]
    return tables.rows(tables.CONTRIBUTIONS, sorted(rows, key=lambda row: (row["id"], row["modality"])))


def _with(batch: Batch, modality: str, x: torch.Tensor, lengths: torch.Tensor) -> Batch:
    """The batch with another input in one modality."""
    return replace(batch, inputs={**batch.inputs, modality: x}, lengths={**batch.lengths, modality: lengths})


def check_fits(run: Setup, found: Mapping[str, Any]) -> None:
    """Raise TableError unless a table with this metadata holds what the run was trained on."""
    if (run.encoder, run.encoder_sha256) != (found["encoder"], found["encoder_sha256"]):
        raise TableError(
            f"{found['dataset']}'s tokens are made for the text encoder {found['encoder']} ({found['language']}), "
            f"the run {run.name} was trained on {run.encoder} ({run.language}). "
            f"Set text.encoder.{found['language']} to {run.encoder} in params.yaml, then: dvc repro"
        )
    for modality in ("audio", "vision"):
        if run.columns.get(modality) and found["columns"].get(modality):
            _check_modality(modality, run, found)
    policy = run.policy.model_dump(exclude_unset=True)
    if policy != found["policy"]:
        raise TableError(
            f"{found['dataset']}'s frames were assembled with {found['policy']}, those of the run {run.name} with "
            f"{policy}. Set assemble in params.yaml to the one you want for both, then: dvc repro"
        )


def _check_modality(modality: str, run: Setup, found: Mapping[str, Any]) -> None:
    expected, got = (_extraction(extraction, modality) for extraction in (run.extraction, found["extraction"]))
    if run.columns[modality] == found["columns"][modality] and expected == got:
        return
    differing = [key for key in expected | got if expected.get(key) != got.get(key)]
    raise TableError(
        f"{found['dataset']} holds {len(found['columns'][modality])} {modality} features "
        f"({got.get('extractor', 'unknown')}), the run {run.name} was trained on {len(run.columns[modality])} "
        f"({expected.get('extractor', 'unknown')}); they differ in {', '.join(differing) or 'columns'}. "
        f"Set {modality} in params.yaml to what the run was trained on, then: dvc repro"
    )


def _extraction(extraction: Mapping[str, Mapping[str, object]], modality: str) -> dict[str, object]:
    """How a modality's features were extracted, less whose they are."""
    return {key: value for key, value in extraction.get(modality, {}).items() if key != "dataset"}
