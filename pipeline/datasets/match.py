"""Rows and videos -> clips. A video is looked up in the folder's listing; no id is ever made into a path."""

import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from pipeline.datasets.folder import Video
from pipeline.datasets.imported import Imported
from pipeline.datasets.labels import Row
from pipeline.datasets.refusal import Refusal, printable, shown
from pipeline.errors import Reason

OWN = "0"  # clip_id of a video that is one clip


@dataclass(frozen=True)
class Clip:
    """The unit of everything that follows: a video or a segment of one, with its row; or a row of text alone."""

    video_id: str
    clip_id: str
    video: Video | None
    row: Row | None

    @property
    def id(self) -> str:
        return f"{self.video_id}/{self.clip_id}"

    @property
    def start(self) -> float | None:
        return self.row.start if self.row else None

    @property
    def end(self) -> float | None:
        return self.row.end if self.row else None


class Matcher:
    """Matches one data set's videos; what cannot be used is added to `refused`."""

    def __init__(
        self, folder: Path, videos: list[Video], imported: Imported | None = None, sheet: Path | None = None
    ) -> None:
        self.folder = folder
        self.sheet = sheet or folder / "label.csv"
        self.videos = videos
        self.imported = imported.ids if imported else None  # clips that need no video
        self.refused: list[Refusal] = []
        self._keys = _keys(videos)
        self._by_path = {_plain(video.path): video for video in videos}
        self._by_stem: dict[str, list[Video]] = defaultdict(list)
        self._by_case: dict[str, Video] = {}
        for video in videos:
            stem = _plain("/".join(filter(None, (video.parent, video.stem))))
            self._by_stem[stem].append(video)
            self._by_case |= {_plain(video.path).casefold(): video, stem.casefold(): video}

    def by_path(self) -> list[Clip]:
        """Without a label file, every video is a clip and its path gives the key.

        The folder is the video_id, the file's name without extension the clip_id. A video with no folder
        of its own (it lies at the top or in Raw), or that shares the only folder with all others, is its own:
        the name is the video_id, the clip_id is 0.
        """
        return list(self._usable(Clip(*self._keys[video.path], video, None) for video in self.videos))

    def by_rows(self, rows: list[Row]) -> list[Clip]:
        """With a label file, every row is a clip, and so is every video that no row names, without a label.

        Without any video the data set is text-only: its clips need a text.
        """
        found = [self._find(row) for row in rows]
        text_only = not self.videos
        used = {video.path for videos in found for video in videos}
        named = any(row.id for row in rows)
        rest = [
            Clip(*((video.parent, video.stem) if named and video.parent else self._keys[video.path]), video, None)
            for video in self.videos
            if video.path not in used
        ]
        return list(self._usable([*self._clips(rows, found, text_only), *rest]))

    def _find(self, row: Row) -> list[Video]:
        if row.file:
            video = self._by_path.get(_plain(row.file))
            return [video] if video else []
        return [video for stem in _stems(row) for video in self._by_stem.get(_plain(stem), [])]

    def _clips(self, rows: list[Row], found: list[list[Video]], text_only: bool) -> Iterator[Clip]:
        for row, videos in zip(rows, found, strict=True):
            if row.refused:
                continue
            if len(videos) > 1:
                several = ", ".join(printable(video.path) for video in videos)
                self._refuse_row(
                    row, Reason.AMBIGUOUS, f"the clip may be {several}. Remove all but one, or name it in `file`"
                )
            elif videos:
                yield Clip(*self._key(row, videos[0]), videos[0], row)
            elif text_only and row.id and (row.text if self.imported is None else row.id in self.imported):
                yield Clip(str(row.video_id), str(row.clip_id), None, row)
            else:
                wanted = "a text, or a video as " * text_only + _expected(row)
                fault = f"found {self._near(row)}, expected {wanted}. Add it, correct the row, or remove the row"
                if self.imported is not None:
                    fault = f"{self.folder}/features has no clip {row.id}. Remove the row, or import the data set again"
                self._refuse_row(row, Reason.NO_CLIP, fault)

    def _key(self, row: Row, video: Video) -> tuple[str, str]:
        """(video_id, clip_id) of a row; what it does not say is made of its video's path and, of a segment, its times."""
        whole = "/".join(filter(None, (video.parent, video.stem)))
        if row.segment:
            made = whole, f"{_seconds(row.start or 0.0)}-{'end' if row.end is None else _seconds(row.end)}"
        else:
            made = self._keys[video.path]
        if row.video_id and not row.clip_id:
            return row.video_id, f"{video.stem}-{made[1]}" if row.segment else video.stem
        return row.video_id or made[0], row.clip_id or made[1]

    def _near(self, row: Row) -> str:
        """What lies there in place of a row's video."""
        for name in [row.file] if row.file else _stems(row):
            if near := self._by_case.get(_plain(name).casefold()):
                exact = _plain(near.path).startswith(_plain(name))
                why = "has an extension, which the row lacks" if exact else "differs in upper and lower case"
                return f"{printable(near.path)}, which {why}"
        return "no video for it"

    def _usable(self, clips: Iterable[Clip]) -> Iterator[Clip]:
        """Clips whose video may be opened and whose key is new."""
        first: dict[str, Clip] = {}
        for clip in clips:
            if clip.video and clip.video.fault:
                self._refuse(clip.video, *clip.video.fault, clip=clip)
            elif (plain := _plain(clip.id)) in first:
                self._refuse_again(clip, first[plain])
            else:
                first[plain] = clip
                yield clip

    def _refuse_again(self, clip: Clip, first: Clip) -> None:
        if clip.row and first.row:
            reason = f"the id {clip.id} is line {first.row.line}'s already. Ids must be unique: rename or remove one"
            self._refuse_row(clip.row, Reason.DUPLICATE_ID, reason)
        elif clip.video:
            owner = (
                first.video.path if first.video else f"line {first.row.line if first.row else 1} of {self.sheet.name}"
            )
            message = f"{clip.video.path} has the key {clip.id}, as {owner} has. Rename or remove one."
            self._refuse(clip.video, Reason.DUPLICATE_ID, message, clip)

    def _refuse(self, video: Video, reason: Reason, message: str, clip: Clip | None = None) -> None:
        line = clip.row.line if clip and clip.row else None
        id = printable(clip.id) if clip else None
        self.refused.append(Refusal(printable(self.folder / video.path), reason, message, line, id))

    def _refuse_row(self, row: Row, reason: Reason, fault: str) -> None:
        message = f"{self.sheet}, line {row.line}: {fault}."
        self.refused.append(Refusal(str(self.sheet), reason, message, row.line, row.id))


