"""A bundle on disk: weights (safetensors), description (JSON), list of training images. Nothing is unpickled."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from cxrflow.bundle import FORMAT, Bundle, Network
from cxrflow.csv_files import to_csv
from cxrflow.errors import CxrflowError, one_line
from cxrflow.files import write_json, write_whole
from cxrflow.findings import find_finding
from cxrflow.models import find_model
from cxrflow.models.model import to_input
from cxrflow.models.stored import STORED, StoredNetwork
from cxrflow.params import problems_in
from cxrflow.state import read_bytes, read_json, read_table, text

if TYPE_CHECKING:  # scoring files does without pandas
    import pandas as pd

DESCRIPTION, TRAINED_ON = "bundle.json", "trained_on.csv"
#: Chosen after training, in a file of its own: another choice leaves the networks and their dependents unchanged.
THRESHOLDS = "thresholds.json"
_CHOSEN = {"thresholds", "prediction_sets", "far"}
#: Fields of a network that formats 1 and 2, with a single one, had in the description itself.
_OF_NETWORK = ("model", "images", "mean", "std", "temperature", "epoch", "validation")
_MOST_GRAPH = 2**28
_RESTORE = "train the bundle again or restore the file"


def weights_file(number: int) -> str:
    """Name of the file with the weights of a bundle's network, from 0."""
    return f"model-{number + 1}.safetensors" if number else "model.safetensors"


def graph_file(number: int) -> str:
    """Name of the ONNX graph from which a network outside the registry is built; ``number`` as in ``weights_file``."""
    return f"graph-{number + 1}.onnx" if number else "graph.onnx"


def seen_rows(used: "pd.DataFrame") -> "pd.DataFrame":
    """The records of a training in the form of TRAINED_ON, by which evaluation recognises images already seen.

    used  records (columns of records.py)
    Returns columns split, content_hash, near_hash, patient (SHA-256 of the id).
    """
    import pandas as pd

    patient = used.patient_id.map(patient_digest)
    columns = {"split": used.split, "content_hash": used.content_hash, "near_hash": used.near_hash, "patient": patient}
    return pd.DataFrame(columns)


def write_bundle(folder: Path, modules: Sequence[nn.Module], bundle: Bundle, seen: "pd.DataFrame") -> None:
    """Write a bundle.

    modules  one for each of ``bundle.networks``
    seen     all images that the weights were trained on, from ``seen_rows``; written as TRAINED_ON
    """
    networks, files = [], {}
    for number, (network, module) in enumerate(zip(bundle.networks, modules, strict=True)):
        state = {name: tensor.detach().cpu().contiguous() for name, tensor in module.state_dict().items()}
        files[weights_file(number)] = weights = save(state, metadata={"format": "pt"})
        known = {"weights": hashlib.sha256(weights).hexdigest()}
        if isinstance(module, StoredNetwork):
            files[graph_file(number)] = module.structure
            known["graph"] = hashlib.sha256(module.structure).hexdigest()
        networks.append(network.model_copy(update=known))
    table = seen_csv(seen)
    joint = {"weights": weights_digest(networks), "trained_on": hashlib.sha256(table).hexdigest()}
    bundle = bundle.model_copy(update={"networks": tuple(networks), "digests": bundle.digests | joint})
    for pattern in ("model*.safetensors", "graph*.onnx"):  # of an earlier bundle with more networks
        for other in set(folder.glob(pattern)) - {folder / name for name in files}:
            other.unlink()
    for name, content in files.items():
        write_whole(folder / name, content)
    write_whole(folder / TRAINED_ON, table)
    write_description(folder, bundle)


def weights_digest(networks: Sequence[Network]) -> str:
    """SHA-256 of the weights of all networks: of a single one, that of its file; of several, that of their digests."""
    first, *others = [network.weights for network in networks]
    return hashlib.sha256("".join((first, *others)).encode()).hexdigest() if others else first


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
    if number in (1, 2):
        values = _from_format_2(values)
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
        problem = problems_in(error, Bundle)
        wrong = apart if apart.exists() and problem.startswith(tuple(_CHOSEN)) else file
        raise CxrflowError(f"{wrong}: not a bundle of this version ({problem}); {_RESTORE}.") from None
    except (ValueError, RecursionError):  # half a surrogate pair, or nested too deeply
        raise CxrflowError(f"{file}: damaged, not a JSON object; {_RESTORE}.") from None
    if weights not in (None, bundle.digests.get("weights")):
        raise CxrflowError(f"{apart}: chosen for other weights than those of this bundle; {_RESTORE}.")
    return bundle


