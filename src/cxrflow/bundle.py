"""A trained model on disk: weights (safetensors) and everything needed to use it (JSON). Nothing is unpickled."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from cxrflow.errors import CxrflowError
from cxrflow.files import write_whole
from cxrflow.findings import find_finding
from cxrflow.models import find_model
from cxrflow.models.stored import STORED, StoredNetwork
from cxrflow.params import Images
from cxrflow.task import Task

WEIGHTS, DESCRIPTION, TRAINED_ON = "model.safetensors", "bundle.json", "trained_on.csv"
#: What is chosen on val after training lies apart: choosing otherwise changes neither the network nor what shows it.
THRESHOLDS = "thresholds.json"
_CHOSEN = {"thresholds", "prediction_sets"}
#: Of ``bundle.json``; a newer one is refused, since it may mean what this version does not know.
FORMAT: Literal[2] = 2
#: How a network that is in no registry is built.
GRAPH = "graph.onnx"
PURPOSE = "Research software. Not a medical device; not for diagnosis or treatment."


class OperatingPoint(BaseModel):
    """The probability from which an image is called positive, chosen on val (evaluation/operating.py).

    wanted       the specificity, or how many times worse a missed case is than a false alarm
    prevalence   of the positive class, for which the cost was computed; None where it plays no part
    threshold    called positive where the calibrated probability of the positive class is at least this
    sensitivity, specificity   on val; optimistic, because selected there
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    wanted: float
    prevalence: float | None = None
    threshold: float
    sensitivity: float
    specificity: float


class PredictionSets(BaseModel):
    """Which classes an image's prediction set holds: those with a calibrated probability of at least ``least``.

    coverage     chance, in each class, that the set of a new patient's image holds it (evaluation/conformal.py)
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    coverage: float
    least: dict[str, float]

    def held(self, probabilities: np.ndarray, order: Sequence[str]) -> np.ndarray:
        """Which classes each image's set holds: bool (n, classes), from float (n, classes), both in ``order``."""
        return probabilities >= np.array([self.least[name] for name in order])


class Bundle(BaseModel):
    """``bundle.json``, and in ``thresholds.json`` what was chosen on val after training.

    format            2; format 1, which knew one task, is read as well
    cxrflow           version that wrote it
    purpose           what the model is not for
    task              the classes, in the order of the network's outputs, and the positive one
    model             name of the network, as find_model knows it, or STORED
    images            image steps, size and channels
    mean, std         of training pixels, as shares of white: the input is (pixel / 255 - mean) / std
    temperature       logits are divided by it (Guo et al. 2017, section 4.2), fitted on val
    thresholds        operating points by name; none in a bundle that others trained (thresholds.json)
    prediction_sets   likewise
    sources           images of each source that it was trained and validated on
    pretrained_on     the collections that the weights had seen before training, empty from scratch
    seen              listed: TRAINED_ON lists all radiographs behind the weights; unknown: there are others, so that
                      no test image is known to be new to it
    epoch, validation the epoch chosen, and its figures on val; 0 and none where others trained it
    digests           of data, params, code and weights, or of what it was imported from; of a stored network's graph
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[2] = FORMAT
    cxrflow: str
    purpose: str = PURPOSE
    task: Task
    model: str
    images: Images
    mean: float
    std: float
    temperature: float
    thresholds: dict[str, OperatingPoint] = {}
    prediction_sets: PredictionSets | None = None
    sources: dict[str, int]
    pretrained_on: tuple[str, ...] = ()
    seen: Literal["listed", "unknown"] = "listed"
    epoch: int
    validation: dict[str, float]
    digests: dict[str, str]

    @model_validator(mode="after")
    def _sets_are_of_classes(self) -> "Bundle":
        if self.prediction_sets and set(self.prediction_sets.least) != set(self.task.classes):
            raise ValueError(f"prediction_sets must name exactly {', '.join(self.task.order)}")
        return self


def seen_rows(used: pd.DataFrame) -> pd.DataFrame:
    """What evaluation must know of images that a network has seen, to leave them out: split, content_hash, near_hash,
    patient (SHA-256 of its id).

    used  records (columns of records.py)
    """
    patient = used.patient_id.map(patient_digest)
    columns = {"split": used.split, "content_hash": used.content_hash, "near_hash": used.near_hash, "patient": patient}
    return pd.DataFrame(columns)


def write_bundle(folder: Path, network: nn.Module, bundle: Bundle, seen: pd.DataFrame) -> None:
    """Write a bundle.

    seen  all images behind the weights, as ``seen_rows`` gives them: they go into ``trained_on.csv``
    """
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    weights = save(state, metadata={"format": "pt"})
    digests = bundle.digests | {"weights": hashlib.sha256(weights).hexdigest()}
    if isinstance(network, StoredNetwork):
        digests["graph"] = hashlib.sha256(network.structure).hexdigest()
        write_whole(folder / GRAPH, network.structure)
    bundle = bundle.model_copy(update={"digests": digests})
    write_whole(folder / WEIGHTS, weights)
    write_whole(folder / TRAINED_ON, seen.to_csv(index=False, lineterminator="\n").encode())
    write_description(folder, bundle)


def write_description(folder: Path, bundle: Bundle) -> None:
    """Write ``bundle.json`` and ``thresholds.json`` beside the weights they describe."""
    write_whole(folder / DESCRIPTION, (bundle.model_dump_json(indent=2, exclude=_CHOSEN) + "\n").encode())
    write_whole(folder / THRESHOLDS, (bundle.model_dump_json(indent=2, include=_CHOSEN) + "\n").encode())


def patient_digest(patient_id: str | None) -> str | None:
    """SHA-256 of a patient's id: a bundle tells whether it knows a person without naming anyone."""
    return None if patient_id is None else hashlib.sha256(patient_id.encode()).hexdigest()


