"""Clips on a Ray cluster: the same results and failures as on one machine, whatever worker or node is lost."""

import os
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import wait
from pathlib import Path
from typing import Any

import pytest

from pipeline import features, paths, tables
from pipeline.errors import StageError
from pipeline.execution import cluster, workers
from pipeline.execution.tasks import Outcome
from pipeline.params import Executor
from tests.test_features import outputs, row
from tests.test_workers import LIMITS, behave

ray = pytest.importorskip("ray", reason='needs Ray: pip install -e ".[ray]"')
cluster_utils = pytest.importorskip("ray.cluster_utils")

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
FAULTS = ["crash", 2, "hang", "refuse", "eat", "fail", 12, "known"]


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """A Ray cluster of a head without cores and two nodes of one core each, on this machine."""
    made = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    found = [made.add_node(num_cpus=1) for _ in range(2)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_ADDRESS", made.address)
        yield made, found
    made.shutdown()


def run(function: Any, tasks: Sequence[Any], executor: Executor = "ray", **limits: float) -> Iterator[Outcome[Any]]:
    allowed = LIMITS.model_copy(update={"max_failed_fraction": 1.0, **limits})
    return workers.run(function, tasks, title="test", workers=2, threads=1, limits=allowed, executor=executor)


def place(_: int) -> int:
    """A second of work; the process of the Ray worker that had it done."""
    time.sleep(1)
    return os.getppid()


def test_faults_cost_one_task_each_and_read_as_on_one_machine(nodes: Any) -> None:
    def told(executor: Executor) -> list[tuple[Any, ...]]:
        outcomes = sorted(run(behave, FAULTS, executor), key=lambda outcome: outcome.index)
        return [(o.value, o.failure and (o.failure.reason, o.failure.message)) for o in outcomes]

    assert told("ray") == told("local")


def test_a_worker_that_is_killed_costs_no_result(nodes: Any) -> None:
    outcomes = run(place, range(6))
    first = next(outcomes)
    os.kill(first.value, signal.SIGKILL)
    rest = list(outcomes)
    assert sorted(outcome.index for outcome in [first, *rest]) == list(range(6))
    assert not any(outcome.failure for outcome in rest)
    assert len({outcome.value for outcome in rest} - {first.value}) == 2


def test_a_node_that_is_lost_costs_no_result(nodes: Any) -> None:
    made, found = nodes
    outcomes = run(place, range(8))
    first = next(outcomes)
    made.remove_node(found.pop(), allow_graceful=False)
    rest = list(outcomes)
    assert sorted(outcome.index for outcome in [first, *rest]) == list(range(8))
    assert not any(outcome.failure for outcome in rest)
    found.append(made.add_node(num_cpus=1))


def test_a_stage_writes_the_same_bytes_as_on_one_machine(
    nodes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("RAWMSA_CACHE", raising=False)
    written, said = [], []
    for executor in ("local", "ray"):
        project = tmp_path / executor
        project.mkdir()
        monkeypatch.chdir(project)
        paths.PARAMS.write_text((ROOT / "params.yaml").read_text().replace("executor: local", f"executor: {executor}"))
        tones = {"v/a": 220.0, "v/b": 330.0, "v/c": 440.0}
        tables.write(paths.CLIPS, tables.rows(tables.CLIPS, [row("one", id, tone) for id, tone in tones.items()]))
        (paths.RAW / "one" / "v" / "b.mp4").write_bytes(b"no video")
        features.run("audio")
        written.append(outputs(paths.FEATURES / "audio"))
        said.append(capsys.readouterr().out)
    assert written[0] and written[0] == written[1]
    assert "2 computed, 0 from cache, 1 failed" in said[0] and said[0] == said[1]


def test_a_node_that_lacks_the_folder_stops_the_stage(
    nodes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    monkeypatch.chdir(project)
    pool = cluster.Nodes(2, 1, LIMITS)
    monkeypatch.chdir(tmp_path)
    project.rmdir()
    future = pool.schedule(behave, 1)
    wait([future])
    with pytest.raises(StageError, match=f"cannot work in {project}: .*Every node needs this folder"):
        pool.outcome(0, future)
    pool.close()


def test_an_address_where_no_cluster_is_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")
    with pytest.raises(StageError, match="RAY_ADDRESS is 127.0.0.1:1, where no Ray cluster answers"):
        list(run(behave, [1]))
