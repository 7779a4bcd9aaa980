"""What a block of params.yaml is. Apart from pipeline/params.py, so that an edit of how the file is read recomputes no clip."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]


class Block(BaseModel):
    """A block of params.yaml: every key required, no other key allowed."""

    model_config = ConfigDict(extra="forbid", frozen=True)
