"""Where everything lies, relative to the project's folder (the working directory: dvc.yaml lies there).

One word from end to end: a stage, its params block, its folder or file.
"""

import os
from pathlib import Path

PARAMS = Path("params.yaml")
NETWORKS = Path("networks")  # beside it: each network's presets and values
DATA = Path("data")
RAW = DATA / "raw"  # the user's; never written, save by `rawmsa demo` and `rawmsa import`

INGEST = DATA / "ingest"
CLIPS = INGEST / "clips.parquet"
TEXTS = INGEST / "texts.parquet"
LABELS = INGEST / "labels.parquet"
REFUSED = INGEST / "refused.parquet"
DATASETS = INGEST / "datasets.json"

TRANSCRIPTS = DATA / "transcripts"
FEATURES = DATA / "features"
TABLES = DATA / "tables"
RUNS = DATA / "runs"
PREDICTIONS = DATA / "predictions.parquet"
METRICS = DATA / "metrics.json"
PLOTS = DATA / "plots"  # what `dvc plots` draws
REPORT = DATA / "report"
CARDS = REPORT / "cards"  # models/<dataset>-<network>-<seed>.md, datasets/<dataset>.md
EXPORT = DATA / "export"
SHOW = DATA / "show"  # the pictures of `rawmsa show`
EXPERIMENTS = DATA / "experiments"  # what `rawmsa experiment` asks for: <dataset>/<name>.json
EXPERIMENTS_MADE = EXPERIMENTS / "_made.csv"  # which were made; no data set's name begins with _
TUNE = DATA / "tune"
LOCK = DATA / ".lock"
CHECKED = DATA / ".checked"  # a hash of the parameters and the code that were checked together


def network(name: str) -> Path:
    """The presets and values of one network."""
    return NETWORKS / f"{name}.yaml"


def transcripts(dataset: str) -> Path:
    return TRANSCRIPTS / f"{dataset}.parquet"


def features(modality: str, dataset: str) -> Path:
    """Of one data set: a file of token ids (text), or a folder of shards of acoustic (audio) or landmark frames (vision)."""
    return FEATURES / modality / (f"{dataset}.parquet" if modality == "text" else dataset)


def imported(modality: str, dataset: str, raw: Path = RAW) -> Path:
    """The same as a data set brings it, extracted by somebody else."""
    return raw / dataset / "features" / f"{modality}.parquet"


def table(dataset: str) -> Path:
    """The training table: a folder of shards, Arrow IPC, memory-mappable."""
    return TABLES / dataset


def run(dataset: str, network: str, seed: int) -> Path:
    return RUNS / dataset / f"{network}-{seed}"


def experiment(dataset: str, name: str) -> Path:
    return EXPERIMENTS / dataset / f"{name}.json"


def cache() -> Path:
    """The clip and run cache: RAWMSA_CACHE, else under the main checkout's .dvc/tmp, so that all experiments share one;
    git and DVC both ignore .dvc/tmp."""
    if chosen := os.environ.get("RAWMSA_CACHE"):
        return Path(chosen)
    return Path(os.environ.get("DVC_ROOT", ".")) / ".dvc" / "tmp" / "rawmsa"


def project() -> Path:
    """The main checkout, also in a temporary or queued experiment of DVC, which gives every stage DVC_ROOT."""
    return Path(os.environ.get("DVC_ROOT", ".")).resolve()


def log(key: str) -> Path:
    """When, where and from which revision a run was trained: it differs between equal runs, so it is no output."""
    return cache() / "logs" / f"{key}.json"
