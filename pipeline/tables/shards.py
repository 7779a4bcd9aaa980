"""Where a data set's features and its training table are cut into files, so that one clip more writes one of them anew.

A shard is a run of clips in order of their ids. It ends after a clip whose id's hash elects it, one in MEAN, or where
its clips are LONGEST seconds together, or MOST: its borders depend on the clips about them and on no count, so that a clip that
is added or removed changes its own shard (or splits it, or joins two) and leaves the others' bytes as they are.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Protocol, TypeVar

MEAN = 64  # clips of a shard
LONGEST = 1200.0  # seconds of its clips: 35 MB of acoustic frames, 220 MB of the whole mesh at 30 frames a second
MOST = 256  # clips


class Clip(Protocol):
    """A row of clips.parquet; what of it a shard's borders depend on."""

    @property
    def id(self) -> str: ...

    @property
    def seconds(self) -> float | None: ...


C = TypeVar("C", bound=Clip)


def split(clips: Sequence[C]) -> list[list[C]]:
    """The clips of one data set -> its shards; one, of no clips, where there are none."""
    found: list[list[C]] = [[]]
    seconds = 0.0
    for clip in clips:
        length = clip.seconds or 0.0
        full = len(found[-1]) == MOST or seconds + length > LONGEST
        if found[-1] and (full or _ends(found[-1][-1].id)):
            found.append([])
            seconds = 0.0
        found[-1].append(clip)
        seconds += length
    return found


def first(clips: Sequence[Clip]) -> str:
    """The id that a shard is sorted by."""
    return clips[0].id if clips else ""


def name(clips: Sequence[Clip]) -> str:
    """Of a shard's file: as long as its first clip stays, so does it."""
    return sha256(first(clips).encode()).hexdigest()[:16]


def _ends(id: str) -> bool:
    return sha256(id.encode()).digest()[0] % MEAN == 0
