"""``columns.yaml``: which columns of a user's own table mean what, and what its words mean."""

import codecs
import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

#: What a table can say of an image; the first three it has to.
REQUIRED = ("path", "label", "patient")
OPTIONAL = ("finding", "view", "age", "sex", "day", "url")
ROLES = (*REQUIRED, *OPTIONAL)
#: A column in a pattern of paths.
PLACE = re.compile(r"\{([^{}]+)\}")

Name = Annotated[str, Field(min_length=1, max_length=500)]


def _of_text(name: str) -> str:
    try:
        "".encode(name)  # codecs of Python that are no encodings, such as hex, refuse text
        return codecs.lookup(name).name
    except (LookupError, UnicodeError, ValueError):
        raise ValueError(f"{name} is no encoding; such as gb18030, shift_jis, euc_kr, cp1251, cp1250") from None


Encoding = Annotated[Name, AfterValidator(_of_text)]


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

    table     name of the table, if the folder has several
    encoding  of a text table that is neither UTF-8, UTF-16 nor Windows-1252
    path      column, or a pattern such as ``{PatID}/ST000/{Filename}``
    """

    table: Name | None = None
    encoding: Encoding | None = None
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

    @model_serializer(mode="wrap")
    def _given(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """The keys that are given: ``null`` would say that there is no such column."""
        return {key: value for key, value in serialise(self).items() if key in self.model_fields_set}

    def column(self, role: str) -> str | None:
        """The column, or pattern of columns, that is named for a role; None if none is."""
        value = getattr(self, role)
        return value.column if isinstance(value, _Translated) else value
