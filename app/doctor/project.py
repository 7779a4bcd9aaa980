"""The project's folder: DVC, git, and room for what dvc repro makes."""

import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from configparser import ConfigParser
from contextlib import suppress
from pathlib import Path
from typing import Literal

from app import check
from app.doctor.finding import Finding
from model import settings
from model.training.logs import DECIDING, git
from pipeline import datasets, params, paths, text
from pipeline.datasets import description
from pipeline.errors import DatasetError, ParamsError
from pipeline.media import SOUNDS, VIDEOS, extension

ACTIVATE = "Activate the environment: . .venv/bin/activate"
PATIENCE = 20  # seconds
DVC = Path(".dvc")
# Bytes, by du -sb on the demo of 60 clips, 181 s, with covarep and landmarks: 8.5 MB of clips in the cache; 6.9 MB of
# features and tables, of which DVC keeps a copy; 91 MB of weights, which lie in the cache, in data/runs and in DVC's.
CACHED, MADE, WEIGHTS = 47_000, 2 * 38_000, 91_000_000  # a second of clip; the same; a network and data set
SOUND = 8_000  # a second of compressed speech
VIDEO = 100_000  # a second of video at a low rate: the field's clips have 130,000 to 440,000
IMPORTED = 2  # times their own size: features and tables; DVC's copies on top


def parameters() -> Iterator[Finding]:
    """What a stage would say of params.yaml and the networks' files before it works."""
    faults = check.faults()
    for fault in faults:
        yield Finding("fault", fault, check.REMEDY)
    if not faults:
        yield Finding("ok", f"{paths.PARAMS} and {paths.NETWORKS}/: every parameter fits")


def encoders() -> Iterator[Finding]:
    """The text encoder of each data set's language; the hub is asked once for each that is not on this machine."""
    try:
        options = params.load("text", text.Params)
        folders = datasets.discover(paths.RAW)[0] if paths.RAW.is_dir() else []
    except ParamsError:  # which `parameters` reports
        return
    languages: dict[str, list[str]] = {}
    for folder in folders:
        with suppress(DatasetError):  # ingest refuses it
            languages.setdefault(description.load(folder).language, []).append(folder.name)
    obstacles = {language: options.obstacle(language) for language in languages}
    state: Literal["note", "fault"] = "note" if "" in obstacles.values() else "fault"
    for language, obstacle in obstacles.items():
        if obstacle:
            names = ", ".join(languages[language])
            yield Finding(state, f"{names}: without texts, with sound and picture alone, since {obstacle}")
    if fine := [language for language, obstacle in obstacles.items() if not obstacle]:
        yield Finding("ok", f"text encoders: {', '.join(f'{name} {options.encoder[name]}' for name in fine)}")


def dvc() -> Iterator[Finding]:
    """Stages run as `python -m stages <name>`: the python that PATH finds first must be this one."""
    if not shutil.which("dvc"):
        yield Finding("fault", "dvc is not on PATH", f"{ACTIVATE} (make install makes it)")
    python = shutil.which("python")
    prefix = _prefix(python) if python else None
    if prefix is None or Path(prefix).resolve() != Path(sys.prefix).resolve():
        yield Finding("fault", f"python on PATH is {python or 'not there'}, expected that of {sys.prefix}", ACTIVATE)
    elif not DVC.is_dir():
        yield Finding(
            "fault", f"there is no folder {DVC}: this is no DVC project yet", "Make it one: git init; dvc init"
        )
    else:
        yield Finding("ok", f"DVC: python of PATH is {python}")


