"""What is computed again after which change: the code of a task, the libraries that it names, its params and models."""

import ast
from collections.abc import Callable
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from pipeline.errors import AssetError
from pipeline.execution import fingerprint
from pipeline.execution.fingerprint import Fingerprint
from pipeline.files import sha256, tree_sha256

ROOT = Path(__file__).parents[1]
# What an extractor of one file needs. Whoever makes it longer has every clip computed again at each edit of the new modules.
COMMON = {
    "pipeline.assets",
    "pipeline.blocks",
    "pipeline.errors",
    "pipeline.execution.platform",
    "pipeline.files",
    "pipeline.media",
    "pipeline.tables.frames",
}
EXTRACTORS = [
    f"pipeline.{room}.{file.stem if file.name != '__init__.py' else file.parent.name}"
    for room in ("audio", "vision")
    for file in sorted(
        [*(ROOT / "pipeline" / room).glob("[!_]*.py"), *(ROOT / "pipeline" / room).glob("*/__init__.py")]
    )
]
TASKS = {name: (name,) for name in EXTRACTORS} | {
    "probe": ("pipeline.media",),
    "recogniser": ("pipeline.media", "pipeline.transcribe.recogniser"),
    "film": ("report.proxy",),
    "vectors": ("model.encoders.vectors",),
    "run": ("model.training.run", "model.networks.tfn"),
}
NEUTRAL = {
    "numpy",
    "pydantic",
    "pyarrow",
    "safetensors",
    "scikit-learn",
}  # read, checked, written and scored with, all pinned
Edit = Callable[[str, str], None]


def keys() -> dict[str, str]:
    return {name: Fingerprint(modules).key() for name, modules in TASKS.items()}


def changed(edit: Edit, file: str, text: str) -> set[str]:
    """The tasks whose key differs after an edit."""
    before = keys()
    edit(file, text)
    after = keys()
    return {name for name in TASKS if after[name] != before[name]}


@pytest.mark.parametrize("module", EXTRACTORS)
def test_an_extractor_needs_nothing_but_what_reads_a_clip(module: str) -> None:
    needed = fingerprint.closure(module)
    assert {name for name in needed if not name.startswith(module)} == COMMON, f"{module} needs {sorted(needed)}"


DUE = {  # after an edit of each file
    "pipeline/audio/mfcc.py": {"pipeline.audio.mfcc"},
    "pipeline/audio/covarep/rd.py": {"pipeline.audio.covarep"},
    "pipeline/vision/landmarks.py": {"pipeline.vision.landmarks"},
    "pipeline/transcribe/words.py": {"recogniser"},
    "pipeline/media.py": {*EXTRACTORS, "probe", "recogniser", "film"},
    "report/proxy.py": {"film"},
    "model/encoders/vectors.py": {"vectors", "run"},
    "model/networks/tfn.py": {"run"},
    "model/networks/lmf.py": set(),
    "pipeline/execution/cache.py": set(),
    "pipeline/execution/workers.py": set(),
    "pipeline/features.py": set(),
    "model/training/gpus.py": set(),
    "pipeline/params.py": set(),
    "app/predict.py": set(),
}


@pytest.mark.slow
def test_an_edit_computes_again_what_imports_the_file(sources: Edit) -> None:
    before = keys()
    for file, due in DUE.items():
        sources(file, "CHANGED = 1")
        after = keys()
        assert {name for name in TASKS if after[name] != before[name]} == due, file
        before = after


def test_comments_docstrings_and_layout_compute_nothing(sources: Edit) -> None:
    assert changed(sources, "pipeline/media.py", "# a comment\n\n\n'a string that stands alone'") == set()
    text = (fingerprint.ROOT / "pipeline/media.py").read_text()
    assert changed(lambda *_: rewrite(sources, "pipeline/media.py", docstring(text)), "", "") == set()
    assert changed(lambda *_: rewrite(sources, "pipeline/media.py", text.replace("1e-4", "1e-5")), "", "")


def docstring(text: str) -> str:
    """A module with another first docstring, and another of a function."""
    found = text.replace('"""', '"""Other words. ').replace("Other words. \n", "\n")
    assert found != text and ast.parse(found)
    return found


def rewrite(edit: Edit, file: str, text: str) -> None:
    (fingerprint.ROOT / file).write_text(text)
    edit(file, "")


def test_a_clips_key_knows_pyav_and_ffmpeg(sources: Edit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [*EXTRACTORS, "report.proxy"]:
        assert {"av", "ffmpeg-python", "imageio-ffmpeg"} <= fingerprint.libraries(module).keys()
    other = tmp_path / "ffmpeg"
    other.write_text("another binary than the package's")
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(other))

    def forget(*_: str) -> None:
        sources("pipeline/media.py", "")

    assert "pipeline.audio.mfcc" in changed(forget, "", "")
    assert fingerprint.libraries("pipeline.media")["imageio-ffmpeg"] == sha256(other)


