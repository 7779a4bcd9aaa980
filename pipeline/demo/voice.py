"""A voice that carries a sentiment: espeak-ng's voices, their pitch, melody, rate and loudness."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from pipeline.demo import espeak
from pipeline.errors import StageError

# Deterministic and understood by Whisper tiny.en; f2, f3, f5 and whisper differ from run to run.
VOICES = (
    "en-us+edward", "en-us+Mike", "en-us+f1", "gmw/en",
    "en-us+Nguyen", "en-us+m1", "en-us+Henrique", "en-us+Diogo",
)  # fmt: skip
LOUDNESS = -25.0  # dB of full scale, root mean square, at sentiment 0
LOUDER = 2.5  # dB a step of sentiment
SILENCE = 0.15  # seconds before and after the words
SHORTEST, LONGEST = 2.0, 4.0  # seconds of a clip


def speak(text: str, voice: str, sentiment: float, seed: int) -> tuple[np.ndarray, int]:
    """Mono samples in [-1, 1] and their rate in Hz, 2-4 s, padded with silence.

    The higher the sentiment in [-3, 3], the higher, livelier, faster and louder. The same arguments give the
    same samples. Raises StageError where espeak-ng fails or the text does not fit into 4 s.
    """
    settings = {
        "pitch": round(50 + 9 * sentiment),
        "range": round(50 + 9 * sentiment),
        "rate": round(185 + 5 * sentiment),
    }
    rate, said = synthesize({"text": text, "voice": voice, "seed": seed, "settings": settings})
    target = 10 ** ((LOUDNESS + LOUDER * sentiment) / 20)
    said *= min(target / np.sqrt(np.mean(said**2)), 1 / np.abs(said).max())
    seconds = max(len(said) / rate + 2 * SILENCE, SHORTEST)
    if seconds > LONGEST:
        raise StageError(
            f"'{text}' takes {seconds:.1f} s, a demo clip at most {LONGEST} s. Shorten it in sentences.py."
        )
    padded = np.zeros(round(seconds * rate), np.float32)
    start = round(SILENCE * rate)
    padded[start : start + len(said)] = said
    return padded, rate


def envelope(sound: np.ndarray, rate: int, fps: int) -> np.ndarray:
    """How loud each video frame is, (T,) in 0-1, whatever the clip's loudness; T covers the sound."""
    count = int(np.ceil(len(sound) * fps / rate))
    edges = np.round(np.arange(count + 1) * rate / fps).astype(int)
    power = [np.mean(sound[start:end] ** 2) for start, end in zip(edges, edges[1:], strict=False)]
    loud = np.sqrt(np.array(power))
    smooth = np.convolve(np.pad(loud, 1, mode="edge"), (0.25, 0.5, 0.25), mode="valid")
    return np.clip(smooth / np.percentile(smooth, 95), 0, 1)


def synthesize(request: dict[str, object]) -> tuple[int, np.ndarray]:
    """The rate in Hz and mono samples in [-1, 1] of what `espeak.synthesize` is asked for. Raises StageError."""
    command = [sys.executable, "-I", str(Path(espeak.__file__))]
    ended = subprocess.run(command, input=json.dumps(request).encode(), capture_output=True)  # noqa: S603  this python, a file of ours
    if ended.returncode or len(ended.stdout) <= 4:
        said = ended.stderr.decode(errors="replace").strip() or "no samples"
        raise StageError(f"espeak-ng could not say {request['text']!r} as {request['voice']}: {said}")
    rate, samples = int.from_bytes(ended.stdout[:4], "little"), ended.stdout[4:]
    return rate, np.frombuffer(samples, np.int16).astype(np.float32) / 32768
