"""The course of a clip: windows of time, each predicted as a clip of its own."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from app import predict
from app.answers import Window
from app.predict import Content
from app.settings import Settings
from model.run_files import RunRecord
from pipeline.assemble import align
from pipeline.tables import Frames

Span = tuple[float, float]  # seconds of the clip


def windows(seconds: float, length: float, hop: float) -> list[Span]:
    """Start and end of each: one every `hop` seconds, and one that ends with the clip; none of a clip no longer than one."""
    if seconds <= length:
        return []
    starts = np.arange(0, seconds - length, hop).tolist()
    return [*((start, start + length) for start in starts), (seconds - length, seconds)]


def cut(content: Content, start: float, end: float) -> Content:
    """What lies in [start, end): frames by their times, words by their middles. To the clip's end: all that comes after too.

    Words of which one has no times are left out.
    """
    until = np.inf if end >= content.facts.seconds else end
    frames = {modality: found and _between(found, start, until) for modality, found in content.frames.items()}
    timed = align.spans(content.words, None) if align.timed(content.words) else []
    words = [word for word, span in zip(content.words, timed, strict=False) if start <= sum(span) / 2 < until]
    return replace(content, words=words, frames=frames)


def _between(frames: Frames, start: float, until: float) -> Frames:
    there = (frames.times >= start) & (frames.times < until)
    return Frames(frames.times[there], frames.x[there], frames.mask[there], frames.flags)


def course(content: Content, folder: Path, made: RunRecord, settings: Settings) -> list[Window]:
    """What the run says of each window of a clip."""
    spans = windows(content.facts.seconds, settings.window_seconds, settings.hop_seconds)
    taken = [predict.inputs(cut(content, *span), made) for span in spans]
    found = predict.outputs(taken, folder, made)
    return [Window(start=start, end=end, **vars(one)) for (start, end), one in zip(spans, found, strict=True)]
