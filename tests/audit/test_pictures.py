"""Pictures and their lungs as the store has them, and thinning out."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from cxrflow.audit.context import Audited
from cxrflow.audit.pictures import evenly, grown, take


def test_stored_lungs_are_taken_and_pictures_shrunk(hospital: Callable[..., Audited]) -> None:
    dataset = hospital(np.arange(3)).dataset.where(np.array([2, 0]))
    taken = take(dataset, 16)
    assert taken.images.shape == taken.lungs.shape == (2, 16, 16)
    assert list(taken.dataset.records.image_id) == ["t:2", "t:0"]
    blocks = dataset.pixels().reshape(2, 16, 2, 16, 2).mean(axis=(2, 4))
    assert taken.images == pytest.approx(blocks, abs=1)
    assert taken.lungs[0].mean() == pytest.approx(dataset.store.lungs[0].mean(), abs=0.02)


def test_where_the_store_has_no_lungs_the_segmenter_finds_them(
    hospital: Callable[..., Audited], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = hospital(np.arange(3)).dataset
    bright = {"cxrflow.audit.pictures.learned.lung_map": lambda picture: (picture > 200).astype(np.uint8) * 255}
    for name, value in bright.items():
        monkeypatch.setattr(name, value)
    taken = take(replace(dataset, stores=(replace(dataset.store, lungs=None),)), 32)
    assert np.array_equal(taken.lungs, dataset.pixels() > 200)


def test_masks_grow_by_a_share_of_the_side() -> None:
    mask = np.zeros((1, 40, 40), np.bool_)
    mask[0, 20, 20] = True
    assert (grown(mask, 0.05)[0, 20].sum(), grown(mask, 0.05)[0, :, 20].sum()) == (5, 5)
    assert grown(mask[:0], 0.05).shape == (0, 40, 40)


def test_thinning_out_keeps_both_ends() -> None:
    assert evenly(10, 4).tolist() == [0, 3, 6, 9]
    assert evenly(3, 10).tolist() == [0, 1, 2]
    assert evenly(0, 5).tolist() == []
