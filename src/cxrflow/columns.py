"""``columns.yaml``: which columns of a user's own table mean what, and what its words mean."""

import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

#: What a table can say of an image; the first three it has to.
REQUIRED = ("path", "label", "patient")
OPTIONAL = ("finding", "view", "age", "sex", "day", "url")
ROLES = (*REQUIRED, *OPTIONAL)
#: A column in a pattern of paths.
PLACE = re.compile(r"\{([^{}]+)\}")

Name = Annotated[str, Field(min_length=1, max_length=500)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Translated(_Part):
    column: Name


class Label(_Translated):
    """The column of labels; words -> a class of the task, or a finding. A word without one stays unknown."""

    words: dict[Name, Name | None] = {}


class Sex(_Translated):
    """The column of sexes; words -> M or F."""

    words: dict[Name, Literal["M", "F"] | None] = {}


class View(_Translated):
    """The column of views; words -> a view. Lateral and oblique ones are left out."""

    words: dict[Name, Literal["PA", "AP", "frontal", "lateral", "oblique"] | None] = {}


class Age(_Translated):
    """The column of ages; unit of plain numbers."""

    unit: Literal["years", "months", "weeks", "days"] = "years"


def _in_full(value: Any) -> Any:
    """A column given by its name alone."""
    return {"column": value} if isinstance(value, str) else value


_Full = BeforeValidator(_in_full)


class Columns(_Part):
    """The columns of a table, each by its name. A key that is not given is looked for by common names of its column;
    ``null``: the table has no such column.

    table  name of the table, if the folder has several
    path   column, or a pattern such as ``{PatID}/ST000/{Filename}``
    """

    table: Name | None = None
    path: Name | None = None
    label: Annotated[Label, _Full] | None = None
    patient: Name | None = None
    finding: Name | None = None
    view: Annotated[View, _Full] | None = None
    age: Annotated[Age, _Full] | None = None
    sex: Annotated[Sex, _Full] | None = None
    day: Name | None = None
    url: Name | None = None

    @model_validator(mode="after")
    def _names_columns(self) -> "Columns":
        for role in ("path", "label"):
            if role in self.model_fields_set and getattr(self, role) is None:
                raise ValueError(f"{role}: name a column of the table")
        if self.path and "{" in self.path and not PLACE.search(self.path):
            raise ValueError(f"path: {self.path} has no column in braces, such as {{Filename}}")
        return self

    def column(self, role: str) -> str | None:
        """The column, or pattern of columns, that is named for a role; None if none is."""
        value = getattr(self, role)
        return value.column if isinstance(value, _Translated) else value
