"""What every network must do, whatever it is: padding, order, absence, precision, learning, saving."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from model import networks as registry
from model.encoders import vectors
from model.networks import build, find
from model.networks.base import BaseNetwork
from model.records import BRANCHES
from model.settings import DEFAULTS
from model.training.fit import fit, seeded
from model.training.hyper import Hyper, merged, schema
from pipeline import params
from pipeline.errors import ParamsError
from tests import networks, tiny
from tests.networks import BLOCKS, FILES, TAV

CASES = [
    (name, lacking)
    for name in FILES
    for count in range(3)
    for lacking in combinations(TAV, count)
    if not set(lacking) & set(find(name).NEEDS)
]


def predictions(net: BaseNetwork, batch: Any) -> torch.Tensor:
    with torch.no_grad():
        return net.eval()(batch)["fusion"].prediction


def test_every_network_has_a_block_and_a_tiny_size() -> None:
    assert set(FILES) == BLOCKS.keys() == networks.ARCHITECTURES.keys()


@pytest.mark.parametrize("name", FILES)
def test_its_blocks_fit_its_schema_and_build(name: str) -> None:
    wanted = schema(find(name))
    file = BLOCKS[name]
    for preset in file.presets.keys() - {DEFAULTS}:
        for source, blocks in file.values.items():
            for block in blocks.keys() - {DEFAULTS}:
                made = params.check(name, merged(file.block(source, block), file.preset(preset)), wanted)
                made = Hyper.model_validate(made.model_dump())
                encoder = tiny.bert(pooler=find(name).POOLER) if made.text == vectors.FINETUNED else None
                net = build(name, tiny.dims(encoder, text=32), made.architecture)
                assert {g for g, members in net.parameter_groups().items() if members} <= made.groups.keys()


@pytest.mark.parametrize("name", FILES)
def test_every_parameter_is_in_one_group(name: str) -> None:
    net = networks.network(name)
    grouped = [id(p) for group in net.parameter_groups().values() for p in group]
    assert sorted(grouped) == sorted(id(p) for p in net.parameters())
    assert set(net.parameter_groups()) <= set(net.GROUPS)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("value", [0.0, 7.0])
def test_padding_does_not_leak(name: str, value: float) -> None:
    net, batch = networks.network(name), networks.clips(name).batch(range(10))
    more = networks.padded(batch, by=5, value=value)
    torch.testing.assert_close(predictions(net, more), predictions(net, batch), atol=1e-5, rtol=1e-5)
    losses = [{k: v.item() for k, v in net.loss(net(x), x).items()} for x in (batch, more)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


@pytest.mark.parametrize("name", FILES)
def test_the_order_of_clips_and_their_company_change_nothing(name: str) -> None:
    net, clips = networks.network(name), networks.clips(name, absent=[(0, "audio"), (5, "vision"), (1, "text")])
    order = [4, 0, 9, 2, 7, 1]
    together = predictions(net, clips.batch(order))
    alone = torch.cat([predictions(net, clips.batch([position])) for position in order])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", FILES)
def test_a_batch_of_one_trains(name: str) -> None:
    net, batch = networks.network(name).train(), networks.clips(name).batch([3])
    output = net(batch)
    sum(net.loss(output, batch).values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("modality", TAV)
def test_an_absent_modality_gives_numbers_and_has_no_say(name: str, modality: str) -> None:
    net, clips = networks.network(name), networks.clips(name, absent=[(0, modality), (10, modality)])
    batch = clips.batch(range(6))
    other = batch.inputs[modality].clone()
    other[batch.lengths[modality] == 0] = 3
    said = predictions(net, batch)
    assert torch.isfinite(said).all()
    changed = replace(batch, inputs={**batch.inputs, modality: other})
    torch.testing.assert_close(predictions(net, changed), said)
    net.train()
    sum(net.loss(net(batch), batch).values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", FILES)
def test_a_clip_with_nothing_at_all_gives_a_number(name: str) -> None:
    clips = networks.clips(name, absent=[(0, modality) for modality in TAV])
    assert torch.isfinite(predictions(networks.network(name), clips.batch([0, 1, 2]))).all()


@pytest.mark.parametrize(("name", "lacking"), CASES, ids=lambda x: x if isinstance(x, str) else "-".join(x) or "all")
def test_a_data_set_may_lack_modalities(name: str, lacking: tuple[str, ...]) -> None:
    net = networks.network(name, without=lacking).train()
    batch = networks.clips(name, without=lacking).batch(range(6))
    output = net(batch)
    assert output["fusion"].prediction.shape == (6,)
    assert (set(output) & set(BRANCHES)) <= {"fusion", *TAV} - set(lacking)
    terms = net.loss(output, batch)
    sum(terms.values()).backward()
    assert all(torch.isfinite(term) for term in terms.values())


@pytest.mark.parametrize("name", [name for name in FILES if find(name).NEEDS])
def test_what_it_needs_it_says(name: str) -> None:
    lacking = find(name).NEEDS
    with pytest.raises(ParamsError, match=f"{name} is nothing without {lacking[0]}"):
        networks.network(name, without=lacking)


@pytest.mark.parametrize("name", FILES)
def test_bfloat16_is_near_float32(name: str) -> None:
    net, batch = networks.network(name), networks.clips(name, absent=[(5, "audio")]).batch(range(8))
    whole = predictions(net, batch)
    # oneDNN has no LSTM in bfloat16 on some processors; torch's own works on all
    with torch.backends.mkldnn.flags(enabled=False), torch.autocast("cpu", torch.bfloat16):
        half = predictions(net, batch)
        terms = net.loss(net.train()(batch), batch)
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, whole, atol=0.1, rtol=0.1)
    sum(terms.values()).backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters() if p.grad is not None)


@pytest.mark.parametrize("name", FILES)
def test_gradient_reaches_every_parameter(name: str) -> None:
    net, batch = networks.network(name).train(), networks.clips(name).batch(range(20))
    batch = replace(batch, unimodal=dict.fromkeys(TAV, batch.labels + 1))  # human labels, where a task has such
    if name == "self_mm":
        net.ulgm.targets = lambda batch: batch.unimodal
    sum(net.loss(net(batch), batch).values()).backward()
    without = [n for n, p in net.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


@pytest.mark.parametrize("name", FILES)
@pytest.mark.slow
def test_it_learns_sixteen_clips_by_heart(name: str) -> None:
    splits = ("train",) * 16 + ("valid",) * 4
    seen = networks.clips(name, "train", splits=splits)
    net = networks.network(name)
    hyper = networks.hyper(name, batch=16, accumulate=1, max_epochs=150, patience=150)
    seeded(1)
    fit(net, seen, seen, hyper.groups, hyper.fit, 1)
    whole = seen.batch(range(16))
    error = (predictions(net, whole) - whole.labels).abs().mean().item()
    spread = (whole.labels - whole.labels.median()).abs().mean().item()
    assert error < 0.15 * spread


@pytest.mark.parametrize("name", FILES)
def test_equal_seeds_give_equal_weights_which_rebuild_it(name: str, tmp_path: Path) -> None:
    def trained(seed: int) -> BaseNetwork:
        seeded(seed)
        net, hyper = networks.network(name, seed), networks.hyper(name, max_epochs=2)
        seen, held_out = (networks.clips(name, split) for split in ("train", "valid"))
        fit(net, seen, held_out, hyper.groups, hyper.fit, seed)
        return net

    first, second, other = (trained(seed) for seed in (1, 1, 2))
    batch = networks.clips(name).batch(range(6))
    assert torch.equal(predictions(first, batch), predictions(second, batch))
    assert not torch.equal(predictions(first, batch), predictions(other, batch))
    save_file({key: value.contiguous() for key, value in first.state_dict().items()}, tmp_path / "weights")
    rebuilt = networks.network(name, seed=9)
    rebuilt.load_state_dict(load_file(tmp_path / "weights"))
    assert torch.equal(predictions(rebuilt, batch), predictions(first, batch))


@pytest.mark.parametrize("name", FILES)
def test_it_is_one_file_that_can_be_read_at_a_sitting(name: str) -> None:
    assert len((Path(str(registry.__file__)).parent / f"{name}.py").read_text().splitlines()) <= 350
