"""Every kept image, prepared once, in one memory-mapped array with an index table."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from rich.progress import track

import cxrflow
from cxrflow.engines import Engine
from cxrflow.errors import CxrflowError, LeftOut
from cxrflow.files import below, code_digest, digest, write_json, write_whole
from cxrflow.images.steps import prepare_image
from cxrflow.params import Images
from cxrflow.reading import read_radiograph

_CHUNK = 512


@dataclass(frozen=True)
class Store:
    """images: (n, size, size) uint8, memory-mapped; index: one row per image with image_id, content_hash and
    left_out, the reason where an image could not be prepared, its pixels then 0; steps: ``steps_digest`` of what
    prepared them."""

    images: np.ndarray
    index: pd.DataFrame
    steps: str

    def rows_of(self, image_ids: pd.Series) -> np.ndarray:
        """Positions in ``images`` of the given images. Raises CxrflowError where one is not in the store."""
        position = pd.Series(np.arange(len(self.index)), index=self.index.image_id)
        missing = image_ids[~image_ids.isin(position.index)]
        if len(missing):
            raise CxrflowError(f"images: {missing.iloc[0]} is not among the prepared images; run `cxrflow images`.")
        return position[image_ids].to_numpy()


def prepare_images(records: pd.DataFrame, root: Path, steps: Images, engine: Engine, out: Path) -> Store:
    """Prepare the images of ``records`` (columns image_id, path, content_hash) into ``out``.

    Raises CxrflowError where records have no content hash, as with ``metadata.files: ignored``.
    Images that ``out`` already holds, prepared by the same steps and code, are copied, not decoded. Work in progress
    lies in ``out/partial``: an interrupted run goes on there. An image that cannot be read is left out with its reason.
    """
    if records.content_hash.isna().any():
        raise CxrflowError("images: these records were counted without files; set metadata.files: required.")
    key = steps_digest(steps)
    index = records[["image_id", "content_hash"]].reset_index(drop=True)
    partial = out / "partial"
    work, done = _open_partial(partial, index, key, steps.size)
    if (out / "images.npy").exists() and _key_of(out) == key:
        _copy_known(open_store(out), index, work, done)
    todo = np.flatnonzero(done == 0)
    there = str(root.absolute())  # an executor of Spark works in a folder of its own
    items = [(there, records.path.iloc[row], steps) for row in todo]
    reasons: dict[int, str] = _reasons_of(partial)
    results = track(engine.map(_prepare_record, items), "preparing images", total=len(todo), disable=not len(todo))
    for count, (row, result) in enumerate(zip(todo, results, strict=True), start=1):
        if isinstance(result, str):
            reasons[int(row)] = result
            write_json(partial / "reasons.json", reasons)  # before it counts as done, whatever kills this process
        else:
            work[row] = result
        done[row] = 1
        if count % _CHUNK == 0 or count == len(todo):
            work.flush()
            done.flush()
    index["left_out"] = [reasons.get(row) for row in range(len(index))]
    del work, done
    (out / "steps.json").unlink(missing_ok=True)  # the old array is no longer what its index says
    (partial / "images.npy").replace(out / "images.npy")
    write_whole(out / "index.csv", index.to_csv(index=False, lineterminator="\n").encode())
    write_json(out / "steps.json", {"key": key, "steps": steps.model_dump()})
    shutil.rmtree(partial)
    return open_store(out)


def open_store(folder: Path) -> Store:
    """Open what ``prepare_images`` wrote; the pixels stay on disk until they are read."""
    steps = _key_of(folder)
    try:
        images = np.load(folder / "images.npy", mmap_mode="r")
        index = pd.read_csv(folder / "index.csv", dtype=str, keep_default_na=False, na_values=[""])
    except (OSError, ValueError):
        steps = None
    if steps is None:
        raise CxrflowError(f"{folder}: no prepared images there; run `cxrflow images`.")
    index["left_out"] = index.left_out.astype(object).where(index.left_out.notna(), None)
    return Store(images, index, steps)


def steps_digest(steps: Images) -> str:
    """Digest of the steps and of the code that does them: what was prepared under another one is prepared again."""
    package = Path(cxrflow.__file__).parent
    done_before_channels = steps.model_dump(exclude={"channels"})
    return digest([done_before_channels, code_digest(package, ("reading", "images/steps.py", "lungs"))])


def check_steps(store: Store, steps: Images) -> None:
    """Raise CxrflowError where a store was prepared by other steps than ``steps``, or by other code."""
    if store.steps != steps_digest(steps):
        raise CxrflowError("the prepared images are of other image steps than asked for; run `cxrflow images`.")


def prepare_file(item: tuple[Path, Images]) -> np.ndarray | str:
    """The prepared image of the file ``item[0]``, uint8 (size, size), or the reason why there is none."""
    path, steps = item
    try:
        return prepare_image(read_radiograph(path), steps)
    except LeftOut as reason:
        return str(reason)


def _prepare_record(item: tuple[str, str, Images]) -> np.ndarray | str:
    root, relative, steps = item
    folder, _, rest = relative.partition("/")
    try:
        return prepare_file((below(Path(root) / folder, rest), steps))
    except LeftOut as reason:
        return str(reason)


def _open_partial(folder: Path, index: pd.DataFrame, key: str, size: int) -> tuple[np.memmap, np.memmap]:
    """The array in progress and its flags (1: done); begun anew where it was begun for other images or steps."""
    wanted = digest([key, index.image_id.tolist(), index.content_hash.tolist()])
    if _key_of(folder) != wanted or not (folder / "images.npy").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        shape = (len(index), size, size)
        np.lib.format.open_memmap(folder / "images.npy", mode="w+", dtype=np.uint8, shape=shape)
        np.lib.format.open_memmap(folder / "done.npy", mode="w+", dtype=np.uint8, shape=shape[:1])
        write_json(folder / "steps.json", {"key": wanted})
    work, done = (np.lib.format.open_memmap(folder / f"{name}.npy", mode="r+") for name in ("images", "done"))
    return work, done


def _copy_known(old: Store, index: pd.DataFrame, work: np.ndarray, done: np.ndarray) -> None:
    usable = old.index[old.index.left_out.isna()]
    position = dict(zip(usable.content_hash, usable.index, strict=True))
    for row, content in enumerate(index.content_hash):
        if not done[row] and content in position:
            work[row] = old.images[position[content]]
            done[row] = 1


def _key_of(folder: Path) -> str | None:
    try:
        return json.loads((folder / "steps.json").read_text())["key"]
    except (OSError, ValueError, KeyError):
        return None


def _reasons_of(partial: Path) -> dict[int, str]:
    try:
        return {int(row): reason for row, reason in json.loads((partial / "reasons.json").read_text()).items()}
    except (OSError, ValueError):
        return {}
