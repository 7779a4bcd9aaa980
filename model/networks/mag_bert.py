"""MAG-BERT: a gate inside BERT shifts its token vectors by what is heard and seen (Rahman et al., ACL 2020)."""

from collections.abc import Mapping

import torch
from pydantic import NonNegativeInt, PositiveFloat
from torch import nn

from model.encoders.layers import parts, real, where_present
from model.networks.base import BaseNetwork, Share
from model.networks.raven import bounded
from model.records import Batch, Branch, Dims, Output
from pipeline.errors import ParamsError


class Gate(nn.Module):
    """The Multimodal Adaptation Gate, x_m the frames of a token, m of audio and vision:

    (1), (2) g_m = ReLU(W_gm [z; x_m] + b_m)
    (3) h = g_a * (W_a x_a) + g_v * (W_v x_v) + b_h, 0 where the clip has neither
    (4), (5) z + alpha h, alpha = min(beta ||z|| / ||h||, 1), then LayerNorm and dropout
    """

    def __init__(self, width: int, columns: Mapping[str, int], beta: float, dropout: float) -> None:
        super().__init__()
        self.beta = beta
        self.gates = nn.ModuleDict({m: nn.Linear(width + own, width) for m, own in columns.items()})
        self.values = nn.ModuleDict({m: nn.Linear(own, width, bias=False) for m, own in columns.items()})
        self.bias = nn.Parameter(torch.zeros(width))
        self.norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, z: torch.Tensor, batch: Batch) -> torch.Tensor:
        """z: (B, L, d), token vectors on their way through BERT."""
        steps, h = batch.lengths["text"].clamp(min=1), self.bias
        for modality, gate in self.gates.items():
            x = parts(batch.inputs[modality], batch.lengths[modality], steps, z.shape[1])  # (B, L, D)
            h = h + torch.relu(gate(torch.cat([z, x], dim=-1))) * self.values[modality](x)  # (B, L, d)
        some = torch.stack([batch.present(modality) for modality in self.gates]).any(0)  # (B,)
        return self.dropout(self.norm(z + bounded(h * some[:, None, None], z, self.beta)))  # (B, L, d)


class Network(BaseNetwork):
    """BERT, its pooled first token, dropout and a Linear; after `layer` of it the gate.

    layer: 0 for BERT's embeddings, where the released code and MMSA have the gate, or the encoder layer, from 1, that
    it comes after, as the paper has it; beta: how long a shift may be, in lengths of z; dropout: of the gate. The
    dropout before the last Linear is that of the text encoder's configuration, as in the released code and in MMSA.
    The loss is MMSA's, the absolute error.

    A token's frame is its own where the data is aligned, else the mean over an equal share of the clip's frames. A
    modality that the clip lacks adds 0 to h; a clip that lacks both is shifted by 0 and its tokens pass LayerNorm all
    the same. A clip without text has no token to shift: its feature is 0. Of text alone it is BERT without a gate.
    As in (3) W_a and W_v have no biases and h has one; the released code and MMSA have it the other way round. As there,
    new weights are drawn as BERT's own were: at the learning rates of finetuning they stay near where they start.
    """

    TITLE = "MAG-BERT"
    NEEDS = ("text",)
    POOLER = True
    A_FRAME_A_TOKEN = True

    def __init__(self, dims: Dims, layer: NonNegativeInt, beta: PositiveFloat, dropout: Share) -> None:
        super().__init__()
        if dims.encoder is None:
            raise ParamsError(
                "mag_bert shifts vectors inside BERT, so it trains BERT along: set `text` of its preset under "
                "networks/mag_bert.yaml to finetuned."
            )
        config = dims.encoder.config
        if layer > config.num_hidden_layers:
            raise ParamsError(
                f"networks/mag_bert.yaml puts its gate after layer {layer}, but the text encoder has "
                f"{config.num_hidden_layers}. Set architecture.layer to one of these, or to 0 for the embeddings."
            )
        columns = {modality: width for modality, width in dims.widths.items() if modality != "text"}
        self.bert = dims.encoder
        self.layer = layer
        self.gate = Gate(dims.text, columns, beta, dropout) if columns else None
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.predict = nn.Linear(dims.text, 1)
        new = (*self.gate.modules(), self.predict) if self.gate else (self.predict,)
        for linear in (module for module in new if isinstance(module, nn.Linear)):
            nn.init.normal_(linear.weight, std=config.initializer_range)
            if linear.bias is not None:
                nn.init.zeros_(linear.bias)

    def forward(self, batch: Batch) -> Output:
        pooled = where_present(self._pooled(batch), batch.lengths["text"])  # (B, d)
        return Output({"fusion": Branch(pooled, self.predict(self.dropout(pooled))[:, 0].float())})

    def loss(self, output: Output, batch: Batch) -> dict[str, torch.Tensor]:
        return {"fusion": (output["fusion"].prediction - batch.labels).abs().mean()}

    def _pooled(self, batch: Batch) -> torch.Tensor:
        """BERT's pooled first token, what leaves `place` having passed the gate."""
        text = batch.inputs["text"]
        mask = real(batch.lengths["text"].clamp(min=1), text.shape[1]).long()  # a row that sees nothing would be NaN
        place = self.bert.encoder.layer[self.layer - 1] if self.layer else self.bert.embeddings
        with place.register_forward_hook(lambda module, given, z: self.gate(z, batch) if self.gate else z):
            return self.bert(input_ids=text, attention_mask=mask).pooler_output
