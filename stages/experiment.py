"""experiment: data/tables -> data/experiments/<dataset>/<name>.json (the paper's tables and figures, as params.yaml asks)."""

from model import experiment


def main() -> None:
    experiment.run()
