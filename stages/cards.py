"""Model cards, in the form of the Hugging Face hub: what a run is, how well it does, what it is for, and whose licences hold.

One for every run of data/runs beside the report, and the one of a folder of `rawmsa publish`. Numbers alone: no face, voice,
transcript or clip's name of any data set.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from model import checkpoint, find, metrics
from model.intervals import Bootstrap, Interval
from pipeline import assets, paths, tables
from pipeline.errors import TableError
from pipeline.report import tables as report
from pipeline.report.data_card import FOLDER, LICENCES

Score = tuple[float | None, Interval]
Place = tuple[str, str]  # the file that has every parameter, and what --run of rawmsa predict takes


def write() -> None:
    """data/report/cards/models/<dataset>-<run>.md of every run. The same runs give the same bytes."""
    folder = FOLDER / "models"
    folder.mkdir(parents=True, exist_ok=True)
    for file in sorted(paths.RUNS.glob(f"*/*/{checkpoint.RUN}")):
        name = "-".join(file.parent.parts[-2:])
        (folder / f"{name}.md").write_text(card(file.parent, name))


def card(folder: Path, name: str, published: bool = False) -> str:
    """The model card of a run's folder; of what `rawmsa publish` makes of it.

    Raises TableError where its data set has no training table.
    """
    run = checkpoint.describe(folder)
    place = (
        (checkpoint.PUBLISHED, "FOLDER   # this folder; rawmsa installed")
        if published
        else (checkpoint.RUN, _called(run))
    )
    return _card(run, _scores(folder, run), name, place)


def _scores(folder: Path, run: Mapping[str, Any]) -> tuple[dict[str, Score], int, int]:
    """Each measure of the test split with its 95 % interval over videos; clips and videos."""
    file = paths.table(run["dataset"])
    if not file.is_dir():
        raise TableError(
            f"{run['dataset']} has no training table {file}, whose labels the card's numbers need: dvc repro"
        )
    table = tables.read_arrow(file).select(["id", "video_id", "label"]).to_pylist()
    truth = {row["id"]: row for row in table if row["label"] is not None}
    rows = tables.read(folder / checkpoint.PREDICTIONS, ["id", "split", "fusion"]).to_pylist()
    tested = [row for row in rows if row["split"] == "test" and row["id"] in truth]
    if not tested:
        return {}, 0, 0
    predictions = np.array([row["fusion"] for row in tested], np.float32)
    labels = np.array([truth[row["id"]]["label"] for row in tested], np.float32)
    bootstrap = Bootstrap([truth[row["id"]]["video_id"] for row in tested])
    found = metrics.score(run["convention"], predictions, labels)
    intervals = bootstrap.intervals(bootstrap.draws(run["convention"], predictions[None], labels))
    return {name: (value, intervals.get(name)) for name, value in found.items()}, len(tested), bootstrap.videos


def _card(run: Mapping[str, Any], scores: tuple[dict[str, Score], int, int], name: str, place: Place) -> str:
    """Its YAML is huggingface_hub's."""
    from huggingface_hub import EvalResult, ModelCardData

    measured, clips, videos = scores
    results = [
        EvalResult(
            task_type="other",
            task_name="multimodal sentiment analysis",
            dataset_type=run["dataset"],
            dataset_name=run["dataset"],
            dataset_split="test",
            metric_type=measure,
            metric_name=_title(run, measure),
            metric_value=value,
        )
        for measure, (value, _) in measured.items()
        if value is not None
    ]
    data = ModelCardData(
        language=run["language"],
        license="other",
        license_name="see-licences-below",
        library_name="rawmsa",
        tags=["multimodal-sentiment-analysis", run["network"], *(["synthetic"] if run["synthetic"] else [])],
        datasets=None,
        model_name=name if results else None,
        eval_results=results or None,
    )
    return f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(_sections(run, measured, clips, videos, place)) + "\n"


