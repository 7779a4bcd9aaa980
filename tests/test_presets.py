"""The presets and values of Self-MM in networks/self_mm.yaml: that they fit, are the published ones, and do what they say."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from model.networks import build
from model.networks.base import BaseNetwork
from model.networks.ulgm import shifted
from model.records import Branch, Output
from model.settings import DEFAULTS, Choice, hyper_of
from model.training.fit import History, fit, seeded
from model.training.hyper import Fit, Group, Hyper
from pipeline.errors import ParamsError
from tests import tiny

ROOT = Path(__file__).parents[1]
CONVENTION = {"demo": "mosi", "mosi": "mosi", "mosei": "mosi", "sims": "sims"}
COMBINED = [(p, v, d) for p in tiny.PRESETS for v, some in tiny.SELF_MM.values.items() for d in some if d != DEFAULTS]
LOOP = ("optimizer", "gradients", "validation")

# FIELD 1.3: github.com/thuiar/Self-MM and MMSA 2.2.1, config_regression.
# batch, lr of audio and vision; weight decay of text, audio, vision and heads; LSTM of audio and vision;
# F* of text, audio and vision; dropout of fusion, text, audio and vision; the class of a zero label
PUBLISHED: dict[tuple[str, str], tuple[Any, ...]] = {
    ("repository", "mosi"): (
        32, (1e-3, 1e-4), (0.001, 0.01, 0.001, 0.001), (32, 64), (64, 16, 32), (0.1, 0.0, 0.1, 0.1), "positive"
    ),
    ("mmsa", "mosi"): (
        16, (5e-3, 5e-3), (0.001, 0.001, 0.001, 0.001), (16, 32), (32, 16, 32), (0.0, 0.1, 0.1, 0.0), "neither"
    ),
    ("repository", "mosei"): (
        32, (5e-3, 1e-4), (0.001, 0.0, 0.0, 0.01), (32, 32), (32, 16, 16), (0.0, 0.1, 0.0, 0.1), "positive"
    ),
    ("mmsa", "mosei"): (
        32, (5e-3, 1e-4), (0.001, 0.0, 0.0, 0.01), (16, 32), (32, 16, 32), (0.1, 0.0, 0.0, 0.0), "neither"
    ),
    ("repository", "sims"): (
        32, (5e-3, 5e-3), (0.001, 0.01, 0.01, 0.001), (16, 64), (64, 16, 32), (0.0, 0.1, 0.1, 0.0), "positive"
    ),
    ("mmsa", "sims"): (
        32, (5e-3, 5e-3), (0.001, 0.01, 0.01, 0.001), (16, 64), (64, 16, 32), (0.0, 0.1, 0.1, 0.0), "neither"
    ),
}  # fmt: skip


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def hyper(preset: str, values: str, dataset: str, **changes: Any) -> Hyper:
    return hyper_of("self_mm", Choice(preset=preset, values=values), dataset, CONVENTION[dataset], changes)[1]


@pytest.mark.parametrize(("preset", "values", "dataset"), COMBINED)
def test_every_preset_fits_every_values_and_builds(preset: str, values: str, dataset: str) -> None:
    found = hyper(preset, values, dataset)
    network = build("self_mm", tiny.dims(tiny.bert(), label_range=(-1.0, 1.0)), found.architecture)
    assert set(network.parameter_groups()) == set(found.groups)
    batch = tiny.clips(tiny.table()).batch([0, 1])
    output = network.train()(batch)
    assert set(network.loss(output, batch)) == {"fusion", "text", "audio", "vision"}


@pytest.mark.parametrize(("values", "dataset"), PUBLISHED)
def test_the_values_are_the_published_ones(values: str, dataset: str) -> None:
    found = hyper("released", values, dataset)
    shape, groups, loop = found.architecture, found.groups, found.fit
    assert (
        loop.batch,
        (groups["audio"].lr, groups["vision"].lr),
        tuple(groups[name].weight_decay for name in ("text", "audio", "vision", "heads")),
        (shape["frames"]["audio"], shape["frames"]["vision"]),
        tuple(shape["projected"][name] for name in ("text", "audio", "vision")),
        tuple(shape["dropout"][name] for name in ("fusion", "text", "audio", "vision")),
        shape["ulgm"]["zeros"],
    ) == PUBLISHED[values, dataset]
    assert (groups["text"].lr, groups["heads"].lr) == (5e-5, 1e-3)
    assert shape["projected"]["fusion"] == 128
    assert (loop.accumulate, loop.patience) == (4, 8)


def test_the_presets_say_what_they_are() -> None:
    paper, literal, released = (hyper(name, "repository", "mosi") for name in ("paper", "unclamped", "released"))
    assert {name: getattr(paper.fit, name) for name in LOOP} == {
        "optimizer": "adamw", "gradients": "mean", "validation": "clips",
    }  # fmt: skip
    assert {name: getattr(released.fit, name) for name in LOOP} == {
        "optimizer": "adam", "gradients": "sum", "validation": "batches",
    }  # fmt: skip
    assert (paper.architecture["layers"], paper.architecture["outputs"]) == (1, None)
    assert (released.architecture["layers"], released.architecture["outputs"]) == (2, {"audio": 16, "vision": 32})
    ours, theirs = paper.architecture["ulgm"], released.architecture["ulgm"]
    assert {key for key in ours if ours[key] != theirs[key]} == {"min_alpha", "ratio_epsilon", "zeros"}
    assert (theirs["min_alpha"], theirs["ratio_epsilon"], theirs["clamp"]) == (None, 1e-8, True)
    assert (ours["ratio_epsilon"], ours["zeros"]) == (0.0, "neither")  # whatever the values say of zeros
    plain = {"min_alpha": None, "clamp": False}
    assert literal.architecture == paper.architecture | {"ulgm": ours | plain} and literal.fit == paper.fit
    for name in ("equations", "alpha", "momentum", "weights"):
        assert tiny.ULGM[name] == ours[name] == theirs[name]  # nothing studied is on


@pytest.mark.parametrize(
    ("alpha_m", "guarded", "unguarded"),
    [(0.04, 1.46, 3.0), (-0.4, 1.9, 0.325)],  # near zero; of another sign than the m-label
)
def test_the_guards_are_the_papers_not_the_released_codes(alpha_m: float, guarded: float, unguarded: float) -> None:
    one = [torch.tensor([x]) for x in (1.0, 0.5, alpha_m)]
    for preset, expected in (("paper", guarded), ("released", unguarded)):
        settings = hyper(preset, "mmsa", "mosi").architecture["ulgm"]
        assert shifted(*one, (-3.0, 3.0), settings).item() == pytest.approx(expected)


def test_changes_win_over_the_preset_and_the_preset_over_the_values() -> None:
    changed = hyper("paper", "repository", "mosi", architecture={"tasks": ["text"], "ulgm": {"zeros": "positive"}})
    assert changed.architecture["ulgm"]["zeros"] == "positive"
    assert changed.architecture["tasks"] == ["text"]
    assert changed.architecture["frames"] == {"audio": 32, "vision": 64}
    with pytest.raises(ParamsError, match=r"self_mm \(preset paper, values mmsa.mosi\).architecture.task: found"):
        hyper("paper", "mmsa", "mosi", architecture={"task": ["text"]})
    with pytest.raises(ParamsError, match="architecture.ulgm.min_alpha: found -1.0, .* greater than or equal to 0"):
        hyper("paper", "mmsa", "mosi", architecture={"ulgm": {"min_alpha": -1.0}})


def test_a_data_set_takes_the_values_of_its_name_else_of_its_convention() -> None:
    choice = Choice(preset="paper", values="mmsa")
    assert hyper_of("self_mm", choice, "demo", "mosi", {})[0] == "demo"
    assert hyper_of("self_mm", choice, "mine", "sims", {})[0] == "sims"


class Level(BaseNetwork):
    """Predicts one number; every batch's loss has the gradient 1."""

    def __init__(self, level: float = 0.0) -> None:
        super().__init__()
        self.level = torch.nn.Parameter(torch.tensor([level]))
        self.seen: list[tuple[bool, torch.Tensor]] = []
        self.observed = 0

    def forward(self, batch: Any) -> Output:
        self.seen.append((self.training, batch.labels))
        return {"fusion": Branch(self.level.expand(len(batch), 1), self.level.expand(len(batch)))}

    def loss(self, output: Output, batch: Any) -> dict[str, torch.Tensor]:
        gap = output["fusion"].prediction - batch.labels
        return {"fusion": gap.mean() if self.training else gap.abs().mean()}

    def observe(self, output: Output, batch: Any, epoch: int) -> None:
        self.observed += 1


