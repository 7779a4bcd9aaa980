"""What a disk, a clock or a kill may do: an error that says what to do, nothing lost, and the same bytes afterwards."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app import retry
from pipeline import media, paths, tables
from pipeline.files import sha256
from tests import clips
from tests.projects import content

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
CLIPS = 4


@pytest.fixture(scope="module")
def ingested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with some clips that ingest has seen; its cache is .dvc/tmp/rawmsa."""
    folder = tmp_path_factory.mktemp("ingested")
    text = (ROOT / "params.yaml").read_text().replace("extractor: covarep", "extractor: mfcc")
    (folder / "params.yaml").write_text(text)
    shutil.copytree(ROOT / paths.NETWORKS, folder / paths.NETWORKS)
    for number in range(CLIPS):
        clips.make(folder / paths.RAW / "own" / f"{number}.mp4", seconds=2, tone=200 + 50 * number)
    assert stage(folder, "ingest").returncode == 0
    return folder


@pytest.fixture
def project(ingested: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    shutil.copytree(ingested, tmp_path, dirs_exist_ok=True)
    return tmp_path


def stage(project: Path, name: str, mounted: str = "") -> subprocess.CompletedProcess[str]:
    """Run a stage; mounted: a shell command that comes first, where only it sees its mounts."""
    inner = f"{mounted} && {sys.executable} -m stages {name}; code=$?; {'cp -r mounted kept 2>/dev/null;'} exit $code"
    command = ["unshare", "-rm", "bash", "-c", inner] if mounted else [sys.executable, "-m", "stages", name]
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("DVC_", "RAWMSA_"))}
    environment = {**kept, "PYTHONPATH": str(ROOT), **({"RAWMSA_CACHE": "mounted"} if mounted else {})}
    return subprocess.run(command, cwd=project, env=environment, text=True, capture_output=True)


def mountable() -> bool:
    unshare = shutil.which("unshare")
    command = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return bool(unshare) and subprocess.run(command, capture_output=True).returncode == 0


needs_mount = pytest.mark.skipif(not mountable(), reason="no tmpfs can be mounted here")


@needs_mount
def test_a_full_disk_under_the_cache_is_told_and_costs_nothing_that_was_done(project: Path) -> None:
    assert stage(project, "audio").returncode == 0
    whole = content(project / paths.features("audio", "own"))
    shutil.rmtree(project / paths.FEATURES)
    entries = sorted((project / ".dvc/tmp/rawmsa/audio").glob("??/*/content"), key=lambda path: path.stat().st_size)
    room = (entries[-1].stat().st_size + 8192) * 2 // 1024
    full = stage(project, "audio", f"mkdir mounted && mount -t tmpfs -o size={room}k tmpfs mounted")
    assert full.returncode == 1
    assert "The cache mounted cannot be written: No space left on device. Free space" in full.stderr
    assert "Traceback" not in full.stderr
    kept = [path for path in (project / "kept/audio").glob("??/*") if len(path.name) == 64]
    assert 0 < len(kept) < CLIPS
    shutil.rmtree(project / ".dvc/tmp/rawmsa/audio")
    shutil.copytree(project / "kept/audio", project / ".dvc/tmp/rawmsa/audio")
    again = stage(project, "audio")
    assert f"{CLIPS - len(kept)} computed, {len(kept)} from cache" in again.stdout
    assert content(project / paths.features("audio", "own")) == whole


@needs_mount
def test_a_full_disk_under_the_outputs_is_told(project: Path) -> None:
    full = stage(project, "audio", "mkdir -p data/features && mount -t tmpfs -o size=4k tmpfs data/features")
    assert full.returncode == 1
    assert "No space left on device" in full.stderr and "then run the same command again" in full.stderr
    assert "Traceback" not in full.stderr
    assert stage(project, "audio").returncode == 0


@needs_mount
@pytest.mark.parametrize("folder", ["mounted", "data/features"])
def test_a_folder_that_may_not_be_written_is_told(project: Path, folder: str) -> None:
    shut = stage(project, "audio", f"mkdir -p {folder} && mount -t tmpfs -o ro tmpfs {folder}")
    assert shut.returncode == 1
    assert "Read-only file system" in shut.stderr and "Traceback" not in shut.stderr


