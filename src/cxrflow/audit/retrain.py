"""Test 3: the network trained again on pictures without lungs, and on lungs alone.

What remains without lungs does not come from disease (Maguolo and Nanni, Inf Fusion 2021; 76: 1-7, blacked out the
centre of every picture and still told the collections apart). All three trainings are at one small size, so that they
compare with one another, not with the network that is audited.
"""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrflow.audit.pictures import Pictures, grown
from cxrflow.audit.verdicts import UNTOLD, Limits, Test, result, spoken
from cxrflow.errors import CxrflowError
from cxrflow.evaluation import ledger
from cxrflow.evaluation.metrics import macro_auroc
from cxrflow.images.prepare import Store, steps_digest
from cxrflow.models import find_model
from cxrflow.models.stored import STORED
from cxrflow.params import IMAGENET, SCRATCH, Images, Training
from cxrflow.predictor import Predictor
from cxrflow.statistics.intervals import Figure, missing
from cxrflow.training.train import train

QUESTION = "Can the class be told without the lungs?"
#: Of the macro AUROC on test of the network trained without lungs.
LIMITS = Limits(found=0.55, clear=0.65, none=0.5)
VARIANTS = ("whole pictures", "without lungs", "lungs alone")
_AROUND = 0.03  # room left round the lungs, share of the side


def retrain(
    pictures: Pictures,
    steps: Images,
    training: Training,
    epochs: int,
    bootstrap: int,
    seed: int,
    out: Path,
    book: Path,
    variants: tuple[str, ...] = VARIANTS,
) -> Test:
    """Train on each variant of the pictures of train and val, and score those of test.

    pictures  of all three splits, with the columns that training needs
    steps     the image steps that prepared them; the side is that of the pictures
    epochs    0 for not at all
    out       one folder for each variant; a training that was interrupted goes on there
    book      the ledger, in which each network's look at the test images is entered
    """
    if why := _not_done(pictures, steps, training, epochs):
        return result(
            QUESTION, UNTOLD, f"Not done: {why}.", macro_auroc={v: missing(f"not done: {why}") for v in variants}
        )
    steps = steps.model_copy(update={"size": pictures.images.shape[-1]})
    how = _short(training, epochs)
    figures: dict[str, Figure] = {}
    for variant in variants:
        folder = out / variant.replace(" ", "-")
        images = without(pictures, variant)
        records = pictures.table.assign(content_hash=[hashlib.sha256(i.tobytes()).hexdigest() for i in images])
        store = Store(images, None, records[["image_id", "content_hash"]].assign(left_out=None), steps_digest(steps))
        try:
            train(records, store, steps, how, folder)
        except CxrflowError as error:
            figures[variant] = missing(f"training failed: {error}")
            continue
        test = records[records.split == "test"]
        predictor = Predictor(folder / "bundle")
        looked_at = ledger.test_set_hash(pictures.table[pictures.table.split == "test"])
        ledger.enter(book, datetime.now(UTC), predictor.bundle.digests["weights"], looked_at)
        probabilities = predictor.stored_scores(store, test.image_id)
        figures[variant] = dict(macro_auroc(test, probabilities, bootstrap, seed))
    told = "; ".join(f"{variant} {spoken(figure)}" for variant, figure in figures.items())
    words = (
        f"Trained again for {epochs} epochs at {steps.size} pixels, macro AUROC on test: {told}. Chance is 0.50. "
        "Without lungs, all inside the lungs' box is black."
    )
    if steps.lungs != "none" and steps.lungs_use == "crop":
        left = 1 - _boxes(pictures.lungs).mean()
        words += (
            f" The pictures are cropped to the lungs (images.lungs_use: crop), so that what is left without them is a "
            f"rim, {100 * left:.0f} % of the picture on average: all that the network itself sees beside the lungs."
        )
    return result(QUESTION, LIMITS.judge(figures["without lungs"]), words, macro_auroc=figures)


def _not_done(pictures: Pictures, steps: Images, training: Training, epochs: int) -> str | None:
    """Why there is nothing to train, or None."""
    if epochs == 0:
        return "audit.retrain_epochs is 0"
    if training.model == STORED:
        return "an imported network cannot be trained from the start"
    if find_model(training.model).load_pretrained is not None:
        return f"{training.model} begins with weights that have seen whole radiographs"
    if steps.lungs != "none" and steps.lungs_use in ("mask", "both"):
        return f"all but the lungs is black already (images.lungs_use: {steps.lungs_use}), so nothing would be left"
    return None if pictures.lungs.any() else "no lungs were found"


def without(pictures: Pictures, variant: str) -> NDArray[np.uint8]:
    """The pictures of a variant, uint8 (n, size, size).

    Without lungs, the box round the lungs is 0: their outline would still tell of disease. Where none were found, it is
    the mean box of the others. Lungs alone: all but the lungs is 0.
    """
    if variant == "without lungs":
        return np.where(_boxes(pictures.lungs), 0, pictures.images).astype(np.uint8)
    if variant == "lungs alone":
        kept = grown(pictures.lungs, _AROUND) | ~pictures.lungs.any(axis=(1, 2), keepdims=True) & _boxes(pictures.lungs)
        return np.where(kept, pictures.images, 0).astype(np.uint8)
    return pictures.images


def _boxes(lungs: NDArray[np.bool_]) -> NDArray[np.bool_]:
    side = lungs.shape[-1]
    room = max(1, round(_AROUND * side))
    edges = np.full((len(lungs), 4), np.nan)
    for k, mask in enumerate(lungs):
        if mask.any():
            rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
            edges[k] = rows[0] - room, rows[-1] + room, columns[0] - room, columns[-1] + room
    edges = np.where(np.isnan(edges), np.nanmean(edges, axis=0), edges)[:, :, None]
    place = np.arange(side)
    down = (place >= edges[:, 0]) & (place <= edges[:, 1])
    across = (place >= edges[:, 2]) & (place <= edges[:, 3])
    return np.asarray(down[:, :, None] & across[:, None, :])


def _short(training: Training, epochs: int) -> Training:
    """The recipe for a few epochs, from random or ImageNet weights: any others may have seen these pictures whole."""
    schedule = training.schedule.model_copy(update={"warmup_epochs": min(training.schedule.warmup_epochs, epochs - 1)})
    start = IMAGENET if training.start == IMAGENET else SCRATCH
    update = {"epochs": epochs, "early_stopping_epochs": epochs, "start": start, "schedule": schedule}
    return training.model_copy(update=update)


def usable(records: pd.DataFrame, store: Store) -> pd.DataFrame:
    """The rows whose image could be prepared."""
    return records[records.image_id.isin(store.index.image_id[store.index.left_out.isna()])]
