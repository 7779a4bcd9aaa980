"""Of a clip's file what a run takes, and what the run says of it, by the functions that made the training table.

Extractors, encoder, shape and statistics are those that the run was trained with, as its run.json tells, whatever
params.yaml says today; the recogniser and the limits are those of app/settings.py.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from app.answers import About, Outputs, polarity
from app.settings import Settings
from model import kept, run_files
from model.run_files import RunRecord
from pipeline import assemble, assets, features, media, params, paths, tables, text, transcribe
from pipeline.assemble import align
from pipeline.datasets import Text
from pipeline.errors import MediaError, RawmsaError, TableError
from pipeline.flags import Flag, Flagged
from pipeline.tables import ClipRow, FeatureMetadata, Frames, TextRow, Tokens, TranscriptRow, Word
from pipeline.tables.frames import Clip

if TYPE_CHECKING:
    from model.networks.base import BaseNetwork

UNWRITTEN = Text(None, None, [])  # nobody has written the words down
NOTHING_THERE = "nothing to predict from: no words, no sound and no face"
FAILED = {"audio": Flag.SOUND_FAILED, "vision": Flag.PICTURE_FAILED}


@dataclass(frozen=True)
class Content:
    """What was read of a clip. The network takes all of it, or what lies in a window of time (`inputs`).

    facts: of the file; words, source: of the transcript, and where it is from; frames: of audio and vision as the extractors
    gave them, None where the clip lacks the modality or the run takes none; flags: what is odd about it.
    """

    facts: media.Media
    words: Sequence[Word]
    source: str
    frames: dict[str, Frames | None]
    flags: list[Flagged]


@dataclass(frozen=True)
class Inputs:
    """What the network takes of a clip, or of a window of one. frames: of audio and vision, (T, D) shaped; none where the
    modality is absent."""

    transcript: str
    tokens: Tokens
    frames: dict[str, np.ndarray]
    flags: list[Flagged]  # what of it is cut

    @property
    def empty(self) -> bool:
        """True if nothing is seen, heard or said."""
        return not (self.tokens.input_ids or any(len(x) for x in self.frames.values()))


def located(run: str | None) -> Path:
    """The folder of a run: <dataset>/<network> (its best kept seed), <dataset>/<network>-<seed>, a folder of `rawmsa publish`
    or of data/runs; None: evaluate.unlabelled_run of params.yaml.

    Raises TableError where it is not there, or has no weights.
    """
    if run and run_files.is_run(Path(run)):
        return Path(run)
    if not paths.PARAMS.is_file():
        told = f"{run} is no folder of rawmsa publish, and the" if run else "No run is named, and the"
        raise TableError(
            f"{told} folder {Path.cwd()} is no project of rawmsa: it has no {paths.PARAMS}. Name a run's folder (--run FOLDER, in "
            "Python run=FOLDER; rawmsa publish RUN --to FOLDER makes one), or start in the project's folder."
        )
    from model import evaluate

    name = run or params.load("evaluate", evaluate.Params).unlabelled_run
    return _by_default() if name == kept.AUTO else kept.kept_run(name)


def _by_default() -> Path:
    """The first of `own_first` whose features can be extracted here. Raises TableError."""
    faults = []
    for folder in kept.own_first():
        try:
            check(run_files.read(folder))
        except RawmsaError as error:
            faults.append(error)
        else:
            return folder
    raise TableError(f"No run of {paths.RUNS} can predict a video. {faults[0]}")


def check(made: RunRecord) -> None:
    """Raise TableError or ParamsError where what the run was trained on cannot be extracted from a video here."""
    for modality in assemble.FRAMES:
        recipe(modality, made)


def read(
    path: Path,
    made: RunRecord,
    settings: Settings,
    tell: Callable[[str], None] = lambda step: None,
    written: Text = UNWRITTEN,
) -> Content:
    """Everything of a clip that the run of `made` (its record) takes, by the run's own recipes.

    tell: called at the beginning of each step with its name: probe, transcribe, audio, vision. Raises MediaError, TableError.
    """
    tell("probe")
    facts = media.probe(path, None, None, settings.media)
    tell("transcribe")
    heard = listen(path, facts, made, settings, written)
    frames = {}
    for modality in assemble.FRAMES:
        tell(modality)
        frames[modality] = extract(modality, path, facts, made)
    return content(facts, heard, frames)


def content(facts: media.Media, heard: TranscriptRow, frames: dict[str, Frames | None]) -> Content:
    """The parts of a clip together."""
    flags = [*facts.flags, *heard.flags, *(flag for found in frames.values() if found for flag in found.flags)]
    return Content(facts, heard.words, heard.source, frames, list(dict.fromkeys(flag for flag in flags if flag.odd)))


def listen(path: Path, facts: media.Media, made: RunRecord, settings: Settings, written: Text) -> TranscriptRow:
    """The transcript of a clip: the written words, else those that the recogniser hears."""
    clip = ClipRow(dataset="", id=path.name, video_id=path.name, clip_id="", path=str(path), **vars(facts))
    said = TextRow(dataset="", id=path.name, language=made.language, **vars(written))
    return transcribe.transcribe(clip, said, settings.transcribe, made.threads)


def extract(modality: str, path: Path, facts: media.Media, made: RunRecord) -> Frames | None:
    """The frames of audio or vision; None where the clip lacks the modality or the run takes none. Where they cannot be
    extracted, none with a flag: what fails of one modality costs no other."""
    there = {"audio": facts.has_audio, "vision": facts.has_vision}
    chosen = recipe(modality, made) if there[modality] else None
    if chosen is None:
        return None
    try:
        return chosen.extract(Clip(path, None, None, facts.seconds))
    except Exception as error:
        if isinstance(error, RawmsaError) and not isinstance(error, MediaError):
            raise
        return unused(modality, chosen.lacking or str(error) or type(error).__name__, made)


def unused(modality: str, reason: str, made: RunRecord) -> Frames:
    """The frames of a modality that could not be extracted: none, and why."""
    width = len(made.recorded(modality).columns) if made.widths[modality] else 0
    return Frames.none(width, Flagged(FAILED[modality], reason=reason))


def recipe(modality: str, made: RunRecord) -> features.Recipe | None:
    """The extractor of audio or vision with which the run was trained; None where it takes no such frames.

    Raises TableError where nothing here extracts what the run was trained on.
    """
    if not made.widths[modality]:
        return None
    recorded = made.recorded(modality)
    if recorded.imported:
        raise TableError(
            f"The run was trained on imported {modality} features, which nothing here can extract from a video. "
            'Name a run that was trained on videos: --run <dataset>/<network>, in Python run="<dataset>/<network>"'
        )
    return features.recipe(modality, _options(recorded))


def differences(made: RunRecord) -> Iterator[str]:
    """Where this installation extracts with another library or model than the run of `made` was trained on: a line each."""
    for modality in assemble.FRAMES:
        chosen = recipe(modality, made)
        if chosen is None:
            continue
        recorded = made.recorded(modality)
        for name, known, installed in (
            ("library", recorded.library, chosen.library),
            ("asset_sha256", recorded.asset_sha256, chosen.asset),
        ):
            if known != installed:
                yield (
                    f"the run was trained on {modality} of {recorded.extractor} with {name} {known}, installed is "
                    f"{installed}: predictions may differ. Install the former, or train again with: dvc repro"
                )


def inputs(content: Content, made: RunRecord) -> Inputs:
    """What the network takes of a clip, or of a window of one."""
    said = " ".join(word.word for word in content.words)
    tokens = text.tokenise(said, made.encoder, made.max_tokens)
    spoken = assemble.Spoken(align.spans(content.words, content.facts.seconds), tokens.word)
    shaped = {modality: _shaped(modality, frames, spoken, made) for modality, frames in content.frames.items()}
    flags = [*assemble.cut(tokens), *(flag for found in shaped.values() for flag in found.flags)]
    return Inputs(said, tokens, {modality: found.x for modality, found in shaped.items()}, flags)


def outputs(taken: Sequence[Inputs], folder: Path, made: RunRecord) -> list[Outputs]:
    """What the run says of each; nothing of one in which nothing is seen, heard or said."""
    from model.training import predict as network

    there = [one for one in taken if not one.empty]
    if not there:
        return [Outputs() for _ in taken]
    loaded = load(folder.resolve(), made.weights_sha256)
    table = network.predict(folder, _table(there, made), assets.encoder(made.encoder), loaded).to_pylist()
    found = iter(table)
    return [Outputs() if one.empty else _output(next(found), made.label_range) for one in taken]


def _output(row: dict[str, float | None], label_range: tuple[float, float]) -> Outputs:
    """A row of tables.RUN_PREDICTIONS."""
    value = row["fusion"]
    word = None if value is None else polarity(value, label_range)
    return Outputs(prediction=value, polarity=word, **{name: row[name] for name in tables.MODALITIES})


@cache  # a process loads a run once; trained anew, it has other weights
def load(folder: Path, weights_sha256: str) -> "BaseNetwork":
    """The run's network. Raises TableError."""
    from model.training import predict as network

    return network.loaded(folder)


