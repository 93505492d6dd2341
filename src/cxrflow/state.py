"""State: files that earlier stages wrote, checked as they are read. They may have been cut, edited or replaced since.

What is wrong is one sentence, which ends in how to make the file again. A seal, the digest of its own content, shows
that the figures in a JSON file are those that were written.
"""

import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cxrflow.csv_files import read_csv
from cxrflow.errors import CxrflowError, one_line
from cxrflow.files import digest, write_json

if TYPE_CHECKING:  # scoring files does without pandas
    import pandas as pd

_SEAL = "sha256"
_MOST_JSON = 2**28
#: No cell of a table that the stages write comes near this many characters.
_LONGEST_CELL = 100_000
#: Reads a column of text as what it holds; raises ValueError where it cannot.
Kind = Callable[["pd.Series"], "pd.Series"]


def read_bytes(path: Path, remedy: str, most: int = _MOST_JSON) -> bytes:
    """The content of a file. Raises CxrflowError if it is absent, not a file, or larger than ``most`` bytes.

    remedy  ends the error: what to do, such as "run `cxrflow metadata`"
    """
    if not path.is_file():
        raise CxrflowError(f"{path} is {'not a file' if path.exists() else 'absent'}; {remedy}.")
    with path.open("rb") as file:
        content = file.read(most + 1)
    if len(content) > most:
        raise CxrflowError(f"{path}: damaged, larger than {most / 1e6:,.0f} MB; {remedy}.")
    return content


def read_json(path: Path, remedy: str) -> dict[str, Any]:
    """The object in a JSON file. Raises CxrflowError as ``read_bytes``, and if the file holds none."""
    try:
        values = json.loads(read_bytes(path, remedy))
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict):
        raise CxrflowError(f"{path}: damaged, not a JSON object; {remedy}.")
    return values


def write_sealed(path: Path, values: dict[str, Any]) -> None:
    """Write an object as JSON with its seal, for ``read_sealed``."""
    write_json(path, values | {_SEAL: _seal(values)})


def read_sealed(path: Path, remedy: str) -> dict[str, Any]:
    """What ``write_sealed`` wrote. Raises CxrflowError as ``read_json``, and if it was changed since."""
    values = read_json(path, remedy)
    if values.pop(_SEAL, None) != _seal(values):
        raise CxrflowError(f"{path}: not as it was written (its {_SEAL} differs); {remedy}.")
    return values


def is_whole_archive(path: Path) -> bool:
    """Whether a ZIP archive, such as a checkpoint of PyTorch, is whole by its checksums (CRC-32). ``torch.load`` does
    not compare them."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except Exception:  # a damaged file can raise anything
        return False


def _seal(values: dict[str, Any]) -> str:
    return digest(json.loads(json.dumps(values)))


def read_table(path: Path, kinds: Mapping[str, Kind], remedy: str, others: Kind | None = None) -> "pd.DataFrame":
    """A CSV table with a column for each of ``kinds``; cells without content are None or NaN.

    others  kind of every further column; None if there must be none
    Raises CxrflowError, naming the row or column, if the table is absent, damaged (cut within a row, not UTF-8 text, a
    cell that its kind does not read), or another version's (other columns).
    """
    import pandas as pd

    if not path.is_file():
        raise CxrflowError(f"{path} is {'not a file' if path.exists() else 'absent'}; {remedy}.")

    def damaged(how: str) -> CxrflowError:
        return CxrflowError(f"{path}: damaged, {one_line(how)}; {remedy}.")

    try:
        table = read_csv(path)
    except (ValueError, MemoryError) as error:  # pandas' parsing and decoding errors are ValueErrors
        raise damaged(str(error).strip() or "no text") from None
    if not set(kinds) & set(table.columns):
        raise damaged(f"there is no column {next(iter(kinds))}")
    absent = [f"there is no column {name}" for name in kinds if name not in table.columns]
    more = [f"{one_line(name, 60)} is no column of it" for name in table.columns if name not in kinds]
    if wrong := [*absent, *(more if others is None else [])]:
        raise CxrflowError(f"{path}: written by another version of cxrflow or by hand, {wrong[0]}; {remedy}.")
    if not isinstance(table.index, pd.RangeIndex):
        raise damaged("a row has more cells than there are columns")
    if not _ends_a_line(path):
        raise damaged("its last row is cut")
    read = {}
    for name in table.columns:
        kind = kinds.get(name, others)
        assert kind is not None  # noqa: S101
        try:
            read[name] = kind(table[name])
        except ValueError as error:
            raise damaged(f"{name}: {error}") from None
    return pd.DataFrame(read)


def _ends_a_line(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"


def text(pattern: str = r"[^\0]*", required: bool = False) -> Kind:
    """Text that matches a regular expression as a whole; dtype ``object``, None where empty."""

    def read(cells: "pd.Series") -> "pd.Series":
        _refuse(cells, cells.notna() & (cells.str.len() > _LONGEST_CELL), "is too long")
        fits = cells.str.fullmatch(pattern).astype(bool).where(cells.notna(), not required)
        _refuse(cells, ~fits, "is not what it can be")
        return cells.astype(object).where(cells.notna(), None)

    return read


def number(low: float = -1e300, high: float = 1e300, required: bool = False, whole: bool = False) -> Kind:
    """Finite numbers from ``low`` to ``high``: float64, or int64 if ``whole``; NaN where empty."""

    def read(cells: "pd.Series") -> "pd.Series":
        import pandas as pd

        values = pd.to_numeric(cells, errors="coerce").astype("float64")
        wrong = cells.notna() & ~values.between(low, high) | (required or whole) & cells.isna()
        if whole:
            wrong |= cells.notna() & (values % 1 != 0)
        _refuse(cells, wrong, f"is no {'whole ' if whole else ''}number it can be")
        return values.astype("int64") if whole else values

    return read


def flag(cells: "pd.Series") -> "pd.Series":
    """True or False: bool."""
    _refuse(cells, ~cells.isin(["True", "False"]), "is neither True nor False")
    return cells == "True"


def one_of(*choices: str, required: bool = False) -> Kind:
    """One of the choices; dtype ``object``, None where empty."""

    def read(cells: "pd.Series") -> "pd.Series":
        _refuse(cells, ~cells.isin(choices) & (cells.notna() | required), f"is not one of {', '.join(choices)}")
        return cells.astype(object).where(cells.notna(), None)

    return read


def _refuse(cells: "pd.Series", wrong: "pd.Series", how: str) -> None:
    if wrong.any():
        at = int(wrong.to_numpy().argmax())
        cell = cells.iloc[at]
        raise ValueError(f"row {at + 1}: {one_line(repr(cell), 60) if isinstance(cell, str) else 'nothing'} {how}")
