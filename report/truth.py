"""How near the u-labels come to true unimodal labels, beside the control u = m; and how they settle.

Reads `ulabels` of an experiment's record: by row and epoch, over the train clips, the mean over the seeds that reached
the epoch.
"""

from collections.abc import Iterator, Sequence
from functools import partial

from model.measures.experiment_files import AnyExperiment, Comparison, Followed, Nearness
from model.measures.metrics import Scores
from pipeline.tables import MODALITIES
from report import plots
from report.plots import Plot
from report.tables import Table, rounded

EPOCHS_SHOWN = 4  # in the table, of the reference row; of the others the last epoch alone
SHIFTS = {"Shift, new": "raw_shift", "Shift, average": "shift"}
MEASURES = {
    "MAE": "mae",
    "MAE of u = m": "control_mae",
    "Corr": "corr",
    "Corr of u = m": "control_corr",
    "Corr of offsets": "offset_corr",
}
SHIFT_NOTE = (
    "Train clips, means over the seeds that reached the epoch. Shift: mean |u - m| of the values that the epoch made, and "
    "of their average (equation 9), which settles by its weights alone."
)
TRUTH_NOTE = (
    "MAE and Corr: u-labels against true unimodal labels (label_T, label_A, label_V: people's, or the demo's own); u = m: the m-label in their "
    "place, the control. Corr of offsets: u - m with true label - m. Nearer: by MAE."
)


def followed(record: AnyExperiment) -> list[Followed]:
    """The rows whose u-labels are known, the reference row first."""
    if not isinstance(record, Comparison):
        return []
    entries = [entry for entry in record.ulabels if known(entry)]
    return sorted(entries, key=lambda entry: entry.label != record.reference)


def known(entry: Followed) -> list[str]:
    """The modalities that an entry has u-labels of."""
    return [name for name in MODALITIES if any(name in epoch.figures for epoch in entry.epochs)]


def last_common(entry: Followed) -> Nearness:
    """The last epoch that every seed reached."""
    most = max(epoch.seeds for epoch in entry.epochs)
    return [epoch for epoch in entry.epochs if epoch.seeds == most][-1]


def table(entries: Sequence[Followed], caption: str) -> Table:
    """A line a row, epoch and modality: of the first row some epochs, of the others the last common epoch."""
    told = any(_has_truth(entry) for entry in entries)
    measures = {**MEASURES, **SHIFTS} if told else SHIFTS
    lines = [
        (
            entry.label,
            str(epoch.epoch),
            str(epoch.seeds),
            modality,
            *(_cell(name, epoch.figures[modality].get(name)) for name in measures.values()),
            *([_nearer(epoch.figures[modality])] if told else []),
        )
        for entry in entries
        for epoch in _chosen(entry, EPOCHS_SHOWN if entry is entries[0] else 1)
        for modality in known(entry)
        if modality in epoch.figures
    ]
    header = ("Row", "Epoch", "Seeds", "Modality", *measures, *(["Nearer"] if told else []))
    what = "u-labels against true labels" if told else "shift of the u-labels"
    return Table(f"{caption}: {what}", header, lines, f"{SHIFT_NOTE} {TRUTH_NOTE}" if told else SHIFT_NOTE)


def _chosen(entry: Followed, count: int) -> list[Nearness]:
    """Epochs spread evenly up to the last common one, which is among them."""
    epochs = entry.epochs[: entry.epochs.index(last_common(entry)) + 1]
    return plots.spread(epochs, count) if count > 1 else epochs[-1:]


def _cell(name: str, value: float | None) -> str:
    return rounded("corr" if "corr" in name else "mae", value) or "-"


def _nearer(found: Scores) -> str:
    return {1: "u-labels", -1: "u = m", 0: "-"}[_winner(found, "mae")]


def _winner(found: Scores, measure: str) -> int:
    """1: the u-labels are nearer to the truth, -1: u = m is, 0: equal or unknown."""
    learnt, control = found.get(measure), found.get(f"control_{measure}")
    if learnt is None or control is None or learnt == control:
        return 0
    return 1 if (learnt < control) == (measure == "mae") else -1


def remarks(entries: Sequence[Followed]) -> Iterator[str]:
    """Who wins, the u-labels or u = m: of the first row, then over all rows."""
    told = [entry for entry in entries if _has_truth(entry)]
    if not told:
        return
    last = last_common(told[0])
    by = "; ".join(f"{word} {_verdict(last, measure)}" for word, measure in (("by MAE", "mae"), ("by Corr", "corr")))
    yield f"{told[0].label}, epoch {last.epoch}, u-labels against true labels: {by}."
    if len(told) > 1:
        ends = [last_common(entry) for entry in told]
        won = [_winner(end.figures[name], "mae") for end in ends for name in MODALITIES if _is_known(end, name)]
        yield f"Over {len(told)} rows u = m is nearer by MAE in {won.count(-1)} of {len(won)} cases (row and modality)."


def _has_truth(entry: Followed) -> bool:
    return any(_is_known(last_common(entry), name) for name in MODALITIES)


def _is_known(epoch: Nearness, modality: str) -> bool:
    """Whether the modality has u-labels and true labels in the epoch."""
    return epoch.figures.get(modality, {}).get("mae") is not None


def _verdict(epoch: Nearness, measure: str) -> str:
    winners = {name: _winner(epoch.figures[name], measure) for name in MODALITIES if _is_known(epoch, name)}
    control = [name for name, winner in winners.items() if winner < 0]
    learnt = [name for name, winner in winners.items() if winner > 0]
    if not control and not learnt:
        return "they are equal"
    if len(control) == len(winners):
        return "u = m wins in every modality"
    if len(learnt) == len(winners):
        return "the u-labels win in every modality"
    parts = [f"u = m wins in {' and '.join(control)}"] if control else []
    parts += [f"the u-labels win in {' and '.join(learnt)}"] if learnt else []
    return ", ".join(parts)


def drawn(entries: Sequence[Followed], stem: str, caption: str) -> Iterator[Plot]:
    """Nearness of all rows; shift of the first."""
    if told := [entry for entry in entries if _has_truth(entry)]:
        modalities = [name for name in MODALITIES if any(_is_known(last_common(entry), name) for entry in told)]
        draw = partial(plots.nearness, entries=told, modalities=modalities)
        height = 4.2 + 0.2 * (len(told) // plots.LEGEND_COLUMNS + 1)
        what = f"u-labels against true labels, by epoch (MAE up to {plots.NEARNESS_SHOWN} times that of u = m)"
        yield plots.plot(f"{stem}-nearness", f"{caption}: {what}", draw, height)
    label, modalities = entries[0].label, known(entries[0])
    what = f"{label}, how far the u-labels lie from the m-labels and from those of the epoch before, the new values and their average"
    draw = partial(plots.shifts, entry=entries[0], modalities=modalities)
    yield plots.plot(f"{stem}-shift", f"{caption}: {what}", draw, 4.2)
