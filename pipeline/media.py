"""Reading a video safely: what it holds, its sound, its frames. PyAV for pictures and facts, ffmpeg for sound.

Times are seconds from the clip's start: the file's start (its earliest stream), or `start` of a segment.
"""

import stat
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt

from pipeline import assets
from pipeline.blocks import Block, Share
from pipeline.errors import MediaError, Reason
from pipeline.execution.platform import program_dies_with_us
from pipeline.flags import Flag, Flagged

LIBRARIES = ("av", "ffmpeg-python", "imageio-ffmpeg")
SAMPLE_RATE = 16_000
VIDEOS = frozenset(
    {"3gp", "avi", "flv", "m2ts", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "mts", "ogv", "ts", "webm", "wmv"}
)
FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg"  # no playlist, no image series
SILENCE = 1e-4  # peak amplitude
DEGRADING = frozenset(  # the other flags are mere notes
    {
        *(Flag.CUT_SHORT, Flag.CORRUPT_FRAMES, Flag.CORRUPT_SOUND),
        *(Flag.PICTURE_GAPS, Flag.SOUND_GAPS, Flag.STARTS_APART),
    }
)


class Limits(Block):
    """What a file may be, and how much of it may be broken."""

    max_seconds: PositiveFloat
    max_pixels: PositiveInt
    max_frames: PositiveInt
    max_sound_seconds: PositiveFloat
    max_corrupt_share: Share
    min_decoded_share: Share
    max_gap_seconds: NonNegativeFloat
    max_sound_offset: NonNegativeFloat


@dataclass(frozen=True)
class Media:
    """The facts of a clip and its decode report."""

    has_audio: bool
    has_vision: bool
    seconds: float
    fps: float | None
    width: int | None  # pixels as shown, after rotation
    height: int | None
    sound_rate: int | None  # Hz
    sound_offset: float | None  # seconds from the first frame to the first sound
    frames_declared: int | None
    frames_decoded: int
    corrupt_share: float  # of the frames: decoded with errors, or not at all
    gap: float  # seconds that the longest step between two frames, or two blocks of sound, is too long
    flags: tuple[Flagged, ...]

    @property
    def status(self) -> Literal["ok", "degraded"]:
        """degraded: used, though something of it is lost or broken; what cannot be used at all is no Media."""
        return "degraded" if any(flagged.flag in DEGRADING for flagged in self.flags) else "ok"


def check(path: Path) -> None:
    """Raise MediaError unless `path` is named like a video and is a regular file with content: a pipe would hang
    whoever opens it."""
    extension = path.suffix.lower().lstrip(".")
    if extension not in VIDEOS:
        raise MediaError(
            Reason.NOT_A_VIDEO, f"{path.name} ends in .{extension}, expected one of: {', '.join(sorted(VIDEOS))}."
        )
    if not path.exists():
        raise MediaError(
            Reason.MISSING, f"{path.name} is not there, or a link to nothing. Restore it, or remove the link."
        )
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise MediaError(
            Reason.NOT_A_FILE, f"{path.name} is a folder, pipe or device, expected a regular file. Remove it."
        )
    if not status.st_size:
        raise MediaError(Reason.EMPTY, f"{path.name} has no bytes. Copy it again, or remove it.")


def probe(path: Path, start: float | None, end: float | None, limits: Limits) -> Media:
    """Decode the whole clip and report. Raises MediaError where it cannot be used at all."""
    with open(path) as container:
        picture, track = _streams(container)
        if picture is None and track is None:
            raise MediaError(Reason.NO_STREAMS, f"{path.name} holds neither picture nor sound that can be decoded.")
        declared = _declared(picture) if start is None and end is None else None
        _within(path, limits, (container.duration or 0) / 1_000_000, picture, declared or 0)
        seen = _decode(path, container, picture, track, _Segment(container, start, end), limits)
        width, height = _shown(picture, seen.rotation)
        tracks, length = len(container.streams.audio), (container.duration or 0) / 1_000_000
    if not seen.frames and not seen.samples:
        if start and length and start >= length - 0.001:
            raise MediaError(
                Reason.START,
                f"{path.name} lasts {length:.1f} s, and the clip starts at {start:g} s. Correct the times, or the file.",
            )
        raise MediaError(Reason.NOTHING_DECODED, f"{path.name} opens, but no frame and no sound of it decodes.")
    corrupt = (seen.corrupt + seen.errors["video"]) / max(seen.frames + seen.errors["video"], 1)
    if corrupt > limits.max_corrupt_share:
        raise MediaError(
            Reason.CORRUPT,
            f"{path.name}: {corrupt:.0%} of its frames are corrupt, ingest.max_corrupt_share allows {limits.max_corrupt_share:.0%}.",
        )
    return Media(
        has_audio=seen.samples > 0,
        has_vision=seen.frames > 0,
        seconds=seen.end,
        fps=float(picture.average_rate) if picture is not None and picture.average_rate else None,
        width=width,
        height=height,
        sound_rate=track.rate if track is not None else None,
        sound_offset=seen.offset,
        frames_declared=declared,
        frames_decoded=seen.frames,
        corrupt_share=corrupt,
        gap=max(seen.gap("video"), seen.gap("audio")),
        flags=tuple(map(Flagged, _flags(seen, declared, corrupt, limits, tracks))),
    )


