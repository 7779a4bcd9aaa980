"""The one answer to "will it be computed again?": a Fingerprint is all that decides the results of a task.

Code counts by what it does: a module's hash is that of its parsed source, without comments and docstrings. A task's code is
the modules that compute it and every module of this project that they import. A module that calls a library whose version
changes results names its package in a line of its own, e.g. LIBRARIES = ("librosa",); whoever imports the module has it too.
"""

import ast
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pipeline.errors import AssetError
from pipeline.files import sha256

ROOT = Path(__file__).parents[2]
ROOMS = ("app", "model", "pipeline", "rawmsa", "report", "stages")
WITHOUT_EFFECT = frozenset(
    {"model.training.gpus"}
)  # says where work is done: no result depends on it, nor on what it needs
OTHER_BINARY = {
    "imageio-ffmpeg": "IMAGEIO_FFMPEG_EXE"
}  # by package, the variable that names another binary than its own


@dataclass(frozen=True)
class Fingerprint:
    """What decides the results of a task, beside the input of each.

    modules: the modules that compute them; params: the settings, as JSON; models: by name, the SHA-256 or revision of a model.
    """

    modules: tuple[str, ...]
    params: object = None
    models: Mapping[str, str | None] | None = None

    def key(self, **inputs: object) -> str:
        """The key of one result. inputs: hashes of what is read, and what else tells it from other results; as JSON."""
        return key(
            code=code(*self.modules),
            libraries=libraries(*self.modules),
            params=self.params,
            models=self.models,
            inputs=inputs,
        )


def key(**parts: object) -> str:
    """A hash of the parts, independent of their order. Parts must be JSON."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


@cache
def code(*modules: str) -> str:
    """The hash of these modules and of all that they import, e.g. code("pipeline.audio.covarep")."""
    return key(**{name: _source(name).code for name in _needed(modules)})


@cache
def libraries(*modules: str) -> dict[str, str]:
    """The packages that these modules, or any that they import, name in LIBRARIES, with their versions.

    Raises AssetError where one is not installed.
    """
    return versions(sorted({package for name in _needed(modules) for package in _source(name).libraries}))


def versions(packages: Iterable[str]) -> dict[str, str]:
    """The versions of these packages. Raises AssetError where one is not installed."""
    return {package: _version(package) for package in packages}


@cache
def closure(module: str, without: frozenset[str] = frozenset()) -> frozenset[str]:
    """The modules of this project that a module needs, itself among them, less `without` and what only these need.

    A package counts where a name is imported from its __init__.py, not where a module of it is imported.
    """
    found: set[str] = set()
    due = {module}
    while due:
        name = due.pop()
        found.add(name)
        due |= imports(name) - found - without
    return frozenset(found)


def imports(module: str) -> frozenset[str]:
    """The modules of this project that a module imports itself."""
    return _source(module).imports


def file(module: str) -> Path | None:
    """The source of a module of this project, below its folder; None where there is none of that name."""
    if module.partition(".")[0] not in ROOMS:
        return None
    path = Path(*module.split("."))
    return next((f for f in (path.with_suffix(".py"), path / "__init__.py") if (ROOT / f).is_file()), None)


@dataclass(frozen=True)
class _Source:
    """What a module's source says: the hash of its code, what it imports, the packages of its LIBRARIES."""

    code: str
    imports: frozenset[str]
    libraries: tuple[str, ...]


@cache
def _source(module: str) -> _Source:
    found = file(module)
    if found is None:
        raise ValueError(f"{module} is no module of this project; expected a name such as pipeline.media")
    tree = ast.parse((ROOT / found).read_bytes())
    package = module if found.name == "__init__.py" else module.rpartition(".")[0]
    named = frozenset(name for name in _imported(tree, package) if file(name))
    return _Source(hashlib.sha256(_plain(tree).encode()).hexdigest(), named, _libraries(tree))


def _needed(modules: tuple[str, ...]) -> list[str]:
    return sorted({name for module in modules for name in closure(module, WITHOUT_EFFECT)})


def _imported(tree: ast.AST, package: str) -> Iterator[str]:
    """The modules that are imported anywhere in a tree, but for type checkers."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            module = ".".join([*above, *filter(None, [node.module])])
            for alias in node.names:
                inner = f"{module}.{alias.name}"
                yield inner if file(inner) else module
        else:
            yield from _imported(node, package)


def _libraries(tree: ast.Module) -> tuple[str, ...]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and [getattr(target, "id", "") for target in node.targets] == ["LIBRARIES"]:
            return tuple(ast.literal_eval(node.value))
    return ()


def _plain(node: object) -> str:
    """A tree as text, without strings that stand alone (docstrings), and alike in every version of Python: ast.dump and
    ast.unparse are not."""
    if isinstance(node, list):
        return f"[{','.join(filter(None, map(_plain, node)))}]"
    if not isinstance(node, ast.AST):
        return repr(node)
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return ""
    fields = [(name, getattr(node, name, None)) for name in node._fields if name != "ctx"]
    said = [f"{name}={_plain(value)}" for name, value in fields if value is not None and value != []]
    return f"{type(node).__name__}({','.join(said)})"


@cache
def _version(package: str) -> str:
    if other := os.environ.get(OTHER_BINARY.get(package, "")):
        return sha256(Path(other))
    try:
        return version(package)
    except PackageNotFoundError:
        raise AssetError(f"The package {package} is not installed. Install it with: make install") from None
