"""The paper's tables and figures by name: which runs each is made of, and what is measured of them.

Runs are trained elsewhere (model/experiment.py); here are their rows, and the content of
data/experiments/<dataset>/<name>.json (experiment_files.py).
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import JsonValue

from model import run_files
from model.measures import experiment_files as files
from model.measures import floors, metrics, results, ulabels
from model.measures.experiment_files import AnyExperiment, Cases, Comparison, Contribution, Distributions
from model.measures.intervals import Bootstrap, Draws
from model.measures.results import Summary
from model.networks import find
from pipeline import tables
from pipeline.tables import MODALITIES, UNIMODAL

SELF_MM = "self_mm"
BESIDE_HUMAN = ("tfn", "lmf")  # the baselines of the paper's table 3
TABLES = ("table1", "table3", "table4", "ulgm")
FIGURES = ("figure4", "figure5")
LETTERS = {"text": "T", "audio": "A", "vision": "V"}
TASK_SETS = ("M", "MV", "MA", "MT", "MAV", "MTV", "MTA", "MTAV")  # M, the multimodal task, is always there
ABLATIONS: dict[str, dict[str, JsonValue]] = {  # of ulgm.Settings
    "equation (6) only": {"equations": "ratio"},
    "equation (7) only": {"equations": "difference"},
    "no momentum": {"momentum": False},
    "weights 1": {"weights": False},
    "unclamped": {"clamp": False, "min_alpha": None, "ratio_epsilon": 0.0},
    "released formula": {"clamp": True, "min_alpha": None, "ratio_epsilon": 1e-8},
    "symmetric alpha": {"alpha": "symmetric"},
}


@dataclass(frozen=True)
class Row:
    """One row of a table: a network as params.yaml chooses it, with these parts of its Hyper changed."""

    label: str
    network: str = SELF_MM
    changes: Mapping[str, JsonValue] = field(default_factory=dict)


@dataclass(frozen=True)
class Runs:
    """A row and its trained runs, one a seed."""

    row: Row
    folders: Sequence[Path]


def unable(name: str, table: pa.Table, networks: Sequence[str]) -> str | None:
    """Why an experiment cannot be made of a training table and the networks that are chosen; None where it can."""
    if name != "table1" and SELF_MM not in networks:
        return f"it needs {SELF_MM} in train.networks of params.yaml, but the networks are {', '.join(networks)}"
    if all(lacking(network, table) for network in networks):
        return f"{' and '.join(networks)} need modalities that it lacks"
    if name == "table3" and not human(table):
        return "it needs human unimodal labels: the columns label_T, label_A, label_V of label.csv"
    if name in TABLES and "test" not in table["split"].to_pylist():
        return "it needs clips in the test split"
    return None


def rows(name: str, table: pa.Table, networks: Sequence[str]) -> list[Row]:
    """The rows of an experiment, the reference among them. Tasks of modalities that the table lacks are left out."""
    if name == "table1":
        return [_plain(network) for network in sorted(networks, key=lambda network: network == SELF_MM)]
    if name == "table3":
        baselines = [_plain(network) for network in BESIDE_HUMAN if network in networks]
        return [*baselines, Row("Human-MM", changes=_ulgm(labels="human")), Row("Self-MM")]
    if name == "table4":
        return [Row(label, changes={"architecture": {"tasks": tasks}}) for label, tasks in _task_sets(table).items()]
    if name == "ulgm":
        return [Row("default"), *(Row(label, changes=_ulgm(**changes)) for label, changes in ABLATIONS.items())]
    return [Row("Self-MM")]


def reference(name: str, of: Sequence[Row]) -> Row:
    """The row that the others are set against."""
    return of[0] if name == "ulgm" else of[-1]


def lacking(network: str, table: pa.Table) -> list[str]:
    """The modalities that a network is nothing without and the table has not."""
    return [modality for modality in find(network).NEEDS if modality not in modalities(table)]


def human(table: pa.Table) -> list[str]:
    """The modalities whose human labels the train split has."""
    there = table["split"].to_pylist()
    return [
        modality
        for modality, column in UNIMODAL.items()
        if any(s == "train" and x is not None for s, x in zip(there, table[column].to_pylist(), strict=True))
    ]


def modalities(table: pa.Table) -> list[str]:
    columns = tables.metadata(table)["columns"]
    has_text = any(len(tokens) for tokens in table["input_ids"])
    return [m for m in MODALITIES if (has_text if m == "text" else columns.get(m))]


def content(name: str, table: pa.Table, runs: Sequence[Runs], seeds: Sequence[int]) -> AnyExperiment:
    """What the experiment's JSON file holds."""
    metadata = tables.metadata(table)
    about = files.Experiment(
        name=name,
        dataset=metadata["dataset"],
        convention=metadata["convention"],
        synthetic=metadata["synthetic"],
        label_range=metadata["label_range"],
        seeds=list(seeds),
        labelled=dict(sorted(Counter(table["split"].drop_null().to_pylist()).items())),
    )
    if name not in FIGURES:
        beside = reference(name, [each.row for each in runs])
        return Comparison(
            **dict(about),
            reference=beside.label,
            rows=_table(table, runs, beside),
            ulabels=_followed(table, runs),
            floors=floors.floors(table),
        )
    folder = min(runs[0].folders, key=lambda folder: run_files.read(folder).valid.mae)
    run = run_files.read(folder)
    shown = files.Shown(**dict(about), network=run.network, preset=run.preset, values=run.values, seed=run.seed)
    if name == "figure4":
        edges, counted = ulabels.distributions(folder, table)
        return Distributions(**dict(shown), edges=edges, epochs=counted)
    epoch, clips = ulabels.cases(folder, table)
    return Cases(**dict(shown), epoch=epoch, clips=clips)


