"""A run's folder. run.json holds all that rebuilds the network, weights.safetensors what fills it, those of a text
encoder that was trained along included. One that was not, or a GloVe file, lies where the run's `text` says."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from transformers import BertModel

from model.encoders.bert import bert_from
from model.networks import build, find
from model.networks.base import BaseNetwork
from model.records import Dims
from model.run_files import PUBLISHED_WEIGHTS, RUN, WEIGHTS, describe, published
from pipeline import tables
from pipeline.errors import TableError
from pipeline.files import altered, sha256


def save(folder: Path, network: BaseNetwork, run: Mapping[str, Any]) -> dict[str, Any]:
    """Write the weights and run.json, which holds their hash; equal weights give equal bytes. Returns run.json."""
    weights = folder / WEIGHTS
    save_file({name: value.contiguous().cpu() for name, value in network.state_dict().items()}, weights)
    made = {**run, "weights_sha256": sha256(weights)}
    tables.write_json(folder / RUN, made)
    return made


def load(folder: Path) -> BaseNetwork:
    """The network with the weights of the run's best epoch. Raises TableError where none were kept, or others lie there."""
    weights = folder / (PUBLISHED_WEIGHTS if published(folder) else WEIGHTS)
    if not weights.is_file():
        raise TableError(
            f"{folder} holds no {PUBLISHED_WEIGHTS}. Download it, or publish the run again."
            if published(folder)
            else f"{folder} holds no {WEIGHTS}: train.keep in params.yaml kept another seed's, or none. "
            "Name a run whose run.json says weights: true, or set train.keep to all and run: dvc repro train"
        )
    run = describe(folder)
    if wrong := altered(weights, run.get("weights_sha256", "none")):  # as before the key was there
        raise TableError(f"{wrong} Restore it with: dvc checkout data/runs; or train anew with: dvc repro")
    config = run["encoder_config"]
    network = network_of(run, bert_from(config, find(run["network"]).POOLER) if config else None)
    network.load_state_dict(load_file(weights))
    return network


def network_of(run: Mapping[str, Any], encoder: BertModel | None) -> BaseNetwork:
    """The network that a run.json describes around its text encoder, with random weights of its own."""
    low, high = run["label_range"]
    dims = Dims(run["text_width"], **frame_widths(run), label_range=(low, high), encoder=encoder)
    network = build(run["network"], dims, run["hyper"]["architecture"])
    network.precision = run["precision"]
    return network


def frame_widths(run: Mapping[str, Any]) -> dict[str, int]:
    """Columns a frame of audio and vision; 0 where the run had none."""
    return {modality: len(run["columns"].get(modality, [])) for modality in ("audio", "vision")}
