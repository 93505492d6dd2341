"""Folders, names and links, through ``cxrflow predict``."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from bad_inputs import GREY, Run
from bad_inputs.encoded import dicom, picture
from bad_inputs.state import BUNDLE

_PNG = picture("PNG", GREY)
_COMMAND = ("predict", "pictures", "--bundle", BUNDLE, "--out", "out.csv")


def inputs() -> Iterator[Run]:
    """Folders that are searched, and outputs that cannot be written."""
    for name, make, rows in (
        ("names in Latin-1 bytes", lambda folder: _write(os.fsencode(folder) + b"/r\xf6ntgen.png"), (2, 0)),
        ("a line break in a name", lambda folder: (folder / "a\nb.png").write_bytes(_PNG), (2, 0)),
        ("a lone carriage return in a name", lambda folder: (folder / "a\rb.png").write_bytes(_PNG), (2, 0)),
        ("a name that spreadsheets run", lambda folder: (folder / "=1+1.png").write_bytes(_PNG), (2, 0)),
        ("quotes and commas in a name", lambda folder: (folder / 'a","b.png').write_bytes(_PNG), (2, 0)),
        (
            "a name that turns the direction of writing",
            lambda folder: (folder / "a\u202egnp.png").write_bytes(_PNG),
            (2, 0),
        ),
        ("a name of 255 bytes", lambda folder: (folder / ("x" * 251 + ".png")).write_bytes(_PNG), (2, 0)),
        ("200 folders deep", _deep, (2, 0)),
        ("a link to a folder", lambda folder: _linked(folder, _PNG), (2, 0)),
        ("links in a loop", lambda folder: (folder / "again").symlink_to(folder), (1, 0)),
        ("a link to itself", lambda folder: (folder / "b.png").symlink_to(folder / "b.png"), (2, 1)),
        ("a link to nothing", lambda folder: (folder / "b.png").symlink_to("../.git/annex/x"), (2, 1)),
        ("a file twice, by link", lambda folder: (folder / "b.png").symlink_to("a.png"), (2, 1)),
        ("DICOM without extension", lambda folder: (folder / "IM-0001").write_bytes(dicom(GREY)), (2, 0)),
        ("DICOM with another extension", lambda folder: (folder / "a.tmp").write_bytes(dicom(GREY)), (2, 0)),
        ("a picture without extension", lambda folder: (folder / "scan").write_bytes(_PNG), (2, 0)),
        ("extensions .jfif, .JPE, .dic", _endings, (4, 0)),
        ("an archive", lambda folder: (folder / "a.zip").write_bytes(b"PK\5\6" + bytes(18)), (2, 1)),
        ("litter of operating systems", _litter, (1, 0)),
        ("texts and PDFs beside it", lambda folder: (folder / "report.pdf").write_bytes(b"%PDF-"), (1, 0)),
        ("a pipe", lambda folder: os.mkfifo(folder / "pipe.png"), (1, 0)),
        ("a folder that is named like a picture", lambda folder: (folder / "b.png").mkdir(), (1, 0)),
        ("an empty file", lambda folder: (folder / "b.png").touch(), (2, 1)),
    ):
        yield Run(
            "folders, names, links",
            name,
            _with(make),
            _COMMAND,
            "left out" if rows[1] else "read",
            table="out.csv",
            rows=rows,
        )
    for name, make, command in (
        ("no such folder", _with(_nothing), (*_COMMAND[:1], "elsewhere", *_COMMAND[2:])),
        ("no image in the folder", lambda folder: (folder / "pictures").mkdir(), _COMMAND),
        ("--out is a folder", _with(_nothing), (*_COMMAND[:-1], "pictures")),
        ("--out in a folder that is a file", _with(_nothing), (*_COMMAND[:-1], "pictures/a.png/out.csv")),
        ("--out is one of the pictures", _with(_nothing), (*_COMMAND[:-1], "pictures/a.png")),
        ("--out on a full disk", _with(_nothing), (*_COMMAND[:-1], "/dev/full")),
        ("--out of 300 letters", _with(_nothing), (*_COMMAND[:-1], "x" * 300)),
    ):
        yield Run("folders, names, links", name, make, command, "stops")


def _nothing(folder: Path) -> None:
    """No more than the one picture."""


def _with(make: Callable[[Path], object]) -> Callable[[Path], None]:
    """A folder ``pictures`` of one picture and what ``make`` adds."""

    def write(folder: Path) -> None:
        (folder / "pictures").mkdir()
        (folder / "pictures" / "a.png").write_bytes(_PNG)
        make(folder / "pictures")

    return write


def _write(name: bytes) -> None:
    with open(name, "wb") as file:
        file.write(_PNG)


def _linked(folder: Path, content: bytes) -> None:
    (folder.parent / "disk").mkdir()
    (folder.parent / "disk" / "b.png").write_bytes(content)
    (folder / "patients").symlink_to(folder.parent / "disk")


def _deep(folder: Path) -> None:
    below = folder.joinpath(*["d"] * 200)
    below.mkdir(parents=True)
    (below / "b.png").write_bytes(_PNG)


def _endings(folder: Path) -> None:
    for name, content in (("b.jfif", picture("JPEG", GREY)), ("c.JPE", picture("JPEG", GREY)), ("d.dic", dicom(GREY))):
        (folder / name).write_bytes(content)


def _litter(folder: Path) -> None:
    for name in ("._a.png", ".DS_Store", "Thumbs.db", "desktop.ini"):
        (folder / name).write_bytes(b"x")
    with contextlib.suppress(FileExistsError):
        (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "._a.png").write_bytes(b"x")
