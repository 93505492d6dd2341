"""Fingerprint of an image file: content hash, near hash, thumbnail, and result of the frontal check.

near.py finds near repeats on the thumbnails; a bundle lists the near hashes of what it has seen (near_hash.py). Every
file is read here, before any other work, so that unreadable files are found early.
"""

import hashlib
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import astuple, dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

import cxrflow
from cxrflow.engines import Engine, Lost
from cxrflow.errors import CxrflowError, LeftOut
from cxrflow.files import Root, code_digest
from cxrflow.metadata.near_hash import near_hash, thumbnail
from cxrflow.reading import format_of, read, read_content, to_uint8
from cxrflow.reading.letters import as_shares, detector, try_text
from cxrflow.terminal import track

if TYPE_CHECKING:
    import pandas as pd

#: Table of the cache; the name changes with the columns, so that older caches are ignored.
_TABLE = "fingerprint_7"
_CHUNK = 256
#: An image is blank if, at _COARSE x _COARSE pixels, its grey levels differ by less than _LEAST_SPREAD, or by less than
#: _LEAST_STRUCTURE standard deviations of the image (an exposure without a patient is noise, which shrinking averages
#: out). Of 1,373 published images none is below 66 levels, or below 2.4 standard deviations.
_COARSE, _LEAST_SPREAD, _LEAST_STRUCTURE = 64, 8, 0.5
BLANK = "image is blank"


@dataclass(frozen=True, slots=True)
class Fingerprint:
    """Fingerprint of an image file; if it cannot be read or is blank, all fields except ``left_out`` are None.

    content_hash  SHA-256 of the bytes, hexadecimal
    near_hash     of the thumbnail (near_hash.py), hexadecimal
    thumbnail     uint8, THUMBNAIL x THUMBNAIL, as bytes
    frontal       score in [0, 1] for a frontal chest radiograph
    turned        whether the file stores it inverted, with bright air
    note          what its header declares and reading did not apply, or None
    text          places with text burned in (``letters.as_shares``), empty if there are none; None if not looked for
    width, height  of the picture as shown upright (pixels)
    bits          of a pixel as read, 8 or 16
    format        of the file (``reading.format_of``)
    left_out      reason why the file cannot be used, or None
    """

    content_hash: str | None
    near_hash: str | None
    thumbnail: bytes | None
    frontal: float | None
    turned: bool | None
    note: str | None
    text: str | None
    width: int | None
    height: int | None
    bits: int | None
    format: str | None
    left_out: str | None

    @property
    def text_places(self) -> int | None:
        """Number of places with text; None if it was not looked for."""
        return None if self.text is None else len(self.text.split(";")) if self.text else 0

    @property
    def text_boxes(self) -> str | None:
        """``text``, None if there are none."""
        return self.text or None


#: Columns of the cache that a fingerprint is made of.
_NAMES = tuple(field.name for field in fields(Fingerprint) if field.name != "left_out")
_COLUMNS = ", ".join(_NAMES)


def unusable(reason: str) -> Fingerprint:
    """Fingerprint of a file that cannot be used."""
    return Fingerprint(**dict.fromkeys(_NAMES), left_out=reason)


def fingerprint(item: tuple[Root, str], burned_in_text: bool = False) -> Fingerprint:
    """Fingerprint of the file ``item = (root, path)``, path as in records.

    burned_in_text  whether to look for text burned into the image
    """
    root, relative = item
    try:
        content = read_content(root.file(relative))
        reading = read(content)
        if blank(reading.grey):
            raise LeftOut(BLANK)
        places = try_text(reading.grey) if burned_in_text else None
        text = None if places is None else as_shares(places, reading.grey.shape)
    except LeftOut as reason:
        return unusable(str(reason))
    small = thumbnail(to_uint8(reading.grey)).tobytes()
    hashed = hashlib.sha256(content).hexdigest()
    height, width = reading.shape
    return Fingerprint(
        content_hash=hashed,
        near_hash=near_hash(small),
        thumbnail=small,
        frontal=reading.frontal,
        turned=reading.turned,
        note=reading.note,
        text=text,
        width=width,
        height=height,
        bits=8 * reading.grey.itemsize,
        format=format_of(content),
        left_out=None,
    )


