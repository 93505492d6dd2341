"""Where heat lies and what it depends on, on heat maps that are known."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from cxrflow.audit import sanity, where
from cxrflow.audit.context import Audited
from cxrflow.audit.heat import Heat
from cxrflow.audit.verdicts import FOUND, NOT_FOUND, UNTOLD
from cxrflow.explanation.masks import TRUE_OPACITY

SIDE, N = 32, 40
LABELS = np.arange(N) // 2 % 3
NOISE, OTHER = np.random.default_rng(0).random((2, N, SIDE, SIDE)).astype(np.float32)


def spots(row: int, column: int) -> np.ndarray:
    maps = np.zeros((N, SIDE, SIDE), np.float32)
    maps[:, row, column] = 1
    return maps


INSIDE, OUTSIDE = spots(12, 10), spots(2, 2)


@pytest.fixture
def heated(hospital: Callable[..., Audited]) -> Callable[..., Audited]:
    """Makes the hospital's context with heat maps of the trained network and of the random one."""

    def make(trained: np.ndarray, random: np.ndarray = OUTSIDE) -> Audited:
        context = hospital(LABELS)
        context.heat = Heat(trained, trained, trained, random)
        return context

    return make


@pytest.mark.parametrize(
    ("maps", "random", "verdict"), [(INSIDE, OUTSIDE, NOT_FOUND), (OUTSIDE, INSIDE, FOUND), (OUTSIDE, OUTSIDE, UNTOLD)]
)
def test_heat_beside_the_lungs_is_found_where_heat_maps_tell(
    heated: Callable[..., Audited], maps: np.ndarray, random: np.ndarray, verdict: str
) -> None:
    context = heated(maps, random)
    found = where.run(context)
    assert found.verdict == verdict
    assert ("not known to depend" in found.words) == (random is maps)
    shares = found.figures["shares"]["occlusion"]
    assert shares["heat"].value == pytest.approx(float(maps is INSIDE))
    assert shares["area"].value == pytest.approx(context.test.lungs.mean())
    assert shares["missed"] == found.rows[0].figures["occlusion"]
    assert not found.figures["pointing"].known


def test_pointing_counts_pictures_whose_hottest_point_is_ill(heated: Callable[..., Audited]) -> None:
    ill, elsewhere = np.zeros((2, SIDE, SIDE), np.uint8)
    ill[10:14, 8:12] = elsewhere[20:22, 20:22] = 255
    context = heated(INSIDE)
    folder = context.root / TRUE_OPACITY / "t"
    folder.mkdir(parents=True)
    for k in range(N):
        if k % 4 < 3:
            cv2.imwrite(str(folder / f"{k}.png"), (ill, elsewhere, np.zeros_like(ill))[k % 4])
    found = where.run(context)
    assert (found.figures["pointing"].value, found.figures["pointing"].n) == (0.5, N // 2)
    assert "the hottest point lies in the true opacity in 50 %" in found.words


def test_maps_that_ignore_the_weights_tell_nothing(heated: Callable[..., Audited]) -> None:
    passed = sanity.run(heated(NOISE, OTHER))
    assert passed.verdict == NOT_FOUND
    assert passed.figures["rank correlation"].value == pytest.approx(0, abs=0.1)
    failed = sanity.run(heated(NOISE, NOISE))
    assert failed.verdict == UNTOLD
    assert failed.figures["rank correlation"].value == pytest.approx(1)
    assert failed.figures["SSIM"].value == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("flat", "verdict"), [(np.s_[:0], NOT_FOUND), (np.s_[:16], NOT_FOUND), (np.s_[:24], UNTOLD), (np.s_[:], UNTOLD)]
)
def test_flat_maps_are_not_compared(heated: Callable[..., Audited], flat: slice, verdict: str) -> None:
    ours, theirs = NOISE.copy(), OTHER.copy()
    ours[flat] = theirs[flat] = 1 - 1e-6 * NOISE[flat]  # flat, but for rounding
    for pair in ((ours, OTHER), (NOISE, theirs)):
        found = sanity.run(heated(*pair))
        assert found.verdict == verdict
        assert found.figures["SSIM"].n == N - len(NOISE[flat])
    assert ("flat" in found.figures["SSIM"].reason) == (flat == np.s_[:])
