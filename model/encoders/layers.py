"""What several networks make of a clip's tokens and frames. A clip without the modality has zeros for its vector.

x: (B, T, D), padded at the end; lengths: (B,), 0 where the clip lacks the modality. Padding has no part in anything.
"""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import nn

from model.encoders import packed
from model.records import Batch, Dims


class TokenVectors(nn.Module):
    """The last layer of a BERT that is trained along, or the vectors that the batch brings of one that is not."""

    def __init__(self, dims: Dims) -> None:
        super().__init__()
        self.bert = dims.encoder
        self.width = dims.text

    def forward(self, text: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        if self.bert is not None:
            text = packed.tokens(self.bert, text, _packing(text, lengths))
        return text * real(lengths, text.shape[1])[..., None]  # (B, L, d_t)


class TextEncoder(TokenVectors):
    """F_t: the first token's vector."""

    def forward(self, text: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        text = packed.first_tokens(self.bert, text, _packing(text, lengths)) if self.bert else text[:, 0]
        return where_present(text, lengths)  # (B, d_t)


class SequenceEncoder(nn.Module):
    """F_a, F_v: the end state of a one-layer, one-directional LSTM, or a Linear of it where `output` is a number.

    The state at the last real frame, which the padding after it cannot reach, is what a packed sequence
    would give, at an eighth of its time on a CPU.
    """

    def __init__(self, columns: int, state: int, output: int | None, dropout: float) -> None:
        super().__init__()
        self.lstm = nn.LSTM(columns, state, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.project = nn.Identity() if output is None else nn.Linear(state, output)
        self.width = state if output is None else output

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        states, _ = self.lstm(x)  # (B, T, state)
        return where_present(self.project(self.dropout(last(states, lengths))), lengths)  # (B, d_s)


class TokenSequence(nn.Module):
    """The end state of an LSTM over the token vectors, and a Linear of it: TFN's subnetwork for text."""

    def __init__(self, dims: Dims, state: int, output: int, dropout: float) -> None:
        super().__init__()
        self.tokens = TokenVectors(dims)
        self.encode = SequenceEncoder(dims.text, state, output, dropout)
        self.width = output

    def forward(self, text: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return self.encode(self.tokens(text, lengths), lengths)  # (B, output)


class FrameMean(nn.Module):
    """The mean of the frames through three layers with ReLU: TFN's subnetwork for audio and vision."""

    def __init__(self, columns: int, width: int, dropout: float) -> None:
        super().__init__()
        layers = [nn.Linear(columns, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width)]
        self.layers = nn.Sequential(nn.Dropout(dropout), *layers, nn.ReLU())
        self.width = width

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return where_present(self.layers(mean(x, lengths)), lengths)  # (B, width)


def subnetworks(
    dims: Dims, hidden: Mapping[str, int], text: int, dropout: Mapping[str, float]
) -> dict[str, TokenSequence | FrameMean]:
    """TFN's embedding subnetworks (its section 4.1): an LSTM over the token vectors and a Linear to `text`; for audio
    and vision the frames' mean through layers of `hidden`. Each: x, lengths -> (B, width)."""
    made: dict[str, TokenSequence | FrameMean] = {}
    for modality, columns in dims.widths.items():
        if modality == "text":
            made["text"] = TokenSequence(dims, hidden["text"], text, dropout["text"])
        else:
            made[modality] = FrameMean(columns, hidden[modality], dropout[modality])
    return made


class Aligned(NamedTuple):
    """inputs: (B, S, D) by modality; lengths: (B,) steps, 1 at least."""

    inputs: dict[str, torch.Tensor]
    lengths: torch.Tensor


def aligned(batch: Batch, vectors: Mapping[str, torch.Tensor]) -> Aligned:
    """One frame a token, for networks of aligned data: of a modality that has more or fewer frames than the clip has
    tokens, the mean over as many parts of equal length. A clip without text has the steps of its longest modality.

    vectors: (B, T, D) by modality, as in batch.inputs save that text is vectors.
    """
    steps = _steps(batch, list(vectors))
    longest = int(steps.max())
    return Aligned({m: parts(x, batch.lengths[m], steps, longest) for m, x in vectors.items()}, steps)


def vectors(tokens: TokenVectors, batch: Batch) -> dict[str, torch.Tensor]:
    """The batch's inputs by modality, (B, T, D), the tokens as vectors."""
    return {m: tokens(x, batch.lengths[m]) if m == "text" else x for m, x in batch.inputs.items()}


def parts(x: torch.Tensor, lengths: torch.Tensor, steps: torch.Tensor, longest: int) -> torch.Tensor:
    """(B, longest, D): the means over the `steps` parts of a sequence (adaptive average pooling of its real frames)."""
    start, end = bounds(lengths, steps, longest)
    places = torch.arange(x.shape[1], device=x.device)
    inside = (places >= start[..., None]) & (places < end[..., None])  # (B, S, T)
    share = inside / (end - start).clamp(min=1)[..., None]
    return torch.bmm(share.to(x.dtype), x)


def bounds(lengths: torch.Tensor, steps: torch.Tensor, longest: int) -> tuple[torch.Tensor, torch.Tensor]:
    """First frame, and the one after the last, of each part: (B, longest) each, equal where the part does not exist."""
    part = torch.arange(longest, device=lengths.device)
    frames, of = lengths[:, None], steps[:, None]
    start = part * frames // of
    end = ((part + 1) * frames + of - 1) // of
    exists = part < of
    return start * exists, end * exists


def real(lengths: torch.Tensor, longest: int) -> torch.Tensor:
    """(B, longest) bool: what is no padding."""
    return torch.arange(longest, device=lengths.device) < lengths[:, None]


def mean(x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """(B, D) over the real frames."""
    return (x * real(lengths, x.shape[1])[..., None]).sum(1) / lengths.clamp(min=1)[:, None]


def last(x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """(B, D) at the last real frame; the first where there is none."""
    return x[torch.arange(len(x), device=x.device), lengths.clamp(min=1) - 1]


def where_present(features: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    return torch.where((lengths > 0)[:, None], features, torch.zeros_like(features))


def _packing(text: torch.Tensor, lengths: torch.Tensor) -> packed.Packing:
    """Of a clip without tokens one counts: attention over nothing would be NaN."""
    return packed.packing(lengths.clamp(min=1), text.shape[1])


def _steps(batch: Batch, modalities: list[str]) -> torch.Tensor:
    """(B,) tokens, or frames of the longest modality where the clip has no tokens; 1 at least."""
    longest = torch.stack([batch.lengths[m] for m in modalities]).amax(0)
    tokens = batch.lengths["text"] if "text" in modalities else torch.zeros_like(longest)
    return torch.where(tokens > 0, tokens, longest).clamp(min=1)
