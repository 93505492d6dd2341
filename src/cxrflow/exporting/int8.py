"""``cxrflow export --int8``: the ONNX file with 8-bit weights and activations, and what that changes on val.

Static quantisation by ONNX Runtime (Jacob et al. 2018, arXiv:1712.05877), in the QDQ format that OpenVINO and others
read, too. The ranges of the activations are those of val images; test images are never used.
"""

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from rich.markup import escape
from rich.table import Table

import cxrflow
from cxrflow.bundle import Bundle
from cxrflow.bundle_networks import read_bundle
from cxrflow.dataset import Dataset
from cxrflow.errors import CxrflowError
from cxrflow.evaluation.calibration import calibration
from cxrflow.evaluation.conformal import set_figures
from cxrflow.evaluation.metrics import evaluate
from cxrflow.evaluation.operating import figures_at_points
from cxrflow.exporting.export import check_out, metadata, with_metadata, write_file
from cxrflow.exporting.graph import to_onnx
from cxrflow.exporting.steps_folder import write_steps
from cxrflow.files import digest, write_json
from cxrflow.folds import NEVER, fold_of
from cxrflow.onnx_file import INT8, ONNX, OnnxScores, input_names
from cxrflow.params import Evaluation
from cxrflow.predictor import NO_NUMBER
from cxrflow.statistics.figure import Figure
from cxrflow.statistics.resampling import Bootstrap
from cxrflow.statistics.scored import Scored
from cxrflow.terminal import console, say
from cxrflow.text import name_text, number_of

#: At most this many val images determine the ranges of the activations.
_CALIBRATED = 200
#: Operations of networks; those that make probabilities of logits stay in float32.
_OPERATIONS = ["Conv", "Gemm", "MatMul", "Add", "MaxPool", "AveragePool", "GlobalAveragePool", "Concat", "Relu", "Clip"]
_BATCH = 64


def export_int8(folder: Path, dataset: Dataset, params: Evaluation, out: Path) -> dict[str, Any]:
    """Export the bundle in ``folder`` with int8 weights and activations as the ONNX file ``out``; beside it, its
    SHA-256, the image steps, and ``<out>.json`` with what is returned.

    dataset  what the bundle was trained on, with the same splits
    params   of evaluation: seed, prevalence
    Returns ``figures`` (by name: ``float32`` and ``int8``), ``largest_change`` of a probability, ``images``, ``groups``
    of patients and what the images are (``on``), ``calibrated`` (number of images that determined the ranges),
    ``bytes`` of the file, and ``float32_bytes``.
    Raises CxrflowError as ``read_bundle``, ``to_onnx`` and ``Dataset.of`` do, if the data set has another task or no
    val image, and if an image has no int8 score.
    """
    check_out(out, folder)
    if out.absolute().resolve() == (folder / ONNX).absolute().resolve():
        raise CxrflowError(f"{out}: the bundle's own file holds float32 networks; name another file for int8.")
    bundle, modules = read_bundle(folder)
    if not bundle.task.same_question(dataset.task) or bundle.task.order != dataset.task.order:
        raise CxrflowError(f"{folder}: the bundle's task is not that of the images; set it in the parameter file.")
    val = dataset.split("val")
    if not len(val):
        raise CxrflowError("the data set has no val image to calibrate int8 on; run `cxrflow metadata`.")
    model = to_onnx(bundle, modules)
    exact = with_metadata(model, metadata(bundle))
    at = np.unique(np.linspace(0, len(val) - 1, _CALIBRATED).astype(int))
    sets = [val.where(at).of(steps).pixels() for steps in bundle.steps]
    quantised = quantise(exact, bundle, sets)
    fold = fold_of(dataset, bundle.folds) if bundle.folds else np.where(dataset.records.split == "val", 0, NEVER)
    used, fold = dataset.where(fold >= 0), fold[fold >= 0]
    found = {}
    for name, content in (("float32", exact), ("int8", with_metadata(quantised, metadata(bundle)))):
        found[name] = _scores(OnnxScores(content, bundle), bundle, used)
    chosen = {name: _chosen(by_fold, fold, bundle) for name, by_fold in found.items()}
    figures = {name: _figures(chosen[name], found[name], bundle, used, params) for name in found}
    said: dict[str, Any] = {
        "on": "the images that each network left out" if bundle.folds else "val",
        "images": len(used),
        "groups": len(set(used.groups)),
        "calibrated": len(at),
        "largest_change": float(np.abs(chosen["int8"] - chosen["float32"]).max()),
        "figures": {key: {name: figures[name].get(key) for name in figures} for key in figures["float32"]},
    }
    content = with_metadata(quantised, metadata(bundle) | {INT8: json.dumps(said)})
    write_steps(out.parent, bundle, cxrflow.__version__, digest(bundle.model_dump(mode="json")))
    write_file(out, content)
    said |= {"bytes": len(content), "float32_bytes": len(exact)}
    write_json(out.with_name(f"{out.name}.json"), said)
    return said


