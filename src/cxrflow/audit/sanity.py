"""Do the heat maps depend on what was learned?

Grad-CAM of the network with random weights is compared with that of the trained one (Adebayo et al. 2018, section 4).
Heat maps that do not depend on the weights say nothing about what the network has learned. This test never finds a
shortcut, but unless it is passed, the heat maps prove nothing.
"""

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torchmetrics.functional.image import structural_similarity_index_measure

from cxrflow.audit.context import Audited
from cxrflow.audit.heat import FLAT
from cxrflow.audit.verdicts import AuditTest, Limit, Result, Rows
from cxrflow.audit.words import UNTOLD, YES
from cxrflow.statistics.figure import in_words
from cxrflow.statistics.intervals import clustered_mean

#: Limit of the rank correlation between the heat maps of the trained and of the random network; this test cannot find a
#: shortcut.
LIMIT = Limit(0.5, above=UNTOLD, below=YES)
#: At least this share of the pictures must have two maps that are not flat.
COMPARED = 0.5

_COARSE = 16  # side at which heat maps are compared: Grad-CAM is no finer


def run(context: Audited) -> Result:
    """Mean rank correlation and SSIM (Wang et al. 2004) of the two heat maps of each picture."""
    heat, groups = context.heat, context.shown.dataset.groups
    small = [_coarse(maps) for maps in (heat.gradcam, heat.random)]
    use = np.all([np.ptp(maps, axis=(1, 2)) > FLAT for maps in small], axis=0)
    trained, random = small[0][use], small[1][use]
    ranks = np.array([spearmanr(a.ravel(), b.ravel()).statistic for a, b in zip(trained, random, strict=True)])
    nothing = "no picture has two heat maps that are not flat"
    alike = {
        "rank correlation": clustered_mean(ranks, groups[use], nothing),
        "SSIM": clustered_mean(_ssim(trained, random), groups[use], nothing),
    }
    rank = alike["rank correlation"]
    verdict = LIMIT.judge(rank) if use.mean() >= COMPARED else UNTOLD
    words = (
        "Grad-CAM of the trained network against that of the network with random weights, in the "
        f"{int(use.sum())} of {len(use)} pictures where neither map is flat: rank correlation {in_words(rank)}, SSIM "
        f"{in_words(alike['SSIM'])}."
    )
    closing = {
        YES: "The maps depend on what was learned.",
        UNTOLD: "The maps are not known to depend on what was learned.",
    }
    return Result(verdict, words, dict(alike), (Rows("change", "heat, trained vs random", alike),), closing=closing)


def _coarse(maps: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.stack([cv2.resize(m, (_COARSE, _COARSE), interpolation=cv2.INTER_AREA) for m in maps])


def _ssim(first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float64]:
    if not len(first):
        return np.empty(0)
    one, other = (torch.from_numpy(maps)[:, None] for maps in (first, second))
    found = structural_similarity_index_measure(one, other, kernel_size=7, sigma=1.0, data_range=1.0, reduction="none")
    return np.asarray(found, np.float64).reshape(-1)


TEST = AuditTest("sanity", "Do the heat maps depend on what was learned?", LIMIT, lambda _: 0, "method", run)
