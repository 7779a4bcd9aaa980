"""Small projects for the report to read: every stage's files, made of rows."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from plotly.offline import get_plotlyjs

import report
from model import run_files
from model.run_files import RunRecord
from pipeline import paths, tables
from pipeline.execution import fingerprint
from pipeline.tables import shards
from tests import clips as videos

SETTINGS = {
    "language": "en",
    "label_range": [-3, 3],
    "convention": "mosi",
    "redistribute": False,
    "synthetic": False,
    "split": "mode",
    "labelled": True,
    "text_only": False,
    "shared_videos": [],
    "shared_texts": [],
    "duplicates": [],
}
OPTIONS = {"show_all": False, "thumbnails": True, "films": False, "max_rows": 50, "examples": 2}
SPLIT_OF = ("train", "train", "train", "train", "valid", "test", "test")
SCORES = {
    "mae": 0.71349, "corr": 0.79751, "acc2_nonneg": 0.84, "acc2_pos": 0.85979, "f1_nonneg": 0.84421, "f1_pos": 0.85951,
    "acc5": 0.5, "acc7": 0.4579,
}  # fmt: skip
FLOOR = SCORES | {"mae": 1.456, "corr": None}
SIMS = {"mae": 0.419, "corr": 0.616, "acc2": 0.8074, "f1": 0.8078, "acc3": 0.65, "acc5": 0.42}
HYPER = {
    "text": "frozen",
    "architecture": {},
    "groups": {},
    "fit": {
        "batch": 4, "accumulate": 1, "bucket": 1, "max_epochs": 2, "patience": 2, "optimizer": "adamw",
        "gradients": "mean", "validation": "clips", "clip": None, "plateau": None,
    },
}  # fmt: skip
SECRET = "they said <script>alert('x')</script> & went"


def ingest(*datasets: tuple[dict[str, Any], list[dict[str, Any]]], refused: list[dict[str, Any]] | None = None) -> None:
    """Ingest's and evaluate's files for data sets given as their settings (with a name) and their clips."""
    clips = [row for _, rows in datasets for row in rows]
    settings = {found["name"]: SETTINGS | {k: v for k, v in found.items() if k != "name"} for found, _ in datasets}
    tables.write_json(paths.DATASETS, settings)
    tables.write(paths.CLIPS, tables.rows(tables.CLIPS, [_only(tables.CLIPS, row) for row in clips]))
    labelled = [_only(tables.LABELS, row) for row in clips if row["label"] is not None]
    tables.write(paths.LABELS, tables.rows(tables.LABELS, labelled))
    tables.write(paths.REFUSED, tables.rows(tables.REFUSED, refused or []))
    predict([])
    tables.write_json(paths.METRICS, {})
    for found, rows in datasets:
        spoken = [_only(tables.TRANSCRIPTS, row) | {"text": "words"} for row in rows]
        tables.write(paths.transcripts(found["name"]), tables.rows(tables.TRANSCRIPTS, spoken))


def clips(dataset: str, labelled: bool = True, **changed: Any) -> list[dict[str, Any]]:
    """Seven clips, one column of every table that speaks of clips."""
    return [
        {
            "dataset": dataset, "id": f"v{index}/1", "video_id": f"v{index}", "clip_id": "1", "path": None,
            "seconds": 2.5, "has_audio": True, "has_vision": True, "status": "ok", "flags": [], "words": [],
            "split": split if labelled else None, "label": index / 2 - 1.5 if labelled else None,
            "spoken": f"{SECRET} {index}", "source": "label",
        }
        | changed
        for index, split in enumerate(SPLIT_OF)
    ]  # fmt: skip


def features(dataset: str, modality: str, names: list[str], frames: dict[str, np.ndarray], **changed: Any) -> None:
    """A feature file; a frame of NaN is masked."""
    records = [
        {"id": clip, "status": "ok", "flags": [], "n_frames": len(x), "times": np.arange(len(x)) / 10,
         "mask": ~np.isnan(x).any(axis=1), "x": x.tolist()}
        | changed
        for clip, x in frames.items()
    ]  # fmt: skip
    columns = [{"name": name, "unit": "", "kind": "value"} for name in names]
    schema = tables.features_schema(len(names))
    write_features(modality, dataset, tables.rows(schema, records), {"extractor": "made", "columns": columns})


def content(path: Path) -> dict[str, bytes]:
    """The bytes of a folder's files by name."""
    return {file.relative_to(path).as_posix(): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


def write_features(modality: str, dataset: str, table: pa.Table, metadata: dict[str, Any]) -> None:
    """The shards of these rows, as the stages would have cut them."""
    start = 0
    for some in shards.split([_clip(dataset, id) for id in table["id"].to_pylist()]):
        part = table.slice(start, len(some))
        start += len(some)
        noted = {"first": shards.first(some), "key": fingerprint.key(rows=repr(part.to_pylist()), metadata=metadata)}
        file = paths.features(modality, dataset) / f"{shards.name(some)}.parquet"
        tables.write(file, part, {**metadata, tables.SHARD: noted})


def _clip(dataset: str, id: str) -> tables.ClipRow:
    return tables.ClipRow(dataset=dataset, id=id, video_id=id, clip_id="", seconds=1.0)


def record(dataset: str = "made", seed: int = 1, **changes: Any) -> RunRecord:
    """The record of a run of self_mm that nobody trained."""
    told = {
        "dataset": dataset, "convention": "mosi", "label_range": [-3, 3], "language": "en", "synthetic": True,
        "encoder": "packaged", "encoder_sha256": None, "columns": {}, "statistics": {}, "extraction": {}, "policy": {},
        "encoder_config": None, "network": "self_mm", "seed": seed, "preset": "paper", "values": "made",
        "block": "mosi", "changes": {}, "hyper": HYPER, "threads": 1, "processes": 1, "precision": "float32",
        "versions": {}, "vectors_sha256": None, "text_width": 0, "best_epoch": 2, "epochs": 2,
        "valid": {"loss": 1.0, "mae": 1.0, "corr": None},
    }  # fmt: skip
    return RunRecord.model_validate(told | changes)


def train(dataset: str, seed: int, valid_mae: float, ulabels: list[dict[str, Any]] | None = None) -> None:
    folder = paths.run(dataset, "self_mm", seed)
    folder.mkdir(parents=True)
    run_files.write(folder, record(dataset, seed, valid={"loss": 1.0, "mae": valid_mae, "corr": None}))
    names = "epoch,train_loss,valid_loss,valid_mae,valid_corr,loss_fusion,loss_text,loss_audio,loss_vision"
    (folder / "curves.csv").write_text(f"{names}\n1,1.2,1.3,1.3,,1.2,0,,\n2,1.0,1.1,1.1,0.4,1.0,0,,\n")
    if ulabels is not None:
        tables.write(folder / "ulabels.parquet", tables.rows(tables.ULABELS, ulabels))


def predict(rows: list[dict[str, Any]], trained_on: str = "", seeds: tuple[int, ...] = (1111,)) -> None:
    made = {"network": "self_mm", "prediction": -1.25, "text": 0.25, "trained_on": trained_on}
    predictions = [_only(tables.PREDICTIONS, row) | made | {"seed": seed} for seed in seeds for row in rows]
    tables.write(paths.PREDICTIONS, tables.rows(tables.PREDICTIONS, predictions))


def measured(**datasets: Any) -> None:
    tables.write_json(paths.METRICS, datasets)


def scored(name: str, **settings: Any) -> list[dict[str, Any]]:
    """A labelled data set with its metrics; its clips."""
    rows = clips(name)
    ingest(({"name": name, **settings}, rows))
    spread = {"std": {"mae": 0.0104, "acc2_pos": 0.004}, "seeds": 5}
    measured(**{name: {"self_mm": SCORES | spread, "train_median": FLOOR}})
    return rows


def trained(name: str = "demo", **settings: Any) -> list[dict[str, Any]]:
    """The same with one run and its predictions."""
    rows = scored(name, **settings)
    parting = {"v0/1": 0.1, "v1/1": -1.75, "v2/1": 0.2, "v3/1": 1.0}  # u - m of audio in epoch 2
    ulabels = [
        {
            "epoch": epoch,
            "id": row["id"],
            "text": row["label"],
            "audio": row["label"] + (epoch - 1) * parting[row["id"]],
        }
        for epoch in (1, 2)
        for row in rows[:4]
    ]
    train(name, 1111, 0.9, ulabels)
    predict(rows, trained_on=name)
    return rows


def film(rows: list[dict[str, Any]]) -> None:
    """Give every clip one and the same video, and write the clips again."""
    video = videos.make(Path("data/raw/film.mp4"), seconds=0.4, size=(64, 48))
    for row in rows:
        row["path"] = f"data/raw/{row['video_id']}.mp4"
        row["seconds"] = 0.4
        shutil.copy(video, row["path"])
    tables.write(paths.CLIPS, tables.rows(tables.CLIPS, [_only(tables.CLIPS, row) for row in rows]))


def write(**changed: Any) -> str:
    """The report's page less the charting library, with other options than OPTIONS."""
    report.write(report.Params(**OPTIONS | changed))
    return (paths.REPORT / "index.html").read_text().replace(get_plotlyjs(), "")


def explored(page: str) -> list[dict[str, Any]]:
    """What the page's scripts are told, a data set each."""
    found = re.search(r'<script id="found" type="application/json">(.*?)</script>', page, re.DOTALL)
    assert found
    return json.loads(found[1])["datasets"]


def _only(schema: pa.Schema, row: dict[str, Any]) -> dict[str, Any]:
    return {name: row.get(name) for name in schema.names if name in row}
