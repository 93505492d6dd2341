"""From decoded samples to one upright grey image: colour by luma weights, transparency on black, orientation."""

from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image

from cxrflow.errors import LeftOut

#: Images with more pixels are not decoded; the largest detectors have about 20 million.
LARGEST_IMAGE = 100_000_000
#: Luma weights of ITU-R BT.601 in units of 2 ** -16, as Pillow uses them.
_LUMA, _HALF, _SHIFT = (19595, 38470, 7471), 0x8000, 16
#: Rows of a colour image converted at once: bounds the memory for intermediate values.
_ROWS = 256


class Pixels(NamedTuple):
    """The samples of a picture as a decoder gives them.

    values       uint8 or uint16, (height, width) grey, (height, width, 2) grey and alpha, (height, width, 3) RGB, or
                 (height, width, 4) RGB and alpha, not premultiplied; without alpha, any real dtype
    orientation  1 to 8 as in EXIF and TIFF (tag 274); any other number counts as 1, upright
    """

    values: np.ndarray
    orientation: int = 1


def check_size(height: int, width: int) -> None:
    """Raise LeftOut if an image of this size has no pixels, or more than LARGEST_IMAGE."""
    if height < 1 or width < 1:
        raise LeftOut(f"image is of {width} x {height} pixels")
    if height * width > LARGEST_IMAGE:
        raise LeftOut(f"image has more than {LARGEST_IMAGE:,} pixels")


def upright_grey(pixels: Pixels) -> np.ndarray:
    """Grey and upright: (height, width), uint8, or uint16 if the samples have more bits.

    Transparent pixels show no tissue: they become black, like air. Integers of 32 bits and floats are stretched from
    their minimum and maximum to 0 and 65535, unless they are integers in that range. Raises LeftOut if one of them is
    not a number.
    """
    values, channels = pixels.values, 1 if pixels.values.ndim == 2 else pixels.values.shape[2]
    if values.dtype not in (np.uint8, np.uint16):
        values = _stretched(values)
    grey = values if channels == 1 else values[..., 0] if channels == 2 else _luma(values[..., :3])
    if channels in (2, 4):
        grey = cv2.multiply(np.ascontiguousarray(grey), values[..., -1], scale=1 / np.iinfo(values.dtype).max)
    return np.ascontiguousarray(_upright(grey, pixels.orientation))


def _luma(colours: np.ndarray) -> np.ndarray:
    """The luma of RGB: (height, width), of the dtype given."""
    if colours.dtype == np.uint8:
        return np.asarray(Image.fromarray(np.ascontiguousarray(colours)).convert("L"))
    grey = np.empty(colours.shape[:2], np.uint16)
    for top in range(0, len(grey), _ROWS):
        part = colours[top : top + _ROWS].astype(np.uint32)
        grey[top : top + _ROWS] = (part @ np.array(_LUMA, np.uint32) + _HALF) >> _SHIFT
    return grey


def _stretched(values: np.ndarray) -> np.ndarray:
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise LeftOut("image has values that are not numbers")
    low, high = float(values.min()), float(values.max())
    if values.dtype.kind != "f" and low >= 0 and high < 65536:
        return values.astype(np.uint16)
    grey = values.astype(np.float64)
    grey -= low
    grey *= 65535 / max(high - low, 1e-12)
    return np.rint(grey, out=grey).astype(np.uint16)


def _upright(grey: np.ndarray, orientation: int) -> np.ndarray:
    if 5 <= orientation <= 8:
        grey = grey.T
    if orientation in (2, 3, 6, 7):
        grey = grey[:, ::-1]
    if orientation in (3, 4, 7, 8):
        grey = grey[::-1]
    return grey
