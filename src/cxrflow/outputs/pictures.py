"""Where the networks looked, as a picture: the radiograph, the heat over it, the outline of the lungs."""

from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from cxrflow.errors import LeftOut
from cxrflow.explanation.overlay import overlay
from cxrflow.files import write_whole
from cxrflow.reading import read, to_uint8
from cxrflow.reading.guard import guarded
from cxrflow.result import Look, Result

#: Colour of the lungs' outline, BGR.
_OUTLINE = (255, 200, 80)


class Drawing(NamedTuple):
    """A picture to draw: of the file ``image``, with ``look`` over it, as the PNG ``out``."""

    image: Path
    look: Look
    out: Path


def png_name(result: Result) -> str:
    """The name of a result's picture: the digits of ``Result.image``, so that it contains no patient's name."""
    return f"{result.image.partition(':')[2]}.png"


def draw(drawing: Drawing) -> str | None:
    """Read the file again, and write the picture. Returns the reason if it cannot be drawn.

    Raises CxrflowError if the picture cannot be written.
    """
    try:
        with guarded("picture"):
            done, content = cv2.imencode(".png", drawn(drawing.look, read(drawing.image).grey))
    except LeftOut as reason:
        return str(reason)
    if not done:
        return "it cannot be encoded as PNG"
    write_whole(drawing.out, content.tobytes())
    return None


def drawn(look: Look, grey: NDArray[Any]) -> NDArray[np.uint8]:
    """A radiograph as read, uint8 or uint16, with heat and outline: uint8 (height, width, 3), BGR, in the shape of the
    look."""
    shown = to_uint8(grey)
    if shown.shape != look.shape:
        shown = np.asarray(cv2.resize(shown, look.shape[::-1], interpolation=cv2.INTER_AREA))
    picture, lungs = overlay(shown, look.heat()), look.lung_mask()
    if lungs is not None:
        contours, _ = cv2.findContours(lungs.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        cv2.drawContours(picture, contours, -1, _OUTLINE, max(1, round(min(look.shape) / 400)))
    return picture
