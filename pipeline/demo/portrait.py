"""The photograph, skimage.data.astronaut() (NASA, public domain), and what makes different speakers of it.

Positions are (x, y) in pixels; images are (H, W, 3) uint8 RGB; landmarks are MediaPipe's 478, in its order.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.demo import warp
from pipeline.demo.warp import CELLS, SIZE
from pipeline.vision import landmarks

HEAD = slice(0, 256), slice(96, 352)  # head and shoulders in the photograph
RIGHT_WALL = ((215, 0), (255, 0), (255, 228), (222, 225), (205, 180), (184, 155), (192, 132), (215, 110))
IRISES = [468, 473]
NOSE, CHIN, FOREHEAD = 4, 152, 10


@dataclass(frozen=True)
class Portrait:
    """image: head and shoulders; landmarks: (478, 2); wall: (H, W) float32, 1 on the studio's wall, 0 on the woman."""

    image: np.ndarray
    landmarks: np.ndarray
    wall: np.ndarray


@dataclass(frozen=True)
class Look:
    """What tells one speaker from another."""

    mirror: bool
    side: float  # pixels of the photograph that fill a frame's side
    shift: tuple[float, float]  # pixels of the photograph
    width: float  # of the face, a share more
    length: float
    jaw: float
    eyes: float
    nose: float
    light: tuple[float, float, float]  # CIELAB units, on the woman
    wall: tuple[float, float, float]  # CIELAB units, on the wall


def draw_look(rng: np.random.Generator) -> Look:
    """Mild enough that MediaPipe finds the face and people see one: stronger light looks like a filter."""
    side, right, down, width, length, jaw, eyes, nose, light, warmth, wall, red, yellow = rng.uniform(-1, 1, 13)
    return Look(
        mirror=bool(rng.integers(2)),
        side=178 + 14 * side,
        shift=(5 * right, 5 * down),
        width=0.07 * width,
        length=0.06 * length,
        jaw=0.10 * jaw,
        eyes=0.10 * eyes,
        nose=0.14 * nose,
        light=(6 * light, 2 * warmth, 5 * warmth),
        wall=(-25 + 30 * wall, 12 * red, 14 * yellow),
    )


def load() -> Portrait:
    """Read the photograph, find its landmarks and tell the wall from the woman."""
    import skimage.data

    image = np.ascontiguousarray(skimage.data.astronaut()[HEAD])
    return Portrait(image, _landmarks(image), _wall(image))


def speaker(portrait: Portrait, look: Look) -> tuple[np.ndarray, np.ndarray]:
    """A frame (SIZE, SIZE, 3) with the speaker at rest, and the landmarks (478, 2) in it."""
    scale = SIZE / look.side
    across = -scale if look.mirror else scale
    x, y = portrait.landmarks[[FOREHEAD, CHIN]].mean(0) + (0, -8) + look.shift  # comes to the frame's middle
    crop = np.array([[across, 0, SIZE / 2 - across * x], [0, scale, SIZE / 2 - scale * y]])
    lit = _lit(portrait, look)
    image = cv2.warpAffine(lit, crop, (SIZE, SIZE), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    points = portrait.landmarks @ crop[:, :2].T + crop[:, 2]
    field = _reshape(CELLS.reshape(-1, 2), points, look).reshape(CELLS.shape).astype(np.float32)
    return warp.move(image, field), points + _reshape(points, points, look)


def _landmarks(image: np.ndarray) -> np.ndarray:
    options = landmarks.Params(fps=1.0, points=478, max_faces=1, min_confidence=0.5)
    large = cv2.resize(image, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)
    with landmarks.detector(options) as detect:
        (face,) = detect(large, 0)
    return face.points[:, :2] * image.shape[1::-1]


def _wall(image: np.ndarray) -> np.ndarray:
    """GrabCut from what is certainly wall and certainly woman; it starts from random clusters, so it is seeded."""
    mask = np.full(image.shape[:2], cv2.GC_PR_FGD, np.uint8)
    mask[:140, :45] = mask[:12] = cv2.GC_BGD
    cv2.fillPoly(mask, [np.array(RIGHT_WALL)], cv2.GC_BGD)
    cv2.ellipse(mask, (130, 85), (55, 60), 0, 0, 360, cv2.GC_FGD, -1)
    mask[215:, 30:200] = cv2.GC_FGD
    cv2.setRNGSeed(1)
    cv2.grabCut(image, mask, (0, 0, 1, 1), np.zeros((1, 65)), np.zeros((1, 65)), 5, cv2.GC_INIT_WITH_MASK)
    wall = np.isin(mask, (cv2.GC_BGD, cv2.GC_PR_BGD)).astype(np.float32)
    return cv2.GaussianBlur(wall, (0, 0), 1.2)


def _lit(portrait: Portrait, look: Look) -> np.ndarray:
    """The photograph in the look's light, before a wall of the look's colour."""
    lab = cv2.cvtColor(portrait.image.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    wall = portrait.wall[..., None]
    lab = (lab + wall * look.wall + (1 - wall) * look.light).astype(np.float32)
    return (np.clip(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), 0, 1) * 255).round().astype(np.uint8)


def _reshape(at: np.ndarray, points: np.ndarray, look: Look) -> np.ndarray:
    """(N, 2): where the look's shape of face moves the positions `at` (N, 2); `points` are the landmarks."""
    chin, nose, eyes = points[CHIN], points[NOSE], points[IRISES]
    height = float(np.linalg.norm(chin - points[FOREHEAD]))
    near = np.exp(-((np.linalg.norm(at - nose, axis=1) / height) ** 4))[:, None]
    moved = near * (at - eyes.mean(0)) * (look.width, look.length)
    moved += warp.bump(at, chin - (0, 0.15 * height), 0.35 * height) * (at - chin) * (look.jaw, 0)
    moved += warp.bump(at, nose, 0.12 * height) * (at - nose) * (look.nose, 0)
    for eye in eyes:
        moved += warp.bump(at, eye, 0.13 * height) * (at - eye) * look.eyes
    return moved
