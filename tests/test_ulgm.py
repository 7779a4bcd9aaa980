"""ULGM against the paper's equations (1)-(9) and Algorithm 1, worked by hand."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import settings as settings_of
from hypothesis import strategies as st

from model.networks.ulgm import Settings, Ulgm, distances, momentum, shifted
from model.networks.ulgm import alpha as alpha_of
from model.records import Batch
from tests import tiny

RANGE = (-3.0, 3.0)


def batch(
    ids: str, labels: list[float], audio: list[int] | None = None, human: Mapping[str, list[float]] | None = None
) -> Batch:
    lengths = {"text": torch.ones(len(ids)), "audio": torch.tensor(audio or [1] * len(ids))}
    unimodal = {modality: torch.tensor(values) for modality, values in (human or {}).items()}
    return Batch(tuple(ids), torch.tensor(labels), unimodal=unimodal, inputs={}, lengths=lengths)


def settings(**changes: Any) -> Settings:
    return {**tiny.ULGM, **changes}


def made(modalities: tuple[str, ...] = ("text", "audio"), **changes: Any) -> Ulgm:
    return Ulgm(modalities, RANGE, settings(**changes))


def alpha(features: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor) -> torch.Tensor:
    return alpha_of(*distances(features, positive, negative), "paper")


def features(**values: list[list[float]]) -> dict[str, torch.Tensor]:
    return {branch: torch.tensor(x) for branch, x in values.items()}


def test_centres_are_the_means_of_their_class():
    ulgm = made(("text",))
    labels = [1.0, 2.0, -1.0, 0.0]  # 0 belongs to neither class
    stored = [[1.0, 0.0], [3.0, 2.0], [-5.0, 7.0], [9.0, 9.0]]
    ulgm.update(features(fusion=stored, text=stored), batch("abcd", labels), epoch=1)
    # the centres are (2, 1) and (-5, 7); of the clip a at (2, 1) by now D^p is 0 and D^n sqrt(85 / 2)
    ulgm.update(features(fusion=[[2.0, 1.0]], text=[[2.0, 1.0]]), batch("a", [1.0]), epoch=2)
    told = ulgm.table().to_pylist()[0]
    assert (told["positive_fusion"], told["negative_fusion"]) == pytest.approx((0.0, math.sqrt(85 / 2)))


def test_a_class_without_members_keeps_its_centre():
    ulgm = made(("text",))
    ulgm.update(features(fusion=[[4.0, 5.0]], text=[[4.0, 5.0]]), batch("a", [1.0]), epoch=1)
    ulgm.update(features(fusion=[[1.0, 1.0]], text=[[1.0, 1.0]]), batch("a", [1.0]), epoch=2)
    told = ulgm.table().to_pylist()[0]
    assert told["positive_fusion"] == pytest.approx(5 / math.sqrt(2))  # from (4, 5) to (1, 1)
    assert told["negative_fusion"] == pytest.approx(1.0)  # the negative class has had none: 0


@given(st.integers(0, 2**32 - 1), st.sampled_from(sorted(tiny.PRESETS)))
@settings_of(max_examples=25, deadline=None)
@pytest.mark.slow
def test_centres_kept_as_sums_are_those_of_all_clips(seed: int, preset: str):
    """Distances after many epochs, beside those to the means of all stored features, by hand and in float64."""
    rng = np.random.default_rng(seed)
    rules = tiny.preset(preset).architecture["ulgm"]
    ulgm = Ulgm(("text", "audio"), RANGE, rules)
    ids = "abcdefghijklmnop"
    m_labels = dict(zip(ids, rng.integers(-3, 4, len(ids)).astype(np.float32).tolist(), strict=True))
    audio = dict(zip(ids, rng.integers(0, 2, len(ids)).tolist(), strict=True))
    stored: dict[str, dict[str, np.ndarray]] = {branch: {} for branch in ("fusion", "text", "audio")}
    zeros_too = rules["zeros"] == "positive"
    for epoch in range(1, 30):
        drawn = rng.permutation(list(ids)).tolist()
        for clips in (drawn[:5], drawn[5:10], drawn[10:]):
            found = {b: rng.normal(rng.normal(0, 3), 1, (len(clips), 6)).astype(np.float32) for b in stored}
            u_labels = {row["id"]: row for row in ulgm.table().to_pylist()} if epoch > 1 else {}
            told = batch("".join(clips), [m_labels[c] for c in clips], audio=[audio[c] for c in clips])
            ulgm.update({b: torch.from_numpy(x) for b, x in found.items()}, told, epoch)
            after = {row["id"]: row for row in ulgm.table().to_pylist()}
            for branch, x in found.items():
                for sign, name in ((1, "positive"), (-1, "negative")):
                    label = {c: m_labels[c] if branch == "fusion" else row[branch] for c, row in u_labels.items()}
                    there = [c for c in label if branch != "audio" or audio[c]]
                    members = [c for c in there if sign * label[c] > 0 or (label[c] == 0 and zeros_too and sign > 0)]
                    if not members:
                        continue
                    centre = np.mean([stored[branch][c] for c in members], axis=0, dtype=np.float64)
                    for place, clip in enumerate(clips):
                        if clip in there:
                            expected = np.linalg.norm(x[place] - centre) / math.sqrt(6)
                            assert after[clip][f"{name}_{branch}"] == pytest.approx(expected, rel=1e-6, abs=1e-6)
                stored[branch].update(zip(clips, x, strict=True))


def test_distances_by_hand():
    positive, negative = torch.zeros(4), torch.tensor([2.0, 0.0, 0.0, 0.0])
    found = distances(torch.tensor([[1.0, 1.0, 1.0, 1.0], [5.0, 0.0, 4.0, 0.0]]), positive, negative)
    # each over sqrt(4): |(1,1,1,1)| = 2 and |(-1,1,1,1)| = 2; |(5,0,4,0)| = sqrt(41) and |(3,0,4,0)| = 5
    assert found[0].tolist() == pytest.approx([1.0, math.sqrt(41) / 2])
    assert found[1].tolist() == pytest.approx([1.0, 2.5])


def test_alpha_by_hand():
    positive, negative = torch.tensor([0.0, 0.0]), torch.tensor([6.0, 8.0])
    # distances 5 and 5 halfway; 2.5 and 7.5 nearer to the positive centre; each over sqrt(2)
    found = alpha(torch.tensor([[3.0, 4.0], [1.5, 2.0]]), positive, negative)
    assert found.tolist() == pytest.approx([0.0, (7.5 - 2.5) / 2.5])


def test_alpha_is_finite_on_the_centre_itself():
    same = torch.tensor([1.0, 1.0])
    assert torch.isfinite(alpha(same[None], same, same + 1)).all()
    assert alpha(same[None], same, same).tolist() == [0.0]


def test_symmetric_alpha_by_hand():
    positive, negative = torch.tensor([1.0, 3.0, 0.0, 0.0]), torch.tensor([3.0, 1.0, 2.0, 0.0])
    assert alpha_of(positive, negative, "symmetric").tolist() == pytest.approx([0.5, -0.5, 1.0, 0.0])
    assert alpha_of(positive, negative, "paper").tolist() == pytest.approx([2.0, -2 / 3, 2e8, 0.0])


def moved(m_label: float, alpha_s: float, alpha_m: float, **changes: Any) -> float:
    """The new u-label of one clip."""
    one = (torch.tensor([x]) for x in (m_label, alpha_s, alpha_m))
    return shifted(*one, RANGE, settings(**changes)).item()


def test_equation_8_by_hand():
    # y_m = 1, alpha_s = .6, alpha_m = .5: (6) 1.2, (7) 1.1, their mean 1.15; also y_m + (alpha_s-alpha_m)/2 (y_m+alpha_m)/alpha_m
    found = shifted(torch.tensor([1.0]), torch.tensor([0.6]), torch.tensor([0.5]), RANGE, settings())
    assert found.item() == pytest.approx(1.15)
    assert found.item() == pytest.approx(1 + 0.1 / 2 * (1 + 0.5) / 0.5)


def test_a_neutral_m_label_still_moves():
    found = shifted(torch.tensor([0.0]), torch.tensor([0.6]), torch.tensor([0.2]), RANGE, settings())
    assert found.item() == pytest.approx(0.2)  # (6) gives 0, (7) .4


@pytest.mark.parametrize(
    ("m_label", "alpha_s", "alpha_m", "expected"),
    [
        (1.0, 0.5, 0.04, 1.46),  # alpha_m near zero: (7) alone
        (1.0, 0.5, 0.0, 1.5),
        (1.0, 0.3, -0.4, 1.7),  # alpha_m and the m-label of opposite signs: (7) alone
        (-1.0, -0.3, 0.4, -1.7),
        (2.5, 9.0, 0.5, 3.0),  # clamped to the label range
        (-2.5, -9.0, -0.5, -3.0),
    ],
)
def test_guards(m_label: float, alpha_s: float, alpha_m: float, expected: float):
    found = shifted(torch.tensor([m_label]), torch.tensor([alpha_s]), torch.tensor([alpha_m]), RANGE, settings())
    assert found.item() == pytest.approx(expected)


RELEASED: dict[str, Any] = {"min_alpha": None, "ratio_epsilon": 1e-8}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 1.15),
        ({"equations": "ratio"}, 1.2),  # .6 * 1 / .5
        ({"equations": "difference"}, 1.1),  # 1 + .6 - .5
        ({"min_alpha": 0.5}, 1.15),  # |alpha_m| is not below it
        ({"min_alpha": 0.51}, 1.1),
        ({"min_alpha": 0.51, "equations": "ratio"}, 1.1),  # where (6) is meaningless (7) stands for it
        (RELEASED, 1.15),
    ],
)
def test_equations_6_and_7_alone_and_the_offset_by_hand(changes: dict[str, Any], expected: float):
    assert moved(1.0, 0.6, 0.5, **changes) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("m_label", "alpha_s", "alpha_m", "expected"),
    [
        (1.0, 0.5, 0.04, (0.5 / 0.04 + 1.46) / 2),  # no guard: (6) counts however small alpha_m is
        (1.0, 0.3, -0.4, (-0.75 + 1.7) / 2),  # or of whatever sign
        (1.0, 0.2, 1e-8, (0.2 / 2e-8 + 1.2) / 2),  # its epsilon doubles this alpha_m
        (1.0, 0.2, 0.0, (0.2 / 1e-8 + 1.2) / 2),
        (1.0, 0.2, -3e-8, (0.2 / -2e-8 + 1.2) / 2),  # and is added whatever the sign
        (1.0, 0.2, -1e-8, 1.2),  # nothing to divide by: (7) alone
    ],
)
def test_the_released_codes_ratio(m_label: float, alpha_s: float, alpha_m: float, expected: float):
    assert moved(m_label, alpha_s, alpha_m, **RELEASED, clamp=False) == pytest.approx(expected, rel=1e-6)
    assert moved(m_label, alpha_s, alpha_m, **RELEASED) == pytest.approx(min(max(expected, -3.0), 3.0))


def test_the_literal_equation_is_neither_guarded_nor_clamped():
    assert moved(1.0, 0.5, 0.001, min_alpha=None, clamp=False) == pytest.approx((500 + 1.499) / 2)
    assert moved(1.0, 0.5, 0.0, min_alpha=None, clamp=False) == pytest.approx(1.5)


def test_the_value_made_in_epoch_i_weighs_2i_over_n_times_n_plus_1():
    n = 6
    for i in range(2, n + 1):
        label = torch.tensor(0.0)
        for epoch in range(2, n + 1):
            label = momentum(label, torch.tensor(float(epoch == i)), epoch)
        assert label.item() == pytest.approx(2 * i / (n * (n + 1)))


def test_u_labels_start_as_the_m_label_and_stay_so_in_epoch_1():
    ulgm, clips = made(), batch("ab", [1.0, -2.0])
    assert ulgm.targets(clips)["text"].tolist() == [1.0, -2.0]
    ulgm.update(features(fusion=[[1.0], [2.0]], text=[[3.0], [4.0]], audio=[[5.0], [6.0]]), clips, epoch=1)
    assert ulgm.targets(clips)["audio"].tolist() == [1.0, -2.0]


def test_epoch_2_by_hand():
    ulgm, clips = made(), batch("ab", [1.0, -2.0])
    first = features(fusion=[[4.0], [0.0]], text=[[8.0], [0.0]], audio=[[2.0], [0.0]])
    ulgm.update(first, clips, epoch=1)  # centres: fusion 4 and 0, text 8 and 0, audio 2 and 0
    second = features(fusion=[[3.0], [1.0]], text=[[5.0], [2.0]], audio=[[1.5], [0.5]])
    ulgm.update(second, clips, epoch=2)
    # clip a: alpha_m = (3-1)/1 = 2, alpha_text = (5-3)/3; (6) alpha/2, (7) 1 + alpha - 2
    text = (2 / 3 / 2 + 1 + 2 / 3 - 2) / 2
    assert ulgm.targets(clips)["text"][0].item() == pytest.approx(1 / 3 * 1.0 + 2 / 3 * text)
    # clip a, audio: alpha = (1.5-.5)/.5 = 2 = alpha_m: no offset
    assert ulgm.targets(clips)["audio"][0].item() == pytest.approx(1.0)


def second_epoch(ulgm: Ulgm) -> Ulgm:
    """Two clips of labels 1 and -2 through two epochs; clip a: alpha_m = 2, alpha_text = 4/3, and by them
    (6) is 2/3, (7) 1/3, their mean .5."""
    clips = batch("ab", [1.0, -2.0])
    ulgm.update(features(fusion=[[4.0], [0.0]], text=[[8.0], [0.0]]), clips, epoch=1)
    ulgm.update(features(fusion=[[3.0], [1.0]], text=[[5.6], [2.0]]), clips, epoch=2)
    return ulgm


def test_the_table_tells_what_made_the_u_labels():
    ulgm, clips = made(("text",)), batch("ab", [1.0, -2.0])
    ulgm.update(features(fusion=[[4.0], [0.0]], text=[[8.0], [0.0]]), clips, epoch=1)
    first = ulgm.table()
    assert first["text"].to_pylist() == [1.0, -2.0]
    noted = [name for name in first.column_names if "_" in name]
    assert len(noted) == 15 and all(first[name].null_count == 2 for name in noted)  # epoch 1 makes none
    second = second_epoch(made(("text",))).table()
    # clip a: fusion 3 lies 1 from 4 and 3 from 0, text 5.6 lies 2.4 from 8 and 5.6 from 0
    row = second.to_pylist()[0]
    told = {"fusion": (1.0, 3.0, 2.0), "text": (2.4, 5.6, 4 / 3)}
    for branch, values in told.items():
        found = [row[f"{name}_{branch}"] for name in ("positive", "negative", "alpha")]
        assert found == pytest.approx(values)
    assert row["raw_text"] == pytest.approx(0.5)
    assert row["text"] == pytest.approx(1 / 3 * 1.0 + 2 / 3 * 0.5)
    assert all(row[f"{name}_audio"] is None for name in ("raw", "alpha", "positive", "negative"))


def test_without_momentum_the_last_value_counts():
    assert second_epoch(made(("text",), momentum=False)).table()["text"][0].as_py() == pytest.approx(0.5)


def test_the_clamp_comes_before_the_momentum():
    ulgm, clips = made(("text",), min_alpha=None), batch("ab", [1.0, -1.0])
    ulgm.update(features(fusion=[[4.0], [0.0]], text=[[8.0], [0.0]]), clips, epoch=1)
    ulgm.update(features(fusion=[[2.5], [0.0]], text=[[7.9], [0.0]]), clips, epoch=2)  # alpha_text is 78
    row = ulgm.table().to_pylist()[0]
    assert row["raw_text"] == 3.0
    assert row["text"] == pytest.approx(1 / 3 * 1.0 + 2 / 3 * 3.0)


@pytest.mark.parametrize(("zeros", "centre_of_positives"), [("neither", 8.0), ("positive", 6.0)])
def test_the_class_of_a_zero_label(zeros: str, centre_of_positives: float):
    ulgm, clips = made(("text",), zeros=zeros), batch("abc", [1.0, -1.0, 0.0])
    seen = features(fusion=[[8.0], [1.0], [4.0]], text=[[8.0], [1.0], [4.0]])
    ulgm.update(seen, clips, epoch=1)
    ulgm.update(seen, clips, epoch=2)
    for branch in ("fusion", "text"):
        assert ulgm.table()[f"positive_{branch}"][1].as_py() == pytest.approx(centre_of_positives - 1)
        assert ulgm.table()[f"negative_{branch}"][2].as_py() == pytest.approx(3.0)


def test_weights_by_hand():
    ulgm, clips = made(("text", "audio")), batch("abc", [1.0, -2.0, 0.5], audio=[1, 0, 1])
    u = {"text": torch.tensor([1.0, -3.0, 2.5]), "audio": torch.tensor([2.0, 0.0, 0.5])}
    found = ulgm.weights(clips, u, training=True)
    assert found["text"].tolist() == pytest.approx([0.0, math.tanh(1.0), math.tanh(2.0)])
    assert found["audio"].tolist() == pytest.approx([math.tanh(1.0), 0.0, 0.0])  # clip b has no audio
    assert not ulgm.weights(clips, u, training=False)["text"].any()  # clips that are not trained on


def test_weights_off():
    clips = batch("abc", [1.0, -2.0, 0.5], audio=[1, 0, 1])
    u = {"audio": torch.tensor([1.0, 1.0, 2.5])}
    assert made(weights=False).weights(clips, u, training=True)["audio"].tolist() == [1.0, 0.0, 1.0]


def test_human_labels_stand_in_the_u_labels_place_and_never_change():
    ulgm = made(labels="human")
    clips = batch("abc", [1.0, -2.0, 0.0], human={"text": [2.0, math.nan, 0.5], "audio": [1.0, 1.0, -1.0]})
    for epoch in (1, 2, 3):
        targets = ulgm.targets(clips)
        assert targets["text"].tolist() == pytest.approx([2.0, math.nan, 0.5], nan_ok=True)
        assert targets["audio"].tolist() == [1.0, 1.0, -1.0]
        weights = ulgm.weights(clips, targets, training=True)  # from the first epoch on
        assert weights["text"].tolist() == pytest.approx([math.tanh(1.0), 0.0, math.tanh(0.5)])
        x = [[8.0], [0.0], [3.0]]
        ulgm.update(features(fusion=x, text=x, audio=x[::-1]), clips, epoch)


def test_epoch_2_uses_centres_from_before_this_batch():
    ulgm = made(("text",))
    ulgm.update(features(fusion=[[4.0], [0.0]], text=[[8.0], [0.0]]), batch("ab", [1.0, -1.0]), epoch=1)
    ulgm.update(features(fusion=[[3.0]], text=[[6.0]]), batch("a", [1.0]), epoch=2)
    assert ulgm.targets(batch("a", [1.0]))["text"].item() == pytest.approx(1.0)  # both alphas are 2


def test_classes_of_a_modality_follow_its_own_u_labels():
    ulgm = made(("text",))
    clips = batch("abc", [1.0, -1.0, 0.2])
    ulgm.update(features(fusion=[[4.0], [0.0], [4.0]], text=[[8.0], [0.0], [0.0]]), clips, epoch=1)
    ulgm.update(features(fusion=[[4.0]], text=[[0.0]]), batch("c", [0.2]), epoch=2)
    assert ulgm.targets(clips)["text"][2].item() < 0  # its text lies with the negatives
    before = ulgm.targets(clips)["text"][0].item()
    ulgm.update(features(fusion=[[3.0]], text=[[6.0]]), batch("a", [1.0]), epoch=2)
    # text centres are now 8 (a alone) and 0 (b and c): alpha_text = alpha_m only if c has left the positives
    assert before == ulgm.targets(clips)["text"][0].item() == pytest.approx(1.0)


def test_an_absent_modality_keeps_out_of_centres_and_gets_no_u_label():
    ulgm = made()
    clips = batch("abc", [1.0, -1.0, 1.0], audio=[1, 1, 0])
    first = features(fusion=[[4.0], [0.0], [4.0]], text=[[4.0], [0.0], [4.0]], audio=[[4.0], [0.0], [100.0]])
    ulgm.update(first, clips, epoch=1)
    ulgm.update(first | features(audio=[[3.0], [1.0], [100.0]], fusion=[[3.0], [1.0], [3.0]]), clips, epoch=2)
    assert ulgm.targets(clips)["audio"].tolist() == pytest.approx([1.0, -1.0, 1.0])  # 100 entered no centre
    assert ulgm.table()["audio"].to_pylist()[2] is None
    assert ulgm.table()["text"].null_count == 0
    assert ulgm.table()["vision"].null_count == 3


def test_u_labels_are_kept_by_clip_id():
    ulgm, clips = made(("text",)), batch("ba", [1.0, -2.0])
    ulgm.update(features(fusion=[[1.0], [2.0]], text=[[3.0], [4.0]]), clips, epoch=1)
    assert ulgm.targets(replace(clips, ids=("a", "b"), labels=torch.zeros(2)))["text"].tolist() == [-2.0, 1.0]
    assert ulgm.table()["id"].to_pylist() == ["a", "b"]


@pytest.mark.parametrize("labels", [[1.0, 2.0], [-1.0, -2.0], [0.0, 0.0], [0.5, 0.5]])
def test_one_class_alone_gives_no_nan(labels: list[float]):
    ulgm, clips = made(), batch("ab", labels)
    for epoch in (1, 2, 3):
        same = [[1.0, 1.0], [1.0, 1.0]]
        ulgm.update(features(fusion=same, text=same, audio=same), clips, epoch)
    assert all(math.isfinite(u) for u in ulgm.targets(clips)["text"].tolist())


Epochs = Sequence[Sequence[Mapping[str, Mapping[str, list[float]]]]]  # epoch -> batch -> clip -> branch -> F*
LABELS = {"a": 2.5, "b": -1.0, "c": 0.0, "d": 0.4, "e": -2.8, "f": 1.2, "g": -0.2}
SILENT = "f"  # the clip without audio
BRANCHES = ("fusion", "text", "audio")


def drawn_epochs() -> Epochs:
    """Features that tell the labels, in batches of three."""
    rng = np.random.default_rng(0)
    epochs = []
    for _ in range(5):
        told = {b: {c: np.abs(rng.normal(y + 3, 1.5, 4)).tolist() for c, y in LABELS.items()} for b in BRANCHES}
        order = rng.permutation(list(LABELS)).tolist()
        batches = [order[start : start + 3] for start in range(0, len(order), 3)]
        epochs.append([{clip: {b: told[b][clip] for b in BRANCHES} for clip in members} for members in batches])
    return epochs


def algorithm_1(epochs: Epochs, s: Settings) -> Iterator[dict[str, dict[str, float]]]:
    """The paper's algorithm clip by clip, in plain numbers: the u-labels after each epoch."""
    y = {branch: dict(LABELS) for branch in BRANCHES}
    stored: dict[str, dict[str, list[float]]] = {branch: {} for branch in BRANCHES}

    def distance(x: list[float], branch: str, positive: bool) -> float:  # (1)-(4)
        labels = {clip: y[branch][clip] for clip in stored[branch]}
        if positive:
            members = [c for c, label in labels.items() if label > 0 or (label == 0 and s["zeros"] == "positive")]
        else:
            members = [c for c, label in labels.items() if label < 0]
        middle = [sum(stored[branch][c][i] for c in members) / len(members) for i in range(len(x))]
        return math.dist(x, middle) / math.sqrt(len(x))

    def alpha_of_clip(x: list[float], branch: str) -> float:  # (5)
        near, far = distance(x, branch, True), distance(x, branch, False)
        return (far - near) / (near + (far if s["alpha"] == "symmetric" else 0) + 1e-8)

    def new(m: float, a_s: float, a_m: float) -> float:  # (6)-(8)
        difference, divisor = m + a_s - a_m, a_m + s["ratio_epsilon"]
        guard = s["min_alpha"]
        if divisor == 0 or (guard is not None and (abs(a_m) < guard or a_m * m < 0)):
            value = difference
        else:
            ratio = a_s * m / divisor
            value = {"both": (ratio + difference) / 2, "ratio": ratio, "difference": difference}[s["equations"]]
        return min(max(value, RANGE[0]), RANGE[1]) if s["clamp"] else value

    for epoch, batches in enumerate(epochs, start=1):
        for members in batches:
            if epoch > 1:
                alphas = {c: {b: alpha_of_clip(x, b) for b, x in seen.items()} for c, seen in members.items()}
                for clip, a in alphas.items():
                    for branch in ("text", "audio")[: 1 if clip == SILENT else 2]:
                        made_now = new(LABELS[clip], a[branch], a["fusion"])
                        kept = (epoch - 1) / (epoch + 1) if s["momentum"] else 0.0  # (9)
                        y[branch][clip] = kept * y[branch][clip] + (1 - kept) * made_now
            for clip, seen in members.items():
                for branch in BRANCHES[: 2 if clip == SILENT else 3]:
                    stored[branch][clip] = seen[branch]
        yield {branch: dict(y[branch]) for branch in ("text", "audio")}


