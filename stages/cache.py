"""rawmsa cache: what the clip and run cache holds, and its pruning."""

import json

from rich.console import Console
from rich.table import Table

from pipeline import cache, paths


def main(prune: bool) -> None:
    if prune:
        freed = cache.prune()
        print(f"Freed {freed / 2**20:,.1f} MiB.")
    table = Table("kind", "parameter set", "entries", "MiB", title=str(paths.cache()))
    for line in cache.usage():
        params = "[dim]no parameter set[/dim]" if line.params is None else json.dumps(line.params)
        table.add_row(line.kind, params, str(line.entries), f"{line.bytes / 2**20:,.1f}")
    Console().print(table)