def _keys(videos: list[Video]) -> dict[str, tuple[str, str]]:
    """(video_id, clip_id) of each video by its path."""
    alone = len({PurePosixPath(video.path).parent for video in videos}) == 1
    return {v.path: (v.stem, OWN) if alone or not v.parent else (v.parent, v.stem) for v in videos}


def _seconds(time: float) -> str:
    """To a millisecond, without zeros at the end."""
    return f"{time:.3f}".rstrip("0").rstrip(".")


def _plain(path: str) -> str:
    """One spelling of accented letters: file systems and spreadsheets differ."""
    return unicodedata.normalize("NFC", path)


def _stems(row: Row) -> list[str]:
    """What a row's video may be called: its path without extension (and without Raw)."""
    if not row.id:
        return []
    whole = [str(row.video_id)] if row.segment or row.refused else []  # of a refused row the times may be what is wrong
    return [row.id, f"{row.video_id}_{row.clip_id}", *whole]


def _expected(row: Row) -> str:
    if row.file:
        return shown(row.file)
    stem = f"{row.video_id}/{row.clip_id}"
    whole = f", or {row.video_id}.<ext> to cut it from" if row.segment else ""
    return f"Raw/{stem}.<ext>, {stem}.<ext> or {row.video_id}_{row.clip_id}.<ext>{whole}"
