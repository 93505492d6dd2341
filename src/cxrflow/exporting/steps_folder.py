"""The image steps of a bundle as a small Python package that needs NumPy, OpenCV and ONNX Runtime, but not cxrflow.

Its modules are cxrflow's own, copied; only imports of each other are made relative. So they cannot drift from those
that prepared the training images.
"""

import inspect
import re
from pathlib import Path

from cxrflow import errors, text
from cxrflow.bundle import Bundle
from cxrflow.errors import CxrflowError
from cxrflow.files import remove, write_whole
from cxrflow.images import registry, steps
from cxrflow.lungs import learned, opencv
from cxrflow.onnx_file import input_names
from cxrflow.reading import frontal, to_uint8
from cxrflow.terminal import remark

#: Name of the package.
FOLDER = "prepare"
_MODULES = {
    module.__name__.rpartition(".")[2]: module for module in (errors, frontal, learned, opencv, registry, steps, text)
}
_IMPORT = re.compile(r"^from cxrflow((?:\.\w+)+) import ", re.M)
#: Stands in what this module writes, so that it removes nothing else.
_MARK = "Written by `cxrflow export`"
_FIRST = '''"""The image steps of a cxrflow bundle: from a grey picture of any size to the inputs of its ONNX file.

Written by `cxrflow export`, cxrflow {version} (MIT licence), of bundle {digest}.
{purpose}
"""

import numpy as np

from .frontal import turn
from .params import Images
from .registry import prepare_image

__all__ = ["IMAGES", "prepare", "turn"]

#: The parameters of the image steps for each input.
IMAGES = {{
{images}
}}


def prepare(grey: np.ndarray) -> dict[str, np.ndarray]:
    """The inputs for one radiograph by name: uint8 (1, size, size) each.

    grey  (height, width) uint8 or uint16, air dark, as the first value of ``turn`` is
    Raises LeftOut if OpenCV fails in a step.
    """
    return {{name: prepare_image(grey, images).image[None] for name, images in IMAGES.items()}}
'''
_PARAMS = '''"""The parameters of the image steps."""

from types import SimpleNamespace


class Images(SimpleNamespace):
    """Parameters by name."""
'''
_READING = '''"""Grey levels of 8 bits."""

import cv2
import numpy as np


'''


def check_steps(folder: Path) -> None:
    """Raise CxrflowError if something that ``write_steps`` has not written is where it would write."""
    out = folder / FOLDER
    if out.exists() and not _is_ours(out):
        raise CxrflowError(f"{out} is there and is not a folder that this command wrote; name another place.")


def remove_steps(folder: Path) -> None:
    """Remove what ``write_steps`` has written into ``folder``, if it is there."""
    if _is_ours(folder / FOLDER):
        remove(folder / FOLDER)


def write_steps(folder: Path, bundle: Bundle, version: str, digest: str) -> Path | None:
    """Write the package for a bundle as ``folder / FOLDER``; returns that. With image steps of others, whose code a
    bundle does not hold, there is none: returns None, with a remark.

    version, digest  of cxrflow, and of the bundle's description
    Raises CxrflowError as ``check_steps``.
    """
    check_steps(folder)
    out = folder / FOLDER
    if theirs := dict.fromkeys(name for each in bundle.steps for name in each.extra):
        remove_steps(folder)
        remark(f"{out} is not written: the code of {', '.join(theirs)} (images.extra) is not cxrflow's to export")
        return None
    images = "\n".join(
        f'    "{name}": Images(\n' + "".join(f"        {key}={value!r},\n" for key, value in each) + "    ),"
        for name, each in zip(input_names(bundle), bundle.steps, strict=True)
    )
    sources = {name: _IMPORT.sub(_relative, inspect.getsource(module)) for name, module in _MODULES.items()}
    sources["__init__"] = _FIRST.format(version=version, digest=digest, purpose=bundle.purpose, images=images)
    sources |= {"params": _PARAMS, "reading": _READING + inspect.getsource(to_uint8)}
    files = {f"{name}.py": source.encode() for name, source in sources.items()}
    with_lungs = any(each.lungs == "learned" for each in bundle.steps)
    for weights in (frontal.WEIGHTS, *([learned.WEIGHTS] if with_lungs else [])):
        files[weights.name] = weights.read_bytes()
    remove(out)
    for name, content in files.items():
        write_whole(out / name, content)
    return out


def _is_ours(out: Path) -> bool:
    try:
        return _MARK in (out / "__init__.py").read_text(encoding="utf-8")[:300]
    except (OSError, UnicodeDecodeError):
        return False


def _relative(found: re.Match[str]) -> str:
    """An import of a module of the package, or, of a folder of cxrflow, of modules of it."""
    last = found[1].rpartition(".")[2]
    return f"from .{last} import " if last in {*_MODULES, "params", "reading"} else "from . import "
