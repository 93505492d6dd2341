"""A figure: an estimate with its 95 % interval and sample size, or the reason why it is missing."""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, slots=True)
class Figure:
    """An estimate as a report may state it, or the reason why it is missing.

    value      the estimate; NaN if missing
    low, high  its 95 % interval, low <= value <= high; NaN if missing
    n, groups  the number of images, and of groups of patients, that it is computed from
    counts     such as ``9 of 12``, where there are few groups; else None
    reason     why the estimate is missing; else empty

    Raises ValueError unless there is either a value with its interval, or a reason.
    """

    value: float = math.nan
    low: float = math.nan
    high: float = math.nan
    n: int = 0
    groups: int = 0
    counts: str | None = None
    reason: str = ""

    def __post_init__(self) -> None:
        numbers = (self.value, self.low, self.high)
        if self.reason:
            if not all(map(math.isnan, numbers)):
                raise ValueError("a figure has a value or a reason, not both")
        elif not all(map(math.isfinite, numbers)) or not self.low <= self.value <= self.high:
            raise ValueError(f"not a figure: {self.value} with the interval {self.low} to {self.high}")

    def __eq__(self, other: object) -> bool:
        """Missing figures with the same reason are equal, although NaN is not equal to itself."""
        return isinstance(other, Figure) and self.to_dict() == other.to_dict()

    @property
    def known(self) -> bool:
        """Whether there is a value."""
        return not self.reason

    def to_dict(self) -> dict[str, Any]:
        """JSON-serialisable: value, low, high, n, groups and, if any, counts; or value None and reason."""
        if not self.known:
            return {"value": None, "reason": self.reason}
        return {key: value for key, value in asdict(self).items() if key != "reason" and value is not None}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Figure":
        """The figure that ``to_dict`` wrote."""
        return missing(values["reason"]) if values["value"] is None else cls(**values)


def missing(reason: str) -> Figure:
    """A figure that cannot be computed, and why."""
    return Figure(reason=reason)


def to_json(value: Any) -> Any:
    """``value`` made JSON-serialisable: each Figure in nested dicts and lists is replaced by its ``to_dict``."""
    if isinstance(value, Figure):
        return value.to_dict()
    if isinstance(value, dict):
        return {key: to_json(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_json(each) for each in value]
    return value


def average(figures: list[Figure]) -> Figure:
    """Unweighted mean of figures from different images. Its limits are the means of their limits: the widest interval,
    for fully correlated errors. Missing figures are ignored; if all are missing, the first one's reason is returned."""
    known = [figure for figure in figures if figure.known]
    if not known:
        return missing(figures[0].reason if figures else "nothing to compare")
    value, low, high = np.mean([(figure.value, figure.low, figure.high) for figure in known], axis=0).tolist()
    return Figure(value, low, high, sum(figure.n for figure in known), sum(figure.groups for figure in known))


def in_words(figure: Figure, digits: int = 2, counts: bool = False) -> str:
    """``0.91 (0.88 to 0.94)``, with ``counts`` also ``(0.88 to 0.94, 9 of 12)``; or ``unknown (why)``."""
    if not figure.known:
        return f"unknown ({figure.reason})"
    of = f", {figure.counts}" if counts and figure.counts else ""
    return f"{figure.value:z.{digits}f} ({figure.low:z.{digits}f} to {figure.high:z.{digits}f}{of})"


def in_percent(figure: Figure) -> str:
    """``12 % (8 to 17)``, or ``unknown (why)``."""
    if not figure.known:
        return f"unknown ({figure.reason})"
    return f"{100 * figure.value:z.0f} % ({100 * figure.low:z.0f} to {100 * figure.high:z.0f})"
