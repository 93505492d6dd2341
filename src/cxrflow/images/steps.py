"""The image steps, pure: array in, array out. Training, evaluation, explanation and prediction share them.

The steps are those of the paper (top cropped, centre square, resize, equalise, lungs); cropping and shrinking come
before equalising, so that the work is done on few pixels.
"""

import cv2
import numpy as np

from cxrflow.lungs.opencv import lung_mask
from cxrflow.params import Images


def prepare_image(grey: np.ndarray, steps: Images) -> np.ndarray:
    """A radiograph as the network sees it.

    grey    (height, width) uint8 or uint16, air dark
    Returns (size, size) uint8. Where ``steps.lungs`` is not ``none``, everything outside the lungs is 0; where no
    lungs are found the whole picture stays, since an empty one would be a signal of its own.
    """
    image = equalise(square(to_uint8(grey), steps), steps)
    if steps.lungs == "opencv":
        mask = lung_mask(image)
        if mask.any():
            image = np.where(mask, image, 0).astype(np.uint8)
    return image


def to_uint8(grey: np.ndarray) -> np.ndarray:
    """uint8 as it is; uint16 with its least value at 0 and its greatest at 255 (12 bits in 16 would be near black)."""
    if grey.dtype == np.uint8:
        return grey
    low, high = int(grey.min()), int(grey.max())
    return cv2.convertScaleAbs(grey.astype(np.float32) - low, alpha=255 / max(high - low, 1))


def square(image: np.ndarray, steps: Images, interpolation: int = cv2.INTER_AREA) -> np.ndarray:
    """Crop the top, cut the centre square, resize: (height, width) to (size, size), dtype as it was.

    Masks go the same way with ``cv2.INTER_NEAREST``.
    """
    cut = image[int(image.shape[0] * steps.crop_top) :]
    side = min(cut.shape)
    top, left = (cut.shape[0] - side) // 2, (cut.shape[1] - side) // 2
    cut = cut[top : top + side, left : left + side]
    if interpolation == cv2.INTER_AREA and side < steps.size:
        interpolation = cv2.INTER_CUBIC
    return cv2.resize(cut, (steps.size, steps.size), interpolation=interpolation)


def equalise(image: np.ndarray, steps: Images) -> np.ndarray:
    """Histogram equalisation of a (size, size) uint8 picture: none, global, or CLAHE (Zuiderveld 1994)."""
    if steps.equalise == "global":
        return cv2.equalizeHist(image)
    if steps.equalise == "clahe":
        return cv2.createCLAHE(steps.clahe_clip, (steps.clahe_tiles, steps.clahe_tiles)).apply(image)
    return image
