"""transcribe: clips, texts -> data/transcripts/<dataset>.parquet (words, and their times where known)."""

from pipeline import params, transcribe


def main() -> None:
    transcribe.run(params.load("transcribe", transcribe.Params))
