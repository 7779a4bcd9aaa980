"""What the videos hold: every file is hashed and every clip decoded once in its life, both answers are cached."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline import media, params
from pipeline.errors import MediaError, Reason
from pipeline.execution import workers
from pipeline.execution.cache import Store
from pipeline.execution.fingerprint import Fingerprint, key
from pipeline.execution.tasks import Failure
from pipeline.flags import Flagged
from pipeline.media import Limits, Media

NAME = "{name}"  # the file's, in a cached message: the same bytes may lie under another


@dataclass(frozen=True)
class Segment:
    """A file, or the part of it from `start` to `end` seconds."""

    path: Path
    start: float | None
    end: float | None


@dataclass(frozen=True)
class Facts:
    """What a segment is: its file's hash and its decode report."""

    sha256: str
    media: Media


@dataclass(frozen=True)
class Counts:
    """Segments decoded now, known from the cache, and given up because their process crashed or overran."""

    computed: int
    cached: int
    failed: int


@dataclass(frozen=True)
class _Task:
    segment: Segment
    sha256: str
    limits: Limits

    @property
    def key(self) -> str:
        probe = Fingerprint(("pipeline.media",), self.limits.model_dump())
        return probe.key(sha256=self.sha256, segment=[self.segment.start, self.segment.end])


def examine(
    segments: Sequence[Segment], limits: Limits, note: bool
) -> tuple[dict[Segment, Facts | MediaError], Counts]:
    """The facts of each segment, or why it cannot be used; nothing is raised for a single one.

    note: that these are the cache's entries in use, in place of those noted before; not for a part of the segments.
    """
    found: dict[Segment, Facts | MediaError] = {}
    hashes = _hashes(sorted({segment.path for segment in segments}), note)
    tasks: list[_Task] = []
    for segment in dict.fromkeys(segments):
        answer = hashes[segment.path]
        if isinstance(answer, MediaError):
            found[segment] = answer
        else:
            tasks.append(_Task(segment, answer, limits))
    store = Store("probe")
    new = list({task.key: task for task in tasks if not store.find(task.key)}.values())
    failures = _compute(new, store, len(tasks) - len(new))
    for task in tasks:
        entry = store.find(task.key)
        found[task.segment] = _entry(task, entry) if entry else _given_up(task, failures[task.key])
    if note:
        store.remember(limits.model_dump(), [task.key for task in tasks])
    return found, Counts(len(new) - len(failures), len(tasks) - len(new), len(failures))


def _hashes(files: list[Path], note: bool) -> dict[Path, str | MediaError]:
    """Each file's SHA-256, read anew only where its size or a time of change is new: nobody sets the ctime, whatever the clock does."""
    store, keys = Store("hash"), []
    found: dict[Path, str | MediaError] = {}
    for file in files:
        try:
            status = file.stat()
            keys.append(
                key(
                    file=str(file.resolve()),
                    size=status.st_size,
                    mtime_ns=status.st_mtime_ns,
                    ctime_ns=status.st_ctime_ns,
                )
            )
            if not store.find(keys[-1]):
                with store.put(keys[-1]) as part, file.open("rb") as content:
                    part.write_text(hashlib.file_digest(content, "sha256").hexdigest())
            found[file] = store.path(keys[-1]).read_text()
        except OSError as error:
            found[file] = MediaError(Reason.UNREADABLE, f"{file.name} cannot be read: {error.strerror}. Copy it again.")
    if note:
        store.remember({}, keys)
    return found


def _compute(tasks: list[_Task], store: Store, before: int) -> dict[str, Failure]:
    """Decode what is not in the cache; what crashed or overran, by its key, is not kept there."""
    failures = {}
    outcomes = workers.run(
        _probe,
        tasks,
        title="ingest",
        workers=params.workers(),
        executor=params.executor(),
        threads=params.threads(),
        limits=params.load("limits", params.Limits),
        length=lambda task: _longest(task.segment),
        before=before,
    )
    for outcome in outcomes:
        task = tasks[outcome.index]
        if outcome.failure:
            failures[task.key] = outcome.failure
        else:
            with store.put(task.key) as part:
                part.write_text(json.dumps(outcome.value))
    return failures


def _longest(segment: Segment) -> float:
    """Seconds that it lasts at most, as far as one can tell before it is opened."""
    whole = media.longest(segment.path)
    return whole if segment.end is None else min(whole, segment.end - (segment.start or 0.0))


def _probe(task: _Task) -> dict[str, object]:
    """A cache entry: the facts, or reason and message. A refusal is an answer, not a failure."""
    try:
        found = media.probe(task.segment.path, task.segment.start, task.segment.end, task.limits)
    except MediaError as error:
        return {"reason": error.reason, "message": error.message.replace(task.segment.path.name, NAME)}
    return {**vars(found), "flags": [str(flagged) for flagged in found.flags]}


def _entry(task: _Task, entry: Path) -> Facts | MediaError:
    content = json.loads(entry.read_text())
    if "reason" in content:
        return MediaError(Reason(content["reason"]), content["message"].replace(NAME, task.segment.path.name))
    return Facts(task.sha256, Media(**{**content, "flags": tuple(map(Flagged.parse, content["flags"]))}))


def _given_up(task: _Task, failure: Failure) -> MediaError:
    message = f"{task.segment.path.name} was given up: {failure.message}."
    return MediaError(Reason.GIVEN_UP, message, failure.reason)
