"""rawmsa in Python: in a notebook, a script (no main guard is needed), a thread or a web server.

    import rawmsa

    model = rawmsa.load("demo/self_mm")  # a trained run, or a folder of `rawmsa publish`; loaded once
    model.predict("clip.mp4")  # the sentiment of any clip, as a record
    rawmsa.features("clip.mp4", "audio")  # the features of any clip: one row per frame; run= for a run's extractor
    rawmsa.dataset("demo")  # a training table: one row per clip
    rawmsa.runs()  # what was trained, and how well

Names of runs and data sets are those of the project in the working directory, where dvc.yaml lies. Tables are pandas
DataFrames; `tensors` turns them into torch tensors with named columns.
"""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pandas as pd

    from app.answers import Prediction as Prediction
    from app.predictor import Model as Model
    from app.tensors import Tensors as Tensors

__all__ = ["__version__", "dataset", "features", "load", "predict", "runs", "tensors"]
__version__ = version("rawmsa")


def load(run: str | Path | None = None, at_once: int = 1) -> "Model":
    """Load a trained run, to predict any number of clips.

    Args:
        run: "<dataset>/<network>" (its best kept seed), "<dataset>/<network>-<seed>", or a folder: of `rawmsa publish`, or a
            run's in data/runs. None takes evaluate.unlabelled_run of params.yaml: by default the project's own run, the
            demo's only where there is no other. A published folder needs no project.
        at_once: How many clips are worked on at the same time, each in two processes, but in no more than `workers` of
            params.yaml altogether. No result depends on it.

    Returns:
        A Model. `model.about` has the run's name, its scale, and whether it was trained on synthetic clips.

    Raises:
        TableError: The run is not there, has no weights, or its features cannot be extracted here.
        ParamsError: params.yaml of the run's project does not fit.

    Example:
        >>> import rawmsa
        >>> model = rawmsa.load("demo/self_mm")
        >>> model.about.label_range, model.about.neutral, model.about.synthetic
        ((-3.0, 3.0), 0.0, True)
        >>> model.close()
    """
    from app.predictor import Model

    return Model(run, at_once)


def predict(clips: str | Path | Sequence[str | Path], run: str | Path | None = None) -> "pd.DataFrame":
    """Predict the sentiment of clips once, as a table. To predict again and again, `load` the run.

    Args:
        clips: The path of a video, or several.
        run: As `load` takes it.

    Returns:
        One row per clip, in order; the columns are the fields of the records of `Model.predict`, among them prediction (on the
        scale label_range), polarity, text, audio, vision, transcript, flags, error, run and synthetic. A clip that cannot
        be used has its reason in error and no numbers.

    Raises:
        TableError: The run is not there, or its features cannot be extracted here.

    Example:
        >>> import rawmsa
        >>> table = rawmsa.predict(["clip.mp4"], run="demo/self_mm")
        >>> table["clip"].tolist(), bool(table["prediction"].between(-3, 3).all())
        (['clip.mp4'], True)
    """
    import pandas as pd

    paths = [clips] if isinstance(clips, str | Path) else list(clips)
    with load(run, at_once=len(paths)) as model:
        return pd.DataFrame(model.predict(paths))


def dataset(name: str) -> "pd.DataFrame":
    """Read the training table of a data set, which `dvc repro` makes.

    Args:
        name: The name of a folder of data/tables, e.g. "demo".

    Returns:
        One row per clip, in order of the ids: id, video_id, split, label, label_T, label_A, label_V, transcript, input_ids,
        flags (what of the clip is cut), and for each modality that the data set has, audio and vision: a (frames, columns)
        float32 array, not
        standardised, NaN where there is no value. attrs["columns"] names the columns of each.

    Raises:
        TableError: There is no such table.

    Example:
        >>> import rawmsa
        >>> table = rawmsa.dataset("demo")
        >>> x = table[table["split"] == "train"]["audio"].iloc[0]
        >>> x.shape[1] == len(table.attrs["columns"]["audio"]), str(x.dtype)
        (True, 'float32')
    """
    from pipeline import paths, tables

    table = tables.read_arrow(paths.table(name))
    modalities = [name for name in ("audio", "vision") if name in table.column_names]
    loaded = table.drop_columns(modalities).to_pandas()
    for modality in modalities:
        loaded[modality] = [tables.sequence(cell) for cell in table[modality]]
    loaded.attrs["columns"] = tables.metadata(table)["columns"]
    return loaded


def features(source: str | Path, modality: Literal["audio", "vision"], run: str | Path | None = None) -> "pd.DataFrame":
    """Extract the features of a clip, or read those of a data set.

    Args:
        source: The path of a video; or the name of a folder of data/features/<modality>, whose clips the stages extracted.
        modality: "audio" or "vision".
        run: For a video, a run as `load` takes it: its extractor is used; outside a project it must be named. None takes the
            extractor of params.yaml.

    Returns:
        One row per frame, one named column per feature, float32. The index is time, in seconds from the clip's start; of a data
        set (id, time). A frame that has nothing to say (no face) is NaN. A clip without the modality has no row.
        attrs["units"] has the unit of each column, attrs["rate_hz"] the frames per second.

    Raises:
        MediaError: The video cannot be used.
        ParamsError: No run is named, and Python was not started in a project's folder.
        TableError: The run is not there, or the modality is another.
        StageError: The extraction crashed, or took more time or memory than limits of params.yaml allow.

    Example:
        >>> import rawmsa
        >>> voice = rawmsa.features("clip.mp4", "audio")
        >>> voice.index.name, voice.attrs["rate_hz"], "MCEP_0" in voice.columns
        ('time', 100.0, True)
        >>> rawmsa.features("demo", "audio").index.names
        FrozenList(['id', 'time'])
    """
    from app import features as door

    return door.features(source, modality, run)


def tensors(table: "pd.DataFrame") -> "Tensors":
    """Turn a table of `dataset` or `features` into torch tensors.

    Args:
        table: What `dataset` or `features` returned.

    Returns:
        A Tensors: per clip a (T, D) float32 tensor of each modality and (T,) times or (L,) token ids, with the names of the columns
        and the clips' ids; labels as (N,) float32, NaN where there is none.

    Example:
        >>> import rawmsa
        >>> x = rawmsa.tensors(rawmsa.dataset("demo"))
        >>> x.frames["vision"][0].shape[1] == len(x.columns["vision"]), x.labels["label"].dtype
        (True, torch.float32)
        >>> face = rawmsa.tensors(rawmsa.features("clip.mp4", "vision"))
        >>> face.frames["vision"][0].shape[0] == face.times[0].shape[0], "jawOpen" in face.columns["vision"]
        (True, True)
    """
    from app import tensors as door

    return door.tensors(table)


def runs(every: bool = False) -> "pd.DataFrame":
    """List the trained runs.

    Args:
        every: List the runs of the cache too: of experiments, draws of `rawmsa tune`, past parameters.

    Returns:
        One row per run, as `rawmsa runs --json` tells it: its name, key, parameters, validation and test metrics, when and on
        what it was trained. Empty where nothing was trained.

    Raises:
        ParamsError: Python was not started in the project's folder.

    Example:
        >>> import rawmsa
        >>> all(name.startswith("demo/self_mm-") for name in rawmsa.runs()["run"])
        True
    """
    import pandas as pd

    from app import runs as door

    return pd.DataFrame([vars(line) for line in door.lines(every)])
