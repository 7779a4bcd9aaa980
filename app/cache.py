"""rawmsa cache: what the clip and run cache holds, and its pruning."""

import json

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from pipeline import params, paths
from pipeline.execution import cache, locks

LONGEST = 160  # characters of a parameter set


def main(prune: bool) -> None:
    params.read()  # says so outside a project
    if prune:
        with locks.lock(
            "cache --prune", alone=True
        ):  # a stage that runs, here or elsewhere, must not lose what it makes
            freed = cache.prune()
        print(f"Freed {freed / 2**20:,.1f} MiB.")
    table = Table("kind", "project", "parameter set", "entries", "MiB", title=escape(str(paths.cache())))
    for line in cache.usage():
        used_by = "[dim]no parameter set[/dim]" if line.project is None else escape(_short(line.params))
        table.add_row(line.kind, _project(line), used_by, str(line.entries), f"{line.bytes / 2**20:,.1f}")
    table.add_section()
    table.add_row("all", "", "", "", f"{cache.size() / 2**20:,.1f}")
    Console().print(table)


def _project(line: cache.Usage) -> str:
    return "this" if line.project == str(paths.project()) else escape(line.project or "")


def _short(params: object) -> str:
    """A parameter set in a line."""
    text = json.dumps(params)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