def read_description(folder: Path) -> Bundle:
    """A bundle's description alone.

    Raises CxrflowError where the folder holds no bundle, a damaged one, or one of a newer format.
    """
    values = _json(folder / DESCRIPTION)
    if values is None:
        raise CxrflowError(f"{folder}: no bundle there ({DESCRIPTION} is absent); train one or name another.")
    try:
        if isinstance(number := values.get("format"), int) and number > FORMAT:
            raise CxrflowError(
                f"{folder / DESCRIPTION}: format {number} is newer than this version's {FORMAT}; update cxrflow."
            )
        if number == 1:
            values = _from_format_1(values)
        return Bundle.model_validate_json(json.dumps(values | (_json(folder / THRESHOLDS) or {})))
    except ValidationError as error:
        first = error.errors()[0]
        problem = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise CxrflowError(f"{folder / DESCRIPTION}: not a bundle of this version ({problem}).") from None


def read_bundle(folder: Path) -> tuple[Bundle, nn.Module]:
    """A bundle's description and its network, on the CPU, in evaluation mode.

    Raises CxrflowError as ``read_description``, and where the weights are damaged or of another network.
    """
    bundle = read_description(folder)
    network = _build(folder, bundle)
    try:
        state = load_file(folder / WEIGHTS)
        network.load_state_dict(state)
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0][:200]
        raise CxrflowError(
            f"{folder / WEIGHTS}: weights are absent, damaged or of another network ({reason})."
        ) from None
    if hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest() != bundle.digests.get("weights"):
        raise CxrflowError(f"{folder / WEIGHTS}: weights are not those that {DESCRIPTION} describes; write it again.")
    return bundle, network.eval()


def _json(path: Path) -> dict[str, Any] | None:
    """What a JSON file holds; None where there is none."""
    try:
        values = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise CxrflowError(f"{path}: damaged, not a JSON object; train the bundle again or restore the file.")
    return values


def _from_format_1(values: dict[str, Any]) -> dict[str, Any]:
    """Format 1 named the classes alone, in the order of the outputs; the most special of them was the positive one."""
    classes = {str(name): (find_finding(str(name)) or str(name),) for name in values.get("classes") or ()}
    positive = max(classes, key=lambda name: classes[name][0].count("/"), default="")
    names = {name: paths[0].rpartition("/")[2].upper() for name, paths in classes.items() if "/" in paths[0]}
    task = {"classes": classes, "positive": positive, "names": names}
    return {key: value for key, value in values.items() if key != "classes"} | {"format": FORMAT, "task": task}


def gradcam_layer(bundle: Bundle, network: nn.Module) -> nn.Module:
    """The layer of a bundle's network that Grad-CAM is taken at."""
    if isinstance(network, StoredNetwork):
        return network.gradcam_layer
    return find_model(bundle.model).gradcam_layer(network, bundle.images.size)


def _build(folder: Path, bundle: Bundle) -> nn.Module:
    if bundle.model != STORED:
        return find_model(bundle.model).architecture(bundle.images.channels, len(bundle.task.order))
    try:
        graph = (folder / GRAPH).read_bytes()
    except OSError:
        raise CxrflowError(f"{folder / GRAPH}: absent, so the network cannot be built; import it again.") from None
    if hashlib.sha256(graph).hexdigest() != bundle.digests.get("graph"):
        raise CxrflowError(f"{folder / GRAPH}: not the graph that {DESCRIPTION} describes; import it again.")
    try:
        return StoredNetwork(graph)
    except CxrflowError as error:
        raise CxrflowError(f"{folder / GRAPH}: {error}") from None


def read_trained_on(folder: Path) -> pd.DataFrame:
    """What the bundle's model has seen, as ``seen_rows`` gives it."""
    try:
        return pd.read_csv(folder / TRAINED_ON, dtype=str, keep_default_na=False, na_values=[""])
    except OSError:
        raise CxrflowError(f"{folder}: {TRAINED_ON} is absent, so what the model has seen is unknown.") from None
