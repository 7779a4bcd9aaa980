"""rawmsa publish: a run as a folder that hubs of models take: weights, configuration, and a card that says what it is.

Numbers and weights alone: no face, voice, transcript or clip's name of any data set.
"""

import shutil
from pathlib import Path

from app import settings
from model import run_files
from model.encoders.vectors import FINETUNED, FROZEN
from model.kept import kept_run
from model.run_files import RunRecord
from pipeline import assets, paths, tables
from pipeline.errors import TableError
from report.cards import models as cards

CARD = "README.md"
OWN = ("weights", "key")  # of run.json: what it says of this checkout


def main(name: str, to: Path) -> None:
    """Raises TableError where the run cannot be had, or what it needs would stay behind."""
    run_folder = kept_run(name)
    run = run_files.read(run_folder)
    _check(run)
    if to.is_file() or (to.is_dir() and any(to.iterdir())):
        raise TableError(f"{to} is there already, and not empty. Name a folder that is empty, or none yet: --to FOLDER")
    measured = cards.measured(run_folder, run)
    if measured is None:
        raise TableError(
            f"{run.dataset} has no training table {paths.table(run.dataset)}, whose labels the card's numbers need: dvc repro"
        )
    to.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(run_folder / run_files.WEIGHTS, to / run_files.PUBLISHED_WEIGHTS)
    told = {key: value for key, value in run_files.content(run).items() if key not in OWN}
    told["settings"] = settings.of(run_folder, run).model_dump(mode="json")
    tables.write_json(to / run_files.PUBLISHED, {"model_type": "rawmsa", **told})
    (to / CARD).write_text(cards.card(run, measured, to.name))
    size = sum(file.stat().st_size for file in to.iterdir()) / 2**20
    print(
        f"publish: {run_folder} lies in {to} ({size:.1f} MiB): {', '.join(sorted(file.name for file in to.iterdir()))}"
    )
    print(f"publish: read {to / CARD} before you upload it; try it with: rawmsa predict CLIP --run {to}")


def _check(run: RunRecord) -> None:
    """Raise TableError where another machine could not have what the run reads."""
    text, encoder = run.hyper.text, run.encoder
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
