"""From image files to a table of scores, for ``cxrflow predict``."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from rich.progress import track

from cxrflow.bundle import Bundle
from cxrflow.errors import CxrflowError
from cxrflow.files import write_whole
from cxrflow.images.file import PreparedFile, try_file
from cxrflow.params import Images
from cxrflow.predictor import NO_NUMBER, Predictor
from cxrflow.reading import ENDINGS, is_dicom
from cxrflow.reading.frontal import FLAG, NOT_FRONTAL, TURNED

_BATCH = 64
#: Up to this many files are prepared in the main process; for more, starting worker processes pays off.
_FEW = 8

_Row = dict[str, object]


class Counts(NamedTuple):
    """Number of images scored, of scored images that were flagged, and of files left out."""

    scored: int
    flagged: int
    left_out: int

    def __str__(self) -> str:
        return f"{self.scored:,} images scored, {self.flagged:,} of them flagged, {self.left_out:,} left out"


def predict_files(bundle: Path, paths: Iterable[Path], out: Path) -> Counts:
    """Score image files with the bundle in the folder ``bundle`` and write the scores as CSV.

    paths  files and folders, searched as by ``find_images``
    out    columns: path, one per class, prediction, frontal, flag, note, left_out. If the bundle has operating points
           or prediction sets, these columns follow ``prediction``: ``positive_at_<operating point>``, whether the image
           is positive there; ``prediction_set``, the classes that cannot be excluded. ``frontal`` is the score in
           [0, 1] for a frontal chest radiograph. ``flag`` is a text if that score is below FLAG, or if the image was
           stored inverted and has been corrected; else empty. ``note`` says what the file's header declares and reading
           did not apply. A file that cannot be used has no scores, and the reason in ``left_out``.
    Raises CxrflowError as ``find_images`` and ``Predictor`` do.
    """
    files = find_images(paths)
    predictor = Predictor(bundle)
    prepared = track(_prepared(files, predictor.bundle.images), "predicting", total=len(files))
    rows = [row for batch in _batches(zip(files, prepared, strict=True)) for row in _rows(predictor, batch)]
    write_whole(out, _csv(_columns(predictor.bundle), rows).encode())
    left_out = sum(row["left_out"] is not None for row in rows)
    return Counts(len(rows) - left_out, sum(row["flag"] is not None for row in rows), left_out)


def find_images(paths: Iterable[Path]) -> list[Path]:
    """The given files, and the images in the given folders at any depth, sorted by path within each folder.

    In folders, images are recognised by file name ending and DICOM files by content, because archives often store DICOM
    without an ending.
    Raises CxrflowError if a path does not exist or no image is found.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(p for p in path.rglob("*") if p.is_file() and _looks_like_an_image(p))
        elif path.exists():
            found.append(path)
        else:
            raise CxrflowError(f"{path}: no such file or folder.")
    if not found:
        raise CxrflowError(f"no image found (endings: {', '.join(ENDINGS)}); name a file or a folder of images.")
    return found


def _looks_like_an_image(path: Path) -> bool:
    if path.suffix.lower() in ENDINGS:
        return True
    with path.open("rb") as file:
        return is_dicom(file.read(132))


def _prepared(files: Sequence[Path], steps: Images) -> Iterator[PreparedFile | str]:
    """The prepared image of each file, or the reason why the file is left out."""
    prepare = partial(try_file, steps)
    if len(files) <= _FEW:
        return map(prepare, files)
    from cxrflow.engines import LocalEngine

    # Workers started by an earlier call may have another working directory.
    return LocalEngine().map(prepare, [file.absolute() for file in files])


_Item = tuple[Path, PreparedFile | str]


def _batches(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    batch: list[_Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    yield batch


def _rows(predictor: Predictor, batch: list[_Item]) -> Iterator[_Row]:
    images = [prepared.image for _, prepared in batch if not isinstance(prepared, str)]
    scores = iter(predictor.scores_if_any(np.stack(images)) if images else ())
    for path, prepared in batch:
        score = None if isinstance(prepared, str) else next(scores)
        if isinstance(prepared, str) or score is None or not np.isfinite(score).all():
            reason = prepared if isinstance(prepared, str) else NO_NUMBER
            yield {"path": str(path), "flag": None, "left_out": reason}
        else:
            yield {
                "path": str(path),
                **_decisions(predictor.bundle, score),
                "frontal": prepared.frontal,
                "flag": NOT_FRONTAL if prepared.frontal < FLAG else TURNED if prepared.turned else None,
                "note": prepared.note,
                "left_out": None,
            }


def _decisions(bundle: Bundle, score: np.ndarray) -> _Row:
    """Scores, prediction, operating points and prediction set of one image, by column.

    score  calibrated probabilities, float (classes,)
    """
    order, positive = bundle.task.order, score[bundle.task.positive_column]
    decided: _Row = {**dict(zip(order, score.tolist(), strict=True)), "prediction": order[int(score.argmax())]}
    decided |= {f"positive_at_{name}": bool(positive >= at.threshold) for name, at in bundle.thresholds.items()}
    if bundle.prediction_sets:
        held = bundle.prediction_sets.held(score[None], order)[0]
        decided["prediction_set"] = " ".join(name for name, is_in in zip(order, held, strict=True) if is_in)
    return decided


def _columns(bundle: Bundle) -> list[str]:
    return ["path", *_decisions(bundle, np.zeros(len(bundle.task.order))), "frontal", "flag", "note", "left_out"]


def _csv(columns: Sequence[str], rows: Iterable[_Row]) -> str:
    """CSV with six decimals; missing values are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        values = (row.get(name) for name in columns)
        writer.writerow([f"{value:.6f}" if isinstance(value, float) else value for value in values])
    return text.getvalue()
