"""A data card, in the form of the Hugging Face hub: what a data set holds, how it was processed, how good that is.

It is meant to travel: counts and the names of tools, never a clip's name, face, voice or words, whatever dataset.yaml allows.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline import assets, paths, tables
from report import data_page
from report.facts import Dataset
from report.tables import Table, markdown

if TYPE_CHECKING:
    from huggingface_hub import CardData

# Of data_page.facts, which section of the card; what is in none says what the data set holds.
PROCESSED = ("Transcripts", "Recogniser's mean confidence", "Text")
QUALITY = (
    "Frames with a face",
    "Voiced frames of sound",
    "Degraded (the flags say how)",
    "Failed in extraction",
    "Refused",
)
LEAKAGE = (
    "Videos in several splits",
    "Texts in several splits",
    "Contents in several splits",
    "Contents that occur more than once",
)
COUNTED = ("Refused, by reason", "Flags")  # of data_page.tables: those that name no clip
SIZES = {1_000: "n<1K", 10_000: "1K<n<10K", 100_000: "10K<n<100K", 1_000_000: "100K<n<1M"}  # as the hub writes them
LICENCES = {  # by extractor
    "landmarks": "MediaPipe's face landmarker, which makes the vision frames: Apache-2.0",
    "egemaps": "openSMILE, which makes the acoustic frames: free for research and education alone; a product with its features, or "
    "with models made of them, needs a commercial licence of audEERING",
    "mfcc": "librosa, which makes the acoustic frames: ISC",
    tables.IMPORTED: "imported features: their makers'",
}
SYNTHETIC = "The data are synthetic: the numbers say that the software works, and nothing of people."


def text(data: Dataset) -> str:
    """The card of a data set that has clips."""
    from huggingface_hub import DatasetCardData

    about = DatasetCardData(
        language=data.settings["language"],
        license="unknown",
        multilinguality="monolingual",
        size_categories=next((size for most, size in SIZES.items() if len(data.clips) < most), "1M<n<10M"),
        task_categories=["other"],
        pretty_name=data.title,
        tags=["multimodal-sentiment-analysis", *(["synthetic"] if data.synthetic else [])],
    )
    return card(about, list(_sections(data)))


def card(about: "CardData", sections: Sequence[str]) -> str:
    return f"---\n{about.to_yaml()}\n---\n\n" + "\n\n".join(sections) + "\n"


def table(caption: str, header: tuple[str, ...], rows: Sequence[tuple[str, ...]], note: str = "") -> str:
    return markdown([Table(caption, header, rows, note)]).strip()


def language(code: str) -> str:
    return {"en": "English", "zh": "Chinese"}.get(code, code)


def named(source: str) -> str:
    """A file or a model as a card names it: of one of this machine the name alone."""
    return Path(source).name if Path(source).is_absolute() else source


def encoder(source: str) -> str:
    return "all-MiniLM-L6-v2" if source == assets.PACKAGED else named(source)


def recogniser(source: str) -> str:
    return "Whisper tiny.en" if source == assets.PACKAGED else named(source)


def licences(text: str | None, extractors: Iterable[str], recognisers: Iterable[str]) -> Iterator[str]:
    """Notes, not advice: of what the features, and so the weights, were made with. text: the encoder."""
    if text:
        yield f"text encoder {encoder(text)}: {'Apache-2.0' if text == assets.PACKAGED else 'its own'}"
    yield from (LICENCES[name] for name in sorted(set(extractors)) if name in LICENCES)
    for name in sorted(recognisers):
        yield f"speech recogniser {recogniser(name)}: {'MIT' if name == assets.PACKAGED else 'its own'}"


def _sections(data: Dataset) -> Iterator[str]:
    facts, made = dict(data_page.facts(data)), _made(data.name)
    held = [name for name in facts if name not in (*PROCESSED, *QUALITY, *LEAKAGE)]
    low, high = data.label_range
    yield f"# {data.title}"
    yield (
        f"Clips in which somebody speaks ({language(data.settings['language'])}), for their sentiment from {low:g} (negative) to "
        f"{high:g} (positive), as rawmsa read and processed them.{f' {SYNTHETIC}' * data.synthetic}"
    )
    yield "## What it holds"
    yield table("Counted by rawmsa.", ("", ""), [(name, facts[name]) for name in held])
    yield "## How it was processed"
    recognisers = sorted({row["model"] for row in data.transcripts.values()} - {None})
    processed = [(name, facts[name]) for name in PROCESSED if name in facts]
    processed.append(("Recogniser", ", ".join(map(recogniser, recognisers)) or "none asked"))
    processed += [(modality, _extraction(recorded)) for modality, recorded in made.items()]
    yield table("Words, tokens and frames, by what made them.", ("", ""), processed)
    yield "## Quality"
    yield table("A clip that is refused is not in the data set.", ("", ""), [(name, facts[name]) for name in QUALITY])
    for found in data_page.tables(data, shown=False):
        if found.caption in COUNTED and found.rows:
            yield markdown([found]).strip()
    yield "## Leakage"
    elsewhere = [
        (f"Contents that {other} holds too", f"{len(ids):,}")
        for other, ids in data.settings.get("elsewhere", {}).items()
    ]
    shared = [*((name, facts[name]) for name in LEAKAGE), *elsewhere]
    yield table("What is shared makes figures flatter; it is told, and nothing is left out for it.", ("", ""), shared)
    yield "## Provenance and licences"
    may = data.settings["redistribute"]
    yield (
        f"Its description (dataset.yaml) {'says' if may else 'does not say'} that pictures, transcripts and clips may be passed on. "
        "Under which licence its makers gave it rawmsa does not know: ask them. This card holds none of its clips, words or names."
    )
    extractors = [recorded.get("extractor", "") for recorded in made.values()]
    notes = licences(made.get("text", {}).get("encoder"), extractors, recognisers)
    yield "\n".join(f"- {note}" for note in (*notes, "rawmsa: MIT"))
    yield "## Limits"
    yield (
        "A label is what annotators said of a clip, not what a person felt. Nothing is known here of who speaks: age, sex, accent and "
        "skin are neither balanced nor counted. Words that a recogniser heard have errors, and frames are as good as their extractor's eye and ear."
    )
    yield "## How to load it"
    yield "In the folder in which rawmsa ran. Match rows by `id`: the files of a folder come in no order of clips."
    yield f"```python\n{_snippet(data, made)}\n```"


def _made(dataset: str) -> dict[str, Mapping[str, Any]]:
    """What the feature files say of themselves, by modality; one without a file is left out."""
    files = {modality: paths.features(modality, dataset) for modality in tables.MODALITIES}
    return {modality: tables.metadata(file) for modality, file in files.items() if file.exists()}


def _extraction(recorded: Mapping[str, Any]) -> str:
    """What made one modality's file, in words."""
    said = []
    if "extractor" in recorded:
        said.append(", ".join(filter(None, [recorded["extractor"], recorded.get("library")])))
    if "encoder" in recorded:
        said.append(f"tokens of {encoder(recorded['encoder'])}, at most {recorded['max_tokens']}")
    if "columns" in recorded:
        said.append(f"{len(recorded['columns'])} columns")
    if recorded.get("rate_hz"):
        said.append(f"{recorded['rate_hz']:g} frames a second")
    if "params" in recorded:
        said.append(json.dumps(recorded["params"]))
    return "; ".join(said)


def _snippet(data: Dataset, made: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [
        "import pyarrow.parquet as pq",
        "",
        f'ours = [("dataset", "=", "{data.name}")]',
        f'clips = pq.read_table("{paths.CLIPS}", filters=ours)  # a row a clip',
        f'labels = pq.read_table("{paths.LABELS}", filters=ours)  # split, label, label_T, label_A, label_V',
    ]
    if data.transcripts:
        lines.append(f'words = pq.read_table("{paths.transcripts(data.name)}")')
    for modality, recorded in made.items():
        what = f"x: (frames, {len(recorded['columns'])}) a clip" if "columns" in recorded else "input_ids"
        lines.append(f'{modality} = pq.read_table("{paths.features(modality, data.name)}")  # {what}')
    return "\n".join(lines)
