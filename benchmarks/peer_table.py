"""The table of benchmarks/peer.py, and what it says in words."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from model.measures import metrics
from model.measures.results import Summary, summary
from pipeline import conventions
from report.tables import MEAN, Table, cell, markdown

THEIRS = {  # metrics by MMSA's names
    "mosi": {
        "mae": "MAE",
        "corr": "Corr",
        "acc2_nonneg": "Has0_acc_2",
        "f1_nonneg": "Has0_F1_score",
        "acc2_pos": "Non0_acc_2",
        "f1_pos": "Non0_F1_score",
        "acc5": "Mult_acc_5",
        "acc7": "Mult_acc_7",
    },
    "sims": {
        "mae": "MAE",
        "corr": "Corr",
        "acc2": "Mult_acc_2",
        "f1": "F1_score",
        "acc3": "Mult_acc_3",
        "acc5": "Mult_acc_5",
    },
}
Result = dict[str, Any]  # of one seed: peer_runner.train and peer._of_cache say what is in it


def table(network: str, dataset: str, convention: str, rows: Mapping[str, Sequence[Result]]) -> str:
    """Every metric, the best epochs, seconds an epoch and peak memory: a row a side, in Markdown.

    network: as the title says it.
    """
    columns = conventions.find(convention).columns
    lines = []
    for name, results in rows.items():
        found = _scores(convention, results)
        epochs = ", ".join(str(result["best_epoch"]) for result in results)
        seconds = _spread([_seconds(result) for result in results], 1)
        memory = _spread([result["peak_mib"] for result in results], 0)
        lines.append((name, *(cell(found, names) for names in columns.values()), epochs, seconds, memory))
    seeds = len(next(iter(rows.values())))
    header = (f"{network} of", *columns, "Best epochs", "Seconds an epoch", "Peak MiB")
    note = f"{conventions.find(convention).note} {MEAN}"
    return markdown([Table(f"{network} on {dataset}, {seeds} seed{'s' * (seeds > 1)}", header, lines, note)])


def comparison(convention: str, peers: Sequence[Result], rows: Mapping[str, Sequence[Result]]) -> list[str]:
    """In words: whether our metrics are MMSA's, and whether our means are within one deviation of its."""
    gaps = [
        abs((_score(convention, result)[name] or 0.0) - result["test"][theirs])
        for result in peers
        for name, theirs in THEIRS[convention].items()
    ]
    lines = [f"MMSA's own metrics, of 4 digits, differ from ours on its predictions by at most {max(gaps):.1e}."]
    peer = _scores(convention, peers)
    for name, results in rows.items():
        found = _scores(convention, results)
        mae, corr = (found.means[metric] - peer.means[metric] for metric in ("mae", "corr"))
        line = f"{name}: MAE {mae:+.3f}, Corr {corr:+.3f} against MMSA's"
        if len(peers) > 1:
            good = mae <= peer.std["mae"] and -corr <= peer.std["corr"]
            line += f": {'no worse' if good else 'worse'} by more than one standard deviation of MMSA's over seeds"
        lines.append(f"{line}.")
    return lines


def _scores(convention: str, results: Sequence[Result]) -> Summary:
    return summary([_score(convention, result) for result in results])


def _score(convention: str, result: Result) -> metrics.Scores:
    predictions, labels = (np.array(result[name], np.float32) for name in ("predictions", "labels"))
    return metrics.score(convention, predictions, labels)


def _seconds(result: Result) -> float | None:
    """Of an epoch with its validation; the first is left out, as in the logs of ours. The median, should one be paused."""
    if "epochs" not in result:
        return result["seconds_an_epoch"]
    later = [epoch["train_seconds"] + epoch["valid_seconds"] for epoch in result["epochs"][1:]]
    return float(np.median(later)) if later else None


def _spread(values: Sequence[float | None], digits: int) -> str:
    known = [value for value in values if value is not None]
    return f"{np.mean(known):.{digits}f} ± {np.std(known):.{digits}f}" if known else "-"
