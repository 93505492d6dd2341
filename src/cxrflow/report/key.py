"""Running numbers in place of identifiers and paths: a page is mailed, and must not carry them. A key file, which stays
beside the page, says what each number stands for."""

import html
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from cxrflow.csv_files import to_csv
from cxrflow.files import write_whole
from cxrflow.params import IMAGENET, SCRATCH, Params

KEY = "key.csv"
#: Keys of parameters that hold a folder, a file or an address, and their values that are none.
_PLACES, _NO_PLACE = ("root", "start", "master"), re.compile(rf"{SCRATCH}|{IMAGENET}|local(\[[\d*, ]+\])?")
#: A path in a folder may hold blanks, commas, brackets: where it ends is unknown, so it goes on to the end of the text.
_REST = r"(?:[/ ][^<\"\n]*)?(?![\w-])"
#: How templates, ``html`` and matplotlib write what HTML reserves.
_ESCAPED = {
    "&": "&(?:amp;)?",
    "<": "&lt;",
    ">": "(?:>|&gt;)",
    "'": "(?:'|&#39;|&#x27;|&apos;)",
    '"': "(?:&#34;|&quot;)",
}


class Key:
    """The numbers given so far, by kind (``image``, ``group``, ``file``, ``path``), in the order of their first use."""

    def __init__(self) -> None:
        """Begin without any."""
        self._numbers: dict[tuple[str, str], str] = {}

    def of(self, kind: str, name: str) -> str:
        """What the page says instead of a name, such as ``image 3``; the same for the same name."""
        count = sum(kind == other for other, _ in self._numbers)
        return self._numbers.setdefault((kind, name), f"{kind} {count + 1}")

    def without(self, text: str, kind: str, names: Iterable[str]) -> str:
        """The text with a number in place of each of the names."""
        longest_first = sorted(filter(None, names), key=len, reverse=True)
        if not longest_first:
            return text
        return re.sub("|".join(map(re.escape, longest_first)), lambda found: self.of(kind, found[0]), text)

    def without_paths(self, page: str, folders: Iterable[Path]) -> str:
        """The HTML page with a number in place of each path that lies in one of the folders of this machine, together
        with what follows it up to the end of the line or of the element's text."""
        named = {path for folder in folders for path in (folder.absolute(), folder.resolve()) if path != Path("/")}
        longest_first = sorted(map(str, named), key=len, reverse=True)
        if not longest_first:
            return page
        anywhere = "|".join("".join(_ESCAPED.get(c, re.escape(c)) for c in folder) for folder in longest_first)
        return re.sub(
            rf"(?<![\w./:-])(?:{anywhere}){_REST}", lambda found: self.of("path", html.unescape(found[0])), page
        )

    def parameters(self, params: Params) -> str:
        """All parameters as YAML, with a number in place of each folder, file and address of this machine."""
        return yaml.safe_dump(self._placed(params.model_dump(mode="json")), sort_keys=False)

    def _placed(self, value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: self._placed(each, name) for name, each in value.items()}
        if isinstance(value, list):
            return [self._placed(each) for each in value]
        if key in _PLACES and not _NO_PLACE.fullmatch(str(value)):
            return self.of("path", str(value))
        return value

    def write(self, path: Path) -> None:
        """Write the numbers with what they stand for as CSV: columns on the page, stands for."""
        rows = [(number, name) for (_, name), number in self._numbers.items()]
        write_whole(path, to_csv(pd.DataFrame(rows, columns=["on the page", "stands for"])))
