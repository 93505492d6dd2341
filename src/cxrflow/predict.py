"""From image files to results on disk, for ``cxrflow predict`` and ``cxrflow explain``."""

import itertools
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import cxrflow
from cxrflow.bundle import Bundle
from cxrflow.bundle_files import TRAINED_ON
from cxrflow.engines import LocalEngine, Lost
from cxrflow.errors import CxrflowError
from cxrflow.files import check_writable, code_digest, digest, write_whole
from cxrflow.folders import SAME_FILE, Found, Search, counted, expanded
from cxrflow.images.file import LeftOutFile, PreparedFile, if_lost, try_source
from cxrflow.outputs.dicom import NOT_DICOM, Kind
from cxrflow.outputs.dicom_files import write_objects
from cxrflow.outputs.fhir import fhir_lines
from cxrflow.outputs.journal import Journal, open_journal, state_of
from cxrflow.outputs.pictures import Drawing, draw, png_name
from cxrflow.outputs.places import Outputs, check_places
from cxrflow.outputs.registry import find_output
from cxrflow.outputs.tables import csv_table, json_lines
from cxrflow.outputs.words import in_words
from cxrflow.plugins import running
from cxrflow.predictor import BATCH, Predictor, batches
from cxrflow.reading import EXTENSIONS
from cxrflow.reading.letters import check_installed, detector
from cxrflow.result import Result
from cxrflow.running import only_run
from cxrflow.terminal import remark, track
from cxrflow.text import name_text, number_of

#: Files of the package that a result depends on, beside the bundle.
_CODE = (
    *("reading", "images", "lungs", "models", "outputs", "metadata/near.py", "metadata/near_hash.py"),
    *("far.py", "network.py", "onnx_file.py", "predictor.py", "result.py", "trained_on.py"),
)

#: What the journal notes of a file: no picture could be drawn, a DICOM object is lacking, the file is not DICOM; and,
#: once for each, that a DICOM object was written.
_NO_PICTURE, _LACKS, _NO_DICOM, _WRITTEN = "picture", "objects", "dicom", "written"


@dataclass(frozen=True)
class Counts:
    """What a prediction did.

    scored, flagged  images scored, and those of them with a flag
    left_out, again  files left out, and those of them that were asked about before under another name
    undrawn          images scored of which a picture was wanted and could not be drawn
    objects          DICOM objects written
    unfiled          files of which DICOM objects were wanted and could not all be made
    no_dicom         those of them that are not DICOM
    fhir             FHIR bundles written
    passed_over      what the search passed over, in words
    drawn            whether the bundle was trained on drawings
    """

    scored: int = 0
    flagged: int = 0
    left_out: int = 0
    again: int = 0
    undrawn: int = 0
    objects: int = 0
    unfiled: int = 0
    no_dicom: int = 0
    fhir: int = 0
    passed_over: str = ""
    drawn: bool = False

    @property
    def failed(self) -> int:
        """Number of files without a score, pictures not drawn, and files without DICOM objects; a second name is
        none."""
        return self.left_out - self.again + self.undrawn + self.unfiled

    def __str__(self) -> str:
        said = f"{number_of(self.scored, 'image')} scored, {self.flagged:,} of them flagged, {self.left_out:,} left out"
        return f"{said}; passed over: {self.passed_over}" if self.passed_over else said

    def in_words(self, outputs: Outputs) -> Iterator[str]:
        """What was written into each of the outputs, a line each."""
        yield f"{name_text(outputs.table)}: {self}"
        if outputs.lines:
            yield f"{name_text(outputs.lines)}: {number_of(self.scored + self.left_out, 'result')}, one a line"
        if outputs.heatmaps:
            lacking = f"; {number_of(self.undrawn, 'scored image')} without one" if self.undrawn else ""
            yield f"{name_text(outputs.heatmaps)}: {number_of(self.scored - self.undrawn, 'picture')}{lacking}"
        if outputs.dicom:
            incomplete = self.unfiled - self.no_dicom
            lacking = f"; not DICOM: {number_of(self.no_dicom, 'file')}" if self.no_dicom else ""
            lacking += f"; incomplete: of {number_of(incomplete, 'file')}" if incomplete else ""
            yield f"{name_text(outputs.dicom)}: {number_of(self.objects, 'DICOM object')}{lacking}"
        if outputs.fhir:
            bundles = number_of(self.fhir, f"FHIR {outputs.fhir_version} bundle")
            yield f"{name_text(outputs.fhir)}: {bundles}, one a line"
        for name, file in outputs.more:
            yield f"{name_text(file)}: {name}"


