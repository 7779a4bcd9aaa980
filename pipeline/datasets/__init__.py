"""A folder below data/raw -> a data set: its clips, texts, labels and splits, and what is refused.

folder lists the files, description reads dataset.yaml, sheets and labels read the label file, scale says whether its labels
fit their range, match brings rows and videos together, split draws the splits, sidecars reads the transcripts beside the clips,
imported the features that a data set brings in place of videos.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath

from pipeline.datasets import description, imported, labels, sheets, sidecars, split
from pipeline.datasets.description import Described
from pipeline.datasets.folder import SIDECARS, Contents, discover, extension, scan
from pipeline.datasets.imported import Imported
from pipeline.datasets.labels import Row
from pipeline.datasets.match import Clip, Matcher
from pipeline.datasets.refusal import Refusal, counted, examples, printable, several
from pipeline.datasets.scale import Observed
from pipeline.datasets.split import Kind, Shares
from pipeline.errors import DatasetError, Reason
from pipeline.tables import Cue

__all__ = ["Clip", "Dataset", "Refusal", "Shares", "Text", "discover", "read", "scan"]


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
    description: Described
    clips: list[Clip]
    texts: dict[str, Text]  # by clip id
    split: Kind
    splits: dict[str, str]  # by clip id; the labelled clips
    refused: list[Refusal]
    imported: Imported | None  # the features it brings, in place of videos
    sheet: Path | None  # its label file
    observed: Observed | None  # the labels of the label file, on its scale
    notes: list[str]  # what is not read or doubtful, in sentences

    @property
    def name(self) -> str:
        return self.folder.name

    @cached_property
    def rows(self) -> dict[str, Row]:
        """Rows of the label file by clip id."""
        return {clip.id: clip.row for clip in self.clips if clip.row}


def read(folder: Path, shares: Shares) -> Dataset:
    """Read one data set's folder. Raises DatasetError where dataset.yaml or the label file as a whole cannot be used."""
    told = description.load(folder)
    contents, sheet = scan(folder), sheets.find(folder)
    features, refused, notes = imported.read(folder), list(contents.refused), list(contents.notes)
    videos = [] if features else contents.videos
    if len(videos) < len(contents.videos):
        refused.append(_beside(folder, contents))
    matcher = Matcher(folder, videos, features, sheet)
    found = labels.read(sheet, told) if sheet else None
    if found:
        clips = matcher.by_rows(found.rows)
        refused, notes = refused + found.refused, notes + found.notes
    else:
        clips = matcher.by_path()
    kind, splits, without = split.assign(clips, told.split, shares, sheet or folder)
    refused += [*matcher.refused, *without]
    dropped = {refusal.id for refusal in without}
    clips = sorted((clip for clip in clips if clip.id not in dropped), key=lambda clip: clip.id)
    texts = {clip.id: _text(clip, folder, contents, refused) for clip in clips}
    notes += [*_lone_sidecars(contents), *_partly_absent(features)]
    observed = found.observed if found else None
    return Dataset(folder, told, clips, texts, kind, splits, refused, features, sheet, observed, notes)


def _lone_sidecars(contents: Contents) -> Iterator[str]:
    """Transcripts beside no video of their name."""
    stems = {str(PurePosixPath(video.path).with_suffix("")) for video in contents.videos}
    lone = sorted(path for stem, paths in contents.sidecars.items() if stem not in stems for path in paths)
    for kind in SIDECARS:
        if found := [path for path in lone if extension(path) == kind]:
            yield f"{several(f'.{kind} file', found)} not read ({examples(found)}): no video has the name."


def _partly_absent(features: Imported | None) -> Iterator[str]:
    """Clips that one file of imported features has and another lacks."""
    for modality, frames in (features.frames if features else {}).items():
        if lacking := sorted(features.ids - frames.keys() if features else ()):
            yield f"{counted('clip', len(lacking))} without {modality}: features/{modality}.parquet lacks {examples(lacking)}."


def _beside(folder: Path, contents: Contents) -> Refusal:
    first, message = (
        contents.videos[0],
        (
            f"{folder} brings its features, so {several('video', contents.videos)} not read, expected none. "
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
