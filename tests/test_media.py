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
    assert (silent.has_audio, silent.flags) == (False, (Flagged(Flag.SILENT_SOUND),))  # nothing is to be heard in it


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
        with pytest.raises(MediaError, match="list.m3u8 ends in '.m3u8', expected a video .3g2, 3gp, .* sound .aac"):
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
    monkeypatch.setattr(media._Segment, "time", lambda self, *stamp: counted.append(1) or plain(self, *stamp))
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


STARTS = (0.5, 1.5, 1.9, 3.3, 3.6)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return clips.make(tmp_path_factory.mktemp("plain") / "plain.mp4", seconds=6)


def made(plain: Path, path: Path, *arguments: str) -> Path:
    """The plain clip, encoded again by ffmpeg."""
    ffmpeg("-threads", "1", "-i", plain, "-preset", "veryfast", *arguments, "-threads", "1", path)
    return path


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("closed.ts", ("-c:v", "libx264", "-g", "250", "-sc_threshold", "0", "-c:a", "aac")),
        ("open.ts", ("-c:v", "libx264", "-x264opts", "open-gop=1:keyint=40:scenecut=0", "-c:a", "aac")),
        ("camera.m2ts", ("-c:v", "libx264", "-g", "50", "-sc_threshold", "0", "-c:a", "ac3", "-ar", "48000")),
        ("dvd.vob", ("-c:v", "mpeg2video", "-bf", "2", "-g", "15", "-c:a", "mp2")),
        ("ahead.avi", ("-c:v", "mpeg4", "-bf", "2", "-c:a", "mp3", "-ar", "44100")),
        ("exact.mkv", ("-c:v", "libx264", "-g", "250", "-sc_threshold", "0", "-c:a", "aac")),
    ],
)
def test_a_segment_is_the_same_part_in_every_container(
    plain: Path, tmp_path: Path, name: str, arguments: tuple[str, ...]
) -> None:
    path = made(plain, tmp_path / name, *arguments)
    times = np.arange(0, 1.9, 0.04) + 0.021
    for start in STARTS:
        facts = media.probe(path, start, start + 2, LIMITS)
        assert facts.frames_decoded == 50 and facts.corrupt_share == 0 and facts.status == "ok"
        part, whole = media.frames(path, times, start, start + 2), list(media.frames(path, times + start))
        assert all(found is not None and np.array_equal(found, same) for found, same in zip(part, whole, strict=True))


def test_pixels_that_are_not_square_are_shown_as_players_do(plain: Path, tmp_path: Path) -> None:
    square = made(plain, tmp_path / "square.mp4", "-qp", "0")
    narrow = made(plain, tmp_path / "narrow.mp4", "-vf", "scale=128:48,setsar=1/2", "-qp", "0")
    facts = media.probe(narrow, None, None, LIMITS)
    assert (facts.width, facts.height) == (64, 48)
    for shown, expected in zip(*(media.frames(path, np.arange(3)) for path in (narrow, square)), strict=True):
        assert shown.shape == expected.shape == (48, 64, 3)
        assert np.abs(shown.astype(int) - expected).mean() < 4
    absurd = made(plain, tmp_path / "absurd.mp4", "-vf", "setsar=1000/1")
    assert next(media.frames(absurd, np.zeros(1))).shape == (48, 64, 3)  # no picture of 64,000 x 48


def test_frames_that_an_edit_list_discards_are_not_missing(plain: Path, tmp_path: Path) -> None:
    whole, trimmed = (
        made(plain, tmp_path / "whole.mp4", "-c:v", "libx264", "-bf", "3", "-g", "250"),
        tmp_path / "trimmed.mp4",
    )
    ffmpeg("-ss", "2.3", "-i", whole, "-c", "copy", trimmed)
    facts = media.probe(trimmed, None, None, LIMITS)
    assert facts.flags == () and facts.frames_declared == facts.frames_decoded < 100


