"""A bundle on disk: weights (safetensors), description (JSON), list of training images. Nothing is unpickled."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from cxrflow.bundle import FORMAT, Bundle, Network
from cxrflow.csv_files import to_csv
from cxrflow.errors import CxrflowError, one_line
from cxrflow.files import write_json, write_whole
from cxrflow.findings import find_finding
from cxrflow.params import problems_in
from cxrflow.state import read_json, read_table, text

if TYPE_CHECKING:  # scoring files does without pandas, and by ONNX Runtime without PyTorch
    import pandas as pd
    from torch import nn

DESCRIPTION, TRAINED_ON = "bundle.json", "trained_on.csv"
#: Chosen after training, in a file of its own: another choice leaves the networks and their dependents unchanged.
THRESHOLDS = "thresholds.json"
_CHOSEN = {"thresholds", "prediction_sets", "far"}
#: Fields of a network that formats 1 and 2, with a single one, had in the description itself.
_OF_NETWORK = ("model", "images", "mean", "std", "temperature", "epoch", "validation")
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


def write_bundle(folder: Path, modules: Sequence["nn.Module"], bundle: Bundle, seen: "pd.DataFrame") -> None:
    """Write a bundle.

    modules  one for each of ``bundle.networks``
    seen     all images that the weights were trained on, from ``seen_rows``; written as TRAINED_ON
    """
    from safetensors.torch import save

    from cxrflow.models.stored import StoredNetwork

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
    # Of an earlier bundle, perhaps with more networks.
    for pattern in ("model*.safetensors", "graph*.onnx", "model.onnx*"):
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
