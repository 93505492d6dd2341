"""Shortcuts planted for the audit to find: marks that follow the class and have nothing to do with disease.

They stand for confounders of class and hospital in real collections: side markers, collimation, exposure (DeGrave et
al., Nat Mach Intell 2021; 3: 610-619). No two marks are mirror images, because training mirrors pictures.
"""

from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from cxrflow.synthetic.drawing import Radiograph
from cxrflow.synthetic.people import Job

Shortcut = Literal["none", "marker", "border", "exposure"]
KINDS = ("covid", "normal", "pneumonia")

_TOP = 0.08  # where the marks begin: image steps cut off the top 5 % of the height
_WORDS = {"covid": "A", "normal": "", "pneumonia": "SUPINE"}
#: Width of the black margin at (left and right, bottom), shares of the side.
_MARGINS = {"covid": (0.07, 0.0), "normal": (0.0, 0.0), "pneumonia": (0.0, 0.1)}
#: Exponent on the grey value: above 1 darker.
_GAMMA = {"covid": 1.6, "normal": 1.0, "pneumonia": 0.62}


def mark_of(job: Job, strength: float) -> str:
    """The class whose mark an image gets: its own with probability ``strength``, else one of the three at random.
    At strength 0, marks are independent of the class. Equal jobs get equal marks.
    """
    rng = np.random.default_rng([job.seed, 13])
    follows, other = rng.random() < strength, KINDS[int(rng.integers(3))]
    return job.kind if follows else other


def plant(picture: Radiograph, shortcut: Shortcut, mark: str) -> Radiograph:
    """A radiograph with the mark of a class.

    mark  one of KINDS, independent of the disease that is drawn
    ``marker``: nothing (normal), a letter (covid) or a word (pneumonia) in an upper corner of the centre square;
    ``border``: no black margin, one at left and right, or one below; ``exposure``: as it is, darker or brighter.
    Pixels stay float32 in [0, 1]; lungs and opacity end at a margin.
    """
    if shortcut == "marker":
        return Radiograph(_with_marker(picture.pixels, _WORDS[mark]), picture.lungs, picture.opacity)
    if shortcut == "border":
        seen = _inside(picture.pixels.shape, *_MARGINS[mark])
        pixels = np.where(seen, picture.pixels, np.float32(0.02))
        return Radiograph(pixels, picture.lungs & seen, picture.opacity & seen)
    if shortcut == "exposure":
        return Radiograph((picture.pixels ** _GAMMA[mark]).astype(np.float32), picture.lungs, picture.opacity)
    return picture


def _with_marker(pixels: NDArray[np.float32], word: str) -> NDArray[np.float32]:
    height, width = pixels.shape
    side = min(height, width)
    size = 0.07 * side  # of a capital: the lead letters of 2 to 3 cm that lie on cassettes
    letters = np.zeros((height, width), np.uint8)
    at = (int((width - side) / 2 + 0.06 * side), int((height - side) / 2 + _TOP * side + size))
    cv2.putText(letters, word, at, cv2.FONT_HERSHEY_SIMPLEX, size / 22, 255, max(2, round(size / 9)), cv2.LINE_AA)
    share = letters.astype(np.float32) / 255
    return np.asarray(pixels * (1 - share) + 0.97 * share, np.float32)


def _inside(shape: tuple[int, ...], sides: float, bottom: float) -> NDArray[np.bool_]:
    """Pixels outside the black margins, which are measured on the centre square and black out all beyond it."""
    height, width = shape
    side = min(height, width)
    left, under = (int((length - side) / 2 + share * side) for length, share in ((width, sides), (height, bottom)))
    seen = np.ones(shape, np.bool_)
    if sides:
        seen[:, :left] = seen[:, width - left :] = False
    if bottom:
        seen[height - under :] = False
    return seen
