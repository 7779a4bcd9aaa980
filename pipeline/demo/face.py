"""A talking face: the speaker's picture at rest, moved by its landmarks.

An action (the mouth opens, smiles ...) moves the landmarks; that is spread over a grid once a speaker. A frame
is the sum of the actions, applied by one warp; what a warp cannot show is painted: the mouth's inside, the lids.
Positions are (x, y) pixels of the frame; left and right are the picture's.
"""

import numpy as np

from pipeline.demo import warp
from pipeline.demo.portrait import CHIN, FOREHEAD, IRISES, NOSE, Look, Portrait, speaker
from pipeline.demo.warp import CELLS

ACTIONS = ("jaw", "smile", "brows", "right", "down", "roll", "yaw", "blink")  # all but the last warp
UPPER_LIDS = [33, 246, 161, 160, 159, 158, 157, 173, 133], [263, 466, 388, 387, 386, 385, 384, 398, 362]
LOWER_LIDS = [33, 7, 163, 144, 145, 153, 154, 155, 133], [263, 249, 390, 373, 374, 380, 381, 382, 362]
BELOW_EYES = [228, 229, 230, 231, 118, 119], [448, 449, 450, 451, 347, 348]
UPPER_LIP = [185, 40, 39, 37, 0, 267, 269, 270, 409, 191, 80, 81, 82, 13, 312, 311, 310, 415]
LOWER_LIP = [146, 91, 181, 84, 17, 314, 405, 321, 375, 95, 88, 178, 87, 14, 317, 402, 318, 324]
INNER_LOWER_LIP = [78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308]  # from corner to corner
CORNERS = [61, 291]
INNER_BROWS = [55, 107, 285, 336]
CAVITY = np.array((38, 16, 18))  # RGB between the teeth and the lower lip
LASHES = np.array((74, 52, 42))
BLINK = np.array((0.45, 0.85, 0.8, 0.5, 0.2))  # how far the lids are down, at 25 fps


class Face:
    """One speaker's face at rest, ready to be moved."""

    def __init__(self, portrait: Portrait, look: Look) -> None:
        self.image, self.landmarks = speaker(portrait, look)  # (SIZE, SIZE, 3), (478, 2)
        features = np.stack([_jaw(self.landmarks), _smile(self.landmarks), _brows(self.landmarks)])
        head = _head(CELLS.reshape(-1, 2), self.landmarks).reshape(-1, *CELLS.shape)
        self.moves = np.concatenate([features, _head(self.landmarks, self.landmarks)])  # (7, 478, 2)
        self.fields = np.concatenate([warp.spread(self.landmarks, features), head]).astype(np.float32)  # (7, cells, 2)
        self.lids = [0.97 * _colour(self.image, self.landmarks[below]) for below in BELOW_EYES]

    def frame(self, amounts: np.ndarray) -> np.ndarray:
        """The face (SIZE, SIZE, 3) moved by so much of each of ACTIONS (8,), 1 being an action at full strength."""
        warps, blink = amounts[:-1], amounts[-1]
        image = warp.move(self.image, np.tensordot(warps.astype(np.float32), self.fields, axes=1))
        points = self.landmarks + np.tensordot(warps, self.moves, axes=1)
        self._open_mouth(image, points, amounts[0])
        if blink > 0:
            self._lower_lids(image, points, blink)
        return image

    def _open_mouth(self, image: np.ndarray, points: np.ndarray, jaw: float) -> None:
        """Darken what lies between the teeth, which stay with the upper lip, and the lower lip, which falls."""
        lip = points[INNER_LOWER_LIP]
        teeth = lip - jaw * self.moves[0, INNER_LOWER_LIP]
        warp.paint(image, np.concatenate([lip, teeth[::-1]]), CAVITY)

    def _lower_lids(self, image: np.ndarray, points: np.ndarray, blink: float) -> None:
        """Skin down to where the upper lids are, and lashes there."""
        for upper, lower, skin in zip(UPPER_LIDS, LOWER_LIDS, self.lids, strict=True):
            edge = points[upper] + blink * (points[lower] - points[upper])
            warp.paint(image, np.concatenate([points[upper] - (0, 6), edge[::-1]]), skin)
            warp.paint(image, np.concatenate([edge, edge[::-1] + (0, 1.5)]), LASHES)


