"""From image files to a table of scores, for ``cxrflow predict``."""

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from cxrflow.bundle import Bundle
from cxrflow.engines import LocalEngine, Lost
from cxrflow.errors import CxrflowError
from cxrflow.files import check_writable, write_whole
from cxrflow.folders import Found, Search, counted
from cxrflow.images.file import PreparedFile, try_file
from cxrflow.params import Images
from cxrflow.predictor import NO_NUMBER, Predictor
from cxrflow.reading import EXTENSIONS
from cxrflow.reading.frontal import FLAG, NOT_FRONTAL, TURNED
from cxrflow.terminal import track
from cxrflow.text import clean, inert, name_text

_BATCH = 64
#: Columns whose texts are counted.
_COUNTED = ("flag", "left_out")

_Row = dict[str, object]


class Counts(NamedTuple):
    """Number of images scored, of scored images that were flagged, of files left out, and what was passed over."""

    scored: int
    flagged: int
    left_out: int
    passed_over: str

    def __str__(self) -> str:
        said = f"{self.scored:,} images scored, {self.flagged:,} of them flagged, {self.left_out:,} left out"
        return f"{said}; passed over: {self.passed_over}" if self.passed_over else said


def predict_files(bundle: Path, paths: Iterable[Path], out: Path, member: int | None = None) -> Counts:
    """Score image files with the bundle in the folder ``bundle`` and write the scores as CSV.

    paths  files and folders, searched as by ``Search.images``
    member use this network of the bundle alone, from 1; operating points and prediction sets are of all networks
    together out    columns: path, one per class, prediction, frontal, flag, note, left_out. ``path`` is name text, made
                    inert
           (text.py). If the bundle has operating points or prediction sets, these columns follow ``prediction``:
           ``positive_at_<operating point>``, whether the image is positive there; ``prediction_set``, the classes that
           cannot be excluded. ``frontal`` is the score in [0, 1] for a frontal chest radiograph. ``flag`` is a text if
           that score is below FLAG, or if the image was stored inverted and has been corrected; else empty. ``note``
           says what the file's header declares and reading did not apply. A file that cannot be used has no scores, and
           the reason in ``left_out``.
    Raises CxrflowError if ``out`` cannot be written, a path does not exist, or no image is found, and as ``Predictor``
    does. The table is written whole or not at all.
    """
    check_writable(out)
    search = Search()
    files = list(search.images(paths))
    passed_over = counted(search.passed_over)
    if not files:
        held = f"passed over: {passed_over}" if passed_over else f"extensions: {', '.join(EXTENSIONS)}"
        raise CxrflowError(f"no image found ({held}); name a file or a folder of images.")
    if out.exists() and any(file.left_out is None and out.samefile(file.path) for file in files):
        raise CxrflowError(f"--out {name_text(out)} is one of the images; name another file.")
    predictor = Predictor(bundle, member)
    shown = track(_prepared(files, predictor.bundle.steps), "predicting", total=len(files))
    counts: Counter[str] = Counter()
    write_whole(out, _table(predictor, zip((file.path for file in files), shown, strict=True), counts))
    return Counts(counts["rows"] - counts["left_out"], counts["flag"], counts["left_out"], passed_over)


def _table(predictor: Predictor, items: "Iterable[_Item]", counts: Counter[str]) -> Iterator[bytes]:
    """The table in parts, counting its rows and those with a ``flag`` or ``left_out``."""
    columns = _columns(predictor.bundle)
    yield _csv([columns])
    for batch in _batches(items):
        rows = list(_rows(predictor, batch))
        counts.update({"rows": len(rows)} | {name: sum(row[name] is not None for row in rows) for name in _COUNTED})
        yield _csv([row.get(name) for name in columns] for row in rows)


def _prepared(files: Sequence[Found], steps: Sequence[Images]) -> Iterator[PreparedFile | str]:
    """The prepared image of each file, or the reason why the file is left out."""
    to_read = [file.path.absolute() for file in files if file.left_out is None]  # workers have another working folder
    results = LocalEngine().map(partial(try_file, steps), to_read)
    prepared = (result.reason if isinstance(result, Lost) else result for result in results)
    for file in files:
        yield next(prepared) if file.left_out is None else file.left_out


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
    images = [prepared.images for _, prepared in batch if not isinstance(prepared, str)]
    views = [np.stack(view) for view in zip(*images, strict=True)]
    scores = iter(predictor.scores_by_fold(views).swapaxes(0, 1) if images else ())
    for path, prepared in batch:
        score = None if isinstance(prepared, str) else next(scores)
        if isinstance(prepared, str) or score is None or not np.isfinite(score).all():
            reason = prepared if isinstance(prepared, str) else NO_NUMBER
            yield {"path": name_text(path), "flag": None, "left_out": reason}
        else:
            yield {
                "path": name_text(path),
                **_decisions(predictor.bundle, score),
                "frontal": prepared.frontal,
                "flag": NOT_FRONTAL if prepared.frontal < FLAG else TURNED if prepared.turned else None,
                "note": prepared.note,
                "left_out": None,
            }


def _decisions(bundle: Bundle, by_fold: np.ndarray) -> _Row:
    """Scores, prediction, operating points and prediction set of one image, by column.

    by_fold  calibrated probabilities, float (folds, classes)
    """
    order, score = bundle.task.order, bundle.pooled(by_fold)
    positive = score[bundle.task.positive_column]
    decided: _Row = {**dict(zip(order, score.tolist(), strict=True)), "prediction": order[int(score.argmax())]}
    decided |= {f"positive_at_{name}": bool(positive >= at.threshold) for name, at in bundle.thresholds.items()}
    if bundle.prediction_sets:
        held = bundle.prediction_sets.held(bundle.for_sets(by_fold[:, None]), order)[0]
        decided["prediction_set"] = " ".join(name for name, is_in in zip(order, held, strict=True) if is_in)
    return decided


def _columns(bundle: Bundle) -> list[str]:
    return [
        "path",
        *_decisions(bundle, np.ones((max(bundle.folds, 1), len(bundle.task.order)))),
        "frontal",
        "flag",
        "note",
        "left_out",
    ]


def _csv(rows: Iterable[Sequence[object]]) -> bytes:
    """CSV with six decimals; missing values are empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue().encode()


def _cell(value: object) -> object:
    if isinstance(value, float):
        return f"{value:.6f}"
    return inert(clean(value)) if isinstance(value, str) else value
