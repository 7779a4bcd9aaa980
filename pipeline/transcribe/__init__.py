"""transcribe: clips and texts -> the words of every clip, with their times where they are known.

Words come from the label file, else from the clip's sidecar, else from speech recognition; else there are
none and a flag says why. What the recogniser wrote is a text only where it is trusted (trust.py). The source, the
recogniser and its confidence are kept with every clip.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

from pipeline import assets, media, params, paths, tables
from pipeline.execution import cache, workers
from pipeline.execution.fingerprint import Fingerprint
from pipeline.flags import Flag, Flagged
from pipeline.tables import ClipRow, TextRow, TranscriptMetadata, TranscriptRow, Word
from pipeline.transcribe import recogniser, trust
from pipeline.transcribe.recogniser import Heard, Params, Passage
from pipeline.transcribe.words import align, split, spread, untimed


@dataclass(frozen=True)
class Task:
    """One clip to hear, and the key of its entry in the cache."""

    clip: ClipRow
    text: TextRow
    options: Params
    threads: int
    key: str


def transcribe(clip: ClipRow, text: TextRow, options: Params, threads: int) -> TranscriptRow:
    """The transcript of one clip, without the cache: what predict calls.

    Raises MediaError, AssetError.
    """
    heard = None
    if wanted(text, options):
        heard = obstacle(clip, text, options) or _listen(clip, text, options, threads)
    return transcript(clip, text, heard, options)


def wanted(text: TextRow, options: Params) -> bool:
    """Whether a clip has to be heard: for its words, or for the times of written words without cues."""
    return not _written(text) or (options.word_times and not text.cues)


def obstacle(clip: ClipRow, text: TextRow, options: Params) -> Heard | None:
    """Nothing heard, and why, where a clip cannot be heard; None where it can."""
    if clip.path is None:
        return Heard.nothing(Flagged(Flag.NO_MEDIA))
    if not clip.has_audio:
        silent = Flagged(Flag.SILENT_SOUND)
        return Heard.nothing(silent if silent in clip.flags else Flagged(Flag.NO_SOUND))
    reason = recogniser.obstacle(text.language, options)
    return Heard.nothing(Flagged(reason)) if reason else None


def transcript(clip: ClipRow, text: TextRow, heard: Heard | None, options: Params) -> TranscriptRow:
    """Written words come before heard ones; heard is None where it was not wanted."""
    words = _written(text)
    source, spoken = (text.source or "none", _spoken(text)) if words else ("none", "")
    if heard is None:
        return TranscriptRow(id=clip.id, text=_joined(words), spoken=spoken, source=source, words=words)
    passages, flags = trust.trusted(heard, text.language, options)
    said = [word for passage in passages for word in passage.words]
    sure = trust.confidence(said or heard.words)
    if said and words:
        words = align([word.word for word in words], said, clip.seconds or 0.0)
        sure = trust.confidence(words)
    elif said:
        source, spoken, words = "recogniser", " ".join(passage.spoken for passage in passages), said
    else:
        flags = (Flagged(Flag.NO_WORD_TIMES if words else Flag.NO_TRANSCRIPT), *flags)
    return TranscriptRow(
        id=clip.id,
        text=_joined(words),
        spoken=spoken,
        source=source,
        model=None if heard.obstacle else options.recogniser,
        confidence=sure,
        no_speech=max((passage.no_speech for passage in heard.passages), default=None),
        heard=" ".join(passage.spoken for passage in heard.passages if passage not in passages) or None,
        words=words,
        flags=flags,
    )


def run(options: Params, part: cache.Part | None = None) -> None:
    """The stage: write data/transcripts/<dataset>.parquet for every data set and print one line.
    With a part, its clips are heard into the cache, and nothing is written.

    Raises StageError where more clips fail than limits.max_failed_fraction allows, AssetError.
    """
    clips = tables.read_rows(ClipRow, paths.CLIPS)
    texts = {(text.dataset, text.id): text for text in tables.read_rows(TextRow, paths.TEXTS)}
    pairs = [(clip, texts[clip.dataset, clip.id]) for clip in clips]
    heard, effort = _hear_all(pairs, options, part)
    if part:
        print(f"transcribe: part {part.number} of {part.of}: {effort}")
        return
    datasets: dict[str, list[TranscriptRow]] = {}
    languages: dict[str, str] = {}
    for (clip, text), result in zip(pairs, heard, strict=True):
        datasets.setdefault(clip.dataset, []).append(transcript(clip, text, result, options))
        languages.setdefault(clip.dataset, text.language)
    for name, rows in datasets.items():
        metadata = TranscriptMetadata(dataset=name, language=languages[name])
        tables.write(paths.transcripts(name), tables.table_of(TranscriptRow, rows), metadata.content())
    tables.keep_only(paths.TRANSCRIPTS, [paths.transcripts(name).name for name in datasets])
    sources = Counter(row.source for rows in datasets.values() for row in rows)
    print(f"transcribe: {len(clips)} clips: {_listed(sources)}; {effort}")
    obstacles = Counter(result.obstacle.flag for result in heard if result and result.obstacle)
    unheard = obstacles[Flag.NOT_INSTALLED]
    if unheard:
        print(
            f'transcribe: speech recognition is missing for {unheard} of them. Install it with: pip install -e ".[asr]", '
            "then: dvc repro --force --single-item transcribe && dvc repro"
        )
    if obstacles[Flag.RECOGNITION_FAILED]:
        print("transcribe: try the failed clips again with: rawmsa retry-failed")


def _hear_all(
    pairs: Sequence[tuple[ClipRow, TextRow]], options: Params, part: cache.Part | None
) -> tuple[list[Heard | None], str]:
    """What was heard of each clip, None where that was not wanted; and what it took, in words."""
    heard = [obstacle(clip, text, options) if wanted(text, options) else None for clip, text in pairs]
    keys = {
        index: _key(clip, text, options)
        for index, (clip, text) in enumerate(pairs)
        if wanted(text, options) and heard[index] is None
    }
    store = cache.Store("transcribe")
    if part:
        keys = {index: key for index, key in keys.items() if part.holds(key)}
    elif keys:
        store.remember(options.model_dump(include={"recogniser", "beam_size"}), list(keys.values()))
    missing = {key: index for index, key in keys.items() if store.find(key) is None}  # equal clips are heard once
    threads = params.threads()
    tasks = [Task(*pairs[index], options, threads, key) for key, index in missing.items()]
    failures = _compute(tasks, threads, sum(key not in missing for key in keys.values()))
    for index, key in keys.items():
        failed = Flagged(Flag.RECOGNITION_FAILED, reason=failures[key]) if key in failures else None
        heard[index] = Heard.nothing(failed) if failed else _load(store.made(key))
    effort = f"{len(missing) - len(failures)} computed, {len(keys) - len(missing)} from cache, {len(failures)} failed"
    return heard, effort + (f" ({_listed(Counter(failures.values()))})" if failures else "")


def _compute(tasks: Sequence[Task], threads: int, before: int) -> dict[str, str]:
    """Hear these clips into the cache; return why some failed, by key. before: how many were heard earlier."""
    outcomes = workers.run(
        _keep,
        tasks,
        title="transcribe",
        workers=params.workers(),
        executor=params.executor(),
        threads=threads,
        limits=params.load("limits", params.Limits),
        length=lambda task: task.clip.seconds or 0.0,
        size=int,
        before=before,
    )
    return {tasks[outcome.index].key: outcome.failure.reason for outcome in outcomes if outcome.failure}


def _keep(task: Task) -> int:
    """In a worker: hear one clip into the cache. Returns the entry's bytes."""
    heard = _listen(task.clip, task.text, task.options, task.threads)
    with cache.Store("transcribe").put(task.key) as part:
        return part.write_text(json.dumps(asdict(heard), ensure_ascii=False))


