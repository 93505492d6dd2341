"""A user's own images: a folder with a table in any form that tables.py reads, and columns of any name."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cxrflow.columns import OPTIONAL, PLACE, REQUIRED, Columns
from cxrflow.errors import CxrflowError, LeftOut, one_line
from cxrflow.folders import is_of_the_system
from cxrflow.records import Record
from cxrflow.sources import tables, words
from cxrflow.sources.account import Account
from cxrflow.sources.by_name import ByName
from cxrflow.sources.cells import known, number, years
from cxrflow.sources.collection import Collection, Options
from cxrflow.sources.files import Files
from cxrflow.sources.header import (
    COLUMNS_FILE,
    Layout,
    guess,
    is_output,
    is_published,
    layout_of,
    read_columns,
)

#: What the metadata stage writes.
RECORDS = "records.csv"
#: Numbers of this unit in a year; ``cells.years`` reads the words for it.
_PER_YEAR = {"years": "", "months": "months", "weeks": "weeks", "days": "days"}


def is_own(folder: Path, columns: Columns | None = None, lacking: int = 1) -> bool:
    """Whether a folder is a user's own collection: a ``columns.yaml`` or parameters say so, or the header of one of its
    tables does.

    lacking  number of the required columns that a header may lack (reading the table then says which)
    """
    if columns is not None or (folder / COLUMNS_FILE).is_file():
        return True
    headers = headers_in(folder)
    if is_output_folder(folder) or any(is_published(path, header) for path, header in headers.items()):
        return False
    return any(len(set(REQUIRED) - set(guess(header, Columns())[0])) <= lacking for header in headers.values())


def is_output_folder(folder: Path) -> bool:
    """Whether the metadata stage has written into a folder."""
    return is_output(tables.read_header(folder / RECORDS)) if (folder / RECORDS).is_file() else False


def headers_in(folder: Path, encoding: str | None = None) -> dict[Path, tuple[str, ...]]:
    """The tables of a folder and the names of their columns; a text without columns, such as a README, is none."""
    names = [path for path in sorted(folder.iterdir()) if path.suffix.lower() in tables.EXTENSIONS and path.is_file()]
    taken = [path for path in names if not is_of_the_system(path.name) and not path.name.startswith((".", "~$"))]
    headers = {path: tables.read_header(path, encoding) for path in taken}
    return {path: names for path, names in headers.items() if len(names) > 1 or path.suffix.lower() != ".txt"}


def find_layout(folder: Path, columns: Columns | None = None) -> Layout:
    """The table of a user's own folder and its columns.

    columns  from the parameters; None for those of ``columns.yaml``, if it is there
    Raises CxrflowError if no table, or more than one, has all columns that are required.
    """
    where = f"sources.columns.{folder.name}" if columns is not None else str(folder / COLUMNS_FILE)
    if columns is None:
        columns = read_columns(folder / COLUMNS_FILE) if (folder / COLUMNS_FILE).is_file() else Columns()
    if columns.table is not None:
        table = folder / columns.table
        if table.parent != folder or not table.is_file():
            raise CxrflowError(f"{where}: table: {columns.table} is no file in {folder}; name one that is.")
        return layout_of(table, tables.read_header(table, columns.encoding), columns, where)
    headers = headers_in(folder, columns.encoding)
    asked = {role for role in REQUIRED if not (role in columns.model_fields_set and columns.column(role) is None)}
    lacking = {path: len(asked - set(guess(header, columns)[0])) for path, header in headers.items()}
    best = [path for path, lacks in lacking.items() if lacks == min(lacking.values())]
    if len(best) > 1 and lacking[best[0]] == 0:
        names = ", ".join(path.name for path in best)
        raise CxrflowError(
            f"{folder}: {len(best)} tables with columns for {', '.join(REQUIRED)} ({names}); keep one, or name it "
            f"in {COLUMNS_FILE} (table: {best[0].name})."
        )
    if not best:
        raise CxrflowError(f"{folder}: no table ({', '.join(tables.EXTENSIONS)}); add one of your images.")
    return layout_of(best[0], headers[best[0]], columns, where)


def read(folder: Path, name: str, options: Options) -> Iterator[Record]:
    """One record per row. Images are found by their path below the folder, or by their name (by_name.py); a lateral or
    oblique view is left out, one that is not given or not known is kept.

    What could not be read is in ``options.accounts[name]``.
    Raises CxrflowError as ``find_layout``, and if ``columns.yaml`` translates a word into what is no finding.
    """
    layout = find_layout(folder, options.columns.get(name))
    account = options.accounts[name] = Account(layout)
    # Paths are looked for even if image files are ignored: one name in many folders would be taken for one file.
    files = options.files or Files(folder, options.follow_links)
    row_reader = _RowReader(name, layout, account, options, files, ByName(folder, options.follow_links))
    needed = _once([*layout.of_path, *(layout.named[role] for role in REQUIRED if role in layout.named)])
    others = _once([layout.named[role] for role in OPTIONAL if role in layout.named])
    optional = tuple(column for column in others if column not in needed)
    for row in tables.read_table(layout.table, needed, optional, layout.columns.encoding):
        account.rows += 1
        yield row_reader.record(row)


@dataclass
class _RowReader:
    folder: str
    layout: Layout
    account: Account
    options: Options
    files: Files
    by_name: ByName

    def __post_init__(self) -> None:
        columns = self.layout.columns
        self.labels: dict[str, str] = {}
        for word, meaning in (columns.label.words if columns.label else {}).items():
            if meaning is not None:
                finding = self.options.finding_named(meaning)
                if finding is None:
                    raise CxrflowError(
                        f"{self.layout.where}: label.words: {one_line(meaning, 60)}, for '{one_line(word, 60)}', is "
                        "neither a class of the task nor a finding; `cxrflow findings` lists them."
                    )
                self.labels[words.plain(word)] = finding
        self.sexes = {words.plain(w): s for w, s in (columns.sex.words if columns.sex else {}).items() if s}
        self.views = {words.plain(w): v for w, v in (columns.view.words if columns.view else {}).items() if v}
        self.unit = _PER_YEAR[columns.age.unit] if columns.age else ""
        self.letters = self.account.letters = _letters(self.layout)
        self.places = PLACE.findall(self.layout.path)
        # The column that is the whole path; None if the path is put together.
        self.whole = next((name for name in self.places if self.layout.path == f"{{{name}}}"), None)

    def record(self, row: tables.Row) -> Record:
        cells = {role: row[column] for role, column in self.layout.named.items()}
        path, reason = self._path(row, cells.get("patient", ""))
        label = cells["label"]
        finding = self.labels.get(_word(label)) or self.options.finding_named(label)
        alone = self.account.add("label", label, finding)
        unknown = None if finding or not label else tables.unknown_word(label) if alone else tables.UNKNOWN_LABEL
        patient, view = known(cells.get("patient")), self._view(cells.get("view"))
        not_frontal = f"view is {cells['view']}, not frontal" if view in ("lateral", "oblique") else None
        listed = row[self.whole] if self.whole else path
        return Record(
            image_id=f"{self.folder}:{listed or f'line {row.line}'}",
            source=self.folder,
            path=f"{self.folder}/{path}",
            patient_id=f"{self.folder}:{patient}" if patient else None,
            findings=(finding,) if finding else (),
            finding=cells.get("finding") or label or None,
            view=view,
            age=self._age(cells.get("age")),
            sex=self._sex(cells.get("sex")),
            day=self._day(cells.get("day")),
            url=known(cells.get("url")),
            left_out=tables.problem(row, path) or reason or not_frontal or unknown,
        )

    def _path(self, row: tables.Row, patient: str) -> tuple[str, str | None]:
        """The path of the row's image, and the reason if it is not certain; ``""`` if the row names none."""
        if not all(row[column] for column in self.places):
            return "", None
        listed = row[self.whole] if self.whole else PLACE.sub(lambda place: row[place[1]], self.layout.path)
        try:
            path = self.files.find(listed)
            if not self.files.holds(path) and (found := self.by_name.find(listed, patient)) is not None:
                self.account.found(listed, found)
                return found, None
        except LeftOut as reason:
            return listed, str(reason)
        return path, None

    def _view(self, cell: str | None) -> str | None:
        """The view: PA, AP, frontal, lateral, oblique, however it is written."""
        if cell is None:
            return None
        written = known(cell)
        view = None if written is None else self.views.get(words.plain(written)) or words.view_of(written)
        self.account.add("view", cell, view)
        return view

    def _age(self, cell: str | None) -> float | None:
        if cell is None:
            return None
        age = years(f"{cell} {self.unit}" if self.unit and number(cell) is not None else cell)
        self.account.add("age", cell, age)
        return age

    def _sex(self, cell: str | None) -> str | None:
        if cell is None:
            return None
        sex = self.sexes.get(_word(cell)) or words.sex_of(cell, self.letters)
        self.account.add("sex", cell, sex)
        return sex

    def _day(self, cell: str | None) -> float | None:
        if cell is None:
            return None
        day = number(cell)
        self.account.add("day", cell, day)
        return day


def _word(cell: str) -> str:
    """A cell as it is compared with the words of ``columns.yaml``: a code of 1.0 is 1."""
    return words.plain(known(cell) or "")


def _once(names: list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names))


def _letters(layout: Layout) -> frozenset[str]:
    """The single letters that the column of sexes has, read until two of them show what the letters are."""
    found: set[str] = set()
    if column := layout.named.get("sex"):
        with tables.counted_rows():  # these rows are not the records
            for row in tables.read_table(layout.table, (column,), (), layout.columns.encoding):
                letter = row[column].upper()
                if letter in words.LETTERS:
                    found.add(letter)
                    if len(found) == 2:
                        break
    return frozenset(found)


COLLECTION = Collection("table", (), read)
