"""Work of the worker processes for the service: what an answer needs of the file itself, beside its scores.

Decoders of others run here alone, under the worker's limits of memory and time.
"""

import base64
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from cxrflow.errors import LeftOut
from cxrflow.reading import read
from cxrflow.reading.guard import guarded
from cxrflow.result import Look

#: Longer side of the pictures of an answer, at most (pixels).
LONGEST = 2048


class Pictures(NamedTuple):
    """Where the networks looked, as ``data:`` URLs of PNGs of one size.

    picture  the radiograph, its grey levels stretched to 0 to 65,535: red the high byte, green the low byte, blue 0
    heat     8-bit grey, 255 the maximum
    lungs    8-bit grey, 255 inside; None if no image steps look for them
    """

    width: int
    height: int
    picture: str
    heat: str
    lungs: str | None


def bytes_of_pictures(look: Look) -> int:
    """Bytes that the pictures of a look take at most, or little more: five channels that do not shrink, in base64."""
    height, width = look.shape
    share = min(1.0, LONGEST / max(look.shape))
    return round(height * width * share**2 * 5 * 4 / 3)


def draw_look(asked: tuple[bytes, Look]) -> Pictures | None:
    """The pictures of a file's content and a look; None if they cannot be drawn."""
    content, look = asked
    try:
        with guarded("picture"):
            return _pictures(read(content).grey, look)
    except LeftOut:
        return None


def _pictures(grey: NDArray[Any], look: Look) -> Pictures:
    share = min(1.0, LONGEST / max(grey.shape))
    height, width = (max(1, round(side * share)) for side in grey.shape)

    def sized(picture: NDArray[Any]) -> NDArray[Any]:
        if picture.shape == (height, width):
            return picture
        way = cv2.INTER_AREA if picture.shape[0] > height else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(picture, (width, height), interpolation=way))

    lungs = look.lung_mask()
    return Pictures(
        width,
        height,
        _url(_in_two_bytes(sized(grey))),
        _url(np.rint(sized(look.heat()) * 255).clip(0, 255).astype(np.uint8)),
        None if lungs is None else _url((sized(lungs.astype(np.uint8) * 255) > 127).astype(np.uint8) * 255),
    )


def _in_two_bytes(grey: NDArray[Any]) -> NDArray[np.uint8]:
    """BGR of a picture: its levels stretched to 16 bits, the high byte in red, the low byte in green."""
    low, high, _, _ = cv2.minMaxLoc(grey)
    levels = np.rint((grey.astype(np.float32) - low) * (65535 / max(high - low, 1))).astype(np.uint16)
    return np.dstack([np.zeros(grey.shape, np.uint8), (levels & 255).astype(np.uint8), (levels >> 8).astype(np.uint8)])


def _url(picture: NDArray[np.uint8]) -> str:
    done, content = cv2.imencode(".png", picture, [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not done:
        raise LeftOut("it cannot be encoded as PNG")
    return "data:image/png;base64," + base64.b64encode(content.tobytes()).decode()
