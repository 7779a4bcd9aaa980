"""rawmsa in a notebook: every function returns a pandas DataFrame. Start Python in the project's folder, where dvc.yaml lies.

import rawmsa
rawmsa.predict("clip.mp4", run="demo/self_mm")   # the sentiment of any clip
rawmsa.load("demo")                              # a training table: one row a clip
rawmsa.features("demo", "audio")                 # acoustic features: one row a frame
rawmsa.runs()                                    # what was trained, and how well
"""

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["__version__", "features", "load", "predict", "runs"]
__version__ = version("rawmsa")


def predict(clips: str | Path | Sequence[str | Path], run: str | None = None) -> "pd.DataFrame":
    """Predict the sentiment of clips with a trained run.

    Args:
        clips: The path of a video, or several.
        run: "<dataset>/<network>" (its best kept seed), "<dataset>/<network>-<seed>", or a folder of `rawmsa publish`.
            None takes evaluate.unlabelled_run of params.yaml.

    Returns:
        One row a clip, in order: clip, prediction, text, audio, vision (the outputs of the unimodal heads), transcript,
        flags, error, run and synthetic. A clip that cannot be used has its reason in error and no numbers.

    Raises:
        TableError: The run is not there, or its features cannot be extracted here.

    Example:
        >>> rawmsa.predict("clip.mp4", run="demo/self_mm")["prediction"]
    """
    import pandas as pd

    from app import predict as door

    return pd.DataFrame(door.predict(clips, run))


def load(dataset: str) -> "pd.DataFrame":
    """Load the training table of a data set, which `dvc repro` makes.

    Args:
        dataset: The name of a folder of data/tables, e.g. "demo".

    Returns:
        One row a clip, in order of the ids: id, video_id, split, label, label_T, label_A, label_V, transcript, input_ids,
        and for each modality that the data set has, audio and vision: a (frames, columns) float32 array, not
        standardised, NaN where there is no value. attrs["columns"] names the columns of each.

    Raises:
        TableError: There is no such table.

    Example:
        >>> table = rawmsa.load("demo")
        >>> x = table[table["split"] == "train"]["audio"].iloc[0]
    """
    from pipeline import paths, tables

    table = tables.read_arrow(paths.table(dataset))
    modalities = [name for name in ("audio", "vision") if name in table.column_names]
    loaded = table.drop_columns(modalities).to_pandas()
    for modality in modalities:
        loaded[modality] = [tables.sequence(cell) for cell in table[modality]]
    loaded.attrs["columns"] = tables.metadata(table)["columns"]
    return loaded


def features(dataset: str, modality: Literal["audio", "vision"]) -> "pd.DataFrame":
    """Load the extracted features of a data set, as the stages audio and vision wrote them.

    Args:
        dataset: The name of a folder of data/features/<modality>, e.g. "demo".
        modality: "audio" or "vision".

    Returns:
        One row a frame, one column a feature. The index is (id, time), time in seconds from the clip's start. A frame
        that has nothing to say (no face) is NaN; a clip without the modality has no row.

    Raises:
        TableError: There are no such features.

    Example:
        >>> rawmsa.features("demo", "audio").groupby("id")["MCEP_0"].mean()
    """
    import numpy as np
    import pandas as pd

    from pipeline import paths, tables

    folder = paths.features(modality, dataset)
    table = tables.read(folder)
    names = [column["name"] for column in tables.metadata(folder)["columns"]]
    frames = [tables.sequence(cell) for cell in table["x"]]
    index = pd.MultiIndex.from_arrays(
        [
            np.repeat(table["id"].to_numpy(), [len(x) for x in frames]),
            table["times"].combine_chunks().flatten().to_numpy(),
        ],
        names=["id", "time"],
    )
    x = np.concatenate([np.zeros((0, len(names)), np.float32), *frames])
    mask = table["mask"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return pd.DataFrame(np.where(mask[:, None], x, np.float32("nan")), index=index, columns=names)


def runs(every: bool = False) -> "pd.DataFrame":
    """List the trained runs.

    Args:
        every: List the runs of the cache too: of experiments, draws of `rawmsa tune`, past parameters.

    Returns:
        One row a run, as `rawmsa runs --json` tells it: its name, key, parameters, validation and test metrics, when and on
        what it was trained. Empty where nothing was trained.

    Raises:
        ParamsError: Python was not started in the project's folder.

    Example:
        >>> rawmsa.runs()
    """
    import pandas as pd

    from app import runs as door

    return pd.DataFrame([vars(line) for line in door.lines(every)])
