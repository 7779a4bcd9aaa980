"""Facial landmarks, blendshapes and head pose by MediaPipe's FaceLandmarker (Tasks API).

Each frame: the landmarks freed of head pose, position and scale; 52 blendshapes (0 to 1: jawOpen,
mouthSmileLeft …); the head's rotation (radians) and position (cm). Frames are sampled by their
timestamps; one without a face stays in its place, masked.
"""

import ctypes
import operator
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import PositiveFloat, PositiveInt

from pipeline import assets, media
from pipeline.blocks import Block, Share
from pipeline.files import sha256
from pipeline.flags import Flag, Flagged
from pipeline.tables.frames import Clip, Column, Frames

LIBRARIES = ("mediapipe",)
SYSTEM = {  # Debian's packages of what MediaPipe and its OpenCV load
    "libEGL.so.1": "libegl1",
    "libGLESv2.so.2": "libgles2",
    "libGL.so.1": "libgl1",
    "libglib-2.0.so.0": "libglib2.0-0",
}
MESH = 478
AXES = ("x", "y", "z")
# The 68 points of iBUG 300-W (Sagonas et al. 2013) on MediaPipe's mesh: jaw 17, brows 10, nose 9, eyes 12, mouth 20.
IBUG = (
    *(162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389),
    *(71, 63, 105, 66, 107, 336, 296, 334, 293, 301),
    *(168, 197, 5, 4, 75, 97, 2, 326, 305),
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87),
)
EYES = (33, 263)  # outer corners
FLIP = np.diag([1.0, -1.0, -1.0])  # the pose's axes (y up, z to the viewer) -> the picture's (y down, z away)
# MediaPipe's camera, and the mesh in it; the last two were fitted on five people (docs/decisions.md).
FIELD = np.deg2rad(63)  # the vertical angle of view that it takes for every camera's
MESH_CENTRE = np.array([0.0, -0.63, 3.40])  # cm, of the mesh's mean from the head's position, in the head's axes
MESH_SIZE = 6.06  # cm, root mean square distance of IBUG from its mean
# ARKit's, in MediaPipe's order. Listed here, since MediaPipe cannot be imported where the system lacks SYSTEM.
BLENDSHAPES = (
    *("neutral", "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight"),
    *("cheekPuff", "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft"),
    *("eyeLookDownRight", "eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft"),
    *("eyeLookUpRight", "eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight", "jawForward"),
    *("jawLeft", "jawOpen", "jawRight", "mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft"),
    *("mouthFrownRight", "mouthFunnel", "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft"),
    *("mouthPressRight", "mouthPucker", "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower"),
    *(
        "mouthShrugUpper",
        "mouthSmileLeft",
        "mouthSmileRight",
        "mouthStretchLeft",
        "mouthStretchRight",
        "mouthUpperUpLeft",
    ),
    *("mouthUpperUpRight", "noseSneerLeft", "noseSneerRight"),
)
LOST = 0.95  # share of frames with a face below which a clip is flagged
# A cut: the picture changes more than CHANGE, and STEEP times more than just before and after. Of 38 real clips without a
# cut and 400 pairs of them cut together, this takes no movement for a cut, and misses no cut between two scenes.
CHANGE = 5.0  # grey levels of 255, the mean over CELLS x CELLS cells of the picture
STEEP = 4.5
CELLS = 32


class Params(Block):
    """params.yaml: vision.landmarks."""

    fps: PositiveFloat
    points: Literal[68, 478]
    max_faces: PositiveInt
    min_confidence: Share


@dataclass(frozen=True)
class Face:
    """A face as the model gives it. points: (478, 3) float64, x and y as shares of the picture's width and height, z on
    x's scale; blendshapes: (52,) float64; pose: (4, 4) float32, of the head, in cm."""

    points: np.ndarray
    blendshapes: np.ndarray
    pose: np.ndarray


@dataclass
class _Track:
    """One face through the clip: what was seen of it, by frame."""

    centre: np.ndarray
    size: float
    rows: dict[int, np.ndarray] = field(default_factory=dict)
    weight: float = 0.0  # sum of sizes: large and steady wins


def columns(params: Params) -> list[Column]:
    return [
        *(
            Column(f"point_{i}_{axis}", "distance between the outer eye corners")
            for i in _points(params)
            for axis in "xyz"
        ),
        *(Column(name, "0 to 1") for name in BLENDSHAPES),
        *(Column(f"head_{angle}", "rad", "angle") for angle in ("pitch", "yaw", "roll")),
        *(Column(f"head_{axis}", "cm") for axis in "xyz"),
    ]


