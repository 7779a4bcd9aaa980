"""All parameters are checked before the first stage works: every fault is named, and costs a second, not an extraction."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.serialize._yaml import dumps_yaml, parse_yaml_for_update

from app import check
from pipeline import paths
from pipeline.errors import ParamsError

ROOT = Path(__file__).parents[1]
FILES = [paths.PARAMS, *(file.relative_to(ROOT) for file in (ROOT / paths.NETWORKS).glob("*.yaml"))]
LONGEST = 120  # lines of params.yaml
LIGHT = """
import sys
from app import check
print(check.faults(), "torch" in sys.modules)
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's folder with the repository's parameters."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(ROOT / paths.PARAMS, paths.PARAMS)
    shutil.copytree(ROOT / paths.NETWORKS, paths.NETWORKS)
    return tmp_path


def change(file: Path, *keys: str, to: Any) -> None:
    """Set a key of a file; `...` takes it out."""
    content = yaml.safe_load(file.read_text())
    place = content
    for key in keys[:-1]:
        place = place[key]
    if to is ...:
        del place[keys[-1]]
    else:
        place[keys[-1]] = to
    file.write_text(yaml.safe_dump(content, sort_keys=False))


def ran(*command: str) -> subprocess.CompletedProcess[str]:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
    if command[0] == "-c":
        return subprocess.run([sys.executable, "-c", code + command[1]], capture_output=True, text=True)
    run = f"sys.argv[1:] = {command!r}\nfrom stages.__main__ import main\nmain()"
    return subprocess.run([sys.executable, "-c", code + run], capture_output=True, text=True)


@pytest.mark.slow
def test_the_repositorys_parameters_fit_and_are_checked_with_torch_once(project: Path) -> None:
    assert ran("-c", LIGHT).stdout == "[] True\n"
    assert ran("-c", LIGHT).stdout == "[] False\n"
    change(paths.network("tfn"), "values", "mmsa", "mosi", to={"fit": {"batch": 8}})
    assert ran("-c", LIGHT).stdout == "[] True\n"


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("vision", "landmarks", "fps"), "abc", "params.yaml: vision.landmarks.fps: found 'abc', input should be a"),
        (("train", "seeds", "demo"), 1111, "params.yaml: train.seeds.demo: found 1111, input should be a valid list"),
        (("audio", "mfcc", "coefficients"), 0, "audio.mfcc.coefficients: found 0, "),  # which is not the extractor
        (("audio", "extractor"), "covarp", "audio.extractor: found 'covarp', expected .*; did you mean covarep?"),
        (("audio", "covarpe"), {}, "audio.covarpe: found {}, unknown key; did you mean covarep?"),
        (("audio", "covarep"), ..., "audio.covarep: found None, input should be"),
        (("vision", "landmarks", "fsp"), 3, "vision.landmarks.fsp: found 3, unknown key; did you mean fps?"),
        (("visoin",), {}, "visoin: unknown block; did you mean vision?"),
        (("report",), ..., "report: the block is missing"),
        (("serve", "max_seconds"), -1, "serve.max_seconds: found -1, input should be greater than 0"),
        (("precision",), "bfloat16", "precision: found 'bfloat16', input should be 'auto' or 'float32'"),
        (("experiment", "datasets"), {"demo": ["table5"]}, "experiment.datasets.demo.0: found 'table5', input should"),
        (
            ("train", "networks", "self_mm"),
            "paper",
            "train.networks.self_mm: found 'paper', .*expected <preset>/<values>",
        ),
        (
            ("train", "networks", "self_mn"),
            "paper/mmsa",
            "the network 'self_mn', but there is no networks/self_mn.yaml; did you mean self_mm?",
        ),
        (
            ("experiment", "networks", "tfn"),
            "paper/mmsaa",
            "networks/tfn.yaml: values has mmsa, but .* names 'mmsaa'; did you mean mmsa?",
        ),
    ],
)
def test_a_fault_of_any_block_stops_the_first_stage_without_torch(
    project: Path, monkeypatch: pytest.MonkeyPatch, keys: tuple[str, ...], value: Any, message: str
) -> None:
    monkeypatch.setattr(check, "_mark", lambda: pytest.fail("it went on to what needs torch"))
    change(paths.PARAMS, *keys, to=value)
    with pytest.raises(ParamsError, match=message.replace("?", r"\?")):
        check.everything()


