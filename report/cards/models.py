"""Cards of the runs, in the form of the Hugging Face hub: what a run is, what it was made from, how good it is and for what.

A card is meant to travel: no face, voice, transcript or clip's name of any data set, no path of this machine.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypedDict

import numpy as np
import yaml
from pydantic import JsonValue

from model import run_files
from model.measures import metrics
from model.measures.intervals import Bootstrap, Interval
from model.measures.results import too_few
from model.run_files import RunRecord
from pipeline import conventions, paths, tables
from pipeline.datasets.refusal import counted
from report import tables as report
from report.cards import datasets as data_card
from report.cards.datasets import named

Score = tuple[float | None, Interval]


@dataclass(frozen=True)
class Measured:
    """A run and the labels of its training table.

    splits: labelled clips and their videos by split; scores: each measure of the test split with its 95 % interval over
    videos, none where nothing is tested.
    """

    splits: dict[str, tuple[int, int]]
    scores: dict[str, Score]


class Tested(TypedDict):
    """A labelled clip of the test split."""

    video_id: str
    label: float
    fusion: float


def measured(folder: Path, run: RunRecord) -> Measured | None:
    """None where the data set has no training table, whose labels it takes. Raises TableError."""
    file = paths.table(run.dataset)
    if not file.is_dir():
        return None
    table = tables.read_arrow(file).select(["id", "video_id", "label"]).to_pylist()
    truth = {row["id"]: row for row in table if row["label"] is not None}
    predicted = tables.read(folder / run_files.PREDICTIONS, ["id", "split", "fusion"]).to_pylist()
    rows = [row | truth[row["id"]] for row in predicted if row["id"] in truth]
    of_split = {split: [row for row in rows if row["split"] == split] for split in tables.SPLITS}
    splits = {split: (len(some), len({row["video_id"] for row in some})) for split, some in of_split.items() if some}
    return Measured(splits, _scores(run, of_split["test"]) if of_split["test"] else {})


def _scores(run: RunRecord, tested: Sequence[Tested]) -> dict[str, Score]:
    predictions = np.array([row["fusion"] for row in tested], np.float32)
    labels = np.array([row["label"] for row in tested], np.float32)
    bootstrap = Bootstrap([row["video_id"] for row in tested])
    intervals = bootstrap.intervals(bootstrap.draws(run.convention, predictions[None], labels))
    found = metrics.score(run.convention, predictions, labels)
    return {name: (value, intervals.get(name)) for name, value in found.items()}


def card(run: RunRecord, found: Measured | None, name: str) -> str:
    """The model card of a run under a name (its YAML by huggingface_hub)."""
    from huggingface_hub import EvalResult, ModelCardData

    results = [
        EvalResult(
            task_type="other",
            task_name="multimodal sentiment analysis",
            dataset_type=run.dataset,
            dataset_name=run.dataset,
            dataset_split="test",
            metric_type=measure,
            metric_name=_title(run, measure),
            metric_value=value,
        )
        for measure, (value, _) in (found.scores if found else {}).items()
        if value is not None
    ]
    about = ModelCardData(
        language=run.language,
        license="other",
        license_name="see-licences-below",
        library_name="rawmsa",
        tags=["multimodal-sentiment-analysis", run.network, *(["synthetic"] if run.synthetic else [])],
        datasets=None,
        model_name=name if results else None,
        eval_results=results or None,
    )
    return data_card.card(about, list(_sections(run, found)))


def _sections(run: RunRecord, found: Measured | None) -> Iterator[str]:
    title, (low, high) = report.model_name(run.network), run.label_range
    scale = tables.scale(run.label_range, run.neutral)
    yield f"# {title}, trained on {run.dataset}"
    yield (
        f"Predicts the sentiment of a clip in which somebody speaks, from {low:g} (negative) to {high:g} (positive), from words, "
        f"voice and face. Trained by rawmsa from seed {run.seed}.{scale and f' {scale}'}{f' {data_card.SYNTHETIC}' * run.synthetic}"
    )
    yield "## Use"
    yield (
        "```bash\nrawmsa predict CLIP --run FOLDER   # what rawmsa publish made of this run; rawmsa installed\n```"
        if run.weights
        else "Its weights were not kept: set train.keep to all in params.yaml and train it again."
    )
    yield "## Results"
    yield _results(run, found)
    yield "## Data"
    yield _data(run, found)
    yield "## How it was made"
    yield data_card.table("Recorded when it was trained.", ("", ""), _recipe(run))
    yield f"```yaml\n{yaml.safe_dump(_told(run.hyper.model_dump()), sort_keys=False)}```"
    yield "## Intended use"
    yield (
        f"Research on multimodal sentiment. It was trained on {run.dataset} alone ({data_card.language(run.language)}); on other "
        "speakers, recordings, languages or labels measure it first. Not for decisions about a person: employment, health, credit, policing."
    )
    yield "## Limits"
    yield (
        "It tells what annotators would have said of a clip, not what a person feels. It was not measured by speakers' age, sex, accent or "
        "skin. Clips without a face, a voice or words lack that modality, which is flagged, and are predicted from the others."
    )
    yield "## Licences"
    yield "\n".join(f"- {note}" for note in _licences(run))


def _results(run: RunRecord, found: Measured | None) -> str:
    if found is None:
        return f"Not measured: {paths.table(run.dataset)}, whose labels the numbers need, is not there."
    if not found.scores:
        return "The data set has no test split with labels: nothing was measured."
    rows = [
        (
            _title(run, name),
            report.rounded(name, value) or "-",
            f"{report.rounded(name, interval[0])} to {report.rounded(name, interval[1])}" if interval else "-",
        )
        for name, (value, interval) in found.scores.items()
    ]
    clips, videos = found.splits["test"]
    of = f"{counted('clip', clips)} of {counted('video', videos)}"
    told = f"Test split: {of}, one seed. Intervals: 95 %, bootstrapped over videos. Acc and F1 in percent."
    table = data_card.table(told, ("measure", "value", "interval"), rows, conventions.find(run.convention).note)
    few = too_few(run.dataset, {split: count for split, (count, _) in found.splits.items()})
    return f"**{few}**\n\n{table}" if few else table


def _title(run: RunRecord, measure: str) -> str:
    """As the paper's tables name it; with its own name where two forms share one."""
    columns = conventions.find(run.convention).columns
    title = next((title for title, forms in columns.items() if measure in forms), measure)
    return f"{title} ({measure})" if len(columns.get(title, ())) > 1 else title


