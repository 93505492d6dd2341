"""The two exceptions: one stops a run, the other excludes one image or row; and how they quote others' text."""

import difflib
from collections.abc import Iterable

from cxrflow.text import clean


class CxrflowError(Exception):
    """Stops a run. The message is one sentence: what is wrong, where, and what to do."""


class LeftOut(Exception):
    """One image or row cannot be used; the message is the reason, without control characters. Never stops a run."""

    def __init__(self, reason: str) -> None:
        super().__init__(clean(reason))


def one_line(text: str, most: int = 200) -> str:
    """Text of others as an error quotes it: runs of white space become one space, control characters are escaped, and
    what exceeds ``most`` characters is cut off."""
    text = " ".join(text[: 10 * most].split())
    return clean(text[:most]) + ("..." if len(text) > most else "")


def raised(error: BaseException) -> str:
    """What an exception of others' code says, on one line, after its type."""
    return one_line(f"{type(error).__name__}: {error}")


def nearest(word: str, choices: Iterable[str]) -> str:
    """``; did you mean <choice>?`` with the choice that is spelt most like ``word``; empty if none is like it."""
    by_case = {choice.casefold(): choice for choice in choices}
    near = difflib.get_close_matches(word[:200].casefold(), by_case, n=1)
    return f"; did you mean {by_case[near[0]]}?" if near else ""


def ended(sentence: str) -> str:
    """The sentence with a full stop, unless it ends with a question mark."""
    return sentence if sentence.endswith("?") else f"{sentence}."
