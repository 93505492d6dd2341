"""The store: all kept images, prepared once, as memory-mapped arrays with an index table."""

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import cxrflow
from cxrflow.csv_files import to_csv
from cxrflow.engines import Engine, Lost
from cxrflow.errors import CxrflowError, one_line
from cxrflow.files import Root, code_digest, digest, remove, write_whole
from cxrflow.images.file import try_record
from cxrflow.images.registry import steps_in_force
from cxrflow.images.rows import Rows
from cxrflow.images.steps import Window
from cxrflow.images.work import BEGUN, JOURNAL, Work, open_work
from cxrflow.params import Images
from cxrflow.plugins import described
from cxrflow.state import Kind, number, read_bytes, read_sealed, read_table, text, write_sealed
from cxrflow.terminal import console, track
from cxrflow.text import number_of

#: Code and libraries that every prepared image depends on.
_CODE = ("reading", "images/registry.py", "images/steps.py")
_LIBRARIES = ("opencv-python-headless", "pillow", "pydicom", "pylibjpeg", "imagecodecs")
_STEPS, _INDEX = "steps.json", "index.csv"
#: Digits of its steps' digest that name a store's folder.
_NAME = 12
_REMEDY = "run `cxrflow images`"
_MOST_INDEX = 2**33
_INDEX_KINDS: dict[str, Kind] = {
    "image_id": text(required=True),
    "content_hash": text(required=True),
    "left_out": text(),
    **dict.fromkeys(Window._fields, number(0, 2**31 - 1)),
}


