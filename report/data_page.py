"""The data page: what a data set holds, and what became of what it doesn't."""

from collections import Counter
from collections.abc import Iterator
from functools import partial

import numpy as np

from pipeline import paths
from pipeline.datasets.folder import LABEL_FILES
from pipeline.errors import Reason
from pipeline.tables import SPLITS, UNIMODAL
from report import plots
from report.examples import shortened
from report.facts import Dataset, Extraction, Row, Share
from report.tables import Table


def facts(data: Dataset) -> Iterator[tuple[str, str]]:
    clips = data.clips.values()
    lengths = [clip["seconds"] for clip in clips if clip["seconds"] is not None]
    sounding, pictured = (sum(clip[name] for clip in clips) for name in ("has_audio", "has_vision"))
    yield "Clips", f"{len(clips):,} ({sounding:,} with sound, {pictured:,} with picture)"
    yield "Length", f"{sum(lengths):,.1f} s" if lengths else "unknown: no videos"
    low, high = data.label_range
    yield "Language", data.settings["language"]
    yield "Labels", f"in [{low:g}, {high:g}], metrics of {data.settings['convention']}, split {data.settings['split']}"
    if data.scale:
        yield "Scale", data.scale
    found = [row["label"] for row in data.labels.values() if row["label"] is not None]
    if found:
        yield "Labels found", f"from {min(found):g} to {max(found):g}"
    yield "Labelled clips", _by_split(data) or "none"
    yield "Clips without a label", f"{sum(row['label'] is None for row in data.labels.values()):,}"
    yield "Videos of labelled clips", _videos(data) or "none"
    yield "Human unimodal labels", _unimodal(data) or "none"
    extracted = data.extractions
    yield "Frames with a face", _faces(extracted.get("vision"))
    yield "Voiced frames of sound", percent(extracted["audio"].voiced) if "audio" in extracted else "no features"
    sources = Counter(row["source"] for row in data.transcripts.values())
    yield "Transcripts", ", ".join(f"{name} {count:,}" for name, count in sorted(sources.items())) or "none"
    heard = [row["confidence"] for row in data.transcripts.values() if row["source"] == "recogniser"]
    sure = [confidence for confidence in heard if confidence is not None]
    yield "Recogniser's mean confidence", f"{np.mean(sure):.2f}" if sure else "none heard"
    if data.textless:
        yield "Text", f"not used, the results are of sound and picture alone: {data.textless}"
    for kind in ("videos", "texts", "contents"):
        yield f"{kind.capitalize()} in several splits", f"{len(data.settings.get(f'shared_{kind}', [])):,}"
    yield "Contents that occur more than once", f"{len(data.settings.get('duplicates', [])):,}"
    yield "Degraded (the flags say how)", f"{sum(clip['status'] == 'degraded' for clip in clips):,}"
    yield "Failed in extraction", f"{sum(len(part.failed) for part in extracted.values()):,}"
    yield "Refused", f"{len(data.refused):,}"


def _by_split(data: Dataset) -> str:
    counts = Counter(row["split"] for row in data.labels.values() if row["label"] is not None)
    return ", ".join(f"{split} {counts[split]:,}" for split in SPLITS if counts[split])


def _videos(data: Dataset) -> str:
    """A video that lies in several splits counts in each."""
    videos = {(row["split"], data.clips[id]["video_id"]) for id, row in data.labels.items() if row["label"] is not None}
    counts = Counter(split for split, _ in videos)
    return ", ".join(f"{split} {counts[split]:,}" for split in SPLITS if counts[split])


def _unimodal(data: Dataset) -> str:
    counts = {m: sum(row[name] is not None for row in data.labels.values()) for m, name in UNIMODAL.items()}
    return ", ".join(f"{modality} {count:,}" for modality, count in counts.items() if count)


def _faces(vision: Extraction | None) -> str:
    if vision is None:
        return "no features"
    return "unknown: imported features" if vision.imported else percent(vision.present)


def percent(share: Share | None) -> str:
    """`98.76 % of 4,454`; "unknown" where no column tells."""
    if share is None:
        return "unknown: no column tells"
    return f"{100 * share.part / share.whole:.2f} % of {share.whole:,}" if share.whole else "no frames"


def label_plot(data: Dataset) -> plots.Plot | None:
    rows = [row for row in data.labels.values() if row["label"] is not None]
    if not rows:
        return None
    by_split = {
        split: np.array([row["label"] for row in rows if row["split"] == split])
        for split in SPLITS
        if any(row["split"] == split for row in rows)
    }
    draw = partial(plots.labels, by_split=by_split, label_range=data.label_range)
    return plots.plot(f"{data.name}-labels", f"{data.title}: labels by split", draw, 2.6)


def tables(data: Dataset, shown: bool) -> Iterator[Table]:
    settings = data.settings
    yield Table("Not read, or doubtful", ("What",), [(note,) for note in settings.get("notes", [])])
    yield Table("Refused, by reason", ("Reason", "Count"), counted(Counter(row["reason"] for row in data.refused)))
    refused = [
        (row["reason"], row["file"], str(row["row"] or ""), row["id"] or "", _message(row, shown))
        for row in data.refused
    ]
    yield Table("Refused", ("Reason", "File", "Row", "Clip", "What was found"), refused)
    failed = [
        (modality, row["id"], row["reason"] or "") for modality, part in data.extractions.items() for row in part.failed
    ]
    yield Table("Failed in extraction", ("Modality", "Clip", "Reason"), failed)
    yield Table("Flags", ("Flag", "Clips"), counted(Counter(kind for clip in data.clips for kind in data.kinds(clip))))
    yield Table("Videos in several splits", ("Video",), [(video,) for video in settings.get("shared_videos", [])])
    texts = settings.get("shared_texts", []) if shown else []
    yield Table("Texts in several splits", ("Text",), [(shortened(text),) for text in texts])
    contents = [(", ".join(ids),) for ids in settings.get("shared_contents", [])]
    yield Table("Contents in several splits", ("Clips",), contents)
    elsewhere = [(other, ", ".join(ids)) for other, ids in settings.get("elsewhere", {}).items()]
    yield Table("Contents that another data set holds too", ("Data set", "Clips"), elsewhere)
    same = [(", ".join(ids),) for ids in settings.get("duplicates", [])]
    yield Table("Clips with the same content", ("Clips",), same)


def counted(counts: Counter[str]) -> list[tuple[str, ...]]:
    """The commonest first."""
    return [(name, f"{count:,}") for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]


def _message(refused: Row, shown: bool) -> str:
    """The message, save one about a label file where texts must not be shown: it may quote a cell, a transcript even."""
    quoting = refused["file"].endswith(LABEL_FILES) or refused["reason"] == Reason.DATA_SET
    return f"may quote a transcript: see {paths.REFUSED}" if quoting and not shown else str(refused["message"])
