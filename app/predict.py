"""rawmsa predict: the sentiment of anybody's clip, by the functions that made the training table.

Extractors, encoder, shape and statistics are those that the run was trained with, as its run.json tells,
whatever params.yaml says today; the recogniser is params.yaml's.
"""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from model import run_files
from model.run_files import RunRecord
from pipeline import assemble, assets, features, media, params, tables, text, transcribe
from pipeline.assemble import align
from pipeline.datasets import ingest
from pipeline.datasets.refusal import printable
from pipeline.errors import MediaError, RawmsaError, TableError
from pipeline.execution import workers
from pipeline.execution.processes import use_threads
from pipeline.execution.tasks import Failure
from pipeline.flags import Flagged
from pipeline.tables import ClipRow, FeatureMetadata, Frames, TextRow, Tokens, TranscriptRow, Word
from pipeline.tables.frames import Clip


@dataclass(frozen=True)
class Content:
    """What was read of a clip. The network takes all of it, or what lies in a window of time (`inputs`).

    facts: of the file; frames: of audio and vision as the extractors gave them, None where the clip
    lacks the modality or the run takes none; flags: what is odd about it.
    """

    facts: media.Media
    words: Sequence[Word]
    frames: dict[str, Frames | None]
    flags: list[Flagged]


@dataclass(frozen=True)
class Inputs:
    """What the network takes of a clip, or of a window of one. frames: of audio and vision, (T, D) shaped; none where the
    modality is absent."""

    transcript: str
    tokens: Tokens
    frames: dict[str, np.ndarray]

    @property
    def empty(self) -> bool:
        """True if nothing is seen, heard or said."""
        return not (self.tokens.input_ids or any(len(x) for x in self.frames.values()))


@dataclass(frozen=True)
class Outputs:
    """What the run says of a clip; None where a modality is absent, or the run has no such head."""

    prediction: float | None
    text: float | None
    audio: float | None
    vision: float | None


@dataclass(frozen=True)
class Prediction:
    """What is told of a clip. error: why it cannot be used; synthetic: whether the run was trained on made clips."""

    clip: str
    prediction: float | None = None
    text: float | None = None
    audio: float | None = None
    vision: float | None = None
    transcript: str = ""
    flags: list[str] = field(default_factory=list)
    error: str | None = None
    run: str = ""
    synthetic: bool = False


def predict(clips: Path | str | Sequence[Path | str], run: str | None = None) -> list[Prediction]:
    """One prediction a clip, in order (a path alone is one clip).

    run: <dataset>/<network> (its best kept seed), <dataset>/<network>-<seed> or a folder of `rawmsa publish`; None: evaluate.unlabelled_run
    of params.yaml. A modality the clip lacks has None for its output; a clip that cannot be used has
    None throughout and its reason under `error`. Raises TableError where the run is not there.
    """
    if isinstance(clips, str | Path):
        clips = [clips]
    threads = params.threads()
    use_threads(threads)
    folder = located(run)
    made = run_files.read(folder)
    for line in (*filter(None, [tables.scale(made.label_range, made.neutral)]), *differences(made)):
        print(f"predict: {line}", file=sys.stderr)
    prepared = _prepare_all([Path(clip) for clip in clips], made, threads)
    usable = [(index, one.inputs) for index, one in enumerate(prepared) if isinstance(one, Prepared)]
    found = dict(
        zip([index for index, _ in usable], outputs([taken for _, taken in usable], folder, made), strict=True)
    )
    empty = Prediction(clip="", **vars(about(folder, made)))
    return [
        replace(empty, clip=_shown(clip), flags=one.flags, transcript=one.inputs.transcript, **vars(found[index]))
        if isinstance(one, Prepared)
        else replace(empty, clip=_shown(clip), error=f"{one.reason}: {one.message}")
        for index, (clip, one) in enumerate(zip(clips, prepared, strict=True))
    ]


def located(run: str | None) -> Path:
    """The folder of a run that `predict` names. Raises TableError where it is not there, or has no weights."""
    from model import evaluate

    name = run or params.load("evaluate", evaluate.Params).unlabelled_run
    return Path(name) if run_files.published(Path(name)) else evaluate.kept_run(name)


