"""From image files to results on disk, for ``cxrflow predict`` and ``cxrflow explain``."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import cxrflow
from cxrflow.engines import LocalEngine, Lost
from cxrflow.errors import CxrflowError
from cxrflow.files import check_writable, code_digest, digest, write_whole
from cxrflow.folders import SAME_FILE, Found, Search, counted
from cxrflow.images.file import LeftOutFile, PreparedFile, try_source
from cxrflow.outputs.journal import Journal, open_journal, state_of
from cxrflow.outputs.pictures import Drawing, draw, png_name
from cxrflow.outputs.tables import csv_table, json_lines
from cxrflow.outputs.words import in_words
from cxrflow.predictor import BATCH, Predictor, batches
from cxrflow.reading import EXTENSIONS
from cxrflow.result import Result
from cxrflow.running import only_run
from cxrflow.terminal import remark, track
from cxrflow.text import name_text

#: Files of the package that a result depends on, beside the bundle.
_CODE = ("reading", "images", "lungs", "models", "network.py", "onnx_file.py", "predictor.py", "result.py", "outputs")


@dataclass(frozen=True)
class Counts:
    """What a prediction did.

    scored, flagged  images scored, and those of them with a flag
    left_out, again  files left out, and those of them that were asked about before under another name
    undrawn          images scored of which a picture was wanted and could not be drawn
    passed_over      what the search passed over, in words
    drawn            whether the bundle was trained on drawings
    """

    scored: int = 0
    flagged: int = 0
    left_out: int = 0
    again: int = 0
    undrawn: int = 0
    passed_over: str = ""
    drawn: bool = False

    @property
    def failed(self) -> int:
        """Number of files without a score, or without the picture that was wanted of them; a second name is none."""
        return self.left_out - self.again + self.undrawn

    def __str__(self) -> str:
        said = f"{self.scored:,} images scored, {self.flagged:,} of them flagged, {self.left_out:,} left out"
        said += f"; no picture of {self.undrawn:,}" if self.undrawn else ""
        return f"{said}; passed over: {self.passed_over}" if self.passed_over else said


class Outputs(NamedTuple):
    """Where the results of a prediction go.

    table     CSV file
    lines     file of JSON lines, or None
    heatmaps  folder for a picture of each image, or None
    paths     whether table and lines name the files by their paths, too; else by ``Result.image`` alone
    """

    table: Path
    lines: Path | None = None
    heatmaps: Path | None = None
    paths: bool = False

    @property
    def files(self) -> list[Path]:
        """Table and JSON lines, where asked for."""
        return [self.table, *([self.lines] if self.lines else [])]


def predict_files(bundle: Path, paths: Iterable[Path], outputs: Outputs, member: int | None = None) -> Counts:
    """Score image files with the bundle in the folder ``bundle``.

    paths   files and folders, searched as by ``Search.images``
    member  use this network of the bundle alone, from 1; operating points and prediction sets are of all networks
            together
    Every file has a row: one that cannot be used has the reason in ``left_out``. Tables are written whole or not at
    all, pictures as they are made. An interrupted prediction resumes if bundle, outputs and program are the same, up to
    the first file that is not as it was.
    Raises CxrflowError if an output cannot be written or is among the files asked about, another prediction writes it,
    a path does not exist, or no image is found, and as ``Predictor`` does.
    """
    paths = list(paths)
    _check(outputs, paths)
    search = Search()
    files = list(search.images(paths))
    passed_over = counted(search.passed_over)
    if not files:
        held = f"passed over: {passed_over}" if passed_over else f"extensions: {', '.join(EXTENSIONS)}"
        raise CxrflowError(f"no image found ({held}); name a file or a folder of images.")
    for out in outputs.files:
        if out.exists() and any(file.left_out is None and out.samefile(file.path) for file in files):
            raise CxrflowError(f"{name_text(out)} is one of the images; name another file.")
    predictor = Predictor(bundle, member)
    states = [state_of(file) for file in files]
    with ExitStack() as stack:
        for out in outputs.files:
            stack.enter_context(only_run(out, of_file=True))
        if outputs.heatmaps:
            stack.enter_context(only_run(outputs.heatmaps))
        journal = stack.enter_context(open_journal(outputs.table, _key(predictor, outputs)))
        done, discarded = journal.resume(states)
        if done or discarded:
            changed = f"; {discarded:,} others are scored again, because files or options changed" if discarded else ""
            remark(f"{done:,} of {len(files):,} files are scored already{changed}")
        undrawn = _score(predictor, list(zip(files, states, strict=True))[done:], done + 1, outputs, journal)
        write_whole(outputs.table, csv_table(predictor.bundle, journal.results(), outputs.paths))
        if outputs.lines:
            write_whole(outputs.lines, json_lines(journal.results(), outputs.paths))
        return replace(
            _counts(journal.results()),
            again=sum(file.again for file in files),
            undrawn=undrawn,
            passed_over=passed_over,
            drawn=predictor.bundle.drawn,
        )


def _score(
    predictor: Predictor, files: Sequence[tuple[Found, str]], first: int, outputs: Outputs, journal: Journal
) -> int:
    """Score files, draw them if asked for, and note their results. Returns the number of images without a picture.

    files  each with its state
    first  number of the first one
    """
    prepared = _prepared(predictor, [file for file, _ in files], outputs.paths)
    results = predictor.results_of(prepared, outputs.heatmaps is not None, first)
    undrawn = 0
    for several in batches(zip(files, track(results, "predicting", total=len(files)), strict=True), BATCH):
        if outputs.heatmaps:
            undrawn += _draw([(file.path, result) for (file, _), result in several], outputs.heatmaps)
        for (_, state), result in several:
            journal.add(state, result)
    return undrawn


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

    Raises CxrflowError if ``out`` cannot be written or is the file itself, and as ``Predictor`` does.
    """
    check_writable(out)
    if out.exists() and image.exists() and out.samefile(image):
        raise CxrflowError(f"--out {name_text(out)} is the image; name another file.")
    predictor = Predictor(bundle)
    (result,) = predictor.results_of(_prepared(predictor, [Found(image)], True), look=True)
    words = list(in_words(result, predictor.bundle))
    if result.left_out is None:
        (why,) = _drawn([Drawing(image.absolute(), result.look, out.absolute())]) if result.look else ["no finite heat"]
        label = predictor.bundle.task.names.get(result.prediction or "", result.prediction)
        words.append(f"No picture: {why}." if why else f"{name_text(out.absolute())}: the heat for {label}.")
    return result, words


