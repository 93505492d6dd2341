"""Batches: who is in them, how often, in which order; and what augmentation does to them."""

import numpy as np
import pandas as pd
import pytest
import torch

from cxrflow.dataset import Dataset
from cxrflow.images.prepare import Store
from cxrflow.params import Augmentation
from cxrflow.task import Task
from cxrflow.training.augmentation import augment
from cxrflow.training.data import BalancedBatches, PlainBatches, Process, RadiographBatches, ReplacedBatches, loader

POSITIVE = np.arange(101) < 10
STILL = Augmentation(flip=0, rotate_degrees=0, shift=0, zoom=0, aspect=0, brightness=0, contrast=0, gamma=0)


def test_each_batch_has_the_wanted_share_of_the_positive_class_and_the_others_pass_once() -> None:
    batches = list(BalancedBatches(POSITIVE, batch_size=30, share=0.33, seed=1))
    positive = [int(POSITIVE[batch].sum()) for batch in batches]
    assert positive == [10, 10, 10, 10, 6]  # round(0.33 * 30), and as large a share of the short last batch
    others = [p for batch in batches for p in batch if not POSITIVE[p]]
    assert sorted(others) == list(range(10, 101))
    assert [len(b) for b in batches] == [30, 30, 30, 30, 17]


@pytest.mark.parametrize(("positive", "share"), [(POSITIVE, None), (np.zeros(101, dtype=bool), 0.33)])
def test_without_a_share_or_a_positive_image_every_image_passes_once(positive: np.ndarray, share: float | None) -> None:
    batches = list(BalancedBatches(positive, batch_size=20, share=share, seed=1))
    assert [len(b) for b in batches] == [20] * 5  # a 101st image alone would have no variance to normalise by
    assert len({p for batch in batches for p in batch}) == 100


def test_an_epoch_of_the_papers_counts_by_its_rule() -> None:
    """8,873 pneumonia and 8,272 normal images are 535 batches of 32 and one of 25; int(0.33 * 32) = 10 of each, and
    int(0.33 * 25) = 8 of the last, give way to one of 493 COVID-19 images."""
    positive = np.arange(17_145 + 493) >= 17_145
    batches = list(ReplacedBatches(positive, batch_size=32, share=0.33, seed=1))
    assert [len(b) for b in batches] == [32] * 535 + [25]
    assert [int(positive[b].sum()) for b in batches] == [10] * 535 + [8]
    assert all(len(set(b)) == len(b) for b in batches)  # within a batch, without replacement
    others = [p for b in batches for p in b if not positive[p]]
    assert len(others) == len(set(others)) == 535 * 22 + 17
    drawn = np.bincount([p for b in batches for p in b if positive[p]], minlength=len(positive))[positive]
    # Each batch draws from all of them: binomial, 5,358 / 493 = 10.9 times each on average, standard deviation 3.3.
    assert drawn.sum() == 5358
    assert drawn.std() == pytest.approx(3.26, abs=0.5)
    # At random places of the batch: five standard deviations.
    places = np.concatenate([np.flatnonzero(positive[b]) for b in batches[:-1]])
    assert np.bincount(places, minlength=32) / 535 == pytest.approx(np.full(32, 10 / 32), abs=0.1)
    assert len(BalancedBatches(positive, 32, 0.33, seed=1)) == 817  # ours: 21 others and 11 COVID-19 in each of 32


@pytest.mark.parametrize(
    ("positive", "size", "share", "counts"),
    [
        (3, 10, 0.5, [3, 3]),  # fewer than a batch asks for: all of them, once each
        (5, 10, 0.05, [1, 1]),  # at least one
        (0, 10, 0.5, [0, 0]),
        (5, 8, 0.5, [4, 4, 2]),  # the last batch, of 4
    ],
)
def test_how_many_are_replaced(positive: int, size: int, share: float, counts: list[int]) -> None:
    is_positive = np.arange(20 + positive) >= 20
    batches = list(ReplacedBatches(is_positive, size, share, seed=1))
    assert [int(is_positive[b].sum()) for b in batches] == counts
    assert all(len(set(b)) == len(b) for b in batches)


@pytest.mark.parametrize(("others", "world", "sizes"), [(21, 1, [10, 10]), (22, 1, [10, 10, 2]), (23, 2, [10, 10])])
def test_a_last_batch_too_small_to_normalise_by_is_dropped(others: int, world: int, sizes: list[int]) -> None:
    positive = np.arange(others + 4) >= others
    parts = [list(ReplacedBatches(positive, 10, 0.3, 1, Process(rank, world))) for rank in range(world)]
    assert [sum(len(b) for b in batch) for batch in zip(*parts, strict=True)] == sizes


