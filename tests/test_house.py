"""The shape of the house: names agree, imports flow one way, the README and dvc.yaml name what is there."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import rawmsa
from pipeline.execution import fingerprint
from stages.__main__ import STAGES, app

ROOT = Path(__file__).parents[1]
DVC = yaml.safe_load((ROOT / "dvc.yaml").read_text())
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
README = (ROOT / "README.md").read_text()
FLOORS = ("rawmsa", "stages", "app", "report", "model", "pipeline")  # each imports from those below it alone
GROUND = (
    "blocks",
    "errors",
    "files",
    "flags",
    "params",
    "paths",
    "execution",
    "tables",
)  # of pipeline: what its rooms stand on
MOST_ANY = 40  # mentions of Any outside EDGES, without imports
EDGES = {  # files that hold objects of libraries that have no types, or none that help
    "model/encoders/packed.py": "the inside of transformers' BertLayer, and autograd's ctx",
    "model/training/ranks.py": "autograd's ctx",
    "pipeline/audio/egemaps.py": "opensmile",
    "pipeline/execution/cluster.py": "Ray",
    "pipeline/media.py": "PyAV",
    "pipeline/mmsa/pickles.py": "pickle's unpickler, and whatever a file holds",
    "pipeline/text.py": "the tokenizer of transformers",
    "pipeline/transcribe/recogniser.py": "faster-whisper",
    "pipeline/vision/landmarks.py": "MediaPipe and its C structs",
    "report/plots.py": "matplotlib's settings",
    "report/proxy.py": "PyAV",
}
EXTRAS = (
    "mediapipe",
    "opensmile",
    "dvc",
    "av",
    "cv2",
    "librosa",
    "numba",
    "ffmpeg",
    "matplotlib",
    "pandas",
    "faster_whisper",
    "jinja2",
)


def modules() -> list[str]:
    """Every module of ours, as it is imported."""
    files = [file for room in FLOORS for file in (ROOT / room).rglob("*.py")]
    return sorted(".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for file in files)


def test_imports_flow_one_way() -> None:
    for module in modules():
        floor = FLOORS.index(module.split(".")[0])
        for name in fingerprint.closure(module):
            assert FLOORS.index(name.split(".")[0]) >= floor, f"{module} needs {name}"


def test_the_ground_knows_no_clip() -> None:
    for module in (module for module in modules() if module.split(".")[:1] == ["pipeline"]):
        if module.split(".")[1:2] and module.split(".")[1] in GROUND:
            above = {n for n in fingerprint.closure(module) if n.split(".")[1:] and n.split(".")[1] not in GROUND}
            assert not above, f"{module} needs {above}"


def test_no_module_needs_itself() -> None:
    for module in modules():
        for name in fingerprint.imports(module):
            assert module == name or module not in fingerprint.closure(name), f"{module} and {name} need each other"


def test_any_is_for_the_edges() -> None:
    """A type says what a value is: object where nothing is known, JsonValue for what YAML or JSON holds, else a record."""
    files = {str(file.relative_to(ROOT)): file for room in FLOORS for file in (ROOT / room).rglob("*.py")}
    mentions = {name: any_mentions(file.read_text()) for name, file in files.items()}
    assert all(mentions[name] for name in EDGES), "a file of EDGES mentions Any no more: take it from the list"
    inside = {name: count for name, count in mentions.items() if count and name not in EDGES}
    most = ", ".join(f"{name} {inside[name]}" for name in sorted(inside, key=lambda name: -inside[name])[:10])
    assert sum(inside.values()) <= MOST_ANY, f"{sum(inside.values())} mentions of Any, most of them in {most}"


def any_mentions(source: str) -> int:
    """How often Any is named, other than to import it. An import under another name counts for all its uses."""
    found = 0
    for node in ast.walk(ast.parse(source if "Any" in source else "")):
        if isinstance(node, ast.ImportFrom) and any(each.name == "Any" and each.asname for each in node.names):
            found += MOST_ANY + 1
        found += isinstance(node, ast.Name) and node.id == "Any"
        found += isinstance(node, ast.Attribute) and node.attr == "Any"
    return found


def test_one_word_from_end_to_end() -> None:
    assert tuple(DVC["stages"]) == STAGES
    for name, stage in DVC["stages"].items():
        assert stage["cmd"] == f"python -m stages {name}"
        assert (ROOT / "stages" / f"{name}.py").is_file()
        assert stage["params"][0] == name and name in PARAMS
        blocks = {key.split(".")[0] for key in stage["params"]}
        assert blocks <= PARAMS.keys() - {
            "workers",
            "executor",
            "gpu_runs",
            "limits",
            "serve",
        }  # no result depends on these


def test_every_stage_lists_its_code_and_what_it_reads() -> None:
    made: set[str] = set()
    for name, stage in DVC["stages"].items():
        code = {module.split(".")[0] for module in fingerprint.closure(f"stages.{name}")} - {"stages"}
        assert code == set(FLOORS) & set(stage["deps"]), name
        for path in stage["deps"]:
            inside = any(path == out or out.startswith(f"{path}/") or path.startswith(f"{out}/") for out in made)
            assert (ROOT / path).exists() or inside or path == "data/raw", f"{name} depends on {path}"
        outs = stage.get("outs", []) + stage.get("metrics", [])
        made |= {next(iter(out)) if isinstance(out, dict) else out for out in outs}
    plotted = {next(iter(plot)) if isinstance(plot, dict) else plot for plot in DVC["plots"]}
    assert all(any(path.startswith(out) for out in made) for path in plotted)


class AtStart(ast.NodeTransformer):
    """What runs when a module is imported: all but the bodies of functions."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        return None

    def visit_AsyncFunctionDef(self, node: ast.AsyncFunctionDef) -> None:
        return None


