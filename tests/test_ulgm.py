"""ULGM against the paper's equations (1)-(9) and Algorithm 1, worked by hand."""

import math
from dataclasses import replace

import pytest
import torch

from model.batch import Batch
from model.ulgm import Ulgm, alpha, centre, momentum, shifted

RANGE = (-3.0, 3.0)


def batch(ids: str, labels: list[float], audio: list[int] | None = None) -> Batch:
    lengths = {"text": torch.ones(len(ids)), "audio": torch.tensor(audio or [1] * len(ids))}
    return Batch(tuple(ids), torch.tensor(labels), inputs={}, lengths=lengths)


def made(modalities: tuple[str, ...] = ("text", "audio")) -> Ulgm:
    return Ulgm(modalities, RANGE, min_alpha=0.05)


def features(**values: list[list[float]]) -> dict[str, torch.Tensor]:
    return {branch: torch.tensor(x) for branch, x in values.items()}


def test_centres_are_the_means_of_their_class():
    stored = torch.tensor([[1.0, 0.0], [3.0, 2.0], [-5.0, 7.0], [9.0, 9.0]])
    labels = torch.tensor([1.0, 2.0, -1.0, 0.0])  # 0 belongs to neither class
    nowhere = torch.zeros(2)
    assert centre(stored, labels > 0, nowhere).tolist() == [2.0, 1.0]
    assert centre(stored, labels < 0, nowhere).tolist() == [-5.0, 7.0]


def test_a_class_without_members_keeps_its_centre():
    previous = torch.tensor([4.0, 5.0])
    assert centre(torch.ones(3, 2), torch.zeros(3, dtype=torch.bool), previous).tolist() == [4.0, 5.0]


def test_alpha_by_hand():
    positive, negative = torch.tensor([0.0, 0.0]), torch.tensor([6.0, 8.0])
    # distances 5 and 5 halfway; 2.5 and 7.5 nearer to the positive centre; each over sqrt(2)
    found = alpha(torch.tensor([[3.0, 4.0], [1.5, 2.0]]), positive, negative)
    assert found.tolist() == pytest.approx([0.0, (7.5 - 2.5) / 2.5])


def test_alpha_is_finite_on_the_centre_itself():
    same = torch.tensor([1.0, 1.0])
    assert torch.isfinite(alpha(same[None], same, same + 1)).all()
    assert alpha(same[None], same, same).tolist() == [0.0]


def test_equation_8_by_hand():
    # y_m = 1, alpha_s = .6, alpha_m = .5: (6) 1.2, (7) 1.1, their mean 1.15; also y_m + (alpha_s-alpha_m)/2 (y_m+alpha_m)/alpha_m
    found = shifted(torch.tensor([1.0]), torch.tensor([0.6]), torch.tensor([0.5]), RANGE, 0.05)
    assert found.item() == pytest.approx(1.15)
    assert found.item() == pytest.approx(1 + 0.1 / 2 * (1 + 0.5) / 0.5)


def test_a_neutral_m_label_still_moves():
    found = shifted(torch.tensor([0.0]), torch.tensor([0.6]), torch.tensor([0.2]), RANGE, 0.05)
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
    found = shifted(torch.tensor([m_label]), torch.tensor([alpha_s]), torch.tensor([alpha_m]), RANGE, 0.05)
    assert found.item() == pytest.approx(expected)


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
