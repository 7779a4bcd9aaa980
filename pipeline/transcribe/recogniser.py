"""Speech recognition by faster-whisper (Whisper on CTranslate2, int8, CPU), deterministic: temperature 0, no fallback.

What is heard here is not yet a text: pipeline/transcribe/trust.py decides that.
"""

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from itertools import groupby, takewhile
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import PositiveInt

from pipeline import assets
from pipeline.blocks import Block
from pipeline.errors import AssetError
from pipeline.flags import Flag, Flagged
from pipeline.media import SAMPLE_RATE as RATE
from pipeline.tables.spoken import Word
from pipeline.transcribe.words import Span, inside, timed

LIBRARIES = ("faster-whisper", "ctranslate2")
NONE = "none"
PAUSE = 1000  # ms without voice that are left out; with less, Whisper loses words
LATE = 0.05  # seconds by which the voice activity detector notices a beginning late
MARGIN = 800  # frames of 10 ms of silence after the sound; with too few, Whisper repeats the last words
TAIL = 1.0  # seconds; of a shorter rest after the last segment, Whisper makes words that nobody said


class Params(Block):
    """The block `transcribe` of params.yaml."""

    recogniser: str
    beam_size: PositiveInt
    min_confidence: float
    word_times: bool


@dataclass(frozen=True)
class Passage:
    """What the recogniser wrote at once: of at most 30 s in which somebody speaks."""

    words: list[Word]
    spoken: str  # as the recogniser writes it
    no_speech: float  # its probability that nobody speaks


@dataclass(frozen=True)
class Heard:
    """What the recogniser made of a clip."""

    passages: list[Passage]
    voiced: list[Span]  # when somebody speaks, by voice activity
    language: str | None = None  # that is spoken, as far as the recogniser can tell languages apart
    language_probability: float = 0.0
    obstacle: Flagged | None = None  # why it could not listen

    @classmethod
    def nothing(cls, obstacle: Flagged) -> "Heard":
        return cls([], [], obstacle=obstacle)

    @property
    def words(self) -> list[Word]:
        return [word for passage in self.passages for word in passage.words]

    @property
    def spoken(self) -> str:
        return " ".join(passage.spoken for passage in self.passages)


def hear(sound: np.ndarray, language: str, options: Params, threads: int) -> Heard:
    """Recognise the words of `sound`: (samples,) float32, mono, 16 kHz. Raises AssetError."""
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    spans = get_speech_timestamps(sound, VadOptions(min_silence_duration_ms=100, speech_pad_ms=0)) if len(sound) else []
    if not spans:
        return Heard([], [])
    voiced = [(max(0.0, span["start"] / RATE - LATE), span["end"] / RATE) for span in spans]
    model = _model(folder(options.recogniser), threads)
    asked: dict[str, Any] = {"vad_filter": True, "vad_parameters": VadOptions(min_silence_duration_ms=PAUSE)}
    spoken, probability = None, 0.0
    if len(model.supported_languages) > 1:
        spoken, probability, _ = model.detect_language(sound, **asked)
    found, about = model.transcribe(
        sound,
        language=language,
        beam_size=options.beam_size,
        temperature=0.0,
        condition_on_previous_text=False,
        word_timestamps=True,
        no_speech_threshold=None,  # what is not trusted is kept with its reason
        **asked,
    )
    last = 100 * (about.duration_after_vad - TAIL)  # seek counts frames of 10 ms
    segments = takewhile(lambda segment: segment.seek == 0 or segment.seek < last, found)
    passages = [_passage(list(part), voiced) for _, part in groupby(segments, key=lambda segment: segment.seek)]
    return Heard(passages, voiced, spoken, float(probability))


def _passage(segments: list[Any], voiced: list[Span]) -> Passage:
    heard = [word for segment in segments for word in segment.words]
    words = [part for w in heard for part in timed(w.word, float(w.start), float(w.end), float(w.probability))]
    return Passage(
        words=inside(words, voiced),
        spoken=" ".join(segment.text.strip() for segment in segments),
        no_speech=float(segments[0].no_speech_prob),
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
    """A WhisperModel whose encoder takes the sound's own length and MARGIN: a clip of 3 s then costs a fourth of the
    30 s that faster-whisper pads it to."""
    from faster_whisper import WhisperModel

    class Unpadded(WhisperModel):
        def encode(self, features: np.ndarray) -> Any:  # (mel bands, 3000), zeros after the sound
            used = int(np.flatnonzero(features.any(axis=0)).max(initial=0)) + 1 + MARGIN
            length = min(used + used % 2, features.shape[1])  # even: the encoder halves it
            return super().encode(np.ascontiguousarray(features[:, :length]))

    return Unpadded(str(path), device="cpu", compute_type="int8", cpu_threads=threads, local_files_only=True)
