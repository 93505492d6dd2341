"""``cxrflow sources FOLDER``: what would be read, without running: collections, tables, columns, words, files."""

import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from cxrflow.columns import REQUIRED, Columns
from cxrflow.errors import CxrflowError, LeftOut, one_line
from cxrflow.files import write_whole
from cxrflow.folders import counted, is_of_the_system
from cxrflow.records import TRUTH, are_drawn
from cxrflow.sources import (
    holds_published,
    meant,
    read_collections,
    recognise,
    rsna,
    source_name,
    starter,
    table,
    tables,
)
from cxrflow.sources.account import Account
from cxrflow.sources.by_name import ByName
from cxrflow.sources.collection import Collection, Options
from cxrflow.sources.delimited import plain
from cxrflow.sources.files import Files
from cxrflow.sources.header import COLUMNS_FILE, guess, is_published
from cxrflow.terminal import console
from cxrflow.text import clean, name_of, name_text, number_of

#: Name of the table that is written from the names of folders.
FOLDERS_TABLE = "images.csv"
_SHOWN = 10


def look(root: Path, options: Options, write: bool = False) -> bool:
    """Print what ``root``, or each folder in it, would be read as; where something is missing, what to write. Returns
    whether there is something, and nothing in it that cannot be read.

    options  as for a run; ``files`` and ``accounts`` are not used
    write    whether to put the ``columns.yaml`` or the table from folder names where none is
    Raises CxrflowError if ``root`` is no folder.
    """
    if not root.is_dir():
        raise CxrflowError(f"{name_text(root)}: no such folder; name the folder that holds the collections.")
    inner = _folders(root)
    deeper = [*inner, *(folder for one in inner for folder in _folders(one))]
    found = any(recognise(folder, options.columns, options.extra) or meant(folder) for folder in deeper)
    itself = recognise(root, options.columns, options.extra) is not None and not holds_published(root)
    if itself or (not found and (meant(root) or table.headers_in(root))):
        places = [root]
    else:
        places = inner if found or any(map(table.headers_in, deeper)) else [root]
    found_in = [_print_folder(folder, options, write) for folder in places]
    if all(readable is None for readable in found_in):
        _say(f"{name_text(root)}: no table and no image; name the folder that holds them.")
        return False
    return False not in found_in


def _print_folder(folder: Path, options: Options, write: bool) -> bool | None:
    """Print what a folder is read as, or lacks for it. Returns whether its tables can be read; None if it has no table
    and no image."""
    if (collection := recognise(folder, options.columns, options.extra)) is not None:
        return _print_collection(collection, folder, options, write)
    if published := meant(folder):
        _say(f"\n{name_text(folder)}: not read; did you mean {published}? Give the folder this name.")
        return True
    nested = [inner for inner in _folders(folder) if recognise(inner, options.columns, options.extra)]
    if nested and not table.headers_in(folder):
        names = ", ".join(name_text(inner.name) for inner in nested)
        _say(f"\n{name_text(folder)}: holds collections ({names}); name it itself: `cxrflow sources {folder}`.")
        return True
    return _print_other(folder, options, write)