def _check(outputs: Outputs, paths: Sequence[Path]) -> None:
    """Raise CxrflowError if an output cannot be written, two are one file, or pictures would be among those asked
    about."""
    for out in outputs.files:
        check_writable(out)
    if outputs.lines and outputs.lines.absolute().resolve() == outputs.table.absolute().resolve():
        raise CxrflowError(
            f"{name_text(outputs.lines)}: is named for the CSV and for the JSON lines; name another file."
        )
    if (folder := outputs.heatmaps) is None:
        return
    if folder.exists() and not folder.is_dir():
        raise CxrflowError(f"{name_text(folder)}: is a file; name a folder for the pictures.")
    inside = folder.absolute().resolve()
    for path in paths:
        if path.is_dir() and inside.is_relative_to(path.absolute().resolve()):
            raise CxrflowError(
                f"{name_text(folder)}: lies in {name_text(path)}, whose images are scored; its pictures would be among "
                "them next time. Name a folder elsewhere."
            )


def _key(predictor: Predictor, outputs: Outputs) -> str:
    folder = outputs.heatmaps and str(outputs.heatmaps.absolute())
    code = code_digest(Path(cxrflow.__file__).parent, _CODE)
    return digest([predictor.bundle.model_dump(mode="json"), folder, outputs.paths, code])


def _prepared(
    predictor: Predictor, files: Sequence[Found], paths: bool
) -> Iterator[tuple[str, PreparedFile | LeftOutFile]]:
    """Each file's path as name text, empty unless ``paths``, and its radiograph prepared or the reason why it is left
    out."""
    to_read = [file.path.absolute() for file in files if file.left_out is None]  # workers have another working folder
    results = LocalEngine().map(partial(try_source, predictor.bundle.steps), to_read)
    for file in files:
        name = name_text(file.path) if paths else ""
        if file.left_out is not None:
            yield name, LeftOutFile(f"{SAME_FILE} another" if file.again and not paths else file.left_out)
        else:
            found = next(results)
            yield name, LeftOutFile(found.reason) if isinstance(found, Lost) else found


def _draw(several: Sequence[tuple[Path, Result]], folder: Path) -> int:
    """Draw some results into a folder. Returns the number of images scored that have no picture."""
    scored = [(path, result) for path, result in several if result.left_out is None]
    looks = [(path, result, result.look) for path, result in scored if result.look]
    drawings = [Drawing(path.absolute(), look, folder.absolute() / png_name(result)) for path, result, look in looks]
    failed = [(result, why) for (_, result, _), why in zip(looks, _drawn(drawings), strict=True) if why is not None]
    for result, why in failed:
        remark(f"{result.image}: no picture: {why}")
    return len(failed) + len(scored) - len(looks)


def _drawn(drawings: Sequence[Drawing]) -> list[str | None]:
    """Draw in worker processes, because encoding a picture takes longer than scoring it. Returns why each could not be
    drawn, or None."""
    done = LocalEngine().map(draw, drawings)
    return [why.reason if isinstance(why, Lost) else why for why in done]
