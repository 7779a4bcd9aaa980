"""doctor: what would stop DVC in data/raw is named, with what to do, and nothing hangs."""

import os
import socket
from pathlib import Path

import pytest

from pipeline import paths
from pipeline.errors import DatasetError
from stages import doctor


@pytest.fixture
def raw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (paths.RAW / "own").mkdir(parents=True)
    (paths.RAW / "own" / "1.mp4").write_bytes(b"v")
    return paths.RAW


def test_a_sound_folder_is_fine(raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (raw / "more" / "Raw").mkdir(parents=True)
    (raw / "more" / "Raw" / "2.mp4").symlink_to((raw / "own" / "1.mp4").absolute())
    (raw / "more" / "back").symlink_to(raw.absolute())
    doctor.main()
    assert capsys.readouterr().out == "doctor: data/raw is fine: 2 files in 2 data sets\n"


def test_without_data_raw_it_says_mkdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DatasetError, match="mkdir -p data/raw"):
        doctor.main()


def test_everything_that_would_stop_dvc_is_told(raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = raw / "own"
    (own / "gone.mp4").symlink_to("nowhere.mp4")
    (own / "self.mp4").symlink_to("self.mp4")
    os.mkfifo(own / "pipe.mp4")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(own / "sock"))
    misnamed = own / os.fsdecode(b"caf\xe9")
    misnamed.mkdir()
    (misnamed / "1.mp4").write_bytes(b"v")
    with pytest.raises(DatasetError, match=r"5 entries of data/raw would stop dvc repro"):
        doctor.main()
    told = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert told == {
        "data/raw/own/caf\\xe9": "its name is not UTF-8. Rename it",
        "data/raw/own/gone.mp4": "a link to nothing. Remove it, or restore what it points to",
        "data/raw/own/self.mp4": "a link to nothing. Remove it, or restore what it points to",
        "data/raw/own/pipe.mp4": "a pipe, socket or device, no regular file. Remove it",
        "data/raw/own/sock": "a pipe, socket or device, no regular file. Remove it",
    }


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_what_may_not_be_read_is_told(raw: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (raw / "own" / "1.mp4").chmod(0)
    (raw / "shut").mkdir(mode=0)
    with pytest.raises(DatasetError, match="2 entries"):
        doctor.main()
    out = capsys.readouterr().out
    assert "1.mp4: a file that cannot be read" in out and "shut: a folder that cannot be read" in out
