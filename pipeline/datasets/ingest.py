"""ingest: data/raw -> clips, texts, labels and what is refused.

Labels and texts lie apart from the clips, so that a label edit re-extracts nothing and a text edit re-runs
text alone.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from pipeline import datasets, media, params, paths, tables
from pipeline.datasets import Clip, Dataset, Refusal, Shares
from pipeline.datasets.facts import Counts, Facts, Segment, examine
from pipeline.datasets.refusal import counted
from pipeline.datasets.split import shared
from pipeline.errors import DatasetError, MediaError, Reason, StageError, coded
from pipeline.execution import cache, fingerprint
from pipeline.flags import Flag, Flagged
from pipeline.tables import ClipRow, DatasetFacts, LabelRow, RefusedRow, TextRow

WHOLE = (Reason.DATA_SET, Reason.COLUMN)  # reasons that concern a whole data set, told first
SEGMENT_TOLERANCE = 0.1  # seconds that a clip may end before its row says, since streams end at their last frame
Found = Mapping[Segment, Facts | MediaError]


class Params(media.Limits):
    """What a file may be, and how data sets without an official split are split."""

    split: Shares


def run(options: Params, part: cache.Part | None = None) -> None:
    """Write data/ingest. Raises DatasetError where not one clip is left, StageError where too many cannot be used.

    With a part, its videos are hashed and decoded into the cache, and nothing is written.
    """
    sets, refused = _sets(options.split)
    segments = [segment for dataset in sets for clip in dataset.clips if (segment := _segment(dataset, clip))]
    if part:
        segments = [segment for segment in segments if part.holds(fingerprint.key(path=segment.path.as_posix()))]
    found, counts = examine(segments, media.Limits(**options.model_dump(exclude={"split"})), note=part is None)
    if part:
        print(
            f"ingest: part {part.number} of {part.of}: {counts.computed} computed, {counts.cached} from cache, {counts.failed} failed"
        )
        return
    clips = {dataset.name: list(_clips(dataset, found, refused)) for dataset in sets}
    usable = [dataset for dataset in sets if clips[dataset.name]]
    if not usable:
        reasons = "".join(f"\n  {row.message}" for row in refused[:5])
        raise DatasetError(f"{paths.RAW} holds no clip that can be used.{reasons}\nPut videos there, or: rawmsa demo")
    facts = {dataset.name: _facts(dataset, clips) for dataset in usable}
    _write(usable, clips, refused, facts)
    told = [*_labels(usable, clips), *_leakage(facts), *_notes(facts), *_told(refused)]
    print(_summary(clips, counts, refused), *told, sep="\n  ")
    _check(found, sum(map(len, clips.values())))


def _check(found: Found, usable: int) -> None:
    """Raise StageError where more of the clips than limits allow cannot be used: something befell them all."""
    faults = [facts for facts in found.values() if isinstance(facts, MediaError)]
    every = usable + len(faults)
    if len(faults) / every > params.load("limits", params.Limits).max_failed_fraction:
        reasons = ", ".join(
            f"{reason} {n}"
            for reason, n in Counter(coded(fault.reason, fault.failure) for fault in faults).most_common()
        )
        raise StageError(
            f"ingest: {len(faults)} of {every} clips cannot be used, more than limits.max_failed_fraction of "
            f"params.yaml allows ({reasons}). The first: {faults[0].message} {paths.REFUSED} has all. Repair or remove them, "
            "or raise the fraction."
        )


def _sets(shares: Shares) -> tuple[list[Dataset], list[RefusedRow]]:
    """Every data set that can be read, and what is refused so far."""
    folders, outside = datasets.discover(paths.RAW)
    sets, refused = [], [_refused("", refusal) for refusal in outside]
    for folder in folders:
        try:
            sets.append(datasets.read(folder, shares))
            refused += [_refused(folder.name, refusal) for refusal in sets[-1].refused]
        except DatasetError as error:
            refused.append(_refused(folder.name, Refusal(str(folder), Reason.DATA_SET, str(error))))
    return sets, refused


def _segment(dataset: Dataset, clip: Clip) -> Segment | None:
    return Segment(dataset.folder / clip.video.path, clip.start, clip.end) if clip.video else None


def _clips(dataset: Dataset, found: Found, refused: list[RefusedRow]) -> Iterator[ClipRow]:
    """The clips that can be used; the others are added to `refused`, and so is a data set without any."""
    used = 0
    for clip in dataset.clips:
        segment = _segment(dataset, clip)
        facts = found[segment] if segment else None
        if isinstance(facts, MediaError):
            refused.append(_refused(dataset.name, _refusal(dataset, clip, facts)))
            continue
        used += 1
        row = ClipRow(dataset=dataset.name, id=clip.id, video_id=clip.video_id, clip_id=clip.clip_id)
        yield _of_file(row, segment, facts) if segment and facts else _without_file(row, dataset)
    if not used:
        message = f"{dataset.folder} has no clip that can be used. Put videos in it, or a label file with texts."
        refused.append(_refused(dataset.name, Refusal(str(dataset.folder), Reason.NO_CLIPS, message)))


def _without_file(row: ClipRow, dataset: Dataset) -> ClipRow:
    """A row of text alone, or of features that the data set brings; their hash makes stages run when they change."""
    if dataset.imported is None:
        return row
    there = {modality: bool(ids.get(row.id)) for modality, ids in dataset.imported.frames.items()}
    audio, vision = (there.get(modality, False) for modality in ("audio", "vision"))
    return replace(row, has_audio=audio, has_vision=vision, sha256=dataset.imported.sha256)


def _of_file(row: ClipRow, segment: Segment, facts: Facts) -> ClipRow:
    found = replace(row, sha256=facts.sha256, **vars(facts.media), status=facts.media.status)
    if segment.end is not None and facts.media.seconds < segment.end - (segment.start or 0.0) - SEGMENT_TOLERANCE:
        found = replace(found, flags=(*found.flags, Flagged(Flag.SEGMENT_CUT)))
    return replace(found, path=segment.path.as_posix(), start=segment.start, end=segment.end)


def _refusal(dataset: Dataset, clip: Clip, error: MediaError) -> Refusal:
    file = dataset.folder / (clip.video.path if clip.video else "")
    line = clip.row.line if clip.row else None
    where = f"{dataset.sheet}, line {line}: " if line and clip.row and clip.row.segment else ""
    return Refusal(str(file), error.reason, f"{where}{error.message}", line, clip.id, error.failure)


def _refused(dataset: str, refusal: Refusal) -> RefusedRow:
    return RefusedRow(
        dataset=dataset,
        file=refusal.file,
        row=refusal.row,
        id=refusal.id,
        reason=coded(refusal.reason, refusal.failure),
        message=refusal.message,
    )


def _write(
    sets: list[Dataset],
    clips: dict[str, list[ClipRow]],
    refused: list[RefusedRow],
    facts: Mapping[str, DatasetFacts],
) -> None:
    each = [(dataset, clip) for dataset in sets for clip in clips[dataset.name]]
    tables.write(paths.CLIPS, tables.table_of(ClipRow, (clip for _, clip in each)))
    tables.write(paths.TEXTS, tables.table_of(TextRow, (_text(dataset, clip.id) for dataset, clip in each)))
    tables.write(paths.LABELS, tables.table_of(LabelRow, (_label(dataset, clip.id) for dataset, clip in each)))
    ordered = sorted(refused, key=lambda one: (one.dataset, one.file, one.row or 0, one.message))
    tables.write(paths.REFUSED, tables.table_of(RefusedRow, ordered))
    tables.write_facts(paths.DATASETS, facts)


def _text(dataset: Dataset, id: str) -> TextRow:
    found = dataset.texts[id]
    language = dataset.description.language
    return TextRow(
        dataset=dataset.name, id=id, language=language, source=found.source, text=found.text, cues=found.cues
    )


def _label(dataset: Dataset, id: str) -> LabelRow:
    row = dataset.rows.get(id)
    named = {name: getattr(row, name) for name in ("label", *tables.UNIMODAL.values(), "annotation")} if row else {}
    return LabelRow(dataset=dataset.name, id=id, split=dataset.splits.get(id), **named)


def _facts(dataset: Dataset, every: Mapping[str, list[ClipRow]]) -> DatasetFacts:
    """What a data set is, and what its splits, or it and another data set, share."""
    clips = every[dataset.name]
    splits = {clip.id: dataset.splits[clip.id] for clip in clips if clip.id in dataset.splits}
    told = dataset.description
    return DatasetFacts(
        language=told.language,
        convention=told.convention,
        label_range=told.kept_range,
        neutral=told.neutral,
        redistribute=told.redistribute,
        synthetic=told.synthetic,
        split=dataset.split,
        labelled=bool(splits),
        text_only=not any(clip.path or clip.has_audio or clip.has_vision for clip in clips),
        shared_videos=shared({clip.id: clip.video_id for clip in clips}, splits),
        shared_texts=shared({clip.id: dataset.texts[clip.id].text for clip in clips}, splits),
        shared_contents=_shared_contents(_contents(clips), splits),
        elsewhere=dict(_elsewhere(dataset.name, every)),
        duplicates=_duplicates(clips),
        notes=dataset.notes,
    )


def _contents(clips: list[ClipRow]) -> dict[str, str]:
    """The hash of each clip's file by id; a text alone has none."""
    return {clip.id: clip.sha256 for clip in clips if clip.path and clip.sha256}