def needed_at_start(module: str) -> set[str]:
    """The modules that importing this one imports: ours, and what ours import of others."""
    found: set[str] = set()
    due = {module}
    while due:
        name = due.pop()
        found.add(name)
        if file := fingerprint.file(name):
            above = name.rpartition(".")[0]
            package = name if file.name == "__init__.py" else above
            tree = AtStart().visit(ast.parse((ROOT / file).read_bytes()))
            due |= {*fingerprint._imported(tree, package), *filter(None, [above])} - found
    return found


@pytest.mark.parametrize("module", ["stages.train", "stages.evaluate", "app.check"])
def test_our_training_imports_nothing_that_extraction_needs(module: str) -> None:
    needed = needed_at_start(module)
    assert "model" in needed and "pydantic" in needed
    assert not {name for name in needed if name.split(".")[0] in EXTRAS}


@pytest.mark.parametrize("stage", [pytest.param("train", marks=pytest.mark.slow), "evaluate"])
def test_training_needs_nothing_that_extraction_needs(stage: str) -> None:
    """Nor do the libraries that training imports, which takes torch and transformers some seconds."""
    block = f"import sys; sys.modules.update(dict.fromkeys({EXTRAS!r})); import stages.{stage}"
    checked = "from app import check; from pipeline import params; print([*check._blocks(params.read())])"
    done = subprocess.run([sys.executable, "-c", f"{block}; {checked}"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "[]\n"), done.stderr


def test_help_is_light_and_teaches() -> None:
    code = "import sys; from stages.__main__ import app; print([m for m in ('torch', 'transformers', 'mediapipe', 'numpy') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "200"}).output
    assert all(
        name in shown
        for name in (*STAGES, "demo", "predict", "import", "export", "cache", "results", "doctor", "import", "export")
    )


def commands(text: str, program: str) -> set[str]:
    """The words that follow `program` in the README's code."""
    code = "\n".join(re.findall(r"```(?:bash|console)\n(.*?)```", text, re.DOTALL) + re.findall(r"`([^`\n]+)`", text))
    return set(re.findall(rf"(?:^|[\s;&]){program} ([a-z-]+)", re.sub(r"#.*", "", code), re.MULTILINE))


def test_the_readme_names_commands_that_are_there() -> None:
    known = {command.name or command.callback.__name__ for command in app.registered_commands}
    targets = set(re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"demo", "test"} <= commands(README, "make") <= targets
    assert {"predict"} <= commands(README, "rawmsa") <= known
    assert commands(README, "python -m stages") <= known
    for file in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / file).exists(), f"the README links to {file}"


def test_the_readme_is_filled_in() -> None:
    assert not re.search(r"@[A-Z]+@", README)


def test_the_readme_python_reads_what_is_there() -> None:
    for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom):
                module = __import__(node.module, fromlist=["x"])
                assert all(
                    hasattr(module, alias.name) or (ROOT / node.module / f"{alias.name}.py").is_file()
                    for alias in node.names
                )
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "rawmsa":
                assert node.attr in rawmsa.__all__


def test_versions_are_pinned_and_cv2_is_one() -> None:
    pins = dict(re.findall(r"^([\w.-]+)==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE))
    assert pins["torch"] == "2.13.0"
    assert pins["opencv-python"] == pins["opencv-contrib-python"]


def test_make_takes_the_first_python_that_is_there(tmp_path: Path) -> None:
    """One that starts: pyenv has names for Pythons that are switched off."""
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    for name, body in {"python3.11": "exit 127", "python3.12": "exit 0", "python3.13": "exit 0"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    for name in ("pyproject.toml", "constraints.txt"):
        (tmp_path / name).touch()
    make = shutil.which("make")
    if make is None:
        pytest.skip("make is not installed")
    done = subprocess.run(
        [make, "-n", "install"], cwd=tmp_path, env={"PATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert "|| python3.12 -m venv .venv" in done.stdout
    for name in ("python3.12", "python3.13"):
        (tmp_path / name).unlink()
    done = subprocess.run([make, "install"], cwd=tmp_path, env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode and "No Python 3.11, 3.12, 3.13 or 3.14 is on the PATH." in done.stdout
