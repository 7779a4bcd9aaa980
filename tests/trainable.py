"""The files of a project that trains in a second."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from pipeline import paths, tables
from tests import tiny

ROOT = Path(__file__).parents[1]
CHOICE = {"preset": "paper", "values": "made"}
FIT_OF_PRESET = ("optimizer", "gradients", "validation", "clip", "plateau", "bucket")


def write_table(name: str, splits: tuple[str | None, ...] | None = None, **changes: Any) -> pa.Table:
    """tiny.table as the training table of a data set; `changes` are of its metadata."""
    table = tiny.table(dataset=name, **({"splits": splits} if splits else {}))
    table = tables.with_metadata(table, tables.metadata(table) | changes)
    tables.write_table(paths.table(name), [table], tables.metadata(table))
    return table


def read_network(name: str = "self_mm") -> dict[str, Any]:
    return yaml.safe_load(paths.network(name).read_text())


def write_network(name: str, content: dict[str, Any]) -> None:
    paths.NETWORKS.mkdir(exist_ok=True)
    paths.network(name).write_text(yaml.safe_dump(content, sort_keys=False))


def write_params(**changes: Any) -> None:
    """params.yaml and Self-MM's file for two seeds and two epochs; `changes`: by block, keys with another value."""
    values = tiny.hyper(max_epochs=2).model_dump()
    preset: dict[str, Any] = {"fit": {name: values["fit"].pop(name) for name in FIT_OF_PRESET}}
    preset["text"] = values.pop("text")
    blocks: dict[str, Any] = {
        "workers": 1,
        "threads": 1,
        "processes": 1,
        "precision": "auto",
        "limits": {"seconds": 600, "memory_gib": 8, "max_failed_fraction": 0.5, "checkpoint_seconds": 0},
        "train": {"networks": {"self_mm": CHOICE}, "seeds": {"default": [1, 2]}, "keep": "best"},
        "experiment": {"seeds": [1], "networks": {}, "datasets": {}},
        "evaluate": {"unlabelled_run": "made/self_mm", "across": []},
        "tune": {
            "sampler": "random",
            "seed": 1,
            "draws": 4,
            "seeds": [1],
            "space": {"self_mm": {"groups.audio.lr": [0.001, 0.01]}},
        },
    }
    whole = yaml.safe_load((ROOT / "params.yaml").read_text())
    blocks |= {name: whole[name] for name in ("ingest", "transcribe", "serve")}
    blocks |= {name: {**blocks[name], **changed} for name, changed in changes.items()}
    Path("params.yaml").write_text(yaml.safe_dump(blocks, sort_keys=False))
    write_network("self_mm", {"presets": {"paper": preset}, "values": {"made": {"mosi": values}}})
