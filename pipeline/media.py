"""Reading a video safely: what it holds, its sound, its frames. PyAV for pictures and facts, ffmpeg for sound.

Times are seconds from the clip's start: the file's start (its earliest stream), or `start` of a segment.
"""

import heapq
import stat
import subprocess
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath
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
    {
        *(
            "3g2",
            "3gp",
            "asf",
            "avi",
            "dat",
            "divx",
            "dv",
            "f4v",
            "flv",
            "gif",
            "m1v",
            "m2t",
            "m2ts",
            "m2v",
            "m4v",
            "mkv",
        ),
        *(
            "mod",
            "mov",
            "mp4",
            "mpe",
            "mpeg",
            "mpg",
            "mpv",
            "mts",
            "mxf",
            "ogm",
            "ogv",
            "qt",
            "rm",
            "rmvb",
            "tod",
            "ts",
        ),
        *("vob", "vro", "webm", "wmv"),
    }
)
SOUNDS = frozenset(  # sound alone: a clip without a picture
    {
        *("aac", "ac3", "aif", "aiff", "amr", "caf", "flac", "m4a", "m4b", "mka", "mp2", "mp3", "oga", "ogg", "opus"),
        *("wav", "weba", "wma"),
    }
)
# FFmpeg's names of the containers that are opened: no playlist and no image series, which name further files.
FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,mxf,gif,dv,rm"
SOUND_FORMATS = f"{FORMATS},aac,ac3,aiff,amr,caf,flac,mp3,wav"  # of files that are named like a sound
SILENCE = 1e-4  # peak amplitude: below it the sound is digital silence, and the clip has none
HOLD = 1.0  # seconds that a frame stands for at most, until the next one comes
FEW = 9.5  # frames a second; below it a clip is flagged
SLOWEST = 25_000  # bytes a second of a film at a low rate: 200 kbit/s
LOOKED_AT = 64  # packets, to learn how far a decoder looks ahead
SETTLED = 2.0  # seconds; a DVD tells a time every 0.7 s
AHEAD = 10.0  # seconds: more than any packet lies before the time at which it is shown
ASPECTS = 0.25, 4.0  # of a pixel, width by height; a ratio beyond is a fault of the file
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
    width: int | None  # pixels as shown: square, after rotation
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
    """Raise MediaError unless `path` is named like a video or a sound and is a regular file with content: a pipe would
    hang whoever opens it."""
    if extension(path.name) not in VIDEOS | SOUNDS:
        found = f"ends in '{path.suffix}'" if path.suffix else "has no extension"
        raise MediaError(
            Reason.NOT_A_VIDEO,
            f"{path.name} {found}, expected a video ({', '.join(sorted(VIDEOS))}) or a sound ({', '.join(sorted(SOUNDS))}). "
            "Rename or convert it.",
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


def extension(name: str) -> str:
    """What a file's name ends in: lower case, without the dot; "" where it has none."""
    return PurePosixPath(name).suffix.lower().lstrip(".")


def longest(path: Path) -> float:
    """Seconds that a file lasts at most, by its bytes; 0 where it is not there."""
    return path.stat().st_size / SLOWEST if path.is_file() else 0.0


def probe(path: Path, start: float | None, end: float | None, limits: Limits) -> Media:
    """Decode the whole clip and report. Raises MediaError where it cannot be used at all."""
    with open(path) as container:
        picture, track = _streams(container)
        if picture is None and track is None:
            raise MediaError(Reason.NO_STREAMS, f"{path.name} holds neither picture nor sound that can be decoded.")
        declared = _declared(container, picture) if start is None and end is None else None
        aspect = _aspect(picture)
        size = _size(picture, aspect) if picture is not None else (0, 0)
        _within(path, limits, (container.duration or 0) / 1_000_000, size, declared or 0)
        segment = _Segment(container, track if picture is None else picture, start, end)
        seen = _decode(path, container, picture, track, segment, limits)
        width, height = size[::-1] if seen.rotation % 180 else size
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
        has_audio=seen.samples > 0 and not seen.silent,
        has_vision=seen.frames > 0,
        seconds=seen.end,
        fps=seen.rate if segment.guessed else _rate(picture),
        width=width or None,
        height=height or None,
        sound_rate=track.rate if track is not None else None,
        sound_offset=seen.offset,
        frames_declared=declared,
        frames_decoded=seen.frames,
        corrupt_share=corrupt,
        gap=max(seen.gap("video"), seen.gap("audio")),
        flags=tuple(_flags(seen, declared, corrupt, limits, tracks, segment.guessed)),
    )


