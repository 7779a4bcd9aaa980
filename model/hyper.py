"""A network's hyper-parameters on one data set: a block of `networks.<name>` in params.yaml."""

from typing import Any

from pydantic import BaseModel, ConfigDict, NonNegativeFloat, PositiveFloat, PositiveInt


class _Block(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Group(_Block):
    """AdamW's settings for one group of parameters."""

    lr: PositiveFloat
    weight_decay: NonNegativeFloat


class Fit(_Block):
    """The loop's settings. A step of the optimiser sees batch * accumulate clips."""

    batch: PositiveInt
    accumulate: PositiveInt
    max_epochs: PositiveInt
    patience: PositiveInt  # epochs without a better validation MAE before it stops


class Hyper(_Block):
    """architecture goes to the network's constructor, groups to the optimiser, fit to the loop."""

    architecture: dict[str, Any]
    groups: dict[str, Group]
    fit: Fit