def about(folder: Path, made: RunRecord) -> About:
    """What is told of a run with each of its predictions."""
    return About(
        run=str(folder) if run_files.published(folder) else made.name,
        synthetic=made.synthetic,
        label_range=made.label_range,
        offset=made.neutral,
        train_clips=train_clips(folder),
    )


def train_clips(folder: Path) -> int | None:
    """Labelled clips that a run was trained on; a published folder does not tell."""
    file = folder / run_files.PREDICTIONS
    return tables.read(file, columns=["split"])["split"].to_pylist().count("train") if file.is_file() else None


def _shaped(modality: str, frames: Frames | None, spoken: assemble.Spoken, made: RunRecord) -> assemble.Shaped:
    """Frames of one modality as the run's training table has them."""
    if frames is None or not made.widths[modality]:
        return assemble.Shaped(np.zeros((0, made.widths[modality]), np.float32))
    return assemble.shaped(frames, modality, made.recorded(modality), made.policy, spoken)


def _options(recorded: FeatureMetadata) -> features.Params:
    """The block of params.yaml that makes what a feature file's metadata record."""
    return features.Params.model_validate({"extractor": recorded.extractor, recorded.extractor: recorded.params})


def _table(taken: Sequence[Inputs], made: RunRecord) -> pa.Table:
    """A training table without labels."""
    widths, ids = made.widths, [str(index) for index in range(len(taken))]
    content = {
        "id": ids,
        "video_id": ids,
        **dict.fromkeys(("split", "label", "label_T", "label_A", "label_V"), [None] * len(taken)),
        "transcript": [one.transcript for one in taken],
        "input_ids": [one.tokens.input_ids for one in taken],
        **{m: tables.sequences((one.frames[m] for one in taken), width) for m, width in widths.items() if width},
        "flags": [list(map(str, one.flags)) for one in taken],
    }
    table = pa.table(content, schema=tables.training_schema(widths))
    kept = {"columns", "encoder", "encoder_sha256", "extraction", "language", "convention", "label_range", "policy"}
    return tables.with_metadata(table, made.model_dump(mode="json", include=kept, exclude_unset=True))
