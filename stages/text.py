"""text: transcripts -> data/features/text/<dataset>.parquet (token ids, masks, segment ids)."""

from pipeline import params, text


def main() -> None:
    text.run(params.load("text", text.Params))