def read_bundle(folder: Path) -> tuple[Bundle, list[nn.Module]]:
    """A bundle's description and its networks, on the CPU, in evaluation mode.

    Raises CxrflowError as ``read_description`` does, and if weights are damaged or of another network, if one of them
    is no finite number, or if a network gives no number for a black image.
    """
    bundle = read_description(folder)
    if weights_digest(bundle.networks) != bundle.digests.get("weights"):
        raise CxrflowError(f"{folder / DESCRIPTION}: digests.weights is not that of its networks; {_RESTORE}.")
    return bundle, [_read(folder, bundle, number) for number in range(len(bundle.networks))]


def _read(folder: Path, bundle: Bundle, number: int) -> nn.Module:
    network, classes, file = bundle.networks[number], len(bundle.task.order), folder / weights_file(number)
    module = _build(folder, bundle, number)
    if isinstance(module, StoredNetwork) and len(module.order) != classes:
        raise CxrflowError(
            f"{folder / DESCRIPTION}: the network has {len(module.order)} outputs, not one for each of the classes "
            f"{', '.join(bundle.task.order)}; import it again."
        )
    try:
        content = file.read_bytes()
        state = load(content)
        module.load_state_dict(state)
    except (OSError, SafetensorError, RuntimeError, ValueError, KeyError) as error:
        reason = one_line(str(error).splitlines()[0] if str(error) else type(error).__name__)
        raise CxrflowError(
            f"{file}: weights are absent, damaged or of another network ({reason}); {_RESTORE}."
        ) from None
    if hashlib.sha256(content).hexdigest() != network.weights:
        raise CxrflowError(f"{file}: weights are not those that {DESCRIPTION} describes; restore them.")
    for name, tensor in module.state_dict().items():
        if state[name].dtype != tensor.dtype:
            raise CxrflowError(f"{file}: {name} holds {state[name].dtype}, not {tensor.dtype}; {_RESTORE}.")
        if not torch.isfinite(tensor).all():
            raise CxrflowError(f"{file}: {name} holds values that are no finite numbers; {_RESTORE}.")
    if isinstance(module, StoredNetwork) and sorted(module.order.tolist()) != list(range(classes)):
        raise CxrflowError(f"{file}: order does not name each output once; import the network again.")
    _try(module.eval(), network, classes, folder)
    return module


@torch.inference_mode()
def _try(module: nn.Module, network: Network, classes: int, folder: Path) -> None:
    """Raise CxrflowError unless the network gives finite numbers, one for each class, for a black image."""
    size, planes = network.images.size, network.images.channels
    try:
        logits = module(to_input(torch.zeros(1, 1, size, size), planes, network.mean, network.std))
        answers = tuple(logits.shape) == (1, classes) and bool(torch.isfinite(logits).all())
        reason = "it gives no number for each class"
    except Exception as error:  # a stored graph can raise anything
        answers, reason = False, one_line(str(error))
    if not answers:
        raise CxrflowError(
            f"{folder}: the network cannot be used on {planes} x {size} x {size} images ({reason}); {_RESTORE}."
        )


def _from_format_2(values: dict[str, Any]) -> dict[str, Any]:
    """Format 2 described its single network in the description itself."""
    network = {key: values[key] for key in _OF_NETWORK if key in values}
    if isinstance(digests := values.get("digests"), dict):
        network |= {key: digests[key] for key in ("weights", "graph") if key in digests}
    others = {key: value for key, value in values.items() if key not in _OF_NETWORK}
    return others | {"format": FORMAT, "networks": [network]}


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
    return {key: value for key, value in values.items() if key != "classes"} | {"task": task}


def gradcam_layer(network: Network, module: nn.Module) -> nn.Module:
    """The layer of a bundle's network that Grad-CAM uses."""
    if isinstance(module, StoredNetwork):
        return module.gradcam_layer
    return find_model(network.model).gradcam_layer(module, network.images.size)


def _build(folder: Path, bundle: Bundle, number: int) -> nn.Module:
    network = bundle.networks[number]
    if network.model != STORED:
        try:
            return find_model(network.model).architecture(network.images.channels, len(bundle.task.order))
        except CxrflowError as error:
            raise CxrflowError(f"{folder / DESCRIPTION}: model: {error}") from None
    file = folder / graph_file(number)
    graph = read_bytes(file, "import the network again", _MOST_GRAPH)
    if hashlib.sha256(graph).hexdigest() != network.graph:
        raise CxrflowError(f"{file}: not the graph that {DESCRIPTION} describes; import it again.")
    try:
        return StoredNetwork(graph)
    except CxrflowError as error:
        raise CxrflowError(f"{file}: {error}") from None


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