def predict_files(bundle: Path, paths: Iterable[Path], outputs: Outputs, member: int | None = None) -> Counts:
    """Score image files with the bundle in the folder ``bundle``.

    paths   files, folders and patterns (``expanded``), searched as by ``Search.images``
    member  use this network of the bundle alone, from 1; operating points and prediction sets are of all networks
            together
    Every file has a row: one that cannot be used has the reason in ``left_out``. Tables are written whole or not at
    all, pictures as they are made. An interrupted prediction resumes if bundle, outputs and program are the same, up to
    the first file that is not as it was.
    Raises CxrflowError if an output cannot be written or is among the files asked about, another prediction writes it,
    a path does not exist, no image is found, or the extra ``text`` is wanted and not installed, and as ``Predictor``
    does.
    """
    paths = list(expanded(paths))
    if outputs.text:
        check_installed("--burned-in-text")
    check_places(outputs, paths)
    search = Search()
    files = list(search.images(paths))
    passed_over = counted(search.passed_over)
    if not files:
        held = f"passed over: {passed_over}" if passed_over else f"extensions: {', '.join(EXTENSIONS)}"
        raise CxrflowError(f"no image found ({held}); name a file or a folder of images.")
    for out in outputs.files:
        if out.exists() and any(file.left_out is None and out.samefile(file.path) for file in files):
            raise CxrflowError(f"{name_text(out)} is one of the images; name another file.")
    predictor = _opened(bundle, member)
    if predictor.bundle.far is None:
        remark(f"{name_text(bundle)}: does not say what is far from its training images; none is flagged as that")
    states = [state_of(file) for file in files]
    with ExitStack() as stack:
        for out in outputs.files:
            stack.enter_context(only_run(out, of_file=True))
        for folder in sorted(outputs.folders):
            stack.enter_context(only_run(folder))
        journal = stack.enter_context(open_journal(outputs.table, _key(predictor, outputs)))
        done, discarded = journal.resume(states)
        if done or discarded:
            changed = f"; scored again, because files or options changed: {discarded:,}" if discarded else ""
            remark(f"scored already: {done:,} of {number_of(len(files), 'file')}{changed}")
        _score(predictor, list(zip(files, states, strict=True))[done:], done + 1, outputs, journal)
        write_whole(outputs.table, csv_table(predictor.bundle, journal.results(), outputs.paths, outputs.text))
        if outputs.lines:
            write_whole(outputs.lines, json_lines(journal.results(), outputs.paths))
        bundles = itertools.count()
        if outputs.fhir:
            lines = fhir_lines(journal.by_study(), predictor.bundle, outputs.fhir_version)
            write_whole(outputs.fhir, (line for line, _ in zip(lines, bundles, strict=False)))
        for name, file in outputs.more:
            with running("outputs", name):
                write_whole(file, find_output(name)(predictor.bundle, journal.results()))
        noted = journal.noted()
        return replace(
            _counts(journal.results()),
            again=sum(file.again for file in files),
            undrawn=noted[_NO_PICTURE],
            objects=noted[_WRITTEN],
            unfiled=noted[_LACKS] + noted[_NO_DICOM],
            no_dicom=noted[_NO_DICOM],
            fhir=next(bundles),
            passed_over=passed_over,
            drawn=predictor.bundle.drawn,
        )


def _score(
    predictor: Predictor, files: Sequence[tuple[Found, str]], first: int, outputs: Outputs, journal: Journal
) -> None:
    """Score files, draw them and make DICOM objects if asked for, and note their results.

    files  each with its state
    first  number of the first one
    """
    prepared = _prepared(predictor, [file for file, _ in files], outputs.paths, outputs.text)
    results = predictor.results_of(prepared, outputs.look, first)
    for several in batches(zip(files, track(results, "predicting", total=len(files)), strict=True), BATCH):
        found = [(file.path, result) for (file, _), result in several]
        undrawn = _draw(found, outputs.heatmaps) if outputs.heatmaps else set()
        filed = _file(found, predictor.bundle, outputs.kinds, outputs.dicom) if outputs.dicom else {}
        for at, ((_, state), result) in enumerate(several):
            written, why = filed.get(at, (0, None))
            notes = [_WRITTEN] * written + ([_NO_DICOM if why == NOT_DICOM else _LACKS] if why else [])
            journal.add(state, result, [*notes, *([_NO_PICTURE] if at in undrawn else [])])


def _counts(results: Iterable[Result]) -> Counts:
    scored = flagged = left_out = 0
    for result in results:
        left_out += result.left_out is not None
        scored += result.left_out is None
        flagged += bool(result.left_out is None and result.flags)
    return Counts(scored, flagged, left_out)


