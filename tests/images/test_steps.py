"""The image steps against hand-made pictures and OpenCV itself."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrflow.errors import LeftOut
from cxrflow.images.registry import prepare_image
from cxrflow.images.steps import LungMap, Window, centre_square, cut, kept_by_shrink, lung_mask_in, shrink, stretch
from cxrflow.params import Images
from cxrflow.params_file import DEFAULTS, load_params
from cxrflow.reading import to_uint8

STEPS = load_params(DEFAULTS).images.model_copy(update={"size": 64, "crop_top": 0.1, "equalise": "none"})


def with_(**changes: object) -> Images:
    return Images.model_validate(STEPS.model_dump() | changes)


def test_top_is_cropped_then_the_centre_square_cut() -> None:
    image = np.zeros((110, 60), dtype=np.uint8)
    image[11:] = 100  # a tenth of 110 rows goes
    image[11 + 19 : 11 + 79] = 255  # the centre 60 rows of the 99 left
    window = centre_square(image.shape, 0.1)
    assert window == Window(30, 0, 60, 110, 60)
    assert (cut(image, window) == 255).all()
    assert (prepare_image(image, with_(size=60)).image == 255).all()


def test_wide_pictures_lose_their_sides() -> None:
    image = np.tile(np.arange(200, dtype=np.uint8), (100, 1))
    kept = cut(image, centre_square(image.shape, 0.1))
    assert kept.shape == (90, 90)
    assert (kept[0] == np.arange(55, 145)).all()


def test_sixteen_bits_span_the_range() -> None:
    image = np.array([[1000, 2000], [3000, 5095]], dtype=np.uint16)
    assert to_uint8(image).tolist() == [[0, 62], [125, 255]]
    for constant in (np.full((4, 4), 700, dtype=np.uint16), np.full((4, 4), 70, dtype=np.uint8)):
        assert (to_uint8(constant) == 0).all()


@given(st.integers(0, 100), st.integers(1, 155))
def test_eight_bits_span_the_range_as_sixteen_do(low: int, spread: int) -> None:
    image = (low + np.arange(64, dtype=np.uint8).reshape(8, 8) % (spread + 1)).astype(np.uint8)
    eight, sixteen = to_uint8(image).astype(int), to_uint8(image.astype(np.uint16) * 257).astype(int)
    assert np.abs(eight - sixteen).max() <= 1  # a half rounded up and down


def test_equalisation_is_opencvs() -> None:
    image = np.random.default_rng(0).integers(40, 90, (64, 64)).astype(np.uint8)
    whole = with_(crop_top=0.0)
    image = to_uint8(image)
    expected = {"none": image, "global": cv2.equalizeHist(image), "clahe": cv2.createCLAHE(3.0, (4, 4)).apply(image)}
    for kind, picture in expected.items():
        found = prepare_image(image, whole.model_copy(update={"equalise": kind, "clahe_clip": 3.0, "clahe_tiles": 4}))
        assert (found.image == picture).all()


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    deep=st.booleans(),
    changes=st.fixed_dictionaries(
        {
            "lungs": st.sampled_from(["none", "opencv", "learned"]),
            "lungs_use": st.sampled_from(["store", "mask", "crop", "both"]),
            "order": st.sampled_from(["shrink_first", "equalise_first"]),
            "equalise": st.sampled_from(["none", "global", "clahe"]),
        }
    ),
    seed=st.integers(0, 99),
)
def test_any_radiograph_becomes_one_square_of_bytes(height, width, deep, changes, seed) -> None:
    dtype = np.uint16 if deep else np.uint8
    image = np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, (height, width)).astype(dtype)
    out = prepare_image(image, with_(crop_top=0.05, **changes))
    assert (out.image.shape, out.image.dtype) == ((64, 64), np.uint8)
    assert cut(image, out.window).shape == (out.window.side, out.window.side)
    if changes["lungs"] == "none":
        assert out.lungs is None
    else:
        assert (out.lungs.shape, out.lungs.dtype) == ((64, 64), bool)
        if changes["lungs_use"] in ("mask", "both") and out.lungs.any():
            assert (out.image[~out.lungs] == 0).all()


@pytest.mark.parametrize("size", [96, 240, 480])
def test_opencv_lungs_are_two_dark_fields_whatever_the_size(size: int) -> None:
    """A bright body with two dark, textured ovals: the mask finds them, and no black column is left between."""
    y, x = np.mgrid[0:size, 0:size] / size
    body = np.full((size, size), 190.0)
    body[:, int(0.47 * size) : int(0.53 * size)] = 235
    truth = np.zeros((size, size), dtype=bool)
    for centre in (0.3, 0.7):
        truth |= ((x - centre) / 0.13) ** 2 + ((y - 0.5) / 0.28) ** 2 < 1
    noise = np.random.default_rng(1).normal(0, 8, (size, size))
    image = np.clip(np.where(truth, 70, body) + noise, 0, 255).astype(np.uint8)
    image = to_uint8(image)
    kept, mask, _ = prepare_image(image, with_(size=size, crop_top=0.0, lungs="opencv"))
    dice = 2 * (mask & truth).sum() / (mask.sum() + truth.sum())
    assert dice > 0.85
    assert (kept == np.where(mask, image, 0)).all()


def test_a_picture_without_lungs_stays_whole() -> None:
    blank = np.full((80, 80), 128, dtype=np.uint8)
    for lungs in ("opencv", "learned"):
        found = prepare_image(blank, with_(lungs=lungs, lungs_use="both"))
        assert not found.lungs.any()
        assert (found.image == 0).all()
        assert found.window == centre_square((80, 80), 0.1)


def drawn(height: int, width: int, boxes: list[tuple[int, int, int, int]]) -> np.ndarray:
    """A map of boxes (top, left, bottom, right)."""
    found = np.zeros((height, width), dtype=np.uint8)
    for top, left, bottom, right in boxes:
        found[top:bottom, left:right] = 255
    return found


@pytest.mark.parametrize("use", ["store", "mask", "crop", "both"])
def test_what_is_done_with_the_lungs(use: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lungs found at rows 60 to 140, columns 50 to 150 of a picture of 200 rows and 300 columns."""
    picture = np.random.default_rng(0).integers(0, 256, (200, 300)).astype(np.uint8)
    found = drawn(100, 100, [(30, 17, 70, 50)])  # of half the height and a third of the width
    monkeypatch.setattr("cxrflow.lungs.learned.lung_map", lambda image: found)
    image, lungs, window = prepare_image(picture, with_(size=110, crop_top=0.0, lungs="learned", lungs_use=use))
    if use in ("crop", "both"):
        # 51 to 150 columns wide, the longer side; a twentieth more on each side; its centre at 100 down, 100.5 across
        assert window.side == pytest.approx(109, abs=1)
        assert window.top + window.side / 2 == pytest.approx(100, abs=1)
        assert window.left + window.side / 2 == pytest.approx(100.5, abs=1)
    else:
        assert window == Window(0, 50, 200, 200, 300)
    truth = np.zeros((200, 300), dtype=bool)
    truth[60:140, 51:150] = True
    expected = shrink(cut(truth.astype(np.uint8) * 255, window), 110) > 127
    assert (lungs != expected).mean() < 0.03
    whole = shrink(cut(picture, window), 110)
    assert (image == (np.where(lungs, whole, 0) if use in ("mask", "both") else whole)).all()


