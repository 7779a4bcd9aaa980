"""RAVEN: words shifted by what is heard and seen while they are said (Wang et al., "Words Can Shift", AAAI 2019)."""

from collections.abc import Mapping

import torch
from pydantic import PositiveFloat, PositiveInt
from torch import nn

from model.encoders.layers import SequenceEncoder, TokenVectors, bounds
from model.networks.base import BaseNetwork, Share
from model.records import Batch, Branch, Dims, Output


def bounded(h: torch.Tensor, e: torch.Tensor, beta: float) -> torch.Tensor:
    """alpha h, alpha = min(beta ||e|| / ||h||, 1), over the last dimension: h, shortened to beta ||e|| if it is longer."""
    longest = beta * torch.linalg.vector_norm(e.float(), dim=-1, keepdim=True)
    length = torch.linalg.vector_norm(h.float(), dim=-1, keepdim=True).clamp(min=1e-6)
    return h * (longest / length).clamp(max=1)


class Subword(nn.Module):
    """The end state of an LSTM over the frames inside each token: a Nonverbal Sub-network (section 3.1)."""

    def __init__(self, columns: int, hidden: int, frames: int, dropout: float) -> None:
        super().__init__()
        self.frames = frames
        self.enter = nn.Linear(columns, hidden)
        self.encode = SequenceEncoder(hidden, hidden, None, dropout)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor, steps: torch.Tensor, longest: int) -> torch.Tensor:
        """0 where there is no such token, or no frame."""
        start, end = bounds(lengths, steps, longest)  # (B, S)
        count = end - start
        taken = count.clamp(max=self.frames)
        most = max(1, int(taken.max()))
        apart = torch.arange(most, device=x.device) * count[..., None] // taken.clamp(min=1)[..., None]
        place = (start[..., None] + apart).clamp(max=x.shape[1] - 1)  # (B, S, F)
        inside = x[torch.arange(len(x), device=x.device)[:, None, None], place]  # (B, S, F, D)
        states = self.encode(self.enter(inside.flatten(0, 1)), taken.flatten())  # (B * S, hidden)
        return states.view(len(x), longest, -1)


class Shift(nn.Module):
    """Attention gating (section 3.2), h_m the end states:

    (2), (3) w_m = sigmoid(W_hm [h_m; e] + b_m), m of audio and vision, one number each
    (4) h = W_v (w_v h_v) + W_a (w_a h_a) + b, 0 where the clip has neither
    """

    def __init__(self, text: int, columns: Mapping[str, int], hidden: int, frames: int, dropout: float) -> None:
        super().__init__()
        self.inside = nn.ModuleDict({m: Subword(width, hidden, frames, dropout) for m, width in columns.items()})
        self.gates = nn.ModuleDict({modality: nn.Linear(hidden + text, 1) for modality in columns})
        self.join = nn.Linear(len(columns) * hidden, text)  # W_a and W_v side by side, and b

    def forward(self, e: torch.Tensor, batch: Batch) -> torch.Tensor:
        steps, gated = batch.lengths["text"].clamp(min=1), []
        for modality, encode in self.inside.items():
            h = encode(batch.inputs[modality], batch.lengths[modality], steps, e.shape[1])  # (B, L, hidden)
            gated.append(torch.sigmoid(self.gates[modality](torch.cat([h, e], dim=-1))) * h)
        some = torch.stack([batch.present(modality) for modality in self.inside]).any(0)  # (B,)
        return self.join(torch.cat(gated, dim=-1)) * some[:, None, None]  # (B, L, d_t)


class Network(BaseNetwork):
    """The frames inside each token, of audio and of vision, through an LSTM each; of their end states, 0 of a modality
    that the clip lacks, and the token's vector e a shift h; then

    (5), (6) e' = e + alpha h, alpha = min(beta ||e|| / ||h||, 1)

    and the end state of an LSTM over e' through a Linear. The loss is the released code's, the squared error.

    hidden: of the LSTMs over frames, and of the Linear before each; words: of the LSTM over tokens; frames: at most so
    many of a token are read; beta: how long a shift may be, in lengths of e; dropout: of the frames' end states.

    The data is aligned, a frame a token, or each token has an equal share of the clip's frames. Of a share longer than
    `frames`, so many evenly apart are read: the paper's data had 20 a second, others have more. The released code
    normalises audio by batch; here frames come standardised by the train split. It also scales every shift by
    beta ||e|| / max(||h||, 1), where (6) leaves short ones alone; here it is (6). A clip without text has no words to
    shift, and its state is 0. In a data set of text alone no word is shifted.
    """

    TITLE = "RAVEN"
    NEEDS = ("text",)
    A_FRAME_A_TOKEN = True

    def __init__(
        self,
        dims: Dims,
        hidden: PositiveInt,
        words: PositiveInt,
        frames: PositiveInt,
        beta: PositiveFloat,
        dropout: Share,
    ) -> None:
        super().__init__()
        columns = {modality: width for modality, width in dims.widths.items() if modality != "text"}
        self.beta = beta
        self.tokens = TokenVectors(dims)
        self.shift = Shift(dims.text, columns, hidden, frames, dropout) if columns else None
        self.words = SequenceEncoder(dims.text, words, None, dropout=0.0)
        self.predict = nn.Linear(words, 1)

    def forward(self, batch: Batch) -> Output:
        lengths = batch.lengths["text"]
        e = self.tokens(batch.inputs["text"], lengths)  # (B, L, d_t)
        if self.shift is not None:
            e = e + bounded(self.shift(e, batch), e, self.beta)
        feature = self.words(e, lengths)  # (B, words)
        return Output({"fusion": Branch(feature, self.predict(feature)[:, 0].float())})

    def loss(self, output: Output, batch: Batch) -> dict[str, torch.Tensor]:
        return {"fusion": (output["fusion"].prediction - batch.labels).square().mean()}
