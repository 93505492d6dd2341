"""Image files to a table of scores: what ``cxrflow predict`` does."""

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
from cxrflow.predictor import Predictor
from cxrflow.reading import ENDINGS, is_dicom
from cxrflow.reading.frontal import FLAG, NOT_FRONTAL, TURNED

_BATCH = 64
#: Up to this many files are prepared in this process; for more it pays to start worker processes.
_FEW = 8

_Row = dict[str, object]


class Counts(NamedTuple):
    """Images scored, those of them that were flagged, and files left out."""

    scored: int
    flagged: int
    left_out: int

    def __str__(self) -> str:
        return f"{self.scored:,} images scored, {self.flagged:,} of them flagged, {self.left_out:,} left out"


def predict_files(bundle: Path, paths: Iterable[Path], out: Path) -> Counts:
    """Score image files (as ``find_images`` finds them) with the bundle in a folder; write the scores as CSV.

    out  columns: path, one per class, prediction, frontal, flag, left_out. Where the bundle has them, after
         ``prediction``: ``positive_at_<operating point>``, whether the image is called positive there, and
         ``prediction_set``, the classes that cannot be excluded. ``frontal``, in [0, 1], is how much the picture looks
         like a frontal chest radiograph; ``flag`` is text where that is below FLAG or where the picture was stored
         inverted and was turned, else empty. A file that cannot be used has the reason in ``left_out`` and no scores.
    Raises CxrflowError as ``find_images`` and ``Predictor``.
    """
    files = find_images(paths)
    predictor = Predictor(bundle)
    prepared = track(_prepared(files, predictor.bundle.images), "predicting", total=len(files))
    rows = [row for batch in _batches(zip(files, prepared, strict=True)) for row in _rows(predictor, batch)]
    write_whole(out, _csv(_columns(predictor.bundle), rows).encode())
    left_out = sum(row["left_out"] is not None for row in rows)
    return Counts(len(rows) - left_out, sum(row["flag"] is not None for row in rows), left_out)


def find_images(paths: Iterable[Path]) -> list[Path]:
    """Files as given; of folders, at any depth, the pictures (by file name ending) and the DICOM files (by content,
    because archives often name them without an ending), sorted.

    Raises CxrflowError where a path is absent or nothing is found.
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
    """Each file prepared, or the reason why it is left out."""
    prepare = partial(try_file, steps)
    if len(files) <= _FEW:
        return map(prepare, files)
    from cxrflow.engines import LocalEngine

    # Workers that an earlier call started may be in another folder.
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
    scores = iter(predictor.scores(np.stack(images)) if images else ())
    for path, prepared in batch:
        if isinstance(prepared, str):
            yield {"path": str(path), "flag": None, "left_out": prepared}
        else:
            yield {
                "path": str(path),
                **_decisions(predictor.bundle, next(scores)),
                "frontal": prepared.frontal,
                "flag": NOT_FRONTAL if prepared.frontal < FLAG else TURNED if prepared.turned else None,
                "left_out": None,
            }


def _decisions(bundle: Bundle, score: np.ndarray) -> _Row:
    """Of one image's probabilities, float (classes,): scores, prediction, and what the bundle's operating points and
    prediction sets say, by column."""
    order, positive = bundle.task.order, score[bundle.task.positive_column]
    decided: _Row = {**dict(zip(order, score.tolist(), strict=True)), "prediction": order[int(score.argmax())]}
    decided |= {f"positive_at_{name}": bool(positive >= at.threshold) for name, at in bundle.thresholds.items()}
    if bundle.prediction_sets:
        held = bundle.prediction_sets.held(score[None], order)[0]
        decided["prediction_set"] = " ".join(name for name, is_in in zip(order, held, strict=True) if is_in)
    return decided


def _columns(bundle: Bundle) -> list[str]:
    return ["path", *_decisions(bundle, np.zeros(len(bundle.task.order))), "frontal", "flag", "left_out"]


def _csv(columns: Sequence[str], rows: Iterable[_Row]) -> str:
    """CSV with six decimals; what a row has no value for is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        values = (row.get(name) for name in columns)
        writer.writerow([f"{value:.6f}" if isinstance(value, float) else value for value in values])
    return text.getvalue()