def _setting(table: pa.Table, network: str) -> str:
    """The paper's column "data setting"; features that a data set brings say themselves whether they are aligned."""
    metadata = tables.metadata(table)
    there = modalities(table)
    frames = [m for m in there if m != "text"]
    brought = [metadata["extraction"][m].get("params", {}).get("aligned", False) for m in frames]
    if not frames:
        return "text only"
    if metadata["policy"].get("aligned") or all(brought):
        return "aligned"
    return "unaligned, a share a token" if find(network).A_FRAME_A_TOKEN and "text" in there else "unaligned"


def _table(table: pa.Table, runs: Sequence[Runs], beside: Row) -> list[files.Row]:
    test = _Test(table)
    draws = {each.row.label: test.draws(each) for each in runs}
    scores = {each.row.label: test.summary(each) for each in runs}
    rows = []
    for each in runs:
        label = each.row.label
        record = run_files.read(each.folders[0])
        chosen = [run_files.read(folder).valid.mae for folder in each.folders]
        rows.append(
            files.Row(
                label=label,
                network=record.network,
                preset=record.preset,
                values=record.values,
                changes=record.changes,
                scores=scores[label],
                interval=test.bootstrap.intervals(draws[label]),
                valid=files.Chosen(mae=float(np.mean(chosen)), std=float(np.std(chosen))),
                contributions=dict(test.contributions(each)),
                heads=dict(test.heads(each)),
                setting=_setting(table, each.row.network),
                difference=None if each.row is beside else test.difference(label, beside.label, scores, draws),
            )
        )
    return rows


def _followed(table: pa.Table, runs: Sequence[Runs]) -> list[files.Followed]:
    """The u-labels of the rows that have some."""
    found = [files.Followed(label=each.row.label, epochs=ulabels.epochs(each.folders, table)) for each in runs]
    return [each for each in found if each.epochs]