def _shared_contents(contents: Mapping[str, str], splits: Mapping[str, str]) -> list[list[str]]:
    """Ids of the labelled clips of one file's bytes, where they lie in more than one split."""
    same, told = defaultdict(list), set(shared(contents, splits))
    for id, content in contents.items():
        if content in told and id in splits:
            same[content].append(id)
    return sorted(same.values())


def _elsewhere(name: str, clips: Mapping[str, list[ClipRow]]) -> Iterator[tuple[str, list[str]]]:
    """Another data set and the ids of this one's clips whose file, byte for byte, it holds too."""
    for other in sorted(clips.keys() - {name}):
        theirs = set(_contents(clips[other]).values())
        if ids := sorted(id for id, sha256 in _contents(clips[name]).items() if sha256 in theirs):
            yield other, ids


def _duplicates(clips: list[ClipRow]) -> list[list[str]]:
    """Ids of the clips that show the same segment of the same bytes."""
    same = defaultdict(list)
    for clip in clips:
        if clip.path:
            same[clip.sha256, clip.start, clip.end].append(clip.id)
    return sorted(ids for ids in same.values() if len(ids) > 1)


def _summary(clips: dict[str, list[ClipRow]], counts: Counts, refused: list[RefusedRow]) -> str:
    sizes = ", ".join(f"{name} {counted('clip', len(records))}" for name, records in clips.items())
    reasons = ", ".join(f"{reason} {n}" for reason, n in Counter(one.reason for one in refused).most_common())
    what = f"{counts.computed} computed, {counts.cached} from cache, {counts.failed} failed"
    degraded = sum(record.status == "degraded" for records in clips.values() for record in records)
    damage = f"{degraded} degraded, " if degraded else ""
    return f"ingest: {sizes}; {what}; {damage}{len(refused)} refused" + (f" ({reasons})" if reasons else "")


