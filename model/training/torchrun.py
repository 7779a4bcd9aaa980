"""A function in several processes as torchrun starts them, which talk to each other by torch.distributed."""

import logging
import os
import pickle
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from pipeline.errors import RawmsaError, StageError
from pipeline.execution.platform import die_with_parent

T = TypeVar("T")
TASK = "task.pkl"
ERROR = "error-{}.txt"  # of a process
GPUS = "CUDA_VISIBLE_DEVICES"


def run(function: Callable[[T], object], argument: T, processes: int, gpus: Sequence[int]) -> None:
    """Call it in so many processes of this machine, each on a GPU of its own where there are some.

    They end with the caller's process. Raises StageError with what the first one that failed said; the others are
    stopped then.
    """
    with tempfile.TemporaryDirectory(prefix="rawmsa-") as name:
        folder = Path(name)
        (folder / TASK).write_bytes(pickle.dumps((function, argument)))
        agent = subprocess.run(  # noqa: S603  our own arguments
            (sys.executable, "-m", __name__, name, str(processes), str(os.getpid())),
            env={**os.environ, **_visible(gpus)},
            check=False,
        )
        if agent.returncode:
            raise StageError(_why(folder, processes))


def _why(folder: Path, processes: int) -> str:
    """What the first process said that failed. Of one that was killed only the others can tell."""
    said = sorted(folder.glob(ERROR.format("*")), key=lambda file: file.stat().st_mtime_ns)
    if not said:
        return f"One of its {processes} processes was killed. Free memory, or lower processes in params.yaml."
    why = said[0].read_text()
    silent = [str(rank) for rank in range(processes) if folder / ERROR.format(rank) not in said]
    if silent and why.startswith("Traceback"):
        why += f"Nothing was heard of process {', '.join(silent)}: stopped for this, or killed before it, for its memory perhaps."
    return why


def _visible(gpus: Sequence[int]) -> Mapping[str, str]:
    """These alone, counted among those that this process sees."""
    if not gpus:
        return {}
    seen = os.environ.get(GPUS)
    return {GPUS: ",".join(seen.split(",")[gpu] if seen else str(gpu) for gpu in gpus)}


def _agent(folder: Path, processes: int, parent: int) -> int:
    """The process that starts the others and ends them once one has failed. Returns the exit status."""
    die_with_parent(parent)
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.disable()  # torchrun tells at length which processes it ended; `run` tells why
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=folder.name,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
    )
    try:
        elastic_launch(config, _process)(folder, os.getpid())
    except ChildFailedError:
        return 1
    return 0


def _process(folder: Path, agent: int) -> None:
    import torch
    import torch.distributed as dist

    die_with_parent(agent)
    cuda = torch.cuda.is_available()
    try:
        if cuda:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("nccl" if cuda else "gloo")
        function, argument = pickle.loads((folder / TASK).read_bytes())  # noqa: S301  which `run` wrote
        function(argument)
        dist.destroy_process_group()
    except BaseException as error:
        said = str(error) if isinstance(error, RawmsaError) else traceback.format_exc()
        (folder / ERROR.format(os.environ["RANK"])).write_text(said)
        sys.exit(1)


if __name__ == "__main__":
    sys.exit(_agent(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