def perform(envelope: np.ndarray, sentiment: float, fps: int, rng: np.random.Generator) -> np.ndarray:
    """Amounts (T, 8) of ACTIONS for a clip: the mouth follows `envelope` (T,) in 0-1, smile and inner brows the
    face's `sentiment` in [-3, 3] throughout; blinks and small head motion are drawn."""
    seconds = np.arange(len(envelope)) / fps
    smile = 0.4 * sentiment - 0.35 + 0.08 * _sway(seconds, 0.2, 0.5, rng)  # the photograph smiles: its rest is not 0
    brows = -sentiment / (3 if sentiment < 0 else 12)  # lowered brows over a smile look malicious
    head = [0.4 * (_sway(seconds, 0.15, 0.4, rng) + _sway(seconds, 0.5, 0.9, rng)) for _ in range(4)]
    blink = _blinks(len(envelope), fps, rng)
    return np.stack([0.3 * envelope, smile, np.full_like(seconds, brows), *head, blink], axis=1)


def _sway(seconds: np.ndarray, low: float, high: float, rng: np.random.Generator) -> np.ndarray:
    """A sine of a frequency between low and high Hz, at any phase."""
    return np.sin(2 * np.pi * (rng.uniform(low, high) * seconds + rng.uniform()))


def _blinks(count: int, fps: int, rng: np.random.Generator) -> np.ndarray:
    """(count,) in 0-1: a blink every one to three seconds, the first within two."""
    closed = np.zeros(count)
    start = int(rng.integers(5, 2 * fps))
    while start + len(BLINK) < count:
        closed[start : start + len(BLINK)] = BLINK
        start += int(rng.integers(fps, 3 * fps))
    return closed


def _jaw(points: np.ndarray) -> np.ndarray:
    """(478, 2): the lower lip and the chin fall by up to .42 of the distance from mouth to chin, corners stay."""
    left, right = points[CORNERS]
    middle, half = (left + right) / 2, abs(right[0] - left[0]) / 2
    to_chin = points[CHIN, 1] - middle[1]
    across = (points[:, 0] - middle[0]) / half
    weight = np.clip((points[:, 1] - middle[1]) / (0.5 * to_chin), 0, 1) * np.exp(-((across / 1.9) ** 4))
    weight[LOWER_LIP] = np.clip(1 - across[LOWER_LIP] ** 2, 0, 1)
    weight[UPPER_LIP + CORNERS] = 0
    return np.stack([np.zeros(len(points)), 0.42 * to_chin * weight], axis=1)


def _smile(points: np.ndarray) -> np.ndarray:
    """(478, 2): the corners of the mouth go out and up, the cheeks follow; negative amounts: in and down."""
    corners = points[CORNERS]
    middle = corners.mean(0)
    half = float(np.linalg.norm(corners[0] - middle))
    moved = np.zeros_like(points)
    for corner in corners:
        outward = np.sign(corner[0] - middle[0])
        moved += warp.bump(points, corner, 0.62 * half) * (0.16 * half * outward, -0.17 * half)
    return moved


def _brows(points: np.ndarray) -> np.ndarray:
    """(478, 2): the inner ends of the brows rise."""
    reach = 0.3 * float(np.linalg.norm(np.diff(points[IRISES], axis=0)))
    bumps = np.max([warp.bump(points, points[brow], reach) for brow in INNER_BROWS], axis=0)
    return bumps * (0, -0.5 * reach)


def _head(at: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(4, N, 2) for positions `at` (N, 2): right, down, roll about the neck, and yaw, by which the nose moves more
    than the rim. They fade out towards the frame's border, where the plain wall hides it."""
    height = np.linalg.norm(points[CHIN] - points[FOREHEAD])
    from_nose = np.linalg.norm(at - points[NOSE], axis=1)[:, None]
    near = np.exp(-((from_nose / (1.1 * height)) ** 4))
    bulge = np.clip(1 - (from_nose / (0.75 * height)) ** 2, 0, 1)
    arm = (at - points[CHIN] - (0, 0.3 * height)) * 0.035
    roll = np.stack([-arm[:, 1], arm[:, 0]], axis=1)
    return np.stack([near * (5.0, 0.0), near * (0.0, 4.0), near * roll, bulge * (6.0, 0.0)])


def _colour(image: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The median RGB (3,) at positions (N, 2)."""
    columns, rows = at.round().astype(int).T
    return np.median(image[rows, columns], axis=0)
