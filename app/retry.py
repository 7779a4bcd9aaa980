"""rawmsa retry-failed: clips that failed in a stage are computed once more, and what follows from them is made anew."""

from collections.abc import Iterator
from pathlib import Path

from app.reproduce import reproduce
from pipeline import paths, tables
from pipeline.errors import Reason, StageError
from pipeline.flags import Flag, Flagged

FRAMES = ("audio", "vision")


def main() -> None:
    """Run the stages that have failed clips, then dvc repro. Raises StageError where one ends with an error."""
    due = {stage: count for stage, count in failed() if count}
    told = ", ".join(f"{count} in {stage}" for stage, count in due.items())
    print(f"retry-failed: {told}" if due else "retry-failed: no clip failed; dvc repro makes what else is due")
    for arguments in (*(("--force", "--single-item", stage) for stage in due), ()):
        if code := reproduce(*arguments):
            raise StageError(
                f"dvc repro {' '.join(arguments)} ended with code {code}; what it printed above says why. What was "
                "computed is kept: remedy the cause, then run the same command again."
            )


def failed() -> Iterator[tuple[str, int]]:
    """How many clips failed, by stage in the order of dvc.yaml; a stage that has not run has none.

    What a file is does not change: clips that ingest refused for it are not counted.
    """
    if paths.REFUSED.is_file():
        reasons = tables.read(paths.REFUSED, columns=["reason"])["reason"].to_pylist()
        yield "ingest", sum(Reason.of(reason) is Reason.GIVEN_UP for reason in reasons)
    flags = [flag for table in _column(paths.TRANSCRIPTS, "flags") for flags in table for flag in flags]
    yield "transcribe", sum(Flagged.parse(flag).flag is Flag.RECOGNITION_FAILED for flag in flags)
    for modality in FRAMES:
        yield modality, sum(column.count("failed") for column in _column(paths.FEATURES / modality, "status"))


def _column(folder: Path, name: str) -> Iterator[list]:
    """This column of every file of every data set."""
    for file in sorted(folder.rglob("*.parquet")):
        yield tables.read(file, columns=[name])[name].to_pylist()