def explain_file(bundle: Path, image: Path, out: Path) -> tuple[Result, list[str]]:
    """What the bundle in the folder ``bundle`` says of one file, and the same in words; draws where its networks looked
    as the PNG ``out``.

    Raises CxrflowError if ``image`` is a folder or not there, ``out`` cannot be written or is the file itself, and as
    ``Predictor`` does.
    """
    if image.is_dir():
        raise CxrflowError(
            f"{name_text(image)}: is a folder; name one image, or use `cxrflow predict --heatmaps FOLDER` for several."
        )
    if not os.path.lexists(image):
        raise CxrflowError(f"{name_text(image)}: no such file.")
    check_writable(out)
    if out.exists() and image.exists() and out.samefile(image):
        raise CxrflowError(f"--out {name_text(out)} is the image; name another file.")
    predictor = _opened(bundle)
    (result,) = predictor.results_of(_prepared(predictor, [Found(image)], True), look=True)
    words = list(in_words(result, predictor.bundle))
    if result.left_out is None:
        (why,) = _drawn([Drawing(image.absolute(), result.look, out.absolute())]) if result.look else ["no finite heat"]
        label = predictor.bundle.task.names.get(result.prediction or "", result.prediction)
        words.append(f"No picture: {why}." if why else f"{name_text(out.absolute())}: the heat for {label}.")
    return result, words


def _opened(bundle: Path, member: int | None = None) -> Predictor:
    """The bundle, and a remark if its list of training images is absent."""
    predictor = Predictor(bundle, member)
    if predictor.trained_on is None:
        remark(f"{name_text(bundle)}: {TRAINED_ON} is absent; images that were used to train it are not recognised")
    return predictor


def _key(predictor: Predictor, outputs: Outputs) -> str:
    folders = [folder and str(folder.absolute()) for folder in (outputs.heatmaps, outputs.dicom)]
    code = code_digest(Path(cxrflow.__file__).parent, _CODE)
    looks = detector() if outputs.text else None
    return digest([predictor.bundle.model_dump(mode="json"), folders, outputs.kinds, outputs.paths, looks, code])


def _prepared(
    predictor: Predictor, files: Sequence[Found], paths: bool, text: bool = False
) -> Iterator[tuple[str, PreparedFile | LeftOutFile]]:
    """Each file's path as name text, empty unless ``paths``, and its radiograph prepared or the reason why it is left
    out."""
    to_read = [file.path.absolute() for file in files if file.left_out is None]  # workers have another working folder
    results = LocalEngine().map(partial(try_source, predictor.bundle.steps, burned_in_text=text), to_read)
    for file in files:
        name = name_text(file.path) if paths else ""
        if file.left_out is not None:
            yield name, LeftOutFile(f"{SAME_FILE} another" if file.again and not paths else file.left_out)
        else:
            yield name, if_lost(next(results))


def _draw(several: Sequence[tuple[Path, Result]], folder: Path) -> set[int]:
    """Draw some results into a folder. Returns the positions of those scored that have no picture."""
    scored = [(at, path, result) for at, (path, result) in enumerate(several) if result.left_out is None]
    looks = [(at, path, result, result.look) for at, path, result in scored if result.look]
    drawings = [Drawing(path.absolute(), look, folder.absolute() / png_name(result)) for _, path, result, look in looks]
    undrawn = {at for at, _, result in scored if not result.look}
    for (at, _, result, _), why in zip(looks, _drawn(drawings), strict=True):
        if why is not None:
            remark(f"{result.image}: no picture: {why}")
            undrawn.add(at)
    return undrawn


def _file(
    several: Sequence[tuple[Path, Result]], bundle: Bundle, kinds: tuple[Kind, ...], folder: Path
) -> dict[int, tuple[int, str | None]]:
    """Write DICOM objects of some results into a folder. Returns by position, of each file that could be read, how many
    were written, and the reason if one is lacking."""
    held = [(at, path, result) for at, (path, result) in enumerate(several) if result.image.startswith("sha256:")]
    wanted = [(path.absolute(), result) for _, path, result in held]
    done = LocalEngine().map(partial(write_objects, bundle, kinds, folder.absolute()), wanted)
    filed = {}
    for (at, _, result), made in zip(held, done, strict=True):
        written, why = filed[at] = (0, made.reason) if isinstance(made, Lost) else made
        if why not in (None, NOT_DICOM):
            remark(f"{result.image}: {'not all' if written else 'no'} DICOM objects: {why}")
    return filed


def _drawn(drawings: Sequence[Drawing]) -> list[str | None]:
    """Draw in worker processes, because encoding a picture takes longer than scoring it. Returns why each could not be
    drawn, or None."""
    done = LocalEngine().map(draw, drawings)
    return [why.reason if isinstance(why, Lost) else why for why in done]
