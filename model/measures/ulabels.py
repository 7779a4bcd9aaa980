"""What the u-labels of trained runs show: how near they come to the human labels, how they spread, three clips."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from model import run_files
from model.measures import metrics, results
from model.measures.experiment_files import Case, Counts, Nearness
from model.measures.metrics import Scores
from pipeline import tables
from pipeline.tables import MODALITIES, UNIMODAL

BINS = 31  # of a distribution; odd, so that 0 lies in the middle of one
CASES = 3


class Clip(TypedDict):
    """A clip's row of the training table."""

    id: str
    transcript: str
    label: float
    label_T: float | None
    label_A: float | None
    label_V: float | None


Made = Mapping[str, Mapping[str, float | None]]  # u-labels by clip and modality


def epochs(folders: Sequence[Path], table: pa.Table) -> list[Nearness]:
    """Means over the runs that reached the epoch (`seeds` of them); [] where none made u-labels.

    shift: mean |u - m| of the averaged u-label, change: its mean distance from that of the epoch before; raw_*: the
    same of the one made in this epoch; mae, corr: of u with the human label, control_*: of m with it; offset_corr:
    of u - m with the human label less m. None where not defined.
    """
    train = _Train.of(table)
    runs = [dict(_followed(folder, train)) for folder in folders if (folder / run_files.ULABELS).is_file()]
    reached = sorted({epoch for run in runs for epoch in run})
    return [_mean(epoch, [run[epoch] for run in runs if epoch in run]) for epoch in reached]


def distributions(folder: Path, table: pa.Table) -> tuple[list[float], list[Counts]]:
    """The paper's figure 4 of one run: the edges of the bins, and how many clips' u-labels lie in each.

    Bins are centred on the label range's ends and on what divides it evenly; what lies beyond counts to the outermost.
    """
    low, high = tables.metadata(table)["label_range"]
    half = (high - low) / (BINS - 1) / 2
    edges = np.linspace(low - half, high + half, BINS + 1)
    counted = [
        Counts(epoch=epoch, clips={m: np.histogram(u.clip(low, high), edges)[0].tolist() for m, u in columns.items()})
        for epoch, columns in _by_epoch(folder)
    ]
    return edges.tolist(), counted


def cases(folder: Path, table: pa.Table) -> tuple[int, list[Case]]:
    """The paper's figure 5 of one run: the last epoch, and of each modality in turn the train clip whose u-label lies
    farthest from m.

    The u-labels are those of the last epoch, the prediction that of the run.
    """
    read: list[Clip] = table.select(["id", "transcript", "label", *UNIMODAL.values()]).to_pylist()
    rows = {row["id"]: row for row in read}
    predicted = {row["id"]: row["fusion"] for row in tables.read(folder / run_files.PREDICTIONS).to_pylist()}
    found = tables.read(folder / run_files.ULABELS)
    last: int = pc.max(found["epoch"]).as_py()
    ends = found.filter(pc.equal(found["epoch"], last)).select(["id", *MODALITIES]).to_pylist()
    made = {row["id"]: {modality: row[modality] for modality in MODALITIES} for row in ends}
    clips = [
        Case(
            id=clip,
            text=rows[clip]["transcript"],
            label=rows[clip]["label"],
            prediction=predicted[clip],
            text_u=made[clip]["text"],
            audio_u=made[clip]["audio"],
            vision_u=made[clip]["vision"],
            label_T=rows[clip]["label_T"],
            label_A=rows[clip]["label_A"],
            label_V=rows[clip]["label_V"],
        )
        for clip in _parting(made, rows)
    ]
    return last, clips


@dataclass(frozen=True)
class _Train:
    """The train clips by id: their m-labels and the human labels by modality, NaN where there are none."""

    ids: pa.Array
    labels: np.ndarray
    human: dict[str, np.ndarray]

    @classmethod
    def of(cls, table: pa.Table) -> "_Train":
        train = table.select(["id", "label", *UNIMODAL.values()]).filter(pc.equal(table["split"], "train"))
        human = {m: _floats(train[column]) for m, column in UNIMODAL.items()}
        return cls(train["id"].combine_chunks(), _floats(train["label"]), human)


