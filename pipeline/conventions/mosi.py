"""CMU-MOSI and CMU-MOSEI: seven classes from -3 to 3; Acc-2 and F1 in two forms, with and without neutral clips.

Source: metricsTop of MMSA, less its rounding.
"""

import numpy as np

from pipeline.conventions import CORR, MAE, Classes, Convention, Measure


def _non_negative(x: np.ndarray) -> np.ndarray:
    return x >= 0


def _positive(x: np.ndarray) -> np.ndarray:
    return x > 0


def _rounded(low: int, high: int) -> Classes:
    """To the nearest whole number within; halves to the even one."""
    return lambda x: np.round(x.clip(low, high))


CONVENTION = Convention(
    label_range=(-3.0, 3.0),
    neutral=0.0,
    measures=(
        MAE,
        CORR,
        Measure(
            "acc2_nonneg",
            "Acc-2",
            "accuracy",
            "First number: negative against non-negative (0 counts as positive), over all clips.",
            _non_negative,
        ),
        Measure(
            "f1_nonneg",
            "F1",
            "f1",
            "First number: weighted F1 of negative against non-negative, over all clips.",
            _non_negative,
        ),
        Measure(
            "acc2_pos",
            "Acc-2",
            "accuracy",
            "Second number: negative against positive, clips labelled 0 left out.",
            _positive,
            neutral_counts=False,
        ),
        Measure(
            "f1_pos",
            "F1",
            "f1",
            "Second number: weighted F1 of negative against positive, clips labelled 0 left out.",
            _positive,
            neutral_counts=False,
        ),
        Measure(
            "acc5",
            "Acc-5",
            "accuracy",
            "Share of clips whose prediction, rounded and clipped to -2 … 2, is the label's class.",
            _rounded(-2, 2),
        ),
        Measure(
            "acc7",
            "Acc-7",
            "accuracy",
            "Share of clips whose prediction, rounded and clipped to -3 … 3, is the label's class.",
            _rounded(-3, 3),
        ),
    ),
    positive=_non_negative,
    note="Acc-2 and F1: negative/non-negative over all clips, then negative/positive with the zeros left out.",
)
