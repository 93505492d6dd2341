"""What was read of a user's own table, and what could not be, with counts."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from cxrflow.errors import one_line
from cxrflow.sources.cells import known
from cxrflow.sources.header import COLUMNS_FILE, Layout
from cxrflow.text import clean, number_of

#: Maximum number of different words of a column that are counted by themselves.
_WORDS = 1000
#: Number of words that a sentence names.
_SHOWN = 10
_WHAT = {
    "label": "labels are not known",
    "view": "views are not known, and kept",
    "age": "ages cannot be read",
    "sex": "sexes are not known",
    "day": "days cannot be read",
}


@dataclass
class Account:
    """The account of one table.

    layout    its columns
    rows      number of rows read
    empty     role -> number of cells without content, or with a word for "not known"
    unread    role -> words that could not be read, each with its number of rows; beyond _WORDS words under ``""``
    letters   single letters in the column of sexes, of words.LETTERS
    by_name   number of files that were found by their name alone, and the first of them: as listed, as found
    """

    layout: Layout
    rows: int = 0
    empty: Counter[str] = field(default_factory=Counter)
    unread: dict[str, Counter[str]] = field(default_factory=dict)
    letters: frozenset[str] = frozenset()
    by_name: int = 0
    example: tuple[str, str] | None = None

    def add(self, role: str, cell: str, read: object) -> bool:
        """Take in a cell and what it was read as, None if it could not be. Returns whether its word is counted by
        itself."""
        if read is not None:
            return True
        if known(cell) is None:
            self.empty[role] += 1
            return True
        words = self.unread.setdefault(role, Counter())
        word = one_line(cell, 60)
        alone = word in words or len(words) < _WORDS
        words[word if alone else ""] += 1
        return alone

    def found(self, listed: str, path: str) -> None:
        """Take in that the file of a row was found by its name."""
        self.by_name += 1
        self.example = self.example or (listed, path)

    def sentences(self) -> Iterator[str]:
        """What a user has to know of it, and what to do; without control characters."""
        yield from map(clean, self._sentences())

    def _sentences(self) -> Iterator[str]:
        if said := self.layout.sentence():
            yield f"{said}; {COLUMNS_FILE} can name others."
        for role, columns in self.layout.unsure.items():
            yield f"{role} is not read: it may be {' or '.join(columns)}; name it in {COLUMNS_FILE}."
        if self.example:
            listed, path = (one_line(name, 100) for name in self.example)
            yield f"{number_of(self.by_name, 'file')} found by name alone, such as {listed} ({path})."
        if given := [f"{role} in {self.empty[role]:,} of {self.rows:,} rows" for role in _WHAT if self.empty[role]]:
            yield f"not given: {', '.join(given)}."
        for role, what in _WHAT.items():
            if words := self.unread.get(role):
                hint = f"; translate them in {COLUMNS_FILE}" if role in ("label", "sex", "view") else ""
                yield f"{words.total():,} {what}: {self.words(role)}{hint}."
        if {"H", "M"} <= self.letters and "M" in self.unread.get("sex", ()):
            yield "sex: beside H (hombre, homme), M may be a woman (mujer) or a man; say which by the words of sex."

    def files_named(self) -> list[str]:
        """The names of files in the sentences."""
        return [clean(name) for name in (self.layout.table.name, *(one_line(each, 100) for each in self.example or ()))]

    def words(self, role: str) -> str:
        """The commonest words of a column that could not be read, each with its number of rows."""
        words = self.unread.get(role, Counter())
        shown = [(word, count) for word, count in words.most_common(_SHOWN + 1) if word][:_SHOWN]
        said = ", ".join(f"'{word}' ({count:,})" for word, count in shown)
        more = words.total() - sum(count for _, count in shown)
        return f"{said} and others ({more:,})" if more else said