def blank(grey: np.ndarray) -> bool:
    """Whether a grey image (height, width) shows nothing: one grey level, noise, or a few letters on an empty page.

    Blank images of several patients are the same picture, and would join these patients into one group.
    """
    small = cv2.resize(grey, (_COARSE, _COARSE), interpolation=cv2.INTER_AREA)
    low, high = np.percentile(small, (1, 99))
    _, deviation = cv2.meanStdDev(grey)
    return bool(high - low < max(_LEAST_SPREAD, _LEAST_STRUCTURE * deviation.item()))


def fingerprints(
    root: Root, paths: Sequence[str], engine: Engine, cache: Path, burned_in_text: bool = False
) -> dict[str, Fingerprint]:
    """Fingerprint of every path below ``root``, taken from ``cache`` if neither the file nor the code has changed, and
    with ``burned_in_text`` if the same detector has looked for text there.

    The cache is written as the work proceeds, so an interrupted run resumes where it stopped.
    Raises CxrflowError if the cache is damaged.
    """
    cache.parent.mkdir(parents=True, exist_ok=True)
    unique = list(dict.fromkeys(paths))
    with _open(cache) as store:
        store.execute(
            f"create table if not exists {_TABLE} (path text primary key, state text, content_hash text,"
            " near_hash text, thumbnail blob, frontal real, turned integer, note text, text text, width integer,"
            " height integer, bits integer, format text, detector text)"
        )
        known = {
            path: (state, looked_by, _cached(values))
            for path, state, looked_by, *values in store.execute(
                f"select path, state, detector, {_COLUMNS} from {_TABLE}"  # noqa: S608
            )
        }
        code = code_digest(
            Path(cxrflow.__file__).parent,
            ("reading", "metadata/fingerprint.py", "metadata/near.py", "metadata/near_hash.py"),
        )
        state = {path: _state(root, path, code) for path in unique}
        looks = detector() if burned_in_text else None
        found = {}
        for path in unique:
            of_state, looked_by, cached = known.get(path, ("", None, None))
            if cached is not None and of_state == state[path] and looks in (None, looked_by):
                found[path] = cached if looks else replace(cached, text=None)
        todo = [path for path in unique if path not in found]
        there = root.absolute()  # Spark executors have another working directory
        results = engine.map(partial(fingerprint, burned_in_text=burned_in_text), [(there, path) for path in todo])
        for done, (path, result) in enumerate(
            zip(todo, track(results, "reading images", total=len(todo), disable=not todo), strict=True), start=1
        ):
            if isinstance(result, Lost):
                result = unusable(result.reason)
            found[path] = result
            if result.left_out is None:  # unreadable files are not cached: they may be repaired later
                store.execute(
                    f"insert or replace into {_TABLE} (path, state, detector, {_COLUMNS})"  # noqa: S608
                    f" values ({', '.join('?' * (3 + len(astuple(result)[:-1])))})",
                    (path, state[path], looks, *astuple(result)[:-1]),
                )
            if done % _CHUNK == 0:
                store.commit()
    return found


def pictures(cache: Path) -> "pd.DataFrame":
    """What ``cache`` holds of the pictures themselves: columns path, content_hash, width, height, bits, format.

    A file may have changed since, or be gone: compare the content hash with that of its record.
    """
    import pandas as pd  # worker processes, which import this module, do without

    with _open(cache) as store:
        return pd.read_sql_query(
            f"select path, content_hash, width, height, bits, format from {_TABLE}",  # noqa: S608
            store,
        )


def _cached(values: list[Any]) -> Fingerprint:
    found = Fingerprint(**dict(zip(_NAMES, values, strict=True)), left_out=None)
    return replace(found, turned=bool(found.turned))


@contextmanager
def _open(cache: Path) -> Iterator[sqlite3.Connection]:
    try:
        with closing(sqlite3.connect(cache)) as store, store:
            yield store
    except sqlite3.OperationalError as error:  # nothing is wrong with the file
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise CxrflowError(f"{cache}: another run is using it; wait until it ends, or stop it.") from None
        raise CxrflowError(f"{cache}: cannot be written ({error}); free some space or name another folder.") from None
    except sqlite3.DatabaseError as error:
        raise CxrflowError(f"{cache}: the fingerprint cache is damaged ({error}); delete it.") from None


def _state(root: Root, path: str, code: str) -> str | None:
    """Text that changes with the file and the code; None if there is no file (the cache never holds None)."""
    try:
        stat = root.file(path).stat()
    except (LeftOut, OSError, ValueError):
        return None
    return f"{code}:{root.folder.resolve()}:{stat.st_size}:{stat.st_mtime_ns}"
