"""Shared by the studies of many trainings: records, folds of groups, and one ledger entry for several networks."""

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrflow.dataset import Dataset
from cxrflow.engines import Engine
from cxrflow.errors import CxrflowError
from cxrflow.evaluation.ledger import enter, test_set_hash
from cxrflow.files import Root
from cxrflow.metadata.build import build_records
from cxrflow.metadata.groups import hashed_share, with_children
from cxrflow.params import Params

#: Purpose of the folds that a study tests on, in the hash of ``folds_of``.
FOLD = "fold"
#: Share of the groups outside a fold that are used for validation; the rest are used for training.
_VAL = 0.15


def train_or_val(groups: NDArray[Any]) -> NDArray[np.object_]:
    """``train`` or ``val`` for each image, str (n,), by a hash of its group."""
    return np.array(["val" if hashed_share("val", group) < _VAL else "train" for group in groups], dtype=object)


def only_trained(dataset: Dataset, params: Params) -> NDArray[np.bool_]:
    """Images that are used to train every network and to test none, bool (n,): with ``metadata.paediatric: train``, the
    images of groups with a child."""
    if params.metadata.paediatric != "train":
        return np.zeros(len(dataset), dtype=np.bool_)
    return with_children(dataset.records).to_numpy(np.bool_)


def one_process(study: str) -> None:
    """Raise CxrflowError if ``torchrun`` started several processes."""
    if int(os.environ.get("WORLD_SIZE", 1)) > 1:
        raise CxrflowError(f"{study}: runs as one process; start it without torchrun.")


def enter_together(weights: list[str], scored: pd.DataFrame, metrics: Path, ledger: Path) -> str:
    """Record in the ledger, once per result, that several networks together have scored these images.

    weights  digests of the networks' weights, in order
    scored   records of the images; for those in split ``test``, a look at the test set is recorded as well
    metrics  JSON file of the last result; if it is from the same networks, nothing is recorded
    Returns the joint digest of the networks.
    """
    together = hashlib.sha256("".join(weights).encode()).hexdigest()
    if _bundle_of(metrics) != together:
        enter(ledger, together, test_set_hash(scored))
        if (scored.split == "test").any():
            enter(ledger, together, test_set_hash(scored[scored.split == "test"]))
    return together


def reading_all(sources: Path, params: Params) -> Params:
    """The parameters with ``sources`` as the folder of collections, all of which are read."""
    there = params.sources.model_copy(update={"root": str(sources), "collections": None})
    return params.model_copy(update={"sources": there})


def kept_records(params: Params, engine: Engine, out: Path) -> tuple[pd.DataFrame, Root]:
    """The kept records of the collections, and where their paths lead.

    out  folder for the fingerprints
    Raises CxrflowError as ``build_records``.
    """
    metadata = params.metadata.model_copy(update={"files": "required"})
    built = build_records(params.sources, metadata, params.task, engine, out)
    return built.records[built.records.left_out.isna()].reset_index(drop=True), built.root


def _bundle_of(metrics: Path) -> str | None:
    try:
        found: str = json.loads(metrics.read_text(encoding="utf-8"))["test_set"]["bundle"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):  # damaged: this run writes it again
        return None
    return found
