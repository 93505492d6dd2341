"""What a contract test raises."""

from collections.abc import Iterator
from contextlib import contextmanager

from cxrflow.errors import one_line


class Broken(AssertionError):
    """A part breaks a contract; the message says which, and what to do."""


def keeps(kept: object, contract: str, found: object = None) -> None:
    """Raise Broken unless ``kept``.

    contract  what holds of every part of the kind, and what to do, as a sentence
    found     what was found in its place
    """
    if not kept:
        raise Broken(contract if found is None else f"{contract} Found: {one_line(str(found), 500)}")


@contextmanager
def works(contract: str) -> Iterator[None]:
    """Context manager for a call of a part that must not fail: what it raises becomes Broken."""
    try:
        yield
    except Broken:
        raise
    except Exception as error:
        raise Broken(f"{contract} It raised {type(error).__name__}: {one_line(str(error), 500)}") from error
