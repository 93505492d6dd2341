"""One job of an orchestrator: the DICOM files of a folder scored, the results written into another folder.

The folders of mercure (https://mercure-imaging.org/docs/modules.html): settings in ``task.json`` of the folder of
images, under ``process`` and ``settings``; a summary in ``result.json`` of the other.
"""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydicom import dcmread

from cxrflow.errors import CxrflowError, nearest, one_line
from cxrflow.files import check_writable, write_json, write_whole
from cxrflow.folders import Search
from cxrflow.outputs.dicom import Kind, check_extra
from cxrflow.outputs.dicom_files import kinds_named
from cxrflow.predictor import Predictor
from cxrflow.reading import is_dicom
from cxrflow.reading.letters import check_installed
from cxrflow.result import Result
from cxrflow.running import only_run
from cxrflow.serving.dicom_results import dicom_results
from cxrflow.state import read_json
from cxrflow.text import name_text, number_of

TASK, RESULT = "task.json", "result.json"
#: Variables that name the folders, the first that is set counts.
_IN, _OUT = ("CXRFLOW_IN", "MERCURE_IN_DIR"), ("CXRFLOW_OUT", "MERCURE_OUT_DIR")


class Job(NamedTuple):
    """What a job did: images scored, images left out or without any object; objects written, reports that an image was
    left out among them."""

    scored: int
    left_out: int
    objects: int

    def __str__(self) -> str:
        return f"{number_of(self.scored, 'image')} scored, {self.left_out:,} left out"


def folders(environment: Mapping[str, str]) -> tuple[Path, Path]:
    """The folders of images and of results that the environment names. Raises CxrflowError if it does not, if the first
    is absent, or if the second lies in it."""
    found = []
    for names in (_IN, _OUT):
        value = next((environment[name] for name in names if environment.get(name)), None)
        if value is None:
            raise CxrflowError(f"the environment has neither {' nor '.join(names)}; set one of them to a folder.")
        found.append(Path(value))
    images, results = found
    if not images.is_dir():
        raise CxrflowError(f"{name_text(images)}: is no folder; name that of the images.")
    if results.absolute().resolve().is_relative_to(images.absolute().resolve()):
        raise CxrflowError(
            f"{name_text(results)}: lies in {name_text(images)}, whose images are scored; results would be among them "
            "next time. Name a folder elsewhere."
        )
    return images, results


def run_job(bundle: Path, images: Path, results: Path, kinds: Sequence[Kind], burned_in_text: bool = False) -> Job:
    """Score the DICOM files in the folder ``images``, subfolders included, and write into the folder ``results``: each
    object as ``<SeriesInstanceUID>#<SOPInstanceUID>.dcm``, the naming of mercure, and ``result.json``.

    kinds           of objects, where task.json says nothing else
    burned_in_text  whether to look for text burned into the pictures, which is flagged
    The file ``result.json`` is the last to be written: where it is, the others are whole.
    Raises CxrflowError if no DICOM file is found, task.json is damaged or has other settings, the bundle cannot be
    read, or text is to be looked for and the extra ``text`` is not installed.
    """
    check_extra()
    if burned_in_text:
        check_installed("--burned-in-text")
    kinds = _settings(images / TASK, kinds)
    check_writable(results / RESULT)
    with only_run(results):
        paths = [file.path for file in Search().images([images]) if not file.again and _is_dicom(file.path)]
        if not paths:
            raise CxrflowError(f"{name_text(images)}: no DICOM file is in it; name the folder of the images.")
        predictor, answered = Predictor(bundle), list[Result]()
        without = objects = 0
        for made in dicom_results(predictor, kinds, paths, burned_in_text):
            answered.append(made.result)
            without += made.result.left_out is None and made.reason is not None
            objects += len(made.objects)
            for content in made.objects:
                _write(results, content)
        left_out = without + sum(result.left_out is not None for result in answered)
        job = Job(len(answered) - left_out, left_out, objects)
        said = [result.model_dump(mode="json", exclude={"path"}) for result in answered]
        write_json(results / RESULT, {"scored": job.scored, "left_out": job.left_out, "results": said})
    return job


def _settings(task: Path, kinds: Sequence[Kind]) -> Sequence[Kind]:
    """The kinds of objects that task.json asks for (text such as "sr,sc", or a list), else those given."""
    if not task.exists():
        return kinds
    process = read_json(task, "let the orchestrator write it again").get("process")
    steps = process if isinstance(process, list) else [process]
    found = [step["settings"] for step in steps if isinstance(step, dict) and isinstance(step.get("settings"), dict)]
    if len(found) == 1 and (unknown := sorted(set(found[0]) - {"kinds"})):
        raise CxrflowError(
            f"{name_text(task)}: {one_line(unknown[0], 40)!r} is no setting{nearest(unknown[0], ['kinds'])}; the only "
            "one is kinds, such as sr,sc."
        )
    for settings in found:  # of several modules in a row, those of this one
        if "kinds" in settings:
            asked: Any = settings["kinds"]
            return kinds_named(",".join(map(str, asked)) if isinstance(asked, list) else str(asked))
    return kinds


def _is_dicom(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return is_dicom(file.read(132))
    except OSError:  # it has a result, which says why
        return True


def _write(folder: Path, content: bytes) -> None:
    about = dcmread(io.BytesIO(content), specific_tags=["SeriesInstanceUID", "SOPInstanceUID"])
    write_whole(folder / f"{about.SeriesInstanceUID}#{about.SOPInstanceUID}.dcm", content)