def rate(params: Params) -> float:
    return params.fps


def asset(params: Params) -> str | None:
    return sha256(assets.landmark_model())


def extract(clip: Clip, params: Params) -> Frames:
    """One row for each 1/fps seconds until the picture ends; in each shot the largest and steadiest face is followed."""
    times = np.arange(int(np.ceil(clip.seconds * params.fps))) / params.fps
    seen = _seen(clip, times, params)
    times = times[: len(seen.faces)]
    shots = _shots(seen)
    x = np.zeros((len(times), len(columns(params))), np.float32)
    mask = np.zeros(len(times), bool)
    for rows in (max(tracks, key=lambda track: track.weight).rows for tracks in shots if tracks):
        mask[list(rows)] = True
        x[list(rows)] = np.stack(list(rows.values()))
    return Frames(times, x, mask, tuple(_flags(seen, len(shots) - 1, mask)))


def freed(points: np.ndarray, rotation: np.ndarray) -> np.ndarray:
    """(478, 3) points in pixels -> the same without head rotation, position and scale.

    rotation: (3, 3), the head's. The origin is the mesh's mean, the unit the distance between the
    outer corners of the eyes.
    """
    upright = (points - points.mean(axis=0)) @ (FLIP @ rotation @ FLIP)  # a row times R is R^T times the column
    return upright / max(float(np.linalg.norm(upright[EYES[0]] - upright[EYES[1]])), 1e-6)


def placed(x: np.ndarray, names: Sequence[str], size: tuple[int, int]) -> np.ndarray | None:
    """Where the face lies in the picture: (T, D) rows of features -> (T, 68, 2), the points of IBUG as shares of the
    picture's width and height; None where the columns `names` do not tell. size: width and height in pixels.

    `freed` undone: the rotation as recorded, the position by MediaPipe's camera from the head's.
    """
    index = {name: column for column, name in enumerate(names)}
    points = [[f"point_{point}_{axis}" for axis in "xyz"] for point in IBUG]
    pose = [f"head_{name}" for name in ("pitch", "yaw", "roll", "x", "y", "z")]
    if not index.keys() >= {*pose, *(name for point in points for name in point)}:
        return None
    width, height = size
    upright = x[:, [[index[name] for name in point] for point in points]].astype(np.float64)  # (T, 68, 3)
    pitch, yaw, roll, *position = x[:, [index[name] for name in pose]].astype(np.float64).T
    rotation = _turned(pitch, yaw, roll)  # (T, 3, 3)
    centre = np.stack(position, axis=1) + rotation @ MESH_CENTRE  # (T, 3) cm
    scale = height / (2 * np.tan(FIELD / 2)) / -centre[:, 2]  # (T,) pixels a cm
    middle = np.array([width, height]) / 2 + centre[:, :2] * (1, -1) * scale[:, None]  # (T, 2) pixels
    spread = np.sqrt(((upright - upright.mean(axis=1, keepdims=True)) ** 2).sum(axis=2).mean(axis=1))  # (T,)
    unit = MESH_SIZE * scale / np.maximum(spread, 1e-6)  # (T,) pixels
    turned = upright @ (FLIP @ rotation @ FLIP).transpose(0, 2, 1)  # (T, 68, 3)
    return (middle[:, None] + turned[..., :2] * unit[:, None, None]) / (width, height)


def _turned(pitch: np.ndarray, yaw: np.ndarray, roll: np.ndarray) -> np.ndarray:
    """(T,) each, in radians -> (T, 3, 3): `angles` undone."""
    (a, b, c), (d, e, f) = np.cos([pitch, yaw, roll]), np.sin([pitch, yaw, roll])
    rows = (
        (c * b, c * e * d - f * a, c * e * a + f * d),
        (f * b, f * e * d + c * a, f * e * a - c * d),
        (-e, b * d, b * a),
    )
    return np.moveaxis(np.array(rows), 2, 0)


def angles(rotation: np.ndarray) -> np.ndarray:
    """(3, 3) -> pitch, yaw, roll in radians (rotations about x, y, z, applied in this order)."""
    yaw = np.arcsin(np.clip(-rotation[2, 0], -1, 1))
    return np.array([np.arctan2(rotation[2, 1], rotation[2, 2]), yaw, np.arctan2(rotation[1, 0], rotation[0, 0])])


@dataclass
class _Seen:
    """What was found in the clip's frames: of each the faces as centre, size and row; and by the place of each new picture,
    by how much it differs from the one before, for each step of time between the two."""

    faces: list[list[tuple[np.ndarray, float, np.ndarray]]] = field(default_factory=list)
    changes: dict[int, float] = field(default_factory=dict)


