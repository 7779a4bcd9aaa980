"""rawmsa predict: the sentiment of anybody's clip, by the functions that made the training table.

Extractors, encoder, shape and statistics are those that the run was trained with, as its run.json tells,
whatever params.yaml says today; the recogniser is params.yaml's.
"""

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from pipeline.flags import Flagged
from pipeline.tables import ClipRow, Frames, TextRow, TranscriptRow, Word
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


def predict(clips: Sequence[Path | str], run: str | None = None) -> list[dict[str, Any]]:
    """One record a clip, in order: clip, prediction, text, audio, vision, transcript, flags, error, run,
    synthetic (whether the run was trained on made clips).

    run: <dataset>/<network> (its best kept seed), <dataset>/<network>-<seed> or a folder of `rawmsa publish`; None: evaluate.unlabelled_run
    of params.yaml. A modality the clip lacks has None for its output; a clip that cannot be used has
    None throughout and its reason under `error`. Raises TableError where the run is not there.
    """
    threads = params.threads()
    use_threads(threads)
    folder = located(run)
    made = run_files.read(folder)
    for line in differences(made):
        print(f"predict: {line}", file=sys.stderr)
    records = _prepare_all([Path(clip) for clip in clips], made, threads)
    usable = [record for record in records if record["error"] is None]
    for record, output in zip(usable, outputs(usable, folder, made), strict=True):
        record |= output
    return [public(record, folder, made) for record in records]


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
    if not made.columns[modality]:
        return None
    recorded = made.extraction[modality]
    if recorded["extractor"] == tables.IMPORTED:
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
        recorded = made.extraction[modality]
        for name, installed in (("library", chosen.library), ("asset_sha256", chosen.asset)):
            if recorded[name] != installed:
                yield (
                    f"the run was trained on {modality} of {recorded['extractor']} with {name} {recorded[name]}, installed is "
                    f"{installed}: predictions may differ. Install the former, or train again with: dvc repro"
                )


def inputs(content: Content, made: RunRecord) -> dict[str, Any]:
    """What the network takes of a clip, or of a window of one: transcript, tokens, x_audio and x_vision, (T, D) shaped
    frames of which there are none where the modality is absent."""
    said = " ".join(word.word for word in content.words)
    tokens = text.tokenise(said, made.encoder, made.max_tokens)
    spoken = assemble.Spoken(align.spans(content.words, content.facts.seconds), tokens.word)
    shaped = {f"x_{modality}": _shaped(modality, frames, spoken, made) for modality, frames in content.frames.items()}
    return {"transcript": said, "tokens": tokens, **shaped}


def outputs(records: Sequence[dict[str, Any]], folder: Path, made: RunRecord) -> list[dict[str, float | None]]:
    """What the run says of each record (its clip's name and `inputs`): prediction, text, audio, vision; None where a
    modality is absent, or the run has no such head."""
    from model.training import predict as network

    if not records:
        return []
    found = network.predict(folder, _table(records, made), assets.encoder(made.encoder)).to_pylist()
    return [{"prediction": row["fusion"], **{m: row[m] for m in tables.MODALITIES}} for row in found]


def empty(name: str) -> dict[str, Any]:
    """The record of a clip of which nothing is known."""
    nothing: dict[str, Any] = dict.fromkeys(("prediction", *tables.MODALITIES))
    return {"clip": name, **nothing, "transcript": "", "flags": [], "error": None}


def public(record: dict[str, Any], folder: Path, made: RunRecord) -> dict[str, Any]:
    """A record as it is told: without the network's inputs, and with the run's name."""
    told = {name: value for name, value in record.items() if name != "tokens" and not name.startswith("x_")}
    return told | about(folder, made)


def about(folder: Path, made: RunRecord) -> dict[str, Any]:
    """The run's name, and whether it was trained on made clips."""
    shown = str(folder) if run_files.published(folder) else "/".join(folder.parts[-2:])
    return {"run": shown, "synthetic": made.synthetic}


