"""ingest: data/raw -> data/ingest (clips, texts, labels, what was refused, the data sets' facts)."""

from pipeline import ingest, params


def main() -> None:
    ingest.run(params.load("ingest", ingest.Params))
