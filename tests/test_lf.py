"""LF's mean over the modalities that a clip has."""

from dataclasses import replace

import pytest
import torch

from model.networks.lf import mean_over
from model.records import Branch, Output
from tests import networks


def test_the_mean_is_over_present_modalities_and_over_all_where_there_is_none():
    predictions = torch.tensor([[1.0, 2.0, 6.0]]).repeat(4, 1)
    present = torch.tensor([[True, True, True], [True, False, True], [False, True, False], [False, False, False]])
    assert mean_over(predictions, present).tolist() == [3.0, 3.5, 2.0, 3.0]


def test_a_clip_is_judged_by_what_it_has():
    net = networks.network("lf")
    for head, bias in zip(net.heads.values(), (1.0, 2.0, 6.0), strict=True):  # text, audio, vision
        torch.nn.init.zeros_(head.weight)
        torch.nn.init.constant_(head.bias, bias)
    absent = [(5, "audio"), (10, "text"), (10, "vision"), *((15, m) for m in networks.TAV)]  # rows of clips 1, 2, 3
    output = net(networks.clips("lf", absent=absent).batch(range(4)))
    assert output["fusion"].prediction.tolist() == pytest.approx([3.0, 3.5, 2.0, 3.0])
    assert [output[m].prediction[0].item() for m in networks.TAV] == pytest.approx([1.0, 2.0, 6.0])


def test_a_head_is_linear_in_its_modalitys_vector_and_a_lacking_one_has_no_head():
    net, batch = networks.network("lf", without=["audio"]), networks.clips("lf", without=["audio"]).batch([0, 1])
    output = net(batch)
    assert set(output) == {"fusion", "text", "vision"}
    for modality in ("text", "vision"):
        head, (feature, prediction) = net.heads[modality], output[modality]
        torch.testing.assert_close(prediction, feature @ head.weight[0] + head.bias)
    mean = (output["text"].prediction + output["vision"].prediction) / 2
    torch.testing.assert_close(output["fusion"].prediction, mean)


def test_each_modality_learns_the_m_label_by_itself():
    net, batch = networks.network("lf"), networks.clips("lf", absent=[(5, "audio")]).batch([0, 1])
    batch = replace(batch, labels=torch.tensor([1.0, -1.0]))
    parts = {"fusion": [9.0, 9.0], "text": [3.0, 0.0], "audio": [0.5, 9.0], "vision": [1.0, -1.0]}
    output = Output({branch: Branch(torch.zeros(2, 1), torch.tensor(values)) for branch, values in parts.items()})
    terms = {name: term.item() for name, term in net.loss(output, batch).items()}
    assert terms == pytest.approx({"text": (2.0 + 1.0) / 2, "audio": 0.5 / 2, "vision": 0.0})