def sound(path: Path, start: float | None = None, end: float | None = None) -> np.ndarray:
    """The first audio track: (samples,) float32 in [-1, 1], mono, 16 kHz; sample 0 lies at the clip's start.

    A track that starts late is preceded by silence. Raises MediaError.
    """
    import ffmpeg

    check(path)
    cut = {key: value for key, value in (("ss", start), ("to", end)) if value is not None}
    source = ffmpeg.input(_url(path), protocol_whitelist="file,pipe", format_whitelist=_formats(path), **cut)
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
    """For each of the rising `times` (seconds of the clip) the nearest frame: (H, W, 3) uint8 RGB, contiguous, upright,
    with square pixels. Where none lies within one step of `times`, the frame before, which is shown until the next one,
    HOLD seconds at most; else None. The same array comes again where the video has fewer frames than asked for.
    Raises MediaError.
    """
    near = float(np.diff(times).min()) if len(times) > 1 else 1.0
    with open(path) as container:
        picture, _ = _streams(container)
        if picture is None:
            raise MediaError(Reason.NO_PICTURE, f"{path.name} holds no picture that can be decoded.")
        picture.thread_type = "NONE"  # bytes and memory do not depend on the machine's cores
        source = _timed(container, picture, _Segment(container, picture, start, end))
        last, following = None, next(source, None)
        convert = _converter(_aspect(picture))
        shown: tuple[Any, np.ndarray] | None = None
        for asked in times:
            while following is not None and following[0] < asked:
                last, following = following, next(source, None)
            best = min((f for f in (last, following) if f is not None), key=lambda f: abs(f[0] - asked), default=None)
            if best is None or abs(best[0] - asked) > near:
                best = last if last and _stands(last, asked, following is not None) else None
            if best is None:
                yield None
                continue
            if shown is None or shown[0] is not best[1]:
                shown = best[1], convert(best[1])
            yield shown[1]


class _Segment:
    """Which part of the file the clip is, on the file's own clock."""

    def __init__(self, container: Any, stream: Any, start: float | None, end: float | None) -> None:
        """stream: the picture, or the sound of a file without one."""
        self.origin = (container.start_time or 0) / 1_000_000 + (start or 0.0)
        self.seconds = None if end is None else end - (start or 0.0)
        # AVI stores no times but the order of decoding, which is not that of showing where a codec looks ahead.
        looks_ahead = stream.type == "video" and bool(stream.codec_context.has_b_frames)
        self.guessed = looks_ahead and container.format.name == "avi"
        self.ahead = _ahead(container, stream) if self.guessed and start else None  # packets
        if start:
            _seek(container, stream, self.origin)

    def time(self, stamp: int | None, base: Any) -> float | None:
        """Seconds of the clip; None without a timestamp. base: its unit, in seconds."""
        return None if stamp is None else float(stamp * base) - self.origin

    def before(self, time: float) -> bool:
        return time < -0.001

    def after(self, time: float) -> bool:
        return self.seconds is not None and time >= self.seconds

    def holds(self, packet: Any) -> bool:
        """Whether what is in a packet belongs to the clip, as far as one can tell."""
        time = self.time(packet.dts if packet.pts is None else packet.pts, packet.time_base)
        return time is None or not (self.before(time) or self.after(time))


def _ahead(container: Any, stream: Any) -> int:
    """How many packets the decoder takes before it gives the first one's frame, as at the file's start. Behind a seek it takes
    more, where it drops frames that hang on earlier ones."""
    stream.thread_type = "NONE"  # a decoder with threads holds more back
    held = most = 0
    for packet in islice(container.demux(stream), LOOKED_AT):
        with suppress(Exception):  # a damaged packet
            held += bool(packet.size) - len(packet.decode())
            most = max(most, held)
    return most


