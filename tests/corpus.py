"""Odd, broken and hostile media files, made in seconds, each with what must become of it.

`make(folder)` writes them all as one data set. Every case tells its status (ok, degraded, refused, passed over) and the
flags or the reason that ingest must give. `tests/torture.py` runs them, mutations of them, and mutated pickles.
"""

import os
import random
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline import assets
from pipeline.flags import Flag

Status = Literal["ok", "degraded", "refused", "passed over"]
PORT = 8765  # of the listener that nobody must call
OUTSIDE = "outside.mp4"  # two folders above the data set's files; no playlist may reach it
PICTURE = ("-f", "lavfi", "-i", "testsrc2=size=160x120:rate=25:duration=1")
TONE = ("-f", "lavfi", "-i", "sine=frequency=440:sample_rate=44100:duration=1")
H264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")
AAC = ("-c:a", "aac")
PLAIN = (*PICTURE, *TONE, *H264, *AAC)
SEED = 1111

Maker = Callable[[Path], None]


@dataclass(frozen=True)
class Case:
    """A file's name (bytes that are no UTF-8 as surrogates) and how it is made; told: its flags, or its one reason."""

    name: str
    make: Maker
    status: Status = "ok"
    told: tuple[str, ...] = ()

    @property
    def clip(self) -> str:
        """The clip's id: a video with no folder of its own is its own video_id."""
        return f"{Path(self.name).stem}/0"


def ffmpeg(*arguments: str | Path) -> None:
    """Run the packaged ffmpeg; equal arguments give equal bytes."""
    quiet = (assets.ffmpeg(), "-y", "-v", "error", "-nostdin", "-threads", "1")
    subprocess.run([*quiet, *map(str, arguments)], check=True, capture_output=True)


def made(*arguments: str | Path) -> Maker:
    """By ffmpeg, whose last argument is the file."""
    return lambda path: ffmpeg(*arguments, "-fflags", "+bitexact", "-flags", "+bitexact", f"file:{path}")


def of(*arguments: str | Path, source: str = "plain.mp4") -> Maker:
    """By ffmpeg from another case's file."""
    return lambda path: ffmpeg("-i", path.with_name(source), *arguments, "-fflags", "+bitexact", f"file:{path}")


def written(content: bytes | str) -> Maker:
    """As it is; {here} becomes the folder of OUTSIDE."""
    return lambda path: path.write_bytes(
        content if isinstance(content, bytes) else content.format(here=path.resolve().parents[2]).encode()
    )


def copied(source: str = "plain.mp4") -> Maker:
    return lambda path: path.write_bytes(path.with_name(source).read_bytes())