def read(
    path: Path,
    made: RunRecord,
    threads: int,
    limits: media.Limits,
    tell: Callable[[str], None] = lambda step: None,
) -> Content:
    """Everything of a clip that the run of `made` (its record) takes, by the run's own recipes.

    tell: called at the beginning of each step with its name: probe, transcribe, audio, vision. Raises MediaError, TableError.
    """
    tell("probe")
    facts = media.probe(path, None, None, limits)
    tell("transcribe")
    heard = _listen(path, facts, made.language, threads)
    there = {"audio": facts.has_audio, "vision": facts.has_vision}
    frames: dict[str, Frames | None] = {}
    for modality in assemble.FRAMES:
        tell(modality)
        chosen = recipe(modality, made) if there[modality] else None
        frames[modality] = chosen.extract(Clip(path, None, None, facts.seconds)) if chosen else None
    flags = [*facts.flags, *heard.flags, *(flag for found in frames.values() if found for flag in found.flags)]
    return Content(facts, heard.words, frames, list(dict.fromkeys(flags)))


def recipe(modality: str, made: RunRecord) -> features.Recipe | None:
    """The extractor of audio or vision with which the run was trained; None where it takes no such frames.

    Raises TableError where nothing here extracts what the run was trained on.
    """
    if not made.widths[modality]:
        return None
    recorded = made.recorded(modality)
    if recorded.imported:
        raise TableError(
            f"The run was trained on imported {modality} features, which nothing here can extract from a video. "
            "Name a run that was trained on videos: --run <dataset>/<network>"
        )
    return features.recipe(modality, _options(recorded))


def differences(made: RunRecord) -> Iterator[str]:
    """Where this installation extracts with another library or model than the run of `made` was trained on: a line each."""
    for modality in assemble.FRAMES:
        chosen = recipe(modality, made)
        if chosen is None:
            continue
        recorded = made.recorded(modality)
        for name, known, installed in (
            ("library", recorded.library, chosen.library),
            ("asset_sha256", recorded.asset_sha256, chosen.asset),
        ):
            if known != installed:
                yield (
                    f"the run was trained on {modality} of {recorded.extractor} with {name} {known}, installed is "
                    f"{installed}: predictions may differ. Install the former, or train again with: dvc repro"
                )


def inputs(content: Content, made: RunRecord) -> Inputs:
    """What the network takes of a clip, or of a window of one."""
    said = " ".join(word.word for word in content.words)
    tokens = text.tokenise(said, made.encoder, made.max_tokens)
    spoken = assemble.Spoken(align.spans(content.words, content.facts.seconds), tokens.word)
    shaped = {modality: _shaped(modality, frames, spoken, made) for modality, frames in content.frames.items()}
    return Inputs(said, tokens, shaped)


def outputs(taken: Sequence[Inputs], folder: Path, made: RunRecord) -> list[Outputs]:
    """What the run says of each."""
    from model.training import predict as network

    if not taken:
        return []
    found = network.predict(folder, _table(taken, made), assets.encoder(made.encoder)).to_pydict()
    columns = (found[name] for name in ("fusion", *tables.MODALITIES))
    return [Outputs(*values) for values in zip(*columns, strict=True)]


@dataclass(frozen=True)
class About:
    """What is told of a run with each of its predictions."""

    run: str
    synthetic: bool


def about(folder: Path, made: RunRecord) -> About:
    """The run's name, and whether it was trained on made clips."""
    return About(str(folder) if run_files.published(folder) else "/".join(folder.parts[-2:]), made.synthetic)


def show(predictions: Sequence[Prediction], as_json: bool) -> None:
    """Print them: a table, or JSON. Exits with code 1 where no clip could be used."""
    if as_json:
        print(json.dumps([vars(one) for one in predictions], indent=2, ensure_ascii=False))
    else:
        _print_table(predictions)
    if all(one.error for one in predictions):
        raise SystemExit(1)


