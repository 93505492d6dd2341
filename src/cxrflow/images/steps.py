"""The image steps, pure: array in, array out. Training, evaluation, explanation and prediction share them.

The steps are those of the paper (top cropped, centre square, resize, equalise, lungs). Cropping and shrinking come
before equalising, so that the work is done on few pixels, unless ``images.order`` is ``equalise_first``.
"""

from typing import NamedTuple

import cv2
import numpy as np

from cxrflow.errors import LeftOut
from cxrflow.lungs import learned, opencv
from cxrflow.params import Images
from cxrflow.reading import to_uint8

#: Room left round the lungs where the picture is cropped to them, as a share of their box on every side.
_MARGIN = 0.05
#: Lungs that take up less of the picture are none: a speck somewhere in a picture of something else.
_LEAST = 0.02
_PERCENTILES = (1, 99)


class Window(NamedTuple):
    """The square of a picture that is kept, in pixels of the picture as read."""

    top: int
    left: int
    side: int


class Prepared(NamedTuple):
    """image: (size, size) uint8; lungs: (size, size) bool, None where ``steps.lungs`` is ``none``; window: what part of
    the radiograph both show."""

    image: np.ndarray
    lungs: np.ndarray | None
    window: Window


def prepare_image(grey: np.ndarray, steps: Images) -> Prepared:
    """A radiograph as the network sees it, with its lungs where ``steps.lungs`` asks for them.

    grey    (height, width) uint8 or uint16, air dark
    ``steps.lungs_use`` says what is done with the lungs: nothing but storing them, making all else 0, cropping to
    their box, or both. Where no lungs are found, or next to none, the whole picture stays, since an empty one would be
    a signal of its own. Raises LeftOut where OpenCV cannot do a step.
    """
    try:
        return _prepared(to_uint8(grey), steps)
    except cv2.error as error:
        raise LeftOut(f"the image steps failed ({' '.join(str(error).split())[:200]})") from None


def _prepared(picture: np.ndarray, steps: Images) -> Prepared:
    window = centre_square(picture.shape, steps.crop_top)
    if steps.lungs == "none":
        return Prepared(render(picture, window, steps), None, window)
    covers: _Region = (0, 0, *picture.shape)
    image = None
    if steps.lungs == "opencv":
        covers, image = (*window[:2], window.side, window.side), render(picture, window, steps)
        found = opencv.lung_mask(image).astype(np.uint8) * 255
    else:
        found = learned.lung_map(picture)
    if (found > 127).mean() < _LEAST:
        found = np.zeros_like(found)
    if steps.lungs_use in ("crop", "both") and (box := _window_of(found > 127, covers, picture.shape)):
        window, image = box, None
    if image is None:
        image = render(picture, window, steps)
    lungs = _through(found, covers, window, steps.size) > 127
    if steps.lungs_use in ("mask", "both") and lungs.any():
        image = np.where(lungs, image, 0).astype(np.uint8)
    return Prepared(image, lungs, window)


def centre_square(shape: tuple[int, ...], crop_top: float) -> Window:
    """The centre square of a picture (height, width) whose top, a share of its height, is cut off."""
    top = int(shape[0] * crop_top)
    height, width = shape[0] - top, shape[1]
    side = min(height, width)
    return Window(top + (height - side) // 2, (width - side) // 2, side)


def render(picture: np.ndarray, window: Window, steps: Images) -> np.ndarray:
    """The window of a uint8 picture, harmonised, equalised and resized to (size, size), in the order of ``steps``."""
    if steps.order == "equalise_first":
        return shrink(cut(equalise_as_the_paper(harmonise(picture, steps), steps), window), steps.size)
    return equalise(harmonise(shrink(cut(picture, window), steps.size), steps), steps)


def cut(picture: np.ndarray, window: Window) -> np.ndarray:
    """The window of a picture (height, width), dtype as it was; a view, not a copy."""
    return picture[window.top : window.top + window.side, window.left : window.left + window.side]


def shrink(image: np.ndarray, size: int) -> np.ndarray:
    """Resize a square uint8 picture to (size, size).

    Halved, four pixels to one, until it is nearer to ``size`` than to its double; the rest is bilinear. That is a tenth
    of the work of an exact area average, and close to it. Smaller pictures are enlarged (bicubic).
    """
    if image.shape[0] < size:
        return cv2.resize(image, (size, size), interpolation=cv2.INTER_CUBIC)
    while image.shape[0] >= 1.5 * size:
        half = image.shape[0] // 2  # of an odd number of pixels the last goes
        image = cv2.resize(image[: 2 * half, : 2 * half], (half, half), interpolation=cv2.INTER_AREA)
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR)


