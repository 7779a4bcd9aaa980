"""Cards beside the page, in the form of the Hugging Face hub: one of every run (models), one of every data set (datasets)."""

import shutil
from collections.abc import Sequence

from model import run_files
from pipeline import paths
from report.cards import datasets as data_cards
from report.cards import models
from report.facts import Dataset


def write(datasets: Sequence[Dataset]) -> None:
    """data/report/cards anew: one of every run of data/runs, one of every data set that has clips."""
    cards = {}
    for folder in sorted(file.parent for file in paths.RUNS.glob(f"*/*/{run_files.RUN}")):
        name = f"{folder.parent.name}-{folder.name}"
        run = run_files.read(folder)
        cards[paths.CARDS / "models" / f"{name}.md"] = models.card(run, models.measured(folder, run), name)
    for data in datasets:
        if data.clips:
            cards[paths.CARDS / "datasets" / f"{data.name}.md"] = data_cards.text(data)
    shutil.rmtree(paths.CARDS, ignore_errors=True)
    for file, text in cards.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    print(f"report: {len(cards)} cards of runs and data sets lie in {paths.CARDS}")
