"""Features and labels -> one training table a data set, which training maps into memory.

What needs no statistics happens here, once (`shape`): the logarithm of frequencies, sine and cosine of
angles, the mean over `pool` frames, the cut to `max_frames`. The statistics of the train split are
fitted here and travel with the table; the network's batches apply them, so that a run can predict on
any table with the same columns. NaN stands for "not there" (no face, no pitch) and becomes the mean.

With `aligned`, a clip has as many frames as tokens (pipeline.assemble.align) and `pool` and `max_frames` do not apply; nor do they
to features that a data set brings, which are of the rate and length that their makers meant.

What is cut of a clip, of its tokens too, is said in the table's column `flags`.
"""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
from pydantic import PositiveInt

from pipeline import paths, tables
from pipeline.assemble import align, write
from pipeline.assemble.shaping import Shaped, Spoken, cut, shape, shape_aligned, shaped, shaped_names
from pipeline.assemble.statistics import Moments, scale, together
from pipeline.assemble.write import FRAMES, Part, Recipe, others
from pipeline.errors import TableError
from pipeline.execution.fingerprint import Fingerprint
from pipeline.files import sha256
from pipeline.flags import Flag, Flagged
from pipeline.params import Block, load
from pipeline.tables import (
    ClipRow,
    DatasetFacts,
    Extraction,
    FeatureMetadata,
    LabelRow,
    Policy,
    Statistics,
    TokensMetadata,
    TrainingMetadata,
    TranscriptRow,
    shards,
)

__all__ = [
    "FRAMES",
    "Counts",
    "Params",
    "Shaped",
    "Spoken",
    "cut",
    "run",
    "shape",
    "shape_aligned",
    "shaped",
    "shaped_names",
]


class Counts(Block):
    """A number for each modality with frames."""

    audio: PositiveInt
    vision: PositiveInt


class Params(Block):
    """params.yaml: assemble."""

    aligned: bool  # one frame a token
    pool: Counts
    max_frames: Counts


def run() -> None:
    """The stage: the training table data/tables/<dataset>/ for every data set of datasets.json, shard by shard."""
    options = load("assemble", Params)
    datasets = tables.read_facts(paths.DATASETS)
    clips = tables.grouped(tables.read_rows(ClipRow, paths.CLIPS))
    labels = tables.grouped(tables.read_rows(LabelRow, paths.LABELS))
    for name, facts in sorted(datasets.items()):
        print(f"assemble: {name}: {_assemble(name, facts, clips.get(name, []), labels.get(name, []), options)}")
    tables.keep_only(paths.TABLES, datasets)


def _assemble(
    name: str, facts: DatasetFacts, clips: Sequence[ClipRow], labels: Sequence[LabelRow], options: Params
) -> str:
    """Write one data set's training table and its metadata; what it holds, in words.

    A shard that is as it was written, and whose key is what it would be now, is left as it is.
    """
    tokens, words = tables.read(paths.features("text", name)), tables.read(paths.transcripts(name))
    audio, vision = (tables.read_metadata(FeatureMetadata, paths.features(modality, name)) for modality in FRAMES)
    extraction = Extraction(text=tables.read_metadata(TokensMetadata, tokens), audio=audio, vision=vision)
    recipe = Recipe(extraction, _policy(options, extraction))
    _check_rows(clips, tokens, words)
    spoken = _spoken(name, clips, words, tokens) if options.aligned else [Spoken([], [])] * len(clips)
    if options.aligned:
        _check_aligned(name, extraction)
    by_id = {row.id: row for row in labels}
    folder, known, sums, noted, start = paths.table(name), _known(paths.table(name)), {}, [], 0
    for some in shards.split(clips):
        here = slice(start, start + len(some))
        start += len(some)
        features = {modality: paths.features(modality, name) / f"{shards.name(some)}.parquet" for modality in FRAMES}
        rows = [by_id[clip.id] for clip in some]
        part = Part(some, rows, tokens[here], words[here], spoken[here], features)
        keys = {modality: _key_of(file, modality) for modality, file in features.items()}
        key = Fingerprint(("pipeline.assemble",), recipe.policy.content()).key(frames=keys, **part.told())
        file = folder / f"{shards.name(some)}.arrow"
        sums[file.stem] = sha256(file) if file.is_file() else ""
        if sums[file.stem] != known.get(file.stem) or tables.shard(file)["key"] != key:
            tables.hide_table(folder)
            table, about = write.shard(part, recipe)
            tables.write_arrow(file, table, {tables.SHARD: {"first": shards.first(some), "key": key, **about}})
            sums[file.stem] = sha256(file)
        noted.append(tables.shard(file))
    there = {modality: any(shard["frames"][modality] for shard in noted) for modality in FRAMES}
    metadata = TrainingMetadata(
        dataset=name,
        convention=facts.convention,
        label_range=facts.label_range,
        neutral=facts.neutral,
        language=facts.language,
        synthetic=facts.synthetic,
        encoder=extraction.text.encoder,
        encoder_sha256=extraction.text.encoder_sha256,
        columns={modality: recipe.names(modality) if there[modality] else [] for modality in FRAMES},
        statistics=_statistics(noted, recipe, there) if facts.labelled else None,
        extraction=extraction,
        policy=recipe.policy,
    )
    tables.describe_table(folder, sums, metadata.content())
    return _summary([by_id[clip.id].split for clip in clips], metadata)