def _sections(
    run: Mapping[str, Any], measured: Mapping[str, Score], clips: int, videos: int, place: Place
) -> list[str]:
    title, (low, high) = find(run["network"]).TITLE, run["label_range"]
    made = " The data are synthetic: the numbers say that the software works, and nothing of people." * run["synthetic"]
    return [
        f"# {title}, trained on {run['dataset']}",
        f"Predicts the sentiment of a clip in which somebody speaks, from {low:g} (negative) to {high:g} (positive), from words, "
        f"voice and face. Trained by rawmsa from seed {run['seed']}; `{place[0]}` has every parameter.{made}",
        "## Use",
        f"```bash\nrawmsa predict CLIP --run {place[1]}\n```",
        "## Results",
        _results(run, measured, clips, videos),
        "## How it was made",
        _table("Every value is in the configuration.", ("", ""), _recipe(run), ""),
        "## Intended use",
        f"Research on multimodal sentiment. It was trained on {run['dataset']} alone ({_language(run['language'])}); on other speakers, "
        "recordings, languages or labels measure it first. Not for decisions about a person: employment, health, credit, policing.",
        "## Limits",
        "It tells what annotators would have said of a clip, not what a person feels. It was not measured by speakers' age, sex, accent or "
        "skin. Clips without a face, a voice or words lack that modality, which is flagged, and are predicted from the others.",
        "## Licences",
        "\n".join(f"- {line}" for line in _licences(run)),
    ]


def _results(run: Mapping[str, Any], measured: Mapping[str, Score], clips: int, videos: int) -> str:
    if not measured:
        return "The data set has no test split with labels: nothing was measured."
    rows = [
        (
            _title(run, name),
            report.rounded(name, value) or "-",
            f"{report.rounded(name, interval[0])} to {report.rounded(name, interval[1])}" if interval else "-",
        )
        for name, (value, interval) in measured.items()
    ]
    told = f"Test split: {clips} clips of {videos} videos, one seed. Intervals: 95 %, bootstrapped over videos. Acc and F1 in percent."
    return _table(told, ("measure", "value", "interval"), rows, report.NOTES[run["convention"]])


def _called(run: Mapping[str, Any]) -> str:
    return f"{run['dataset']}/{run['network']}-{run['seed']}"


def _title(run: Mapping[str, Any], measure: str) -> str:
    """As the paper's tables name it; with its own name where two forms share one."""
    columns = report.CONVENTIONS[run["convention"]]
    title = next((title for title, forms in columns.items() if measure in forms), measure)
    return f"{title} ({measure})" if len(columns.get(title, ())) > 1 else title


def _recipe(run: Mapping[str, Any]) -> list[tuple[str, str]]:
    made = [
        ("network", f"{run['network']}, preset {run['preset']}, values {run['values']}.{run['block']}"),
        ("changes", json.dumps(run["changes"]) if run["changes"] else "none"),
        ("text", f"{run['encoder']} ({run['hyper']['text']}), SHA-256 {run['encoder_sha256']}"),
    ]
    for modality in ("audio", "vision"):
        if recorded := (run["extraction"] or {}).get(modality):
            width = len(run["columns"].get(modality, []))
            made.append((modality, f"{recorded['extractor']}, version {recorded.get('version', '–')}, {width} columns"))
    best = f"{run['best_epoch']} of {run['epochs']} epochs, by the validation split (MAE {run['valid']['mae']:.4f})"
    versions = ", ".join(f"{package} {version}" for package, version in run["versions"].items())
    return [*made, ("weights", f"of epoch {best}"), ("computed", f"in {run['precision']}; {versions}")]


def _licences(run: Mapping[str, Any]) -> list[str]:
    """Notes, not advice: of what the weights were made from."""
    extractors = {(run["extraction"] or {}).get(modality, {}).get("extractor") for modality in ("audio", "vision")}
    notes = [text for name, text in LICENCES.items() if name in extractors]
    encoder = LICENCES["encoder"] if run["encoder"] == assets.PACKAGED else f"text encoder {run['encoder']}: its own"
    data = f"data set {run['dataset']}: its own; whether weights trained on it may be passed on is for it to say"
    return [encoder, *notes, data, "rawmsa: MIT"]


def _table(caption: str, header: tuple[str, ...], rows: Sequence[tuple[str, ...]], note: str) -> str:
    return report.markdown([report.Table(caption, header, rows, note)]).strip()


def _language(code: str) -> str:
    return {"en": "English", "zh": "Chinese"}.get(code, code)