def revision() -> Iterator[Finding]:
    """Experiments need git and a commit; dvc repro needs a repository alone, and not even that where DVC is told so."""
    if git("rev-parse", "--is-inside-work-tree") != "true":
        if _no_scm():
            yield Finding("note", "no git repository: dvc repro works, dvc exp does not")
        else:
            yield Finding("fault", "this is no git repository that git can read", "Make it one: git init")
        return
    commit = git("rev-parse", "--verify", "HEAD")
    if commit is None:
        yield Finding("note", "git has no commit yet, which dvc exp needs", "Make one: git add -A; git commit")
        return
    if git("status", "--porcelain", "--", *DECIDING):
        yield Finding("note", f"git: code or params.yaml differ from commit {commit[:7]}; the runs' logs will say so")
    else:
        yield Finding("ok", f"git: commit {commit[:7]}, code and params.yaml unchanged")
    tracked = Path(f"{paths.RAW}.dvc")
    if paths.RAW.is_dir() and not git("ls-files", str(tracked)):
        made = "" if tracked.is_file() else f"dvc add {paths.RAW}; "
        yield Finding(
            "note",
            f"{paths.RAW} is not tracked, so queued and temporary experiments (dvc exp run --queue, --temp) do not see it",
            f"Before the first one: {made}git add {tracked}",
        )


def disk() -> Iterator[Finding]:
    """Free bytes against what is still to be made, a disk at a time: data/ and the cache may lie on two."""
    needed = {place: max(0, made - there) for place, made, there in _estimates()}
    by_device: dict[int, list[Path]] = {}
    for place in needed:
        by_device.setdefault(_existing(place).stat().st_dev, []).append(place)
    for places in by_device.values():
        free, need = shutil.disk_usage(_existing(places[0])).free, sum(needed[place] for place in places)
        told = f"disk of {' and '.join(map(str, places))}: {_gib(free)} free, about {_gib(need)} needed"
        if free < need:
            yield Finding("fault", told, "Make room, or put the cache on another disk: RAWMSA_CACHE=<folder>")
        else:
            yield Finding("ok", told)


def _estimates() -> Iterator[tuple[Path, int, int]]:
    """Of data/ (with DVC's cache) and of our cache: the bytes that the outputs of data/raw take, and those there already."""
    rates = dict.fromkeys(VIDEOS, VIDEO) | dict.fromkeys(SOUNDS, SOUND)
    seconds = sum(size / rates[kind] for file, size in _sizes(paths.RAW) if (kind := extension(file.name)) in rates)
    imported = sum(size for file, size in _sizes(paths.RAW) if file.match(str(paths.imported("*", "*"))))
    sets = datasets.discover(paths.RAW)[0] if paths.RAW.is_dir() else []
    weights = WEIGHTS * len(sets) * _networks()
    raw, data, copies, cache = (
        sum(size for _, size in _sizes(folder)) for folder in (paths.RAW, paths.DATA, DVC / "cache", paths.cache())
    )
    yield paths.DATA, int(MADE * seconds) + 2 * IMPORTED * imported + 2 * weights, data - raw + copies
    yield paths.cache(), int(CACHED * seconds) + weights, cache


def _networks() -> int:
    """How many networks are trained; 0 where the block does not fit, which `parameters` reports."""
    try:
        return len(settings.train().networks)
    except ParamsError:
        return 0


def _sizes(folder: Path) -> Iterator[tuple[Path, int]]:
    """The regular files below a folder with their bytes; nothing is opened."""
    for place, _, names in os.walk(folder):
        for file in (Path(place, name) for name in names):
            try:
                status = file.stat()
            except OSError:  # a link to nothing; raw.entries names it
                continue
            if stat.S_ISREG(status.st_mode):
                yield file, status.st_size


def _existing(place: Path) -> Path:
    """The place, or the folder that it will be made in."""
    return next(folder for folder in (place.absolute(), *place.absolute().parents) if folder.exists())


def _prefix(python: str) -> str | None:
    """Where that python's packages lie."""
    code = "import sys; print(sys.prefix)"
    try:
        done = subprocess.run((python, "-c", code), capture_output=True, text=True, timeout=PATIENCE)  # noqa: S603  what dvc repro is about to run
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _no_scm() -> bool:
    """Whether DVC was made to do without git (dvc init --no-scm)."""
    config = ConfigParser(strict=False)
    config.read((DVC / "config", DVC / "config.local"))
    return config.getboolean("core", "no_scm", fallback=False)


def _gib(count: int) -> str:
    return f"{count / 2**30:,.1f} GiB"
