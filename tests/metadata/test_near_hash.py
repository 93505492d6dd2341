"""Near hashes: by hand, and copies against other pictures."""

import cv2
import numpy as np
import pytest

from cxrflow.metadata.near_hash import DIGITS, SAME, SIMILAR, THUMBNAIL, agreement, near_hash, thumbnail

SIDE = 18


def test_each_place_is_a_bit_of_brighter_than_its_surroundings() -> None:
    """A bright square of 2 x 2 places: its bits are 1, those beside it 0."""
    grey = np.full((SIDE, SIDE), 60, np.uint8)
    grey[4:6, 8:10] = 200
    text = near_hash(cv2.resize(grey, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_NEAREST).tobytes())
    assert len(text) == DIGITS
    bits = np.array([int(bit) for bit in f"{int(text, 16):0{SIDE * SIDE}b}"]).reshape(SIDE, SIDE)
    assert bits[4:6, 8:10].all()
    assert not bits[3, 7:11].any()
    assert not bits[6, 7:11].any()


@pytest.fixture
def seen(drawn) -> list[str]:
    return [near_hash(thumbnail(grey).tobytes()) for grey in drawn[1:]]


def _crop(grey: np.ndarray, top: float, each: float) -> np.ndarray:
    height, width = grey.shape
    return grey[
        round(height * (top + each)) : height - round(height * each), round(width * each) : round(width * (1 - each))
    ]


@pytest.mark.parametrize(
    "change",
    [
        lambda grey: grey,
        lambda grey: cv2.resize(grey, (150, 150), interpolation=cv2.INTER_AREA),
        lambda grey: _crop(grey, 0, 0.03),
        lambda grey: _crop(grey, 0.08, 0),
        cv2.equalizeHist,
        lambda grey: grey // 2 + 60,
    ],
)
def test_a_changed_copy_agrees_whichever_of_both_was_seen_and_another_picture_does_not(drawn, seen, change) -> None:
    ours, copy = (thumbnail(grey).tobytes() for grey in (drawn[0], change(drawn[0])))
    there = agreement([copy, ours], [near_hash(ours), *seen])
    back = agreement([ours], [near_hash(copy)])
    assert min(*there, *back) >= SAME
    assert (agreement([copy, ours], seen) < SIMILAR).all()


def test_agreement_is_the_share_of_contrast_on_the_right_side(picture) -> None:
    """The hash of the negative agrees with no place; without hashes nothing agrees; many are compared in parts."""
    grey = picture(0, THUMBNAIL)
    text = near_hash(grey.tobytes())
    inverted = f"{int(text, 16) ^ ((1 << SIDE * SIDE) - 1):0{DIGITS}x}"
    assert agreement([grey.tobytes()], [text]) == pytest.approx(1)
    assert agreement([grey.tobytes()], [inverted]) < 0.5
    assert agreement([grey.tobytes()], []).tolist() == [-1]
    assert agreement([], [text]).shape == (0,)
    many = [near_hash(picture(seed, THUMBNAIL).tobytes()) for seed in range(40)]
    alone = [agreement([picture(seed, THUMBNAIL).tobytes()], many)[0] for seed in range(40, 60)]
    assert agreement([picture(seed, THUMBNAIL).tobytes() for seed in range(40, 60)], many).tolist() == pytest.approx(
        alone, abs=1e-5
    )
