"""What index.html's scripts draw and filter, as JSON inside the page; and the media folder beside it.

A clip is a place in the lists of its data set. What plays it (film, words, tracks, landmarks) lies in
media/<dataset>/<place>.mp4 and .js, since a page opened from disk may load scripts but no JSON.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NotRequired, TypedDict, cast

import numpy as np
import pyarrow as pa

from pipeline import paths, tables
from pipeline.tables import MODALITIES, UNIMODAL, Word
from report import player, plots, tracks
from report.facts import Dataset, Run, ulabels
from report.tables import model_name
from report.tracks import Modality

MEDIA = "media"
BRANCHES = ("prediction", *MODALITIES)


Column = list[float | None]  # one number per clip, or per epoch


class Model(TypedDict):
    """What a run says of each clip. own: the run is of this data set."""

    title: str
    network: str
    own: bool
    prediction: Column
    text: Column
    audio: Column
    vision: Column


class Scores(TypedDict):
    """On the validation split."""

    mae: float | None
    corr: float | None


class Trained(TypedDict):
    """A run. best: of its network's seeds; parameters: as JSON, by dotted keys; curves: by name."""

    title: str
    network: str
    best: bool
    best_epoch: int
    valid: Scores
    parameters: dict[str, str]
    curves: dict[str, Column]


class Ulabels(TypedDict):
    """The u-labels of a run, by modality: epoch by epoch, one of each clip that has some."""

    title: str
    network: str
    epochs: list[int]
    clips: list[int]
    text: NotRequired[list[Column]]
    audio: NotRequired[list[Column]]
    vision: NotRequired[list[Column]]


class Explored(TypedDict):
    """A data set. Lists have one entry per clip; media: whether films and tracks lie beside the page; human: labels by
    modality; texts: None where they may not be shown; edges: of the bins of labels."""

    name: str
    title: str
    range: tuple[float, float]
    scale: str  # how labels and predictions are read; "" where as the label file has them
    media: bool
    ids: list[str]
    speakers: list[str]
    seconds: Column
    splits: list[str | None]
    labels: Column
    human: dict[str, Column]
    flags: list[list[str]]
    texts: list[str] | None
    models: list[Model]
    runs: list[Trained]
    ulabels: list[Ulabels]
    edges: list[float]


class Predictor(TypedDict):
    """A run that predicted, as predictions.parquet names it."""

    network: str
    seed: int
    trained_on: str


def content(data: Dataset, titles: Mapping[str, str], shown: bool, playable: bool) -> Explored:
    """One data set. titles: every data set's, by name; shown: transcripts may be; playable: its media lie beside the page."""
    ids = list(data.clips)
    labels = [data.labels.get(clip, {}) for clip in ids]
    failed: dict[str, list[str]] = {}
    for modality, part in data.extractions.items():
        for row in part.failed:
            failed.setdefault(row["id"], []).append(f"{modality}: failed")
    return {
        "name": data.name,
        "title": data.title,
        "range": data.label_range,
        "scale": data.scale,
        "media": playable,
        "ids": ids,
        "speakers": [data.clips[clip]["video_id"] for clip in ids],
        "seconds": [_short(data.clips[clip]["seconds"]) for clip in ids],
        "splits": [row.get("split") for row in labels],
        "labels": [_short(row.get("label")) for row in labels],
        "human": {
            modality: [_short(row.get(column)) for row in labels]
            for modality, column in UNIMODAL.items()
            if any(row.get(column) is not None for row in labels)
        },
        "flags": [[*data.flags(clip), *failed.get(clip, [])] for clip in ids],
        "texts": [str(data.transcripts.get(clip, {}).get("spoken", "")) for clip in ids] if shown else None,
        "models": [_model(data, titles, group) for group in _groups(data)],
        "runs": [_run(network, run, run is data.best(network)) for network, runs in data.runs.items() for run in runs],
        "ulabels": [made for network in data.runs if (made := _ulabels(network, data.best(network), ids)) is not None],
        "edges": plots.fine_edges(data.label_range),
    }


def media(data: Dataset, films: Mapping[tuple[str, str], Path]) -> bool:
    """Write what plays the data set's clips; whether there is anything. films: by data set and clip (report/films.py)."""
    if not data.clips:
        return False
    folder = paths.REPORT / MEDIA / data.name
    folder.mkdir(parents=True)
    words = _words(data)
    audio, vision = (_in_order(tracks.modalities(name, data.name)) for name in ("audio", "vision"))
    for place, (clip, row) in enumerate(data.clips.items()):
        size = (row["width"], row["height"]) if row["width"] and row["height"] else None
        told = player.content(row["seconds"] or 0.0, words.get(clip, []), audio(clip), vision(clip), size)
        film = films.get((data.name, clip))
        if film:
            shutil.copyfile(film, folder / f"{place}.mp4")
        told["film"] = ("vision" if row["has_vision"] else "audio") if film else None
        (folder / f"{place}.js").write_text(f"rawmsa.clip({_json(told)});\n")
    return True