def _labels(sets: Sequence[Dataset], clips: Mapping[str, list[ClipRow]]) -> Iterator[str]:
    """A line for every data set with a label file: on what scale its labels are, and what becomes of clips without one."""
    for dataset in sets:
        told, observed = dataset.description, dataset.observed
        without = [clip for clip in clips[dataset.name] if clip.id not in dataset.splits]
        if observed:
            low, high = told.label_range
            whose = f", as convention {told.convention} has it" if told.guessed else ""
            told_range = f"range {low:g} to {high:g}, neutral {told.neutral:g}{whose}"
            shift = f"; kept less {told.neutral:g}, so that 0 is neutral" if told.neutral else ""
            rest = f"; {counted('clip', len(without))} without a label: predicted, not trained on" if without else ""
            yield f"{dataset.name}: labels from {observed.low:g} to {observed.high:g} ({told_range}){shift}{rest}"
        elif dataset.sheet:
            yield f"{dataset.name}: {dataset.sheet.name} has no labels: the clips are predicted, nothing is trained on them"


def _leakage(facts: Mapping[str, DatasetFacts]) -> Iterator[str]:
    """A line for every data set whose splits share something, and for every two that do; nothing is refused for it."""
    for name, told in facts.items():
        shared_by: dict[str, Sequence[object]] = {
            "video": told.shared_videos,
            "text": told.shared_texts,
            "content": told.shared_contents,
        }
        counts = {word: len(several) for word, several in shared_by.items()}
        if any(counts.values()):
            several = ", ".join(counted(word, count) for word, count in counts.items() if count)
            lie = "lies" if sum(counts.values()) == 1 else "lie"
            by_video = f", or write 'split: by_video' in {paths.RAW / name / 'dataset.yaml'}"
            yield (
                f"{name}: leakage: {several} {lie} in more than one split ({paths.DATASETS} names them), so its figures may "
                f"flatter. Give each to one split in label.csv{by_video if counts['video'] else ''}."
            )
        for other, ids in told.elsewhere.items():
            if name < other and told.labelled and facts[other].labelled:
                yield (
                    f"{name}: leakage: {other} holds {counted('clip', len(ids))} of it too, byte for byte ({paths.DATASETS} names "
                    "them). Remove them from one before a run of one is evaluated on the other."
                )


def _notes(facts: Mapping[str, DatasetFacts]) -> Iterator[str]:
    yield from (f"{name}: {note}" for name, told in facts.items() for note in told.notes)


def _told(refused: list[RefusedRow]) -> Iterator[str]:
    """A message for each data set and reason, the first, with how many more there are; `rawmsa data` lists those."""
    groups: dict[tuple[str, str], list[RefusedRow]] = {}
    for one in refused:
        groups.setdefault((one.dataset, one.reason), []).append(one)
    for (name, reason), rows in sorted(groups.items(), key=lambda item: item[1][0].kind not in WHOLE):
        more = f" And {len(rows) - 1:,} more ({reason}): {_listing(name)}" if len(rows) > 1 else ""
        yield f"{rows[0].message}{more}"


def _listing(name: str) -> str:
    return f"rawmsa data {name}" if name else str(paths.REFUSED)