def test_a_clock_set_back_changes_nothing(project: Path) -> None:
    assert stage(project, "audio").returncode == 0
    files = [*(project / ".dvc/tmp/rawmsa").rglob("*"), *(project / paths.DATA).rglob("*")]
    for number, file in enumerate(files):
        os.utime(file, (0, 0) if number % 2 else (2**33, 2**33))  # 1970, 2242
    before = (project / paths.CLIPS).read_bytes(), content(project / paths.features("audio", "own"))
    assert "computed, 4 from cache" in stage(project, "ingest").stdout
    assert "0 computed, 4 from cache" in stage(project, "audio").stdout
    assert ((project / paths.CLIPS).read_bytes(), content(project / paths.features("audio", "own"))) == before


def test_an_edit_that_keeps_size_and_time_is_seen(project: Path) -> None:
    """What a clock set back to the very nanosecond would do."""
    video = project / paths.RAW / "own" / "0.mp4"
    then, content = video.stat(), bytearray(video.read_bytes())
    content[-1] ^= 1
    video.write_bytes(content)
    os.utime(video, ns=(then.st_atime_ns, then.st_mtime_ns))
    assert stage(project, "ingest").returncode == 0
    assert tables.read(project / paths.CLIPS)["sha256"][0].as_py() == sha256(video)


def test_ffmpeg_ends_with_a_killed_worker(tmp_path: Path) -> None:
    """One that waits for a pipe nobody writes to would never end by itself."""
    clip = clips.make(tmp_path / "a.mp4")
    fake = tmp_path / "ffmpeg"
    fake.write_text("#!/bin/sh\necho $$ > pid\nexec sleep 600\n")
    fake.chmod(0o755)
    code = f"from pathlib import Path\nfrom pipeline import media\nmedia.sound(Path({str(clip)!r}))"
    environment = {**os.environ, "IMAGEIO_FFMPEG_EXE": str(fake), "PYTHONPATH": str(ROOT)}
    worker = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env=environment)
    note = tmp_path / "pid"
    wait_for(lambda: note.is_file() and note.read_text().strip() != "")
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    child = Path(f"/proc/{int(note.read_text())}/stat")
    wait_for(lambda: not child.exists() or child.read_text().rsplit(")", 1)[1].split()[0] == "Z")


def wait_for(condition, seconds: float = 30.0) -> None:  # type: ignore[no-untyped-def]
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_failed_clips_are_tried_again(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit that no clip can keep fails one stage; with the limit raised, retry-failed makes it whole."""
    monkeypatch.chdir(project)
    asked: list[tuple[str, ...]] = []
    monkeypatch.setattr(retry, "reproduce", lambda *arguments: asked.append(arguments) or 0)
    assert stage(project, "audio").returncode == 0
    retry.main()
    assert asked == [()]
    shutil.rmtree(project / ".dvc/tmp/rawmsa/audio")
    shutil.rmtree(paths.FEATURES)
    text = paths.PARAMS.read_text()
    paths.PARAMS.write_text(
        text.replace("  seconds: 600", "  seconds: 0.001").replace("fraction: 0.5", "fraction: 1.0")
    )
    assert f"{CLIPS} failed (timeout {CLIPS})" in stage(project, "audio").stdout
    asked.clear()
    retry.main()
    assert asked == [("--force", "--single-item", "audio"), ()]
    paths.PARAMS.write_text(text)
    assert f"{CLIPS} computed" in stage(project, "audio").stdout


def test_more_failures_than_allowed_decide_the_exit_code(project: Path) -> None:
    params = project / "params.yaml"
    params.write_text(params.read_text().replace("  seconds: 600", "  seconds: 0.001"))
    done = stage(project, "audio")
    assert done.returncode == 1
    assert f"audio: {CLIPS} of {CLIPS} failed, more than limits.max_failed_fraction" in done.stderr
    params.write_text(params.read_text().replace("fraction: 0.5", "fraction: 1.0"))
    assert stage(project, "audio").returncode == 0


def test_media_reads_nothing_without_its_guard() -> None:
    """media.py alone opens what users bring; films are written elsewhere too."""
    others = [
        file for folder in ("app", "model", "pipeline", "report", "stages") for file in (ROOT / folder).rglob("*.py")
    ]
    for file in others:
        text = re.sub(r'av\.open\(str\(\w+\), "w",', "", file.read_text())
        if file.name != "media.py" and "demo" not in file.parts:
            assert "av.open(" not in text and "VideoCapture" not in text and "ffmpeg.input" not in text, file
    assert media.FORMATS.count("concat") == media.FORMATS.count("hls") == 0
