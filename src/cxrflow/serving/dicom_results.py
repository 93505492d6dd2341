"""From DICOM files to DICOM results, for the DICOM node and for the folders of orchestrators."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from cxrflow.engines import LocalEngine, Lost
from cxrflow.images.file import if_lost, try_source
from cxrflow.outputs.dicom import Kind
from cxrflow.outputs.dicom_files import dicom_files
from cxrflow.predictor import BATCH, Predictor, batches
from cxrflow.result import Result


class Made(NamedTuple):
    """What was made of one DICOM file.

    result   of the bundle; with its reason if the image was left out
    objects  DICOM files: of a left out image a report that says so
    reason   why there are none, else None
    """

    result: Result
    objects: Sequence[bytes]
    reason: str | None = None


def dicom_results(
    predictor: Predictor, kinds: Sequence[Kind], paths: Sequence[Path], burned_in_text: bool = False
) -> Iterator[Made]:
    """Score DICOM files and make the DICOM objects of their results, in the order of the files.

    burned_in_text  whether to look for text burned into the pictures, which is flagged
    Files are read, and objects made, in guarded worker processes: no header or pixel data is decoded in this one.
    """
    engine = LocalEngine()
    prepare = partial(try_source, predictor.bundle.steps, burned_in_text=burned_in_text)
    read = engine.map(prepare, [path.absolute() for path in paths])
    results = predictor.results_of((("", if_lost(each)) for each in read), look=set(kinds) != {"sr"})
    make = partial(dicom_files, predictor.bundle, kinds)
    for batch in batches(zip(paths, results, strict=True), BATCH):
        objects = engine.map(make, [(path.absolute(), result) for path, result in batch])
        for (_, result), made in zip(batch, objects, strict=True):
            if isinstance(made, list):
                yield Made(result, made)
            else:
                yield Made(result, (), made.reason if isinstance(made, Lost) else made)
