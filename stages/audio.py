"""audio: data/ingest/clips.parquet, data/raw -> data/features/audio/<dataset>/*.parquet (acoustic frames)."""

from pipeline import features


def main() -> None:
    features.run("audio")