@dataclass(frozen=True)
class Store:
    """Prepared images on disk.

    images  uint8 (n, size, size), memory-mapped
    lungs   lung masks, bool (n, size, size), memory-mapped; None if the steps do not segment lungs
    index   one row per image: image_id, content_hash; left_out, the reason if the image could not be prepared (its
            pixels are 0); the fields of Window: the square of the radiograph that it shows
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
    with open_work(begun, index, key, steps) as work:
        if not work.finished.all():
            _copy_known(out, key, index, work)
        todo = np.flatnonzero(~work.finished)
        prepare = partial(try_record, root.absolute(), steps)  # Spark executors have another working directory
        results = engine.map(prepare, _Files(records.path.array[todo], records.turned.array[todo]))
        shown = track(
            results, "preparing images", total=len(todo), disable=not len(todo), refresh_per_second=2, update_period=0.5
        )
        for row, result in zip(todo, shown, strict=True):
            work.add(int(row), result.reason if isinstance(result, Lost) else result)
        table = to_csv(pd.concat([index, work.notes()], axis=1))
        write_whole(begun / _INDEX, table)
    made = {"key": key, "index": hashlib.sha256(table).hexdigest(), "steps": steps.model_dump()}
    write_sealed(begun / _STEPS, made)
    remove(out / _STEPS)  # first: if killed from here on, the rest is not mistaken for a store
    remove(out)
    begun.rename(out)
    for name in (JOURNAL, BEGUN):
        (out / name).unlink()
    return open_store(out)


def open_store(folder: Path) -> Store:
    """Open what ``prepare_images`` wrote; pixels stay on disk until read. Raises CxrflowError if absent or damaged."""
    if not (folder / _STEPS).exists():
        raise CxrflowError(f"{folder}: no prepared images there; {_REMEDY}.")
    made = read_sealed(folder / _STEPS, _REMEDY)
    if hashlib.sha256(read_bytes(folder / _INDEX, _REMEDY, _MOST_INDEX)).hexdigest() != made.get("index"):
        raise CxrflowError(f"{folder / _INDEX}: not the table that was written with the images; {_REMEDY}.")
    index = read_table(folder / _INDEX, _INDEX_KINDS, _REMEDY)
    images = _mapped(folder / "images.npy", np.uint8, len(index))
    with_lungs = isinstance(steps := made.get("steps"), dict) and steps.get("lungs") != "none"
    lungs = _mapped(folder / "lungs.npy", np.bool_, len(index)) if with_lungs else None
    if lungs is not None and lungs.shape != images.shape:
        raise CxrflowError(f"{folder / 'lungs.npy'}: not of the same size as images.npy; {_REMEDY}.")
    return Store(images, lungs, index, str(made.get("key")))


def _mapped(file: Path, kind: type, count: int) -> np.ndarray:
    """A stored array (count, size, size), memory-mapped."""
    try:
        array = np.load(file, mmap_mode="r")
    except FileNotFoundError:
        raise CxrflowError(f"{file} is absent; {_REMEDY}.") from None
    except (OSError, ValueError, EOFError) as error:
        raise CxrflowError(f"{file}: damaged ({one_line(str(error))}); {_REMEDY}.") from None
    shape: tuple[int, ...] = getattr(array, "shape", ())
    if getattr(array, "dtype", None) != kind or len(shape) != 3 or shape[0] != count or shape[1] != shape[2]:
        raise CxrflowError(f"{file}: damaged, it does not hold the {count:,} images of {_INDEX}; {_REMEDY}.")
    return np.asanyarray(array)


def print_prepared(stores: Sequence[Store]) -> None:
    """Print how many images were prepared for all of the stores, and each that was left out with its reason."""
    index = stores[0].index
    left_out = pd.concat([store.index[store.index.left_out.notna()] for store in stores]).drop_duplicates("image_id")
    ways = f" in {len(stores)} ways" if len(stores) > 1 else ""
    console().print(f"{number_of(len(index) - len(left_out), 'image')} prepared{ways}, {len(left_out)} left out.")
    for row in left_out.itertuples():
        console().print(f"  {row.image_id}: {row.left_out}", markup=False)


def prepare_all(records: pd.DataFrame, root: Root, steps: Iterable[Images], engine: Engine, out: Path) -> list[Store]:
    """``prepare_images`` for each of several image steps: one store in ``out`` for each of them that differs from the
    others. Everything else in ``out`` is removed."""
    different = {steps_digest(each): each for each in steps}
    stores = [prepare_images(records, root, each, engine, out / key[:_NAME]) for key, each in different.items()]
    for other in set(out.iterdir()) - {out / key[:_NAME] for key in different}:
        remove(other)
    return stores


def open_all(folder: Path) -> list[Store]:
    """The stores that ``prepare_all`` wrote. Raises CxrflowError if there is none, or one is damaged."""
    stores = [open_store(path.parent) for path in sorted(folder.glob(f"*/{_STEPS}"))]
    if not stores:
        raise CxrflowError(f"{folder}: no prepared images there; {_REMEDY}.")
    return stores


def steps_digest(steps: Images) -> str:
    """Digest of the active steps with their code, weights and libraries; if it changes, images are prepared again."""
    in_force = steps_in_force(steps)
    parameters = [[step.name, step.parameters(steps)] for step in in_force]
    code = code_digest(Path(cxrflow.__file__).parent, [*_CODE, *(file for step in in_force for file in step.code)])
    versions = [version(name) for name in [*_LIBRARIES, *(name for step in in_force for name in step.libraries)]]
    theirs = [part.sha256 for name in steps.extra if (part := described("image_steps", name, "images.extra"))]
    return digest([parameters, code, versions, *theirs])


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


def _copy_known(out: Path, key: str, index: pd.DataFrame, work: Work) -> None:
    """Copy images of files with the same bytes from the finished store in ``out``, if it is one of the same steps."""
    try:
        store = open_store(out)
    except (CxrflowError, OSError):  # absent, or damaged: all is prepared again
        return
    if store.steps != key:
        return
    known = store.index[store.index.left_out.isna()]
    windows = known[list(Window._fields)].astype(int).to_numpy().tolist()
    at = dict(zip(known.content_hash, zip(known.index, windows, strict=True), strict=True))
    with ExitStack() as stack:
        arrays = [path for path in (out / "images.npy", out / "lungs.npy") if path.exists()]
        old = {path.stem: stack.enter_context(Rows(path)) for path in arrays}
        for row, content in enumerate(index.content_hash):
            if not work.finished[row] and content in at:
                before, window = at[content]
                work.copy(row, {name: array.read(before) for name, array in old.items()}, window)