def harmonise(image: np.ndarray, steps: Images) -> np.ndarray:
    """A uint8 picture as it is, or, where ``steps.harmonise`` is ``percentiles``, its 1st percentile black, its 99th
    white, linear between them, so that exposure and window of a source say less. Nothing of other pictures enters. One
    of a single grey stays as it is."""
    if steps.harmonise == "none":
        return image
    low, high = np.percentile(image, _PERCENTILES)
    if high <= low:
        return image
    shades = np.clip((np.arange(256) - low) * (255 / (high - low)), 0, 255)
    return cv2.LUT(image, np.rint(shades).astype(np.uint8))


def equalise(image: np.ndarray, steps: Images) -> np.ndarray:
    """Histogram equalisation of a uint8 picture: none, global, or CLAHE (Zuiderveld 1994)."""
    if steps.equalise == "global":
        return cv2.equalizeHist(image)
    if steps.equalise == "clahe":
        return cv2.createCLAHE(steps.clahe_clip, (steps.clahe_tiles, steps.clahe_tiles)).apply(image)
    return image


def equalise_as_the_paper(picture: np.ndarray, steps: Images) -> np.ndarray:
    """The same at full size as the paper did it: CLAHE on the lightness L of LAB, the picture taken as colour."""
    if steps.equalise != "clahe":
        return equalise(picture, steps)
    lab = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR), cv2.COLOR_BGR2LAB)
    lab[..., 0] = equalise(np.ascontiguousarray(lab[..., 0]), steps)
    return cv2.cvtColor(cv2.cvtColor(lab, cv2.COLOR_LAB2BGR), cv2.COLOR_BGR2GRAY)


_Region = tuple[int, int, int, int]  # top, left, height, width in pixels of the picture


def _window_of(mask: np.ndarray, covers: _Region, shape: tuple[int, ...]) -> Window | None:
    """The square round the lungs with a margin, inside the picture as far as it goes; None for an empty mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    top, left, height, width = covers
    y, x = height / mask.shape[0], width / mask.shape[1]
    centre = top + y * (rows[0] + rows[-1] + 1) / 2, left + x * (columns[0] + columns[-1] + 1) / 2
    longest = max(y * (rows[-1] + 1 - rows[0]), x * (columns[-1] + 1 - columns[0]))
    side = min(round(longest * (1 + 2 * _MARGIN)), *shape)
    top, left = (min(max(round(c - side / 2), 0), length - side) for c, length in zip(centre, shape, strict=True))
    return Window(top, left, side)


def _through(found: np.ndarray, covers: _Region, window: Window, size: int) -> np.ndarray:
    """What the window shows of a map that covers a region: uint8 (size, size), bilinear, 0 outside the region."""
    top, left, height, width = covers
    if (top, left, height, width) == (*window[:2], window.side, window.side) and found.shape == (size, size):
        return found
    y, x = found.shape[0] / height, found.shape[1] / width  # pixels of the map to one of the picture
    step = window.side / size
    matrix = np.array(
        [
            [x * step, 0, x * (window.left - left + step / 2) - 0.5],
            [0, y * step, y * (window.top - top + step / 2) - 0.5],
        ]
    )
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(found, matrix, (size, size), flags=flags))
