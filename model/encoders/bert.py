"""The text encoder: a pretrained BERT, loaded from safetensors alone."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import JsonValue

from pipeline.errors import AssetError
from pipeline.files import altered

if TYPE_CHECKING:  # transformers takes 3 s to import, which only a process that runs an encoder needs
    from transformers import BertModel


def load_bert(source: Path | str, pooler: bool, sha256: str | None = None) -> "BertModel":
    """A pretrained BERT from a folder or, where the network allows, by its hub name; of safetensors alone.

    sha256: of the weights in a folder; None: whatever they are. Raises AssetError.
    """
    from transformers import BertModel
    from transformers.utils import logging

    if isinstance(source, Path):
        _check_weights(source, sha256)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        bert = BertModel.from_pretrained(source, add_pooling_layer=pooler, use_safetensors=True)
    except (OSError, ValueError) as error:
        raise AssetError(
            f"No BERT model at {source}: {str(error).splitlines()[0]}\nSet text.encoder in params.yaml to packaged, "
            "to a folder with config.json and model.safetensors, or to a hub name this machine can download."
        ) from None
    bert.embeddings.word_embeddings.sparse = True  # a gradient of the batch's words, not of the whole vocabulary
    return bert


def bert_from(config: Mapping[str, JsonValue], pooler: bool) -> "BertModel":
    """A BERT of this shape with random weights, to be filled from a checkpoint."""
    from transformers import BertConfig, BertModel

    return BertModel(BertConfig.from_dict(dict(config)), add_pooling_layer=pooler)


def _check_weights(folder: Path, sha256: str | None) -> None:
    weights, pickled = folder / "model.safetensors", folder / "pytorch_model.bin"
    if pickled.is_file() and not weights.is_file():
        raise AssetError(
            f"{folder} holds {pickled.name}, a pickle, which may run code of whoever made it; expected {weights.name}. "
            'Convert it on a machine that you would let it run on: python -c "from transformers import BertModel; '
            f"BertModel.from_pretrained('{folder}').save_pretrained('{folder}')\""
        )
    if sha256 and weights.is_file() and (wrong := altered(weights, sha256)):
        raise AssetError(
            f"{wrong} Restore it; or, to take it as it is, make everything anew with: dvc repro -fs text; dvc repro"
        )