@settings(max_examples=60)
@given(side=st.integers(64, 900))
def test_shrinking_passes_over_no_pixel(side: int) -> None:
    """Noise that an exact average takes away is taken away here: single pixels are not sampled."""
    random = np.random.default_rng(side)
    image = random.integers(0, 256, (side, side)).astype(np.uint8)
    exact = cv2.resize(image, (64, 64), interpolation=cv2.INTER_AREA).astype(float)
    found = shrink(image, 64).astype(float)
    assert found.mean() == pytest.approx(exact.mean(), abs=3)
    assert found.std() < 1.6 * exact.std() + 2
    assert shrink(np.full((side, side), 77, np.uint8), 64).tolist() == np.full((64, 64), 77).tolist()


@pytest.mark.parametrize("use", ["store", "mask", "crop", "both"])
@pytest.mark.parametrize("side", [48, 80, 160])
def test_a_speck_is_no_lung(use: str, side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    speck = drawn(160, 160, [(80, 80, 82, 82)])
    monkeypatch.setattr("cxrflow.lungs.learned.lung_map", lambda image: speck)
    picture = np.random.default_rng(0).integers(0, 256, (side, side)).astype(np.uint8)
    found = prepare_image(picture, with_(lungs="learned", lungs_use=use))
    assert not found.lungs.any()
    assert (found.image == prepare_image(picture, STEPS).image).all()


def test_what_opencv_refuses_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(image: np.ndarray) -> np.ndarray:
        raise cv2.error("bad\nargument")

    monkeypatch.setattr("cxrflow.lungs.learned.lung_map", fail)
    with pytest.raises(LeftOut, match="the image steps failed"):
        prepare_image(np.zeros((50, 50), np.uint8), with_(lungs="learned"))


def test_the_papers_order_equalises_the_whole_picture_first() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (160, 160)).astype(np.uint8)
    whole = cv2.equalizeHist(picture)
    steps = with_(size=80, crop_top=0.0, equalise="global", order="equalise_first")
    assert (prepare_image(picture, steps).image == cv2.resize(whole, (80, 80), interpolation=cv2.INTER_AREA)).all()
    lab = cv2.cvtColor(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR), cv2.COLOR_BGR2LAB)
    lab[..., 0] = cv2.createCLAHE(2.0, (8, 8)).apply(lab[..., 0].copy())
    grey = cv2.cvtColor(cv2.cvtColor(lab, cv2.COLOR_LAB2BGR), cv2.COLOR_BGR2GRAY)
    found = prepare_image(picture, with_(size=160, crop_top=0.0, equalise="clahe", order="equalise_first")).image
    assert (found == grey).all()