def looped(network: BaseNetwork, table: Any, preset: str, lr: float = 1e-3, **settings: Any) -> History:
    """`network` through the loop of a preset."""
    loop = Fit(**tiny.FIT | tiny.PRESETS[preset]["fit"] | settings)
    groups = {"all": Group(lr=lr, weight_decay=0.0)}
    return fit(network, tiny.clips(table, "train"), tiny.clips(table, "valid"), groups, loop, 1)


def steps_of(monkeypatch: pytest.MonkeyPatch, preset: str, clips: int) -> tuple[list[float], int]:
    """The gradient at each of the optimiser's steps of an epoch, four batches of two clips a step; batches observed."""
    network, gradients = Level(), []
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[tiny.PRESETS[preset]["fit"]["optimizer"]]
    step = kind.step

    def spied(self: Any, *args: Any) -> Any:
        gradients.append(network.level.grad.item())
        return step(self, *args)

    monkeypatch.setattr(kind, "step", spied)
    table = tiny.table(splits=("train",) * clips + ("valid",) * 2)
    looped(network, table, preset, batch=2, accumulate=4, max_epochs=1)
    return gradients, network.observed


@pytest.mark.parametrize(
    ("preset", "clips", "gradients"),
    [
        ("paper", 21, [1.0, 1.0, 1.0]),  # averaged; the last five clips are a step
        ("released", 21, [4.0, 4.0]),  # summed; three batches are none
        ("released", 23, [4.0, 4.0, 4.0]),  # the last batch holds one clip, but it is the fourth
        ("released", 5, []),
    ],
)
def test_gradients_and_the_remainder(
    monkeypatch: pytest.MonkeyPatch, preset: str, clips: int, gradients: list[float]
) -> None:
    found, observed = steps_of(monkeypatch, preset, clips)
    assert found == pytest.approx(gradients)
    assert observed == (clips + 1) // 2  # ULGM sees every batch all the same


