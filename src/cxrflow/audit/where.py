"""Tests 5 and 7: where the network looks, and whether its heat maps depend on what it has learned."""

import copy
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from captum.attr import Occlusion
from numpy.typing import NDArray
from rich.progress import track
from scipy.stats import spearmanr
from torchmetrics.functional.image import structural_similarity_index_measure

from cxrflow.audit.pictures import Pictures
from cxrflow.audit.verdicts import FOUND, NOT_FOUND, UNTOLD, Limits, Test, mean, percent, result, spoken
from cxrflow.predictor import Predictor
from cxrflow.records import CLASSES
from cxrflow.statistics.intervals import proportion

WHERE_QUESTION = "Does it look outside the lungs?"
SANITY_QUESTION = "Do the heat maps depend on what was learned?"
#: Of the lungs' share of the picture less their share of the heat: above 0, they get less heat than other places.
WHERE_LIMITS = Limits(found=0.1, clear=0.0, none=0.0)
#: The rank correlation between the heat maps of the trained and of the random network must lie below this, interval and
#: all, over at least this share of the pictures: a map that is flat, often all 0, cannot be compared.
ALIKE, COMPARED = 0.5, 0.5

_FLAT = 1e-3  # a map, its greatest value 1, that differs by less is flat but for rounding
_TWINS = 5  # random networks; that one gives a flat map says nothing of the next

_WINDOW = 4  # the occluding square's side is this part of the picture's, its step half of that
_COARSE = 16  # side at which heat maps are compared: they are no finer


@dataclass(frozen=True)
class Heat:
    """Heat maps of pictures, float32 (n, size, size), 0 or more: ``gradcam`` and ``occlusion`` for the class that is
    predicted, ``true_class`` and ``random``, Grad-CAM for the true class and that of the network with random weights
    for the class predicted by the trained one: of the first of some such networks whose map is not flat, if any."""

    gradcam: NDArray[np.float32]
    occlusion: NDArray[np.float32]
    true_class: NDArray[np.float32]
    random: NDArray[np.float32]


def heat_of(predictor: Predictor, pictures: Pictures, seed: int) -> Heat:
    """The heat maps that the two tests look at."""
    twins = [randomised(predictor, seed + k) for k in range(_TWINS)]
    predicted = [CLASSES[k] for k in predictor.scores(pictures.images).argmax(axis=1)]
    maps: list[tuple[NDArray[np.float32], ...]] = []
    rows = zip(pictures.images, predicted, pictures.table.label, strict=True)
    for image, label, truth in track(list(rows), "heat maps"):
        maps.append(
            (
                predictor.heat_map(image, label),
                occlusion(predictor, image, label),
                predictor.heat_map(image, truth),
                next(
                    (m for twin in twins if np.ptp(m := twin.heat_map(image, label)) > _FLAT),
                    np.zeros_like(image, "f4"),
                ),
            )
        )
    return Heat(*(np.stack(column) for column in zip(*maps, strict=True)))


