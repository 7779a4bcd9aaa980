"""rawmsa runs --experiments: what each experiment of DVC changed against its baseline, and how well it did.

git says which experiments there are, what their parameters are and what their metrics.json holds; DVC's cache holds
their data/runs, whose records give the validation MAE and lead to the logs of the trainings.
"""

import json
import re
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path, PurePosixPath

import yaml
from pydantic import JsonValue, ValidationError

from model import run_files
from model.run_files import RunRecord
from model.training import logs
from model.training.logs import git
from pipeline import params, paths, tables
from pipeline.errors import RawmsaError

REF = re.compile(r"refs/exps/([0-9a-f]{2})/([0-9a-f]{38})/(.+)")  # DVC's names for its experiments in git
CODE = ("app", "model", "pipeline", "report", "stages")
WIDTH = 100  # characters of a line of the table
SHORT = 7  # digits of a revision


@dataclass(frozen=True)
class Revision:
    """A commit that holds parameters and results. baseline: the commit that it is compared with, its own for a baseline."""

    name: str
    commit: str
    baseline: str
    created: datetime


@dataclass(frozen=True)
class Line:
    """What became of one network on one data set in one experiment.

    changed: parameters by dotted key, those of a network behind its file's name, as "15 -> 10"; empty for the baseline.
    valid_mae: mean over the seeds, test_mae likewise with its standard deviation; seconds: of all its trainings. None
    where metrics.json or DVC's cache does not have it.
    """

    experiment: str
    revision: str
    baseline: str
    created: str
    changed: dict[str, str]
    dataset: str
    network: str
    valid_mae: float | None
    test_mae: float | None
    test_std: float | None
    seeds: int
    seconds: float | None
    keys: tuple[str, ...]  # of the runs in the cache


def listing(as_json: bool, file: Path | None) -> None:
    """Print a line for each network, data set and experiment, as a table or as JSON; with `file`, write them as CSV.

    Baselines come before their experiments, old before new. Raises RawmsaError where git has no commit, or DVC is missing.
    """
    revisions = _revisions()
    found = [line for revision in revisions for line in _lines(revision)]
    if file:
        _write(file, found)
    elif as_json:
        print(json.dumps([vars(line) for line in found], indent=2, ensure_ascii=False))
    elif found:
        _print(found)
    if not any(one.commit != one.baseline for one in revisions):
        print("There are no experiments yet. Make one with: dvc exp run --name NAME -S KEY=VALUE", file=sys.stderr)


def names() -> dict[str, list[str]]:
    """The experiments that hold a run, by its key in the cache; empty where there are none."""
    found: dict[str, list[str]] = {}
    try:
        revisions = _revisions()
        experiments = [one for one in revisions if one.commit != one.baseline]
        every = [line for one in (revisions if experiments else ()) for line in _lines(one)]
    except RawmsaError:  # without git or DVC there are none
        return found
    for line in every:
        for key in line.keys:
            found.setdefault(key, []).append(line.experiment)
    return found


def _revisions() -> list[Revision]:
    listed = git("for-each-ref", "--format=%(refname) %(objectname) %(committerdate:iso-strict)", "refs/exps")
    head = git("rev-parse", "HEAD")
    if listed is None or head is None:
        raise RawmsaError(
            "DVC's experiments need a git repository with a commit. Make one: git init; git add -A; git commit"
        )
    experiments = []
    for ref, commit, created in (line.rsplit(" ", 2) for line in listed.splitlines()):
        if found := REF.fullmatch(ref):
            experiments.append(Revision(found[3], commit, found[1] + found[2], datetime.fromisoformat(created)))
    baselines = [_baseline(commit, head) for commit in {head, *(one.baseline for one in experiments)}]
    when = {one.commit: one.created for one in baselines}
    return sorted(
        baselines + experiments, key=lambda one: (when[one.baseline], one.commit != one.baseline, one.created, one.name)
    )


def _baseline(commit: str, head: str) -> Revision:
    created, subject = (git("show", "--no-patch", "--format=%cI %s", commit) or "").split(" ", 1)
    name = "baseline" if commit == head else f"baseline: {subject}"
    return Revision(name, commit, commit, datetime.fromisoformat(created))


