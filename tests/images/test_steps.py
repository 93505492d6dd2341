"""The image steps against hand-made pictures and OpenCV itself."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrflow.images.steps import equalise, prepare_image, square, to_uint8
from cxrflow.params import Images

STEPS = Images(size=64, channels=1, crop_top=0.1, equalise="none", clahe_clip=2.0, clahe_tiles=8, lungs="none")


def with_(**changes: object) -> Images:
    return Images.model_validate(STEPS.model_dump() | changes)


def test_top_is_cropped_then_the_centre_square_cut() -> None:
    image = np.zeros((110, 60), dtype=np.uint8)
    image[11:] = 100  # a tenth of 110 rows goes
    image[11 + 19 : 11 + 79] = 200  # the centre 60 rows of the 99 left
    assert (square(image, with_(size=60)) == 200).all()


def test_wide_pictures_lose_their_sides() -> None:
    image = np.tile(np.arange(200, dtype=np.uint8), (100, 1))
    cut = square(image, with_(size=90, crop_top=0.1))
    assert cut.shape == (90, 90)
    assert (cut[0] == np.arange(55, 145)).all()


def test_sixteen_bits_span_the_range() -> None:
    image = np.array([[1000, 2000], [3000, 5095]], dtype=np.uint16)
    assert to_uint8(image).tolist() == [[0, 62], [125, 255]]
    constant = np.full((4, 4), 700, dtype=np.uint16)
    assert (to_uint8(constant) == 0).all()


def test_equalisation_is_opencvs() -> None:
    image = np.random.default_rng(0).integers(40, 90, (64, 64)).astype(np.uint8)
    assert (equalise(image, with_(equalise="global")) == cv2.equalizeHist(image)).all()
    clahe = cv2.createCLAHE(2.0, (8, 8)).apply(image)
    assert (equalise(image, with_(equalise="clahe")) == clahe).all()
    assert equalise(image, STEPS) is image


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    deep=st.booleans(),
    lungs=st.sampled_from(["none", "opencv"]),
    seed=st.integers(0, 99),
)
def test_any_radiograph_becomes_one_square_of_bytes(height: int, width: int, deep: bool, lungs: str, seed: int) -> None:
    dtype = np.uint16 if deep else np.uint8
    image = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, (height, width)).astype(dtype)
    out = prepare_image(image, with_(equalise="clahe", lungs=lungs, crop_top=0.05))
    assert out.shape == (64, 64)
    assert out.dtype == np.uint8


@pytest.mark.parametrize("size", [96, 240, 480])
def test_opencv_lungs_are_two_dark_fields_whatever_the_size(size: int) -> None:
    """A bright body with two dark, textured ovals: the mask finds them, and no black column is left between."""
    y, x = np.mgrid[0:size, 0:size] / size
    body = np.full((size, size), 190.0)
    body[:, int(0.47 * size) : int(0.53 * size)] = 235
    truth = np.zeros((size, size), dtype=bool)
    for centre in (0.3, 0.7):
        truth |= ((x - centre) / 0.13) ** 2 + ((y - 0.5) / 0.28) ** 2 < 1
    noise = np.random.default_rng(1).normal(0, 12, (size, size))
    image = np.clip(np.where(truth, 70, body) + noise, 0, 255).astype(np.uint8)
    kept = prepare_image(image, with_(size=size, crop_top=0.0, lungs="opencv"))
    mask = kept > 0
    dice = 2 * (mask & truth).sum() / (mask.sum() + truth.sum())
    assert dice > 0.85
    assert (kept[mask] == image[mask]).all()


def test_a_picture_without_lungs_stays_whole() -> None:
    blank = np.full((80, 80), 128, dtype=np.uint8)
    assert (prepare_image(blank, with_(lungs="opencv")) == 128).all()