def _print_table(predictions: Sequence[Prediction]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    title = f"Run {predictions[0].run}" + (" (synthetic demo)" if predictions[0].synthetic else "")
    table = Table("clip", "sentiment", *tables.MODALITIES, "transcript", "notes", title=Text(title))
    for one in predictions:
        numbers = map(_number, (one.prediction, one.text, one.audio, one.vision))
        cells = (Path(one.clip).name, *numbers, one.transcript, one.error or ", ".join(one.flags))
        table.add_row(*(Text(printable(cell)) for cell in cells))  # Text, since a str is markup
    Console().print(table)


@dataclass(frozen=True)
class Prepared:
    """What a worker makes of a clip."""

    flags: list[str]
    inputs: Inputs


def _prepare_all(clips: Sequence[Path], made: RunRecord, threads: int) -> list[Prepared | Failure]:
    """Each clip in a process that can be killed; what becomes of one costs another nothing."""
    tasks = [(clip, made, threads) for clip in clips]
    limits = params.load("limits", params.Limits).model_copy(update={"max_failed_fraction": 1.0})
    found: dict[int, Prepared | Failure] = {}
    for outcome in workers.run(
        _prepare, tasks, title="predict", workers=params.workers(), threads=threads, limits=limits
    ):
        if isinstance(outcome.value, RawmsaError):  # the run's or the installation's fault, not the clip's
            raise outcome.value
        if result := outcome.value or outcome.failure:
            found[outcome.index] = result
    return [found[index] for index in range(len(clips))]


def _prepare(task: tuple[Path, RunRecord, int]) -> Prepared | RawmsaError:
    """In a worker: everything of a clip that the network takes. Raises MediaError."""
    path, made, threads = task
    try:
        content = read(path, made, threads, params.load("ingest", ingest.Params))
        return Prepared(list(map(str, content.flags)), inputs(content, made))
    except MediaError:
        raise
    except RawmsaError as error:
        return error


def _shown(path: Path | str) -> str:
    return str(path).encode(errors="backslashreplace").decode()  # JSON and tables are UTF-8


def _listen(path: Path, facts: media.Media, language: str, threads: int) -> TranscriptRow:
    """The transcript of a clip that nobody has written down."""
    clip = ClipRow(dataset="", id=path.name, video_id=path.name, clip_id="", path=str(path), **vars(facts))
    return transcribe.transcribe(
        clip,
        TextRow(dataset="", id=path.name, language=language),
        params.load("transcribe", transcribe.Params),
        threads,
    )


def _shaped(modality: str, frames: Frames | None, spoken: assemble.Spoken, made: RunRecord) -> np.ndarray:
    """(T, D) frames of one modality as the run's training table has them."""
    if frames is None:
        return np.zeros((0, made.widths[modality]), np.float32)
    columns = made.recorded(modality).columns
    if made.policy.aligned:
        return assemble.shape_aligned(frames, columns, spoken)
    policy = made.policy
    return assemble.shape(frames.x, frames.mask, columns, policy.pool[modality], policy.max_frames[modality])


def _options(recorded: FeatureMetadata) -> features.Params:
    """The block of params.yaml that makes what a feature file's metadata record."""
    return features.Params.model_validate({"extractor": recorded.extractor, recorded.extractor: recorded.params})


def _table(taken: Sequence[Inputs], made: RunRecord) -> pa.Table:
    """A training table without labels."""
    widths, ids = made.widths, [str(index) for index in range(len(taken))]
    content = {
        "id": ids,
        "video_id": ids,
        **dict.fromkeys(("split", "label", "label_T", "label_A", "label_V"), [None] * len(taken)),
        "transcript": [one.transcript for one in taken],
        "input_ids": [one.tokens.input_ids for one in taken],
        **{m: tables.sequences((one.frames[m] for one in taken), width) for m, width in widths.items() if width},
    }
    table = pa.table(content, schema=tables.training_schema(widths))
    kept = {"columns", "encoder", "encoder_sha256", "extraction", "language", "convention", "label_range", "policy"}
    return tables.with_metadata(table, made.model_dump(mode="json", include=kept, exclude_unset=True))


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:+.2f}"
