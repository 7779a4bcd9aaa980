"""What is read of a video: facts, sound and frames, on one clock; what is refused, and why."""

import os
import subprocess
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline import assets, media
from pipeline.errors import MediaError
from pipeline.flags import Flag, Flagged
from tests import clips, corpus

LIMITS = media.Limits(
    max_seconds=60,
    max_pixels=1_000_000,
    max_frames=2000,
    max_sound_seconds=50,
    max_corrupt_share=0.5,
    min_decoded_share=0.9,
    max_gap_seconds=0.5,
    max_sound_offset=0.1,
)


def ffmpeg(*arguments: str | Path) -> None:
    subprocess.run([assets.ffmpeg(), "-loglevel", "error", "-y", *map(str, arguments)], check=True)


def onset(sound: np.ndarray) -> float:
    """Seconds to the first sample that is heard."""
    return float(np.flatnonzero(np.abs(sound) > 0.02)[0]) / media.SAMPLE_RATE


def test_facts_of_a_plain_clip(tmp_path: Path) -> None:
    facts = media.probe(clips.make(tmp_path / "a.mp4", seconds=2, fps=20, size=(80, 60)), None, None, LIMITS)
    assert (facts.has_audio, facts.has_vision) == (True, True)
    assert (facts.width, facts.height, facts.fps, facts.sound_rate) == (80, 60, 20.0, 16_000)
    assert (facts.frames_declared, facts.frames_decoded, facts.corrupt_share) == (40, 40, 0.0)
    assert facts.seconds == pytest.approx(2.0, abs=0.1)
    assert facts.flags == ()


def test_absent_and_silent_tracks_are_flagged(tmp_path: Path) -> None:
    mute = media.probe(clips.make(tmp_path / "mute.mp4", audio=False), None, None, LIMITS)
    blind = media.probe(clips.make(tmp_path / "blind.mp4", video=False), None, None, LIMITS)
    silent = media.probe(clips.make(tmp_path / "silent.mp4", tone=0), None, None, LIMITS)
    assert (mute.has_audio, mute.has_vision, mute.flags) == (False, True, (Flagged(Flag.NO_SOUND),))
    assert (blind.has_audio, blind.has_vision, blind.flags) == (True, False, (Flagged(Flag.NO_PICTURE),))
    assert (silent.has_audio, silent.flags) == (True, (Flagged(Flag.SILENT_SOUND),))


def test_a_sound_that_starts_late_stays_late(tmp_path: Path) -> None:
    plain, late = clips.make(tmp_path / "a.mp4", seconds=1.5), tmp_path / "late.mp4"
    ffmpeg("-i", plain, "-itsoffset", "0.5", "-i", plain, "-map", "0:v", "-map", "1:a", "-c", "copy", late)
    assert onset(media.sound(late)) == pytest.approx(0.5, abs=0.03)
    assert Flagged(Flag.STARTS_APART) in media.probe(late, None, None, LIMITS).flags


def test_a_picture_that_starts_late_stays_late(tmp_path: Path) -> None:
    plain, late = clips.make(tmp_path / "a.mp4", seconds=1.5), tmp_path / "late.mp4"
    ffmpeg("-itsoffset", "0.5", "-i", plain, "-i", plain, "-map", "0:v", "-map", "1:a", "-c", "copy", late)
    there = [frame is not None for frame in media.frames(late, np.arange(0, 1.5, 0.1) + 0.05)]
    assert there == [False] * 4 + [True] * 11  # the first frame lies at .5, near .45


def test_lost_sound_leaves_silence_in_its_place(tmp_path: Path) -> None:
    plain, holed = clips.make(tmp_path / "a.mp4", seconds=2), tmp_path / "holed.mp4"
    ffmpeg("-i", plain, "-c", "copy", "-bsf:a", "noise=drop='between(n,8,23)'", holed)  # 16 x 64 ms from .5 s on
    sound = media.sound(holed)
    assert len(sound) == pytest.approx(2 * media.SAMPLE_RATE, abs=2048)
    assert np.abs(sound[int(0.7 * media.SAMPLE_RATE) : int(1.4 * media.SAMPLE_RATE)]).max() < 0.01
    assert np.abs(sound[int(1.7 * media.SAMPLE_RATE) : int(1.9 * media.SAMPLE_RATE)]).max() > 0.2
    facts = media.probe(holed, None, None, LIMITS)
    assert facts.status == "degraded" and facts.gap == pytest.approx(16 * 1024 / 16_000, abs=0.1)


