"""The contract of an output."""

from collections.abc import Sequence
from typing import Any

from cxrflow import __version__
from cxrflow.bundle import PURPOSE, Bundle, Network, OperatingPoint
from cxrflow.outputs.registry import Write
from cxrflow.params_file import DEFAULTS, load_params
from cxrflow.result import Result
from cxrflow.task import Task
from cxrflow.testing.broken import keeps, works


def check_output(write: Write) -> None:
    """Raise Broken unless ``write`` keeps the contract of an output.

    It is given a bundle's description and its results, and yields the content of a file as bytes, in parts. It takes no
    result and many, one that was left out, and texts of strangers; it says something of every one, and the same of the
    same results.
    """
    bundle, results = example_bundle(), example_results()
    whole = _written(write, bundle, results)
    keeps(
        _written(write, bundle, results) == whole, "An output is the same for the same results; write no time of day."
    )
    _written(write, bundle, [])
    for number, result in enumerate(results):
        without = _written(write, bundle, [*results[:number], *results[number + 1 :]])
        what = "that was left out" if result.left_out else "with scores"
        keeps(without != whole, f"An output says something of every image, of one {what}, too.")


def example_bundle() -> Bundle:
    """The description of a bundle of two classes."""
    task = Task(classes={"clear": ("no finding",), "air": ("pneumothorax",)}, positive="air", names={"air": "Air"})
    images = load_params(DEFAULTS).images
    network = Network(model="crnn", images=images, mean=0.5, std=0.25, temperature=1.0, epoch=0, validation={})
    point = OperatingPoint(wanted=0.9, threshold=0.5, sensitivity=0.8, specificity=0.9)
    return Bundle(
        cxrflow=__version__, task=task, networks=(network,), thresholds={"specificity": point}, sources={}, digests={}
    )


def example_results() -> list[Result]:
    """Results of ``example_bundle``: a DICOM image, one of which little is known, and one that was left out."""
    known: dict[str, Any] = {"bundle": "0" * 64, "cxrflow": __version__, "purpose": PURPOSE}
    scored: dict[str, Any] = {
        "scores": {"clear": 0.25, "air": 0.75},
        "prediction": "air",
        "positive_at": {"specificity": True},
    }
    dicom: dict[str, Any] = {"study": "1.2.3", "series": "1.2.3.4", "instance": "1.2.3.4.5", "prediction_set": ("air",)}
    said: dict[str, Any] = {"frontal": 0.9, "as_far": 0.5, "flags": ("has text",), "note": '=HYPERLINK("x"), é'}
    return [
        Result(**known, **scored, **dicom, **said, image=f"sha256:{'a' * 64}"),
        Result(**known, **scored, image=f"sha256:{'b' * 64}"),
        Result(**known, image="file:3", left_out="not an image"),
    ]


def _written(write: Write, bundle: Bundle, results: Sequence[Result]) -> bytes:
    with works(f"An output takes {len(results)} results."):
        parts = list(write(bundle, iter(results)))
    keeps(all(isinstance(part, bytes) for part in parts), "An output yields bytes; encode text, as UTF-8.")
    return b"".join(parts)