def quantise(content: bytes, bundle: Bundle, sets: list[NDArray[np.uint8]]) -> Any:
    """The graph with int8 weights and activations (``onnx.ModelProto``).

    sets  the images that determine the ranges, for each of the bundle's image steps
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Images(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self._rest = iter(range(len(sets[0])))

        def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
            at = next(self._rest, None)
            names = input_names(bundle)
            return None if at is None else {name: each[at : at + 1] for name, each in zip(names, sets, strict=True)}

    with tempfile.TemporaryDirectory() as place:
        whole, ready, out = (Path(place) / f"{name}.onnx" for name in ("whole", "ready", "int8"))
        whole.write_bytes(content)
        quant_pre_process(whole, ready, skip_symbolic_shape=True)
        quantize_static(
            ready,
            out,
            Images(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=_OPERATIONS,
            nodes_to_exclude=_after_networks(onnx.load(ready).graph),
            per_channel=True,
            # Without VNNI, products of 8 by 8 bits overflow in pairs of 16 bits; 7 bits of weights do not.
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return onnx.load(out)


def _after_networks(graph: Any) -> list[str]:
    """Names of the nodes that make probabilities of logits, and of those that give the logits: back from the outputs to
    the ``torch.where`` of ``WholeBundle``."""
    made_by = {value: node for node in graph.node for value in node.output}
    found, todo = set(), [output.name for output in graph.output]
    while todo:
        node = made_by.get(todo.pop())
        if node is None or node.name in found:
            continue
        found.add(node.name)
        if node.op_type == "Where":
            found |= {made_by[value].name for value in node.input if value in made_by}
        else:
            todo += node.input
    return sorted(found)


def _scores(network: OnnxScores, bundle: Bundle, dataset: Dataset) -> NDArray[np.float64]:
    """Probabilities of a data set's images by fold: float64 (folds, n, classes)."""
    sets = [dataset.of(steps) for steps in bundle.steps]
    parts = []
    for start in range(0, len(dataset), _BATCH):
        at = list(range(start, min(start + _BATCH, len(dataset))))
        parts.append(network.scores_by_fold([each.where(at).pixels() for each in sets]))
    scores = np.concatenate(parts, axis=1)
    if not np.isfinite(scores).all():
        raise CxrflowError(f"int8: {NO_NUMBER} for some images; use the float32 file.")
    return scores


def _chosen(by_fold: NDArray[np.float64], fold: NDArray[np.int64], bundle: Bundle) -> NDArray[np.float64]:
    """Of each image the probabilities by the networks that left it out, as ``score_left_out``: float64 (n, classes)."""
    return by_fold[fold, np.arange(len(fold))] if bundle.folds else bundle.pooled(by_fold)


def _figures(
    chosen: NDArray[np.float64], by_fold: NDArray[np.float64], bundle: Bundle, used: Dataset, params: Evaluation
) -> dict[str, float]:
    """The figures by name. Prediction sets of CV+ have no coverage here: on the images that they were made of, it would
    be that of networks that were trained on these."""
    scored = Scored(bundle.task, used.records, chosen, Bootstrap(20, params.seed))  # the intervals are not used
    rows, truth = np.arange(len(used)), used.truth
    figures: dict[str, Any] = evaluate(scored)["test"] | {
        "operating_points": figures_at_points(scored, bundle, params.prevalence),
        "calibration": calibration(scored),
        "log_loss": float(-np.log(np.maximum(chosen[rows, truth], 1e-7)).mean()),
    }
    if bundle.prediction_sets and not bundle.folds:
        figures["prediction_sets"] = set_figures(scored, bundle.for_sets(by_fold), bundle.prediction_sets)
    for constant in ("bins", "ece_if_calibrated"):
        figures["calibration"].pop(constant)
    given = ("threshold", "wanted", "prevalence", "on_val", "least")
    flat = _flat(figures, "")
    return {name: value for name, value in flat.items() if not set(given) & set(name.split("."))}


def _flat(value: Any, name: str) -> dict[str, float]:
    """The numbers in nested figures, by dotted names; without those that are not known."""
    if isinstance(value, dict):
        return {
            key: number for part, inside in value.items() for key, number in _flat(inside, f"{name}.{part}").items()
        }
    if isinstance(value, Figure):
        value = value.value if value.known else None
    return {name.removeprefix("."): float(value)} if isinstance(value, int | float) else {}


def print_changes(said: dict[str, Any], out: Path) -> None:
    """Print what ``export_int8`` returned."""
    table = Table("figure", "float32", "int8", "change")
    for name, value in said["figures"].items():
        exact, quantised = value["float32"], value["int8"]
        change = "" if quantised is None else f"{quantised - exact:+.4f}"
        table.add_row(escape(name), f"{exact:.4f}", "" if quantised is None else f"{quantised:.4f}", change)
    console().print(table)
    megabytes, before = said["bytes"] / 1e6, said["float32_bytes"] / 1e6
    say(
        f"On {said['on']}: {number_of(said['images'], 'image')} of {number_of(said['groups'], 'group')}; "
        f"largest change of a probability {said['largest_change']:.3f}; "
        f"{megabytes:.1f} MB instead of {before:.1f}: {name_text(out)}"
    )
