"""TFN's outer product, LMF's contraction of it, and the tasks that MTFN and MLMF add."""

from dataclasses import replace

import pytest
import torch

from model.networks import multitask
from model.networks.tfn import product, with_one
from model.records import Branch, Output
from tests import networks


def test_the_product_holds_every_unimodal_bimodal_and_trimodal_term():
    text, audio, vision = torch.tensor([[2.0, 3.0]]), torch.tensor([[5.0]]), torch.tensor([[7.0, 11.0]])
    tensor = product([text, audio, vision]).reshape(3, 2, 3)
    assert tensor[0, 0, 0] == 1
    assert tensor[1:, 0, 0].tolist() == [2, 3] and tensor[0, 1, 0] == 5 and tensor[0, 0, 1:].tolist() == [7, 11]
    assert tensor[2, 1, 0] == 15 and tensor[1, 0, 2] == 22 and tensor[2, 1, 2] == 165


@pytest.mark.parametrize("label_range", [(-3.0, 3.0), (-1.0, 1.0), (0.0, 10.0)])
def test_tfns_output_is_a_sigmoid_over_the_label_range(label_range: tuple[float, float]):
    net = networks.network("tfn")
    net.range = label_range
    low, high = label_range
    for bias, expected in ((-50.0, low), (0.0, (low + high) / 2), (50.0, high)):
        torch.nn.init.zeros_(net.predict.weight)
        torch.nn.init.constant_(net.predict.bias, bias)
        prediction = net(networks.clips("tfn").batch([0, 1]))["fusion"].prediction
        assert prediction.tolist() == pytest.approx([expected] * 2)


def test_frames_are_averaged_over_the_real_ones():
    net, batch = networks.network("tfn"), networks.clips("tfn").batch([0, 3])
    length = int(batch.lengths["audio"][1])
    layers = net.encoders["audio"].layers
    expected = layers(batch.inputs["audio"][1, :length].mean(0))
    torch.testing.assert_close(net.embed(batch)["audio"][1], expected)


def test_lmf_is_tfns_product_contracted_with_the_rank_factors():
    net, batch = networks.network("lmf"), networks.clips("lmf").batch(range(5))
    z = net.embed(batch)
    weights = torch.einsum(
        "ir,jr,kr,r->ijk", *(net.factors[m] for m in z), net.sum.weight[0]
    )  # (4), summed over the rank
    expected = product(list(z.values())) @ weights.flatten() + net.sum.bias
    torch.testing.assert_close(net(batch)["fusion"].prediction, expected)


def test_lmf_without_a_modality_has_the_factor_of_1_alone():
    net, batch = networks.network("lmf"), networks.clips("lmf", absent=[(0, "audio")]).batch([0])
    z = net.embed(batch)
    assert not z["audio"].any()
    projected = with_one(z["text"]) @ net.factors["text"] * net.factors["audio"][0]
    torch.testing.assert_close(
        net(batch)["fusion"].feature, projected * (with_one(z["vision"]) @ net.factors["vision"])
    )


def test_lmfs_factors_are_a_group_of_their_own():
    net = networks.network("lmf")
    assert [p.shape[1] for p in net.parameter_groups()["factors"]] == [3, 3, 3]


@pytest.mark.parametrize("name", ["mtfn", "mlmf"])
def test_unimodal_tasks_learn_human_labels(name: str):
    net, batch = networks.network(name), networks.clips(name, absent=[(5, "audio")]).batch([0, 1])
    nan = float("nan")
    human = {"text": torch.tensor([1.0, nan]), "audio": torch.tensor([0.0, 2.0]), "vision": torch.tensor([nan, nan])}
    batch = replace(batch, unimodal=human, labels=torch.tensor([1.0, -1.0]))
    parts = {"fusion": [2.0, 0.0], "text": [3.0, 9.0], "audio": [0.5, 9.0], "vision": [9.0, 9.0]}
    output = Output({branch: Branch(torch.zeros(2, 1), torch.tensor(values)) for branch, values in parts.items()})
    terms = net.loss(output, batch)
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(
        {"fusion": 0.6 * 1.0, "text": 0.4 * 2.0 / 2, "audio": 0.3 * 0.5 / 2, "vision": 0.0}
    )
    assert net(batch)["audio"].prediction[1] == 0  # the clip has none


def test_a_head_has_three_layers():
    head = multitask.Head(4, 3, 0.0)
    assert [layer.out_features for layer in [*head.layers, head.predict] if hasattr(layer, "out_features")] == [3, 3, 1]