def sound(path: Path, start: float | None = None, end: float | None = None) -> np.ndarray:
    """The first audio track: (samples,) float32 in [-1, 1], mono, 16 kHz; sample 0 lies at the clip's start.

    A track that starts late is preceded by silence. Raises MediaError.
    """
    import ffmpeg

    check(path)
    cut = {key: value for key, value in (("ss", start), ("to", end)) if value is not None}
    source = ffmpeg.input(_url(path), protocol_whitelist="file,pipe", format_whitelist=FORMATS, **cut)
    stream = source["a:0"].filter("aresample", SAMPLE_RATE, first_pts=0).output("pipe:", format="f32le", ac=1)
    command = stream.global_args("-nostdin", "-threads", "1").compile(assets.ffmpeg())
    bound = program_dies_with_us()  # a killed worker must not leave ffmpeg running
    with tempfile.TemporaryFile() as errors:  # a second pipe would have the sound read in pieces, which are held twice
        done = subprocess.run(  # noqa: S603  the packaged ffmpeg; no shell, the path is absolute and begins with file:
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, preexec_fn=bound
        )
        errors.seek(0)
        said = errors.read().decode(errors="replace").replace(_url(path), path.name).strip().splitlines()
    if done.returncode:
        raise MediaError(Reason.NO_SOUND_READ, f"ffmpeg cannot read the sound of {path.name}: {(said or [''])[-1]}")
    return np.frombuffer(done.stdout, np.float32)


def frames(
    path: Path, times: np.ndarray, start: float | None = None, end: float | None = None
) -> Iterator[np.ndarray | None]:
    """For each of the rising `times` (seconds of the clip) the nearest frame: (H, W, 3) uint8 RGB, contiguous,
    upright; None where no frame lies within one step of `times`. The same array comes again where
    the video has fewer frames than asked for. Raises MediaError.
    """
    near = float(np.diff(times).min()) if len(times) > 1 else 1.0
    with open(path) as container:
        picture, _ = _streams(container)
        if picture is None:
            raise MediaError(Reason.NO_PICTURE, f"{path.name} holds no picture that can be decoded.")
        segment = _Segment(container, start, end)
        source = _timed(container, picture, segment)
        last, following = None, next(source, None)
        convert = _converter()
        shown: tuple[Any, np.ndarray] | None = None
        for asked in times:
            while following is not None and following[0] < asked:
                last, following = following, next(source, None)
            best = min((f for f in (last, following) if f is not None), key=lambda f: abs(f[0] - asked), default=None)
            if best is None or abs(best[0] - asked) > near:
                yield None
                continue
            if shown is None or shown[0] is not best[1]:
                shown = best[1], convert(best[1])
            yield shown[1]


class _Segment:
    """Which part of the file the clip is, on the file's own clock."""

    def __init__(self, container: Any, start: float | None, end: float | None) -> None:
        self.origin = (container.start_time or 0) / 1_000_000 + (start or 0.0)
        self.seconds = None if end is None else end - (start or 0.0)
        if start:
            container.seek(int(self.origin * 1_000_000))

    def time(self, frame: Any) -> float | None:
        """Seconds of the clip; None for a frame without a timestamp."""
        return None if frame.pts is None else float(frame.pts * frame.time_base) - self.origin

    def after(self, time: float) -> bool:
        return self.seconds is not None and time >= self.seconds


