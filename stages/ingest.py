"""ingest: data/raw -> data/ingest (clips, texts, labels, what was refused, the data sets' facts)."""

from pipeline import ingest, params
from pipeline.cache import Part


def main(part: Part | None = None) -> None:
    ingest.run(params.load("ingest", ingest.Params), part)
