"""A trained model on disk: weights (safetensors) and all that is needed to use them (JSON). Nothing is unpickled."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from cxrflow.csv_files import to_csv
from cxrflow.errors import CxrflowError, one_line
from cxrflow.files import write_json, write_whole
from cxrflow.findings import find_finding
from cxrflow.models import find_model
from cxrflow.models.model import to_input
from cxrflow.models.stored import STORED, StoredNetwork
from cxrflow.params import Fraction, Images, Positive, Text, problems_in
from cxrflow.state import read_bytes, read_json, read_table, text
from cxrflow.task import Task

if TYPE_CHECKING:  # scoring files does without pandas
    import pandas as pd

WEIGHTS, DESCRIPTION, TRAINED_ON = "model.safetensors", "bundle.json", "trained_on.csv"
#: Chosen on val after training, in a file of its own: another choice leaves the network and its dependents unchanged.
THRESHOLDS = "thresholds.json"
_CHOSEN = {"thresholds", "prediction_sets"}
#: Version of ``bundle.json``. Newer versions are refused, because their meaning is unknown here.
FORMAT: Literal[2] = 2
#: ONNX graph from which a network outside the registry is built.
GRAPH = "graph.onnx"
#: Probabilities; a threshold that nothing reaches is the next number above 1.
Threshold = Annotated[float, Field(ge=0, le=1.001)]
_NOT_NEGATIVE = Field(ge=0)
_MOST_GRAPH = 2**28
_RESTORE = "train the bundle again or restore the file"
PURPOSE = "Research software. Not a medical device; not for diagnosis or treatment."


class OperatingPoint(BaseModel):
    """A decision threshold for the positive class, chosen on val (evaluation/operating.py).

    wanted       target specificity, or cost of a false negative relative to a false positive
    prevalence   of the positive class, for the expected cost; None if the operating point does not depend on it
    threshold    an image is positive if its calibrated probability of the positive class is at least this
    sensitivity, specificity   on val; optimistic, because selected there
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    wanted: Positive
    prevalence: Fraction | None = None
    threshold: Threshold
    sensitivity: Fraction
    specificity: Fraction


class PredictionSets(BaseModel):
    """Prediction sets: the classes whose calibrated probability is at least ``least``.

    coverage     probability, for each class, that the set of a new patient's image contains its true class
                 (evaluation/conformal.py)
    least        for each class, the smallest probability at which it is in the set
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    coverage: Fraction
    least: dict[str, Threshold]

    def held(self, probabilities: NDArray[np.floating[Any]], order: Sequence[str]) -> NDArray[np.bool_]:
        """Whether each class is in each image's set: bool (n, classes).

        probabilities  calibrated, float (n, classes), classes in ``order``
        """
        return np.asarray(probabilities >= np.array([self.least[name] for name in order]))


class Bundle(BaseModel):
    """A bundle's description: ``bundle.json``, and ``thresholds.json`` with what was chosen on val after training.

    format            2; format 1, which had no task, can still be read
    cxrflow           version that wrote it
    purpose           intended use and excluded use
    task              the classes, in the order of the network's outputs, and the positive one
    model             name of the network for ``find_model``, or STORED
    images            image steps, size and channels
    mean, std         of training pixels / 255, or as pretrained weights expect; the input is (pixel / 255 - mean) / std
    temperature       divisor of the logits (Guo et al. 2017, section 4.2), fitted on val
    thresholds        operating points by name (thresholds.json); empty for an imported network
    prediction_sets   prediction sets (thresholds.json); None for an imported network
    sources           number of training and validation images of each source
    pretrained_on     data sets on which the initial weights were trained; empty if trained from scratch
    seen              listed: TRAINED_ON lists all radiographs that the weights were trained on; unknown: there are
                      others, so no test image is known to be unseen
    epoch, validation selected epoch and its metrics on val; 0 and empty for an imported network
    digests           SHA-256 of data, params, code and weights, or of the imported files; and of a stored graph
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format: Literal[2] = FORMAT
    cxrflow: str
    purpose: str = PURPOSE
    task: Task
    model: Text
    images: Images
    mean: Annotated[float, Field(ge=-100, le=100)]
    std: Annotated[float, Field(ge=1e-4, le=100)]
    temperature: Annotated[float, Field(ge=1e-3, le=1000)]
    thresholds: dict[Annotated[str, Field(pattern="^[a-z_]{1,40}$")], OperatingPoint] = {}
    prediction_sets: PredictionSets | None = None
    sources: dict[str, Annotated[int, _NOT_NEGATIVE]]
    pretrained_on: tuple[str, ...] = ()
    seen: Literal["listed", "unknown"] = "listed"
    epoch: Annotated[int, _NOT_NEGATIVE]
    validation: dict[str, float]
    digests: dict[str, str]

    @model_validator(mode="after")
    def _sets_are_of_classes(self) -> "Bundle":
        if self.prediction_sets and set(self.prediction_sets.least) != set(self.task.classes):
            raise ValueError(f"prediction_sets must name exactly {', '.join(self.task.order)}")
        return self


