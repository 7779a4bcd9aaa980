"""transcribe: clips, texts -> data/transcripts/<dataset>.parquet (words, and their times where known)."""

from pipeline import params, transcribe
from pipeline.execution.cache import Part


def main(part: Part | None = None) -> None:
    transcribe.run(params.load("transcribe", transcribe.Params), part)