def _seen(clip: Clip, times: np.ndarray, params: Params) -> _Seen:
    """Up to the last of the times at which there is a picture."""
    seen = _Seen()
    shown: np.ndarray | None = None
    grey: np.ndarray | None = None
    with detector(params) as detect:
        for index, image in enumerate(media.frames(clip.path, times, clip.start, clip.end)):
            if image is None:
                continue
            if image is not shown:  # a slow video shows one frame at several times
                shown, before, grey = image, grey, _grey(image)
                steps = index - next(reversed(seen.changes), 0)
                seen.changes[index] = 0.0 if before is None else float(np.abs(grey - before).mean()) / steps
                found = [_row(face, image.shape, params) for face in detect(image, round(times[index] * 1000))]
            seen.faces += [[] for _ in range(index - len(seen.faces))]
            seen.faces.append(found)
    return seen


def _grey(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) -> (CELLS, CELLS): how bright each part of a picture is; zeros for one that is too small."""
    step = max(1, min(image.shape[:2]) // (8 * CELLS))
    green = image[::step, ::step, 1]
    height, width = (size // CELLS for size in green.shape)
    if not (height and width):
        return np.zeros((CELLS, CELLS))
    return green[: height * CELLS, : width * CELLS].reshape(CELLS, height, CELLS, width).mean(axis=(1, 3))


def _shots(seen: _Seen) -> list[list[_Track]]:
    """The faces that are followed, from one cut to the next."""
    places, changes = list(seen.changes), np.array([0.0, *seen.changes.values(), 0.0])
    beside = np.maximum(np.maximum(changes[:-2], changes[2:]), 1.0)
    cuts = {place for place, steep in zip(places, changes[1:-1] / beside, strict=True) if steep > STEEP}
    cuts &= {place for place, change in seen.changes.items() if change > CHANGE}
    shots: list[list[_Track]] = [[]]
    for index, faces in enumerate(seen.faces):
        if index in cuts:
            shots.append([])
        for face in faces:
            _follow(shots[-1], index, *face)
    return shots


def _follow(tracks: list[_Track], index: int, centre: np.ndarray, size: float, row: np.ndarray) -> None:
    """Add a face to the nearest track that lies within its size and has no face in this frame, else begin one."""
    free = [track for track in tracks if index not in track.rows]
    near = min(free, key=lambda track: float(np.linalg.norm(track.centre - centre)), default=None)
    if near is None or np.linalg.norm(near.centre - centre) > max(size, near.size):
        near = _Track(centre, size)
        tracks.append(near)
    near.centre, near.size = centre, size
    near.rows[index] = row
    near.weight += size


def _row(face: Face, shape: tuple[int, ...], params: Params) -> tuple[np.ndarray, float, np.ndarray]:
    """Centre and size in pixels, and the feature row of one face."""
    height, width = shape[:2]
    points = face.points * (width, height, width)
    rotation = face.pose[:3, :3] / np.linalg.norm(face.pose[:3, :3], axis=0)
    parts = (freed(points, rotation)[_points(params)].ravel(), face.blendshapes, angles(rotation), face.pose[:3, 3])
    size = float(np.linalg.norm(np.ptp(points[:, :2], axis=0)))
    return points[:, :2].mean(axis=0), size, np.concatenate(parts)


def _flags(seen: _Seen, cuts: int, mask: np.ndarray) -> Iterator[Flagged]:
    if not mask.any():
        yield Flagged(Flag.NO_FACE)
    elif mask.mean() < LOST:
        yield Flagged(Flag.FACE_IN_PART)
    if several := sum(len(faces) > 1 for faces in seen.faces):
        yield Flagged(Flag.SEVERAL_FACES, count=max(1, round(100 * several / len(mask))))
    if cuts:
        yield Flagged(Flag.PICTURE_CUTS, count=cuts)


@contextmanager
def _quiet() -> Iterator[int]:
    """Keep MediaPipe's remarks on itself, several a clip and written past Python, off the terminal; yields its file."""
    kept = os.dup(2)
    with Path(os.devnull).open("w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield kept
    finally:
        os.dup2(kept, 2)
        os.close(kept)


@contextmanager
def detector(params: Params) -> Iterator[Callable[[np.ndarray, int], list[Face]]]:
    """A fresh landmarker, since it carries a face from frame to frame: (image, milliseconds) -> the faces."""
    from mediapipe import Image, ImageFormat
    from mediapipe.tasks.python import BaseOptions, vision

    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=str(assets.landmark_model())),
        running_mode=vision.RunningMode.VIDEO,
        num_faces=params.max_faces,
        min_face_detection_confidence=params.min_confidence,
        min_face_presence_confidence=params.min_confidence,
        min_tracking_confidence=params.min_confidence,
        output_face_blendshapes=True,
        output_facial_transformation_matrixes=True,
    )
    with _quiet() as terminal, vision.FaceLandmarker.create_from_options(options) as landmarker:
        read = _reader(landmarker, terminal)
        yield lambda image, time: read(Image(image_format=ImageFormat.SRGB, data=image), time)


