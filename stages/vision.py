"""vision: data/ingest/clips.parquet, data/raw -> data/features/vision/<dataset>/*.parquet (facial-landmark frames)."""

from pipeline import features


def main() -> None:
    features.run("vision")