def seen_rows(used: "pd.DataFrame") -> "pd.DataFrame":
    """The records of a training in the form of TRAINED_ON, by which evaluation recognises images already seen.

    used  records (columns of records.py)
    Returns columns split, content_hash, near_hash, patient (SHA-256 of the id).
    """
    import pandas as pd

    patient = used.patient_id.map(patient_digest)
    columns = {"split": used.split, "content_hash": used.content_hash, "near_hash": used.near_hash, "patient": patient}
    return pd.DataFrame(columns)


def write_bundle(folder: Path, network: nn.Module, bundle: Bundle, seen: "pd.DataFrame") -> None:
    """Write a bundle.

    seen  all images that the weights were trained on, from ``seen_rows``; written as TRAINED_ON
    """
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    weights = save(state, metadata={"format": "pt"})
    digests = bundle.digests | {"weights": hashlib.sha256(weights).hexdigest()}
    if isinstance(network, StoredNetwork):
        digests["graph"] = hashlib.sha256(network.structure).hexdigest()
        write_whole(folder / GRAPH, network.structure)
    table = seen_csv(seen)
    digests["trained_on"] = hashlib.sha256(table).hexdigest()
    bundle = bundle.model_copy(update={"digests": digests})
    write_whole(folder / WEIGHTS, weights)
    write_whole(folder / TRAINED_ON, table)
    write_description(folder, bundle)


def write_description(folder: Path, bundle: Bundle) -> None:
    """Write ``bundle.json`` and ``thresholds.json`` beside the weights that they describe."""
    write_whole(folder / DESCRIPTION, (bundle.model_dump_json(indent=2, exclude=_CHOSEN) + "\n").encode())
    chosen = bundle.model_dump(mode="json", include=_CHOSEN)
    write_json(folder / THRESHOLDS, {"weights": bundle.digests.get("weights"), **chosen})


def patient_digest(patient_id: str | None) -> str | None:
    """SHA-256 of a patient's id, so that a bundle can recognise a patient without storing the id."""
    return None if patient_id is None else hashlib.sha256(patient_id.encode()).hexdigest()


def read_description(folder: Path) -> Bundle:
    """A bundle's description, without its network.

    Raises CxrflowError if the folder holds no bundle, a damaged one, or one of a newer format, or if what was chosen on
    val was chosen for other weights.
    """
    if not (folder / DESCRIPTION).exists():
        raise CxrflowError(f"{folder}: no bundle there ({DESCRIPTION} is absent); train one or name another folder.")
    values, file = read_json(folder / DESCRIPTION, _RESTORE), folder / DESCRIPTION
    if isinstance(number := values.get("format"), int) and number > FORMAT:
        raise CxrflowError(f"{file}: format {number} is newer than this version's {FORMAT}; update cxrflow.")
    if number == 1:
        values = _from_format_1(values)
    apart, weights = folder / THRESHOLDS, None
    if apart.exists():
        chosen = read_json(apart, _RESTORE)
        weights = chosen.pop("weights", None)  # bundles from before this key lack it
        if other := [key for key in chosen if key not in _CHOSEN]:
            raise CxrflowError(f"{apart}: {one_line(other[0], 40)} is not one of its keys; {_RESTORE}.")
        values = values | chosen
    try:
        bundle = Bundle.model_validate_json(json.dumps(values))
    except ValidationError as error:
        problem = problems_in(error)
        wrong = apart if apart.exists() and problem.startswith(tuple(_CHOSEN)) else file
        raise CxrflowError(f"{wrong}: not a bundle of this version ({problem}); {_RESTORE}.") from None
    except (ValueError, RecursionError):  # half a surrogate pair, or nested too deeply
        raise CxrflowError(f"{file}: damaged, not a JSON object; {_RESTORE}.") from None
    if weights not in (None, bundle.digests.get("weights")):
        raise CxrflowError(f"{apart}: chosen for other weights than those of this bundle; {_RESTORE}.")
    return bundle


