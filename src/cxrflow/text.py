r"""Text that is safe to print, to store and to open: file names in any bytes, and cells that spreadsheets would run.

- A file name is written as **name text**: characters that cannot be shown or that act on what shows them (controls,
  line breaks, bidirectional overrides) as ``\u202e``, bytes that are not valid text as ``\xfc``, a backslash as
  ``\\``. The original name can be restored, and every name without these characters is its own name text.
- A cell that a spreadsheet would run as a formula gets an apostrophe in front (OWASP, CSV Injection), also reversible.
"""

import re
import unicodedata
from pathlib import Path

#: Printed, though ``str.isprintable`` rejects them: the joiners of emoji and of Persian and Indic words.
_JOINERS = "\u200c\u200d"
_ESCAPED = re.compile(r"\\(?:\\|x([89a-f][0-9a-f])|u([0-9a-f]{4})|U([0-9a-f]{8}))")
#: A cell that spreadsheets run, or that would be mistaken for one that ``inert`` has changed. Excel skips blanks at the
#: front, and in some locales accepts the full-width signs.
_FORMULA = re.compile(r"(')*(?:\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n])")
#: Characters, beside spaces, that such a cell begins with.
FIRST_OF_FORMULA = frozenset("'=+-@\uff1d\uff0b\uff0d\uff20")


def name_text(path: str | Path) -> str:
    """A file name or path as name text, "/" between its parts."""
    name = path.as_posix() if isinstance(path, Path) else path
    return clean(name.replace("\\", r"\\"))


def name_of(text: str) -> str:
    """The file name or path of a name text, for the operating system. Inverse of ``name_text``."""
    return _ESCAPED.sub(_character, text) if "\\" in text else text


def clean(text: str) -> str:
    """``text`` with the characters escaped that ``name_text`` escapes, backslashes unchanged: for text that is not a
    name."""
    return text if text.isprintable() else "".join(_shown(character) for character in text)


def number_of(count: int, thing: str) -> str:
    """A count and what is counted: ``1 image``, ``2,000 images``."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def inert(cell: str) -> str:
    """``cell``, with an apostrophe in front if a spreadsheet would run it as a formula. Inverse: ``restored``."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def restored(cell: str) -> str:
    """The text that ``inert`` made into ``cell``."""
    found = _FORMULA.match(cell)
    return cell[1:] if found and found[1] else cell


def _shown(character: str) -> str:
    if character.isprintable() or character in _JOINERS or unicodedata.category(character) == "Zs":
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that Python could not decode (PEP 383)
        return f"\\x{code - 0xDC00:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _character(found: re.Match[str]) -> str:
    byte, short, long = found.groups()
    if byte:
        return chr(0xDC00 + int(byte, 16))
    code = int(short or long or "5c", 16)
    return chr(code) if code < 0x110000 else found[0]
