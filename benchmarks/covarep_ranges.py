"""The ranges plot of benchmarks/covarep.py: a CMU-MOSI clip's features, ours of other real speech, and COVAREP's of the same.

Voiced frames; each column is scaled so that the MOSI clip's 5th to 95th percentile is 0 to 1. A column that is
constant there is left out.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.covarep_agreement import ENDS, VUV, read
from pipeline.audio.covarep import analysis, layout

PERCENTILES = (5, 25, 50, 75, 95)
COLOURS = ("C7", "C0", "C1")
ROWS = (range(11), range(11, 36), range(36, 61), range(61, 74))  # the voice's, MCEP, HMPDM, HMPDD


def run(mosi: Path, folder: Path, picture: Path) -> None:
    from matplotlib.figure import Figure

    sounds = sorted(folder.glob("*.wav"))
    spread = {
        "a CMU-MOSI clip": _spread([np.load(mosi)["features"]]),
        "other speech, ours": _spread([analysis.analyse(read(file)).x for file in sounds]),
        "the same, COVAREP's": _spread([np.load(file.with_suffix(".npz"))["features"] for file in sounds]),
    }
    low, _, _, _, high = spread["a CMU-MOSI clip"]
    figure = Figure(figsize=(12, 11), layout="constrained")
    for axes, columns in zip(figure.subplots(len(ROWS), 1), ROWS, strict=True):
        kept = [column for column in columns if high[column] - low[column] > 1e-6]
        for place, (name, values) in enumerate(spread.items()):
            scaled = (values[:, kept] - low[kept]) / (high - low)[kept]
            at, colour = np.arange(len(kept)) + 0.25 * (place - 1), COLOURS[place]
            axes.vlines(at, scaled[0], scaled[-1], colour, linewidth=1.5)
            axes.vlines(at, scaled[1], scaled[-2], colour, linewidth=5, label=name)
            axes.plot(at, scaled[2], "_", color="white", markersize=5)
        names = [layout.NAMES[column] for column in kept]
        axes.set_xticks(range(len(kept)), names, rotation=90 if len(kept) > 13 else 0, fontsize=8)
        axes.set(ylim=(-1, 2), ylabel="share of MOSI's range")
        axes.grid(axis="y", alpha=0.3)
    figure.axes[0].legend(title="5 to 95 %, 25 to 75 %, median", loc="upper left", fontsize=8, title_fontsize=8)
    figure.savefig(picture, dpi=90, metadata={"Software": None})
    print(f"wrote {picture}")


def _spread(clips: Sequence[np.ndarray]) -> np.ndarray:
    """(5, 74) percentiles over the voiced frames."""
    x = np.concatenate([clip[ENDS:-ENDS] for clip in clips])
    return np.percentile(x[x[:, VUV] > 0.5], PERCENTILES, axis=0)