@pytest.mark.parametrize(
    "changes",
    [
        *({**preset["architecture"]["ulgm"]} for preset in tiny.PRESETS.values()),
        {**RELEASED, "zeros": "positive"},
        {"equations": "ratio"},
        {"equations": "difference"},
        {"alpha": "symmetric"},
        {"momentum": False},
    ],
    ids=lambda changes: ",".join(f"{k}={v}" for k, v in changes.items() if tiny.ULGM[k] != v) or "paper",
)
def test_five_epochs_clip_by_clip(changes: dict[str, Any]):
    epochs, ulgm = drawn_epochs(), made(**changes)
    for epoch, expected in enumerate(algorithm_1(epochs, settings(**changes)), start=1):
        for members in epochs[epoch - 1]:
            clips = batch("".join(members), [LABELS[c] for c in members], [int(c != SILENT) for c in members])
            ulgm.update(features(**{b: [seen[b] for seen in members.values()] for b in BRANCHES}), clips, epoch)
        found = {row["id"]: row for row in ulgm.table().to_pylist()}
        for modality, labels in expected.items():
            for clip, value in labels.items():
                if (modality, clip) == ("audio", SILENT):
                    assert found[clip]["audio"] is None
                else:
                    assert found[clip][modality] == pytest.approx(value, rel=1e-4, abs=1e-5), (epoch, modality, clip)
