"""Whatever the data: no number that is none, and u-labels that depend on clips, seed and settings alone."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from model import train
from model.networks import build
from model.networks.ulgm import Settings, Ulgm, alpha, momentum, shifted
from model.records import Batch
from model.training.fit import fit, seeded
from model.training.predict import infer
from pipeline import paths, tables
from pipeline.execution import workers
from pipeline.execution.tasks import Outcome
from tests import tiny
from tests.trainable import write_network

pytestmark = pytest.mark.slow  # whole stages or figures, a second or more each

RANGE = (-3.0, 3.0)
ULGM: dict[str, Settings] = {name: tiny.preset(name).architecture["ulgm"] for name in tiny.PRESETS}
STUDIED: list[dict[str, Any]] = [  # beside the presets
    {"alpha": "symmetric"},
    {"momentum": False},
    {"equations": "ratio"},
]
BRANCHES = ("fusion", "text", "audio", "vision")
quick = settings(max_examples=40, deadline=None, derandomize=True)

labels = st.floats(*RANGE, width=32)
one_class = st.one_of(*(st.sampled_from(values) for values in ([1.0], [-1.0, -2.5], [0.0], [0.0, 3.0], [-3.0, 3.0])))
alphas = st.one_of(st.floats(-1, 2**30, width=32), st.sampled_from([0.0, -0.0, -1e-8, 1e-8, 1e-30, -1.0, 4e8]))
small = st.floats(-1, 100, width=32).filter(lambda x: x == 0 or abs(x) > 1e-30)  # whose ratios float32 holds
levels = st.one_of(st.sampled_from([0.0, 1.0]), st.floats(2**-20, 2**20, width=32))  # of F*, a ReLU's


def one(x: float) -> torch.Tensor:
    return torch.tensor([x], dtype=torch.float32)


@quick
@given(labels, alphas, alphas, st.sampled_from([{}, {}, *STUDIED]), st.sampled_from(list(ULGM)))
def test_a_new_u_label_is_a_number_in_the_label_range(
    m: float, alpha_s: float, alpha_m: float, studied: dict[str, Any], preset: str
) -> None:
    made = shifted(one(m), one(alpha_s), one(alpha_m), RANGE, {**ULGM[preset], **studied}).item()
    assert not np.isnan(made)
    if ULGM[preset]["clamp"]:
        assert RANGE[0] - 1e-6 <= made <= RANGE[1] + 1e-6


@quick
@given(labels, small, small)
def test_where_nothing_guards_a_new_u_label_is_equation_8(m: float, alpha_s: float, alpha_m: float) -> None:
    found = shifted(one(m), one(alpha_s), one(alpha_m), RANGE, ULGM["unclamped"]).item()
    if alpha_m == 0:
        assert found == pytest.approx(m + alpha_s, abs=1e-4)
        return
    ratio = alpha_s * m / alpha_m
    expected = ratio / 2 + (m + alpha_s - alpha_m) / 2
    near = 1e-12 + 1e-6 * (abs(ratio) + abs(m) + abs(alpha_s) + abs(alpha_m))
    assert found == pytest.approx(expected, rel=1e-6, abs=near)
    if abs(alpha_m) >= 0.05 and alpha_m * m >= 0:
        paper = shifted(one(m), one(alpha_s), one(alpha_m), RANGE, ULGM["paper"]).item()
        assert paper == pytest.approx(np.clip(expected, *RANGE), rel=1e-6, abs=near)


@quick
@given(levels, levels)
def test_alphas_are_finite_and_symmetric_ones_change_sign_with_the_classes(positive: float, negative: float) -> None:
    near, far = one(positive), one(negative)
    assert torch.isfinite(alpha(near, far, "paper")) and alpha(near, far, "paper") >= -1
    there, back = alpha(near, far, "symmetric"), alpha(far, near, "symmetric")
    assert there == -back and abs(there) <= 1


@quick
@given(labels, labels, st.integers(2, 100))
def test_an_average_lies_between_what_it_averages(old: float, new: float, epoch: int) -> None:
    averaged = momentum(one(old), one(new), epoch).item()
    assert min(old, new) - 1e-6 <= averaged <= max(old, new) + 1e-6


@st.composite
def observed(draw: st.DrawFn) -> tuple[list[Batch], Callable[[], dict[str, torch.Tensor]]]:
    """A data set in batches, and what draws a batch's F* of one width; any clip may lack any modality."""
    count = draw(st.integers(1, 5))
    values = draw(st.lists(draw(st.sampled_from([labels, one_class])), min_size=count, max_size=count))
    lengths = {m: draw(st.lists(st.integers(0, 1), min_size=count, max_size=count)) for m in BRANCHES[1:]}
    size, width = draw(st.sampled_from([1, 2, 5])), draw(st.integers(1, 3))
    batches = [
        Batch(
            tuple(f"{i}" for i in range(start, min(start + size, count))),
            torch.tensor(values[start : start + size], dtype=torch.float32),
            unimodal={},
            inputs={},
            lengths={m: torch.tensor(found[start : start + size]) for m, found in lengths.items()},
        )
        for start in range(0, count, size)
    ]
    drawn = [draw(st.lists(levels, min_size=width, max_size=width)) for _ in range(6)]
    order = st.integers(0, 5)
    return batches, lambda batch: {
        branch: torch.tensor([drawn[draw(order)] for _ in range(len(batch))], dtype=torch.float32)
        for branch in BRANCHES
    }


