"""What is done with an uploaded clip, in a child process: read once, predicted whole and window by window.

The child is held to limits.memory_gib of address space, so it computes on the CPU (pipeline/execution/processes.py).
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from app import predict, settings, windows
from app.answers import polarity
from app.predict import Content
from app.predictor import answer
from app.settings import Settings
from model import run_files
from model.run_files import RunRecord
from pipeline import assemble, tables
from pipeline.assemble import align
from pipeline.errors import MediaError, Reason
from pipeline.tables import FeatureRow, Frames, Tokens, TokensRow
from report import player, proxy
from report.tracks import Modality

if TYPE_CHECKING:
    from app.serve import Params

STEPS = ("probe", "transcribe", "audio", "vision", "film", "network")
FILM = "film.mp4"  # beside a clip: what the page plays of it
TOLD = "steps"  # the file beside a clip that says which have begun, one a line
NO_TIMES = "When the words are said is not known, so the windows have no text."


@dataclass(frozen=True)
class Job:
    """What every clip of a server shares. made: the run's record."""

    folder: Path
    made: RunRecord
    settings: Settings
    options: "Params"


@dataclass(frozen=True)
class Asked:
    """What is asked of a clip. name: that it is shown by; course: also by windows; page: also what the page plays."""

    file: Path
    name: str
    course: bool
    page: bool


def job(run: str | None, options: "Params") -> Job:
    """Raises TableError where the run is not there, or its features cannot be extracted here."""
    folder = predict.located(run)
    made = run_files.read(folder)
    predict.check(made)
    return Job(folder, made, settings.of(folder, made), options)


def facts(job: Job) -> dict[str, object]:
    """What the page shows of the server. heads: empty for a record of an older version."""
    told = job.options.model_dump(exclude={"grace_seconds"})
    heads = {name: {"corr": corr, "shown": name in _shown(job)} for name, corr in job.made.valid.heads.items()}
    about = predict.about(job.folder, job.made)
    return {**vars(about), "label_range": job.made.label_range, **told, "heads": heads, "steps": STEPS}


def warm(job: Job, _: None) -> None:
    """In the child, before the first clip: what takes seconds to import."""
    predict.load(job.folder.resolve(), job.made.weights_sha256)


def work(job: Job, asked: Asked) -> dict[str, object]:
    """In the child. record: as `rawmsa predict --json` has it. For the page also player (report/player.py), leans (the sentiment
    of each modality in words), files, notes; and beside the clip its features as Parquet files, and a film of it.

    Raises MediaError with predict's reason, TableError, AssetError.
    """
    file, name = asked.file, asked.name
    begin = partial(_begin, file.parent)
    try:
        content = _read(job, file, begin)
    except MediaError as error:
        raise MediaError(error.reason, error.message.replace(file.name, name, 1)) from None
    taken = predict.inputs(content, job.made)
    page = _page(job, asked, content, taken.tokens, begin) if asked.page else {}
    begin("network")
    (whole,) = predict.outputs([taken], job.folder, job.made)
    about = predict.about(job.folder, job.made)
    course = windows.course(content, job.folder, job.made, job.settings) if asked.course else None
    record = answer(name, about, whole, taken, content, course=course)
    heads = {modality: value for modality in _shown(job) if (value := getattr(whole, modality)) is not None}
    leans = {modality: polarity(value, about.label_range) for modality, value in heads.items()}
    return {"record": asdict(record), **page, "leans": leans}


def _page(job: Job, asked: Asked, content: Content, tokens: Tokens, begin: partial[None]) -> dict[str, object]:
    """What the page shows besides."""
    folder = asked.file.parent
    _write(job, folder, asked.name, content, tokens)
    begin("film")
    return {
        "player": _player(job, content, asked.file),
        "files": [modality for modality in tables.MODALITIES if (folder / f"{modality}.parquet").is_file()],
        "notes": [] if align.timed(content.words) else [NO_TIMES],
    }


def step(folder: Path) -> str | None:
    """The step that a clip's work has come to."""
    file = folder / TOLD
    return file.read_text().rpartition("\n")[0].rpartition("\n")[2] or None if file.is_file() else None


def _begin(folder: Path, step: str) -> None:
    with (folder / TOLD).open("a") as file:
        file.write(f"{step}\n")


def _read(job: Job, file: Path, begin: partial[None]) -> Content:
    """Raises MediaError, of a clip longer than serve.max_seconds too."""
    most = min(job.settings.media.max_seconds, job.options.max_seconds)
    limits = job.settings.media.model_copy(update={"max_seconds": most})
    try:
        return predict.read(file, job.made, job.settings.model_copy(update={"media": limits}), begin)
    except MediaError as error:
        if error.reason is not Reason.TOO_LONG:
            raise
        told = f"{file.name} lasts more than {most:g} s, which serve.max_seconds and ingest.max_seconds of params.yaml allow."
        raise MediaError(error.reason, f"{told} Cut it, or raise the limit.") from None


def _write(job: Job, folder: Path, name: str, content: Content, tokens: Tokens) -> None:
    """The features as the stages write them, of this clip alone: <modality>.parquet, of what the run takes."""
    for modality, found in content.frames.items():
        if recipe := predict.recipe(modality, job.made):
            metadata = recipe.metadata()
            width = len(metadata.columns)
            row = FeatureRow(name, "ok" if found else "absent", found or Frames.none(width))
            table = tables.feature_table([row], width)
            tables.write(folder / f"{modality}.parquet", table, metadata.content())
    told = {key: value for key, value in job.made.extraction["text"].items() if key != "dataset"}
    tables.write(folder / "text.parquet", tables.table_of(TokensRow, [TokensRow(id=name, **vars(tokens))]), told)


def _player(job: Job, content: Content, file: Path) -> dict[str, object]:
    """What the page plays; its film lies beside the clip then."""
    facts, film = content.facts, None
    told = {
        "seconds": facts.seconds,
        "start": None,
        "end": None,
        "has_audio": facts.has_audio,
        "has_vision": facts.has_vision,
    }
    with suppress(MediaError):  # then it plays without
        proxy.write(file.with_name(FILM), {"path": str(file), **told})
        film = "vision" if facts.has_vision else "audio"
    size = (facts.width, facts.height) if facts.width and facts.height else None
    audio, vision = (_tracks(job, modality, content.frames[modality]) for modality in assemble.FRAMES)
    return {**player.content(facts.seconds, content.words, audio, vision, size), "film": film}


def _tracks(job: Job, modality: str, frames: Frames | None) -> Modality | None:
    """None where there is nothing to draw."""
    recipe = predict.recipe(modality, job.made)
    if recipe is None or frames is None or not frames.mask.any():
        return None
    return Modality(
        recipe.extractor, recipe.metadata().columns, frames.times, np.where(frames.mask[:, None], frames.x, np.nan)
    )


def _shown(job: Job) -> Sequence[str]:
    """The modalities whose head is good enough for its output to be told."""
    return [name for name, corr in job.made.valid.heads.items() if corr is not None and corr >= job.options.min_corr]