@pytest.mark.parametrize(
    ("file", "keys", "value", "message"),
    [
        (
            paths.network("self_mm"),
            ("values", "mmsa", "defaults", "architecture", "frames"),
            {"audio": "abc", "vision": 32},
            "networks/self_mm.yaml: self_mm .preset paper, values mmsa.demo..architecture.frames.audio: found 'abc', ",
        ),
        (
            paths.network("misa"),  # of experiment alone
            ("values", "mmsa", "sims", "architecture", "hiden"),
            3,
            "values mmsa.sims..architecture.hiden: found 3, unknown key; did you mean hidden?",
        ),
        (
            paths.network("tfn"),
            ("values", "mmsa", "mosei", "groups"),
            {"al": {"lr": 1, "weight_decay": 0}},
            "tfn .preset paper, values mmsa.mosei..groups: found .*'al'.*expected the keys all",
        ),
        (paths.PARAMS, ("tune", "draws"), 0, "params.yaml: tune.draws: found 0, "),
        (
            paths.PARAMS,
            ("tune", "space", "self_mm", "groups.audio.lr"),
            [0.1, "much"],
            "tune.space.self_mm.groups.audio.lr: found 'much'; .*groups.audio.lr: found 'much', input should be",
        ),
        (
            paths.PARAMS,
            ("tune", "space", "self_mm", "groups.adio.lr"),
            [0.1],
            "tune.space.self_mm.groups.adio.lr: found 0.1; ",
        ),
        (
            paths.PARAMS,
            ("tune", "space", "selfmm"),
            {"fit.batch": [1]},
            "no network of that name; did you mean self_mm?",
        ),
    ],
)
def test_a_fault_that_needs_the_networks_code_is_found_too(
    project: Path, file: Path, keys: tuple[str, ...], value: Any, message: str
) -> None:
    change(file, *keys, to=value)
    with pytest.raises(ParamsError, match=message.replace("?", r"\?")):
        check.everything()
    assert not paths.CHECKED.exists()


@pytest.mark.parametrize("command", [("ingest",), ("audio", "--shard", "1/1")])
def test_a_stage_and_a_job_of_an_array_check_before_they_work(project: Path, command: tuple[str, ...]) -> None:
    change(paths.PARAMS, "vision", "landmarks", "fps", to="abc")
    change(paths.PARAMS, "train", "seeds", "demo", to=1111)
    done = ran(*command)
    assert done.returncode == 1 and not done.stdout
    assert "vision.landmarks.fps: found 'abc'" in done.stderr and "train.seeds.demo: found 1111" in done.stderr
    assert not paths.INGEST.exists()


def test_what_is_not_chosen_may_have_no_values(project: Path) -> None:
    paths.network("lf").unlink()
    change(paths.PARAMS, "train", "networks", to={"tfn": "paper/mmsa"})
    assert check.faults() == []  # tune.space.self_mm too: its file is there


@pytest.mark.parametrize("file", FILES, ids=str)
def test_the_files_stay_as_they_are_when_dvc_writes_them(file: Path) -> None:
    """`dvc exp run -S` writes a file anew; what it sets should be all that differs."""
    text = (ROOT / file).read_text()
    assert dumps_yaml(parse_yaml_for_update(text, str(file))) == text


def test_the_files_are_short_and_known_to_dvc() -> None:
    assert len((ROOT / paths.PARAMS).read_text().splitlines()) <= LONGEST
    listed = yaml.safe_load((ROOT / "dvc.yaml").read_text())["params"]
    assert set(listed) == {str(file) for file in FILES if file != paths.PARAMS}
