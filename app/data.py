"""rawmsa data: what a data set is to the pipeline, and every file and row of it that is not used."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline import params, paths, tables
from pipeline.datasets.refusal import counted, printable
from pipeline.errors import RawmsaError
from pipeline.tables import SPLITS, ClipRow, DatasetFacts, LabelRow, RefusedRow
from report import facts as gathered

LISTED = 1000  # messages of one reason


def main(name: str) -> None:
    """Print a data set of data/raw as the last ingest read it. Raises RawmsaError where it did not."""
    params.read()  # says so outside a project
    facts, refused = tables.read_facts(paths.DATASETS), tables.grouped(tables.read_rows(RefusedRow, paths.REFUSED))
    unnamed = [
        row for row in refused.pop("", []) if Path(row.file) == paths.RAW / name
    ]  # no folder's name, or no data set's
    if unnamed:
        raise RawmsaError(f"{name}: not used: {unnamed[0].message} Then: dvc repro ingest")
    if name not in facts and name not in refused:
        known = sorted({*facts, *refused})
        raise RawmsaError(
            f"ingest knows no data set {name}; it has {', '.join(known) or 'none'}. After a change of {paths.RAW}: dvc repro ingest"
        )
    clips = tables.grouped(tables.read_rows(ClipRow, paths.CLIPS)).get(name, [])
    labels = tables.grouped(tables.read_rows(LabelRow, paths.LABELS)).get(name, [])
    described = [*_described(facts[name], clips, labels), *_flags(name)] if name in facts else ["  not used"]
    lines = [*described, *_refused(refused.get(name, []))]
    print(f"{name}: {counted('clip', len(clips))}")
    print(*(printable(line) for line in lines), sep="\n")


def _described(facts: DatasetFacts, clips: Sequence[ClipRow], labels: Sequence[LabelRow]) -> Iterator[str]:
    of_split = Counter(row.split for row in labels)
    splits = ", ".join(f"{split} {of_split[split]:,}" for split in SPLITS if of_split[split])
    yield f"  language {facts.language}, convention {facts.convention}{', synthetic' if facts.synthetic else ''}"
    yield f"  splits ({facts.split}): {splits or 'none'}; without a label {of_split[None]:,}"
    low, high = (bound + facts.neutral for bound in facts.label_range)
    known = [row.label + facts.neutral for row in labels if row.label is not None]
    found = f"from {min(known):g} to {max(known):g}" if known else "none"
    yield f"  labels: {found}; range {low:g} to {high:g}, neutral {facts.neutral:g}"
    if said := tables.scale(facts.label_range, facts.neutral):
        yield f"  {said}"
    seconds = sum(clip.seconds or 0.0 for clip in clips)
    heard, seen = (sum(clip.has(modality) for clip in clips) for modality in ("audio", "vision"))
    yield f"  {seconds:,.1f} s; with sound {heard:,}, with picture {seen:,}"
    yield from (f"  note: {note}" for note in facts.notes)


def _flags(name: str) -> Iterator[str]:
    """What is odd about its clips, as every stage that has run says."""
    (dataset,) = (found for found in gathered.bare() if found.name == name)
    flags = Counter(kind for clip in dataset.clips for kind in dataset.kinds(clip))
    yield from (f"  flag: {flag}: {counted('clip', count)}" for flag, count in flags.most_common())


def _refused(rows: Sequence[RefusedRow]) -> Iterator[str]:
    reasons = Counter(row.reason for row in rows)
    if not rows:
        yield "  nothing refused"
    for reason, count in reasons.most_common():
        yield f"  refused: {reason}: {count:,}"
        messages = [row.message for row in rows if row.reason == reason]
        yield from (f"    {message}" for message in messages[:LISTED])
        if count > LISTED:
            yield f"    … and {count - LISTED:,} more in {paths.REFUSED}"
