"""A run that predicts one clip after another: its processes and its network are started once."""

import gc
import glob
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar, overload

from app import predict, settings, windows
from app.answers import About, Outputs, Prediction, Window
from app.predict import Content, Inputs
from app.settings import Settings
from model import run_files
from model.run_files import RunRecord
from pipeline import media
from pipeline.datasets import Text, sidecars
from pipeline.datasets.folder import SIDECARS, extension, scan
from pipeline.errors import DatasetError, MediaError, RawmsaError, Reason
from pipeline.execution import workers
from pipeline.execution.processes import Processes, use_threads
from pipeline.execution.tasks import Failure, Outcome
from pipeline.flags import Flag, Flagged
from pipeline.params import Limits
from pipeline.tables import Cue, Frames, TranscriptRow

T = TypeVar("T")
R = TypeVar("R")
Clips = str | Path | Sequence[str | Path]


@dataclass(frozen=True)
class Task:
    """A part of a clip for a worker. facts: of the file, None where they are what is asked for."""

    path: Path
    part: Literal["sound", "picture"]
    facts: media.Media | None
    written: Text
    made: RunRecord
    settings: Settings


@dataclass(frozen=True)
class Sound:
    """What a worker makes of a clip's sound and words."""

    heard: TranscriptRow
    frames: Frames | None


Part = media.Media | Sound | Frames | None


