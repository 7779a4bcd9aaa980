"""The features of a clip, extracted, or of a data set, read, as pandas."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, get_args

import numpy as np

from app import predict, settings
from app.settings import Settings
from model import run_files
from pipeline import features as extraction
from pipeline import media, params, paths, tables
from pipeline.errors import MediaError, ParamsError, Reason, StageError, TableError
from pipeline.execution.processes import Processes, use_threads
from pipeline.features import Recipe
from pipeline.tables import FeatureMetadata, Frames
from pipeline.tables.frames import Clip

if TYPE_CHECKING:
    import pandas as pd

Modality = Literal["audio", "vision"]


def features(source: str | Path, modality: Modality, run: str | Path | None) -> "pd.DataFrame":
    """As rawmsa.features has it."""
    if modality not in get_args(Modality):
        raise TableError(
            f"There are no {modality!r} features to give; modality is one of: {', '.join(get_args(Modality))}."
        )
    folder = paths.features(modality, str(source))
    return _of_clip(Path(source), modality, run) if Path(source).is_file() else _of_data_set(folder, Path(source))


def _of_clip(clip: Path, modality: Modality, run: str | Path | None) -> "pd.DataFrame":
    if run is None and not paths.PARAMS.is_file():
        raise ParamsError(
            f"No run is named, and {Path.cwd()} has no {paths.PARAMS}, which names the extractor. Name a run: features(..., "
            "run=FOLDER) with a folder of rawmsa publish or of a project's data/runs, or start Python in a project's folder."
        )
    if run is None:
        chosen: Recipe | None = extraction.recipe(modality, params.load(modality, extraction.Params))
        threads, options = params.threads(), settings.of_project()
    else:
        folder = predict.located(str(run))
        made = run_files.read(folder)
        chosen, threads, options = predict.recipe(modality, made), made.threads, settings.of(folder, made)
    if chosen is None:
        raise TableError(f"The run {run} takes no {modality} features. Name another run, or none.")
    use_threads(threads)
    pool = Processes(1, options.limits)
    try:
        outcome = pool.outcome(0, pool.schedule(_extract, (chosen, clip, options)))
    finally:
        pool.close()
    if failure := outcome.failure:
        if failure.reason in list(Reason):
            raise MediaError(Reason.of(failure.reason), failure.message)
        raise StageError(f"{clip}: {failure.reason}: {failure.message}\n{failure.trace}")
    return _table(cast(Frames, outcome.value), chosen.metadata(), modality)


def _extract(task: tuple[Recipe, Path, Settings]) -> Frames:
    """In a worker. Raises MediaError."""
    chosen, path, options = task
    facts = media.probe(path, None, None, options.media)
    there = {"audio": facts.has_audio, "vision": facts.has_vision}[chosen.modality]
    if not there:
        return Frames.none(len(chosen.metadata().columns))
    return chosen.extract(Clip(path, None, None, facts.seconds))


def _table(frames: Frames, made: FeatureMetadata, modality: Modality) -> "pd.DataFrame":
    import pandas as pd

    x = np.where(frames.mask[:, None], frames.x, np.float32("nan"))
    return _described(
        pd.DataFrame(x, pd.Index(frames.times, name="time"), [c.name for c in made.columns]), made, modality
    )


def _of_data_set(folder: Path, source: Path) -> "pd.DataFrame":
    import pandas as pd

    if not folder.is_dir():
        raise TableError(
            f"{source} is no file, and there are no features {folder}. Correct the path, or run: dvc repro"
        )
    made = tables.read_metadata(FeatureMetadata, folder)
    table = tables.read(folder)
    frames = [tables.sequence(cell) for cell in table["x"]]
    ids = np.repeat(table["id"].to_numpy(), [len(x) for x in frames])
    times = table["times"].combine_chunks().flatten().to_numpy()
    x = np.concatenate([np.zeros((0, len(made.columns)), np.float32), *frames])
    mask = table["mask"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    x = np.where(mask[:, None], x, np.float32("nan"))
    index = pd.MultiIndex.from_arrays([ids, times], names=["id", "time"])
    return _described(pd.DataFrame(x, index, [c.name for c in made.columns]), made, folder.parent.name)


def _described(table: "pd.DataFrame", made: FeatureMetadata, modality: str) -> "pd.DataFrame":
    table.attrs = {
        "modality": modality,
        "rate_hz": made.rate_hz,
        "units": {column.name: column.unit for column in made.columns},
    }
    return table
