"""A folder below data/raw -> a data set: its clips, texts, labels and splits, and what is refused.

folder lists the files, description reads dataset.yaml, labels reads label.csv, match brings rows and videos
together, split draws the splits, sidecars reads the transcripts beside the clips, imported the features that a
data set brings in place of videos.
"""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from pipeline.datasets import description, imported, labels, sidecars, split
from pipeline.datasets.description import Description
from pipeline.datasets.folder import Contents, discover, scan
from pipeline.datasets.imported import Imported
from pipeline.datasets.labels import Row
from pipeline.datasets.match import Clip, Matcher
from pipeline.datasets.refusal import Refusal, printable
from pipeline.datasets.split import Kind, Shares
from pipeline.errors import DatasetError, Reason
from pipeline.tables import Cue

__all__ = ["Clip", "Dataset", "Refusal", "Shares", "Text", "discover", "read"]


@dataclass(frozen=True)
class Text:
    """What somebody wrote down of a clip. source: label, sidecar; None: nobody did."""

    source: str | None
    text: str | None
    cues: list[Cue]


@dataclass(frozen=True)
class Dataset:
    """One data set as its folder describes it; no video has been opened yet."""

    folder: Path
    description: Description
    clips: list[Clip]
    texts: dict[str, Text]  # by clip id
    split: Kind
    splits: dict[str, str]  # by clip id; the labelled clips
    refused: list[Refusal]
    imported: Imported | None  # the features it brings, in place of videos

    @property
    def name(self) -> str:
        return self.folder.name

    @cached_property
    def rows(self) -> dict[str, Row]:
        """Rows of label.csv by clip id."""
        return {clip.id: clip.row for clip in self.clips if clip.row}


def read(folder: Path, shares: Shares) -> Dataset:
    """Read one data set's folder. Raises DatasetError where dataset.yaml or label.csv as a whole cannot be used."""
    told = description.load(folder)
    contents = scan(folder)
    features, refused, sheet = imported.read(folder), list(contents.refused), folder / "label.csv"
    videos = [] if features else contents.videos
    if len(videos) < len(contents.videos):
        refused.append(_beside(folder, contents))
    matcher = Matcher(folder, videos, features)
    if os.path.lexists(sheet):
        rows, faults = labels.read(sheet, told)
        clips = matcher.by_rows(rows)
        refused += faults
    else:
        clips = matcher.by_path()
    kind, splits, without = split.assign(clips, told.split, shares, sheet)
    refused += [*matcher.refused, *without]
    dropped = {refusal.id for refusal in without}
    clips = sorted((clip for clip in clips if clip.id not in dropped), key=lambda clip: clip.id)
    texts = {clip.id: _text(clip, folder, contents, refused) for clip in clips}
    return Dataset(folder, told, clips, texts, kind, splits, refused, features)


def _beside(folder: Path, contents: Contents) -> Refusal:
    first, message = (
        contents.videos[0],
        (
            f"{folder} brings its features, so its {len(contents.videos)} videos are not read, expected none. "
            "Move them into a data set of their own."
        ),
    )
    return Refusal(printable(folder / first.path), Reason.BESIDE_FEATURES, message)


def _text(clip: Clip, folder: Path, contents: Contents, refused: list[Refusal]) -> Text:
    """The label file's text, else the sidecar's; a sidecar that cannot be read is refused, its clip is not."""
    if clip.row and clip.row.text:
        return Text("label", clip.row.text, [])
    stem = str(PurePosixPath(clip.video.path).with_suffix("")) if clip.video else ""
    for path in contents.sidecar(stem):
        try:
            text, cues = sidecars.read(folder / path, clip.start, clip.end)
        except DatasetError as error:
            refused.append(Refusal(printable(folder / path), Reason.SIDECAR, str(error), id=clip.id))
            continue
        if text:
            return Text("sidecar", text, [Cue(**cue) for cue in cues])
    return Text(None, None, [])
