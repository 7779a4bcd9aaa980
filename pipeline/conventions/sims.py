"""CH-SIMS and its second version, in Mandarin: labels from -1 to 1, classes by edges between them.

Source: metricsTop of MMSA, less its rounding.
"""

import numpy as np

from pipeline.conventions import CORR, MAE, Classes, Convention, Measure


def _between(*edges: float) -> Classes:
    """The class between two edges; an edge belongs to the class below it, in float32 too."""
    return lambda x: np.digitize(x, np.array(edges, np.float32), right=True)


ACC2 = _between(0.0)
CONVENTION = Convention(
    label_range=(-1.0, 1.0),
    neutral=0.0,
    measures=(
        Measure("acc2", "Acc-2", "accuracy", "Non-positive (0 among them) against positive, over all clips.", ACC2),
        Measure("f1", "F1", "f1", "Weighted F1 of the classes of Acc-2.", ACC2),
        Measure(
            "acc3",
            "Acc-3",
            "accuracy",
            "Share of clips whose prediction is in the label's class; the classes end at -0.1 and 0.1.",
            _between(-0.1, 0.1),
        ),
        Measure(
            "acc5",
            "Acc-5",
            "accuracy",
            "Share of clips whose prediction is in the label's class; the classes end at -0.7, -0.1, 0.1 and 0.7.",
            _between(-0.7, -0.1, 0.1, 0.7),
        ),
        MAE,
        CORR,
    ),
    positive=lambda x: x > 0,
    note="Predictions and labels are clipped to [-1, 1]; Acc-2 and F1: non-positive/positive.",
    clip=(-1.0, 1.0),
    data_sets=r"(ch[-_.]?)?sims(v\d+)?([-_.].*)?",  # CH-SIMS, sims, SIMSv2, sims-mini; not simson
    language="zh",
)