@dataclass
class _Seen:
    """What a full decode counted."""

    frames: int = 0
    corrupt: int = 0
    samples: int = 0
    peak: float = 0.0
    end: float = 0.0
    rotation: int = 0
    errors: Counter[str] = field(default_factory=Counter)  # packets that do not decode, by kind of stream
    first: dict[str, float] = field(default_factory=dict)  # time of the first frame, by kind of stream
    ended: dict[str, float] = field(default_factory=dict)  # time of the last frame, of sound where its block ends
    steps: dict[str, list[float]] = field(default_factory=lambda: {"video": [], "audio": []})  # from frame to frame
    sizes: set[tuple[int, int]] = field(default_factory=set)

    def gap(self, kind: str) -> float:
        """Seconds by which the longest step exceeds the usual one."""
        steps = self.steps[kind]
        return max(0.0, max(steps) - float(np.median(steps))) if steps else 0.0

    @property
    def offset(self) -> float | None:
        return self.first["audio"] - self.first["video"] if len(self.first) == 2 else None


def open(path: Path) -> Any:
    """A PyAV container, read through no other protocol than `file:` and no format that names further files.

    Raises MediaError. That it opens says nothing of what decodes: `probe` does.
    """
    import av

    check(path)
    try:
        return av.open(
            _url(path), options={"protocol_whitelist": "file", "format_whitelist": FORMATS}, metadata_errors="replace"
        )
    except Exception as error:  # whatever a broken file makes FFmpeg or its bindings say
        raise MediaError(
            Reason.UNREADABLE, f"{path.name} cannot be opened as a video ({_cause(error)}). Copy or convert it again."
        ) from None


def _cause(error: Exception) -> str:
    """What FFmpeg says, without the file's path, which differs between checkouts."""
    return getattr(error, "strerror", None) or type(error).__name__


def _url(path: Path) -> str:
    return f"file:{path.resolve()}"


def _streams(container: Any) -> tuple[Any, Any]:
    """The first picture and the first sound that have a decoder. A cover picture is no picture."""
    cover = {s for s in container.streams.video if "ATTACHED_PIC" in str(s.disposition.name or "").upper()}
    pictures = [s for s in container.streams.video if s.codec_context is not None and s not in cover]
    tracks = [s for s in container.streams.audio if s.codec_context is not None]
    return (pictures or [None])[0], (tracks or [None])[0]


def _within(path: Path, limits: Limits, seconds: float, picture: Any = None, frames: int = 0, sound: float = 0) -> None:
    """Raise MediaError where what is declared, or what was decoded so far, is more than the limits allow."""
    width, height = (picture.width, picture.height) if picture is not None else (0, 0)
    for reason, found, allowed, told in (
        (Reason.TOO_LONG, seconds, "max_seconds", "lasts {:.0f} s"),
        (Reason.TOO_LARGE, width * height, "max_pixels", "is {width} x {height}"),
        (Reason.TOO_MANY_FRAMES, frames, "max_frames", "has {:.0f} frames or more"),
        (Reason.TOO_MUCH_SOUND, sound, "max_sound_seconds", "has {:.0f} s of sound or more"),
    ):
        if found > (most := getattr(limits, allowed)):
            raise MediaError(
                reason,
                f"{path.name} {told.format(found, width=width, height=height)}, ingest.{allowed} allows {most:.0f}. Cut it, or raise the limit.",
            )


def _decode(path: Path, container: Any, picture: Any, track: Any, segment: _Segment, limits: Limits) -> _Seen:
    """Decode every frame of both streams once; errors are counted, not raised, save for what passes a limit."""
    seen = _Seen()
    past: set[str] = set()  # kinds of stream that have gone beyond the segment's end
    streams = [s for s in (picture, track) if s is not None]
    for packet in container.demux(streams):
        kind = packet.stream.type
        try:
            decoded = packet.decode()
        except Exception:  # a damaged packet; the decoder goes on with the next
            seen.errors[kind] += 1
            continue
        for frame in decoded:
            time = segment.time(frame)
            if time is not None and segment.after(time):
                past.add(kind)
            if time is not None and (time < -0.001 or segment.after(time)):
                continue
            _count(seen, kind, frame, time)
            sound = max(seen.ended.get("audio", 0.0), seen.samples / max(track.rate, 1) if track is not None else 0.0)
            _within(path, limits, seen.end, frame if kind == "video" else None, seen.frames, sound)
        if len(past) == len(streams):
            break
    return seen