def show(records: Sequence[dict[str, Any]], as_json: bool) -> None:
    """Print the records: a table, or JSON. Exits with code 1 where no clip could be used."""
    if as_json:
        print(json.dumps(records, indent=2, ensure_ascii=False))
    else:
        _print_table(records)
    if all(record["error"] for record in records):
        raise SystemExit(1)


def _print_table(records: Sequence[dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    title = f"Run {records[0]['run']}" + (" (synthetic demo)" if records[0]["synthetic"] else "")
    table = Table("clip", "sentiment", *tables.MODALITIES, "transcript", "notes", title=Text(title))
    for record in records:
        numbers = [_number(record[name]) for name in ("prediction", *tables.MODALITIES)]
        notes = record["error"] or ", ".join(record["flags"])
        cells = (Path(record["clip"]).name, *numbers, record["transcript"], notes)
        table.add_row(*(Text(printable(cell)) for cell in cells))  # Text, since a str is markup
    Console().print(table)


def _prepare_all(clips: Sequence[Path], made: RunRecord, threads: int) -> list[dict[str, Any]]:
    """Each clip in a process that can be killed; what becomes of one costs another nothing."""
    tasks = [(clip, made, threads) for clip in clips]
    limits = params.load("limits", params.Limits).model_copy(update={"max_failed_fraction": 1.0})
    records: dict[int, dict[str, Any]] = {}
    for outcome in workers.run(
        _prepare, tasks, title="predict", workers=params.workers(), threads=threads, limits=limits
    ):
        if isinstance(outcome.value, RawmsaError):  # the run's or the installation's fault, not the clip's
            raise outcome.value
        failure = outcome.failure
        records[outcome.index] = outcome.value or {
            **_empty(clips[outcome.index]),
            "error": f"{failure.reason}: {failure.message}" if failure else None,
        }
    return [records[index] for index in range(len(clips))]


def _prepare(task: tuple[Path, RunRecord, int]) -> dict[str, Any] | RawmsaError:
    """In a worker: everything of a clip that the network takes. Raises MediaError."""
    path, made, threads = task
    try:
        content = read(path, made, threads, params.load("ingest", ingest.Params))
        return {**_empty(path), "flags": [str(flagged) for flagged in content.flags], **inputs(content, made)}
    except MediaError:
        raise
    except RawmsaError as error:
        return error


def _empty(path: Path) -> dict[str, Any]:
    return empty(str(path).encode(errors="backslashreplace").decode())  # JSON and tables are UTF-8


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
    columns = made.extracted(modality)
    if made.policy.aligned:
        return assemble.shape_aligned(frames, columns, spoken)
    policy = made.policy
    return assemble.shape(frames.x, frames.mask, columns, policy.pool[modality], policy.max_frames[modality])


def _options(recorded: dict[str, Any]) -> features.Params:
    """The block of params.yaml that makes what a feature file's metadata record."""
    return features.Params.model_validate(
        {"extractor": recorded["extractor"], recorded["extractor"]: recorded["params"]}
    )


def _table(records: Sequence[dict[str, Any]], made: RunRecord) -> pa.Table:
    """A training table without labels."""
    widths = made.widths
    content = {
        "id": [record["clip"] for record in records],
        "video_id": [record["clip"] for record in records],
        **dict.fromkeys(("split", "label", "label_T", "label_A", "label_V"), [None] * len(records)),
        "transcript": [record["transcript"] for record in records],
        "input_ids": [record["tokens"].input_ids for record in records],
        **{
            m: tables.sequences((record[f"x_{m}"] for record in records), width) for m, width in widths.items() if width
        },
    }
    table = pa.table(content, schema=tables.training_schema(widths))
    kept = {"columns", "encoder", "encoder_sha256", "extraction", "language", "convention", "label_range", "policy"}
    return tables.with_metadata(table, made.model_dump(mode="json", include=kept, exclude_unset=True))


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:+.2f}"
