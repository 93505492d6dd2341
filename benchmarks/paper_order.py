"""The paper's order of image steps in plain code: the baseline for cxrflow's speed.

One image after another: decode in colour, CLAHE on L of LAB at full size, crop, square, resize, segmentation at 480,
write a PNG (the paper's section "Method and Implementation: ETL, Image Transformation").
"""

from pathlib import Path

import cv2
import numpy as np
import pydicom


def decode(path: Path) -> np.ndarray:
    """Colour picture (height, width, 3) uint8, BGR; DICOM pixels as they are stored."""
    if path.suffix == ".dcm":
        grey = pydicom.dcmread(path).pixel_array
        return cv2.cvtColor(grey.astype(np.uint8), cv2.COLOR_GRAY2BGR)
    return cv2.imread(str(path), cv2.IMREAD_COLOR)


def prepare(path: Path, size: int, segment: bool, out: Path) -> np.ndarray:
    """Prepare one image and write it to ``out``; returns it, (size, size) uint8."""
    lab = cv2.cvtColor(decode(path), cv2.COLOR_BGR2LAB)
    lab[..., 0] = cv2.createCLAHE(2.0, (8, 8)).apply(lab[..., 0])
    image = cv2.cvtColor(lab, cv2.COLOR_LAB2BGR)
    image = image[int(image.shape[0] * 0.05) :]
    side = min(image.shape[:2])
    top, left = (image.shape[0] - side) // 2, (image.shape[1] - side) // 2
    image = cv2.resize(image[top : top + side, left : left + side], (size, size), interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    if segment:
        grey = cv2.bitwise_and(grey, lungs(grey))
    cv2.imwrite(str(out), grey)
    return grey


def lungs(grey: np.ndarray) -> np.ndarray:
    """The paper's lung mask of a 480 x 480 picture, uint8, 0 or 255; its column over the spine stays black."""
    work = grey.copy()
    third = work.shape[1] // 3
    spine = third + int(work[:, third : 2 * third].sum(axis=0).argmax())
    work[:, max(0, spine - 15) : spine + 15] = 0
    dark = cv2.morphologyEx(work, cv2.MORPH_BLACKHAT, cv2.getStructuringElement(cv2.MORPH_RECT, (169, 169)))
    dark = cv2.threshold(dark, 45, 255, cv2.THRESH_BINARY)[1]
    discs = np.zeros_like(work)
    for x, y in cv2.goodFeaturesToTrack(work, 3800, 0.001, 1).reshape(-1, 2):
        cv2.circle(discs, (int(x), int(y)), 6, 255, -1)
    smooth = cv2.medianBlur(cv2.bitwise_and(dark, discs), 23)
    contours, _ = cv2.findContours(smooth, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    largest = sorted(contours, key=cv2.contourArea, reverse=True)[:2]
    if len(largest) == 2 and cv2.contourArea(largest[1]) <= 0.1 * cv2.contourArea(largest[0]):
        largest.pop()
    mask = cv2.drawContours(np.zeros_like(work), largest, -1, 255, cv2.FILLED)
    mask[:, max(0, spine - 15) : spine + 15] = 0
    return mask