def test_a_clip_counts_once_in_the_papers_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    weighed = Level.loss
    monkeypatch.setattr(  # the batch of one clip has twice the gradient of that of two
        Level, "loss", lambda *args: {"fusion": weighed(*args)["fusion"] * (3 - len(args[2]))}
    )
    assert steps_of(monkeypatch, "paper", 3)[0] == pytest.approx([2 / 3 * 1 + 1 / 3 * 2])


@pytest.mark.parametrize("preset", ["paper", "released"])
def test_validation_by_clips_or_by_batches(preset: str) -> None:
    network = Level()
    table = tiny.table(("train",) * 8 + ("valid",) * 5)
    (point,) = looped(network, table, preset, lr=1e-30, batch=2, max_epochs=1).curves
    batches = [labels.abs().numpy() for training, labels in network.seen if not training]  # the prediction is 0
    by_clip = np.concatenate(batches).mean()
    by_batch = np.mean([batch.mean() for batch in batches])
    assert point.valid_mae == pytest.approx(by_clip)
    assert point.valid_loss == pytest.approx(by_clip if preset == "paper" else by_batch)
    if preset == "released":
        assert [len(batch) for batch in batches] == [2, 2, 1]
        assert by_batch != pytest.approx(by_clip)


@pytest.mark.parametrize(("preset", "best"), [("paper", 4), ("released", 1)])
def test_the_released_code_sees_four_digits_of_the_validation_loss(preset: str, best: int) -> None:
    table = tiny.table(("train",) * 4 + ("valid",) * 2)
    network = Level(level=4.0)  # above every label: sinking by a hundred-thousandth an epoch is an improvement
    network.ulabels = lambda: network.level.data.sub_(1e-5) and None
    network.loss = lambda output, batch: {"fusion": (output["fusion"].prediction - 3.7).mean()}
    history = looped(network, table, preset, lr=1e-30, max_epochs=4, patience=9)
    assert history.best_epoch == best


def decays(monkeypatch: pytest.MonkeyPatch, preset: str) -> dict[str, float]:
    """The weight decay that each parameter is trained with."""
    named: dict[str, float] = {}
    made = tiny.preset(preset, max_epochs=1)
    network = build("self_mm", tiny.dims(tiny.bert()), made.architecture)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    kind = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[made.fit.optimizer]
    begin = kind.__init__

    def spied(self: Any, groups: list[dict[str, Any]], **kwargs: Any) -> None:
        named.update({names[id(p)]: group["weight_decay"] for group in groups for p in group["params"]})
        begin(self, groups, **kwargs)

    monkeypatch.setattr(kind, "__init__", spied)
    table = tiny.table(("train",) * 4 + ("valid",) * 2)
    fit(network, tiny.clips(table, "train"), tiny.clips(table, "valid"), made.groups, made.fit, 1)
    assert named.keys() == set(names.values())
    return named


@pytest.mark.parametrize("preset", ["paper", "released"])
def test_what_decays(monkeypatch: pytest.MonkeyPatch, preset: str) -> None:
    for name, decay in decays(monkeypatch, preset).items():
        vector = "bias" in name or "LayerNorm" in name  # biases and norms
        spared = vector and (preset == "paper" or name.startswith("encoders.text"))
        assert decay == (0.0 if spared else 0.001), name


@pytest.mark.parametrize(("preset", "share"), [("paper", (0.99, 1.0)), ("released", (0.0, 0.9))])
def test_idle_heads_decay_with_the_released_code_alone(preset: str, share: tuple[float, float]) -> None:
    made = tiny.preset(preset, batch=1, accumulate=1, max_epochs=2)
    seeded(1)
    network = build("self_mm", tiny.dims(tiny.bert()), made.architecture)
    norms = [torch.linalg.vector_norm(network.heads["text"].project.weight).item()]
    network.ulabels = lambda: norms.append(torch.linalg.vector_norm(network.heads["text"].project.weight).item())
    table = tiny.table()
    fit(network, tiny.clips(table, "train"), tiny.clips(table, "valid"), made.groups, made.fit, 1)
    assert len(norms) == 3 and share[0] < norms[-1] / norms[0] <= share[1]
