"""What the image steps do, as pure functions: arrays in, arrays out. registry.py says which of them are in force."""

from typing import NamedTuple

import cv2
import numpy as np

#: Margin round the lungs when the picture is cropped to them, as a share of their bounding box, on every side.
_MARGIN = 0.05
_PERCENTILES = (1, 99)


class Window(NamedTuple):
    """The square of a radiograph that is shown, in pixels of the radiograph as read."""

    top: int
    left: int
    side: int


class Prepared(NamedTuple):
    """image: uint8 (size, size); lungs: bool (size, size), None where ``lungs`` is ``none``; window: the part of the
    radiograph that both show."""

    image: np.ndarray
    lungs: np.ndarray | None
    window: Window


class LungMap(NamedTuple):
    """Where lungs were found.

    chance  uint8 (height, width), 255 times the probability of lung; its resolution is its own
    top, left, height, width  the region of the radiograph that it covers (pixels)
    """

    chance: np.ndarray
    top: int
    left: int
    height: int
    width: int


def centre_square(shape: tuple[int, ...], crop_top: float) -> Window:
    """The centre square of a picture (height, width) after a share ``crop_top`` of its height is cut off the top."""
    top = int(shape[0] * crop_top)
    height, width = shape[0] - top, shape[1]
    side = min(height, width)
    return Window(top + (height - side) // 2, (width - side) // 2, side)


def cut(picture: np.ndarray, window: Window) -> np.ndarray:
    """The window of a picture (height, width) of any dtype; a view, not a copy."""
    return picture[window.top : window.top + window.side, window.left : window.left + window.side]


def shrink(image: np.ndarray, size: int) -> np.ndarray:
    """Resize a square uint8 picture to (size, size).

    The picture is halved (2 x 2 pixels averaged) while its side is at least 1.5 times ``size``; the rest is bilinear.
    This costs a tenth of an exact area average and comes close to it. Smaller pictures are enlarged (bicubic).
    """
    if image.shape[0] < size:
        return cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC)
    while image.shape[0] >= 1.5 * size:
        half = image.shape[0] // 2  # an odd last row and column are dropped
        image = cv2.resize(image[: 2 * half, : 2 * half], (half, half), interpolation=cv2.INTER_AREA)
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR)


def stretch(image: np.ndarray) -> np.ndarray:
    """A uint8 picture with its 1st percentile black, its 99th white, and linear between them.

    This removes part of what exposure and windowing say about a picture's source. Only the picture's own pixels are
    used. Where the two percentiles are equal, the picture is returned unchanged.
    """
    low, high = np.percentile(image, _PERCENTILES)
    if high <= low:
        return image
    shades = np.clip((np.arange(256) - low) * (255 / (high - low)), 0, 255)
    return cv2.LUT(image, np.rint(shades).astype(np.uint8))


def clahe(image: np.ndarray, clip: float, tiles: int) -> np.ndarray:
    """CLAHE (Zuiderveld 1994) of a uint8 picture, ``tiles`` x ``tiles`` tiles."""
    return cv2.createCLAHE(clip, (tiles, tiles)).apply(image)


def clahe_as_the_paper(picture: np.ndarray, clip: float, tiles: int) -> np.ndarray:
    """CLAHE as the paper did it: on the lightness L of LAB, with the grey picture taken as colour."""
    lab = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR), cv2.COLOR_BGR2LAB)
    lab[..., 0] = clahe(np.ascontiguousarray(lab[..., 0]), clip, tiles)
    return cv2.cvtColor(cv2.cvtColor(lab, cv2.COLOR_LAB2BGR), cv2.COLOR_BGR2GRAY)


def blacken_outside(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The picture with all pixels outside a bool mask of its shape 0; unchanged where the mask is empty, because an
    empty picture would be a signal of its own."""
    return np.where(mask, image, 0).astype(np.uint8) if mask.any() else image


def outline(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The uint8 picture with the border of a bool mask of its shape drawn in white."""
    border = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8))
    return np.where(border > 0, 255, image).astype(np.uint8)


def lung_window(found: LungMap, shape: tuple[int, ...]) -> Window | None:
    """The square round the lungs with a margin, kept inside the radiograph (height, width); None without lungs."""
    mask = found.chance > 127
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    y, x = found.height / mask.shape[0], found.width / mask.shape[1]
    centre = found.top + y * (rows[0] + rows[-1] + 1) / 2, found.left + x * (columns[0] + columns[-1] + 1) / 2
    longest = max(y * (rows[-1] + 1 - rows[0]), x * (columns[-1] + 1 - columns[0]))
    side = min(round(longest * (1 + 2 * _MARGIN)), *shape)
    top, left = (min(max(round(c - side / 2), 0), length - side) for c, length in zip(centre, shape, strict=True))
    return Window(top, left, side)


def lung_mask_in(found: LungMap, window: Window, size: int) -> np.ndarray:
    """The lungs in a window: bool (size, size), interpolated bilinearly, False outside the region of the map."""
    chance, top, left, height, width = found
    if (top, left, height, width) == (*window[:2], window.side, window.side) and chance.shape == (size, size):
        return chance > 127
    y, x = chance.shape[0] / height, chance.shape[1] / width  # pixels of the map per pixel of the radiograph
    step = window.side / size
    matrix = np.array(
        [
            [x * step, 0, x * (window.left - left + step / 2) - 0.5],
            [0, y * step, y * (window.top - top + step / 2) - 0.5],
        ]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(chance, matrix, (size, size), flags=flags) > 127)
