"""Move the content of a square picture by smooth fields of displacements, and paint on it.

Positions and displacements are (x, y) in pixels; a field holds one displacement a cell of a coarse grid.
"""

import cv2
import numpy as np

SIZE = 384  # pixels a side of a frame; a multiple of 128, or x264 writes other bytes each time (docs/decisions.md)
GRID = 96  # cells a side of a field
CELL = SIZE / GRID


def _positions(count: int, step: float) -> np.ndarray:
    """(count, count, 2): the centres of squares of so many pixels a side."""
    line = (np.arange(count) + 0.5) * step - 0.5
    return np.stack(np.meshgrid(line, line), axis=-1).astype(np.float32)


PIXELS = _positions(SIZE, 1)  # (SIZE, SIZE, 2)
CELLS = _positions(GRID, CELL)  # (GRID, GRID, 2): the cells' centres


def spread(points: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """Displacements (K, N, 2) of N points as K fields (K, GRID, GRID, 2), zero at the frame's border."""
    from scipy.interpolate import RBFInterpolator

    line = np.linspace(-1, SIZE, 13)
    border = [(x, y) for x in line for y in line if x in line[[0, -1]] or y in line[[0, -1]]]
    at_points = moves.transpose(1, 0, 2).reshape(len(points), -1)
    known = np.concatenate([at_points, np.zeros((len(border), at_points.shape[1]))])
    field = RBFInterpolator(np.concatenate([points, border]), known, kernel="linear", smoothing=0.5)
    return field(CELLS.reshape(-1, 2)).reshape(GRID, GRID, len(moves), 2).transpose(2, 0, 1, 3)


def move(image: np.ndarray, field: np.ndarray) -> np.ndarray:
    """The image (SIZE, SIZE, 3) with its content moved by a field (GRID, GRID, 2) float32.

    A pixel shows what came from p - field(p'), p' being where it came from: found by fixed-point iteration.
    """
    source = CELLS - field
    for _ in range(4):
        source = CELLS - _sample(field, (source + 0.5) / CELL - 0.5, cv2.INTER_LINEAR)
    offset = cv2.resize(source - CELLS, (SIZE, SIZE), interpolation=cv2.INTER_LINEAR)
    return _sample(image, PIXELS + offset, cv2.INTER_CUBIC)


def paint(image: np.ndarray, outline: np.ndarray, colour: np.ndarray) -> None:
    """Fill a polygon (N, 2) with an RGB colour (3,), in place, with a soft edge."""
    left, top = np.maximum(outline.min(0).astype(int) - 4, 0)
    right, bottom = outline.max(0).astype(int) + 5
    part = image[top:bottom, left:right]
    mask = np.zeros(part.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.round((outline - (left, top)) * 16).astype(np.int32)], 255, cv2.LINE_AA, shift=4)
    share = cv2.GaussianBlur(mask, (0, 0), 1.0)[..., None].astype(np.float32) / 255
    part[:] = part + share * (colour - part)


def bump(at: np.ndarray, centre: np.ndarray, reach: float) -> np.ndarray:
    """(N, 1): 1 at the centre, falling off as a Gaussian."""
    return np.exp(-(((at - centre) / reach) ** 2).sum(1))[:, None]


def _sample(image: np.ndarray, at: np.ndarray, interpolation: int) -> np.ndarray:
    columns, rows = at[..., 0], at[..., 1]
    return np.asarray(cv2.remap(image, columns, rows, interpolation, borderMode=cv2.BORDER_REPLICATE))