@quick
@given(observed(), st.sampled_from(list(ULGM)), st.sampled_from([{}, {}, *STUDIED]))
def test_ulgm_makes_numbers_of_anything(
    data: tuple[list[Batch], Callable[..., dict[str, torch.Tensor]]], preset: str, studied: dict[str, Any]
) -> None:
    batches, features_of = data
    ulgm = Ulgm(BRANCHES[1:], RANGE, {**ULGM[preset], **studied})
    for epoch in (1, 2, 3):
        for batch in batches:
            targets = ulgm.targets(batch)
            weights = ulgm.weights(batch, targets, training=True)
            assert all(torch.isfinite(x).all() for x in (*targets.values(), *weights.values()))
            ulgm.update(features_of(batch), batch, epoch)
        told = ulgm.table()
        numbers = [x for name in told.column_names[1:] for x in told[name].drop_null().to_pylist()]
        assert all(np.isfinite(x) for x in numbers)
        if ULGM[preset]["clamp"]:
            assert all(abs(x) <= 3 + 1e-6 for m in BRANCHES[1:] for x in told[m].drop_null().to_pylist())


def labelled(table: pa.Table, values: Sequence[float]) -> pa.Table:
    """The table with these labels."""
    place = table.column_names.index("label")
    made = table.set_column(place, table.schema.field(place), pa.array(values, pa.float32()))
    return tables.with_metadata(made, tables.metadata(table))


def table_of(
    values: Sequence[float], held_out: int, absent: Sequence[tuple[int, str]] = (), without: Sequence[str] = ()
) -> pa.Table:
    """Clips of these labels, the last `held_out` of them for validation."""
    splits = ("train",) * (len(values) - held_out) + ("valid",) * held_out
    return labelled(tiny.table(splits, [pair for pair in absent if pair[1] not in without], without), values)


def check_training(table: pa.Table, without: Sequence[str], preset: str, size: int) -> None:
    """Three epochs on the table give numbers, and nothing but numbers."""
    made = tiny.preset(preset, batch=size, accumulate=1)
    seeded(1)
    widths = {m: 0 if m in without else width for m, width in tiny.WIDTHS.items()}
    dims = tiny.dims(None if "text" in without else tiny.bert(), **widths, label_range=RANGE)
    network = build("self_mm", dims, made.architecture)
    seen, held_out, every = (tiny.clips(table, split, list(dims.widths)) for split in ("train", "valid", None))
    history = fit(
        network, seen, held_out, {name: made.groups[name] for name in network.parameter_groups()}, made.fit, 1
    )

    assert all(np.isfinite(x) for point in history.curves for x in point.row.values() if x is not None)
    assert all(torch.isfinite(value).all() for value in network.state_dict().values())
    predicted, made_labels = infer(network, every), history.ulabels
    assert made_labels is not None and predicted["fusion"].null_count == 0
    for found in (predicted, made_labels):
        names = [field.name for field in found.schema if pa.types.is_floating(field.type)]
        assert all(np.isfinite(x) for name in names for x in found[name].drop_null().to_pylist())
    whole = every.batch(range(len(every)))
    assert all(predicted[m].is_valid().to_pylist() == whole.present(m).tolist() for m in dims.widths)