def _in_order(frames: Iterator[tuple[str, Modality]]) -> Callable[[str], Modality | None]:
    """The frames of a clip, asked for in order of id, in which they come; None where it has none."""
    waiting = next(frames, None)

    def find(clip: str) -> Modality | None:
        nonlocal waiting
        while waiting is not None and waiting[0] < clip:
            waiting = next(frames, None)
        return waiting[1] if waiting is not None and waiting[0] == clip else None

    return find


def embedded(found: object) -> str:
    """JSON that may stand inside a <script> element."""
    return _json(found).replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _json(found: object) -> str:
    """Without spaces, and in ASCII: no file's encoding, and no line separator of Unicode's, matters."""
    return json.dumps(found, separators=(",", ":"), allow_nan=False)


def _words(data: Dataset) -> dict[str, list[Word]]:
    path = paths.transcripts(data.name)
    if not path.is_file():
        return {}
    found = tables.read(path, ["id", "words"]).to_pylist()
    return {row["id"]: [Word(**word) for word in row["words"]] for row in found}


def _groups(data: Dataset) -> list[Predictor]:
    """The runs that predicted clips of the data set: of its own the best seed of each network."""
    keys = data.predictions.select(["network", "seed", "trained_on"]).group_by(["network", "seed", "trained_on"])
    order = [("trained_on", "ascending"), ("network", "ascending"), ("seed", "ascending")]
    found = sorted(keys.aggregate([]).sort_by(order).to_pylist(), key=lambda run: run["trained_on"] != data.name)
    return [
        run
        for run in found
        if run["trained_on"] != data.name
        or (run["network"] in data.runs and run["seed"] == data.best(run["network"]).seed)
    ]


def _model(data: Dataset, titles: Mapping[str, str], run: Predictor) -> Model:
    rows = {row["id"]: row for row in data.predicted(**run)}
    of = "" if run["trained_on"] == data.name else f", trained on {titles.get(run['trained_on'], run['trained_on'])}"
    column = {branch: [_short(rows.get(clip, {}).get(branch)) for clip in data.clips] for branch in BRANCHES}
    return {
        "title": f"{model_name(run['network'])}, seed {run['seed']}{of}",
        "network": run["network"],
        "own": not of,
        "prediction": column["prediction"],
        "text": column["text"],
        "audio": column["audio"],
        "vision": column["vision"],
    }


def _run(network: str, run: Run, best: bool) -> Trained:
    shown = ("epoch", "train_loss", "valid_loss", "valid_mae", "valid_corr")
    return {
        "title": f"{model_name(network)}, seed {run.seed}",
        "network": network,
        "best": best,
        "best_epoch": run.record.best_epoch,
        "valid": {"mae": _short(run.record.valid.mae), "corr": _short(run.record.valid.corr)},
        "parameters": {name: json.dumps(value, ensure_ascii=False) for name, value in run.record.parameters.items()},
        "curves": {
            name: [_short(value) for value in run.curves[name].tolist()] for name in shown if name in run.curves
        },
    }


def _ulabels(network: str, run: Run, ids: Sequence[str]) -> Ulabels | None:
    """None where the network makes none."""
    epochs = ulabels(run)
    if not epochs:
        return None
    place = {clip: index for index, clip in enumerate(ids)}
    first = next(iter(epochs.values()))
    clips = [clip for clip in first["id"].to_pylist() if clip in place]
    made = {
        modality: [_column(table, modality, clips) for table in epochs.values()]
        for modality in MODALITIES
        if first[modality].null_count < len(first)
    }
    found = {
        "title": f"{model_name(network)}, seed {run.seed}",
        "network": network,
        "epochs": list(epochs),
        "clips": [place[clip] for clip in clips],
    }
    return cast(Ulabels, found | made)


def _column(table: pa.Table, modality: str, clips: Sequence[str]) -> Column:
    found = dict(zip(table["id"].to_pylist(), table[modality].to_pylist(), strict=True))
    return [_short(found.get(clip)) for clip in clips]


def _short(value: float | None) -> float | None:
    """To three decimals; None for what is not known or no number."""
    return None if value is None or not np.isfinite(value) else round(float(value), 3)