def half(source: str) -> Maker:
    return lambda path: path.write_bytes((found := path.with_name(source).read_bytes())[: len(found) // 2])


def flipped(box: bytes, end: bytes | None, count: int) -> Maker:
    """faststart.mp4 with so many bytes of one of its boxes changed, after its first 8."""

    def make(path: Path) -> None:
        content = bytearray(path.with_name("faststart.mp4").read_bytes())
        start = content.find(box) + 8
        stop = content.find(end) - 4 if end else len(content)
        draw = random.Random(SEED)
        for _ in range(count):
            content[draw.randrange(start, stop)] = draw.randrange(256)
        path.write_bytes(content)

    return make


def joined(path: Path) -> None:
    """Two MPEG transport streams of other sizes, one after the other."""
    parts = []
    for size, seconds in (("160x120", 0), ("320x240", 1)):
        part = path.with_name(f"{size}.part")
        source = ("-f", "lavfi", "-i", f"testsrc2=size={size}:rate=25:duration=1")
        ffmpeg(*source, *H264, "-output_ts_offset", str(seconds), "-f", "mpegts", part)
        parts.append(part.read_bytes())
        part.unlink()
    path.write_bytes(b"".join(parts))


def looped(times: int, *source: str) -> Maker:
    """A short file repeated without encoding it again: a bomb that costs nothing to make."""

    def make(path: Path) -> None:
        once = path.with_suffix(".once.part")
        ffmpeg(*source, "-f", "mp4", once)
        ffmpeg("-stream_loop", str(times - 1), "-i", once, "-c", "copy", "-f", "mp4", path)
        once.unlink()

    return make


def missing(path: Path) -> None:
    path.symlink_to("nowhere.mp4")


CASES: tuple[Case, ...] = (
    # what recorders and editors make
    Case("plain.mp4", made(*PLAIN)),
    Case("faststart.mp4", of("-c", "copy", "-movflags", "+faststart")),
    Case("no_sound.mp4", made(*PICTURE, *H264), told=("no sound",)),
    Case("no_picture.mp4", made(*TONE, *AAC), told=("no picture",)),
    Case("cover.mp4", made(*TONE, *PICTURE[:-1], "color=c=red:s=64x64:d=0.04", "-map", "0", "-map", "1", *AAC, "-c:v", "mjpeg", "-frames:v", "1", "-disposition:v", "attached_pic"), told=("no picture",)),
    Case("silence.mp4", made(*PICTURE, "-f", "lavfi", "-i", "anullsrc=r=44100:cl=stereo", *H264, *AAC, "-t", "1"), told=("silent sound",)),
    Case("sound_ends_early.mp4", made(*PICTURE, "-f", "lavfi", "-i", "sine=440:r=44100:d=0.2", *H264, *AAC), told=("sound ends early",)),
    Case("one_frame.mp4", made(*PLAIN, "-t", "0.04")),
    Case("one_a_second.mp4", made("-f", "lavfi", "-i", "testsrc2=size=160x120:rate=1:duration=3", *TONE[:-1], "sine=440:d=3", *H264, *AAC), told=("few frames: 1 per second",)),
    Case("variable_rate.mp4", made(*PICTURE, *TONE, "-vf", "select='not(mod(n,7))+gt(mod(n,5),2)'", "-fps_mode", "vfr", *H264, *AAC)),
    Case("rotated.mp4", lambda path: ffmpeg("-display_rotation:v:0", "90", "-i", path.with_name("plain.mp4"), "-c", "copy", path)),
    Case("sound_late.mp4", lambda path: ffmpeg("-i", path.with_name("plain.mp4"), "-itsoffset", "0.5", "-i", path.with_name("plain.mp4"), "-map", "0:v", "-map", "1:a", "-c", "copy", path), "degraded", (Flag.STARTS_APART.value,)),
    Case("picture_late.mp4", lambda path: ffmpeg("-itsoffset", "0.5", "-i", path.with_name("plain.mp4"), "-i", path.with_name("plain.mp4"), "-map", "0:v", "-map", "1:a", "-c", "copy", path), "degraded", (Flag.STARTS_APART.value,)),
    Case("444.mp4", made(*PICTURE, *TONE, *H264[:-1], "yuv444p", *AAC)),
    Case("10_bit.mp4", made(*PICTURE, *TONE, *H264[:-1], "yuv420p10le", *AAC)),
    Case("hdr_hevc.mp4", made(*PICTURE, *TONE, "-c:v", "libx265", "-preset", "ultrafast", "-pix_fmt", "yuv420p10le", "-color_primaries", "bt2020", "-color_trc", "smpte2084", "-colorspace", "bt2020nc", "-x265-params", "log-level=none:hdr10=1:pools=none", "-tag:v", "hvc1", *AAC)),
    Case("av1.webm", made(*PICTURE, *TONE, "-c:v", "libsvtav1", "-preset", "12", "-c:a", "libopus")),
    Case("vp9.webm", made(*PICTURE, *TONE, "-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8", "-c:a", "libopus")),
    Case("wide_pixels.vob", made(*PICTURE, *TONE, "-vf", "setsar=64/45", "-c:v", "mpeg2video", "-c:a", "mp2", "-f", "vob")),
    Case("ahead.avi", made(*PICTURE, *TONE, *H264[:2], "-bf", "2", "-c:a", "libmp3lame"), told=(Flag.GUESSED_TIMES.value,)),
    Case("animation.gif", made(*PICTURE), told=("no sound",)),
    Case("voice.wav", made(*TONE), told=("no picture",)),
    Case("memo.opus", made(*TONE), told=("no picture",)),
    Case("xvid.avi", made(*PICTURE, *TONE, "-c:v", "mpeg4", "-c:a", "libmp3lame")),
    Case("odd_size.mkv", made("-f", "lavfi", "-i", "testsrc2=size=161x121:rate=25:duration=1", "-c:v", "ffv1", "-pix_fmt", "bgr0"), told=("no sound",)),
    Case("interlaced.mp4", made(*PICTURE, *TONE, "-vf", "setsar=2/1,interlace", *H264, "-flags", "+ilme+ildct", *AAC)),
    Case("six_channels.mp4", made(*PICTURE, "-f", "lavfi", "-i", "sine=440:r=96000:d=1", *H264, *AAC, "-ac", "6")),
    Case("two_sounds.mp4", made(*PICTURE, *TONE, *TONE, "-map", "0", "-map", "1", "-map", "2", *H264, *AAC), told=("several sounds: the first is used",)),
    Case("size_change.ts", joined, told=("no sound", "picture changes size")),
    # what is broken
    Case("zero.mp4", written(b""), "refused", ("empty",)),
    Case("garbage.mp4", written(random.Random(SEED).randbytes(4096)), "refused", ("unreadable",)),
    Case("text.mp4", written("hello, this is text\n"), "refused", ("unreadable",)),
    Case("header.mp4", lambda path: path.write_bytes(path.with_name("plain.mp4").read_bytes()[:48]), "refused", ("unreadable",)),
    Case("half.mp4", half("plain.mp4"), "refused", ("unreadable",)),
    Case("half_faststart.mp4", half("faststart.mp4"), "degraded", (Flag.CUT_SHORT.value, Flag.CORRUPT_FRAMES.value)),
    Case("raw_h264.mp4", lambda path: ffmpeg("-i", path.with_name("plain.mp4"), "-c:v", "copy", "-an", "-f", "h264", path), "refused", ("unreadable",)),
    Case("packet_noise.mp4", of("-c", "copy", "-bsf:v", "noise=amount=20"), "refused", ("corrupt",)),
    Case("dropped_packets.mp4", of("-c", "copy", "-bsf:v", "noise=drop='eq(mod(n,5),4)'")),
    Case("dropped_second.mp4", of("-c", "copy", "-bsf:v", "noise=drop='between(n,5,20)'"), "degraded", (Flag.PICTURE_GAPS.value,)),
    Case("dropped_sound.mp4", of("-c", "copy", "-bsf:a", "noise=drop='between(n,5,40)'"), "degraded", (Flag.SOUND_GAPS.value,)),
    Case("flipped_mdat.mp4", flipped(b"mdat", None, 12), "degraded", (Flag.CORRUPT_FRAMES.value, Flag.CORRUPT_SOUND.value)),
    Case("flipped_moov.mp4", flipped(b"moov", b"mdat", 30), "refused", ("no streams",)),
    Case("encrypted.mp4", of("-c", "copy", "-encryption_scheme", "cenc-aes-ctr", "-encryption_key", "0" * 32, "-encryption_kid", "1" * 32), "refused", ("corrupt",)),
    # what is no file, and names
    Case("broken_link.mp4", missing, "refused", ("missing",)),
    Case("folder.mp4", Path.mkdir, "refused", ("not a file",)),
    Case("fifo.mp4", os.mkfifo, "refused", ("not a file",)),
    Case(os.fsdecode(b"bad\xff.mp4"), copied(), "refused", ("name",)),
    Case("new\nline.mp4", copied(), "refused", ("name",)),
    Case(".hidden.mp4", copied(), "passed over"),
    Case("notes.m3u8", written("#EXTM3U\n"), "passed over"),
    Case("naïve 视频 name.mp4", copied()),
    Case("-i.mp4", copied()),
    Case("a%03d.mp4", copied()),
    Case("quote'\"$(x);&.mp4", copied()),
    Case("concat:x.mp4", copied()),
    Case("<script>.mp4", copied()),
    Case("L" * 240 + ".mp4", copied()),
    Case("capitals.AVI", copied()),
    # what would lead elsewhere
    Case("hls_http.mp4", written(f"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:10.0,\nhttp://127.0.0.1:{PORT}/hls.ts\n#EXT-X-ENDLIST\n"), "refused", ("unreadable",)),
    Case("hls_file.mp4", written(f"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:0\n#EXTINF:10.0,\nfile://{{here}}/{OUTSIDE}\n#EXT-X-ENDLIST\n"), "refused", ("unreadable",)),
    Case("ffconcat_absolute.mp4", written(f"ffconcat version 1.0\nfile {{here}}/{OUTSIDE}\n"), "refused", ("unreadable",)),
    Case("ffconcat_relative.mp4", written("ffconcat version 1.0\nfile plain.mp4\n"), "refused", ("unreadable",)),
    Case("ffconcat_http.mp4", written(f"ffconcat version 1.0\nfile http://127.0.0.1:{PORT}/concat.mp4\n"), "refused", ("unreadable",)),
    Case("dash_http.mp4", written(f'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT3S"><Period><AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1"><BaseURL>http://127.0.0.1:{PORT}/dash.mp4</BaseURL><SegmentBase/></Representation></AdaptationSet></Period></MPD>'), "refused", ("unreadable",)),
    Case("sdp.mp4", written("v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 8766 RTP/AVP 96\na=rtpmap:96 H264/90000\n"), "refused", ("unreadable",)),
    # what would eat the machine
    Case("bomb_pixels.mp4", made("-f", "lavfi", "-i", "color=c=black:s=8192x8192:r=1:d=1", *H264), "refused", ("too large",)),
    Case("bomb_frames.mp4", looped(600, "-f", "lavfi", "-i", "color=c=black:s=64x64:r=1000:d=1", *H264, "-crf", "51"), "refused", ("too many frames",)),
    Case("bomb_seconds.mp4", looped(3600, "-f", "lavfi", "-i", "anullsrc=r=8000:cl=mono", "-t", "10", *AAC, "-b:a", "8k"), "refused", ("too long",)),
    Case("bomb_sound.mp4", looped(720, "-f", "lavfi", "-i", "anullsrc=r=8000:cl=mono", "-t", "10", *AAC, "-b:a", "8k"), "refused", ("too much sound",)),
)  # fmt: skip


def make(folder: Path) -> None:
    """Write every case into the folder, in order, and the file above it that none may reach."""
    folder.mkdir(parents=True)
    for case in CASES:
        case.make(folder / case.name)
    (folder.resolve().parents[1] / OUTSIDE).write_bytes((folder / "plain.mp4").read_bytes())