class Senses:
    """A Pool with processes for sound and processes for pictures: each imports what its part needs alone, and keeps it."""

    def __init__(self, count: int, limits: Limits) -> None:
        self._sound = Processes(max(1, count - count // 2), limits)
        self._picture = Processes(count // 2, limits) if count > 1 else self._sound
        self._count = count

    def places(self) -> int:
        return self._count

    def schedule(self, function: Callable[[T], R], task: T, length: float = 0.0) -> Future[object]:
        picture = isinstance(task, Task) and task.part == "picture"
        return (self._picture if picture else self._sound).schedule(function, task, length)

    def wake(self, made: RunRecord) -> None:
        """Start the processes before there is a clip."""
        for pool, modality in ((self._sound, "audio"), (self._picture, "vision")):
            pool.schedule(_wake, (modality, made))

    def outcome(self, index: int, future: Future[object]) -> Outcome[Part | RawmsaError]:
        return self._sound.outcome(index, future)

    def close(self) -> None:
        for pool in {self._sound, self._picture}:
            pool.close()


class Model:
    """A trained run, ready to predict: of `rawmsa.load`.

    Its worker processes and its network are started once, in the background, when it is made, and are kept until `close`, the
    end of a `with` block, or the end of the program. A clip that crashes, hangs or needs too much memory costs itself alone.
    It may be used from a notebook, a script without a main guard, a thread or a web server (which closes it when it ends); several
    threads may share one.

    Attributes:
        about: The run's name, the scale of its numbers, and whether it was trained on synthetic clips.

    Example:
        >>> import rawmsa
        >>> with rawmsa.load("demo/self_mm") as model:
        ...     one = model.predict("clip.mp4")
        ...     two = model.predict(["clip.mp4", "no such.mp4"])
        >>> -3 <= one.prediction <= 3, one.label_range, one.synthetic
        (True, (-3.0, 3.0), True)
        >>> [answer.error is None for answer in two]
        [True, False]
    """

    about: About

    def __init__(self, run: str | Path | None = None, at_once: int = 1) -> None:
        named = predict.located(None if run is None else str(run))
        self._made = run_files.read(named)
        self._settings = settings.of(named, self._made)
        predict.check(self._made)
        for line in predict.differences(self._made):
            print(f"predict: {line}", file=sys.stderr)
        self.about, self._folder = predict.about(named, self._made), named.resolve()
        use_threads(self._made.threads)
        self._pool = Senses(min(self._settings.workers, 2 * at_once), self._settings.limits)
        self._pool.wake(self._made)
        self.close = weakref.finalize(self, self._pool.close)
        loader = ThreadPoolExecutor(1, thread_name_prefix="rawmsa")
        self._network = loader.submit(_load, self._folder, self._made.weights_sha256)
        loader.shutdown(wait=False)

    def __enter__(self) -> "Model":
        return self

    def __repr__(self) -> str:
        return f"Model({self.about.run!r})"

    def __exit__(self, *_: object) -> None:
        self.close()

    @overload
    def predict(  # type: ignore[overload-overlap]  # a str is a sequence of str too
        self, clips: str | Path, *, transcript: str | Path | None = None, windows: bool = False
    ) -> Prediction: ...

    @overload
    def predict(
        self, clips: Sequence[str | Path], *, transcript: str | Path | None = None, windows: bool = False
    ) -> list[Prediction]: ...

    def predict(
        self, clips: Clips, *, transcript: str | Path | None = None, windows: bool = False
    ) -> Prediction | list[Prediction]:
        """Predict the sentiment of clips.

        Args:
            clips: The path of a video, or several. The words of a .srt, .vtt or .txt beside a clip, of the same name, are
                taken; else they are recognised.
            transcript: A .srt, .vtt or .txt with the words of the one clip.
            windows: Predict windows of time too.

        Returns:
            The record of the clip; of a list of paths a list of them, in order. A clip that cannot be used has its reason in
            `error` and no numbers. Nothing else in the list changes a record.

        Raises:
            DatasetError: The transcript cannot be read, or there are several clips for it.
            TableError: The run's weights were altered.
            StageError: The installation lacks a package, which is no clip's fault.

        Example:
            >>> import rawmsa
            >>> model = rawmsa.load("demo/self_mm")
            >>> answer = model.predict("clip.mp4", windows=True)
            >>> answer.polarity.split()[-1] in ("negative", "neutral", "positive")
            True
            >>> [(window.start, window.end) for window in answer.windows]  # the clip is no longer than one window
            []
            >>> model.close()
        """
        paths = [Path(clips)] if isinstance(clips, str | Path) else [Path(clip) for clip in clips]
        if transcript and len(paths) != 1:
            raise DatasetError(f"{transcript} has the words of one clip, but there are {len(paths)} clips. Name one.")
        found = dict(self._answers(paths, [written(path, transcript) for path in paths], windows))
        answers = [found[index] for index in range(len(paths))]
        return answers[0] if isinstance(clips, str | Path) else answers

    def _answers(
        self, paths: Sequence[Path], texts: Sequence[tuple[Text, list[Flagged]]], course: bool
    ) -> Iterator[tuple[int, Prediction]]:
        """The index and the record of each clip, as they come."""
        for index, found in self._contents(paths, [text for text, _ in texts]):
            clip = _shown(paths[index])
            if isinstance(found, Failure):
                yield index, Prediction(clip=clip, **vars(self.about), error=f"{found.reason}: {found.message}")
            else:
                yield index, self._answer(clip, found, texts[index][1], course)

    def _answer(self, clip: str, content: Content, flags: Sequence[Flagged], course: bool) -> Prediction:
        self._network.result()
        taken = predict.inputs(content, self._made)
        (whole,) = predict.outputs([taken], self._folder, self._made)
        found = windows.course(content, self._folder, self._made, self._settings) if course else None
        return answer(clip, self.about, whole, taken, content, flags, found)

    def _contents(self, paths: Sequence[Path], texts: Sequence[Text]) -> Iterator[tuple[int, Content | Failure]]:
        """What is read of each clip: what it holds, then its sound and its picture side by side."""

        def task(index: int, part: Literal["sound", "picture"], facts: media.Media | None) -> Task:
            return Task(paths[index], part, facts, texts[index], self._made, self._settings)

        tasks: list[Task] = []
        whose: list[int] = []
        for index, found in self._done([task(index, "sound", None) for index in range(len(paths))]):
            if isinstance(found, Failure):
                yield index, found
            elif isinstance(found, media.Media):
                tasks += [task(index, "sound", found), task(index, "picture", found)]
                whose += [index, index]
        parts: dict[int, dict[str, Part | Failure]] = {}
        for place, found in self._done(tasks):
            index = whose[place]
            ready = parts.setdefault(index, {})
            ready[tasks[place].part] = found
            if len(ready) == 2:
                yield index, _together(tasks[place], **parts.pop(index))

    def _done(self, tasks: Sequence[Task]) -> Iterator[tuple[int, Part | Failure]]:
        """The index of each task, and what became of it."""
        limits = self._settings.limits.model_copy(update={"max_failed_fraction": 1.0})  # no clip costs another
        watched = workers.watch(self._pool, _work, tasks, title="predict", limits=limits, length=_length)
        for outcome in watched if tasks else ():
            if isinstance(outcome.value, RawmsaError):  # the run's or the installation's fault, not the clip's
                raise outcome.value
            yield outcome.index, outcome.failure or outcome.value


def answer(
    clip: str,
    about: About,
    whole: Outputs,
    taken: Inputs,
    content: Content,
    flags: Sequence[Flagged] = (),
    course: list[Window] | None = None,
) -> Prediction:
    """The record of a clip that could be read. flags: beside those of its content."""
    return Prediction(
        clip=clip,
        **vars(about),
        **vars(whole),
        transcript=taken.transcript,
        transcript_source=content.source,
        flags=[str(flag) for flag in (*flags, *content.flags, *taken.flags)],
        error=predict.NOTHING_THERE if taken.empty else None,
        windows=course,
    )


def clips_in(given: Sequence[Path]) -> Iterator[Path]:
    """The clips; those of a folder in its place, in order of their paths. What is passed over in a folder is said."""
    for path in given:
        if not path.is_dir():
            yield path
            continue
        contents = scan(path)
        for told in (*(refusal.message for refusal in contents.refused), *contents.notes):
            print(f"predict: {told}", file=sys.stderr)
        if not contents.videos:
            raise DatasetError(f"The folder {path} has no video. Name another, or clips.")
        yield from (path / video.path for video in contents.videos)


def written(clip: Path, transcript: str | Path | None) -> tuple[Text, list[Flagged]]:
    """The words that somebody wrote down: of the given transcript, else of a sidecar; and what was not read, flagged.

    Raises DatasetError where the given transcript cannot be read.
    """
    if transcript:
        return _given(Path(transcript)), []
    flags = []
    beside = clip.parent.glob(f"{glob.escape(clip.stem)}.*") if clip.parent.is_dir() else ()
    for file in sorted((f for f in beside if extension(f.name) in SIDECARS), key=_preferred):
        try:
            text, cues = sidecars.read(file)
        except DatasetError as error:
            flags.append(Flagged(Flag.SIDECAR_UNREAD, reason=str(error)))
            continue
        if text:
            return Text("sidecar", text, [Cue(**cue) for cue in cues]), flags
    return predict.UNWRITTEN, flags


def main(given: Sequence[Path], run: str | None, transcript: Path | None, windows: bool) -> list[Prediction]:
    """What `rawmsa predict` prints."""
    clips = list(clips_in(given))
    with Model(run, at_once=len(clips)) as model:
        return model.predict(clips, transcript=transcript, windows=windows)


def _preferred(file: Path) -> tuple[int, str]:
    return SIDECARS.index(extension(file.name)), file.name


def _given(file: Path) -> Text:
    if extension(file.name) not in SIDECARS:
        raise DatasetError(f"{file} ends in .{extension(file.name)}, expected a transcript: .{', .'.join(SIDECARS)}.")
    text, cues = sidecars.read(file)
    if not text:
        raise DatasetError(f"{file} has no words. Write them there, or leave the transcript out.")
    return Text("given", text, [Cue(**cue) for cue in cues])


def _load(folder: Path, weights_sha256: str) -> None:
    """Import torch and transformers, and load the network. Python's collector waits meanwhile: it would look at each of their many
    objects again and again, 0.6 of 4.1 s of processor time."""
    collects = gc.isenabled()
    gc.disable()
    try:
        predict.load(folder, weights_sha256)
    finally:
        if collects:
            gc.enable()


def _wake(task: tuple[str, RunRecord]) -> None:
    """In a worker, before its first clip: import the extractor."""
    modality, made = task
    if recipe := predict.recipe(modality, made):
        _ = recipe.module


def _length(task: Task) -> float:
    """Seconds of the clip, as far as they are known."""
    return task.facts.seconds if task.facts else media.longest(task.path)


def _work(task: Task) -> Part | RawmsaError:
    """In a worker. Raises MediaError."""
    try:
        if task.path.is_dir():
            raise MediaError(Reason.NOT_A_FILE, f"{task.path} is a folder, expected a clip.")
        if task.facts is None:
            return media.probe(task.path, None, None, task.settings.media)
        if task.part == "picture":
            return predict.extract("vision", task.path, task.facts, task.made)
        heard = predict.listen(task.path, task.facts, task.made, task.settings, task.written)
        return Sound(heard, predict.extract("audio", task.path, task.facts, task.made))
    except MediaError:
        raise
    except RawmsaError as error:
        return error


def _together(task: Task, sound: Part | Failure, picture: Part | Failure) -> Content | Failure:
    """The parts of a clip; of a sound that failed, why. Without its picture there is still the sound."""
    facts = task.facts
    if isinstance(sound, Failure):
        return sound
    if isinstance(picture, Failure):
        picture = predict.unused("vision", picture.message, task.made)
    assert facts and isinstance(sound, Sound) and (picture is None or isinstance(picture, Frames))  # noqa: S101  the parts' types
    return predict.content(facts, sound.heard, {"audio": sound.frames, "vision": picture})


def _shown(path: Path) -> str:
    return str(path).encode(errors="backslashreplace").decode()  # JSON and tables are UTF-8
