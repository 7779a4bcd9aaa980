"""The files of frames that audio and vision write: Parquet shards of each data set, from the clips' entries in the cache.

A shard that is whole and of its key is left as it is. A data set that brings its features (data/raw/<dataset>/features, as
`rawmsa import` writes them) keeps those, cut in the same shards.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pyarrow as pa

from pipeline import paths, tables
from pipeline.execution.fingerprint import Fingerprint
from pipeline.execution.tasks import Failure
from pipeline.files import sha256
from pipeline.tables import ClipRow, FeatureMetadata, FeatureRow, shards
from pipeline.tables.frames import Frames

CODE = ("pipeline.feature_shards",)


@dataclass(frozen=True)
class Shard:
    """One file of a data set's features. keys: of the clips' entries in the cache, None where one lacks the modality."""

    dataset: str
    file: Path
    ids: list[str]
    keys: list[str | None]

    def key(self, metadata: FeatureMetadata, failures: dict[str, Failure]) -> str:
        """Of all that decides the file's bytes."""
        told = {key: [failures[key].reason, failures[key].message] for key in self.keys if key in failures}
        clips = list(zip(self.ids, self.keys, strict=True))
        return Fingerprint(CODE).key(metadata=metadata.content(), clips=clips, failures=told)


def of_clips(modality: str, clips: Sequence[ClipRow], keys: dict[int, str]) -> Iterator[Shard]:
    """The shards of the data sets that bring no features of their own. keys: of the clips by their place."""
    by_id = {(row.dataset, row.id): keys.get(index) for index, row in enumerate(clips)}
    for name, rows in tables.grouped(clips).items():
        if not paths.imported(modality, name).is_file():
            for some in shards.split(rows):
                file = paths.features(modality, name) / f"{shards.name(some)}.parquet"
                yield Shard(name, file, [row.id for row in some], [by_id[name, row.id] for row in some])


def write(shard: Shard, metadata: FeatureMetadata, failures: dict[str, Failure], entry: Callable[[str], Path]) -> None:
    """entry: of a key, the file where the worker saved its frames."""
    key = shard.key(metadata, failures)
    if failures and tables.whole(shard.file, key):
        return
    width = len(metadata.columns)
    records = [_record(id, key, failures, width, entry) for id, key in zip(shard.ids, shard.keys, strict=True)]
    noted = {"first": shard.ids[0] if shard.ids else "", "key": key}
    tables.write(
        shard.file,
        tables.feature_table(records, width),
        {**metadata.content(), "dataset": shard.dataset, tables.SHARD: noted},
    )


def tidy(modality: str, clips: Sequence[ClipRow]) -> None:
    """Write what data sets bring of their own, and remove what belongs to none."""
    folder = paths.FEATURES / modality
    folder.mkdir(parents=True, exist_ok=True)
    datasets = tables.grouped(clips)
    for name, rows in datasets.items():
        if paths.imported(modality, name).is_file():
            _take(modality, name, rows)
        tables.keep_only(folder / name, [f"{shards.name(some)}.parquet" for some in shards.split(rows)])
    tables.keep_only(folder, datasets)


def _take(modality: str, dataset: str, rows: Sequence[ClipRow]) -> None:
    """The features that a data set brings, of the clips that ingest left, in their order; absent for clips that its file lacks."""
    source, folder = paths.imported(modality, dataset), paths.features(modality, dataset)
    metadata = tables.read_metadata(FeatureMetadata, source)
    told = {**metadata.content(), "dataset": dataset}
    width = len(metadata.columns)
    schema, content = tables.features_schema(width), sha256(source)
    there = set(tables.read(source, columns=["id"])["id"].to_pylist())
    due: dict[int, tuple[Shard, dict[str, object], list[pa.Table]]] = {}
    for some in shards.split(rows):
        shard = Shard(dataset, folder / f"{shards.name(some)}.parquet", [row.id for row in some], [])
        key = Fingerprint(CODE).key(metadata=told, source=content, clips=shard.ids)
        if not tables.whole(shard.file, key):
            due[len(due)] = shard, {**told, tables.SHARD: {"first": shards.first(some), "key": key}}, []
    number_of = {id: number for number, (shard, *_) in due.items() for id in shard.ids}
    for group in tables.read_groups(source) if due else ():
        numbers = [number_of.get(id) for id in group["id"].to_pylist()]
        for number, run in groupby(range(len(group)), key=numbers.__getitem__):
            if number is not None:
                start, *rest = run
                shard, noted, found = due[number]
                found.append(group.slice(start, 1 + len(rest)).cast(schema))
                if sum(map(len, found)) == len(there.intersection(shard.ids)):
                    tables.write(shard.file, _completed(shard.ids, found, width), noted)
                    del due[number]
    for shard, noted, found in due.values():  # those of which the file has no clip
        tables.write(shard.file, _completed(shard.ids, found, width), noted)


def _completed(ids: Sequence[str], found: Sequence[pa.Table], width: int) -> pa.Table:
    """A row for each id in their order: those that were found, and the modality absent for the others."""
    known = {id for table in found for id in table["id"].to_pylist()}
    absent = [FeatureRow(id, "absent", Frames.none(width)) for id in ids if id not in known]
    table = pa.concat_tables([*found, tables.feature_table(absent, width)])
    places = {id: place for place, id in enumerate(table["id"].to_pylist())}
    order = [places[id] for id in ids]
    return table if order == list(range(len(ids))) else table.take(order)


def _record(
    clip_id: str, key: str | None, failures: dict[str, Failure], width: int, entry: Callable[[str], Path]
) -> FeatureRow:
    failure = failures.get(key) if key else None
    frames = Frames.none(width) if key is None or failure else Frames.load(entry(key))
    reason = f"{failure.reason}: {failure.message}" if failure else None
    return FeatureRow(clip_id, "absent" if key is None else "failed" if failure else "ok", frames, reason)