def _seek(container: Any, stream: Any, second: float) -> None:
    """Go to a keyframe of the stream at or before `second` of the file's clock, in steps back that double, to the file's start
    at last. MPEG streams have no index: a seek lands anywhere near, and times are a few frames off until the stream tells
    one, so they are read from SETTLED seconds before."""
    unindexed = container.format.name in ("mpeg", "mpegts")
    latest = second - SETTLED * unindexed
    first, back = (container.start_time or 0) / 1_000_000, 0.0
    while (target := latest - back) > first:
        container.seek(int(target * 1_000_000))
        if _starts_whole(container, stream, latest):
            container.seek(int(target * 1_000_000))
            return
        back = 2 * back or 1.0
    container.seek(int((first - AHEAD * unindexed) * 1_000_000))


def _starts_whole(container: Any, stream: Any, second: float) -> bool:
    """Whether a keyframe comes before `second`, from where the file is read now."""
    for packet in container.demux(stream):
        time = None if packet.dts is None else float(packet.dts * packet.time_base)
        if packet.is_keyframe and packet.size:
            shown = packet.dts if packet.pts is None else packet.pts
            return shown is not None and float(shown * packet.time_base) <= second + 0.001
        if time is not None and time > second:
            return False
    return False


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

    @property
    def silent(self) -> bool:
        return self.peak < SILENCE

    @property
    def rate(self) -> float | None:
        """Frames a second, by the usual step between two; None of a single frame."""
        step = float(np.median(self.steps["video"])) if self.steps["video"] else 0.0
        return round(1 / step, 3) if step > 0 else None

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
            _url(path),
            options={"protocol_whitelist": "file", "format_whitelist": _formats(path)},
            metadata_errors="replace",
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


def _formats(path: Path) -> str:
    return SOUND_FORMATS if extension(path.name) in SOUNDS else FORMATS


def _streams(container: Any) -> tuple[Any, Any]:
    """The first picture and the first sound that have a decoder. A cover picture is no picture."""
    cover = {s for s in container.streams.video if "ATTACHED_PIC" in str(s.disposition.name or "").upper()}
    pictures = [s for s in container.streams.video if s.codec_context is not None and s not in cover]
    tracks = [s for s in container.streams.audio if s.codec_context is not None]
    return (pictures or [None])[0], (tracks or [None])[0]


def _within(
    path: Path, limits: Limits, seconds: float, size: tuple[int, int] = (0, 0), frames: int = 0, sound: float = 0
) -> None:
    """Raise MediaError where what is declared, or what was decoded so far, is more than the limits allow.

    size: width and height in pixels, as shown.
    """
    width, height = size
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
    aspect = _aspect(picture)
    for kind, frame, time in _decoded(container, streams, segment, seen.errors):
        if time is not None and segment.after(time):
            past.add(kind)
            if len(past) == len(streams):
                break
        if time is not None and (segment.before(time) or segment.after(time)):
            continue
        _count(seen, kind, frame, time)
        sound = max(seen.ended.get("audio", 0.0), seen.samples / max(track.rate, 1) if track is not None else 0.0)
        _within(path, limits, seen.end, _size(frame, aspect) if kind == "video" else (0, 0), seen.frames, sound)
    return seen


def _decoded(
    container: Any, streams: list[Any], segment: _Segment, errors: Counter[str]
) -> Iterator[tuple[str, Any, float | None]]:
    """Every frame of these streams with its kind and its time; a damaged packet of the clip is counted among `errors`, and
    the decoder goes on with the next.

    Where times are guessed, each packet has a picture, and the decoder gives them in the order of showing: a picture's time
    is the earliest that is due.
    """
    due: list[int] = []
    for packet in container.demux(streams):
        kind = packet.stream.type
        guessed = segment.guessed and kind == "video"
        if guessed and packet.size and packet.dts is not None:
            heapq.heappush(due, packet.dts)
        try:
            frames = packet.decode()
        except Exception:  # whatever a damaged packet makes FFmpeg say
            errors[kind] += segment.holds(packet)
            if guessed and packet.dts in due:
                due.remove(packet.dts)
                heapq.heapify(due)
            continue
        for frame in frames:
            while segment.ahead is not None and len(due) > segment.ahead + 1:
                heapq.heappop(due)  # of a frame that was dropped
            stamp = heapq.heappop(due) if guessed and due else frame.pts
            yield kind, frame, segment.time(stamp, packet.time_base if guessed else frame.time_base)


