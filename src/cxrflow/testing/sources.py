"""The contract of a source."""

import csv
import io
import re
import shutil
import tempfile
from collections.abc import Collection as Names
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from cxrflow.errors import CxrflowError
from cxrflow.findings import FINDINGS, most_specific
from cxrflow.records import Record
from cxrflow.sources import SOURCES, find_collections, read_collections, source_name
from cxrflow.sources.collection import Collection, Options
from cxrflow.testing.broken import keeps, works


def check_source(
    collection: Collection,
    folder: Path,
    tables: Mapping[str, Sequence[str]] | None = None,
    issuers: Names[str] = (),
) -> list[Record]:
    """Raise Broken unless ``collection`` keeps the contract of a source for a small copy of it; returns its records.

    folder   a few hand-written rows in the published layout, with the quirks of the real one, in a folder with one of
             its published names; files are empty or absent. It is copied, not changed
    tables   path of each table (CSV with commas) in ``folder`` and the columns that are needed: reading has to stop
             without the table or one of them
    issuers  prefixes of its patient_id besides its own name and those of other sources
    """
    _check_definition(collection)
    records = read_all(collection, folder)
    keeps(records, "A source gives a record for each image that it lists; put some rows into the small copy.")
    keeps(read_all(collection, folder) == records, "A source gives the same records, in the same order, every time.")
    _check_records(collection, records, folder.name, {*issuers, *SOURCES})
    _check_found(collection, folder, len(records))
    for table, columns in (tables or {}).items():
        with _copied(folder) as copy:
            (copy / table).unlink()
            check_stops(collection, copy, table)
        for column in columns:
            with _copied(folder) as copy:
                _drop(copy / table, column)
                check_stops(collection, copy, table, column)
        with _copied(folder) as copy:
            (copy / table).write_bytes(b"")
            check_stops(collection, copy, table)
    return records


def read_all(collection: Collection, folder: Path) -> list[Record]:
    """The records of a collection, without image files. Raises Broken if it cannot be read."""
    with works("A source reads a copy in the published layout."):
        return list(collection.read(folder, folder.name, Options(with_files=False)))


def check_stops(collection: Collection, folder: Path, *named: str) -> None:
    """Raise Broken unless reading a damaged copy stops with one sentence that names what is damaged.

    named  parts of the sentence, such as the table and the column that are missing
    """
    contract = f"Without {' or '.join(named)}, reading stops with a CxrflowError of one line that names it"
    try:
        list(collection.read(folder, folder.name, Options(with_files=False)))
    except CxrflowError as error:
        said = str(error)
        clear = all(name in said for name in named) and "\n" not in said
        keeps(clear, f"{contract}; use tables.read_table.", said)
    except Exception as error:
        keeps(False, f"{contract}; use tables.read_table.", f"{type(error).__name__}: {error}")
    else:
        keeps(False, f"{contract}; use tables.read_table.", "nothing was said")


def _check_definition(collection: Collection) -> None:
    named = re.fullmatch(r"[a-z][a-z0-9-]*", collection.name)
    keeps(named, "A source's name is of lower-case letters, digits and hyphens.", collection.name)
    unknown = set(collection.findings) - set(FINDINGS)
    keeps(not unknown, "Findings are paths of the vocabulary (`cxrflow findings`).", ", ".join(sorted(unknown)))
    said = not collection.folders or collection.expects
    keeps(said, "A source says which versions it reads (expects), for the error about a table of another one.")


def _check_records(collection: Collection, records: Sequence[Record], folder: str, issuers: Names[str]) -> None:
    source = source_name(collection, folder)
    ids = [record.image_id for record in records]
    keeps(len(set(ids)) == len(ids), "Each image_id is there once.", max(ids, key=ids.count))
    for record in records:
        keeps(record.source == source, f"The source of each record is {source}.", record.source)
        keeps(record.image_id.startswith(f"{source}:"), f"Each image_id begins with {source}:", record.image_id)
        keeps(record.path.startswith(f"{folder}/"), "Each path begins with the name of the folder.", record.path)
        others = set(record.findings) - set(collection.findings or FINDINGS)
        keeps(not others, "A record's findings are among those that its collection lists.", ", ".join(sorted(others)))
        special = record.findings == most_specific(record.findings)
        keeps(special, "Findings are the most specific ones, sorted (findings.most_specific).", record.findings)
        keeps(not record.findings or record.finding, "What was found is there as published, too (finding).", record)
        known = record.patient_id is None or record.patient_id.split(":")[0] in {source, *issuers}
        keeps(
            known,
            "A patient_id begins with the collection that issued the number; it is None where the person is not known.",
            record.patient_id,
        )
        keeps(record.age is None or 0 < record.age <= 120, "Ages are years (cells.years).", record.age)
        keeps(record.sex in ("M", "F", None), "The sex is M, F or None (cells.sex).", record.sex)


def _check_found(collection: Collection, folder: Path, count: int) -> None:
    extra = () if collection in SOURCES.values() else (collection,)
    for name in (*collection.folders, collection.name) if collection.folders else (folder.name,):
        with _copied(folder, name) as copy:
            root, found = find_collections(copy.parent, extra=extra)
            keeps(found == [(collection, name)], f"A folder called {name} is recognised as this collection.", found)
            read = len(list(read_collections(root, found, Options())))
            keeps(read == count, "As many images are listed whatever the folder is called.", f"{read}, not {count}")


@contextmanager
def _copied(folder: Path, name: str = "") -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as place:
        yield Path(shutil.copytree(folder, Path(place) / "root" / (name or folder.name)))


def _drop(table: Path, column: str) -> None:
    rows = list(csv.reader(io.StringIO(table.read_text(encoding="utf-8-sig"))))
    at, text = rows[0].index(column), io.StringIO()
    csv.writer(text).writerows(row[:at] + row[at + 1 :] for row in rows)
    table.write_text(text.getvalue(), encoding="utf-8")
