"""A network's hyper-parameters on one data set, made of the blocks of networks/<name>.yaml (model/settings.py)."""

from collections.abc import Mapping
from inspect import signature
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    JsonValue,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    create_model,
)

if TYPE_CHECKING:
    from model.networks.base import BaseNetwork


class _Block(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Group(_Block):
    """The optimiser's settings for one group of parameters."""

    lr: PositiveFloat
    weight_decay: NonNegativeFloat


class Fit(_Block):
    """The loop's settings. A step of the optimiser sees batch * accumulate clips.

    bucket: of so many steps the clips are sorted by length together, and cut into batches that pad little; 1 leaves
    every step its clips, and so its gradient; more pads less, but a step's clips are then of like length; 0: unsorted.

    adamw decays weights, not biases and norms; adam is Adam with L2 as the field's released code has it: on
    all but the biases and norms of the group `text`. sum: a step's gradients are summed over its batches, and
    clips that do not fill a step are no step. batches: the epoch is chosen by the mean over validation batches, drawn
    anew, of their mean loss, rounded to 4 digits. clip: every number of a step's gradients is held within ± clip.
    plateau: after so many epochs without a better validation, learning rates are a tenth.
    """

    batch: PositiveInt
    accumulate: PositiveInt
    bucket: NonNegativeInt
    max_epochs: PositiveInt
    patience: PositiveInt  # epochs without a better validation before it stops
    optimizer: Literal["adamw", "adam"]
    gradients: Literal["mean", "sum"]
    validation: Literal["clips", "batches"]  # clips: by the MAE over clips
    clip: PositiveFloat | None
    plateau: PositiveInt | None


class Hyper(_Block):
    """text: what the network makes of tokens, frozen, finetuned or a GloVe file (model/encoders/vectors.py);
    architecture goes to the network's constructor, groups to the optimiser, fit to the loop."""

    text: Annotated[str, Field(min_length=1)]
    architecture: dict[str, object]
    groups: dict[str, Group]
    fit: Fit


def merged(*layers: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """Nested mappings in one; where two tell the same key, the later."""
    result: dict[str, JsonValue] = {}
    for layer in layers:
        for key, value in layer.items():
            before = result.get(key)
            result[key] = merged(before, value) if isinstance(before, Mapping) and isinstance(value, Mapping) else value
    return result


def schema(network: "type[BaseNetwork]") -> type[Hyper]:
    """Hyper as one network wants it: the signature of its constructor types the architecture, GROUPS names the groups."""
    from model.networks.base import named  # torch, which not every check needs

    taken = signature(network, eval_str=True).parameters.values()
    fields: dict[str, Any] = {one.name: (one.annotation, ...) for one in taken if one.name != "dims"}
    architecture: Any = create_model("Architecture", __base__=_Block, **fields)
    groups: Any = Annotated[dict[str, Group], named(*network.GROUPS)]
    return create_model("Hyper", __base__=Hyper, architecture=(architecture, ...), groups=(groups, ...))