@pytest.mark.parametrize("preset", tiny.PRESETS)
@pytest.mark.parametrize(
    ("values", "absent", "without", "size"),
    [
        ([1.0, 2.0, 0.5, -1.0], [], [], 2),  # no negative clip to train on
        ([-1.0, -2.0, 0.0, 1.0], [], [], 2),  # no positive one
        ([0.0, 0.0, 0.0, 0.0], [], [], 2),  # neither
        ([1.5, 1.5, 1.5, 1.5], [], [], 4),  # all labels equal
        ([1.0, -1.0, 2.0, 0.5], [(0, "audio"), (1, "audio"), (1, "vision"), (3, "text")], [], 1),
        ([1.0, -1.0, 2.0, 0.5], [(row, "audio") for row in range(4)], [], 2),  # a column, but no frames
        ([1.0, -1.0, 2.0, 0.5], [], ["audio"], 2),
        ([1.0, -1.0, 2.0, 0.5], [(1, "audio")], ["text", "vision"], 2),
        ([1.0, -1.0], [], [], 1),  # one clip to train on, one held out
    ],
)
def test_training_makes_numbers_of_what_data_sets_lack(
    values: list[float], absent: list[tuple[int, str]], without: list[str], size: int, preset: str
) -> None:
    check_training(table_of(values, 1, absent, without), without, preset, size)


@settings(quick, max_examples=15)
@given(st.data())
def test_training_makes_numbers_of_anything(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from([labels, one_class]))
    values, held_out = data.draw(st.lists(kind, min_size=3, max_size=8)), data.draw(st.integers(1, 2))
    without = data.draw(st.lists(st.sampled_from(BRANCHES[1:]), max_size=2, unique=True))
    lacking = st.tuples(st.integers(0, len(values) - 1), st.sampled_from(BRANCHES[1:]))
    table = table_of(values, held_out, data.draw(st.lists(lacking, max_size=6)), without)
    preset = data.draw(st.sampled_from(list(tiny.PRESETS)))
    check_training(table, without, preset, data.draw(st.sampled_from([1, 2, 4])))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with a text encoder."""
    monkeypatch.chdir(tmp_path)
    tiny.encoder(Path("tiny"))
    return tmp_path


@pytest.fixture
def here(project: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """Two runs on a table, one after the other in this process."""
    with monkeypatch.context() as patch:
        patch.setattr(workers, "run", _in_turn)
        return runs(TABLE, 1, patch)


TABLE = tiny.table(absent=[(3, "audio")])


def _in_turn(function: Callable[[Any], Any], tasks: Sequence[Any], **_: object) -> Iterator[Outcome[Any]]:
    yield from (Outcome(index, function(task), None) for index, task in enumerate(tasks))


def runs(table: pa.Table, at_once: int, patch: pytest.MonkeyPatch) -> dict[str, bytes]:
    """The files of two seeds on the table, trained anew so many at once."""
    patch.setenv("RAWMSA_CACHE", str(Path(f"cache {len(list(Path().iterdir()))}").absolute()))
    made = tiny.hyper().model_dump()
    blocks = {
        "workers": at_once,
        "threads": 1,
        "processes": 1,
        "limits": {"seconds": 600, "memory_gib": 8, "max_failed_fraction": 0.5, "checkpoint_seconds": 0},
        "train": {
            "networks": {"self_mm": {"preset": "paper", "values": "made"}},
            "seeds": {"default": [1, 2]},
            "keep": "best",
        },
        "precision": "auto",
    }
    Path("params.yaml").write_text(yaml.safe_dump(blocks))
    write_network("self_mm", {"presets": {"paper": {}}, "values": {"made": {"mosi": made}}})
    tables.write_table(paths.table("made"), [table], tables.metadata(table))
    train.run()
    found = {str(file): file.read_bytes() for file in sorted(paths.RUNS.rglob("*")) if file.is_file()}
    assert len([name for name in found if name.endswith("ulabels.parquet")]) == 2
    return found


@pytest.mark.slow
def test_the_number_of_workers_changes_no_byte(here: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    assert runs(TABLE, 2, monkeypatch) == here


def test_the_order_of_rows_changes_no_byte(here: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "run", _in_turn)
    shuffled = TABLE.take(np.random.default_rng(3).permutation(len(TABLE)))
    again = runs(tables.with_metadata(shuffled, tables.metadata(TABLE)), 1, monkeypatch)
    assert again.keys() == here.keys()
    for name, found in again.items():
        if name.endswith("run.json"):  # its key holds the table's bytes
            described, first = json.loads(found), json.loads(here[name])
            assert described.pop("key") != first.pop("key")
            assert described == first
        else:
            assert found == here[name], name
