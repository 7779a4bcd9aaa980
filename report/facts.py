"""What the stages left behind, one Dataset for each data set; nothing here decides what is shown."""

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from model import run_files
from model.measures import experiment_files, results
from model.measures.experiment_files import AnyExperiment
from model.run_files import RunRecord
from pipeline import conventions, paths, tables
from pipeline.flags import Flagged
from report.tracks import VOICING

Row = dict[str, Any]
UNKNOWN = {  # of a data set that has nothing but refused rows
    "language": "unknown",
    "convention": conventions.DEFAULT,
    "label_range": conventions.find(conventions.DEFAULT).label_range,
    "split": "none",
    "labelled": False,
    "redistribute": False,
    "synthetic": False,
}
SPOKEN = ["id", "text", "spoken", "source", "model", "confidence", "flags"]
EXTRACTED = ["id", "status", "reason", "n_frames", "mask"]


@dataclass(frozen=True)
class Share:
    """So many of some frames."""

    part: int
    whole: int


@dataclass(frozen=True)
class Extraction:
    """One modality's feature file, in figures."""

    imported: bool  # extracted by somebody else; what its columns mean is not known
    present: Share  # frames that have something to say (a face), of all
    voiced: Share | None  # of the present frames; None: no column tells
    failed: list[Row]  # id, reason


@dataclass(frozen=True)
class Run:
    """One training run's record and its files."""

    record: RunRecord
    curves: dict[str, np.ndarray]  # (epochs,) a column of curves.csv; NaN where it is empty
    ulabels: Path

    @property
    def seed(self) -> int:
        return self.record.seed


@dataclass(frozen=True)
class Dataset:
    """Everything known of one data set; rows are those of the tables, by clip id."""

    name: str
    settings: Row  # of datasets.json
    clips: dict[str, Row]
    labels: dict[str, Row]
    transcripts: dict[str, Row]
    extractions: dict[str, Extraction]  # audio, vision; one without a file is left out
    odd: dict[str, dict[str, list[Flagged]]]  # by modality as extractions, then by clip id, of those that have flags
    textless: str  # why no clip has a text, where its encoder could not be had
    cut: dict[str, list[Flagged]]  # by clip id, of those that are longer than what a network takes
    refused: list[Row]
    runs: dict[str, list[Run]]  # by network, in order of seed
    predictions: pa.Table
    experiments: list[AnyExperiment]  # by name

    @property
    def synthetic(self) -> bool:
        return bool(self.settings["synthetic"])

    @property
    def title(self) -> str:
        """The name, and what nobody may overlook about its numbers."""
        told = {"synthetic demo": self.synthetic, "without texts": bool(self.textless)}
        notes = ", ".join(note for note, holds in told.items() if holds)
        return f"{self.name} ({notes})" if notes else self.name or "in no data set"

    @property
    def label_range(self) -> tuple[float, float]:
        low, high = self.settings["label_range"]
        return float(low), float(high)

    @property
    def scale(self) -> str:
        """What the numbers of labels and predictions are; of labels that are kept as the label file has them ""."""
        return tables.scale(self.label_range, self.settings.get("neutral", 0.0))

    @property
    def too_few(self) -> str:
        """A sentence where so few clips have a label that the numbers mean nothing."""
        counts = Counter(row["split"] for row in self.labels.values() if row["label"] is not None)
        return results.too_few(self.title, counts)

    def best(self, network: str) -> Run:
        """The seed that the validation split prefers."""
        return min(self.runs[network], key=lambda run: (run.record.valid.mae, run.seed))

    def flags(self, clip: str) -> list[str]:
        """What is odd about a clip, each stage's word before it, and what of it no network takes."""
        return [f"{stage}{flagged}" for stage, flagged in self._flagged(clip)]

    def kinds(self, clip: str) -> list[str]:
        """Its flags without their numbers, to count clips by."""
        return [f"{stage}{flagged.uncounted}" for stage, flagged in self._flagged(clip)]

    def _flagged(self, clip: str) -> Iterator[tuple[str, Flagged]]:
        for stage, row in (("clip: ", self.clips[clip]), ("transcript: ", self.transcripts.get(clip, {}))):
            yield from ((stage, Flagged.parse(flag)) for flag in row.get("flags", []))
        for modality, flags in self.odd.items():
            yield from ((f"{modality}: ", flagged) for flagged in flags.get(clip, []) if flagged.odd)
        yield from (("", flagged) for flagged in self.cut.get(clip, []))

    def predicted(self, network: str, seed: int, trained_on: str) -> list[Row]:
        """One run's rows of predictions.parquet, in order of id."""
        of_run = (pc.field("network") == network) & (pc.field("seed") == seed) & (pc.field("trained_on") == trained_on)
        return sorted(self.predictions.filter(of_run).to_pylist(), key=lambda row: row["id"])


def read() -> list[Dataset]:
    """Every data set that ingest met, by name ("": what lies in none). Raises TableError where ingest's or evaluate's tables are missing."""
    settings = tables.read_json(paths.DATASETS)
    clips = dict(tables.by_dataset(tables.read(paths.CLIPS)))
    labels = dict(tables.by_dataset(tables.read(paths.LABELS)))
    refused = dict(tables.by_dataset(tables.read(paths.REFUSED)))
    predictions = tables.read(paths.PREDICTIONS)
    return [
        Dataset(
            name=name,
            settings=UNKNOWN | settings.get(name, {}),
            clips=_by_id(clips.get(name, [])),
            labels=_by_id(labels.get(name, [])),
            transcripts=_transcripts(name) if name in clips else {},
            extractions=_extractions(name) if name in clips else {},
            odd=_odd(name) if name in clips else {},
            textless=_textless(name) if name in clips else "",
            cut=_cut(paths.table(name)),
            refused=refused.get(name, []),
            runs=_runs(name),
            predictions=predictions.filter(pc.equal(predictions["dataset"], name)),
            experiments=[experiment_files.read(file) for file in sorted((paths.EXPERIMENTS / name).glob("*.json"))],
        )
        for name in sorted({*settings, *clips, *refused})
    ]


