"""Speech recognition by faster-whisper (Whisper on CTranslate2, int8, CPU), deterministic: temperature 0, no fallback."""

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import PositiveInt

from pipeline import assets
from pipeline.blocks import Block
from pipeline.errors import AssetError
from pipeline.flags import Flag, Flagged
from pipeline.tables.spoken import Word
from pipeline.transcribe.words import timed

LIBRARIES = ("faster-whisper", "ctranslate2")
NONE = "none"


class Params(Block):
    """The block `transcribe` of params.yaml."""

    recogniser: str
    beam_size: PositiveInt
    max_no_speech: float
    min_logprob: float
    word_times: bool


@dataclass(frozen=True)
class Heard:
    """What the recogniser made of a clip."""

    words: list[Word]
    spoken: str  # as the recogniser writes it
    no_speech: float | None  # its probability that nobody speaks, the highest; None: the sound holds no voice
    obstacle: Flagged | None = None  # why it could not listen

    @classmethod
    def nothing(cls, obstacle: Flagged) -> "Heard":
        return cls([], "", None, obstacle)


def hear(sound: np.ndarray, language: str, options: Params, threads: int) -> Heard:
    """Recognise the words of `sound`: (samples,) float32, mono, 16 kHz. Raises AssetError."""
    found, _ = _model(folder(options.recogniser), threads).transcribe(
        sound,
        language=language,
        beam_size=options.beam_size,
        temperature=0.0,
        condition_on_previous_text=False,
        word_timestamps=True,
        vad_filter=True,
        no_speech_threshold=None,  # segments are dropped below, so that their probability is known
    )
    segments = list(found)
    kept = [s for s in segments if s.no_speech_prob <= options.max_no_speech or s.avg_logprob >= options.min_logprob]
    heard = [word for segment in kept for word in segment.words]
    return Heard(
        words=[part for w in heard for part in timed(w.word, float(w.start), float(w.end), float(w.probability))],
        spoken=" ".join(segment.text.strip() for segment in kept),
        no_speech=max((float(segment.no_speech_prob) for segment in segments), default=None),
    )


def obstacle(language: str, options: Params) -> Flag | None:
    """Why this recogniser hears no clip in this language; None where it does."""
    if options.recogniser == NONE:
        return Flag.NO_RECOGNISER
    if options.recogniser == assets.PACKAGED and language != "en":
        return Flag.ENGLISH_ONLY
    return None if find_spec("faster_whisper") else Flag.NOT_INSTALLED


@cache
def folder(name: str) -> Path:
    """Where the model lies; one on the hub is fetched once. Raises AssetError."""
    found = assets.recogniser(name)
    if isinstance(found, Path):
        return found
    from faster_whisper import download_model

    try:
        return Path(download_model(found))
    except (OSError, ValueError) as error:
        raise AssetError(
            f"transcribe.recogniser of params.yaml asks for {name}, which cannot be had: {error}\n"
            f"Set it to {assets.PACKAGED}, to {NONE} or to the folder of a faster-whisper model, "
            "or let the machine reach the hub once."
        ) from None


@cache
def _model(path: Path, threads: int) -> Any:
    from faster_whisper import WhisperModel

    return WhisperModel(str(path), device="cpu", compute_type="int8", cpu_threads=threads, local_files_only=True)
