"""evaluate: data/runs, data/tables -> data/predictions.parquet, data/metrics.json, data/plots (the test split opens)."""

from model import evaluate


def main() -> None:
    evaluate.run()
