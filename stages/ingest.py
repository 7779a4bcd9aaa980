"""ingest: data/raw -> data/ingest (clips, texts, labels, what was refused, the data sets' facts)."""

from pipeline import params
from pipeline.datasets import ingest
from pipeline.execution.cache import Part


def main(part: Part | None = None) -> None:
    ingest.run(params.load("ingest", ingest.Params), part)
