"""A run's folder. run.json holds all that rebuilds the network, weights.safetensors what fills it, those of a text
encoder that was trained along included. One that was not, or a GloVe file, lies where the run's `text` says."""

from pathlib import Path
from typing import TYPE_CHECKING

from safetensors.torch import load_file, save_file

from model.encoders.bert import bert_from
from model.networks import build, find
from model.networks.base import BaseNetwork
from model.records import Dims
from model.run_files import PUBLISHED_WEIGHTS, WEIGHTS, Setup, published, read
from pipeline.errors import TableError
from pipeline.files import altered, sha256

if TYPE_CHECKING:
    from transformers import BertModel


def save(folder: Path, network: BaseNetwork) -> str:
    """Write the weights; equal weights give equal bytes. Returns their SHA-256, for the run's record."""
    weights = folder / WEIGHTS
    save_file({name: value.contiguous().cpu() for name, value in network.state_dict().items()}, weights)
    return sha256(weights)


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
    run = read(folder)
    if wrong := altered(weights, run.weights_sha256):
        raise TableError(f"{wrong} Restore it with: dvc checkout data/runs; or train anew with: dvc repro")
    config = run.encoder_config
    network = network_of(run, bert_from(config, find(run.network).POOLER) if config else None)
    network.load_state_dict(load_file(weights))
    return network


def network_of(run: Setup, encoder: "BertModel | None") -> BaseNetwork:
    """The network of a run around its text encoder, with random weights of its own."""
    dims = Dims(run.text_width, **run.widths, label_range=run.label_range, encoder=encoder)
    network = build(run.network, dims, run.hyper.architecture)
    network.precision = run.precision
    return network
