"""What predicting takes besides the run: a part of params.yaml, which `rawmsa publish` writes into the folder that it makes."""

from pathlib import Path

from pydantic import PositiveFloat, PositiveInt, ValidationError

from model import run_files
from model.run_files import RunRecord
from pipeline import media, params, paths, transcribe
from pipeline.blocks import Block
from pipeline.datasets import ingest
from pipeline.errors import TableError

WINDOWS = ("window_seconds", "hop_seconds")  # of the block serve


class Settings(Block):
    """media: what a file may be; transcribe: the recogniser; limits, workers: of the processes; the rest: of windows of time."""

    media: media.Limits
    transcribe: transcribe.Params
    limits: params.Limits
    workers: PositiveInt
    window_seconds: PositiveFloat
    hop_seconds: PositiveFloat


def of(folder: Path, made: RunRecord) -> Settings:
    """Those of a run (`made` is its record): of a published one its folder's, else those of the project in whose data/runs it is.

    Raises TableError where a published folder has none that fit, ParamsError.
    """
    if not run_files.published(folder):
        return of_project(folder.resolve().parents[3] / paths.PARAMS)
    try:
        return Settings.model_validate(made.settings)
    except ValidationError as error:
        raise TableError(
            f"{folder / run_files.PUBLISHED}: its settings do not fit this version of rawmsa: {run_files.faults(error)}. "
            "Publish the run again: rawmsa publish RUN --to FOLDER"
        ) from None


def of_project(file: Path = paths.PARAMS) -> Settings:
    """Those of a params.yaml. Raises ParamsError."""
    serve = params.load("serve", dict[str, float], file)
    return Settings(
        media=media.Limits(**params.load("ingest", ingest.Params, file).model_dump(exclude={"split"})),
        transcribe=params.load("transcribe", transcribe.Params, file),
        limits=params.load("limits", params.Limits, file),
        workers=params.load("workers", PositiveInt, file),
        **{name: params.check(f"serve.{name}", serve.get(name), PositiveFloat, file) for name in WINDOWS},
    )
