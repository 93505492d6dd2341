"""Unpacking archives (zip, tar, tar.gz) that came from elsewhere: nothing outside the folder, no links, no bombs.

Python's ``tarfile.data_filter`` has no counterpart for zip, admits links and bounds nothing; here both kinds are read
as a stream of files, under one set of rules.
"""

import gzip
import hashlib
import os
import re
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple, cast

from cxrflow.errors import CxrflowError, LeftOut, one_line
from cxrflow.fetching.receipts import FOLDER, reserved
from cxrflow.fetching.space import check_space, in_units
from cxrflow.files import below, write_whole
from cxrflow.folders import is_of_the_system
from cxrflow.terminal import track
from cxrflow.text import name_text

#: How many times its own size an archive may unpack to, and what any may (bytes). PNG and JPEG hardly grow, tables and
#: DICOM files do by less; Deflate's limit, which bombs reach, is 1,032.
_RATIO, _FREE = 50, 1 << 30
#: Most files in an archive.
_FILES = 2_000_000
_CHUNK = 1 << 20
_DAMAGED = (tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, zlib.error, EOFError, NotImplementedError)
_NOT_A_PATH = re.compile(r"^[/\\]|^[A-Za-z]:|\\|(?:^|/)\.\.?(?:/|$)|//")


class _Refused(Exception):
    """Why an archive is not unpacked further."""


class _Member(NamedTuple):
    """A file in an archive."""

    name: str
    content: Iterator[bytes]


def unpack(archive: Path, folder: Path, into: str = "", strip: str = "") -> dict[str, str]:
    """Unpack an archive into ``folder / into``, each file whole or not there, and return the SHA-256 (hexadecimal) of
    each, by its path in ``folder``. What operating systems leave in archives (``__MACOSX``) is passed over.

    strip  folder that is left out of names that begin with it
    Raises CxrflowError, naming the archive, if it is damaged, encrypted, holds a link, a device, a git repository or a
    name that leads elsewhere or cannot be printed, or unpacks to far more than its size allows; or if the disk is full.
    """
    most = archive.stat().st_size * _RATIO + _FREE
    sums: dict[str, str] = {}
    begin = f"{strip}/" if strip else ""
    left = most
    try:
        members, total = _members(archive)
        if total is not None:
            if total > most:
                raise _Refused(f"unpacks to {in_units(total)}, far more than its size allows")
            check_space(folder, total)
        for member in track(members, f"unpacking {archive.name}", total=None):
            name = member.name.removeprefix(begin)
            if any(is_of_the_system(part) for part in name.split("/")):
                continue
            _check_name(name)
            path = f"{into}/{name}" if into else name
            if len(sums) >= _FILES:
                raise _Refused(f"holds more than {_FILES:,} files")
            summed = hashlib.sha256()
            write_whole(below(folder, path), _bounded(member.content, left, summed))
            left -= (folder / path).stat().st_size
            sums[path] = summed.hexdigest()
    except _DAMAGED as error:
        raise CxrflowError(
            f"{name_text(archive)}: is damaged, or no archive that can be read ({one_line(str(error), 100)}); remove "
            "it, and run again."
        ) from None
    except (LeftOut, _Refused) as error:
        raise CxrflowError(f"{name_text(archive)}: {error}; it was not unpacked further.") from None
    return sums


def _members(archive: Path) -> tuple[Iterable[_Member], int | None]:
    """The files of an archive, and their size together if it says so at its beginning."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            total = sum(info.file_size for info in opened.infolist())
        return _of_zip(archive), total
    return _of_tar(archive), None


def _of_zip(archive: Path) -> Iterator[_Member]:
    with zipfile.ZipFile(archive) as opened:
        for info in opened.infolist():
            mode = info.external_attr >> 16
            if info.flag_bits & 0x1:
                raise _Refused("is encrypted")
            if info.is_dir():
                continue
            if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
                raise _Refused(f"holds a link or a device, {one_line(info.filename, 80)}")
            with opened.open(info) as file:
                yield _Member(info.filename, _chunks(file))


def _of_tar(archive: Path) -> Iterator[_Member]:
    with archive.open("rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    # tarfile's own reading of gzip does not look at its checksum, and ends before it.
    stream = cast(IO[bytes], gzip.open(archive) if packed else archive.open("rb"))  # noqa: SIM115
    with stream, tarfile.open(fileobj=stream, mode="r|") as opened:
        for info in opened:
            opened.members = []  # type: ignore[attr-defined]  # would grow with the archive
            if info.isdir():
                continue
            if not info.isreg() or info.issparse():
                raise _Refused(f"holds a link, a device or a sparse file, {one_line(info.name, 80)}")
            if (content := opened.extractfile(info)) is not None:  # as for every regular file
                yield _Member(info.name.removeprefix("./"), _chunks(content))
        for count, _ in enumerate(_chunks(stream)):
            if count * _CHUNK > _FREE:
                raise _Refused("goes on after its end")


def _chunks(file: IO[bytes]) -> Iterator[bytes]:
    try:
        while chunk := file.read(_CHUNK):
            yield chunk
    except gzip.BadGzipFile as error:  # an OSError, which would be taken for one of the file that is written
        raise zlib.error(str(error)) from None


def _bounded(content: Iterator[bytes], most: int, summed: "hashlib._Hash") -> Iterator[bytes]:
    size = 0
    for chunk in content:
        size += len(chunk)
        if size > most:
            raise _Refused("unpacks to far more than its size allows")
        summed.update(chunk)
        yield chunk


def _check_name(name: str) -> None:
    if not name.isprintable() or not name or _NOT_A_PATH.search(name) or len(os.fsencode(name)) > 1000:
        raise _Refused(f"holds a name that leads elsewhere or cannot be printed, {one_line(name, 80)}")
    if reserved(name):
        raise _Refused(f"holds a file of {FOLDER} or of a git repository, {one_line(name, 80)}")
