"""ingest: data/raw -> clips, texts, labels and what is refused.

Labels and texts lie apart from the clips, so that a label edit re-extracts nothing and a text edit re-runs
text alone.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from pipeline import datasets, media, paths, tables
from pipeline.datasets import Clip, Dataset, Refusal, Shares
from pipeline.datasets.facts import Counts, Facts, Segment, examine
from pipeline.datasets.split import shared
from pipeline.errors import DatasetError, MediaError

TEXT_ALONE = {"has_audio": False, "has_vision": False, "flags": []}  # a clip without a file
ALWAYS_TOLD = ("data set", "column")  # reasons that concern a whole data set
TOLD = 3  # of the other refusals
Record = dict[str, Any]  # a row of one of the tables
Found = Mapping[Segment, Facts | MediaError]


class Params(media.Limits):
    """What a file may be, and how data sets without an official split are split."""

    split: Shares


def run(options: Params) -> None:
    """Write data/ingest. Raises DatasetError where not one clip is left."""
    sets, refused = _sets(options.split)
    segments = [segment for dataset in sets for clip in dataset.clips if (segment := _segment(dataset, clip))]
    found, counts = examine(segments, media.Limits(**options.model_dump(exclude={"split"})))
    clips = {dataset.name: list(_clips(dataset, found, refused)) for dataset in sets}
    usable = [dataset for dataset in sets if clips[dataset.name]]
    if not usable:
        reasons = "".join(f"\n  {record['message']}" for record in refused[:5])
        raise DatasetError(f"{paths.RAW} holds no clip that can be used.{reasons}\nPut videos there, or: rawmsa demo")
    _write(usable, clips, refused)
    print(_summary(clips, counts, refused), *_told(refused), sep="\n  ")


def _sets(shares: Shares) -> tuple[list[Dataset], list[Record]]:
    """Every data set that can be read, and what is refused so far."""
    folders, outside = datasets.discover(paths.RAW)
    sets, refused = [], [_refused("", refusal) for refusal in outside]
    for folder in folders:
        try:
            sets.append(datasets.read(folder, shares))
            refused += [_refused(folder.name, refusal) for refusal in sets[-1].refused]
        except DatasetError as error:
            refused.append(_refused(folder.name, Refusal(str(folder), "data set", str(error))))
    return sets, refused


def _segment(dataset: Dataset, clip: Clip) -> Segment | None:
    return Segment(dataset.folder / clip.video.path, clip.start, clip.end) if clip.video else None


def _clips(dataset: Dataset, found: Found, refused: list[Record]) -> Iterator[Record]:
    """The clips that can be used; the others are added to `refused`, and so is a data set without any."""
    used = 0
    for clip in dataset.clips:
        record = {"dataset": dataset.name, "id": clip.id, "video_id": clip.video_id, "clip_id": clip.clip_id}
        segment = _segment(dataset, clip)
        facts = found[segment] if segment else None
        if isinstance(facts, MediaError):
            refused.append(_refused(dataset.name, _refusal(dataset, clip, facts)))
            continue
        used += 1
        yield {**record, **(_file(segment, facts) if segment and facts else _without_file(dataset, clip))}
    if not used:
        message = f"{dataset.folder} has no clip that can be used. Put videos in it, or a label.csv with texts."
        refused.append(_refused(dataset.name, Refusal(str(dataset.folder), "no clips", message)))


def _without_file(dataset: Dataset, clip: Clip) -> Record:
    """A row of text alone, or of features that the data set brings; their hash makes stages run when they change."""
    if dataset.imported is None:
        return TEXT_ALONE
    frames = dataset.imported.frames
    there = {f"has_{modality}": frames.get(modality, {}).get(clip.id, 0) > 0 for modality in ("audio", "vision")}
    return {**TEXT_ALONE, **there, "sha256": dataset.imported.sha256}


def _file(segment: Segment, facts: Facts) -> Record:
    where = {"path": segment.path.as_posix(), "sha256": facts.sha256, "start": segment.start, "end": segment.end}
    return {**where, **asdict(facts.media)}


def _refusal(dataset: Dataset, clip: Clip, error: MediaError) -> Refusal:
    file = dataset.folder / (clip.video.path if clip.video else "")
    return Refusal(str(file), error.reason, error.message, clip.row.line if clip.row else None, clip.id)


def _refused(dataset: str, refusal: Refusal) -> Record:
    return {"dataset": dataset, **asdict(refusal)}


def _write(sets: list[Dataset], clips: dict[str, list[Record]], refused: list[Record]) -> None:
    each = [(dataset, clip["id"]) for dataset in sets for clip in clips[dataset.name]]
    tables.write(paths.CLIPS, tables.rows(tables.CLIPS, (clip for dataset in sets for clip in clips[dataset.name])))
    tables.write(paths.TEXTS, tables.rows(tables.TEXTS, (_text(dataset, id) for dataset, id in each)))
    tables.write(paths.LABELS, tables.rows(tables.LABELS, (_label(dataset, id) for dataset, id in each)))
    ordered = sorted(refused, key=lambda one: (one["dataset"], one["file"], one["row"] or 0, one["message"]))
    tables.write(paths.REFUSED, tables.rows(tables.REFUSED, ordered))
    tables.write_json(paths.DATASETS, {dataset.name: _facts(dataset, clips[dataset.name]) for dataset in sets})


def _text(dataset: Dataset, id: str) -> Record:
    return {"dataset": dataset.name, "id": id, "language": dataset.description.language, **asdict(dataset.texts[id])}


def _label(dataset: Dataset, id: str) -> Record:
    row = dataset.rows.get(id)
    named = {name: getattr(row, name) for name in ("label", *tables.UNIMODAL.values(), "annotation")} if row else {}
    return {"dataset": dataset.name, "id": id, "split": dataset.splits.get(id), **named}


def _facts(dataset: Dataset, clips: list[Record]) -> Record:
    """A data set's entry of datasets.json: what it is, and what its splits share."""
    splits = {clip["id"]: dataset.splits[clip["id"]] for clip in clips if clip["id"] in dataset.splits}
    return {
        **dataset.description.model_dump(mode="json"),
        "split": dataset.split,
        "labelled": bool(splits),
        "text_only": not any(clip.get("path") or clip["has_audio"] or clip["has_vision"] for clip in clips),
        "shared_videos": shared({clip["id"]: clip["video_id"] for clip in clips}, splits),
        "shared_texts": shared({clip["id"]: dataset.texts[clip["id"]].text for clip in clips}, splits),
        "duplicates": _duplicates(clips),
    }