@pytest.mark.parametrize(
    ("limit", "reason"), [("max_frames", "too many frames"), ("max_sound_seconds", "too much sound")]
)
def test_a_limit_on_what_is_decoded(tmp_path: Path, limit: str, reason: str) -> None:
    path = clips.make(tmp_path / "a.mp4", seconds=2)
    allowed = {"max_frames": 49, "max_sound_seconds": 1.5}[limit]
    with pytest.raises(
        MediaError, match=rf"a.mp4 has .*, ingest.{limit} allows \d+. Cut it, or raise the limit"
    ) as caught:
        media.probe(path, None, None, LIMITS.model_copy(update={limit: allowed}))
    assert caught.value.reason == reason
    assert media.probe(path, 0.0, 1.0, LIMITS.model_copy(update={limit: allowed})).frames_decoded == 25  # a part of it


def test_a_size_that_grows_on_the_way_is_seen(tmp_path: Path) -> None:
    corpus.joined(tmp_path / "grows.ts")  # 160 x 120, then 320 x 240
    assert Flagged(Flag.SIZE_CHANGES) in media.probe(tmp_path / "grows.ts", None, None, LIMITS).flags
    with pytest.raises(MediaError, match="is 320 x 240, ingest.max_pixels allows 20000"):
        media.probe(tmp_path / "grows.ts", None, None, LIMITS.model_copy(update={"max_pixels": 20_000}))


def test_what_is_not_named_like_a_video_is_not_opened(tmp_path: Path) -> None:
    playlist = tmp_path / "list.m3u8"
    playlist.write_text("#EXTM3U\n")
    for read in (
        lambda: media.sound(playlist),
        lambda: media.open(playlist),
        lambda: media.probe(playlist, None, None, LIMITS),
    ):
        with pytest.raises(MediaError, match="list.m3u8 ends in .m3u8, expected one of: 3gp, avi"):
            read()


def test_a_segment_is_cut_on_its_own_clock(tmp_path: Path) -> None:
    path = clips.make(tmp_path / "a.mp4", seconds=3)
    whole, part = media.sound(path), media.sound(path, 1.0, 2.0)
    assert len(part) == media.SAMPLE_RATE
    np.testing.assert_allclose(
        part[2000:-2000], whole[media.SAMPLE_RATE + 2000 : 2 * media.SAMPLE_RATE - 2000], atol=2e-2
    )
    facts = media.probe(path, 1.0, 2.0, LIMITS)
    assert facts.frames_decoded == 25
    times = np.array([0.0, 0.4, 0.8])
    for seen, expected in zip(media.frames(path, times, 1.0, 2.0), media.frames(path, times + 1.0), strict=True):
        np.testing.assert_array_equal(seen, expected)


def test_a_segment_does_not_read_to_the_end_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, counted = clips.make(tmp_path / "a.mp4", seconds=20, fps=10), []
    plain = media._Segment.time
    monkeypatch.setattr(media._Segment, "time", lambda self, frame: counted.append(1) or plain(self, frame))
    assert media.probe(path, 1.0, 2.0, LIMITS).frames_decoded == 10
    assert len(counted) < 150  # of 200 pictures and 313 blocks of sound


def test_frames_follow_timestamps_not_counts(tmp_path: Path) -> None:
    """A variable frame rate: of 25 frames a second every fourth is kept; the picture at a time is the nearest."""
    plain, sparse = clips.make(tmp_path / "a.mp4", seconds=2, audio=False), tmp_path / "vfr.mp4"
    ffmpeg("-i", plain, "-vf", "select=not(mod(n\\,4))", "-fps_mode", "vfr", "-c:v", "libx264", "-qp", "0", sparse)
    times = np.arange(0, 1.6, 0.16)
    for seen, expected in zip(media.frames(sparse, times), media.frames(plain, times), strict=True):
        assert seen is not None
        np.testing.assert_allclose(seen, expected, atol=4)


