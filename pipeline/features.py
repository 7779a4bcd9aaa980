"""What the audio and the vision stage share: clip by clip through the cache, then one Parquet file a data set.

An extractor is a module `pipeline.<modality>.<name>` with
  VERSION           raised when its output for the same clip and params changes
  Params            its block of params.yaml
  columns(params)   names, units and kinds of its features, known before the first clip
  rate(params)      frames a second
  library()         name and version of what computes them
  asset_sha256()    of its model file; None where there is none
  extract(clip, params) -> Frames
The file's name is the registry: params.yaml names it, nothing lists it. A data set that brings its features
(data/raw/<dataset>/features, as `rawmsa import` writes them) keeps those.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import ConfigDict

from pipeline import cache, paths, tables, workers
from pipeline.errors import ParamsError
from pipeline.params import Block, Limits, check, load
from pipeline.params import threads as load_threads
from pipeline.params import workers as load_workers
from pipeline.tables import Frames


class Params(Block):
    """The block of a modality: which extractor, and a block for each by its name."""

    model_config = ConfigDict(extra="allow", frozen=True)

    extractor: str


@dataclass(frozen=True)
class Clip:
    """What an extractor needs of a row of clips.parquet."""

    path: Path
    start: float | None  # seconds of the file
    end: float | None
    seconds: float  # the clip's length


@dataclass(frozen=True)
class Recipe:
    """An extractor with its params: everything that decides its output for a clip."""

    modality: str
    extractor: str
    params: Any

    @property
    def module(self) -> Any:
        return import_module(f"pipeline.{self.modality}.{self.extractor}")

    def identity(self) -> dict[str, Any]:
        return {
            "modality": self.modality,
            "extractor": self.extractor,
            "version": self.module.VERSION,
            "library": self.module.library(),
            "asset_sha256": self.module.asset_sha256(),
            "params": self.params.model_dump(),
        }

    def metadata(self) -> dict[str, Any]:
        """The identity and what it yields: the metadata of a feature file."""
        columns = [asdict(column) for column in self.module.columns(self.params)]
        return {**self.identity(), "rate_hz": self.module.rate(self.params), "columns": columns}

    def extract(self, clip: Clip) -> Frames:
        """The frames of a clip; a frame with a value that is not finite is masked and the clip flagged."""
        frames: Frames = self.module.extract(clip, self.params)
        columns = len(self.module.columns(self.params))
        if frames.x.shape[1] != columns:
            raise ParamsError(
                f"{self.modality}.{self.extractor} made {frames.x.shape[1]} features and declares {columns}; "
                "its params in params.yaml ask for what it cannot make."
            )
        return frames.cleaned()


def recipe(modality: str, options: Params) -> Recipe:
    """Raises ParamsError where params.yaml names an extractor that is not there, or has a wrong block for it."""
    name = options.extractor
    if not name.isidentifier() or find_spec(f"pipeline.{modality}.{name}") is None:
        known = ", ".join(sorted(found.name for found in iter_modules([str(Path(__file__).parent / modality)])))
        raise ParamsError(f"params.yaml: {modality}.extractor is '{name}', expected one of: {known}.")
    block = (options.model_extra or {}).get(name)
    module = import_module(f"pipeline.{modality}.{name}")
    return Recipe(modality, name, check(f"{modality}.{name}", block, module.Params))


def run(modality: str) -> None:
    """The stage: every clip of clips.parquet -> data/features/<modality>/<dataset>.parquet."""
    chosen = recipe(modality, load(modality, Params))
    clips = tables.read(paths.CLIPS).to_pylist()
    identity = chosen.identity()
    keys = {
        index: cache.key(clip=row["sha256"], start=row["start"], end=row["end"], seconds=row["seconds"], **identity)
        for index, row in enumerate(clips)
        if row[f"has_{modality}"] and row["path"] is not None
    }
    store = cache.Store(modality)
    store.remember({"extractor": chosen.extractor, **identity["params"]}, list(keys.values()))
    failures = _compute(store, chosen, clips, keys)
    _write(store, chosen, clips, keys, failures)


def _compute(
    store: cache.Store, chosen: Recipe, clips: Sequence[dict[str, Any]], keys: dict[int, str]
) -> dict[str, workers.Failure]:
    """Extract what the cache lacks; print the summary line; return failures by key."""
    missing = {key: index for index, key in keys.items() if store.find(key) is None}
    tasks = [(chosen, _clip(clips[index]), key) for key, index in missing.items()]
    failures: dict[str, workers.Failure] = {}
    for outcome in workers.run(
        _extract,
        tasks,
        title=chosen.modality,
        workers=load_workers(),
        threads=load_threads(),
        limits=load("limits", Limits),
        size=int,
        before=sum(key not in missing for key in keys.values()),
    ):
        if outcome.failure:
            failures[tasks[outcome.index][2]] = outcome.failure
    imported = sum(row["path"] is None and row[f"has_{chosen.modality}"] for row in clips)
    absent = len(clips) - len(keys) - imported
    cached = sum(key not in missing for key in keys.values())
    computed = len(keys) - cached - sum(key in failures for key in keys.values())
    print(
        f"{chosen.modality}: {len(clips)} clips: {computed} computed, {cached} from cache, "
        f"{_count(failures)}"
        + (f", {imported} imported" if imported else "")
        + (f", {absent} without {chosen.modality}" if absent else "")
    )
    if failures:
        print(f"{chosen.modality}: try the failed clips again with: rawmsa retry-failed")
    return failures


def _extract(task: tuple[Recipe, Clip, str]) -> int:
    """In a worker: extract one clip into the cache. Returns the entry's bytes."""
    chosen, clip, key = task
    frames = chosen.extract(clip)
    with cache.Store(chosen.modality).put(key) as part, part.open("wb") as file:
        np.savez(file, times=frames.times, x=frames.x, mask=frames.mask, flags=np.array(frames.flags, dtype=str))
    return cache.Store(chosen.modality).path(key).stat().st_size


