"""A trained model on disk: weights (safetensors) and everything needed to use it (JSON). Nothing is unpickled."""

import hashlib
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from cxrflow.errors import CxrflowError
from cxrflow.files import write_whole
from cxrflow.models import find_model
from cxrflow.models.stored import STORED, StoredNetwork
from cxrflow.params import Images
from cxrflow.records import CLASSES

WEIGHTS, DESCRIPTION, TRAINED_ON = "model.safetensors", "bundle.json", "trained_on.csv"
#: How a network that is in no registry is built.
GRAPH = "graph.onnx"
PURPOSE = "Research software. Not a medical device; not for diagnosis or treatment."


class OperatingPoint(BaseModel):
    """From which score on an image is called COVID-19, chosen on val (evaluation/operating.py).

    wanted       the specificity, or how many times worse a missed case is than a false alarm
    prevalence   of COVID-19 that the least cost was reckoned with; None where it plays no part, or in an older bundle
    threshold    called where the calibrated probability of COVID-19 is at least this
    sensitivity, specificity   on val, where it was chosen: too good to be reported
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

    def held(self, probabilities: np.ndarray) -> np.ndarray:
        """Which classes each image's set holds: bool (n, 3), from float (n, 3), both in the order of CLASSES."""
        return probabilities >= np.array([self.least[name] for name in CLASSES])


class Bundle(BaseModel):
    """``bundle.json``.

    format            1
    cxrflow           version that wrote it
    purpose           what the model is not for
    model             name of the network, as find_model knows it, or STORED
    classes           order of its outputs
    images            image steps, size and channels
    mean, std         of training pixels, as shares of white: the input is (pixel / 255 - mean) / std
    temperature       logits are divided by it (Guo et al. 2017, section 4.2), fitted on val
    thresholds        operating points by name, chosen on val; none in a bundle that others trained, or an older one
    prediction_sets   likewise
    sources           images of each source that it was trained and validated on
    pretrained_on     the collections that the weights had seen before training, empty from scratch
    seen              listed: TRAINED_ON lists all radiographs behind the weights; unknown: there are others, so that
                      no test image is known to be new to it
    epoch, validation the epoch chosen, and its figures on val; 0 and none where others trained it
    digests           of data, params, code and weights, or of what it was imported from; of a stored network's graph
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = 1
    cxrflow: str
    purpose: str = PURPOSE
    model: str
    classes: tuple[str, ...]
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
    """Write ``bundle.json`` alone, beside the weights it describes."""
    write_whole(folder / DESCRIPTION, (bundle.model_dump_json(indent=2) + "\n").encode())


def patient_digest(patient_id: str | None) -> str | None:
    """SHA-256 of a patient's id: a bundle tells whether it knows a person without naming anyone."""
    return None if patient_id is None else hashlib.sha256(patient_id.encode()).hexdigest()


def read_bundle(folder: Path) -> tuple[Bundle, nn.Module]:
    """A bundle's description and its network, on the CPU, in evaluation mode.

    Raises CxrflowError where the folder holds no bundle, a damaged one, or one whose parts do not fit.
    """
    try:
        bundle = Bundle.model_validate_json((folder / DESCRIPTION).read_bytes())
    except FileNotFoundError:
        raise CxrflowError(f"{folder}: no bundle there ({DESCRIPTION} is absent); train one or name another.") from None
    except ValidationError as error:
        first = error.errors()[0]
        problem = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise CxrflowError(f"{folder / DESCRIPTION}: not a bundle of this version ({problem}).") from None
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


def gradcam_layer(bundle: Bundle, network: nn.Module) -> nn.Module:
    """The layer of a bundle's network that Grad-CAM is taken at."""
    if isinstance(network, StoredNetwork):
        return network.gradcam_layer
    return find_model(bundle.model).gradcam_layer(network, bundle.images.size)


def _build(folder: Path, bundle: Bundle) -> nn.Module:
    if bundle.model != STORED:
        return find_model(bundle.model).architecture(bundle.images.channels, len(bundle.classes))
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
