"""Features of images by a frozen backbone, computed once and kept on disk for every head that is fitted to them.

A folder of features is a cache: everything that the features depend on is in the name of its subfolder, so that it may
be shared by any trainings, and removed at any time. It lies outside DVC's outputs, which DVC deletes or, if a study
adds to them, takes for changed.
"""

import hashlib
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from safetensors.torch import save

import cxrflow
from cxrflow.bundle_networks import plugins_of
from cxrflow.dataset import Dataset
from cxrflow.errors import CxrflowError
from cxrflow.files import code_digest, digest, write_whole
from cxrflow.network import LoadedNetwork, last_linear
from cxrflow.terminal import remark, track

#: Images in a file: an interrupted run loses the features of at most this many.
_PART = 256
_CODE = ("models", "network.py")
_LIBRARIES = ("timm", "torch", "torchvision")


def features_of(network: LoadedNetwork, dataset: Dataset, cache: Path) -> NDArray[np.float32]:
    """The input of the network's last linear layer for each image, float32 (n, k), in evaluation mode and without
    augmentation.

    dataset  prepared by the network's image steps
    cache    folder of features; those that it lacks are computed and written there, each file atomically. Its files
             are memory-mapped, and compared with the SHA-256 in their names: a damaged one is computed again.
    Images are recognised by image steps and content hash. Raises CxrflowError if a feature is not a finite number.
    """
    place = cache / _key(network, dataset)[:16]
    parts = [part for path in sorted(place.glob("*.npy")) if (part := _read(path)) is not None]
    images = dataset.records.content_hash.to_numpy(dtype="S64")
    known = np.concatenate([part["image"] for part in parts]) if parts else np.empty(0, "S64")
    absent = np.flatnonzero(~np.isin(images, known) & ~pd.Series(images).duplicated().to_numpy())
    starts = range(0, len(absent), _PART)
    for start in track(starts, "features of the backbone", disable=not len(absent)):
        chosen = absent[start : start + _PART]
        found = np.concatenate([network.features(batch) for batch in dataset.where(chosen).batches()])
        parts.append(_write(place, images[chosen], found))
    features = np.empty((len(images), parts[0]["features"].shape[1] if parts else 0), np.float32)
    for part in parts:
        row = pd.Index(part["image"]).get_indexer(pd.Index(images))
        features[row >= 0] = part["features"][row[row >= 0]]
    if not np.isfinite(features).all():
        raise CxrflowError(
            f"training.freeze: {network.about.model} gives features that are no finite numbers; set training.start to "
            "other weights."
        )
    return features


def _key(network: LoadedNetwork, dataset: Dataset) -> str:
    """Digest of what the features depend on, apart from the images: backbone, its input, code and libraries."""
    about, last = network.about, last_linear(network.module)
    head = {id(tensor) for tensor in ([] if last is None else last.parameters())}
    state = network.module.state_dict(keep_vars=True)
    backbone = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items() if id(tensor) not in head}
    weights = hashlib.sha256(save(backbone)).hexdigest()
    code = code_digest(Path(cxrflow.__file__).parent, _CODE)
    libraries = [version(name) for name in _LIBRARIES]
    seen = [about.images.channels, about.mean, about.std, dataset.store.steps]
    theirs = [plugin.sha256 for plugin in plugins_of([about])]
    return digest([about.model, weights, seen, code, libraries, *theirs])


def _write(place: Path, images: NDArray[np.bytes_], features: NDArray[np.float32]) -> NDArray[Any]:
    """Write a file of features, with the content hash of each image; returns its content."""
    part = np.empty(len(images), [("image", "S64"), ("features", "<f4", features.shape[1:])])
    part["image"], part["features"] = images, features
    content = BytesIO()
    np.save(content, part)
    name = hashlib.sha256(content.getvalue()).hexdigest()
    write_whole(place / f"{name}.npy", content.getvalue())
    return part


def _read(path: Path) -> NDArray[Any] | None:
    """A file of features, memory-mapped; None if it is not as it was written, and then it is removed."""
    with path.open("rb") as file:
        whole = hashlib.file_digest(file, "sha256").hexdigest() == path.stem
    if not whole:
        remark(f"{path} is damaged, so its features are computed again")
        path.unlink()
        return None
    part: NDArray[Any] = np.load(path, mmap_mode="r")
    return part
