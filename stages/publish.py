"""rawmsa publish: a run as a folder that hubs of models take: weights, configuration, and a card that says what it is.

Numbers and weights alone: no face, voice, transcript or clip's name of any data set.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from model import checkpoint, find, metrics
from model.intervals import Bootstrap, Interval
from model.vectors import FINETUNED, FROZEN
from pipeline import assets, paths, tables
from pipeline.errors import TableError
from pipeline.report import tables as report
from stages import evaluate

CARD = "README.md"
OWN = ("weights", "key")  # of run.json: what it says of this checkout
LICENCES = {
    "encoder": "text encoder all-MiniLM-L6-v2: Apache-2.0",
    "landmarks": "MediaPipe's face landmarker, which makes the vision frames: Apache-2.0",
    "egemaps": "openSMILE, which makes the acoustic frames: free for research and education alone",
}

Score = tuple[float | None, Interval]


def main(name: str, to: Path) -> None:
    """Raises TableError where the run cannot be had, or what it needs would stay behind."""
    run_folder = evaluate.kept_run(name)
    run = checkpoint.describe(run_folder)
    _check(run)
    if to.is_file() or (to.is_dir() and any(to.iterdir())):
        raise TableError(f"{to} is there already, and not empty. Name a folder that is empty, or none yet: --to FOLDER")
    scores = _scores(run_folder, run)
    to.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(run_folder / checkpoint.WEIGHTS, to / checkpoint.PUBLISHED_WEIGHTS)
    told = {key: value for key, value in run.items() if key not in OWN}
    tables.write_json(to / checkpoint.PUBLISHED, {"model_type": "rawmsa", **told})
    (to / CARD).write_text(card(run, scores, to.name))
    size = sum(file.stat().st_size for file in to.iterdir()) / 2**20
    print(
        f"publish: {run_folder} lies in {to} ({size:.1f} MiB): {', '.join(sorted(file.name for file in to.iterdir()))}"
    )
    print(f"publish: read {to / CARD} before you upload it; try it with: rawmsa predict CLIP --run {to}")


def _check(run: Mapping[str, Any]) -> None:
    """Raise TableError where another machine could not have what the run reads."""
    text, encoder = run["hyper"]["text"], run["encoder"]
    if text not in (FINETUNED, FROZEN):
        raise TableError(
            f"The run takes its token vectors from the file {text}, which cannot be published with it. Publish a run whose "
            f"text is {FINETUNED} or {FROZEN}."
        )
    if encoder != assets.PACKAGED and Path(encoder).is_dir():
        raise TableError(
            f"The run's text encoder lies in the folder {encoder} of this machine, where nobody else finds it. Train with its name "
            f"on the hub, or with {assets.PACKAGED} (text.encoder of params.yaml)."
        )


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


def card(run: Mapping[str, Any], scores: tuple[dict[str, Score], int, int], name: str) -> str:
    """The model card, in the form of the Hugging Face hub (its YAML by huggingface_hub)."""
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
    return f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(_sections(run, measured, clips, videos)) + "\n"


def _sections(run: Mapping[str, Any], measured: Mapping[str, Score], clips: int, videos: int) -> list[str]:
    title, (low, high) = find(run["network"]).TITLE, run["label_range"]
    made = " The data are synthetic: the numbers say that the software works, and nothing of people." * run["synthetic"]
    return [
        f"# {title}, trained on {run['dataset']}",
        f"Predicts the sentiment of a clip in which somebody speaks, from {low:g} (negative) to {high:g} (positive), from words, "
        f"voice and face. Trained by rawmsa from seed {run['seed']}; `{checkpoint.PUBLISHED}` has every parameter.{made}",
        "## Use",
        "```bash\nrawmsa predict CLIP --run FOLDER   # this folder; rawmsa installed\n```",
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