def test_percentiles_become_black_and_white_and_all_else_lies_between() -> None:
    """Greys 50 to 150, each once but for many of the ends: their 1st and 99th percentiles are 50 and 150, by hand."""
    greys = np.array([50] * 100 + list(range(51, 150)) + [150] * 101, dtype=np.uint8).reshape(30, 10)
    out = stretch(greys)
    assert out.dtype == np.uint8
    assert (out == np.rint((greys.astype(float) - 50) * 2.55)).all()


def test_exposure_and_contrast_of_a_source_are_taken_out() -> None:
    picture = np.random.default_rng(0).integers(0, 100, (64, 64)).astype(np.uint8)
    brighter = picture * 2 + 40
    out, other = (stretch(p).astype(int) for p in (picture, brighter.astype(np.uint8)))
    assert np.abs(out - other).max() <= 3
    assert out.min() == 0
    assert out.max() == 255


def test_one_grey_alone_is_black() -> None:
    flat = np.full((64, 64), 77, dtype=np.uint8)
    assert (prepare_image(flat, with_(harmonise="percentiles")).image == 0).all()


@pytest.mark.parametrize("order", ["shrink_first", "equalise_first"])
def test_harmonising_comes_before_equalising(order: str) -> None:
    picture = np.random.default_rng(1).integers(60, 120, (64, 64)).astype(np.uint8)
    steps = with_(crop_top=0, harmonise="percentiles", equalise="global", order=order)
    expected = cv2.equalizeHist(stretch(picture))
    assert (prepare_image(picture, steps).image == expected).all()


@pytest.mark.parametrize("side", [447, 448, 511, 700, 1023])
def test_a_lung_mask_lies_on_the_image_up_to_the_far_edge(side: int) -> None:
    """What is bright in the radiograph and lung in a map of its size is bright and lung at the same prepared pixels."""
    whole = np.zeros((side, side), np.uint8)
    whole[side // 2 : side - side // 16, side // 3 : side - side // 20] = 255
    window = kept_by_shrink(Window(0, 0, side, side, side), 112)
    found = lung_mask_in(LungMap(whole, 0, 0, side, side), window, 112)
    image = shrink(whole, 112)
    clear = (image < 64) | (image > 191)  # where an edge crosses a pixel, either answer is right
    assert clear.mean() > 0.9
    assert np.array_equal(found[clear], image[clear] > 127)