def _data(run: RunRecord, found: Measured | None) -> str:
    if found is None:
        return f"{run.dataset}; its clips are not counted for the same reason."
    rows = [(split, f"{clips:,}", f"{videos:,}") for split, (clips, videos) in found.splits.items()]
    told = f"{run.dataset}: labelled clips by split. It learned from train, its epoch was chosen on valid."
    return data_card.table(told, ("split", "clips", "videos"), rows)


def _recipe(run: RunRecord) -> list[tuple[str, str]]:
    made = [
        ("network", f"{run.network}, preset {run.preset}, values {run.values}.{run.block}"),
        ("changes", json.dumps(_told(run.changes)) if run.changes else "none"),
        (
            "text",
            f"{data_card.encoder(run.encoder)} ({named(run.hyper.text)}), SHA-256 {run.encoder_sha256}",
        ),
        ("recogniser", _heard_by(run)),
    ]
    for modality in ("audio", "vision"):
        if recorded := run.extraction.get(modality):
            width = len(run.columns.get(modality, []))
            made.append(
                (modality, f"{recorded['extractor']}, {recorded.get('library', 'no library known')}, {width} columns")
            )
    best = f"{run.best_epoch} of {run.epochs} epochs, by the validation split (MAE {run.valid.mae:.4f})"
    versions = ", ".join(f"{package} {version}" for package, version in run.versions.items())
    return [*made, ("weights", f"of epoch {best}"), ("computed", f"in {run.precision}; {versions}")]


def _told(settings: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    return {key: named(str(value)) if key == "text" else value for key, value in settings.items()}


def _heard_by(run: RunRecord) -> str:
    recognisers = _recognisers(run)
    if recognisers is None:
        return f"not known: {paths.TRANSCRIPTS} has none of {run.dataset}"
    return ", ".join(map(data_card.recogniser, recognisers)) or "none asked"


def _recognisers(run: RunRecord) -> list[str] | None:
    """Those that were asked for words of the data set, or their times; None where its transcripts are not there."""
    file = paths.transcripts(run.dataset)
    return sorted(set(tables.read(file, ["model"])["model"].to_pylist()) - {None}) if file.is_file() else None


def _licences(run: RunRecord) -> list[str]:
    extractors = [run.extraction.get(modality, {}).get("extractor", "") for modality in ("audio", "vision")]
    data = f"data set {run.dataset}: its own; whether weights trained on it may be passed on is for it to say"
    return [*data_card.licences(run.encoder, extractors, _recognisers(run) or []), data, "rawmsa: MIT"]
