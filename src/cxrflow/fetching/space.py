"""Free space, and numbers of bytes in words."""

import shutil
from pathlib import Path

from cxrflow.errors import CxrflowError
from cxrflow.text import name_text

#: Free space that is left on the disk, for whatever else writes there (bytes).
_SPARE = 100_000_000


def check_space(folder: Path, needed: int) -> None:
    """Raise CxrflowError if the disk of ``folder``, which need not exist yet, has no room for ``needed`` more bytes."""
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if place.exists())
    free = shutil.disk_usage(there).free
    if needed > 0 and free < needed + _SPARE:
        raise CxrflowError(
            f"{name_text(folder)}: needs {in_units(needed)} more, and {in_units(free)} are free; free some space, or "
            "name a folder on another disk with --to."
        )


def in_units(size: int) -> str:
    """A number of bytes in decimal units: ``1.2 GB``."""
    for unit, length in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= length:
            return f"{size / length:.1f} {unit}"
    return f"{size:,} bytes"
