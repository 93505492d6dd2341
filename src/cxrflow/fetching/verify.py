"""``cxrflow verify``: is a collection complete and undamaged, as far as its tables and checksums tell?"""

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from cxrflow.errors import CxrflowError
from cxrflow.fetching.fetch import place_of
from cxrflow.fetching.http import digests
from cxrflow.fetching.programs import damaged_in_clone, head
from cxrflow.fetching.published import ByHand, Git, Http, Published
from cxrflow.fetching.receipts import PUBLISHED, read_sums, receipts
from cxrflow.sources import SOURCES, read_collections, rsna
from cxrflow.sources.collection import Collection, Options
from cxrflow.sources.files import Files
from cxrflow.terminal import console, remark, say, track
from cxrflow.text import name_of, name_text, number_of

#: Names that are printed of the files that are missing or damaged.
_SHOWN = 5
#: Files read at the same time: a disk is faster with several, and hashing leaves Python's lock.
_AT_ONCE = 4


@dataclass
class Check:
    """One line of the table.

    what      was checked
    expected  number of files
    missing   names of those that are not there; ``unnamed`` is the number of those whose names are not known
    damaged   names of those that are not what they were
    """

    what: str
    expected: int
    missing: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)
    unnamed: int = 0


def verify(name: str, folder: Path) -> bool:
    """Print what is there of a collection, what is missing and what is damaged, and what that was checked by. Returns
    whether nothing is missing or damaged but what is known to be bad where it is published.

    folder  of the collection, under whatever name, or a folder that holds it under its published name
    Raises CxrflowError if the collection is unknown or there is no such folder.
    """
    place, collection = place_of(name), SOURCES[name]
    folder = _folder_of(collection, folder)
    checks, problems = [], []
    try:
        checks += _by_tables(collection, place, folder)
    except CxrflowError as error:
        problems.append(str(error))
    by_sums = []
    if (folder / ".git").exists():
        try:
            by_sums.append(_by_git(folder))
            if isinstance(place.way, Git) and place.way.commit not in (None, at := head(folder)):
                say(f"It is at commit {at}; `cxrflow fetch` takes {place.way.commit}.")
        except CxrflowError as error:
            problems.append(str(error))
    if (folder / PUBLISHED).is_file():
        by_sums.append(_by_list(f"files of {PUBLISHED}, SHA-256", [folder / PUBLISHED], folder))
    if lists := receipts(folder):
        by_sums.append(_by_list("files as they were when fetched, SHA-256", lists, folder))
    if isinstance(place.way, Http) and (archives := _archives(place.way, folder)) is not None:
        by_sums.append(archives)
    checks += by_sums
    known = dict(place.known)
    excused = {file for check in checks for file in (*check.missing, *check.damaged) if _base(file) in known}
    for check in checks:
        check.missing = [file for file in check.missing if file not in excused]
        check.damaged = [file for file in check.damaged if file not in excused]
    if checks:
        _print(checks)
    for file in sorted(excused):
        say(f"{name_text(file)}: {known[_base(file)]}; known, see docs/collections.md.")
    for problem in problems:
        say(problem)
    lacks = bool(problems) or any(check.missing or check.unnamed for check in checks)
    damaged = any(check.damaged for check in checks)
    say(_verdict(name, place, lacks, damaged, bool(by_sums)))
    return not lacks and not damaged


def _folder_of(collection: Collection, folder: Path) -> Path:
    if not folder.is_dir():
        raise CxrflowError(f"{name_text(folder)}: no such folder; name the folder of the collection.")
    folder = Path(os.path.abspath(folder))
    names = (*collection.folders, collection.name)
    inner = next((folder / name for name in names if (folder / name).is_dir()), None)
    # Kaggle's archive of chest_xray has a folder of the same name in it.
    return folder if inner is None or folder.name in names else inner


