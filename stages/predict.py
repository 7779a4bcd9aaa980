"""rawmsa predict: the sentiment of anybody's clip, by the functions that made the training table.

Extractors, encoder, shape and statistics are those that the run was trained with, as its run.json tells,
whatever params.yaml says today; the recogniser is params.yaml's.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline import align, assemble, assets, features, ingest, media, params, tables, text, transcribe, workers
from pipeline.datasets.refusal import printable
from pipeline.errors import MediaError, RawmsaError, TableError
from pipeline.features import Clip
from pipeline.tables import Column


def predict(clips: Sequence[Path | str], run: str | None = None) -> list[dict[str, Any]]:
    """One record a clip, in order: clip, prediction, text, audio, vision, transcript, flags, error, run,
    synthetic (whether the run was trained on made clips).

    run: <dataset>/<network> (its best kept seed), <dataset>/<network>-<seed> or a folder of `rawmsa publish`; None: evaluate.unlabelled_run
    of params.yaml. A modality the clip lacks has None for its output; a clip that cannot be used has
    None throughout and its reason under `error`. Raises TableError where the run is not there.
    """
    from model import checkpoint
    from model import predict as network
    from stages import evaluate

    threads = params.threads()
    workers.use_threads(threads)
    name = run or params.load("evaluate", evaluate.Params).unlabelled_run
    folder = Path(name) if checkpoint.published(Path(name)) else evaluate.kept_run(name)
    made = checkpoint.describe(folder)
    records = _prepare_all([Path(clip) for clip in clips], made, threads)
    usable = [record for record in records if record["error"] is None]
    if usable:
        table = _table(usable, made)
        outputs = network.predict(folder, table, assets.encoder(made["encoder"])).to_pylist()
        for record, output in zip(usable, outputs, strict=True):
            record |= {"prediction": output["fusion"], **{m: output[m] for m in tables.MODALITIES}}
    shown = str(folder) if checkpoint.published(folder) else "/".join(folder.parts[-2:])
    trained = {"run": shown, "synthetic": made["synthetic"]}
    return [{**_public(record), **trained} for record in records]


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


def _prepare_all(clips: Sequence[Path], made: dict[str, Any], threads: int) -> list[dict[str, Any]]:
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


def _prepare(task: tuple[Path, dict[str, Any], int]) -> dict[str, Any] | RawmsaError:
    """In a worker: everything of a clip that the network takes. Raises MediaError."""
    path, made, threads = task
    try:
        return {**_empty(path), **_read(path, made, threads)}
    except MediaError:
        raise
    except RawmsaError as error:
        return error


def _empty(path: Path) -> dict[str, Any]:
    """The record of a clip of which nothing is known."""
    nothing: dict[str, Any] = dict.fromkeys(("prediction", *tables.MODALITIES))
    name = str(path).encode(errors="backslashreplace").decode()  # JSON and tables are UTF-8
    return {"clip": name, **nothing, "transcript": "", "flags": [], "error": None}


def _read(path: Path, made: dict[str, Any], threads: int) -> dict[str, Any]:
    """Transcript, flags, tokens and shaped frames of a clip. Raises MediaError."""
    facts = media.probe(path, None, None, params.load("ingest", ingest.Params))
    heard = _listen(path, facts, made["language"], threads)
    tokens = text.tokenise(heard["text"], made["encoder"], made["extraction"]["text"]["max_tokens"])
    spoken = assemble.Spoken(align.spans(heard["words"], facts.seconds), tokens["word"])
    there = {"audio": facts.has_audio, "vision": facts.has_vision}
    clip = Clip(path, None, None, facts.seconds)
    seen = {modality: _frames(modality, clip, spoken, made, there[modality]) for modality in assemble.FRAMES}
    flags = [*facts.flags, *heard["flags"], *(flag for _, flags in seen.values() for flag in flags)]
    return {
        "transcript": heard["text"],
        "flags": list(dict.fromkeys(flags)),
        "tokens": tokens,
        **{f"x_{modality}": x for modality, (x, _) in seen.items()},
    }


def _listen(path: Path, facts: media.Media, language: str, threads: int) -> dict[str, Any]:
    """tables.TRANSCRIPTS of a clip that nobody has written down."""
    where = {"id": path.name, "path": str(path), "start": None, "end": None}
    row = {**where, "seconds": facts.seconds, "has_audio": facts.has_audio}
    written: dict[str, Any] = {"language": language, "source": None, "text": None, "cues": []}
    return transcribe.transcribe(row, written, params.load("transcribe", transcribe.Params), threads)


def _frames(
    modality: str, clip: Clip, spoken: assemble.Spoken, made: dict[str, Any], there: bool
) -> tuple[np.ndarray, list[str]]:
    """The shaped frames of one modality, by the run's own recipe, and the extractor's flags."""
    recorded = made["extraction"][modality]
    columns = [Column(**column) for column in recorded["columns"]]
    width = len(made["columns"][modality])
    if not (there and width):
        return np.zeros((0, width), np.float32), []
    if recorded["extractor"] == tables.IMPORTED:
        raise TableError(
            f"The run was trained on imported {modality} features, which nothing here can extract from a video. "
            "Name a run that was trained on videos: --run <dataset>/<network>"
        )
    recipe = features.recipe(modality, _options(recorded))
    if recorded["version"] != recipe.module.VERSION:
        raise TableError(
            f"The run was trained on version {recorded['version']} of {modality}.{recorded['extractor']}, "
            f"installed is {recipe.module.VERSION}. Train it anew with: dvc repro"
        )
    frames = recipe.extract(clip)
    if made["policy"]["aligned"]:
        return assemble.shape_aligned(frames, columns, spoken), list(frames.flags)
    policy = {name: made["policy"][name][modality] for name in ("pool", "max_frames")}
    shaped = assemble.shape(frames.x, frames.mask, columns, policy["pool"], policy["max_frames"])
    return shaped, list(frames.flags)


def _options(recorded: dict[str, Any]) -> features.Params:
    """The block of params.yaml that makes what a feature file's metadata record."""
    return features.Params.model_validate(
        {"extractor": recorded["extractor"], recorded["extractor"]: recorded["params"]}
    )


def _table(records: Sequence[dict[str, Any]], made: dict[str, Any]) -> pa.Table:
    """A training table without labels."""
    widths = {modality: len(made["columns"][modality]) for modality in assemble.FRAMES}
    content = {
        "id": [record["clip"] for record in records],
        "video_id": [record["clip"] for record in records],
        **dict.fromkeys(("split", "label", "label_T", "label_A", "label_V"), [None] * len(records)),
        "transcript": [record["transcript"] for record in records],
        "input_ids": [record["tokens"]["input_ids"] for record in records],
        **{
            m: tables.sequences((record[f"x_{m}"] for record in records), width) for m, width in widths.items() if width
        },
    }
    table = pa.table(content, schema=tables.training_schema(widths))
    kept = ("columns", "encoder", "encoder_sha256", "extraction", "language", "convention", "label_range", "policy")
    return tables.with_metadata(table, {name: made[name] for name in kept})


def _public(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != "tokens" and not name.startswith("x_")}


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:+.2f}"
