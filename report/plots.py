"""The report's plots: each a function that draws on an empty matplotlib Figure and knows no file."""

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from model.measures.experiment_files import Followed
from pipeline.errors import RawmsaError
from pipeline.tables import MODALITIES, SPLITS
from report.facts import Row, Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

T = TypeVar("T")
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
    "text.parse_math": False,  # a $ in a transcript or an id is one
}
EPOCHS_SHOWN = 6
COLOURS_CYCLED, LINES = 10, ("-", ":")  # of many lines: matplotlib's colours, then again with another line
LEGEND_COLUMNS = 4
NEARNESS_SHOWN = 3  # times the MAE of u = m; u-labels without a clamp reach thousands
CENTRES = 11  # bins of a label histogram, one around either end of the range and one around 0
FINE_CENTRES = 31


@dataclass(frozen=True)
class Plot:
    """A PNG and its name beside index.html."""

    file: str
    caption: str
    content: bytes


def plot(name: str, caption: str, draw: Callable[["Figure"], None], height: float, width: float = WIDTH) -> Plot:
    return Plot(f"{name}.png", caption, png(draw, height, width))


def png(draw: Callable[["Figure"], None], height: float, width: float = WIDTH) -> bytes:
    """The picture that `draw` makes, of so many inches; the same bytes for the same data."""
    from matplotlib import style
    from matplotlib.figure import Figure

    with style.context(["default", STYLE]):  # not a user's matplotlibrc
        figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
        draw(figure)
        out = io.BytesIO()
        figure.savefig(out, format="png", metadata={"Software": None})
    return out.getvalue()


def window(draw: Callable[["Figure"], None], height: float, width: float) -> None:
    """The same picture on screen, until the window is closed. Raises RawmsaError where there is no screen."""
    from matplotlib import pyplot, style
    from matplotlib.backends import BackendFilter, backend_registry

    backend = pyplot.get_backend()  # the best that works here
    if backend.lower() not in backend_registry.list_builtin(BackendFilter.INTERACTIVE):
        raise RawmsaError(
            f"Found no screen to open a window on (matplotlib's backend is {backend}), expected one as with DISPLAY or "
            "MPLBACKEND=qtagg. Open the PNG instead."
        )
    with style.context(["default", STYLE]):
        draw(pyplot.figure(figsize=(width, height), layout="constrained"))
        pyplot.show()


def curves(figure: "Figure", runs: Sequence[Run]) -> None:
    """Loss of the training and validation split and validation MAE over the epochs, a thin line a seed."""
    losses, errors = figure.subplots(1, 2)
    for run in runs:
        epochs = run.curves["epoch"]
        losses.plot(epochs, run.curves["train_loss"], color=COLOURS["train"])
        losses.plot(epochs, run.curves["valid_loss"], color=COLOURS["valid"])
        errors.plot(epochs, run.curves["valid_mae"], color=COLOURS["valid"])
        best = epochs == run.record.best_epoch
        errors.plot(epochs[best], run.curves["valid_mae"][best], "o", markersize=5, color=COLOURS["valid"])
    for split, word in (("train", "training"), ("valid", "validation")):
        losses.plot([], [], color=COLOURS[split], linewidth=2, label=word)
    losses.legend()
    losses.set_ylabel("loss")
    errors.set_ylabel("validation MAE (dot: the epoch kept)")
    _by_epoch((losses, errors))


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


def ulabels(figure: "Figure", epochs: Mapping[int, Mapping[str, np.ndarray]], edges: Sequence[float]) -> None:
    """The distribution of each modality's u-labels, a row a modality, a column an epoch; epochs: clips by bin."""
    kept = sorted(epochs)
    modalities = list(epochs[kept[0]])
    panels = figure.subplots(len(modalities), len(kept), sharex=True, sharey="row", squeeze=False)
    for row, modality in zip(panels, modalities, strict=True):
        for axes, epoch in zip(row, kept, strict=True):
            axes.hist(edges[:-1], edges, weights=epochs[epoch][modality], color=COLOURS[modality])
        row[0].set_ylabel(modality)
    for axes, epoch in zip(panels[0], kept, strict=True):
        axes.set_title(f"epoch {epoch}")


def counted(values: np.ndarray, label_range: tuple[float, float]) -> np.ndarray:
    """How many u-labels lie in each bin of `fine_edges`; those beyond the range in the outermost."""
    return np.histogram(np.clip(values, *label_range), fine_edges(label_range))[0]


def fine_edges(label_range: tuple[float, float]) -> list[float]:
    return _edges(label_range, FINE_CENTRES)


def nearness(figure: "Figure", entries: Sequence[Followed], modalities: Sequence[str]) -> None:
    """MAE and correlation of the u-labels with the true labels by epoch, a line a row; dashed: the control u = m.

    modalities: those with true labels.
    """
    panels = figure.subplots(2, len(modalities), sharex=True, squeeze=False)
    for row, (measure, word) in zip(panels, (("mae", "MAE"), ("corr", "correlation")), strict=True):
        for axes, modality in zip(row, modalities, strict=True):
            for index, entry in enumerate(entries):
                style = {"color": f"C{index}", "linestyle": LINES[index // COLOURS_CYCLED % len(LINES)]}
                axes.plot(*_line(entry, modality, measure), **style, label=entry.label)
            control = next(entry for entry in entries if not np.isnan(_line(entry, modality, "control_mae")[1]).all())
            axes.plot(*_line(control, modality, f"control_{measure}"), "--", color=INK, label="u = m")
            if measure == "mae":
                highest = np.nanmax(_line(control, modality, "control_mae")[1])
                axes.set_ylim(top=min(axes.get_ylim()[1], NEARNESS_SHOWN * highest))
        row[0].set_ylabel(word)
    for axes, modality in zip(panels[0], modalities, strict=True):
        axes.set_title(modality)
    _by_epoch(panels[-1])
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=LEGEND_COLUMNS)


def shifts(figure: "Figure", entry: Followed, modalities: Sequence[str]) -> None:
    """How far the new u-labels of an epoch and their average lie from the m-labels, and from those of the epoch before."""
    panels = figure.subplots(2, len(modalities), sharey="row", squeeze=False)
    for row, (measure, told) in zip(panels, (("shift", "mean |u - m|"), ("change", "mean change of u")), strict=True):
        for axes, modality in zip(row, modalities, strict=True):
            axes.plot(*_line(entry, modality, f"raw_{measure}"), color=INK, linewidth=0.8, label="new value")
            axes.plot(*_line(entry, modality, measure), color=COLOURS[modality], linewidth=1.6, label="average")
        row[0].set_ylabel(told)
    for axes, modality in zip(panels[0], modalities, strict=True):
        axes.set_title(modality)
        axes.legend()
    _by_epoch(panels[-1])


def _line(entry: Followed, modality: str, measure: str) -> tuple[list[int], list[float]]:
    """Epochs and values; a gap where the value is not defined."""
    found = [(epoch.epoch, epoch.figures.get(modality, {}).get(measure)) for epoch in entry.epochs]
    return [epoch for epoch, _ in found], [np.nan if value is None else value for _, value in found]


def _by_epoch(panels: Iterable["Axes"]) -> None:
    for axes in panels:
        axes.set_xlabel("epoch")
        axes.locator_params(axis="x", integer=True)


def spread(values: Sequence[T], count: int) -> list[T]:
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