def _listen(clip: ClipRow, text: TextRow, options: Params, threads: int) -> Heard:
    sound = media.sound(Path(clip.path or ""), clip.start, clip.end)
    return recogniser.hear(sound, text.language, options, threads)


def _load(path: Path) -> Heard:
    found = json.loads(path.read_text())
    passages = [Passage(**part | {"words": [Word(**word) for word in part["words"]]}) for part in found["passages"]]
    voiced = [(start, end) for start, end in found["voiced"]]
    return Heard(passages, voiced, found["language"], found["language_probability"])


def _key(clip: ClipRow, text: TextRow, options: Params) -> str:
    segment = {"sha256": clip.sha256, "start": clip.start, "end": clip.end}
    return _fingerprint(options).key(**segment, language=text.language)


@lru_cache
def _fingerprint(options: Params) -> Fingerprint:
    """What decides the words that are heard. Raises AssetError."""
    model = assets.recogniser_sha256(str(recogniser.folder(options.recogniser)))
    params = options.model_dump(include={"beam_size"})
    return Fingerprint(("pipeline.media", "pipeline.transcribe.recogniser"), params, {"recogniser": model})


def _joined(words: Sequence[Word]) -> str:
    return " ".join(word.word for word in words)


def _written(text: TextRow) -> list[Word]:
    """The words of the label file or the sidecar, with times where it has cues."""
    if text.cues:
        return [word for cue in text.cues for word in spread(split(cue.text), cue.start, cue.end)]
    return untimed(split(text.text or ""))


def _spoken(text: TextRow) -> str:
    return text.text or " ".join(cue.text for cue in text.cues)


def _listed(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