def test_a_frame_stands_until_the_next_for_a_second_at_most(plain: Path, tmp_path: Path) -> None:
    slow = made(plain, tmp_path / "slow.mp4", "-vf", "fps=1")
    times = np.arange(0, 5.9, 1 / 15)
    assert all(image is not None for image in media.frames(slow, times))
    assert Flagged(Flag.FEW_FRAMES, count=1) in media.probe(slow, None, None, LIMITS).flags
    holed = made(plain, tmp_path / "holed.mp4", "-vf", "select='not(between(t,2,4))'", "-fps_mode", "vfr")
    there = [image is not None for image in media.frames(holed, times)]
    assert [time for time, seen in zip(times, there, strict=True) if not seen] == [
        time
        for time in times
        if 2.96 < time < 3.97  # the last frame lies at 1.96, the next at 4.04
    ]
    assert media.probe(holed, None, None, LIMITS).flags == (Flagged(Flag.PICTURE_GAPS),)


def test_avi_of_a_codec_that_looks_ahead_is_shown_in_order_and_said_to_be(plain: Path, tmp_path: Path) -> None:
    twin = made(plain, tmp_path / "twin.mp4", "-c:v", "libx264", "-bf", "3", "-g", "250")
    copied = tmp_path / "copied.avi"
    ffmpeg("-i", twin, "-c", "copy", copied)
    facts = media.probe(copied, None, None, LIMITS)
    assert (facts.status, facts.fps, facts.frames_declared, facts.frames_decoded) == ("ok", 25.0, 150, 150)
    assert facts.flags == (Flagged(Flag.GUESSED_TIMES),)
    times = np.arange(0, 5.9, 1 / 15)
    for found, same in zip(media.frames(copied, times), media.frames(twin, times), strict=True):
        np.testing.assert_array_equal(found, same)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("x.3g2", ("-c:v", "mpeg4", "-c:a", "aac")),
        ("x.m2v", ("-c:v", "mpeg2video", "-an")),
        ("x.mxf", ("-c:v", "mpeg2video", "-c:a", "pcm_s16le", "-ar", "48000")),
        ("x.asf", ("-c:v", "wmv2", "-c:a", "wmav2")),
        ("x.f4v", ("-c", "copy", "-f", "mp4")),
        ("x.QT", ("-c", "copy", "-f", "mov")),
        ("x.mpe", ("-c:v", "mpeg1video", "-c:a", "mp2", "-f", "mpeg")),
        ("x.MOD", ("-c:v", "mpeg2video", "-c:a", "ac3", "-ar", "48000", "-f", "mpeg")),
        ("x.dat", ("-c:v", "mpeg1video", "-c:a", "mp2", "-ar", "44100", "-f", "vcd")),
        ("x.divx", ("-c:v", "mpeg4", "-c:a", "mp3", "-f", "avi")),
        ("x.gif", ("-vf", "fps=10", "-t", "2")),
    ],
)
def test_cameras_and_discs_name_their_films_in_many_ways(
    plain: Path, tmp_path: Path, name: str, arguments: tuple[str, ...]
) -> None:
    facts = media.probe(made(plain, tmp_path / name, *arguments), None, None, LIMITS)
    assert facts.status == "ok" and facts.has_vision and facts.has_audio == (name not in ("x.m2v", "x.gif"))
    assert next(media.frames(tmp_path / name, np.array([1.0]))).shape == (48, 64, 3)


@pytest.mark.parametrize("kind", ["aac", "aiff", "caf", "flac", "m4a", "mka", "mp3", "ogg", "opus", "wav", "wma"])
def test_sound_alone_is_a_clip_without_a_picture(plain: Path, tmp_path: Path, kind: str) -> None:
    path = made(plain, tmp_path / f"x.{kind}", "-vn", "-ar", "48000")
    facts = media.probe(path, None, None, LIMITS)
    assert (facts.has_audio, facts.has_vision, facts.flags) == (True, False, (Flagged(Flag.NO_PICTURE),))
    assert facts.seconds == pytest.approx(6, abs=0.2)
    assert np.abs(media.sound(path, 2.0, 3.0)).max() == pytest.approx(0.3, abs=0.05)


def test_a_film_is_not_read_as_a_sound(plain: Path, tmp_path: Path) -> None:
    """Formats of sound begin like much else: only a file that is named like one is taken for one."""
    made(plain, tmp_path / "x.mp3", "-vn")
    (tmp_path / "x.mp3").rename(tmp_path / "x.mp4")
    with pytest.raises(MediaError, match="x.mp4 cannot be opened as a video"):
        media.probe(tmp_path / "x.mp4", None, None, LIMITS)