def test_another_version_of_a_library_computes_again(sources: Edit, monkeypatch: pytest.MonkeyPatch) -> None:
    def upgrade(*_: str) -> None:
        monkeypatch.setattr(fingerprint, "version", lambda name: "99" if name == "librosa" else "1")
        sources("pipeline/media.py", "")

    monkeypatch.setattr(fingerprint, "version", lambda name: "1")
    sources("pipeline/media.py", "")
    assert changed(upgrade, "", "") == {"pipeline.audio.mfcc"}


def test_a_library_that_is_not_installed_is_named() -> None:
    with pytest.raises(AssetError, match="The package no-such-thing is not installed. Install it with: make install"):
        fingerprint.versions(["no-such-thing"])


@pytest.mark.parametrize("name", TASKS)
def test_the_libraries_that_a_task_imports_are_named(name: str) -> None:
    """So that nobody forgets LIBRARIES: an import of a package that no module of the closure names fails here."""
    distributions = packages_distributions()
    imported: set[str] = set()
    for module in {needed for entry in TASKS[name] for needed in fingerprint._needed((entry,))}:
        for node in ast.walk(ast.parse((ROOT / fingerprint.file(module)).read_bytes())):
            if isinstance(node, ast.Import):
                imported |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                imported.add(node.module.split(".")[0])
    third = {package: distributions[package] for package in imported if package in distributions}
    named = fingerprint.libraries(*TASKS[name]).keys() | NEUTRAL
    unnamed = {
        package for package, found in third.items() if package not in fingerprint.ROOMS and not named & set(found)
    }
    assert not unnamed, f"name {unnamed} in LIBRARIES of the module that imports it"


def test_params_models_and_inputs_decide_a_key() -> None:
    made = Fingerprint(("pipeline.media",), {"a": 1}, {"model": "x"})
    assert made.key(clip="1") == Fingerprint(("pipeline.media",), {"a": 1}, {"model": "x"}).key(clip="1")
    others = [
        made.key(clip="2"),
        Fingerprint(("pipeline.media",), {"a": 2}, {"model": "x"}).key(clip="1"),
        Fingerprint(("pipeline.media",), {"a": 1}, {"model": "y"}).key(clip="1"),
        Fingerprint(("pipeline.files",), {"a": 1}, {"model": "x"}).key(clip="1"),
    ]
    assert len({made.key(clip="1"), *others}) == 5


def test_a_relative_import_counts(sources: Edit) -> None:
    sources("pipeline/audio/near.py", "from .mfcc import Params\nfrom . import egemaps")
    assert fingerprint.closure("pipeline.audio.near") >= {"pipeline.audio.mfcc", "pipeline.audio.egemaps"}


def test_a_models_folder_has_a_hash_of_names_and_contents(tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/weights").write_text("a")
    before = tree_sha256(tmp_path / "model")
    assert tree_sha256(tmp_path / "model/weights") == sha256(tmp_path / "model/weights")
    (tmp_path / "model/config.json").write_text("{}")
    assert tree_sha256(tmp_path / "model") != before


def test_no_number_is_raised_by_hand() -> None:
    for file in sorted(file for room in fingerprint.ROOMS for file in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.Assign):
                names = {target.id for target in node.targets if isinstance(target, ast.Name)}
                assert not {name for name in names if name.endswith("VERSION")}, f"{file} has {names}"


def test_a_hash_of_code_does_not_depend_on_python() -> None:
    """Held to a text that Python 3.11, 3.12 and 3.13 all give: machines with different Pythons share a cache."""
    code = 'def f(x: int, *, y="a") -> str:\n    """Doc."""\n    return f"{x!r}{y:>{x}}" if x else b"z"'
    assert fingerprint._plain(ast.parse(code)) == PLAIN


PLAIN = (
    "Module(body=[FunctionDef(name='f',args=arguments(args=[arg(arg='x',annotation=Name(id='int'))],"
    "kwonlyargs=[arg(arg='y')],kw_defaults=[Constant(value='a')]),body=[Return(value=IfExp(test=Name(id='x'),"
    "body=JoinedStr(values=[FormattedValue(value=Name(id='x'),conversion=114),FormattedValue(value=Name(id='y'),"
    "conversion=-1,format_spec=JoinedStr(values=[Constant(value='>'),FormattedValue(value=Name(id='x'),conversion=-1)]))]),"
    "orelse=Constant(value=b'z')))],returns=Name(id='str'))])"
)
