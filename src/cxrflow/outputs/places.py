"""Where the results of a prediction go."""

from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from cxrflow.errors import CxrflowError
from cxrflow.files import check_writable
from cxrflow.outputs.dicom import KINDS, Kind, check_extra
from cxrflow.outputs.fhir import Version
from cxrflow.outputs.registry import find_output
from cxrflow.text import name_text


class Outputs(NamedTuple):
    """Where the results of a prediction go.

    table     CSV file
    lines     file of JSON lines, or None
    heatmaps  folder for a picture of each image, or None
    paths     whether table and lines name the files by their paths, too; else by ``Result.image`` alone
    text      whether to look for text burned into the pictures, which is flagged
    dicom     folder for DICOM objects of each DICOM image, or None
    kinds     of these objects
    fhir      file of FHIR bundles, one a line, or None
    fhir_version  of FHIR
    more      outputs of others by name (``find_output``), each with its file
    """

    table: Path
    lines: Path | None = None
    heatmaps: Path | None = None
    paths: bool = False
    text: bool = False
    dicom: Path | None = None
    kinds: tuple[Kind, ...] = KINDS
    fhir: Path | None = None
    fhir_version: Version = "R4"
    more: tuple[tuple[str, Path], ...] = ()

    @property
    def files(self) -> list[Path]:
        """Table, JSON lines, FHIR bundles and outputs of others, where asked for."""
        return [self.table, *(file for file in (self.lines, self.fhir, *(file for _, file in self.more)) if file)]

    @property
    def folders(self) -> set[Path]:
        """Those for pictures and DICOM objects, where asked for."""
        return {folder for folder in (self.heatmaps, self.dicom) if folder}

    @property
    def look(self) -> bool:
        """Whether it takes where the networks looked."""
        return self.heatmaps is not None or (self.dicom is not None and self.kinds != ("sr",))


def check_places(outputs: Outputs, paths: Sequence[Path]) -> None:
    """Raise CxrflowError if an output cannot be written, two are one file, pictures or DICOM objects would be among
    those asked about, what makes DICOM objects is not installed, or there is no such output of others."""
    for name, _ in outputs.more:
        find_output(name)
    for out in outputs.files:
        check_writable(out)
    named = [("the CSV", outputs.table), ("the JSON lines", outputs.lines), ("the FHIR bundles", outputs.fhir)]
    for (one, first), (other, second) in combinations([*named, *outputs.more], 2):
        if first and second and first.absolute().resolve() == second.absolute().resolve():
            raise CxrflowError(f"{name_text(second)}: is named for {one} and for {other}; name another file.")
    for folder in outputs.folders:
        if folder.exists() and not folder.is_dir():
            raise CxrflowError(f"{name_text(folder)}: is a file; name a folder for the pictures.")
        inside = folder.absolute().resolve()
        for path in paths:
            if path.is_dir() and inside.is_relative_to(path.absolute().resolve()):
                raise CxrflowError(
                    f"{name_text(folder)}: lies in {name_text(path)}, whose images are scored; its pictures would be "
                    "among them next time. Name a folder elsewhere."
                )
    if outputs.dicom:
        check_extra()
