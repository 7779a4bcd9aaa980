"""A small data set that can be learned, as an MMSA .pkl: words, sound and face each carry a part of the label.

200 train, 50 valid and 50 test clips; text of 5-20 words, up to 60 frames of 74 audio columns (COVAREP's width) and
up to 40 of 35 vision columns (FACET's), labels from -3 to 3 in steps of .2 on MOSI's scale. Same seed, same file.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np

CLIPS = {"train": 200, "valid": 50, "test": 50}
CLIPS_A_VIDEO = 5
WORDS = (5, 20)  # a clip has
TOKENS = WORDS[1] + 2  # with [CLS] and [SEP]; every word below is one token of bert-base-uncased's vocabulary
FRAMES = {"audio": (60, 74), "vision": (40, 35)}  # at most so many frames, columns
SHARES = {"text": 0.6, "audio": 0.25, "vision": 0.15}  # of the label
TELLING = 0.4  # share of the words that carry the text's mood; the others are about anything
STRENGTH = 0.5  # of a mood in a frame, whose noise has deviation 1
POSITIVE = [
    "great",
    "wonderful",
    "brilliant",
    "excellent",
    "funny",
    "amazing",
    "beautiful",
    "perfect",
    "impressive",
    "charming",
]
NEGATIVE = ["terrible", "awful", "boring", "horrible", "stupid", "ugly", "dull", "poor", "weak", "pathetic"]
NEUTRAL = [
    "the",
    "film",
    "scene",
    "actor",
    "story",
    "was",
    "and",
    "it",
    "that",
    "really",
    "of",
    "music",
    "with",
    "this",
    "director",
    "plot",
]


def make(file: Path, encoder: Path, seed: int = 0) -> None:
    """Write the .pkl; encoder: the folder of the BERT whose tokens the file holds."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(encoder)
    rng = np.random.default_rng(seed)
    directions = {modality: rng.normal(size=columns) for modality, (_, columns) in FRAMES.items()}
    content, first = {}, 0
    for split, count in CLIPS.items():
        content[split] = _split(rng, tokenizer, directions, first, count)
        first += count
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(pickle.dumps(content, protocol=4))


def _split(
    rng: np.random.Generator, tokenizer: Any, directions: dict[str, np.ndarray], first: int, count: int
) -> dict[str, Any]:
    """first: the number of the split's first clip, so that no two splits share a video."""
    moods = {modality: rng.uniform(-1, 1, count) for modality in SHARES}
    labels = np.round(sum(share * moods[m] for m, share in SHARES.items()) * 15) / 5 + 0.0  # -3 to 3, in fifths; no -0
    texts = [_text(rng, mood) for mood in moods["text"]]
    tokens = tokenizer(texts, padding="max_length", truncation=True, max_length=TOKENS)
    ids, mask = np.array(tokens["input_ids"]), np.array(tokens["attention_mask"])
    content = {
        "raw_text": texts,
        "id": [f"video{clip // CLIPS_A_VIDEO:02d}$_${clip % CLIPS_A_VIDEO}" for clip in range(first, first + count)],
        "text_bert": np.stack([ids, mask, np.zeros_like(ids)], axis=1).astype(np.float32),  # (N, 3, L)
        "regression_labels": labels.astype(np.float32),
        "annotations": [("Negative", "Neutral", "Positive")[int(sign) + 1] for sign in np.sign(labels)],
    }
    for modality, (longest, columns) in FRAMES.items():
        lengths = rng.integers(longest // 3, longest + 1, count)
        shift = STRENGTH * moods[modality][:, None, None] * directions[modality]
        there = np.arange(longest)[None, :, None] < lengths[:, None, None]
        frames = np.where(there, rng.normal(size=(count, longest, columns)) + shift, 0)  # (N, T, D)
        content |= {modality: frames.astype(np.float32), f"{modality}_lengths": lengths.tolist()}
    return content


def _text(rng: np.random.Generator, mood: float) -> str:
    words = []
    for _ in range(rng.integers(WORDS[0], WORDS[1] + 1)):
        chosen = NEUTRAL if rng.random() > TELLING else POSITIVE if rng.random() < (mood + 1) / 2 else NEGATIVE
        words.append(str(rng.choice(chosen)))
    return " ".join(words)
