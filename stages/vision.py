"""vision: data/ingest/clips.parquet, data/raw -> data/features/vision/<dataset>/*.parquet (facial-landmark frames)."""

from pipeline import features
from pipeline.execution.cache import Part


def main(part: Part | None = None) -> None:
    features.run("vision", part)