class _Test:
    """The test split, opened: its clips by id, their labels and videos."""

    def __init__(self, table: pa.Table) -> None:
        found = table.select(["id", "video_id", "split", "label", *UNIMODAL.values()]).to_pylist()
        rows = sorted((row for row in found if row["split"] == "test"), key=lambda row: row["id"])
        self.convention: str = tables.metadata(table)["convention"]
        self.ids = [row["id"] for row in rows]
        self.labels = np.array([row["label"] for row in rows], np.float32)
        self.human = {m: np.array([row[name] for row in rows], np.float32) for m, name in UNIMODAL.items()}  # NaN: none
        self.bootstrap = Bootstrap([row["video_id"] for row in rows])

    def draws(self, runs: Runs) -> Draws:
        return self.bootstrap.draws(self.convention, self.predictions(runs, "fusion"), self.labels)

    def predictions(self, runs: Runs, branch: str) -> np.ndarray:
        """(seeds, N), NaN where there is none."""
        return np.stack([self._of(tables.read(folder / run_files.PREDICTIONS), branch) for folder in runs.folders])

    def summary(self, runs: Runs) -> Summary:
        return results.summary([self._score(p) for p in self.predictions(runs, "fusion")])

    def difference(
        self, label: str, other: str, scores: Mapping[str, Summary], draws: Mapping[str, Draws]
    ) -> dict[str, list[float] | None]:
        """[mean, low, high] by measure of one row less another, both on the same resamples of the same clips."""
        mine, others = draws[label], draws[other]
        found: dict[str, list[float] | None] = {}
        for name, bounds in self.bootstrap.intervals({name: mine[name] - others[name] for name in mine}).items():
            of_row, of_other = scores[label].means[name], scores[other].means[name]
            if bounds is None or of_row is None or of_other is None:
                found[name] = None
            else:
                found[name] = [of_row - of_other, *bounds]
        return found

    def _score(self, predictions: np.ndarray) -> metrics.Scores:
        return metrics.score(self.convention, predictions, self.labels)

    def _mae(self, predictions: np.ndarray) -> float:
        return metrics.mae(*metrics.comparable(self.convention, predictions, self.labels))

    def contributions(self, runs: Runs) -> Iterator[tuple[str, Contribution]]:
        """By modality the mean and standard deviation over seeds of what the test MAE gains without it."""
        whole = np.array([self._mae(seed) for seed in self.predictions(runs, "fusion")])
        found = [tables.read(folder / run_files.CONTRIBUTIONS) for folder in runs.folders]
        for modality in (m for m in MODALITIES if m in found[0]["modality"].to_pylist()):
            of = [one.filter(pc.equal(one["modality"], modality)) for one in found]
            masked, shuffled = (
                np.array([self._mae(self._of(one, way)) for one in of]) - whole for way in ("masked", "shuffled")
            )
            yield modality, Contribution(masked=_mean_std(masked), shuffled=_mean_std(shuffled))

    def heads(self, runs: Runs) -> Iterator[tuple[str, metrics.Scores]]:
        """By modality MAE and correlation of the unimodal outputs with the human labels, where there are both."""
        for modality, labels in self.human.items():
            predictions = self.predictions(runs, modality)
            both = ~np.isnan(labels) & ~np.isnan(predictions[0])
            if both.any():
                pairs = [metrics.comparable(self.convention, seed[both], labels[both]) for seed in predictions]
                scores: list[metrics.Scores] = [
                    {"mae": metrics.mae(*pair), "corr": metrics.corr(*pair)} for pair in pairs
                ]
                yield modality, results.summary(scores).means

    def _of(self, found: pa.Table, column: str) -> np.ndarray:
        """(N,) a column of a table that has the test clips' ids, in their order."""
        values = dict(zip(found["id"].to_pylist(), found[column].to_pylist(), strict=True))
        return np.array([values[clip] for clip in self.ids], np.float32)


def _mean_std(values: np.ndarray) -> tuple[float, float]:
    return float(values.mean()), float(values.std())


def _plain(network: str) -> Row:
    return Row(find(network).TITLE, network)


def _ulgm(**changes: JsonValue) -> dict[str, JsonValue]:
    return {"architecture": {"ulgm": changes}}


def _task_sets(table: pa.Table) -> dict[str, list[JsonValue]]:
    """The unimodal tasks by label, in the order of the paper's table 4; those that the table can have."""
    there = "M" + "".join(LETTERS[m] for m in modalities(table))
    possible = [label for label in TASK_SETS if set(label) <= set(there)]
    sets: dict[str, list[JsonValue]] = {label: [m for m in MODALITIES if LETTERS[m] in label] for label in possible}
    return sets | {possible[-1]: list(MODALITIES)}  # all there are: the default's tasks, so that its run is taken
