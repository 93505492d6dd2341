"""Can the class be told without the lungs? The network is trained again on pictures without lungs, and on lungs alone.

Whatever a network learns from pictures without lungs is not disease (Maguolo and Nanni, Inf Fusion 2021; 76: 1-7,
blacked out the centre of every picture and could still tell the collections apart). All trainings use one small picture
size: their figures can be compared with one another, but not with those of the audited network.

A small network trained once may come out better or worse by chance, so the one that decides the verdict, without lungs,
is trained from several seeds.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from cxrflow.audit.context import Audited
from cxrflow.audit.pictures import Pictures, grown, take
from cxrflow.audit.verdicts import AuditTest, Limit, Result, Rows, simultaneous
from cxrflow.audit.words import MOOT, UNTOLD, Verdict
from cxrflow.dataset import Dataset
from cxrflow.errors import CxrflowError
from cxrflow.evaluation.ledger import enter, test_set_hash
from cxrflow.evaluation.metrics import macro_auroc
from cxrflow.images.prepare import Store, steps_digest
from cxrflow.models import find_model
from cxrflow.models.stored import STORED
from cxrflow.params import IMAGENET, SCRATCH, Images, Params, Training, members_of
from cxrflow.predictor import Predictor
from cxrflow.statistics.figure import Figure, in_words, missing
from cxrflow.statistics.scored import Scored
from cxrflow.terminal import remark
from cxrflow.training.train import train

#: Limit of the macro AUROC on test of the network trained without lungs.
LIMIT = Limit(0.55)
#: The variants of the pictures, each with the number of networks that are trained on it.
VARIANTS = {"whole pictures": 1, "without lungs": 3, "lungs alone": 1}

_AROUND = 0.03  # margin round the lungs, share of the side


def run(context: Audited) -> Result:
    """Train on each variant of the pictures, score its test pictures, and record each look in the ledger.

    Each variant has its own folder in ``retraining``, from which an interrupted training resumes.
    """
    folder = context.out / "retraining"
    folder.mkdir(parents=True, exist_ok=True)  # DVC expects it, even if nothing is trained
    params = _shows_most(context.params)
    if why := _nothing_outside(params.images):
        return _not_done(why, MOOT)
    if why := _not_trained(params):
        return _not_done(why)
    shown = context.dataset.of(params.images)
    pictures = take(shown, min(shown.size, params.audit.retrain_size))
    if not pictures.lungs.any():
        return _not_done("no lungs were found")
    if _boxes(pictures.lungs).all():
        return _not_done("the boxes round the lungs are the whole pictures, so nothing would be left")
    figures = {variant: score_variant(context, pictures, variant) for variant in VARIANTS}
    figures["without lungs"] = simultaneous(figures["without lungs"], context.claims, 0)
    told = "; ".join(f"{variant} {in_words(figure)}" for variant, figure in figures.items())
    words = (
        f"Trained again for {context.params.audit.retrain_epochs} epochs at {pictures.images.shape[-1]} pixels, macro "
        f"AUROC on test: {told}. Chance is 0.50. Without lungs, the box round the lungs is black; the figure is the "
        f"mean of {VARIANTS['without lungs']} networks, and its interval has their spread, too."
    )
    steps = params.images
    if steps.lungs != "none" and steps.lungs_use == "crop":
        words += (
            " The pictures are cropped to the lungs (images.lungs_use: crop): without lungs only a rim is left, "
            f"{100 * (1 - _boxes(pictures.lungs).mean()):.0f} % of the picture on average. The network itself sees no "
            "more than this rim outside the lungs."
        )
    rows = (Rows("auroc", "trained again", figures),)
    return Result(LIMIT.judge(figures["without lungs"]), words, {"macro_auroc": figures}, rows)


def score_variant(context: Audited, pictures: Pictures, variant: str) -> Figure:
    """The macro AUROC on test of networks trained and tested on one variant of the pictures, as ``over_seeds``; missing
    if training fails."""
    folder = context.out / "retraining" / variant.replace(" ", "-")
    params = _shows_most(context.params)
    steps = params.images.model_copy(update={"size": pictures.images.shape[-1]})
    dataset, short = _changed(pictures, variant, steps), _short(params.training, params.audit.retrain_epochs)
    test, looked_at = dataset.split("test"), test_set_hash(pictures.dataset.split("test").records)
    figures: list[Figure] = []
    for k in range(VARIANTS[variant]):
        seeded = short.model_copy(update={"seed": short.seed + k})
        remark(f"Audit, test 3, {variant}: training small network {k + 1} of {VARIANTS[variant]}")
        try:
            train(dataset, steps, seeded, folder / str(k))
        except CxrflowError as error:
            return missing(f"training failed: {error}")
        predictor = Predictor(folder / str(k) / "bundle")
        enter(context.ledger, predictor.bundle.digests["weights"], looked_at)
        figures.append(macro_auroc(Scored(context.task, test.records, predictor.score(test), context.bootstrap)))
    return over_seeds(figures)


def over_seeds(figures: list[Figure]) -> Figure:
    """The mean of one AUROC of several networks, scored on the same images, which differ by their seed alone.

    The variance of the mean is that over groups, from the mean width of the intervals, and that over seeds; its degrees
    of freedom are Satterthwaite's (Biometrics Bull 1946; 2: 110-114). Missing if one of the figures is.
    """
    if len(figures) == 1 or any(not figure.known for figure in figures):
        return next((figure for figure in figures if not figure.known), figures[0])
    first, count = figures[0], len(figures)
    value = float(np.mean([figure.value for figure in figures]))
    freedom = max(first.groups - 1, 1)
    width = float(np.mean([figure.high - figure.low for figure in figures])) / 2
    groups = (width / stats.t.ppf(0.975, freedom)) ** 2
    seeds = float(np.var([figure.value for figure in figures], ddof=1)) / count
    both = groups + seeds
    if both == 0:
        return first
    freedom = both**2 / (groups**2 / freedom + seeds**2 / (count - 1))
    half = float(stats.t.ppf(0.975, freedom) * np.sqrt(both))
    return Figure(value, max(value - half, 0.0), min(value + half, 1.0), first.n, first.groups)


def without(pictures: Pictures, variant: str) -> NDArray[np.uint8]:
    """The pictures of a variant, uint8 (n, size, size).

    Without lungs: the bounding box of the lungs is 0, since their outline alone would still show disease. If no lungs
    were found, the mean box of the other pictures is used. Lungs alone: everything else is 0.
    """
    if variant == "without lungs":
        return np.where(_boxes(pictures.lungs), 0, pictures.images).astype(np.uint8)
    if variant == "lungs alone":
        kept = grown(pictures.lungs, _AROUND) | ~pictures.lungs.any(axis=(1, 2), keepdims=True) & _boxes(pictures.lungs)
        return np.where(kept, pictures.images, 0).astype(np.uint8)
    return pictures.images


def _changed(pictures: Pictures, variant: str, steps: Images) -> Dataset:
    images = without(pictures, variant)
    hashes = [hashlib.sha256(image.tobytes()).hexdigest() for image in images]
    records = pictures.dataset.records.assign(content_hash=hashes)
    index = records[["image_id", "content_hash"]].assign(left_out=None)
    return Dataset.join(records, Store(images, None, index, steps_digest(steps)), pictures.dataset.task)


def _shows_most(params: Params) -> Params:
    """The parameters for one member alone: the first that sees the surroundings of the lungs, else the first."""
    members = members_of(params.images, params.training)
    whole = (each for each in members if each.images.lungs == "none" or each.images.lungs_use == "store")
    images, training, _ = next(whole, members[0])
    return params.model_copy(update={"images": images, "training": training})


def _not_trained(params: Params) -> str | None:
    """Why this test does not train, or None."""
    training = params.training
    if params.audit.retrain_epochs == 0:
        return "audit.retrain_epochs is 0"
    if training.model == STORED:
        return "an imported network cannot be trained from scratch"
    if find_model(training.model).load_pretrained is not None:
        return f"{training.model} starts with weights that have seen whole radiographs"
    return None


def _nothing_outside(steps: Images) -> str | None:
    """Why nothing is left without the lungs, or None."""
    if steps.lungs == "none" or steps.lungs_use not in ("mask", "both"):
        return None
    return (
        f"everything outside the lungs is black already (images.lungs_use: {steps.lungs_use}), so nothing would be left"
    )


def _not_done(why: str, verdict: Verdict = UNTOLD) -> Result:
    figures = dict.fromkeys(VARIANTS, missing(f"not done: {why}"))
    rows = (Rows("auroc", "trained again", figures),)
    return Result(verdict, f"Not done: {why}.", {"macro_auroc": figures}, rows)


def _boxes(lungs: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The box round the lungs of each mask, with a margin, bool (n, size, size); the mean box for an empty mask."""
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
    """The recipe for a few epochs, from random or ImageNet weights, since others may have seen the whole pictures; no
    layer is frozen."""
    schedule = training.schedule.model_copy(update={"warmup_epochs": min(training.schedule.warmup_epochs, epochs - 1)})
    start = IMAGENET if training.start == IMAGENET else SCRATCH
    update = {"epochs": epochs, "early_stopping_epochs": epochs, "start": start, "freeze": "none", "schedule": schedule}
    return training.model_copy(update=update)


TEST = AuditTest("retraining", "Can the class be told without the lungs?", LIMIT, lambda _: 1, "picture", run)