def _write(
    store: cache.Store,
    chosen: Recipe,
    clips: Sequence[dict[str, Any]],
    keys: dict[int, str],
    failures: dict[str, workers.Failure],
) -> None:
    metadata = chosen.metadata()
    width = len(metadata["columns"])
    folder = paths.FEATURES / chosen.modality
    datasets = sorted({row["dataset"] for row in clips})
    for name in datasets:
        if paths.imported(chosen.modality, name).is_file():
            _take(chosen.modality, name, [row["id"] for row in clips if row["dataset"] == name])
            continue
        chosen_rows = [(row, keys.get(index)) for index, row in enumerate(clips) if row["dataset"] == name]
        records = [_record(store, row["id"], key, failures, width) for row, key in chosen_rows]
        tables.write(paths.features(chosen.modality, name), table(records, width), {**metadata, "dataset": name})
    tables.keep_only(folder, datasets)


def _take(modality: str, dataset: str, ids: list[str]) -> None:
    """The features that a data set brings, of the clips that ingest left, in the same order (that of the ids)."""
    source = paths.imported(modality, dataset)
    kept = pa.array(ids, pa.string())
    groups = (group.filter(pc.is_in(group["id"], kept)) for group in tables.read_groups(source))
    metadata = tables.metadata(source)
    schema = tables.features_schema(len(metadata["columns"]))
    tables.write_groups(paths.features(modality, dataset), schema, groups, {**metadata, "dataset": dataset})


def _record(
    store: cache.Store, clip_id: str, key: str | None, failures: dict[str, workers.Failure], width: int
) -> dict[str, Any]:
    failure = failures.get(key) if key else None
    frames = Frames.none(width) if key is None or failure else _load(store.path(key))
    status = "absent" if key is None else "failed" if failure else "ok"
    reason = f"{failure.reason}: {failure.message}" if failure else None
    return {"id": clip_id, "status": status, "reason": reason, "frames": frames}


def _load(path: Path) -> Frames:
    with np.load(path) as entry:
        return Frames(entry["times"], entry["x"], entry["mask"], tuple(entry["flags"].tolist()))


def table(records: Sequence[dict[str, Any]], width: int) -> pa.Table:
    """Records of id, status, reason and frames (Frames) as tables.features_schema has them."""
    frames: list[Frames] = [record["frames"] for record in records]
    return pa.table(
        {
            "id": [record["id"] for record in records],
            "status": [record["status"] for record in records],
            "reason": [record["reason"] for record in records],
            "flags": [list(f.flags) for f in frames],
            "n_frames": [len(f.times) for f in frames],
            "times": [f.times for f in frames],
            "mask": [f.mask for f in frames],
            "x": tables.sequences((f.x for f in frames), width),
        },
        schema=tables.features_schema(width),
    )


def _clip(row: dict[str, Any]) -> Clip:
    return Clip(Path(row["path"]), row["start"], row["end"], row["seconds"])


def _count(failures: dict[str, workers.Failure]) -> str:
    reasons = Counter(failure.reason for failure in failures.values())
    detail = ", ".join(f"{reason} {n}" for reason, n in sorted(reasons.items()))
    return f"{len(failures)} failed" + (f" ({detail})" if detail else "")
