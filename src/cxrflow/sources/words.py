"""Words of labels, sexes and views in large languages (words.yaml), for tables that are users' own.

Only whole cells are matched: "keine Pneumonie" contains a word for pneumonia and means the opposite.
"""

import re
import unicodedata
from collections.abc import Iterable
from functools import cache, lru_cache
from pathlib import Path
from typing import Literal, cast

from cxrflow.findings import find_finding
from cxrflow.reading.views import View, view_in
from cxrflow.yaml_files import read_yaml

#: Accents of Latin, Greek and Cyrillic letters, and vowel marks of Arabic. Marks of other scripts are part of a letter.
_ACCENTS = (range(0x300, 0x370), range(0x64B, 0x660))
#: Letters that Unicode does not decompose, and the stretching of Arabic words.
_PLAIN = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "ı": "i", "æ": "ae", "œ": "oe", "\u0640": None})
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue"})
#: Frontal views from the back and from the front, as DICOM and the collections write them.
_DIRECTIONS: tuple[tuple[Literal["PA", "AP"], str], ...] = (
    ("PA", r"\bP\.?A\b|\bPOSTERO ?ANTERIOR\b"),
    ("AP", r"\bA\.?P\b|\bANTERO ?POSTERIOR\b"),
)
#: Single letters for men and women. What M is depends on the other one: hombre and mujer, or male and female.
LETTERS = ("H", "M", "F")


@lru_cache(maxsize=10_000)
def plain(text: str) -> str:
    """A word as it is compared: without case, accents and punctuation, words separated by one space."""
    composed = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(c for c in composed if not any(ord(c) in accents for accents in _ACCENTS))
    letters = unicodedata.normalize("NFC", bare).translate(_PLAIN)
    kept = (c if c.isalnum() or unicodedata.category(c)[0] == "M" else " " for c in letters)
    return " ".join("".join(str(unicodedata.decimal(c)) if c.isdecimal() else c for c in kept).split())


def finding_of(word: str) -> str | None:
    """The finding that a label names: a path or word of the vocabulary, or a word of another language; None if it is
    not known."""
    return find_finding(word) or _words("findings").get(plain(word))


@lru_cache(maxsize=10_000)
def sex_of(word: str, letters: frozenset[str] = frozenset("M")) -> Literal["M", "F"] | None:
    """``M``, ``F``, or None if the word is not known.

    letters  those of LETTERS that the column has: with H (hombre, homme) H is a man, and M nobody knows
    """
    term = plain(word)
    if term.upper() == "H":
        return "M" if "H" in letters else None
    if term.upper() == "M" and "H" in letters:
        return None
    found = _words("sexes").get(term)
    return "M" if found == "M" else "F" if found == "F" else None


@lru_cache(maxsize=10_000)
def view_of(word: str) -> View | Literal["PA", "AP"] | None:
    """The view that a cell names, by the words of DICOM headers or of another language: PA or AP where it says from
    which side a frontal view is; None if it is not known."""
    if (found := _words("views").get(plain(word))) is not None:
        return cast(Literal["PA", "AP", "frontal", "lateral"], found)
    view, written = view_in(word.upper()), re.sub(r"[^\w.]+|_", " ", word.upper())
    directions = [direction for direction, pattern in _DIRECTIONS if re.search(pattern, written)]
    return directions[0] if view == "frontal" and len(directions) == 1 else view


def not_frontal(word: str) -> str | None:
    """Reason for leaving out an image whose published view is lateral or oblique; None if it is not, or not known."""
    return f"view is {word}, not frontal" if view_of(word) in ("lateral", "oblique") else None


@cache
def _words(kind: str) -> dict[str, str]:
    """Word as compared -> meaning."""
    known: dict[str, str] = {}
    for meaning, languages in _table()[kind].items():
        for language, words in languages.items():
            for word in words:
                known[plain(word)] = meaning
                if language == "de":
                    known[plain(word.casefold().translate(_UMLAUTS))] = meaning
    return known


@cache
def _table() -> dict[str, dict[str, dict[str, list[str]]]]:
    return read_yaml(Path(__file__).with_name("words.yaml"))


def entries() -> Iterable[tuple[str, str, str, str]]:
    """All entries of words.yaml: kind, meaning, language, word."""
    for kind, meanings in _table().items():
        for meaning, by_language in meanings.items():
            for language, words in by_language.items():
                yield from ((kind, meaning, language, word) for word in words)
