"""``cxrflow export``: a bundle as one ONNX file, and its image steps beside it."""

import hashlib
import json
from pathlib import Path
from typing import Any

import onnx

import cxrflow
from cxrflow.bundle import Bundle
from cxrflow.bundle_networks import read_bundle
from cxrflow.errors import CxrflowError
from cxrflow.exporting.graph import DIFFERENCE, largest_difference, to_onnx
from cxrflow.exporting.steps_folder import check_steps, remove_steps, write_steps
from cxrflow.files import check_writable, digest, write_whole
from cxrflow.onnx_file import COMPUTES, ONNX, SUM, WEIGHTS, computes
from cxrflow.terminal import remark


def export(folder: Path, out: Path | None = None) -> tuple[Path, float]:
    """Export the bundle in ``folder``: writes an ONNX file, its SHA-256, and the package of its image steps beside it.

    out  the ONNX file; by default ONNX in the bundle's folder, by which ONNX Runtime then scores
    Returns the file, and the largest difference of a probability from PyTorch's.
    Raises CxrflowError as ``read_bundle`` and ``to_onnx`` do, and if ``out`` cannot be written, or is a file that the
    bundle is made of.
    """
    out = out or folder / ONNX
    check_out(out, folder)
    bundle, modules = read_bundle(folder)
    model = to_onnx(bundle, modules)
    content = with_metadata(model, metadata(bundle))
    difference = largest_difference(bundle, modules, content)
    if not difference <= DIFFERENCE:
        raise CxrflowError(
            f"{folder}: ONNX Runtime's probabilities differ from PyTorch's by up to {difference:.2g}, more than "
            f"{DIFFERENCE:g}; this network cannot be exported."
        )
    write_steps(out.parent, bundle, cxrflow.__version__, digest(bundle.model_dump(mode="json")))
    write_file(out, content)  # last: beside a new file there are never the image steps of an earlier bundle
    return out, difference


def try_export(folder: Path) -> None:
    """``export`` after a training, which an export that fails must not stop: PyTorch scores without the file, too."""
    remove_steps(folder)  # those of an earlier bundle
    try:
        export(folder)
    except CxrflowError as error:
        remark(f"No ONNX file, so PyTorch will score: {error}")


def check_out(out: Path, folder: Path) -> None:
    """Raise CxrflowError if ``out`` cannot be written or is another file of the bundle in ``folder``, or if something
    else stands in the place of the image steps."""
    check_writable(out)
    check_steps(out.parent)
    if out.exists() and out.name != ONNX and out.parent.samefile(folder):
        raise CxrflowError(f"{out}: is a file of the bundle; name another file.")


def write_file(out: Path, content: bytes) -> None:
    """Write an ONNX file, and its SHA-256 beside it, as ``sha256sum --check`` reads it."""
    seal = out.with_name(SUM) if out.name == ONNX else out.with_name(f"{out.name}.sha256")
    seal.unlink(missing_ok=True)
    write_whole(out, content)
    write_whole(seal, f"{hashlib.sha256(content).hexdigest()}  {out.name}\n".encode())


def metadata(bundle: Bundle) -> dict[str, str]:
    """What a program that uses the file has to know, as text or JSON by key (docs/export.md)."""
    values: dict[str, Any] = {
        "cxrflow": cxrflow.__version__,
        "purpose": bundle.purpose,
        "classes": list(bundle.task.order),
        "names": bundle.task.names,
        "positive": bundle.task.positive,
        "operating_points": {name: point.model_dump(mode="json") for name, point in bundle.thresholds.items()},
        "prediction_sets": bundle.prediction_sets and bundle.prediction_sets.model_dump(mode="json"),
        "images": [steps.model_dump(mode="json") for steps in bundle.steps],
        "licences": [start and (start.licence.words if start.licence else "unknown") for start in bundle.starts],
        "drawn": bundle.drawn,
        "bundle": digest(bundle.model_dump(mode="json")),
        WEIGHTS: bundle.digests.get("weights", ""),
        COMPUTES: computes(bundle),
    }
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}


def with_metadata(model: Any, values: dict[str, str]) -> bytes:
    """An ONNX model (``onnx.ModelProto``) with this metadata, as the content of a file."""
    model.producer_name, model.producer_version = "cxrflow", cxrflow.__version__
    onnx.helper.set_model_props(model, values)
    content: bytes = model.SerializeToString()
    return content
