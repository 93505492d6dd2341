"""The store: all kept images, prepared once, as memory-mapped arrays with an index table."""

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.progress import track

import cxrflow
from cxrflow.engines import Engine, Lost
from cxrflow.errors import CxrflowError
from cxrflow.files import Root, code_digest, digest, write_json, write_whole
from cxrflow.images.file import try_record
from cxrflow.images.registry import steps_in_force
from cxrflow.images.rows import Rows
from cxrflow.images.steps import Prepared, Window
from cxrflow.params import Images

#: Code and libraries that every prepared image depends on.
_CODE = ("reading", "images/registry.py", "images/steps.py")
_LIBRARIES = ("opencv-python-headless", "pillow", "pydicom", "pylibjpeg", "imagecodecs")
_JOURNAL, _BEGUN = "journal.jsonl", "begun.json"


@dataclass(frozen=True)
class Store:
    """Prepared images on disk.

    images  uint8 (n, size, size), memory-mapped
    lungs   lung masks, bool (n, size, size), memory-mapped; None if the steps do not segment lungs
    index   one row per image: image_id, content_hash; left_out, the reason if the image could not be prepared (its
            pixels are 0); top, left, side, the square of the radiograph that it shows (pixels)
    steps   ``steps_digest`` of the steps that prepared them
    """

    images: np.ndarray
    lungs: np.ndarray | None
    index: pd.DataFrame
    steps: str

    def window(self, row: int) -> Window:
        """The part of the radiograph that the image in ``row`` shows."""
        return Window(*(int(self.index[name].iloc[row]) for name in Window._fields))


def prepare_images(records: pd.DataFrame, root: Root, steps: Images, engine: Engine, out: Path) -> Store:
    """Prepare the images of ``records`` (columns image_id, path, content_hash, turned) into ``out``.

    Images that ``out`` already holds, prepared by the same steps and code, are copied instead of decoded. Work in
    progress is kept in the folder ``<out>.partial``, from which an interrupted run resumes; it replaces ``out`` when
    complete. An image that cannot be read is left out with its reason. Memory grows with records and index only.
    Raises CxrflowError if records lack a content hash, as with ``metadata.files: ignored``.
    """
    if records.content_hash.isna().any():
        raise CxrflowError("images: these records were counted without files; set metadata.files: required.")
    key = steps_digest(steps)
    index = records[["image_id", "content_hash"]].reset_index(drop=True)
    begun = out.with_name(f"{out.name}.partial")
    with _open_partial(begun, index, key, steps) as work:
        if _key_of(out / "steps.json") == key and not work.finished.all():
            _copy_known(out, index, work)
        todo = np.flatnonzero(~work.finished)
        prepare = partial(try_record, root.absolute(), steps)  # Spark executors have another working directory
        results = engine.map(prepare, _Files(records.path.array[todo], records.turned.array[todo]))
        shown = track(
            results, "preparing images", total=len(todo), disable=not len(todo), refresh_per_second=2, update_period=0.5
        )
        for row, result in zip(todo, shown, strict=True):
            work.add(int(row), result.reason if isinstance(result, Lost) else result)
        pd.concat([index, work.notes()], axis=1).to_csv(begun / "index.csv", index=False, lineterminator="\n")
    write_json(begun / "steps.json", {"key": key, "steps": steps.model_dump()})
    if out.exists():
        (out / "steps.json").unlink(missing_ok=True)  # if killed from here on, the rest is not mistaken for a store
        shutil.rmtree(out)
    begun.rename(out)
    for name in (_JOURNAL, _BEGUN):
        (out / name).unlink()
    return open_store(out)


def open_store(folder: Path) -> Store:
    """Open what ``prepare_images`` wrote; pixels stay on disk until read. Raises CxrflowError if absent or damaged."""
    steps = _key_of(folder / "steps.json")
    try:
        images = np.load(folder / "images.npy", mmap_mode="r")
        lungs = np.load(folder / "lungs.npy", mmap_mode="r") if (folder / "lungs.npy").exists() else None
        index = _read_index(folder)
    except (OSError, ValueError):
        steps = None
    if steps is None or len(index) != len(images):
        raise CxrflowError(f"{folder}: no prepared images there; run `cxrflow images`.")
    return Store(images, lungs, index, steps)


def print_prepared(store: Store) -> None:
    """Print how many images were prepared, and each that was left out with its reason."""
    left_out = store.index[store.index.left_out.notna()]
    Console().print(f"{len(store.index) - len(left_out):,} images prepared, {len(left_out)} left out.")
    for row in left_out.itertuples():
        Console().print(f"  {row.image_id}: {row.left_out}", markup=False)


def steps_digest(steps: Images) -> str:
    """Digest of the active steps with their code, weights and libraries; if it changes, images are prepared again."""
    in_force = steps_in_force(steps)
    parameters = [[step.name, step.parameters(steps)] for step in in_force]
    code = code_digest(Path(cxrflow.__file__).parent, [*_CODE, *(file for step in in_force for file in step.code)])
    versions = [version(name) for name in [*_LIBRARIES, *(name for step in in_force for name in step.libraries)]]
    return digest([parameters, code, versions])