def test_rotated_and_odd_widths_are_upright_and_contiguous(tmp_path: Path) -> None:
    plain, turned = clips.make(tmp_path / "a.mp4", size=(70, 50)), tmp_path / "turned.mp4"
    ffmpeg("-display_rotation:v:0", "90", "-i", plain, "-c", "copy", turned)
    first, rotated = (next(media.frames(path, np.array([0.0]))) for path in (plain, turned))
    assert first.shape == (50, 70, 3) and first.flags.c_contiguous
    np.testing.assert_array_equal(rotated, np.rot90(first))
    facts = media.probe(turned, None, None, LIMITS)
    assert (facts.width, facts.height) == (50, 70)


def test_pictures_are_pyavs_own_whatever_size_came_before(tmp_path: Path) -> None:
    corpus.joined(tmp_path / "grows.ts")  # 160 x 120, then 320 x 240
    with av.open(str(tmp_path / "grows.ts")) as container:
        theirs = [(frame.time, frame.to_ndarray(format="rgb24")) for frame in container.decode(video=0)]
    times = np.array([time for time, _ in theirs]) - theirs[0][0]
    ours = list(media.frames(tmp_path / "grows.ts", times))
    assert {image.shape for image in ours} == {(120, 160, 3), (240, 320, 3)}
    assert all(np.array_equal(image, picture) for image, (_, picture) in zip(ours, theirs, strict=True))


def damaged(folder: Path, name: str) -> Path:
    """A file that no reader should trust, by the reason it is refused with."""
    path = folder / "x.mp4"
    if name == "missing":
        path.symlink_to(folder / "nowhere")
    elif name == "not a file":
        os.mkfifo(path)
    elif name == "empty":
        path.touch()
    elif name == "unreadable":
        path.write_bytes(b"no video at all " * 100)
    elif name == "too long":
        clips.make(path, seconds=70, fps=1, audio=False)
    else:
        clips.make(path, seconds=0.1, size=(1280, 960), audio=False)
    return path


@pytest.mark.parametrize("reason", ["missing", "not a file", "empty", "unreadable", "too long", "too large"])
def test_refused_with_a_reason(tmp_path: Path, reason: str) -> None:
    with pytest.raises(MediaError) as caught:
        media.probe(damaged(tmp_path, reason), None, None, LIMITS)
    assert caught.value.reason == reason
    assert "x.mp4" in caught.value.message


def test_a_share_of_corrupt_frames_above_the_limit_is_refused(tmp_path: Path) -> None:
    corpus.made(*corpus.PLAIN)(tmp_path / "plain.mp4")
    broken = tmp_path / "noise.mp4"
    corpus.of("-c", "copy", "-bsf:v", "noise=amount=20")(broken)
    facts = media.probe(broken, None, None, LIMITS.model_copy(update={"max_corrupt_share": 1.0}))
    assert facts.corrupt_share > 0.1 and Flagged(Flag.CORRUPT_FRAMES) in facts.flags
    with pytest.raises(MediaError, match=r"\d+% of its frames are corrupt, ingest.max_corrupt_share allows") as caught:
        media.probe(broken, None, None, LIMITS.model_copy(update={"max_corrupt_share": facts.corrupt_share - 0.01}))
    assert caught.value.reason == "corrupt"


def test_a_list_of_other_files_opens_none_of_them(tmp_path: Path) -> None:
    clips.make(tmp_path / "secret.mp4")
    trap = tmp_path / "trap.mp4"
    trap.write_text("ffconcat version 1.0\nfile secret.mp4\n")
    with pytest.raises(MediaError, match="cannot be opened"):
        media.probe(trap, None, None, LIMITS)
    with pytest.raises(MediaError, match="cannot read the sound"):
        media.sound(trap)


def test_a_file_cut_short_is_flagged(tmp_path: Path) -> None:
    whole, cut = clips.make(tmp_path / "a.mp4", seconds=4, size=(320, 240)), tmp_path / "cut.mp4"
    ffmpeg("-i", whole, "-c", "copy", "-movflags", "+faststart", cut)
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size // 2])
    facts = media.probe(cut, None, None, LIMITS)
    assert 0 < facts.frames_decoded < facts.frames_declared
    assert Flagged(Flag.CUT_SHORT) in facts.flags
