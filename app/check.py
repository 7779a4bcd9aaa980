"""All parameters at once: every block of params.yaml, and the file of every network that a block names.

A stage checks them before it works, so that a mistake in a later stage's block costs no extraction.
"""

from collections.abc import Iterator
from typing import Any

from pydantic import PositiveInt

from app import serve
from model import evaluate, settings
from pipeline import assemble, features, params, paths, text, transcribe
from pipeline.datasets import ingest
from pipeline.errors import ParamsError
from pipeline.execution import fingerprint
from pipeline.files import sha256
from pipeline.params import Executor, Limits, Precision
from report.params import Params as Report

BLOCKS: dict[str, Any] = {
    **dict.fromkeys(("workers", "gpu_runs", "processes", "threads"), PositiveInt),
    "executor": Executor,
    "precision": Precision,
    "limits": Limits,
    "ingest": ingest.Params,
    "transcribe": transcribe.Params,
    "text": text.Params,
    "audio": features.Params,
    "vision": features.Params,
    "assemble": assemble.Params,
    "train": settings.Train,
    "evaluate": evaluate.Params,
    "experiment": settings.Experiment,
    "report": Report,
    "serve": serve.Params,
}
TUNE = "tune"  # the block whose check imports torch
REMEDY = "Correct them there; the comments say what each key may be."


def everything() -> None:
    """Raise ParamsError that names every fault of the parameters."""
    if found := faults():
        lines = "\n".join(f"  {fault}" for fault in found)
        raise ParamsError(f"The parameters do not fit:\n{lines}\n{REMEDY}")


def faults() -> list[str]:
    """A line for each fault of the parameters.

    What needs the networks' code, and so torch, is checked once for the same parameters and code: `paths.CHECKED` has
    their hash.
    """
    read = params.read()
    if found := [*(f"{paths.PARAMS}: {fault}" for fault in _blocks(read)), *_networks(whole=False)]:
        return found
    mark = _mark()
    if paths.CHECKED.is_file() and paths.CHECKED.read_text() == mark:
        return []
    if found := [*_networks(whole=True), *(f"{paths.PARAMS}: {fault}" for fault in _tune(read[TUNE]))]:
        return found
    paths.CHECKED.parent.mkdir(exist_ok=True)
    paths.CHECKED.write_text(mark)
    return []


def _blocks(found: dict[str, object]) -> Iterator[str]:
    """What is wrong with params.yaml, apart from `tune`."""
    known = [*BLOCKS, TUNE]
    for name in found:
        if name not in known:
            yield f"{name}: unknown block{params.near(name, known)}"
    for name in known:
        if name not in found:
            yield f"{name}: the block is missing; take it from the repository's params.yaml"
    for name in (name for name in BLOCKS if name in found):
        wrong = params.faults(name, found[name], BLOCKS[name])
        yield from wrong
        if BLOCKS[name] is features.Params and not wrong:
            yield from features.block_faults(name, features.Params.model_validate(found[name]))


def _networks(whole: bool) -> Iterator[str]:
    """What is wrong with the chosen networks' files; `architecture` counts only where it is the whole, which imports torch."""
    try:
        chosen = {
            (name, *choice.model_dump().values()): (name, choice)
            for block in (settings.experiment(), settings.train())
            for name, choice in block.networks.items()
        }
    except ParamsError:  # which _blocks names
        return
    for name, choice in chosen.values():
        yield from settings.faults(name, choice, whole)


def _tune(found: object) -> Iterator[str]:
    """What is wrong with `tune`, and with the values that it would search."""
    from app import tune

    wrong = params.faults(TUNE, found, tune.Params)
    yield from wrong
    chosen = settings.networks()
    for name, space in () if wrong else tune.Params.model_validate(found).space.items():
        if name in chosen:
            for key, values in space.items():
                for value in values:
                    for fault in settings.faults(name, chosen[name], True, params.nested({key: value}))[:1]:
                        yield f"tune.space.{name}.{key}: found {value!r}; {fault}"
        elif not paths.network(name).is_file():
            yield f"tune.space.{name}: there is no network of that name{params.near(name, chosen)}"


def _mark() -> str:
    """A hash of the parameters and of the code, byte by byte."""
    code = [file for room in fingerprint.ROOMS for file in (fingerprint.ROOT / room).rglob("*.py")]
    files = {str(file.relative_to(fingerprint.ROOT)): file for file in code}
    files |= {str(file): file for file in (paths.PARAMS, *paths.NETWORKS.glob("*.yaml"))}
    return fingerprint.key(**{name: sha256(file) for name, file in files.items()})
