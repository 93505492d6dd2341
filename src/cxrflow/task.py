"""The classification task of a study: its classes, the findings of each, and the positive class."""

import difflib
import re
from collections.abc import Collection, Iterable
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from cxrflow.findings import FINDINGS, under

#: Reason for leaving out a row without a finding.
NO_FINDING_GIVEN = "no finding given"
#: Colours of the classes in their order, distinguishable with red-green colour blindness and in greyscale print.
_PALETTE = ("#C8553D", "#3A7D7C", "#E0A030", "#5B6FB5", "#8C5A8A", "#7A8F3C", "#B58A6B", "#4A4F55")
_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
#: Display names. Terminal tables would read brackets as markup, and plots dollars and backslashes as mathematics.
_SHOWN = re.compile(r"[^\[\]$\\\x00-\x1f]{1,40}")
#: Names that a class cannot have: tables and figures use them as columns and keys beside the classes.
_RESERVED = frozenset(
    (
        *("accuracy", "all", "fate", "flag", "fold", "frontal", "image", "images", "label", "overall", "path"),
        *("prediction", "source", "value"),
        *("na", "nan", "none", "null"),  # what readers of CSV take for an empty cell
    )
)


class Task(BaseModel):
    """Classes in the order of score columns, confusion matrices and figures.

    classes   each class with its findings (findings.py); an image belongs to the class that its findings lie under
    positive  the class to which operating points, sensitivity and prevalence refer
    names     display name of each class; by default the class itself
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ignored_types=(cached_property,))

    classes: dict[str, tuple[str, ...]]
    positive: str
    names: dict[str, str] = {}

    @field_validator("classes")
    @classmethod
    def _classes_are_apart(cls, classes: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        if not 2 <= len(classes) <= len(_PALETTE):
            raise ValueError(f"a task has 2 to {len(_PALETTE)} classes, not {len(classes)}")
        owner: dict[str, str] = {}
        for name, findings in classes.items():
            if not _NAME.fullmatch(name) or name in _RESERVED:
                raise ValueError(f"{name} cannot name a class: use lower-case letters, digits and hyphens, at most 40")
            if not findings:
                raise ValueError(f"{name} has no findings; name at least one")
            for finding in findings:
                if finding not in FINDINGS:
                    near = difflib.get_close_matches(finding, FINDINGS, n=3, cutoff=0.5)
                    hint = f"did you mean {', '.join(near)}?" if near else "`cxrflow findings` lists them"
                    raise ValueError(f"{name}: {finding} is not a known finding; {hint}")
                if owner.setdefault(finding, name) != name:
                    raise ValueError(f"{finding} is in two classes, {owner[finding]} and {name}; keep it in one")
        return classes

    @model_validator(mode="before")
    @classmethod
    def _name_every_class(cls, values: Any) -> Any:
        if isinstance(values, dict) and isinstance(values.get("classes"), dict):
            given = values.get("names") or {}
            if isinstance(given, dict):
                return values | {"names": {name: name for name in values["classes"]} | given}
        return values

    @model_validator(mode="after")
    def _belongs_together(self) -> "Task":
        if self.positive not in self.classes:
            raise ValueError(f"positive: {self.positive} is not one of the classes {', '.join(self.classes)}")
        for name, shown in self.names.items():
            if not _SHOWN.fullmatch(shown):
                raise ValueError(f"names: {shown!r} for {name}; use 1 to 40 characters, none of them [ ] $ or \\")
        if len({shown.casefold() for shown in self.names.values()}) < len(self.names):
            raise ValueError("names: two classes have the same name; people could not tell them apart")
        if others := [name for name in self.names if name not in self.classes]:
            raise ValueError(f"names: {others[0]} is not one of the classes {', '.join(self.classes)}")
        return self

    @cached_property
    def order(self) -> tuple[str, ...]:
        """The classes in their order."""
        return tuple(self.classes)

    @cached_property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """All pairs of classes, in their order."""
        return tuple(combinations(self.order, 2))

    @cached_property
    def colours(self) -> dict[str, str]:
        """Colour of each class, ``#RRGGBB``."""
        return dict(zip(self.order, _PALETTE, strict=False))

    @cached_property
    def positive_column(self) -> int:
        """Column of the positive class in score arrays."""
        return self.order.index(self.positive)

    @property
    def positive_name(self) -> str:
        """Display name of the positive class."""
        return self.names[self.positive]

    def numbers(self, labels: Iterable[str]) -> NDArray[np.int64]:
        """Class indices of labels, int64 (n,). Raises KeyError for a label that is not a class."""
        position = {name: number for number, name in enumerate(self.order)}
        return np.array([position[label] for label in labels], dtype=np.int64)

    def label_of(self, findings: Collection[str], uncertain: Collection[str] = ()) -> tuple[str | None, str | None]:
        """The class of an image with these findings, or None with the reason why it has no class.

        uncertain  findings that the image may have

        Of all paths of the classes that a finding lies under, the longest decides, counted in its parts: COVID-19 is
        not counted as pneumonia if both are classes. An image has no label if its findings lie under no class, or if
        the longest paths belong to more than one class; nor, because unknown is not negative, if it would have another
        label or none with one of the uncertain findings.

        Returns (class, None) or (None, reason).
        """
        if not findings:
            return None, NO_FINDING_GIVEN
        reached = [path for paths in self.classes.values() for path in paths if any(under(f, path) for f in findings)]
        longest = max((path.count("/") for path in reached), default=0)
        deciding = {path for path in reached if path.count("/") == longest}
        labels = [name for name, paths in self.classes.items() if deciding & set(paths)]
        if len(labels) > 1:
            return None, f"findings of more than one class ({', '.join(labels)})"
        if not labels:
            return None, f"finding is not one of {', '.join(self.order)}"
        doubts = [finding for finding in uncertain if self.label_of((*findings, finding))[0] != labels[0]]
        return (None, f"may have a finding of another class ({', '.join(doubts)})") if doubts else (labels[0], None)

    def finding_named(self, word: str) -> str | None:
        """The first finding of the class with the name or display name ``word``, or None."""
        term = word.strip().casefold()
        named = (name for name in self.order if term in (name, self.names[name].casefold()))
        return next((self.classes[name][0] for name in named), None)

    def same_question(self, other: "Task") -> bool:
        """Whether both tasks have the same classes, findings and positive class; order and display names may differ."""

        def question(task: Task) -> tuple[dict[str, frozenset[str]], str]:
            return {name: frozenset(paths) for name, paths in task.classes.items()}, task.positive

        return question(self) == question(other)
