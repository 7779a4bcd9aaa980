"""Data cards, in the form of the Hugging Face hub: what a data set holds, how it was processed, how good it is, whose it is.

Counts alone: no face, voice, transcript or clip's name, whatever dataset.yaml and report.show_all say.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence

from pipeline import paths
from pipeline.report import data_page
from pipeline.report.facts import Dataset, Row
from pipeline.report.tables import Table, markdown
from pipeline.tables import UNIMODAL, metadata

FOLDER = paths.REPORT / "cards"
LICENCES = {  # notes, not advice: of what features and weights are made with
    "encoder": "text encoder all-MiniLM-L6-v2: Apache-2.0",
    "recogniser": "Whisper tiny.en, which heard the words that nobody had written down: MIT",
    "landmarks": "MediaPipe's face landmarker, which makes the vision frames: Apache-2.0",
    "egemaps": "openSMILE, which makes the acoustic frames: free for research and education alone",
}
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))  # the hub's words
RECIPE = ("extractor", "version", "library", "params", "rate_hz")  # of a feature file's metadata


def card(data: Dataset) -> str:
    """The data card of a data set with clips; its YAML is huggingface_hub's."""
    from huggingface_hub import DatasetCardData

    header = DatasetCardData(
        language=data.settings["language"],
        license="other",
        license_name="the-data-sets-own",
        pretty_name=data.title,
        size_categories=next((word for most, word in SIZES if len(data.clips) < most), "n>1M"),
        tags=["multimodal-sentiment-analysis", *(["synthetic"] if data.synthetic else [])],
    )
    return f"---\n{header.to_yaml()}\n---\n\n" + "\n\n".join(_sections(data)) + "\n"


def _sections(data: Dataset) -> Iterator[str]:
    yield f"# {data.title}"
    yield (
        "Clips in which somebody speaks, for multimodal sentiment analysis: what rawmsa found in them. The videos and texts are "
        "not part of this card."
    )
    yield "## What it holds"
    yield _table("", ("", ""), [*data_page.facts(data), *_unimodal(data)])
    yield "## How it was processed"
    yield _table("Every parameter is in the files' own metadata.", ("", "", ""), list(_recipes(data)))
    yield "## Quality"
    yield from _quality(data)
    yield "## Leakage"
    yield (
        "Videos, texts or contents that lie in several splits, and contents that occur more than once or in another data set too, are "
        f"counted above; contents shared with {', '.join(data.settings.get('elsewhere', {})) or 'no other data set of the project'}."
    )
    yield "## Use"
    yield (
        "```python\nimport pyarrow.parquet as pq\n\n"
        f"audio = pq.read_table({str(paths.features('audio', data.name))!r})  # a row a clip; x: (frames, columns)\n"
        f"labels = pq.read_table({str(paths.LABELS)!r}, filters=[('dataset', '==', {data.name!r})])\n```"
    )
    yield "## Limits"
    yield (
        "Labels are what annotators said of a clip, not what the person felt. Nothing here was counted by speakers' age, sex, accent or skin. "
        "Recognised words have the recogniser's errors; frames without a face or a voice are masked."
    )
    yield "## Provenance and licences"
    yield "\n".join(f"- {line}" for line in _licences(data))


def _unimodal(data: Dataset) -> Iterator[tuple[str, str]]:
    for modality, column in UNIMODAL.items():
        if count := sum(row[column] is not None for row in data.labels.values()):
            yield f"Human labels of {modality} alone", f"{count:,}"


def _recipes(data: Dataset) -> Iterator[tuple[str, str, str]]:
    models = Counter(row["model"] for row in data.transcripts.values() if row["source"] == "recogniser")
    for model, count in sorted(models.items()):
        yield "transcripts", f"recogniser {model}", f"{count:,} clips"
    for modality in ("text", "audio", "vision"):
        file = paths.features(modality, data.name)
        if file.exists():
            told = metadata(file)
            recipe = {key: told[key] for key in (*RECIPE, "encoder", "max_tokens") if told.get(key) is not None}
            yield modality, str(recipe.pop("extractor", recipe.pop("encoder", "-"))), json.dumps(recipe, sort_keys=True)


def _quality(data: Dataset) -> Iterator[str]:
    refused = Counter(row["reason"] for row in data.refused)
    failed = Counter(
        f"{modality}: {row['reason']}" for modality, part in data.extractions.items() for row in part.failed
    )
    flags = Counter(flag for clip in data.clips for flag in data.flags(clip))
    for caption, counts in (("Refused", refused), ("Failed in extraction", failed), ("Flags", flags)):
        if counts:
            yield _table(caption, ("Reason", "Count"), data_page.counted(counts))
    if not (refused or failed or flags):
        yield "Nothing was refused, nothing failed, and no clip is flagged."


def _licences(data: Dataset) -> Iterator[str]:
    yield f"data set {data.name}: its own" + (", made by rawmsa demo" if data.synthetic else "")
    yield (
        "its dataset.yaml says that videos and texts may be passed on (redistribute: true)"
        if data.settings["redistribute"]
        else "its dataset.yaml does not say that videos and texts may be passed on (redistribute)"
    )
    made = {str(_told(data, modality).get("extractor")) for modality in ("audio", "vision")}
    if any(row["model"] == "packaged" for row in data.transcripts.values()):
        made.add("recogniser")
    yield from (text for name, text in LICENCES.items() if name in made)
    yield "rawmsa: MIT"


def _told(data: Dataset, modality: str) -> Row:
    file = paths.features(modality, data.name)
    return metadata(file) if file.exists() else {}


def _table(caption: str, header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    return markdown([Table(caption, header, rows)]).strip().removeprefix("****").strip()
