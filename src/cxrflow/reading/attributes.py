"""Attributes of a DICOM header as numbers and text, whatever their representation: reading never fails on one."""

import math
from typing import Any

from pydicom import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag


def numbers(data: Dataset, keyword: str | BaseTag) -> list[float]:
    """The values of an attribute; NaN for a value that is not a finite number. Empty if it is absent or has no value.

    Text may have a decimal comma, as some devices write it.
    """
    return [_number(value) for value in _values(data, keyword)]


def number(data: Dataset, keyword: str | BaseTag) -> float | None:
    """The first value of an attribute as ``numbers`` gives it; None if it is absent or empty."""
    return next(iter(numbers(data, keyword)), None)


def whole(data: Dataset, keyword: str | BaseTag) -> int | None:
    """The first value of an attribute as an integer; None if it is absent, empty or not an integer."""
    value = number(data, keyword)
    return int(value) if value is not None and value.is_integer() else None


def text(data: Dataset, keyword: str | BaseTag) -> str:
    """The values of an attribute as one text in capitals, joined by backslashes; empty if it is absent or empty."""
    return "\\".join(_text(value) for value in _values(data, keyword)).upper()


def items(data: Dataset, keyword: str | BaseTag) -> list[Dataset]:
    """The items of a sequence; empty if it is absent, empty or not a sequence."""
    return [item for item in _values(data, keyword) if isinstance(item, Dataset)]


def raw(data: Dataset, keyword: str | BaseTag) -> Any:
    """The value of an attribute as pydicom gives it, or its bytes if pydicom cannot; None if it is absent."""
    if keyword not in data:
        return None
    try:
        return data[keyword].value
    except Exception:  # pydicom raises almost anything on values of another representation
        return getattr(data.get_item(keyword), "value", None)


def _values(data: Dataset, keyword: str | BaseTag) -> list[Any]:
    value = raw(data, keyword)
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if isinstance(value, str):
        value = value.split("\\")
    several = value if isinstance(value, (list, tuple, MultiValue)) or hasattr(value, "__iter__") else [value]
    return [each for each in several if each is not None and (isinstance(each, Dataset) or _text(each))]


def _text(value: Any) -> str:
    return " ".join(str(value).replace("\0", " ").split())


def _number(value: Any) -> float:
    try:
        found = float(_text(value).replace(",", "."))
    except ValueError:
        return math.nan
    return found if math.isfinite(found) else math.nan
