"""Artificial shortcuts for the audit to detect: marks that are correlated with the class but unrelated to disease.

They represent confounders in real collections: laterality markers, collimation, exposure (DeGrave et al., Nat Mach
Intell 2021; 3: 610-619), the grain of a detector, and a veil of scattered light that makes pictures pale. No mark is
the mirror image of another, because training flips images.
"""

import zlib
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from cxrflow.synthetic.drawing import Radiograph
from cxrflow.synthetic.people import Job

Shortcut = Literal["none", "marker", "border", "exposure", "grain", "pale"]
KINDS = ("covid", "normal", "pneumonia")

_TOP = 0.08  # top edge of the marks: the image steps crop the top 5 % of the height
_WORDS = {"covid": "A", "normal": "", "pneumonia": "SUPINE"}
#: Width of the black margins (left and right, bottom), as shares of the side.
_MARGINS = {"covid": (0.07, 0.0), "normal": (0.0, 0.0), "pneumonia": (0.0, 0.1)}
#: Exponent of the grey value; above 1 is darker.
_GAMMA = {"covid": 1.6, "normal": 1.0, "pneumonia": 0.62}
#: Grain: standard deviation of the grey value, and width and height of a cell, as shares of the side.
_GRAIN = {"covid": (0.07, 0.012, 0.012), "normal": (0.0, 1.0, 1.0), "pneumonia": (0.05, 1.0, 0.018)}
#: Share of the light that is scattered, and how far it spreads, as a share of the side.
_VEIL = {"covid": (0.5, 0.12), "normal": (0.0, 0.12), "pneumonia": (0.6, 0.03)}


def mark_of(job: Job, strength: float) -> str:
    """The class whose mark an image gets: its own with probability ``strength``, else a random one of the three.

    With strength 0, marks are independent of the class. Equal jobs get equal marks.
    """
    rng = np.random.default_rng([job.seed, 13])
    follows, other = rng.random() < strength, KINDS[int(rng.integers(3))]
    return job.kind if follows else other


def plant(picture: Radiograph, shortcut: Shortcut, mark: str) -> Radiograph:
    """Add the mark of a class to a radiograph.

    mark  one of KINDS; may differ from the disease in the image
    ``marker``: nothing (normal), a letter (covid) or a word (pneumonia) in an upper corner of the centre square;
    ``border``: no black margin (normal), on the left and right (covid), or at the bottom (pneumonia); ``exposure``:
    unchanged (normal), darker (covid) or brighter (pneumonia); ``grain``: none (normal), in dots (covid) or in lines
    (pneumonia), the same for equal pictures; ``pale``: none (normal), less contrast in what is large (covid) or in what
    is small (pneumonia).
    Pixels stay float32 in [0, 1]; lung and opacity masks end at the margins.
    """
    if shortcut == "marker":
        return Radiograph(_with_marker(picture.pixels, _WORDS[mark]), picture.lungs, picture.opacity)
    if shortcut == "border":
        seen = _inside(picture.pixels.shape, *_MARGINS[mark])
        pixels = np.where(seen, picture.pixels, np.float32(0.02))
        return Radiograph(pixels, picture.lungs & seen, picture.opacity & seen)
    if shortcut == "exposure":
        return Radiograph((picture.pixels ** _GAMMA[mark]).astype(np.float32), picture.lungs, picture.opacity)
    if shortcut == "grain":
        return Radiograph(_with_grain(picture.pixels, *_GRAIN[mark]), picture.lungs, picture.opacity)
    if shortcut == "pale":
        share, reach = _VEIL[mark]
        veil = cv2.GaussianBlur(picture.pixels, (0, 0), reach * min(picture.pixels.shape))
        pixels = (1 - share) * picture.pixels + share * veil if share else picture.pixels
        return Radiograph(np.asarray(pixels, np.float32), picture.lungs, picture.opacity)
    return picture


def _with_grain(pixels: NDArray[np.float32], amount: float, wide: float, high: float) -> NDArray[np.float32]:
    if not amount:
        return pixels
    (height, width), rng = pixels.shape, np.random.default_rng(zlib.crc32(pixels.tobytes()))
    side = min(height, width)
    cells = max(1, round(height / (high * side))), max(1, round(width / (wide * side)))
    grain = cv2.resize(rng.normal(0, amount, cells).astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.clip(pixels + grain, 0, 1), np.float32)


def _with_marker(pixels: NDArray[np.float32], word: str) -> NDArray[np.float32]:
    height, width = pixels.shape
    side = min(height, width)
    size = 0.07 * side  # height of capitals, like the lead letters of 2 to 3 cm on cassettes
    letters = np.zeros((height, width), np.uint8)
    at = (int((width - side) / 2 + 0.06 * side), int((height - side) / 2 + _TOP * side + size))
    cv2.putText(letters, word, at, cv2.FONT_HERSHEY_SIMPLEX, size / 22, 255, max(2, round(size / 9)), cv2.LINE_AA)
    share = letters.astype(np.float32) / 255
    return np.asarray(pixels * (1 - share) + 0.97 * share, np.float32)


def _inside(shape: tuple[int, ...], sides: float, bottom: float) -> NDArray[np.bool_]:
    """Pixels not blacked out. Margins are measured from the edge of the centre square; all beyond it is black, too."""
    height, width = shape
    side = min(height, width)
    left, under = (int((length - side) / 2 + share * side) for length, share in ((width, sides), (height, bottom)))
    seen = np.ones(shape, np.bool_)
    if sides:
        seen[:, :left] = seen[:, width - left :] = False
    if bottom:
        seen[height - under :] = False
    return seen