def _lines(revision: Revision) -> Iterator[Line]:
    changed = dict(_changes(revision))
    metrics = json.loads(git("show", f"{revision.commit}:{paths.METRICS}") or "{}")
    trained: dict[tuple[str, str], list[RunRecord]] = {}
    for made in _runs(revision.commit):
        trained.setdefault((made.dataset, made.network), []).append(made)
    for dataset, network in sorted(trained or _scored(metrics)):
        records = trained.get((dataset, network), [])
        scores = metrics.get(dataset, {}).get(network, {})
        seconds = [log.seconds for made in records if (log := logs.read(made.key))]
        yield Line(
            experiment=revision.name,
            revision=revision.commit[:SHORT],
            baseline=revision.baseline[:SHORT],
            created=f"{revision.created.astimezone():%F %R}",
            changed=changed,
            dataset=dataset,
            network=network,
            valid_mae=statistics.fmean(made.valid.mae for made in records) if records else None,
            test_mae=scores.get("mae"),
            test_std=scores.get("std", {}).get("mae"),
            seeds=scores.get("seeds") or len(records),
            seconds=sum(seconds) if seconds and len(seconds) == len(records) else None,
            keys=tuple(made.key for made in records),
        )


def _scored(metrics: Mapping[str, Mapping[str, Mapping[str, object]]]) -> set[tuple[str, str]]:
    """The networks of metrics.json, without the floors, which have no seeds."""
    return {
        (dataset, name) for dataset, found in metrics.items() for name, scores in found.items() if "seeds" in scores
    }


def _runs(commit: str) -> list[RunRecord]:
    """The records of data/runs as DVC's cache holds them for this commit; none where it does not."""
    try:
        from dvc.api import DVCFileSystem
        from dvc.exceptions import DvcException
    except ImportError:
        raise RawmsaError(
            "DVC is not installed, and DVC's experiments need it. Install it with: make install"
        ) from None
    found = []
    try:
        files = DVCFileSystem(rev=commit)
        for file in sorted(files.glob(f"{paths.RUNS}/*/*/{run_files.RUN}")):
            found.append(RunRecord.model_validate_json(files.read_text(file)))
    except (OSError, DvcException, ValidationError):  # not in the cache any more, no DVC project, or of another version
        return []
    return found


def _changes(revision: Revision) -> Iterator[tuple[str, str]]:
    """What differs from the baseline: parameters of every stage and network, and how many files of code."""
    if revision.commit == revision.baseline:
        return
    differing = git("diff", "--name-only", revision.baseline, revision.commit) or ""
    files = [PurePosixPath(name) for name in differing.splitlines()]
    for file in files:
        if str(file) == str(paths.PARAMS) or file.parts[0] == "networks":
            stem = "" if str(file) == str(paths.PARAMS) else f"{file.stem}: "
            before, after = (_values(commit, file) for commit in (revision.baseline, revision.commit))
            for key in sorted(before.keys() | after.keys()):
                if before.get(key) != after.get(key):
                    yield f"{stem}{key}", f"{_text(before.get(key))} -> {_text(after.get(key))}"
    if code := [file for file in files if file.suffix == ".py" and file.parts[0] in CODE]:
        yield "code", f"{len(code)} {'file' if len(code) == 1 else 'files'}"


def _values(commit: str, file: PurePosixPath) -> dict[str, JsonValue]:
    return params.flat(yaml.safe_load(git("show", f"{commit}:{file}") or "") or {})


def _text(value: JsonValue) -> str:
    return "none" if value is None else str(value)


def _write(file: Path, found: Sequence[Line]) -> None:
    rows = [
        vars(line)
        | {
            "changed": "; ".join(f"{key}: {change}" for key, change in line.changed.items()),
            "keys": " ".join(line.keys),
        }
        for line in found
    ]
    tables.write_csv(file, [field.name for field in fields(Line)], rows)


def _print(found: Sequence[Line]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE, pad_edge=False)
    for name in ("experiment", "changed"):
        table.add_column(name, overflow="fold")
    for name in ("run", "valid MAE", "test MAE", "seeds", "time"):
        table.add_column(name, no_wrap=name != "run", overflow="fold")
    for line in found:
        table.add_row(
            line.experiment,
            "\n".join(f"{key}: {change}" for key, change in line.changed.items()),
            f"{line.dataset}/{line.network}",
            _number(line.valid_mae),
            _number(line.test_mae) + (f" ± {line.test_std:.3f}" if line.test_std is not None else ""),
            str(line.seeds),
            f"{line.seconds:.0f} s" if line.seconds is not None else "-",
        )
    Console(markup=False, emoji=False, width=WIDTH, highlight=False).print(table)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
