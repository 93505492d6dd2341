"""The numbers that a plan depends on: of the data, and of the time that an image takes on this machine."""

from dataclasses import dataclass
from typing import Self

from cxrflow.params import Training


@dataclass(frozen=True, slots=True)
class Span:
    """An estimate with its range: ``low`` <= ``mid`` <= ``high``."""

    low: float
    mid: float
    high: float

    def __add__(self, other: Self) -> "Span":
        return Span(self.low + other.low, self.mid + other.mid, self.high + other.high)

    def __mul__(self, factor: float) -> "Span":
        return Span(self.low * factor, self.mid * factor, self.high * factor)


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds that one image takes a network: a training step's share, and a forward pass without a gradient."""

    train: Span
    forward: Span


@dataclass(frozen=True, slots=True)
class Facts:
    """What the rules know of the data.

    images        kept
    train, val    images on these sides of the split
    positive      images of the positive class in train
    train_groups  groups of patients in train
    rarest        patients of the class with fewest in train and val together; ``rarest_val``, in val alone
    enough        patients for an interval of +-HALF_WIDTH (``unanswered.enough``)
    shorter       median of the images' shorter side (pixels)
    """

    images: int
    train: int
    val: int
    positive: int
    train_groups: int
    rarest: int
    rarest_val: int
    enough: int
    shorter: float

    def images_an_epoch(self, training: Training, folds: int | None) -> tuple[float, float]:
        """Images that an epoch trains on, drawn ones counted as often as they are drawn, and those it validates on.

        folds  of train and val, one of which a network leaves out; None: it trains on train
        """
        train, val, part = float(self.train), float(self.val), 1.0
        if folds:
            both = train + val
            train, val = both * (folds - 1) / folds, both / folds
            part = train / max(self.train, 1)
        share = training.positive_share
        if training.balance == "source_and_class" or share is None or not self.positive:
            return train, val
        others = train - self.positive * part
        return (others if training.balance == "replacement" else others / (1 - share)), val
