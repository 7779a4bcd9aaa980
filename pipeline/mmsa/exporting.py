"""A training table -> the .pkl that MMSA reads: padded arrays by split, and the lists beside them.

The frames are those that a network here sees: standardised by the train split, 0 where nothing is there. The lengths
follow the field's rule: int(mean + 3 standard deviations) over all splits; longer clips keep their head, shorter ones
end in zeros. Where a clip lacks a modality it has one frame of zeros (text: [CLS] alone), since the peers' networks
cannot take a length of 0. `text`, token vectors of a BERT that is not fine-tuned, is not written: networks with
use_bert, as Self-MM, read text_bert, and zeros in its place would be trained on without a word.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline import paths, tables
from pipeline.assemble import FRAMES
from pipeline.errors import TableError
from pipeline.mmsa.importing import SEPARATOR
from pipeline.tables import SPLITS, Statistics, TrainingMetadata

PROTOCOL = 4  # which every Python since 3.4 reads


def run(dataset: str, file: Path | None) -> None:
    """Write data/export/<dataset>.pkl, or `file`, and print what it holds. Raises TableError."""
    table = tables.read_arrow(paths.table(dataset))
    file = file or paths.EXPORT / f"{dataset}.pkl"
    content = contents(table)
    file.parent.mkdir(parents=True, exist_ok=True)
    part = file.with_name(f".{file.name}.part")
    with part.open("wb") as target:
        pickle.dump(content, target, protocol=PROTOCOL)
    part.replace(file)
    sizes = ", ".join(f"{split} {len(content[split]['id'])}" for split in SPLITS)
    shapes = ", ".join(f"{name} {content['train'][name].shape[1:]}" for name in ("text_bert", *FRAMES))
    print(f"export: {file}: {sizes}; {shapes}")


def contents(table: pa.Table) -> dict[str, dict[str, Any]]:
    """What the file holds: train, valid and test, and under `config` what was done. Raises TableError."""
    metadata = tables.read_metadata(TrainingMetadata, table)
    splits = table["split"].to_pylist()
    if not set(SPLITS) <= set(splits):
        raise TableError(
            f"{metadata.dataset} has clips in {', '.join(sorted({s for s in splits if s})) or 'no split'}; MMSA needs "
            "train, valid and test. Add labels (and a mode) to its label.csv, then: dvc repro assemble"
        )
    clips = {"text": [np.array(ids, np.int64) for ids in table["input_ids"].to_pylist()]}
    clips |= {modality: _frames(table, modality, (metadata.statistics or {})[modality]) for modality in FRAMES}
    longest = {modality: _longest([len(x) for x in arrays]) for modality, arrays in clips.items()}
    if metadata.policy.aligned:
        longest = dict.fromkeys(longest, longest["text"])
    start = next((ids[0] for ids in clips["text"] if len(ids)), 0)  # [CLS]
    clips["text"] = [ids if len(ids) else np.array([start]) for ids in clips["text"]]
    rows = {split: [row for row, found in enumerate(splits) if found == split] for split in SPLITS}
    described = metadata.content()
    kept = {key: described[key] for key in ("dataset", "columns", "statistics", "extraction", "policy", "encoder")}
    return {**{split: _split(table, rows[split], clips, longest) for split in SPLITS}, "config": kept}


def _split(
    table: pa.Table, rows: list[int], clips: dict[str, list[np.ndarray]], longest: dict[str, int]
) -> dict[str, object]:
    found = table.select(["id", "transcript", "label", *tables.UNIMODAL.values()]).take(rows)
    labels = found["label"].to_numpy()
    human = {name: found[name].to_numpy() for name in tables.UNIMODAL.values()}
    padded = {modality: [_padded(clips[modality][row], longest[modality]) for row in rows] for modality in FRAMES}
    return {
        "raw_text": found["transcript"].to_pylist(),
        "id": [SEPARATOR.join(id.rsplit("/", 1)) for id in found["id"].to_pylist()],
        "text_bert": np.stack([_tokens(clips["text"][row], longest["text"]) for row in rows]),  # (N, 3, L)
        **{modality: np.stack(arrays) for modality, arrays in padded.items()},  # (N, L, D)
        **{f"{m}_lengths": [min(len(clips[m][row]), longest[m]) for row in rows] for m in FRAMES},
        "regression_labels": labels.astype(np.float32),
        **{f"regression_{name.replace('label', 'labels')}": x for name, x in human.items() if np.isfinite(x).all()},
        "annotations": [("Negative", "Neutral", "Positive")[int(sign) + 1] for sign in np.sign(labels)],
    }


def _frames(table: pa.Table, modality: str, statistics: Statistics) -> list[np.ndarray]:
    """Each clip's frames as a batch holds them; one frame of zeros where there are none."""
    if modality not in table.column_names:
        return [np.zeros((1, 1), np.float32)] * len(table)
    mean, std = (np.array(values, np.float32) for values in (statistics.mean, statistics.std))
    frames = [(tables.sequence(cell) - mean) / std for cell in table[modality]]
    return [np.nan_to_num(x, nan=0.0) if len(x) else np.zeros((1, len(mean)), np.float32) for x in frames]


def _longest(lengths: list[int]) -> int:
    return max(int(np.mean(lengths) + 3 * np.std(lengths)), 1)


def _padded(x: np.ndarray, length: int) -> np.ndarray:
    """The head, then zeros."""
    return np.concatenate([x[:length], np.zeros((max(length - len(x), 0), *x.shape[1:]), x.dtype)])


def _tokens(ids: np.ndarray, length: int) -> np.ndarray:
    """(3, L) float32: ids, mask, segments."""
    return np.stack([_padded(row, length) for row in (ids, np.ones_like(ids), np.zeros_like(ids))]).astype(np.float32)