def _spoken(name: str, clips: Sequence[ClipRow], words: pa.Table, tokens: pa.Table) -> list[Spoken]:
    """Each clip's words and tokens. Raises TableError where nobody asked for the times of a video's words."""
    said, unheard = tables.read_rows(TranscriptRow, words), Flagged(Flag.NO_WORD_TIMES)
    unknown = [
        row.flags for clip, row in zip(clips, said, strict=True) if clip.path is not None and not align.timed(row.words)
    ]
    unasked = sum(unheard not in flags for flags in unknown)  # nobody listened for the times
    if unasked:
        raise TableError(
            f"assemble.aligned is true, and {unasked} of {len(clips)} transcripts of {name} have no word times. "
            "Set transcribe.word_times to true in params.yaml (or assemble.aligned to false), then: dvc repro"
        )
    if unknown:
        print(f"assemble: {name}: {len(unknown)} clips' words could not be timed, they share the clip's length evenly")
    lists = zip(clips, said, tokens["word"].to_pylist(), strict=True)
    return [Spoken(align.spans(row.words, clip.seconds), word) for clip, row, word in lists]


def _policy(options: Params, extraction: Extraction) -> Policy:
    """What was done to the frames: features that a data set brings are neither pooled nor cut."""
    policy = options.model_dump()
    for modality in FRAMES:
        if extraction.frames(modality).imported:
            policy["pool"][modality], policy["max_frames"][modality] = 1, None
    return Policy(**policy)


def _check_aligned(name: str, extraction: Extraction) -> None:
    for modality in FRAMES:
        found = extraction.frames(modality)
        if found.imported and not found.params["aligned"]:
            raise TableError(
                f"assemble.aligned is true, and {name}'s imported {modality} is neither aligned nor timed. "
                "Import the aligned file of the data set, or set assemble.aligned to false in params.yaml."
            )


def _check_rows(clips: Sequence[ClipRow], tokens: pa.Table, words: pa.Table) -> None:
    ids = [clip.id for clip in clips]
    for what, other in (("token", tokens), ("transcript", words)):
        if other["id"].to_pylist() != ids:
            raise TableError(
                f"The {what} table holds other clips than {paths.CLIPS}. Make it anew with: dvc repro text"
            )


def _key_of(file: Path, modality: str) -> str:
    if not file.is_file():
        raise others(file.parent, modality)
    return str(tables.shard(file)["key"])


def _known(folder: Path) -> dict[str, str]:
    """The shards of a training table as they were written: sha256 by name."""
    found = [file for file in (folder / tables.TABLE, folder / tables.HIDDEN) if file.is_file()]
    return dict(tables.read_json(found[0])["shards"]) if found else {}


def _statistics(shards: Sequence[tables.Shard], recipe: Recipe, there: dict[str, bool]) -> dict[str, Statistics]:
    """Mean and standard deviation over the frames of the train split, by modality; none of one that no clip has."""
    found = {}
    for modality in FRAMES:
        parts = [Moments.of(shard["moments"][modality]) for shard in shards]
        whole = scale(together(parts), recipe.columns(modality))
        found[modality] = whole if there[modality] else Statistics(mean=[], std=[])
    return found


def _summary(splits: Sequence[str | None], metadata: TrainingMetadata) -> str:
    sizes = ", ".join(f"{split} {splits.count(split)}" for split in tables.SPLITS if split in splits)
    widths = ", ".join(f"{m} {len(metadata.columns[m])} columns" for m in FRAMES)
    return f"{len(splits)} clips ({sizes or 'no labels'}); {widths}"
