"""The kinds of parts."""

from typing import Literal, get_args

Kind = Literal["sources", "models", "image_steps", "audit_tests", "outputs"]
KINDS: tuple[Kind, ...] = get_args(Kind)
#: What a part of each kind is called, for messages.
WORDS: dict[Kind, str] = {
    "sources": "source",
    "models": "network",
    "image_steps": "image step",
    "audit_tests": "audit test",
    "outputs": "output",
}
