"""What turns a clip's tokens or frames into one vector F_s; the vector of a clip without the modality is 0."""

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import BertConfig, BertModel
from transformers.utils import logging

from pipeline.errors import AssetError


class TextEncoder(nn.Module):
    """F_t: BERT's first-token vector of the last layer, BERT being trained along."""

    def __init__(self, bert: BertModel) -> None:
        super().__init__()
        self.bert = bert
        self.width: int = bert.config.hidden_size

    def forward(self, tokens: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        places = torch.arange(tokens.shape[1], device=tokens.device)
        mask = places < lengths.clamp(min=1)[:, None]  # (B, L); a row that sees nothing would be NaN
        states = self.bert(input_ids=tokens, attention_mask=mask.long()).last_hidden_state  # (B, L, d_t)
        return _where_present(states[:, 0], lengths)  # (B, d_t)


class SequenceEncoder(nn.Module):
    """F_a, F_v: the end state of a one-layer, one-directional LSTM, or a Linear of it where `output` is a number.

    The state at the last real frame, which the padding after it cannot reach, is what a packed sequence
    would give, at an eighth of its time on a CPU.
    """

    def __init__(self, columns: int, state: int, output: int | None) -> None:
        super().__init__()
        self.lstm = nn.LSTM(columns, state, batch_first=True)
        self.project = nn.Identity() if output is None else nn.Linear(state, output)
        self.width = state if output is None else output

    def forward(self, frames: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        states, _ = self.lstm(frames)  # (B, T, state)
        end = states[torch.arange(len(states), device=states.device), lengths.clamp(min=1) - 1]
        return _where_present(self.project(end), lengths)  # (B, d_s)


def load_bert(source: Path | str) -> BertModel:
    """A pretrained BERT from a folder or, where the network allows, by its hub name. Raises AssetError."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        return BertModel.from_pretrained(source, add_pooling_layer=False)
    except (OSError, ValueError) as error:
        raise AssetError(
            f"No BERT model at {source}: {str(error).splitlines()[0]}\nSet text.encoder in params.yaml to packaged, "
            "to a folder with config.json and model.safetensors, or to a hub name this machine can download."
        ) from None


def bert_from(config: dict[str, Any]) -> BertModel:
    """A BERT of this shape with random weights, to be filled from a checkpoint."""
    return BertModel(BertConfig.from_dict(config), add_pooling_layer=False)


def _where_present(features: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    return torch.where((lengths > 0)[:, None], features, torch.zeros_like(features))
