"""What the audio and the vision stage share: clip by clip through the cache, then Parquet shards of each data set.

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
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from itertools import groupby
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import numpy as np
import pyarrow as pa
from pydantic import ConfigDict

from pipeline import paths, tables
from pipeline.errors import ParamsError
from pipeline.execution import cache, workers
from pipeline.execution.tasks import Failure
from pipeline.files import sha256
from pipeline.flags import Flagged
from pipeline.params import Block, Limits, check, load
from pipeline.params import executor as load_executor
from pipeline.params import threads as load_threads
from pipeline.params import workers as load_workers
from pipeline.tables import ClipRow, FeatureRow, shards
from pipeline.tables.frames import Clip, Frames


class Params(Block):
    """The block of a modality: which extractor, and a block for each by its name."""

    model_config = ConfigDict(extra="allow", frozen=True)

    extractor: str


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


def run(modality: str, part: cache.Part | None = None) -> None:
    """The stage: every clip of clips.parquet -> data/features/<modality>/<dataset>/*.parquet.

    A shard that is whole and of its key is left as it is, and its clips are not looked up in the cache.
    With a part, its clips are computed into the cache, and nothing is written.
    """
    chosen = recipe(modality, load(modality, Params))
    clips = tables.read_rows(ClipRow, paths.CLIPS)
    identity = chosen.identity()
    keys = {
        index: cache.key(clip=row.sha256, start=row.start, end=row.end, seconds=row.seconds, **identity)
        for index, row in enumerate(clips)
        if row.has(modality) and row.path is not None
    }
    store = cache.Store(modality)
    store.remember({"extractor": chosen.extractor, **identity["params"]}, list(keys.values()))
    if part:
        mine = {index: key for index, key in keys.items() if part.holds(key)}
        _compute(store, chosen, [clips[index] for index in mine], dict(enumerate(mine.values())), set(mine.values()))
        return
    metadata = chosen.metadata()
    shards = [shard for shard in _shards(chosen, clips, keys) if not tables.whole(shard.file, shard.key(metadata, {}))]
    failures = _compute(store, chosen, clips, keys, {key for shard in shards for key in shard.keys if key})
    for shard in shards:
        _write(store, shard, metadata, failures)
    _tidy(chosen, clips)


@dataclass(frozen=True)
class Shard:
    """One file of a data set's features. keys: of the clips' entries in the cache, None where one lacks the modality."""

    dataset: str
    file: Path
    ids: list[str]
    keys: list[str | None]

    def key(self, metadata: dict[str, Any], failures: dict[str, Failure]) -> str:
        """Of all that decides the file's bytes."""
        told = {key: [failures[key].reason, failures[key].message] for key in self.keys if key in failures}
        return cache.key(
            metadata=metadata, code=_code(), clips=list(zip(self.ids, self.keys, strict=True)), failures=told
        )


def _shards(chosen: Recipe, clips: Sequence[ClipRow], keys: dict[int, str]) -> Iterator[Shard]:
    """Of the data sets that bring no features of their own."""
    by_id = {(row.dataset, row.id): keys.get(index) for index, row in enumerate(clips)}
    for name, rows in tables.grouped(clips).items():
        if not paths.imported(chosen.modality, name).is_file():
            for some in shards.split(rows):
                file = paths.features(chosen.modality, name) / f"{shards.name(some)}.parquet"
                yield Shard(name, file, [row.id for row in some], [by_id[name, row.id] for row in some])


def _compute(
    store: cache.Store, chosen: Recipe, clips: Sequence[ClipRow], keys: dict[int, str], due: Collection[str]
) -> dict[str, Failure]:
    """Extract what the cache lacks of the keys that are due; print the summary line; return failures by key."""
    missing = {key: index for index, key in keys.items() if key in due and store.find(key) is None}
    tasks = [(chosen, _clip(clips[index]), key) for key, index in missing.items()]
    failures: dict[str, Failure] = {}
    for outcome in workers.run(
        _extract,
        tasks,
        title=chosen.modality,
        workers=load_workers(),
        executor=load_executor(),
        threads=load_threads(),
        limits=load("limits", Limits),
        size=int,
        before=sum(key not in missing for key in keys.values()),
    ):
        if outcome.failure:
            failures[tasks[outcome.index][2]] = outcome.failure
    imported = sum(row.path is None and row.has(chosen.modality) for row in clips)
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
        np.savez(
            file,
            times=frames.times,
            x=frames.x,
            mask=frames.mask,
            flags=np.array([str(flagged) for flagged in frames.flags], dtype=str),
        )
    return cache.Store(chosen.modality).path(key).stat().st_size


def _write(store: cache.Store, shard: Shard, metadata: dict[str, Any], failures: dict[str, Failure]) -> None:
    key = shard.key(metadata, failures)
    if failures and tables.whole(shard.file, key):
        return
    width = len(metadata["columns"])
    records = [_record(store, id, key, failures, width) for id, key in zip(shard.ids, shard.keys, strict=True)]
    noted = {"first": shard.ids[0] if shard.ids else "", "key": key}
    tables.write(
        shard.file, tables.feature_table(records, width), {**metadata, "dataset": shard.dataset, tables.SHARD: noted}
    )


def _tidy(chosen: Recipe, clips: Sequence[ClipRow]) -> None:
    """Write what data sets bring of their own, and remove what belongs to none."""
    folder = paths.FEATURES / chosen.modality
    folder.mkdir(parents=True, exist_ok=True)
    datasets = tables.grouped(clips)
    for name, rows in datasets.items():
        if paths.imported(chosen.modality, name).is_file():
            _take(chosen.modality, name, rows)
        tables.keep_only(folder / name, [f"{shards.name(some)}.parquet" for some in shards.split(rows)])
    tables.keep_only(folder, datasets)


def _take(modality: str, dataset: str, rows: Sequence[ClipRow]) -> None:
    """The features that a data set brings, of the clips that ingest left, in the same order (that of the ids)."""
    source, folder = paths.imported(modality, dataset), paths.features(modality, dataset)
    metadata = {**tables.metadata(source), "dataset": dataset}
    schema, content = tables.features_schema(len(metadata["columns"])), sha256(source)
    due: dict[int, tuple[Shard, dict[str, Any], list[pa.Table]]] = {}
    for some in shards.split(rows):
        shard = Shard(dataset, folder / f"{shards.name(some)}.parquet", [row.id for row in some], [])
        key = cache.key(metadata=metadata, code=_code(), source=content, clips=shard.ids)
        if not tables.whole(shard.file, key):
            due[len(due)] = shard, {**metadata, tables.SHARD: {"first": shards.first(some), "key": key}}, []
    number_of = {id: number for number, (shard, *_) in due.items() for id in shard.ids}
    for group in tables.read_groups(source) if due else ():
        numbers = [number_of.get(id) for id in group["id"].to_pylist()]
        for number, run in groupby(range(len(group)), key=numbers.__getitem__):
            if number is not None:
                start, *rest = run
                shard, noted, found = due[number]
                found.append(group.slice(start, 1 + len(rest)).cast(schema))
                if sum(map(len, found)) == len(shard.ids):
                    tables.write(shard.file, pa.concat_tables(found), noted)
                    del due[number]
    for shard, noted, found in due.values():  # of clips that the data set's own file lacks
        tables.write(shard.file, pa.concat_tables([schema.empty_table(), *found]), noted)


@lru_cache
def _code() -> str:
    """Of what decides how features are written, so that no shard outlives a change of it."""
    return cache.key(features=sha256(Path(__file__)), tables=sha256(Path(tables.__file__)))


def _record(store: cache.Store, clip_id: str, key: str | None, failures: dict[str, Failure], width: int) -> FeatureRow:
    failure = failures.get(key) if key else None
    frames = Frames.none(width) if key is None or failure else _load(store.made(key))
    reason = f"{failure.reason}: {failure.message}" if failure else None
    return FeatureRow(clip_id, "absent" if key is None else "failed" if failure else "ok", frames, reason)


def _load(path: Path) -> Frames:
    with np.load(path) as entry:
        return Frames(entry["times"], entry["x"], entry["mask"], tuple(map(Flagged.parse, entry["flags"].tolist())))


def _clip(row: ClipRow) -> Clip:
    return Clip(Path(row.path or ""), row.start, row.end, row.seconds or 0.0)


def _count(failures: dict[str, Failure]) -> str:
    reasons = Counter(failure.reason for failure in failures.values())
    detail = ", ".join(f"{reason} {n}" for reason, n in sorted(reasons.items()))
    return f"{len(failures)} failed" + (f" ({detail})" if detail else "")