def read_bundle(folder: Path) -> tuple[Bundle, nn.Module]:
    """A bundle's description and its network, on the CPU, in evaluation mode.

    Raises CxrflowError as ``read_description`` does, and if the weights are damaged or of another network, if one of
    them is no finite number, or if the network gives no number for a black image.
    """
    bundle = read_description(folder)
    network = _build(folder, bundle)
    classes = len(bundle.task.order)
    if isinstance(network, StoredNetwork) and len(network.order) != classes:
        raise CxrflowError(
            f"{folder / DESCRIPTION}: the network has {len(network.order)} outputs, not one for each of the classes "
            f"{', '.join(bundle.task.order)}; import it again."
        )
    file = folder / WEIGHTS
    try:
        content = file.read_bytes()
        state = load(content)
        network.load_state_dict(state)
    except (OSError, SafetensorError, RuntimeError, ValueError, KeyError) as error:
        reason = one_line(str(error).splitlines()[0] if str(error) else type(error).__name__)
        raise CxrflowError(
            f"{file}: weights are absent, damaged or of another network ({reason}); {_RESTORE}."
        ) from None
    if hashlib.sha256(content).hexdigest() != bundle.digests.get("weights"):
        raise CxrflowError(f"{file}: weights are not those that {DESCRIPTION} describes; restore them.")
    for name, tensor in network.state_dict().items():
        if state[name].dtype != tensor.dtype:
            raise CxrflowError(f"{file}: {name} holds {state[name].dtype}, not {tensor.dtype}; {_RESTORE}.")
        if not torch.isfinite(tensor).all():
            raise CxrflowError(f"{file}: {name} holds values that are no finite numbers; {_RESTORE}.")
    if isinstance(network, StoredNetwork) and sorted(network.order.tolist()) != list(range(classes)):
        raise CxrflowError(f"{file}: order does not name each output once; import the network again.")
    _try(network.eval(), bundle, folder)
    return bundle, network


@torch.inference_mode()
def _try(network: nn.Module, bundle: Bundle, folder: Path) -> None:
    """Raise CxrflowError unless the network gives finite numbers, one for each class, for a black image."""
    size, planes = bundle.images.size, bundle.images.channels
    try:
        logits = network(to_input(torch.zeros(1, 1, size, size), planes, bundle.mean, bundle.std))
        answers = tuple(logits.shape) == (1, len(bundle.task.order)) and bool(torch.isfinite(logits).all())
        reason = "it gives no number for each class"
    except Exception as error:  # a stored graph can raise anything
        answers, reason = False, one_line(str(error))
    if not answers:
        raise CxrflowError(
            f"{folder}: the network cannot be used on {planes} x {size} x {size} images ({reason}); {_RESTORE}."
        )


def _from_format_1(values: dict[str, Any]) -> dict[str, Any]:
    """Format 1 had only class names, in the order of the outputs; the most specific one was positive."""
    named = values.get("classes")
    names = [str(name) for name in named] if isinstance(named, list) else []
    findings = {name: find_finding(name) or name for name in names}
    task = {
        "classes": {name: (finding,) for name, finding in findings.items()},
        "positive": max(names, key=lambda name: findings[name].count("/"), default=""),
        "names": {name: path.rpartition("/")[2].upper() for name, path in findings.items() if "/" in path},
    }
    return {key: value for key, value in values.items() if key != "classes"} | {"format": FORMAT, "task": task}


def gradcam_layer(bundle: Bundle, network: nn.Module) -> nn.Module:
    """The Grad-CAM layer of a bundle's network."""
    if isinstance(network, StoredNetwork):
        return network.gradcam_layer
    return find_model(bundle.model).gradcam_layer(network, bundle.images.size)


def _build(folder: Path, bundle: Bundle) -> nn.Module:
    if bundle.model != STORED:
        try:
            return find_model(bundle.model).architecture(bundle.images.channels, len(bundle.task.order))
        except CxrflowError as error:
            raise CxrflowError(f"{folder / DESCRIPTION}: model: {error}") from None
    graph = read_bytes(folder / GRAPH, "import the network again", _MOST_GRAPH)
    if hashlib.sha256(graph).hexdigest() != bundle.digests.get("graph"):
        raise CxrflowError(f"{folder / GRAPH}: not the graph that {DESCRIPTION} describes; import it again.")
    try:
        return StoredNetwork(graph)
    except CxrflowError as error:
        raise CxrflowError(f"{folder / GRAPH}: {error}") from None


def seen_csv(seen: "pd.DataFrame") -> bytes:
    """The content of TRAINED_ON for rows from ``seen_rows``."""
    return to_csv(seen)


def read_trained_on(folder: Path) -> "pd.DataFrame":
    """The images that a bundle's weights were trained on: columns as from ``seen_rows``.

    Raises CxrflowError if the table is absent, damaged, or not the one that was written with the bundle: with a row
    less, an image that was trained on would be evaluated as unseen.
    """
    known = read_description(folder).digests if (folder / DESCRIPTION).exists() else {}
    return read_seen(folder / TRAINED_ON, known.get("trained_on"))


def read_seen(path: Path, sha256: str | None) -> "pd.DataFrame":
    """A table of ``seen_csv``; ``sha256`` is its digest, None where none was kept."""
    kinds = {"split": text("[a-z]+", required=True)}
    kinds |= dict.fromkeys(("content_hash", "near_hash", "patient"), text("[0-9a-f]+"))
    table = read_table(path, kinds, f"what was trained on is unknown: {_RESTORE}")
    if sha256 not in (None, hashlib.sha256(path.read_bytes()).hexdigest()):
        raise CxrflowError(f"{path}: not the table that was written with the weights; {_RESTORE}.")
    return table
