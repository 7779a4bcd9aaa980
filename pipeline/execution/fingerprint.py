"""The one answer to "will it be computed again?": a hash of all that decides a result.

The code counts by what it does: a module's hash is that of its parsed source, without comments and docstrings, and the
hash of a task's code is that of its modules and of every module of this project that they import.
"""

import ast
import hashlib
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
ROOMS = ("app", "model", "pipeline", "rawmsa", "report", "stages")


def key(**parts: Any) -> str:
    """A hash of the parts, independent of their order. Parts must be JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def code(*modules: str) -> str:
    """The hash of these modules and of all that they import, e.g. code("pipeline.audio.covarep")."""
    names = sorted({name for module in modules for name in closure(module)})
    return key(**{name: _parsed(name) for name in names})


@cache
def closure(module: str) -> frozenset[str]:
    """The modules of this project that a module needs, itself among them.

    A package counts where a name is imported from its __init__.py, not where a module of it is imported.
    """
    found: set[str] = set()
    due = {module}
    while due:
        name = due.pop()
        found.add(name)
        due |= _imports(name) - found
    return frozenset(found)


def file(module: str) -> Path | None:
    """The source of a module of this project, below its folder; None where there is none of that name."""
    if module.partition(".")[0] not in ROOMS:
        return None
    path = Path(*module.split("."))
    return next((f for f in (path.with_suffix(".py"), path / "__init__.py") if (ROOT / f).is_file()), None)


@cache
def _imports(module: str) -> frozenset[str]:
    return frozenset(name for name in _named(_tree(module)) if file(name))


def _named(tree: ast.AST) -> Iterator[str]:
    """The modules that are imported anywhere in a tree, but for type checkers."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if file(inner) else node.module
        else:
            yield from _named(node)


def _tree(module: str) -> ast.Module:
    found = file(module)
    if found is None:
        raise ValueError(f"{module} is no module of this project; expected a name such as pipeline.media")
    return ast.parse((ROOT / found).read_bytes())


@cache
def _parsed(module: str) -> str:
    """The source of a module as Python understands it."""
    tree = _tree(module)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node, clean=False
        ):
            node.body[0] = ast.Expr(ast.Constant(...))
    return hashlib.sha256(ast.unparse(tree).encode()).hexdigest()