def _count(seen: _Seen, kind: str, frame: Any, time: float | None) -> None:
    if kind == "video":
        seen.frames += 1
        seen.corrupt += bool(frame.is_corrupt)
        seen.rotation = _rotation(frame)
        seen.sizes.add((frame.width, frame.height))
        length = float((frame.duration or 0) * frame.time_base) if frame.time_base else 0.0
    else:
        seen.samples += frame.samples
        seen.peak = max(seen.peak, float(np.abs(_unit(frame.to_ndarray())).max(initial=0.0)))
        length = frame.samples / frame.sample_rate
    if time is None:
        return
    seen.first.setdefault(kind, time)
    seen.end = max(seen.end, time + length)
    if kind in seen.ended:  # a frame to the next; a block of sound to where the last one ended
        seen.steps[kind].append(time - seen.ended[kind])
    seen.ended[kind] = time if kind == "video" else time + length


def _unit(samples: np.ndarray) -> np.ndarray:
    """Integer or float samples as float in [-1, 1]."""
    if samples.dtype.kind == "f":
        return samples
    if samples.dtype == np.uint8:
        return (samples.astype(np.float32) - 128) / 128
    return samples.astype(np.float32) / np.iinfo(samples.dtype).max


def _declared(picture: Any) -> int | None:
    if picture is None:
        return None
    if picture.frames:
        return int(picture.frames)
    if picture.duration and picture.average_rate:
        return round(float(picture.duration * picture.time_base * picture.average_rate))
    return None


def _flags(seen: _Seen, declared: int | None, corrupt: float, limits: Limits, tracks: int) -> Iterator[Flag]:
    if not seen.frames:
        yield Flag.NO_PICTURE
    if not seen.samples:
        yield Flag.NO_SOUND
    elif seen.peak < SILENCE:
        yield Flag.SILENT_SOUND
    if seen.frames and seen.samples and seen.end - seen.ended.get("audio", seen.end) > limits.max_gap_seconds:
        yield Flag.SOUND_ENDS_EARLY
    if tracks > 1:
        yield Flag.SEVERAL_SOUNDS
    if declared and seen.frames < limits.min_decoded_share * declared:
        yield Flag.CUT_SHORT
    if corrupt:
        yield Flag.CORRUPT_FRAMES
    if seen.errors["audio"]:
        yield Flag.CORRUPT_SOUND
    if seen.gap("video") > limits.max_gap_seconds:
        yield Flag.PICTURE_GAPS
    if seen.gap("audio") > limits.max_gap_seconds:
        yield Flag.SOUND_GAPS
    if seen.offset is not None and abs(seen.offset) > limits.max_sound_offset:
        yield Flag.STARTS_APART
    if len(seen.sizes) > 1:
        yield Flag.SIZE_CHANGES


def _shown(picture: Any, rotation: int) -> tuple[int | None, int | None]:
    if picture is None:
        return None, None
    return (picture.height, picture.width) if rotation % 180 else (picture.width, picture.height)


def _timed(container: Any, picture: Any, segment: _Segment) -> Iterator[tuple[float, Any]]:
    """The clip's frames with their times; a frame without a timestamp follows its predecessor by one step."""
    picture.thread_type = "NONE"  # bytes and memory do not depend on the machine's cores
    step = 1 / float(picture.average_rate or 25)
    time = -step
    for packet in container.demux(picture):
        try:
            decoded = packet.decode()
        except Exception:  # noqa: S112  a damaged packet; probe has flagged the clip
            continue
        for frame in decoded:
            known = segment.time(frame)
            time = time + step if known is None else known
            if segment.after(time):
                return
            if time >= -0.001:
                yield time, frame


def _rotation(frame: Any) -> int:
    """Degrees counter-clockwise to turn the frame upright; what is no quarter turn is noise."""
    turn = int(getattr(frame, "rotation", 0) or 0)
    return turn % 360 if turn % 90 == 0 else 0


def _converter() -> Callable[[Any], np.ndarray]:
    """frame -> (H, W, 3) uint8 RGB, contiguous, upright. One scaler for all frames, without threads: a scaler
    and threads made anew for each frame cost as much as decoding it."""
    from av.video.reformatter import VideoReformatter

    scaler = VideoReformatter()

    def convert(frame: Any) -> np.ndarray:
        image = scaler.reformat(frame, format="rgb24", threads=1).to_ndarray()
        return np.ascontiguousarray(np.rot90(image, _rotation(frame) // 90))  # MediaPipe misreads padded rows

    return convert