def _followed(folder: Path, train: _Train) -> Iterator[tuple[int, dict[str, Scores]]]:
    """(epoch, figures by modality) of one run."""
    names = [*MODALITIES, *(f"raw_{m}" for m in MODALITIES)]
    found = tables.read(folder / run_files.ULABELS, ["epoch", "id", *names])
    clips = pc.index_in(found["id"], value_set=train.ids).to_numpy()
    of_epoch = found["epoch"].to_numpy()
    columns = {name: _floats(found[name]) for name in names}
    before = {name: np.full(len(train.labels), np.nan, np.float32) for name in names}
    for epoch in np.unique(of_epoch).tolist():
        now = {name: np.full(len(train.labels), np.nan, np.float32) for name in names}
        for name in names:
            now[name][clips[of_epoch == epoch]] = columns[name][of_epoch == epoch]
        yield epoch, {m: _figures(m, now, before, train) for m in MODALITIES if not np.isnan(now[m]).all()}
        before = now


def _figures(modality: str, now: Mapping[str, np.ndarray], before: Mapping[str, np.ndarray], train: _Train) -> Scores:
    """Of one modality and epoch; all (N,), NaN where there is none."""
    u, raw, m, human = now[modality], now[f"raw_{modality}"], train.labels, train.human[modality]
    return {
        "shift": _distance(u, m),
        "raw_shift": _distance(raw, m),
        "change": _distance(u, before[modality]),
        "raw_change": _distance(raw, before[f"raw_{modality}"]),
        "mae": _distance(u, human),
        "corr": _corr(u, human),
        "control_mae": _distance(np.where(np.isnan(u), u, m), human),
        "control_corr": _corr(np.where(np.isnan(u), u, m), human),
        "offset_corr": _corr(u - m, human - m),
    }


def _distance(x: np.ndarray, y: np.ndarray) -> float | None:
    both = ~np.isnan(x) & ~np.isnan(y)
    return metrics.mae(x[both], y[both]) if both.any() else None


def _corr(x: np.ndarray, y: np.ndarray) -> float | None:
    both = ~np.isnan(x) & ~np.isnan(y)
    return metrics.corr(x[both], y[both])


def _mean(epoch: int, runs: Sequence[Mapping[str, Scores]]) -> Nearness:
    """The figures' means over runs; None where a run has none."""
    means = {modality: results.summary([run[modality] for run in runs]).means for modality in runs[0]}
    return Nearness(epoch=epoch, seeds=len(runs), figures=means)


def _by_epoch(folder: Path) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """(epoch, the u-labels that there are by modality)."""
    found = tables.read(folder / run_files.ULABELS, ["epoch", *MODALITIES])
    for epoch in sorted(set(found["epoch"].to_pylist())):
        now = found.filter(pc.equal(found["epoch"], epoch))
        columns = {m: now[m].drop_null().to_numpy() for m in MODALITIES}
        yield epoch, {m: u for m, u in columns.items() if len(u)}


def _parting(made: Made, rows: Mapping[str, Clip]) -> list[str]:
    """CASES clips, or as many as there are: of each modality in turn the one, not taken yet, that parts most from m."""
    distances = {
        m: {clip: abs(u - rows[clip]["label"]) for clip, of in made.items() if (u := of[m]) is not None}
        for m in MODALITIES
    }
    taken: list[str] = []
    for turn in range(CASES * len(MODALITIES)):
        left = {clip: far for clip, far in distances[MODALITIES[turn % len(MODALITIES)]].items() if clip not in taken}
        if left and len(taken) < CASES:
            taken.append(min(left, key=lambda clip: (-left[clip], clip)))
    return taken


def _floats(column: pa.ChunkedArray) -> np.ndarray:
    """float32, NaN where null."""
    return column.to_numpy().astype(np.float32)
