"""Text burned into a radiograph: side markers, names, dates, "PORTABLE". It is found, and never read.

The detector is PP-OCRv6's small one (Apache 2.0), as the package ``rapidocr`` ships it, with that package's
post-processing (differentiable binarisation: Liao et al., AAAI 2020); ONNX Runtime runs it on one thread. Nothing is
downloaded or logged. The extra ``text`` installs it. docs/burned-in-text.md says how well it finds text.
"""

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np

from cxrflow.errors import CxrflowError, LeftOut, one_line
from cxrflow.reading import to_uint8

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

#: The image is resized so that its longer side has this many pixels, which bounds time and memory.
SIDE = 960
#: A place is text from this mean probability in it.
PLACE = 0.5
#: A place whose shorter side is more than this share of the image's longer one is no text but anatomy: the network
#: takes a whole lung, with its ribs, for a letter.
LARGEST = 0.15
#: A small image is enlarged at most so many times.
_ENLARGED = 4
_PIXEL = 0.3  # probability from which a pixel belongs to a place
_STEP = 32  # the network halves its input five times
_GROWN = 1.6  # how far a place is grown beyond the shrunken region that the network marks, as rapidocr does
_MOST = 1000  # places, at most
_NETWORK = "PP-OCRv6_det_small.onnx"


class Place(NamedTuple):
    """A place with text: the upright rectangle round it, in pixels of the image, and the mean probability in it."""

    left: int
    top: int
    width: int
    height: int
    score: float


def has_text(places: int) -> str:
    """Text of the flag of an image with so many places, at least 1."""
    return f"has text burned into the picture ({places} place{'' if places == 1 else 's'})"


def as_shares(places: Sequence[Place], shape: tuple[int, ...]) -> str:
    """Places as the cell of a table: ``left,top,width,height`` in shares of the image's width and height, joined by
    ``;``; empty if there are none.

    shape  height and width of the image
    """
    height, width = shape
    sides = ((p.left / width, p.top / height, p.width / width, p.height / height) for p in places)
    return ";".join(",".join(f"{share:.5f}" for share in each) for each in sides)


def check_installed(asked: str) -> None:
    """Raise CxrflowError if the extra ``text`` is not installed.

    asked  the option or parameter that needs it
    """
    if find_spec("rapidocr") is None:
        raise CxrflowError(
            f"{asked}: looking for burned-in text needs rapidocr; install it with `pip install 'cxrflow[text]'`."
        )


def detector() -> str:
    """Name of the detector's version and settings; results that are kept are of one detector."""
    from importlib.metadata import version

    return f"rapidocr {version('rapidocr')} {SIDE} {PLACE} {LARGEST}"


def find_text(grey: np.ndarray, least: float = PLACE) -> tuple[Place, ...]:
    """The places with text, the most probable first.

    grey   uint8 or uint16 (height, width), as ``reading.read`` gives it
    least  smallest score of a place, at least 0.3
    Equal images give equal places. Raises LeftOut if there is not enough memory.
    """
    session, places_in = _opened()
    small = _resized(to_uint8(grey))
    pixels = (small.astype(np.float32) / 255 - 0.5) / 0.5
    try:
        (chance,) = session.run(None, {"x": np.repeat(pixels[None, None], 3, axis=1)})
    except Exception as error:  # ONNX Runtime has a class of its own for each kind of failure
        raise LeftOut(f"text cannot be looked for ({one_line(str(error), 200)})") from None
    polygons, scores = places_in(chance, grey.shape)
    found = [_upright(polygon, float(score)) for polygon, score in zip(polygons, scores, strict=True)]
    most = LARGEST * max(grey.shape)
    text = [place for place in found if place.score >= least and min(place.width, place.height) <= most]
    return tuple(sorted(text, key=lambda place: (-place.score, place)))


def try_text(grey: np.ndarray) -> tuple[Place, ...] | None:
    """As ``find_text``; None if there is not enough memory to look: the image is used all the same."""
    try:
        return find_text(grey)
    except LeftOut:
        return None


def _upright(polygon: np.ndarray, score: float) -> Place:
    left, top, width, height = cv2.boundingRect(np.rint(polygon).astype(np.int32))
    return Place(left, top, width, height, score)


def _resized(image: np.ndarray) -> np.ndarray:
    scale = min(SIDE / max(image.shape), _ENLARGED)
    height, width = (max(_STEP, round(side * scale / _STEP) * _STEP) for side in image.shape)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


@cache
def _opened() -> tuple["InferenceSession", Any]:
    """The network, and rapidocr's post-processing: (1, 1, h, w) probabilities of text, and height and width of the
    image, to polygons (n, 4, 2) in its pixels and their scores."""
    import rapidocr  # a second
    from onnxruntime import InferenceSession, SessionOptions
    from rapidocr.ch_ppocr_det.utils import DBPostProcess

    options = SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1  # every core has its own process reading images
    options.enable_cpu_mem_arena = False  # images differ in shape, and an arena would keep the largest
    file = Path(rapidocr.__file__).with_name("models") / _NETWORK
    session = InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return session, DBPostProcess(_PIXEL, _PIXEL, _MOST, _GROWN, use_dilation=True)
