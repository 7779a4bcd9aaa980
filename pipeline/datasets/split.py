"""Who is trained on, who chosen with, who tested on: the label file's mode, or a draw of whole videos."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Le
from pydantic import model_validator

from pipeline.datasets.labels import MODES
from pipeline.datasets.match import Clip
from pipeline.datasets.refusal import Refusal, shown
from pipeline.errors import Reason
from pipeline.params import Block

Share = Annotated[float, Ge(0), Le(1)]
Kind = Literal["mode", "by_video", "none"]


class Shares(Block):
    """Shares of the videos, and the seed of the draw."""

    train: Share
    valid: Share
    test: Share
    seed: int

    @model_validator(mode="after")
    def _whole(self) -> "Shares":
        if abs(self.train + self.valid + self.test - 1) > 1e-6:
            raise ValueError("train, valid and test must add up to 1")
        return self


def assign(clips: list[Clip], wanted: str, shares: Shares, file: Path) -> tuple[Kind, dict[str, str], list[Refusal]]:
    """How the labelled clips are split, the split of each by id, and the rows whose mode is none.

    wanted: "mode" or "by_video"; a label file without any mode is split by video. Clips without a label have no split.
    """
    labelled = [clip for clip in clips if clip.row and clip.row.label is not None]
    if not labelled:
        return "none", {}, []
    if wanted == "by_video" or not any(clip.row and clip.row.mode for clip in labelled):
        videos = by_video({clip.video_id for clip in labelled}, shares)
        return "by_video", {clip.id: videos[clip.video_id] for clip in labelled}, []
    modes = {clip.id: MODES.get((clip.row.mode or "").casefold()) for clip in labelled if clip.row}
    refused = [_refusal(clip, file) for clip in labelled if not modes[clip.id]]
    return "mode", {id: mode for id, mode in modes.items() if mode}, refused


def by_video(videos: Iterable[str], shares: Shares) -> dict[str, str]:
    """Each video's split: drawn by a hash of seed and id, so that no order matters.

    Of few videos, train gets the first, test the second, valid the third. A share of 0 gets none: without train, what
    rounding leaves goes to test, or to valid where test has no share either.
    """
    order = sorted(set(videos), key=lambda video: hashlib.sha256(f"{shares.seed}/{video}".encode()).digest())
    count = len(order)
    most = count - (shares.train > 0)
    test = min(max(round(count * shares.test), shares.test > 0), most)
    valid = min(max(round(count * shares.valid), shares.valid > 0), most - test)
    if not shares.train:
        test, valid = (count - valid, valid) if shares.test else (0, count)
    drawn = ["test"] * test + ["valid"] * valid
    return dict(zip(order, drawn + ["train"] * (count - len(drawn)), strict=True))


def shared(values: Mapping[str, str | None], splits: Mapping[str, str]) -> list[str]:
    """The values (videos or texts, by clip id) that occur in more than one split, in order."""
    seen = defaultdict(set)
    for id, split in splits.items():
        if value := values.get(id):
            seen[value].add(split)
    return sorted(value for value, where in seen.items() if len(where) > 1)


def _refusal(clip: Clip, file: Path) -> Refusal:
    line, found = (clip.row.line, clip.row.mode) if clip.row else (None, None)
    message = (
        f"{file}, line {line}, column mode: found {shown(found or 'nothing')}, expected train, valid or test. "
        "Fill it in, or write 'split: by_video' in dataset.yaml."
    )
    return Refusal(str(file), Reason.MODE, message, line, clip.id)