def _count(seen: _Seen, kind: str, frame: Any, time: float | None) -> None:
    if kind == "video":
        seen.frames += 1
        seen.corrupt += bool(frame.is_corrupt)
        seen.rotation = _rotation(frame)
        seen.sizes.add((frame.width, frame.height))
        length = _length(frame)
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


def _declared(container: Any, picture: Any) -> int | None:
    """How many frames the file says that it shows. A frame that its edit list discards is decoded and not shown."""
    if picture is None:
        return None
    if picture.frames:
        indexed = (
            container.format.name == "avi" or "mp4" in container.format.name
        )  # an index of all frames, not of keyframes
        entries = list(picture.index_entries or ()) if indexed else []
        return sum(not entry.is_discard for entry in entries) or int(picture.frames)
    if picture.duration and picture.average_rate:
        return round(float(picture.duration * picture.time_base * picture.average_rate))
    return None


def _flags(
    seen: _Seen, declared: int | None, corrupt: float, limits: Limits, tracks: int, guessed: bool
) -> Iterator[Flagged]:
    yield from map(Flagged, _plain_flags(seen, declared, corrupt, limits, tracks))
    if guessed:
        yield Flagged(Flag.GUESSED_TIMES)
    if seen.rate is not None and seen.rate < FEW:
        yield Flagged(Flag.FEW_FRAMES, count=round(seen.rate, 1))


def _plain_flags(seen: _Seen, declared: int | None, corrupt: float, limits: Limits, tracks: int) -> Iterator[Flag]:
    if not seen.frames:
        yield Flag.NO_PICTURE
    if not seen.samples:
        yield Flag.NO_SOUND
    elif seen.silent:
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


def _rate(picture: Any) -> float | None:
    """Frames a second, as the file says."""
    return float(picture.average_rate) if picture is not None and picture.average_rate else None


def _aspect(picture: Any) -> float:
    """Width by height of a pixel; 1 where the file does not say, or says what no camera has."""
    told = float(picture.sample_aspect_ratio or 1) if picture is not None else 1.0
    return told if ASPECTS[0] <= told <= ASPECTS[1] else 1.0


def _size(image: Any, aspect: float) -> tuple[int, int]:
    """Width and height in square pixels, of a frame or a stream, before it is turned upright: players change the width."""
    return round(image.width * aspect), image.height


def _stands(last: tuple[float, Any], asked: float, followed: bool) -> bool:
    """Whether a frame is still shown: until the next one, else as long as its file says."""
    return asked < last[0] + (HOLD if followed else min(_length(last[1]), HOLD))


def _length(frame: Any) -> float:
    """Seconds for which the file says that a picture is shown; 0 where it does not."""
    return float((frame.duration or 0) * frame.time_base) if frame.time_base else 0.0


def _timed(container: Any, picture: Any, segment: _Segment) -> Iterator[tuple[float, Any]]:
    """The clip's frames with their times; a frame without a timestamp follows its predecessor by one step."""
    step = 1 / float(picture.average_rate or 25)
    time = -step
    for _, frame, known in _decoded(container, [picture], segment, Counter()):  # probe has flagged the clip
        time = time + step if known is None else known
        if segment.after(time):
            return
        if not segment.before(time):
            yield time, frame


def _rotation(frame: Any) -> int:
    """Degrees counter-clockwise to turn the frame upright; what is no quarter turn is noise."""
    turn = int(getattr(frame, "rotation", 0) or 0)
    return turn % 360 if turn % 90 == 0 else 0


def _converter(aspect: float) -> Callable[[Any], np.ndarray]:
    """frame -> (H, W, 3) uint8 RGB, contiguous, upright, with square pixels. One scaler for all frames, without threads: a
    scaler and threads made anew for each frame cost as much as decoding it. aspect: of a pixel, width by height."""
    from av.video.reformatter import VideoReformatter

    scaler = VideoReformatter()

    def convert(frame: Any) -> np.ndarray:
        width, height = _size(frame, aspect)
        image = scaler.reformat(frame, width=width, height=height, format="rgb24", threads=1).to_ndarray()
        return np.ascontiguousarray(np.rot90(image, _rotation(frame) // 90))  # MediaPipe misreads padded rows

    return convert