def _folders(folder: Path) -> list[Path]:
    inner = [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    masks = TRUTH if are_drawn(folder) else None  # of drawings; no collection
    return [path for path in inner if not is_of_the_system(path.name) and path.name != masks]


def _print_collection(collection: Collection, folder: Path, options: Options, write: bool) -> bool:
    """Print what a collection is read as. Returns whether it can be read."""
    home, name = _home(folder)
    own = f"collection {collection.name}" if collection.folders else "your own collection"
    _say(f"\n{name_text(folder)}: {own}")
    readable, account = True, None
    try:
        account = _print_records(collection, home, name, options)
    except CxrflowError as error:
        _say(f"  cannot be read: {error}")
        readable = False
    if not collection.folders:
        by_name = ByName(folder, options.follow_links)
        if account is not None:
            if options.columns.get(name) is None and (folder / COLUMNS_FILE).is_file():
                _say(f"  {COLUMNS_FILE} is read: it says which columns and words are meant")
            _print_columns(account)
            for sentence in account.sentences():
                _say(f"  {sentence}")
        understood = account is not None and account.layout.sentence() is None and not account.unread
        if not understood and options.columns.get(name) is None and not (folder / COLUMNS_FILE).is_file():
            there = [account.layout.table] if account else list(table.headers_in(folder))
            for path in there:
                _print_starter(folder, path, by_name, options, write and len(there) == 1)
        elif write:
            there_is = (folder / COLUMNS_FILE).is_file()
            _say(f"  {COLUMNS_FILE} is there already" if there_is else f"  All is read; it needs no {COLUMNS_FILE}")
    return readable


def _home(folder: Path) -> tuple[Path, str]:
    """The folder that holds a collection, and the collection's name in it, as name text."""
    if folder.name in ("", ".."):
        folder = Path(os.path.abspath(folder))
    return folder.parent, name_text(folder.name)


def _print_records(collection: Collection, home: Path, name: str, options: Options) -> Account | None:
    """Read a collection and print its tables, and how many of its images are there."""
    folder = home / name_of(name)
    files = Files(folder, options.follow_links)
    # Every header of RSNA's images would be opened.
    options = replace(options, with_files=collection.name != rsna.NAME, accounts={})
    rows, there, absent = 0, 0, None
    unknown: Counter[str] = Counter()
    with tables.counted_rows() as read:
        for record in read_collections(home, [(collection, name)], options):
            rows += 1
            if collection.folders and record.left_out == tables.UNKNOWN_LABEL:
                unknown[one_line(record.finding or "", 60)] += 1
            path = name_of(record.path.removeprefix(f"{name}/"))
            try:
                there += (here := files.holds(files.find(path)))
            except LeftOut:
                here = False
            if not here and absent is None and record.left_out != tables.NO_IMAGE:
                absent = path
    for file, count in read.items():
        account = options.accounts.get(name)
        form = tables.form(file, account.layout.columns.encoding if account else None)
        _say(f"  {name_text(file.name)}: {form}; {number_of(count, 'row')}")
    missing = f"; not there, for example: {name_text(folder / absent)}" if absent is not None else ""
    _say(f"  {there:,} of {number_of(rows, 'image')} {'is' if rows == 1 else 'are'} there{missing}")
    if files.unlisted:
        _say(f"  images that no row lists: {counted(files.unlisted)}")
    if unknown:
        words = ", ".join(f"'{word}' ({count:,})" for word, count in unknown.most_common(_SHOWN))
        _say(f"  {number_of(unknown.total(), 'label')} not known to {source_name(collection, name)}: {words}")
    return options.accounts.get(name)


def _print_columns(account: Account) -> None:
    layout = account.layout
    shown = Table("column", "read as", "cannot be read (rows)")
    for column in layout.header:
        roles = [role for role, name in layout.named.items() if plain(name) == plain(column)]
        if plain(column) in map(plain, layout.of_path):
            roles.insert(0, "path")
        words = "; ".join(filter(None, (account.words(role) for role in roles)))
        shown.add_row(escape(one_line(column, 40)), ", ".join(roles), escape(words))
    console().print(shown)


def _print_other(folder: Path, options: Options, write: bool) -> bool | None:
    """Print what a folder that is no collection lacks to be one. Returns as ``_print_folder``."""
    if table.is_output_folder(folder):
        _say(f"\n{name_text(folder)}: holds what `cxrflow metadata` wrote; no collection")
        return True
    headers = table.headers_in(folder)
    if published := [path.name for path, header in headers.items() if is_published(path, header)]:
        _say(
            f"\n{name_text(folder)}: has {published[0]}, a table of a published collection; give the folder its "
            "published name (`cxrflow sources` lists them)"
        )
        return True
    by_name, readable = ByName(folder, options.follow_links), True
    for path, header in headers.items():
        try:
            _say(f"\n{name_text(path)}: {tables.form(path)}; columns {one_line(', '.join(header), 500)}")
        except CxrflowError as error:
            _say(f"\n{error}")
            readable = False
            continue
        if doubt := [role for role in REQUIRED if role not in guess(header, Columns())[0]]:
            _say(
                "  NOT READ YET: from the names of the columns it is not certain which one is the "
                f"{' or the '.join(doubt)}; say it in {COLUMNS_FILE}."
            )
        _print_starter(folder, path, by_name, options, write and len(headers) == 1)
    if headers:
        return readable
    found = sum(1 for _ in by_name.paths())
    if not found:
        return None
    _say(f"\n{name_text(folder)}: {number_of(found, 'image')} and no table")
    made = starter.table_of_folders(by_name, options.finding_named)
    if made is None:
        _say(
            "  Write a table (CSV or Excel) with the columns path (of the image, below this folder), label (what it "
            "shows) and patient (who it is), one row for each image, and put it there."
        )
        return True
    content, folders = made
    kinds = ", ".join(
        f"{one_line(name, 40) or '.'} ({count:,}{'' if options.finding_named(name) else ', not known'})"
        for name, count in folders.most_common(_SHOWN)
    )
    _say(f"  Folders name what the images show: {kinds}")
    _say(
        "  PATIENTS ARE NOT KNOWN: images of one person may be on several sides of the split, and figures too good. If "
        "you know them, fill in the column patient."
    )
    _written(folder / FOLDERS_TABLE, content, write)
    return True


def _print_starter(folder: Path, path: Path, by_name: ByName, options: Options, write: bool) -> None:
    header = tables.read_header(path)
    try:
        columns = starter.choose(path, header, by_name, options.finding_named)
        account = _account_of(folder, path, header, columns, options)
    except CxrflowError as error:
        _say(f"  {error}")
        return
    if account is not None and not table.is_own(folder):
        _print_columns(account)
    content = starter.text(columns, account, path, tables.read_header(path, columns.encoding))
    _say(f"  {COLUMNS_FILE} to start from:\n")
    _say("".join(f"    {line}\n" for line in content.splitlines()))
    _written(folder / COLUMNS_FILE, content, write)


def _account_of(
    folder: Path, path: Path, header: tuple[str, ...], columns: Columns, options: Options
) -> Account | None:
    """What the table would give with these columns; None if one that is required is missing."""
    if columns.path is None or columns.label is None:
        return None
    named = columns.model_copy(update={"table": path.name})
    known = named if named.patient else Columns.model_validate(named.model_dump(exclude_unset=True) | {"patient": None})
    _, name = _home(folder)
    options = replace(options, columns={name: known}, accounts={}, files=None)
    with tables.counted_rows():
        for _ in table.read(folder, name, options):
            pass
    return options.accounts[name]


def _written(path: Path, content: str, write: bool) -> None:
    if write and not path.exists():
        write_whole(path, content.encode("utf-8", "surrogateescape"))
        _say(f"  Written: {name_text(path)}. Check it, and look again.")
    elif write:
        _say(f"  {name_text(path)} is there already, and was not changed.")
    else:
        _say(f"  --write puts it into {name_text(path)}.")


def _say(text: str) -> None:
    shown = "\n".join(map(clean, text.split("\n")))
    console().print(shown, markup=False, highlight=False, soft_wrap=True)