def check_steps(store: Store, steps: Images) -> None:
    """Raise CxrflowError if a store was prepared by other steps than ``steps``, or by other code."""
    if store.steps != steps_digest(steps):
        raise CxrflowError("the prepared images were made by other image steps than required; run `cxrflow images`.")


class _Files(Sequence[tuple[str, bool]]):
    """Pairs of a path and whether its image is stored inverted, created on access to save the memory of a list."""

    def __init__(self, paths: Any, turned: Any) -> None:
        self._paths, self._turned = paths, turned

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return list(zip(self._paths[at], self._turned[at], strict=True))
        return self._paths[at], self._turned[at]


class _Work:
    """Arrays in progress.

    A row is finished when its line is in the journal. The line is written after the pixels, so a finished row is always
    complete, even after a kill. A line holds the row, the reason for leaving it out or null, and its window or null.
    """

    def __init__(self, count: int, arrays: dict[str, Rows], journal: IO[str]) -> None:
        self._arrays, self._journal = arrays, journal
        self.finished = np.zeros(count, dtype=bool)
        self._windows = np.zeros((count, len(Window._fields)), dtype=np.int32)
        self._reasons: dict[int, str] = {}
        journal.seek(0)
        for line in journal:
            self._remember(*json.loads(line))

    def add(self, row: int, result: Prepared | str) -> None:
        """Store the result of a row: the prepared image, or the reason for leaving it out."""
        if isinstance(result, str):
            self._note(row, result, None)
        else:
            self.copy(row, {"images": result.image, "lungs": result.lungs}, result.window)

    def copy(self, row: int, pictures: dict[str, Any], window: Sequence[int]) -> None:
        """Write image and lung mask of a row."""
        for name, array in self._arrays.items():
            array.write(row, pictures[name])
        self._note(row, None, window)

    def notes(self) -> pd.DataFrame:
        """The index columns of all rows: left_out, top, left, side."""
        notes = pd.DataFrame(self._windows, columns=Window._fields).astype("Int64")
        reasons = pd.Series(self._reasons, dtype=object).reindex(notes.index)
        notes[reasons.notna()] = pd.NA
        notes.insert(0, "left_out", reasons)
        return notes

    def _note(self, row: int, reason: str | None, window: Sequence[int] | None) -> None:
        self._journal.write(json.dumps([row, reason, window]) + "\n")
        self._journal.flush()
        self._remember(row, reason, window)

    def _remember(self, row: int, reason: str | None, window: Sequence[int] | None) -> None:
        self.finished[row] = True
        if reason is not None:
            self._reasons[row] = reason
        elif window is not None:
            self._windows[row] = window


@contextmanager
def _open_partial(folder: Path, index: pd.DataFrame, key: str, steps: Images) -> Iterator[_Work]:
    """The work in progress; restarted if it was for other images or steps."""
    wanted = hashlib.sha256(key.encode())
    for row in zip(index.image_id, index.content_hash, strict=True):
        wanted.update(repr(row).encode())
    kinds = {"images": np.uint8} | ({} if steps.lungs == "none" else {"lungs": np.bool_})
    journal = folder / _JOURNAL
    if _key_of(folder / _BEGUN) != wanted.hexdigest():
        (folder / _BEGUN).unlink(missing_ok=True)  # first, so that after a kill the work restarts
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name, kind in kinds.items():
            Rows.create(folder / f"{name}.npy", (len(index), steps.size, steps.size), kind)
        journal.touch()
        write_json(folder / _BEGUN, {"key": wanted.hexdigest()})
    whole, end, cut_short = journal.read_text().rpartition("\n")
    if cut_short:  # by a kill
        write_whole(journal, (whole + end).encode())
    with ExitStack() as stack:
        arrays = {name: stack.enter_context(Rows(folder / f"{name}.npy", writable=True)) for name in kinds}
        yield _Work(len(index), arrays, stack.enter_context(journal.open("a+")))


def _copy_known(out: Path, index: pd.DataFrame, work: _Work) -> None:
    """Copy images of files with the same bytes from the finished store in ``out``, made by the same steps."""
    known = _read_index(out)
    known = known[known.left_out.isna()]
    windows = known[list(Window._fields)].astype(int).to_numpy().tolist()
    at = dict(zip(known.content_hash, zip(known.index, windows, strict=True), strict=True))
    with ExitStack() as stack:
        arrays = [path for path in (out / "images.npy", out / "lungs.npy") if path.exists()]
        old = {path.stem: stack.enter_context(Rows(path)) for path in arrays}
        for row, content in enumerate(index.content_hash):
            if not work.finished[row] and content in at:
                before, window = at[content]
                work.copy(row, {name: array.read(before) for name, array in old.items()}, window)


def _read_index(folder: Path) -> pd.DataFrame:
    types = {"image_id": str, "content_hash": str, "left_out": str} | dict.fromkeys(Window._fields, "Int64")
    # Without lineterminator, pandas would also split lines at a lone carriage return within a cell.
    how: dict[str, Any] = {"keep_default_na": False, "na_values": [""], "lineterminator": "\n"}
    index: pd.DataFrame = pd.read_csv(folder / "index.csv", dtype=types, **how)
    index["left_out"] = index.left_out.astype(object).where(index.left_out.notna(), None)
    return index


def _key_of(file: Path) -> str | None:
    try:
        key: str | None = json.loads(file.read_text())["key"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return key
