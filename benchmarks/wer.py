"""Word error rate of recognised transcripts against written ones.

    python -m benchmarks.wer data/transcripts/real.parquet ../transcripts.csv

The CSV has the columns file and text; a clip is found by its file's stem. The second figure spells digits
out and parts them from letters on both sides ("f2" is "f two"), which is spelling, not hearing.
"""

import csv
import re
import sys
from pathlib import Path

from pipeline import tables
from pipeline.transcribe.words import normalise

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def errors(heard: list[str], written: list[str]) -> int:
    """Substitutions, insertions and deletions that turn one into the other (Levenshtein)."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(written, 1):
        last, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (word != other))
    return row[-1]


def spelled(text: str) -> str:
    return re.sub(r"\d", lambda digit: f" {DIGITS[int(digit[0])]} ", text)


def main(transcripts: Path, truth: Path) -> None:
    with truth.open(newline="", encoding="utf-8-sig") as file:
        written = {Path(row["file"]).stem: normalise(row["text"]) for row in csv.DictReader(file)}
    rows = {
        stem: row for row in tables.read(transcripts).to_pylist() for stem in row["id"].split("/") if stem in written
    }
    for name, form in (("as written", str), ("digits spelled out", spelled)):
        pairs = [(form(row["text"]).split(), form(written[stem]).split()) for stem, row in rows.items()]
        wrong, words = sum(errors(*pair) for pair in pairs), sum(len(truth) for _, truth in pairs)
        print(f"{name}: {wrong} errors in {words} words of {len(pairs)} clips, WER {wrong / words:.3f}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
