"""The outputs: those of `cxrflow predict`, and those of others by name (plugins.py)."""

from collections.abc import Callable, Iterable

from cxrflow import plugins
from cxrflow.bundle import Bundle
from cxrflow.errors import CxrflowError
from cxrflow.result import Result

#: cxrflow's own, each with its option.
OUTPUTS = {"csv": "--out", "json": "--json", "heatmaps": "--heatmaps", "dicom": "--dicom", "fhir": "--fhir"}
#: An output of others: the bundle's description and its results, whose ``look`` is None, to the parts of a file.
#: Results are read from disk as they are taken, so that memory need not hold them.
Write = Callable[[Bundle, Iterable[Result]], Iterable[bytes]]


def find_output(name: str) -> Write:
    """The output of others called ``name``. Raises CxrflowError as ``plugins.find``, and for one of cxrflow's own."""
    if name in OUTPUTS:
        raise CxrflowError(f"--output: {name} is cxrflow's own; use {OUTPUTS[name]}.")
    write: Write = plugins.find("outputs", name, None, "--output")
    return write