def _reader(landmarker: Any, terminal: int) -> Callable[[Any, int], list[Face]]:
    """(MediaPipe's image, milliseconds) -> the faces: from its C structs, else from its public results.

    The values are the same. The public results are a Python object for each landmark, which takes 2 ms a face longer.
    """
    try:
        return _struct_reader(landmarker)
    except (AttributeError, ImportError, LookupError, TypeError) as error:
        _warn(terminal, f"{type(error).__name__}: {error}")
        return lambda image, time: _public(landmarker.detect_for_video(image, time))


@cache
def _warn(terminal: int, why: str) -> None:
    """Once a process."""
    said = f"vision: the C structs of mediapipe {version('mediapipe')} are not as expected ({why})."
    os.write(terminal, f"{said} Its public results are read: the same values, 2 ms a face slower.\n".encode())


def _public(found: Any) -> list[Face]:
    return [
        Face(
            np.array([[getattr(point, axis) for axis in AXES] for point in points]),
            np.array([shape.score for shape in blendshapes]),
            pose,
        )
        for points, blendshapes, pose in zip(
            found.face_landmarks, found.face_blendshapes, found.facial_transformation_matrixes, strict=True
        )
    ]


def _struct_reader(landmarker: Any) -> Callable[[Any, int], list[Face]]:
    """What detect_for_video does, without its Python objects. Raises where a private name of MediaPipe is not there."""
    from mediapipe import Image, ImageFormat
    from mediapipe.tasks.python.vision.face_landmarker import MpFaceLandmarkerResultC

    held = dict(MpFaceLandmarkerResultC._fields_)
    landmarks = _layout(held["face_landmarks"], "landmarks", AXES)
    categories = _layout(held["face_blendshapes"], "categories", ("score",))
    to_numpy = held["facial_transformation_matrixes"]._type_.to_numpy
    detect, close = landmarker._lib.MpFaceLandmarkerDetectForVideo, landmarker._lib.MpFaceLandmarkerCloseResult
    handle = landmarker._handle
    image_pointer = operator.attrgetter("_image_ptr")
    image_pointer(Image(image_format=ImageFormat.SRGB, data=np.zeros((1, 1, 3), np.uint8)))

    def read(image: Any, time: int) -> list[Face]:
        found = MpFaceLandmarkerResultC()
        detect(handle, image_pointer(image), None, time, ctypes.byref(found))
        try:
            return [
                Face(
                    _array(found.face_landmarks[face], "landmarks", landmarks),
                    _array(found.face_blendshapes[face], "categories", categories)[:, 0],
                    to_numpy(found.facial_transformation_matrixes[face]),
                )
                for face in range(found.face_landmarks_count)
            ]
        finally:
            close(ctypes.byref(found))

    return read


def _layout(pointer: Any, held: str, fields: Sequence[str]) -> np.dtype:
    """Where these float fields lie in the C structs that holder.<held> points at. pointer: the type of one to a holder."""
    holder = dict(pointer._type_._fields_)
    struct = holder[held]._type_
    types = dict(struct._fields_)
    if f"{held}_count" not in holder or any(types[name] is not ctypes.c_float for name in fields):
        raise TypeError(f"{struct.__name__} has {', '.join(types)}")
    offsets = [getattr(struct, name).offset for name in fields]
    formats = ["<f4"] * len(fields)
    return np.dtype({"names": list(fields), "formats": formats, "offsets": offsets, "itemsize": ctypes.sizeof(struct)})


def _array(holder: Any, held: str, layout: np.dtype) -> np.ndarray:
    """(count, fields) float64: a copy of the fields of the C structs that holder.<held> points at."""
    size = getattr(holder, f"{held}_count") * layout.itemsize
    read: Any = np.frombuffer(ctypes.string_at(getattr(holder, held), size), layout)
    return np.stack([read[name].astype(np.float64) for name in layout.names or ()], axis=1)


def _points(params: Params) -> list[int]:
    return list(IBUG) if params.points == len(IBUG) else list(range(MESH))
