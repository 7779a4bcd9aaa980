"""What a block of params.yaml is. Apart from pipeline/params.py, so that an edit of how the file is read recomputes no clip."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue

Share = Annotated[float, Field(ge=0, le=1)]


class Block(BaseModel):
    """A block of params.yaml: every key required, no other key allowed."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def flat(nested: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    """The innermost values by their dotted keys, as DVC writes them: {"a": {"b": 1}} -> {"a.b": 1}."""
    found: dict[str, JsonValue] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping):
            found |= {f"{key}.{inner}": deepest for inner, deepest in flat(value).items()}
        else:
            found[key] = value
    return found