def occlusion(predictor: Predictor, image: NDArray[np.uint8], label: str) -> NDArray[np.float32]:
    """How much the logit of a class falls where a grey square covers a prepared picture (Zeiler and Fergus 2014,
    section 4.2): float32 (size, size), the mean over the squares that cover a pixel; 0 where it rises."""
    side = image.shape[0]
    window, channels = max(2, side // _WINDOW), predictor.bundle.images.channels
    with torch.no_grad():
        found = Occlusion(predictor.network).attribute(
            predictor.to_tensor(image[None]),
            sliding_window_shapes=(channels, window, window),
            strides=(channels, window // 2, window // 2),
            baselines=0,  # the mean of the training pixels
            target=predictor.bundle.classes.index(label),
            perturbations_per_eval=16,
        )
    return found[0].mean(dim=0).clamp(min=0).cpu().numpy().astype(np.float32)


def randomised(predictor: Predictor, seed: int) -> Predictor:
    """The same with random weights: those of every layer drawn anew; what belongs to no layer that can be, as in an
    imported graph, is shuffled."""
    network = copy.deepcopy(predictor.network)
    twin = copy.copy(predictor)
    random = torch.Generator().manual_seed(seed)
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(seed)
        for weights in network.parameters():
            flat = weights.flatten()
            weights.copy_(flat[torch.randperm(len(flat), generator=random).to(flat.device)].reshape(weights.shape))
        for module in network.modules():
            if callable(reset := getattr(module, "reset_parameters", None)):
                reset()
    twin.use(network.eval())
    return twin


def where_it_looks(pictures: Pictures, heat: Heat, opacities: list[NDArray[np.bool_] | None], maps_tell: bool) -> Test:
    """The lungs' share of the heat beside their share of the picture; on pictures with a true opacity (bool
    (size, size), None where there is none), whether the hottest point of the true class lies in it (the pointing game:
    Zhang et al. 2018, Int J Comput Vis 126: 1084-1102, section 4.1).

    maps_tell  whether the heat maps depend on what was learned
    """
    groups = pictures.table.group_id.to_numpy()
    area = pictures.lungs.mean(axis=(1, 2))
    figures = {}
    for name, maps in (("Grad-CAM", heat.gradcam), ("occlusion", heat.occlusion)):
        total = maps.sum(axis=(1, 2))
        use = (total > 0) & (area > 0)
        share = (maps * pictures.lungs).sum(axis=(1, 2))[use] / total[use]
        figures[name] = {
            "heat": mean(share, groups[use], "no picture has lungs and heat"),
            "area": mean(area[use], groups[use], "no picture has lungs and heat"),
            "missed": mean(area[use] - share, groups[use], "no picture has lungs and heat"),
        }
    ill = [k for k, mask in enumerate(opacities) if mask is not None and mask.any() and heat.true_class[k].any()]
    hits = [opacities[k][np.unravel_index(heat.true_class[k].argmax(), heat.true_class[k].shape)] for k in ill]  # type: ignore[index]
    pointing = proportion(np.array(hits, np.bool_), groups[ill], "no true opacities are known")
    judged = {WHERE_LIMITS.judge(found["missed"]) for found in figures.values()}
    verdict = FOUND if judged == {FOUND} else NOT_FOUND if judged == {NOT_FOUND} else UNTOLD
    words = "; ".join(
        f"{name}: {percent(found['heat'])} of the heat lies in the lungs, {percent(found['area'])} of the area"
        for name, found in figures.items()
    )
    if pointing["value"] is not None:
        words += f"; the hottest point lies in the true opacity in {percent(pointing)} of the pictures that have one"
    if not maps_tell:
        verdict, words = UNTOLD, f"{words}; but the heat maps are not known to depend on what was learned"
    return result(WHERE_QUESTION, verdict, f"{words}.", shares=figures, pointing=pointing)


def sanity(pictures: Pictures, heat: Heat) -> Test:
    """Whether Grad-CAM of the network with random weights resembles that of the trained one (Adebayo et al. 2018,
    section 4): mean rank correlation, and SSIM (Wang et al. 2004). A method that does not care for weights tells
    nothing of what was learned; so this test never finds a shortcut, but may say that test 5 cannot be told."""
    groups = pictures.table.group_id.to_numpy()
    small = [_coarse(maps) for maps in (heat.gradcam, heat.random)]
    use = np.all([np.ptp(maps, axis=(1, 2)) > _FLAT for maps in small], axis=0)
    trained, random = small[0][use], small[1][use]
    ranks = np.array([spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(trained, random, strict=True)])
    nothing = "in no picture both have a heat map that is not flat"
    alike = {
        "rank correlation": mean(ranks, groups[use], nothing),
        "SSIM": mean(_ssim(trained, random), groups[use], nothing),
    }
    rank = alike["rank correlation"]
    passed = rank["value"] is not None and rank["high"] < ALIKE and use.mean() >= COMPARED
    words = (
        f"Grad-CAM of the trained network and of the same with random weights, in the {int(use.sum())} of {len(use)} "
        f"pictures where neither is flat: rank correlation {spoken(rank)}, SSIM {spoken(alike['SSIM'])}. "
        + (
            "The maps depend on what was learned."
            if passed
            else "The maps are not known to depend on what was learned."
        )
    )
    return result(SANITY_QUESTION, NOT_FOUND if passed else UNTOLD, words, **alike)


def _coarse(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.stack([cv2.resize(m, (_COARSE, _COARSE), interpolation=cv2.INTER_AREA) for m in maps])


def _ssim(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float64]:
    if not len(first):
        return np.empty(0)
    one, other = (torch.from_numpy(maps)[:, None] for maps in (first, second))
    found = structural_similarity_index_measure(one, other, kernel_size=7, sigma=1.0, data_range=1.0, reduction="none")
    return np.asarray(found, np.float64).reshape(-1)
