"""What was fetched, noted in the folder ``.fetched`` of a collection: a list of checksums for each download.

A list is written when all that it names is there, so that it also says that a download is done. It has the format of
``sha256sum``, with paths from the collection's folder: ``sha256sum --check .fetched/*.sha256`` checks them, too.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from cxrflow.errors import CxrflowError, LeftOut
from cxrflow.files import below, write_whole
from cxrflow.text import name_text

FOLDER = ".fetched"
#: The list that PhysioNet publishes with a collection.
PUBLISHED = "SHA256SUMS.txt"
_LINE = re.compile(r"(?P<sum>[0-9a-f]{64}) [ *](?P<path>\S.*)")


def receipt(folder: Path, name: str) -> Path:
    """Where the list of a download lies."""
    return folder / FOLDER / f"{name}.sha256"


def write_receipt(folder: Path, name: str, sums: Mapping[str, str]) -> None:
    """Note that a download is done.

    sums  path in ``folder`` -> SHA-256 (hexadecimal)
    """
    lines = (f"{digest}  {path}\n".encode("utf-8", "surrogateescape") for path, digest in sums.items())
    write_whole(receipt(folder, name), lines)


def reserved(path: str) -> bool:
    """Whether what is fetched may not have this path (in its collection's folder): the notes of what was fetched lie
    there, or it is of a git repository, whose configuration names programs that git runs."""
    first, *others = (part.lower() for part in path.split("/"))
    return first == FOLDER or ".git" in (first, *others)


def is_done(folder: Path, name: str) -> bool:
    """Whether a download is done, and all its files are still there. Raises CxrflowError as ``read_sums``."""
    path = receipt(folder, name)
    return path.exists() and all((folder / file).is_file() for file, _ in read_sums(path, folder, follow_links=True))


def receipts(folder: Path) -> list[Path]:
    """The lists of a folder, sorted."""
    return sorted((folder / FOLDER).glob("*.sha256"))


def read_sums(path: Path, folder: Path, follow_links: bool = False) -> Iterator[tuple[str, str]]:
    """(path in ``folder``, SHA-256) of each line of a list.

    follow_links  whether links may lead out of ``folder``, as when files are only read
    Raises CxrflowError if it is no such list, or names a path that leads out of ``folder``.
    """
    with path.open(encoding="utf-8", errors="surrogateescape") as lines:
        for number, line in enumerate(lines, start=1):
            found = _LINE.fullmatch(line.rstrip("\r\n"))
            if found is None:
                raise CxrflowError(
                    f"{name_text(path)}, line {number}: is not `<SHA-256>  <path>`; fetch the list again, or remove it."
                )
            try:
                below(folder, found["path"], follow_links)
            except LeftOut as reason:
                raise CxrflowError(f"{name_text(path)}, line {number}: {reason}.") from None
            yield found["path"], found["sum"]