def _duplicates(clips: list[Record]) -> list[list[str]]:
    """Ids of the clips that show the same segment of the same bytes."""
    same = defaultdict(list)
    for clip in clips:
        if "path" in clip:
            same[clip["sha256"], clip["start"], clip["end"]].append(clip["id"])
    return sorted(ids for ids in same.values() if len(ids) > 1)


def _summary(clips: dict[str, list[Record]], counts: Counts, refused: list[Record]) -> str:
    sizes = ", ".join(f"{name} {len(records)} clips" for name, records in clips.items())
    reasons = ", ".join(f"{reason} {n}" for reason, n in Counter(one["reason"] for one in refused).most_common())
    what = f"{counts.computed} computed, {counts.cached} from cache, {counts.failed} failed"
    return f"ingest: {sizes}; {what}; {len(refused)} refused" + (f" ({reasons})" if reasons else "")


def _told(refused: list[Record]) -> Iterator[str]:
    """The messages to print: of whole data sets all, of the rest the first few."""
    yield from (one["message"] for one in refused if one["reason"] in ALWAYS_TOLD)
    rest = [one["message"] for one in refused if one["reason"] not in ALWAYS_TOLD]
    yield from rest[:TOLD]
    if more := len(rest[TOLD:]):
        yield f"… and {more} more: {paths.REFUSED}, {paths.REPORT / 'index.html'}"