def _by_tables(collection: Collection, place: Published, folder: Path) -> list[Check]:
    """The images that the tables list, or the folders hold, against the files and the published numbers."""
    # RSNA's headers tell ages and views alone, and there is one in each of its files.
    options = Options(with_files=collection.name != rsna.NAME, follow_links=True, rsna_without_patients="accept")
    files = Files(folder, follow_links=True)
    begin = f"{name_text(folder.name)}/"
    remark(f"{collection.name}: reading its tables.")  # some show a bar of their own
    records = read_collections(folder.parent, [(collection, name_text(folder.name))], options)
    paths = dict.fromkeys(
        name_of(record.path.removeprefix(begin)) for record in records if not record.path.endswith("/")
    )
    check = Check("images that its tables or folders list", len(paths))
    for path in paths:
        if not files.holds(path):
            check.missing.append(path)
        elif not (folder / path).stat().st_size:
            check.damaged.append(path)
    checks = [check]
    if place.images and len(paths) not in place.images:
        nearest = min(place.images, key=lambda count: abs(count - len(paths)))
        more = "" if len(paths) < nearest else f"; {len(paths):,} are listed, another version perhaps"
        checks.append(Check(f"images listed, as published{more}", nearest, unnamed=max(nearest - len(paths), 0)))
    elif place.images:
        checks.append(Check("images listed, as published", len(paths)))
    return checks


def _by_git(folder: Path) -> Check:
    expected, missing, damaged = damaged_in_clone(folder)
    return Check("files of the commit, git's object names", expected, missing, damaged)


def _by_list(what: str, lists: Iterable[Path], folder: Path) -> Check:
    sums = dict(line for path in lists for line in read_sums(path, folder, follow_links=True))
    check = Check(what, len(sums))

    def state(item: tuple[str, str]) -> str | None:
        return _state(folder / item[0], "sha256", item[1])

    _sort(check, sums.items(), state)
    return check


def _archives(way: Http, folder: Path) -> Check | None:
    """Published archives that lie in the folder, as downloaded by hand; None if there are none."""
    there = [(file.path, file.digest) for file in way.files if file.digest and (folder / file.path).is_file()]
    check = Check("archives that lie there, published checksums", len(there))

    def state(item: tuple[str, str]) -> str | None:
        kind, _, digest = item[1].partition(":")
        return _state(folder / item[0], kind, digest)

    _sort(check, there, state)
    return check if there else None


def _state(path: Path, kind: str, digest: str) -> str | None:
    """``missing``, ``damaged``, or None if a file has its checksum."""
    try:
        return None if digests(path, {kind})[kind] == digest else "damaged"
    except (FileNotFoundError, NotADirectoryError):
        return "missing"
    except OSError:
        return "damaged"  # a folder, or a disk that cannot read it


def _sort(check: Check, items: Iterable[tuple[str, str]], state: Callable[[tuple[str, str]], str | None]) -> None:
    items = list(items)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            found = pool.map(state, items)
            for (path, _), said in zip(
                items, track(found, "checksums", total=len(items), disable=not items), strict=True
            ):
                if said is not None:
                    (check.missing if said == "missing" else check.damaged).append(path)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _print(checks: Iterable[Check]) -> None:
    table = Table("checked", "expected", "found", "missing", "damaged")
    for check in checks:
        missing = len(check.missing) + check.unnamed
        counts = (check.expected, check.expected - missing, missing, len(check.damaged))
        table.add_row(escape(check.what), *(f"{count:,}" for count in counts))
    console().print(table)
    for check in checks:
        for what, files in (("missing", check.missing), ("damaged", check.damaged)):
            for file in files[:_SHOWN]:
                say(f"{what}: {name_text(file)}")
            if len(files) > _SHOWN:
                say(f"{what}: {number_of(len(files) - _SHOWN, 'more file')} of {check.what}")


def _verdict(name: str, place: Published, lacks: bool, damaged: bool, by_sums: bool) -> str:
    if by_sums:
        by = "by its tables and by the checksums named above"
    elif place.checksums:
        by = f"by counts only: what it could be checked against is not in the folder ({place.checksums})"
    elif place.images:
        by = "by counts only: no checksums are published"
    else:
        by = "by its own tables only: neither checksums nor a number of images is published"
    if not lacks and not damaged:
        return f"{name}: complete, {by}. Whether each image can be read, `cxrflow metadata` tells."
    state = "incomplete and damaged" if lacks and damaged else "damaged" if damaged else "incomplete"
    again = f"`cxrflow fetch {name}` {'says how to get' if isinstance(place.way, ByHand) else 'gets'} what is missing"
    return f"{name}: {state}, {by}. {'Remove what is damaged: ' * damaged}{again}."


def _base(path: str) -> str:
    return path.rpartition("/")[2]