def bare() -> list[Dataset]:
    """Every data set with its settings, clips and labels, which tables of results need, and its clips' flags, of the stages that
    have run. Raises TableError where ingest's tables are missing."""
    settings = tables.read_json(paths.DATASETS)
    clips = dict(tables.by_dataset(tables.read(paths.CLIPS)))
    labels = dict(tables.by_dataset(tables.read(paths.LABELS)))
    nothing = tables.rows(tables.PREDICTIONS, [])
    return [
        Dataset(
            name=name,
            settings=UNKNOWN | found,
            clips=_by_id(clips.get(name, [])),
            labels=_by_id(labels.get(name, [])),
            transcripts=_transcripts(name),
            extractions={},
            odd=_odd(name),
            textless=_textless(name),
            cut=_cut(paths.table(name)),
            refused=[],
            runs={},
            predictions=nothing,
            experiments=[],
        )
        for name, found in sorted(settings.items())
    ]


def ulabels(run: Run) -> dict[int, pa.Table]:
    """A run's u-labels by epoch, rising; empty where the network makes none."""
    if not run.ulabels.is_file():
        return {}
    table = tables.read(run.ulabels)
    return {epoch: table.filter(pc.equal(table["epoch"], epoch)) for epoch in sorted(set(table["epoch"].to_pylist()))}


def _by_id(rows: list[Row]) -> dict[str, Row]:
    return {row["id"]: row for row in sorted(rows, key=lambda row: row["id"])}


def _transcripts(dataset: str) -> dict[str, Row]:
    path = paths.transcripts(dataset)
    return _by_id(tables.read(path, SPOKEN).to_pylist()) if path.is_file() else {}


def _textless(dataset: str) -> str:
    path = paths.features("text", dataset)
    return tables.read_metadata(tables.TokensMetadata, path).absent if path.is_file() else ""


def _extractions(dataset: str) -> dict[str, Extraction]:
    return {modality: _extraction(path) for modality, path in _extracted(dataset).items()}


def _odd(dataset: str) -> dict[str, dict[str, list[Flagged]]]:
    return {
        modality: _flags(tables.read(path, ["id", "flags"]).to_pylist())
        for modality, path in _extracted(dataset).items()
    }


def _extracted(dataset: str) -> dict[str, Path]:
    """The folders of frames that are there, by modality."""
    folders = {modality: paths.features(modality, dataset) for modality in ("audio", "vision")}
    return {modality: path for modality, path in folders.items() if path.is_dir()}


def _extraction(path: Path) -> Extraction:
    rows = tables.read(path, EXTRACTED).to_pylist()
    return Extraction(
        imported=tables.metadata(path).get("extractor") == tables.IMPORTED,
        present=Share(sum(sum(row["mask"]) for row in rows), sum(row["n_frames"] for row in rows)),
        voiced=_voiced(path),
        failed=[{"id": row["id"], "reason": row["reason"]} for row in rows if row["status"] == "failed"],
    )


def _cut(folder: Path) -> dict[str, list[Flagged]]:
    """What a training table says is cut; nothing where it is not made yet, or an older version made it."""
    if not (folder / tables.TABLE).is_file():
        return {}
    table = tables.read_arrow(folder)
    return _flags(table.select(["id", "flags"]).to_pylist()) if "flags" in table.column_names else {}


def _flags(rows: list[Row]) -> dict[str, list[Flagged]]:
    return {row["id"]: list(map(Flagged.parse, row["flags"])) for row in rows if row["flags"]}


def _voiced(path: Path) -> Share | None:
    names = [column["name"] for column in tables.metadata(path).get("columns", [])]
    column = next((names.index(name) for name in VOICING if name in names), None)
    if column is None:
        return None
    part = whole = 0
    for file in tables.parts(path):
        with pq.ParquetFile(file, page_checksum_verification=True) as shard:
            for batch in shard.iter_batches(batch_size=256, columns=["mask", "x"]):
                mask = batch["mask"].flatten().to_numpy(zero_copy_only=False).astype(bool)  # (frames,)
                frames = batch["x"].flatten().flatten().to_numpy().reshape(-1, len(names))  # (frames, D)
                part += int((frames[mask, column] > 0).sum())
                whole += int(mask.sum())
    return Share(part, whole)


def _runs(dataset: str) -> dict[str, list[Run]]:
    runs = [_run(file.parent) for file in sorted((paths.RUNS / dataset).glob(f"*/{run_files.RUN}"))]
    networks: dict[str, list[Run]] = {}
    for run in sorted(runs, key=lambda run: (run.record.network, run.seed)):
        networks.setdefault(run.record.network, []).append(run)
    return networks


def _run(folder: Path) -> Run:
    with (folder / run_files.CURVES).open(newline="") as file:
        epochs = list(csv.DictReader(file))
    curves = {
        name: np.array([float(row[name]) if row[name] else np.nan for row in epochs])
        for name in (epochs[0] if epochs else {})
    }
    return Run(run_files.read(folder), curves, folder / run_files.ULABELS)
