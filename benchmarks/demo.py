"""Whether the demo's clips carry what they were made to carry, as our own pipeline sees it.

    rawmsa demo --clips 300 && dvc repro && python -m benchmarks.demo

Prints the share of frames with a face, how the face's truth goes with mean mouthSmile and the voice's with
mean level (MCEP_0), the recogniser's word error rate on the withheld texts, and each seed's MAE on the test split
beside that of the train median.
"""

import csv
import json

import numpy as np

from benchmarks.wer import errors
from pipeline import paths, tables
from pipeline.transcribe.words import normalise

DEMO = "demo"


def means(modality: str, names: tuple[str, ...]) -> tuple[list[float], float]:
    """Of each clip the mean of these columns over unmasked frames; and the share of such frames."""
    path = paths.features(modality, DEMO)
    columns = [column["name"] for column in tables.metadata(path)["columns"]]
    places = [columns.index(name) for name in names]
    table = tables.read(path)
    masks = [np.array(mask, bool) for mask in table["mask"].to_pylist()]
    values = [tables.sequence(x)[mask][:, places].mean() for x, mask in zip(table["x"], masks, strict=True)]
    return values, float(np.concatenate(masks).mean())


def main() -> None:
    labels = [row for row in tables.read(paths.LABELS).to_pylist() if row["dataset"] == DEMO]
    smiles, share = means("vision", ("mouthSmileLeft", "mouthSmileRight"))
    level, _ = means("audio", ("MCEP_0",))
    print(f"{len(labels)} clips, a face in {share:.2%} of frames")
    print(f"face's truth and mean mouthSmile: r {np.corrcoef(smiles, [row['label_V'] for row in labels])[0, 1]:.2f}")
    print(
        f"voice's truth and mean level (MCEP_0): r {np.corrcoef(level, [row['label_A'] for row in labels])[0, 1]:.2f}"
    )
    with (paths.RAW / DEMO / "truth.csv").open(newline="") as file:
        truth = {f"{row['video_id']}/{row['clip_id']}": normalise(row["text"]).split() for row in csv.DictReader(file)}
    heard = [row for row in tables.read(paths.transcripts(DEMO)).to_pylist() if row["source"] == "recogniser"]
    wrong = sum(errors(row["text"].split(), truth[row["id"]]) for row in heard)
    print(f"{len(heard)} clips heard, word error rate {wrong / sum(len(truth[row['id']]) for row in heard):.3f}")
    floor = json.loads(paths.METRICS.read_text())[DEMO]["train_median"]["mae"]
    tested = [
        row for row in tables.read(paths.PREDICTIONS).to_pylist() if row["dataset"] == DEMO and row["split"] == "test"
    ]
    for seed in sorted({row["seed"] for row in tested}):
        mae = np.mean([abs(row["prediction"] - row["label"]) for row in tested if row["seed"] == seed])
        print(f"seed {seed}: MAE {mae:.3f}, train median {floor:.3f}")


if __name__ == "__main__":
    main()
