"""The report's plots: each a function that draws on an empty matplotlib Figure and knows no file."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline.report.facts import Row, Run
from pipeline.tables import MODALITIES, SPLITS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH = 8.6  # inches
DPI = 130
COLOURS = {
    "train": "#4c78c8", "valid": "#e08a2e", "test": "#3f9c6b",
    "text": "#4c78c8", "audio": "#e08a2e", "vision": "#3f9c6b",
}  # fmt: skip
FUSION = "#8a63c4"
INK, FAINT = "#1d2430", "#d8dde6"
STYLE: dict[Any, Any] = {
    **dict.fromkeys(("text.color", "axes.labelcolor", "xtick.labelcolor", "ytick.labelcolor"), INK),
    **dict.fromkeys(("axes.edgecolor", "grid.color"), FAINT),
    **dict.fromkeys(("axes.spines.top", "axes.spines.right", "legend.frameon"), False),
    **dict.fromkeys(("xtick.major.size", "ytick.major.size"), 0),
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.titlesize": 9,
    "font.family": "DejaVu Sans",  # matplotlib's own: the same on every machine
    "font.size": 8.5,
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.0,
}
EPOCHS_SHOWN = 6
CENTRES = 11  # bins of a label histogram, one around either end of the range and one around 0
FINE_CENTRES = 31


@dataclass(frozen=True)
class Plot:
    """A PNG and its name beside index.html."""

    file: str
    caption: str
    content: bytes


def plot(name: str, caption: str, draw: Callable[["Figure"], None], height: float) -> Plot:
    return Plot(f"{name}.png", caption, png(draw, height))


def png(draw: Callable[["Figure"], None], height: float) -> bytes:
    """The picture that `draw` makes, `height` inches high; the same bytes for the same data."""
    from matplotlib import style
    from matplotlib.figure import Figure

    with style.context(["default", STYLE]):  # not a user's matplotlibrc
        figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")
        draw(figure)
        out = io.BytesIO()
        figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def curves(figure: "Figure", runs: Sequence[Run]) -> None:
    """Loss of the training and validation split and validation MAE over the epochs, a thin line a seed."""
    losses, errors = figure.subplots(1, 2)
    for run in runs:
        epochs = run.curves["epoch"]
        losses.plot(epochs, run.curves["train_loss"], color=COLOURS["train"])
        losses.plot(epochs, run.curves["valid_loss"], color=COLOURS["valid"])
        errors.plot(epochs, run.curves["valid_mae"], color=COLOURS["valid"])
        best = epochs == run.record["best_epoch"]
        errors.plot(epochs[best], run.curves["valid_mae"][best], "o", markersize=5, color=COLOURS["valid"])
    for split, word in (("train", "training"), ("valid", "validation")):
        losses.plot([], [], color=COLOURS[split], linewidth=2, label=word)
    losses.legend()
    _name(losses, "epoch", "loss")
    _name(errors, "epoch", "validation MAE (dot: the epoch kept)")
    for axes in (losses, errors):
        axes.xaxis.get_major_locator().set_params(integer=True)


def predicted(figure: "Figure", rows: Sequence[Row], label_range: tuple[float, float]) -> None:
    """Prediction against label, and each unimodal output against it; the diagonal is a perfect prediction.

    rows: those of predictions.parquet, all with a label.
    """
    heads = ["prediction", *(name for name in MODALITIES if any(row[name] is not None for row in rows))]
    low, high = label_range
    margin = (high - low) / 20
    for axes, head in zip(figure.subplots(1, 4), ("prediction", *MODALITIES), strict=True):
        axes.set_visible(head in heads)
        known = [row for row in rows if row[head] is not None]
        axes.plot(label_range, label_range, color="grey", linewidth=0.8)
        axes.scatter(
            [row["label"] for row in known],
            [row[head] for row in known],
            s=14,
            alpha=0.55,
            linewidths=0,
            color=COLOURS.get(head, FUSION),
        )
        axes.set_xlim(low - margin, high + margin)
        _name(axes, "label", head)


def labels(figure: "Figure", by_split: dict[str, np.ndarray], label_range: tuple[float, float]) -> None:
    """How many clips of each split have which label."""
    axes = figure.subplots()
    edges = _edges(label_range, CENTRES)
    splits = [split for split in SPLITS if split in by_split]
    axes.hist(
        [np.clip(by_split[split], *label_range) for split in splits],
        edges,
        color=[COLOURS[split] for split in splits],
        label=splits,
        rwidth=0.85,
    )
    axes.legend()
    _name(axes, "label", "clips")


def ulabels(figure: "Figure", epochs: dict[int, dict[str, np.ndarray]], label_range: tuple[float, float]) -> None:
    """The distribution of each modality's u-labels, a row a modality, a column an epoch."""
    kept = sorted(epochs)
    modalities = list(epochs[kept[0]])
    panels = figure.subplots(len(modalities), len(kept), sharex=True, sharey="row", squeeze=False)
    edges = _edges(label_range, FINE_CENTRES)
    for row, modality in zip(panels, modalities, strict=True):
        for axes, epoch in zip(row, kept, strict=True):
            axes.hist(np.clip(epochs[epoch][modality], *label_range), edges, color=COLOURS[modality])
        row[0].set_ylabel(modality)
    for axes, epoch in zip(panels[0], kept, strict=True):
        axes.set_title(f"epoch {epoch}")


def spread(values: Sequence[int], count: int) -> list[int]:
    """At most `count` of them, evenly, with the first and the last."""
    chosen = np.linspace(0, len(values) - 1, min(count, len(values))).round().astype(int)
    return [values[index] for index in chosen]


def _edges(label_range: tuple[float, float], centres: int) -> list[float]:
    """Bins centred on evenly spread labels, so that labels in steps do not fall on an edge."""
    low, high = label_range
    half = (high - low) / (centres - 1) / 2
    return np.linspace(low - half, high + half, centres + 1).tolist()


def _name(axes: "Axes", x: str, y: str) -> None:
    axes.set_xlabel(x)
    axes.set_ylabel(y)