@pytest.mark.parametrize("kind", [BalancedBatches, ReplacedBatches])
def test_order_depends_on_seed_and_epoch_alone(kind: type[BalancedBatches | ReplacedBatches]) -> None:
    def order(seed: int, epoch: int) -> list[list[int]]:
        batches = kind(POSITIVE, 30, 0.33, seed)
        list(batches)
        batches.set_epoch(epoch)
        return list(batches)

    assert order(1, 3) == order(1, 3)
    assert order(1, 3) != order(1, 4)
    assert order(1, 3) != order(2, 3)


def test_the_loader_passes_whole_batches(four_classes: Task) -> None:
    images = np.arange(6 * 4 * 4, dtype=np.uint8).reshape(6, 4, 4)
    store = Store(images, None, pd.DataFrame({"image_id": list("abcdef"), "left_out": None}), "")
    records = pd.DataFrame({"image_id": ["f", "b", "a"], "label": ["other", "clear", "viral"]})
    data = RadiographBatches(Dataset.join(records, store, four_classes))
    got = list(loader(data, PlainBatches(len(data), 2)))
    assert [tuple(i.shape) for i, _ in got] == [(2, 1, 4, 4), (1, 1, 4, 4)]
    assert torch.equal(got[0][0][0, 0], torch.from_numpy(images[5]))
    assert [labels.tolist() for _, labels in got] == [[3, 0], [1]]
    chosen = images[[5, 1, 0]] / 255
    assert data.mean_and_std() == pytest.approx((chosen.mean(), chosen.std()))


def picture() -> torch.Tensor:
    """One bright dot, left of the centre and above it."""
    image = torch.zeros(1, 1, 33, 33)
    image[0, 0, 8, 4] = 1
    return image


def brightest(image: torch.Tensor) -> tuple[int, int]:
    return divmod(int(image[0, 0].argmax()), 33)


def test_nothing_asked_for_changes_nothing() -> None:
    images = torch.rand(5, 3, 20, 20)
    assert torch.allclose(augment(images, STILL, torch.Generator()), images, atol=1e-5)


def test_a_flip_mirrors_left_and_right_alone() -> None:
    flipped = augment(picture(), STILL.model_copy(update={"flip": 1.0}), torch.Generator())
    assert brightest(flipped) == (8, 28)


def test_a_rotation_keeps_the_distance_from_the_centre() -> None:
    turned = augment(picture(), STILL.model_copy(update={"rotate_degrees": 30}), torch.Generator().manual_seed(3))
    row, column = brightest(turned)
    assert (row, column) != (8, 4)
    assert np.hypot(row - 16, column - 16) == pytest.approx(np.hypot(8, 12), abs=1.0)


def test_contrast_stretches_about_the_mean() -> None:
    image = torch.tensor([0.4, 0.5, 0.6, 0.7]).reshape(1, 1, 2, 2)
    changed = augment(image, STILL.model_copy(update={"contrast": 0.5}), torch.Generator().manual_seed(2))
    factor = float((changed.max() - changed.min()) / 0.3)
    assert 0.5 <= factor <= 1.5
    assert factor != pytest.approx(1, abs=0.01)
    assert torch.allclose(changed, 0.55 + factor * (image - 0.55), atol=1e-5)


def test_gamma_is_an_exponent() -> None:
    image = torch.tensor([0.0, 0.25, 0.5, 1.0]).reshape(1, 1, 2, 2)
    changed = augment(image, STILL.model_copy(update={"gamma": 0.7}), torch.Generator().manual_seed(2))
    exponent = np.log(float(changed[0, 0, 1, 0])) / np.log(0.5)
    assert np.exp(-0.7) <= exponent <= np.exp(0.7)
    assert exponent != pytest.approx(1, abs=0.01)
    assert torch.allclose(changed, image**exponent, atol=1e-5)


@pytest.mark.parametrize(
    "change",
    [{"zoom": 0.3}, {"shift": 0.2}, {"aspect": 0.3}, {"brightness": 0.3}, {"contrast": 0.3}, {"gamma": 0.3}],
)
def test_each_change_alters_images_each_by_its_own_amount_and_stays_in_range(change: dict[str, float]) -> None:
    images = torch.rand(1, 1, 32, 32, generator=torch.Generator().manual_seed(0)).expand(4, 1, 32, 32).contiguous()
    out = augment(images, STILL.model_copy(update=change), torch.Generator().manual_seed(1))
    assert out.shape == images.shape
    assert out.min() >= 0
    assert out.max() <= 1
    assert all(not torch.allclose(out[a], out[b], atol=1e-3) for a in range(4) for b in range(a))


def test_the_same_generator_gives_the_same_batch() -> None:
    images = torch.rand(4, 1, 16, 16)
    params = STILL.model_copy(update={"rotate_degrees": 10, "flip": 0.5})
    first, second = (augment(images, params, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(first, second)
