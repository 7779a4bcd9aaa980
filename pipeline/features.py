"""What the audio and the vision stage share: every clip through an extractor, then Parquet shards of each data set.

An extractor is a module `pipeline.<modality>.<name>` with
  Params            its block of params.yaml
  LIBRARIES         the packages whose versions change its output, e.g. ("librosa",)
  columns(params)   names, units and kinds of its features, known before the first clip
  rate(params)      frames per second; `assemble.pool` averages several frames into one
  asset(params)     the SHA-256 of its model, a file or a folder (files.tree_sha256), or its revision; None: it has none
  extract(clip, params) -> Frames
It may have
  SYSTEM            the shared libraries of the system that it needs, with Debian's packages of them
The file's name is the registry: params.yaml names it, nothing lists it. A worker calls `extract` for one clip after the other, on
the CPU and within limits.memory_gib of address space, in which no GPU's driver fits; what it loads once, it keeps (functools.cache).
A clip is computed again when the code of the extractor or of a module that it imports changes, its Params, its asset, or a
version of LIBRARIES, its own or those of what it imports (pipeline/execution/fingerprint.py).
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from pkgutil import iter_modules
from typing import Protocol, cast

from pydantic import ConfigDict

from pipeline import feature_shards, paths, tables
from pipeline.blocks import Block
from pipeline.errors import ParamsError
from pipeline.execution import cache, platform, workers
from pipeline.execution.fingerprint import Fingerprint, versions
from pipeline.execution.tasks import Failure
from pipeline.params import Limits, check, faults, load, near
from pipeline.params import executor as load_executor
from pipeline.params import threads as load_threads
from pipeline.params import workers as load_workers
from pipeline.tables import ClipRow, Column, FeatureMetadata
from pipeline.tables.frames import Clip, Frames


class Params(Block):
    """The block of a modality: which extractor, and a block for each by its name."""

    model_config = ConfigDict(extra="allow", frozen=True)

    extractor: str


class Extractor(Protocol):
    """A module that extracts; see the top of this file."""

    LIBRARIES: tuple[str, ...]
    Params: type[Block]

    def columns(self, params: Block) -> list[Column]: ...

    def rate(self, params: Block) -> float: ...

    def asset(self, params: Block) -> str | None: ...

    def extract(self, clip: Clip, params: Block) -> Frames: ...


@dataclass(frozen=True)
class Recipe:
    """An extractor with its params."""

    modality: str
    extractor: str
    params: Block

    @property
    def name(self) -> str:
        """Of its module."""
        return f"pipeline.{self.modality}.{self.extractor}"

    @property
    def module(self) -> "Extractor":
        return cast(Extractor, import_module(self.name))

    def fingerprint(self) -> Fingerprint:
        """What decides its output, whatever the clip."""
        return Fingerprint((self.name,), self.params.model_dump(), {"asset": self.asset})

    @property
    def library(self) -> str:
        """The packages of LIBRARIES with their versions."""
        return ", ".join(f"{name} {found}" for name, found in versions(self.module.LIBRARIES).items())

    @property
    def asset(self) -> str | None:
        """Which model it uses."""
        return self.module.asset(self.params)

    @property
    def lacking(self) -> str:
        """What the system lacks for it, and how to install that; "" where nothing."""
        missing = platform.missing(getattr(self.module, "SYSTEM", {}))
        return f"the system lacks {', '.join(missing)}. {platform.to_install(missing)}" if missing else ""

    def metadata(self) -> FeatureMetadata:
        """What it is and what it yields."""
        return FeatureMetadata(
            modality=self.modality,
            extractor=self.extractor,
            library=self.library,
            asset_sha256=self.asset,
            params=self.params.model_dump(),
            rate_hz=self.module.rate(self.params),
            columns=self.module.columns(self.params),
        )

    def extract(self, clip: Clip) -> Frames:
        """The frames of a clip; a frame with a value that is not finite is masked and the clip flagged."""
        frames = self.module.extract(clip, self.params)
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
        known = extractors(modality)
        raise ParamsError(
            f"params.yaml: {modality}.extractor is '{name}', expected one of: {', '.join(known)}{near(name, known)}."
        )
    block = (options.model_extra or {}).get(name)
    module = import_module(f"pipeline.{modality}.{name}")
    return Recipe(modality, name, check(f"{modality}.{name}", block, module.Params))


def extractors(modality: str) -> list[str]:
    return sorted(found.name for found in iter_modules([str(Path(__file__).parent / modality)]))


def block_faults(modality: str, options: Params) -> Iterator[str]:
    """A line for each fault of the block of a modality, those of extractors that are not chosen too."""
    known, blocks = extractors(modality), options.model_extra or {}
    if options.extractor not in known:
        expected = f"expected one of: {', '.join(known)}{near(options.extractor, known)}"
        yield f"{modality}.extractor: found '{options.extractor}', {expected}"
    for name, block in ({options.extractor: None} | blocks).items():
        if name in known:
            yield from faults(f"{modality}.{name}", block, import_module(f"pipeline.{modality}.{name}").Params)
        elif name in blocks:
            yield f"{modality}.{name}: found {block!r}, unknown key{near(name, ['extractor', *known])}"


def run(modality: str, part: cache.Part | None = None) -> None:
    """The stage: every clip of clips.parquet -> data/features/<modality>/<dataset>/*.parquet.

    A shard that is whole and of its key is left as it is, and its clips are not looked up in the cache.
    With a part, its clips are computed into the cache, and nothing is written.
    """
    chosen = recipe(modality, load(modality, Params))
    clips = tables.read_rows(ClipRow, paths.CLIPS)
    keys = _keys(chosen, clips)
    store = cache.Store(modality)
    metadata, shards, due = chosen.metadata(), [], set(keys.values())
    if part:
        mine = [index for index, key in keys.items() if part.holds(key)]
        clips, keys = [clips[index] for index in mine], {place: keys[index] for place, index in enumerate(mine)}
    else:
        store.remember({"extractor": chosen.extractor, **chosen.params.model_dump()}, list(keys.values()))
        found = feature_shards.of_clips(modality, clips, keys)
        shards = [shard for shard in found if not tables.whole(shard.file, shard.key(metadata, {}))]
        due = {key for shard in shards for key in shard.keys if key}
    missing = {key: index for index, key in keys.items() if key in due and store.find(key) is None}
    tasks = [(chosen, _clip(clips[index]), key) for key, index in missing.items()]
    lacking = chosen.lacking if tasks else ""
    failures = dict.fromkeys(missing, Failure("library", lacking)) if lacking else {}
    for outcome in workers.run(
        _extract,
        [] if lacking else tasks,  # what the system lacks costs this modality; the other stages go on
        title=modality,
        workers=load_workers(),
        executor=load_executor(),
        threads=load_threads(),
        limits=load("limits", Limits),
        length=lambda task: task[1].seconds,
        size=int,
        before=sum(key not in missing for key in keys.values()),
    ):
        if outcome.failure:
            failures[tasks[outcome.index][2]] = outcome.failure
    _tell(modality, clips, keys, missing, failures, lacking)
    if part:
        return
    for shard in shards:
        feature_shards.write(shard, metadata, failures, store.made)
    feature_shards.tidy(modality, clips)


def _keys(chosen: Recipe, clips: Sequence[ClipRow]) -> dict[int, str]:
    """The key of every clip that has the modality and a file, by its place."""
    made = chosen.fingerprint()
    return {
        index: made.key(clip=row.sha256, start=row.start, end=row.end, seconds=row.seconds)
        for index, row in enumerate(clips)
        if row.has(chosen.modality) and row.path is not None
    }


def _extract(task: tuple[Recipe, Clip, str]) -> int:
    """In a worker: extract one clip into the cache. Returns the entry's bytes."""
    chosen, clip, key = task
    frames = chosen.extract(clip)
    with cache.Store(chosen.modality).put(key) as part:
        frames.save(part)
        return part.stat().st_size


def _tell(
    modality: str,
    clips: Sequence[ClipRow],
    keys: Mapping[int, str],
    missing: Mapping[str, int],
    failures: Mapping[str, Failure],
    lacking: str,
) -> None:
    """Print the stage's line."""
    imported = sum(row.path is None and row.has(modality) for row in clips)
    absent = len(clips) - len(keys) - imported
    cached = sum(key not in missing for key in keys.values())
    computed = len(keys) - cached - sum(key in failures for key in keys.values())
    print(
        f"{modality}: {len(clips)} clips: {computed} computed, {cached} from cache, {_count(failures)}"
        + (f", {imported} imported" if imported else "")
        + (f", {absent} without {modality}" if absent else "")
    )
    if lacking:
        print(f"{modality}: no clip has {modality}: {lacking}. Then: rawmsa retry-failed")
    elif failures:
        print(f"{modality}: try the failed clips again with: rawmsa retry-failed")


def _clip(row: ClipRow) -> Clip:
    return Clip(Path(row.path or ""), row.start, row.end, row.seconds or 0.0)


def _count(failures: Mapping[str, Failure]) -> str:
    reasons = Counter(failure.reason for failure in failures.values())
    detail = ", ".join(f"{reason} {n}" for reason, n in sorted(reasons.items()))
    return f"{len(failures)} failed" + (f" ({detail})" if detail else "")
