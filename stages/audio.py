"""audio: data/ingest/clips.parquet, data/raw -> data/features/audio/<dataset>/*.parquet (acoustic frames)."""

from pipeline import features
from pipeline.execution.cache import Part


def main(part: Part | None = None) -> None:
    features.run("audio", part)
