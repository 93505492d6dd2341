"""Does the network look outside the lungs?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrflow.audit import sanity
from cxrflow.audit.context import Audited
from cxrflow.audit.verdicts import FOUND, NOT_FOUND, UNTOLD, AuditTest, Limit, Result, Rows, simultaneous
from cxrflow.explanation.masks import Masks
from cxrflow.statistics.figure import Figure, in_percent
from cxrflow.statistics.intervals import clustered_mean, proportion

#: Limit of the lungs' share of the picture minus their share of the heat: positive if they get less heat than the
#: rest of the picture.
LIMIT = Limit(0.1)


@dataclass(frozen=True)
class _Shares:
    """The lungs' share of the heat, their share of the picture (``area``), and ``area`` minus ``heat`` (``missed``)."""

    heat: Figure
    area: Figure
    missed: Figure


def run(context: Audited) -> Result:
    """The share of the heat inside the lungs, compared with their share of the picture. On pictures with a known true
    opacity, also whether the hottest point for the true class lies in it (pointing game: Zhang et al. 2018, Int J
    Comput Vis 126: 1084-1102, section 4.1). Cannot be told unless ``sanity`` is passed.
    """
    maps = {"Grad-CAM": context.heat.gradcam, "occlusion": context.heat.occlusion}
    shares = {name: _shares(heat, context) for name, heat in maps.items()}
    pointing = _pointing(context)
    judged = {LIMIT.judge(each.missed) for each in shares.values()}
    verdict = FOUND if judged == {FOUND} else NOT_FOUND if judged == {NOT_FOUND} else UNTOLD
    words = "; ".join(
        f"{name}: {in_percent(each.heat)} of the heat lies in the lungs, {in_percent(each.area)} of the area"
        for name, each in shares.items()
    )
    if pointing.known:
        words += f"; the hottest point lies in the true opacity in {in_percent(pointing)} of the pictures that have one"
    if sanity.run(context).verdict != NOT_FOUND:
        verdict, words = UNTOLD, f"{words}; but the heat maps are not known to depend on what was learned"
    figures = {name: {"heat": each.heat, "area": each.area, "missed": each.missed} for name, each in shares.items()}
    missed = {name: each.missed for name, each in shares.items()}
    rows = Rows("change", "lungs' share of area minus heat", missed)
    return Result(verdict, f"{words}.", {"shares": figures, "pointing": pointing}, (rows,))


def _shares(maps: NDArray[np.float32], context: Audited) -> _Shares:
    lungs, groups = context.shown.lungs, context.shown.dataset.groups
    total, area = maps.sum(axis=(1, 2)), lungs.mean(axis=(1, 2))
    use = (total > 0) & (area > 0)
    heat = (maps * lungs).sum(axis=(1, 2))[use] / total[use]
    nothing = "no picture has lungs and heat"
    shares = [clustered_mean(v, groups[use], nothing) for v in (heat, area[use], area[use] - heat)]
    return _Shares(shares[0], shares[1], simultaneous(shares[2], context.claims))


def _pointing(context: Audited) -> Figure:
    shown, heat = context.shown.dataset, context.heat.true_class
    masks = Masks(shown, context.root)
    hits: list[bool] = []
    groups: list[str] = []
    for k, (hot, group) in enumerate(zip(heat, shown.groups, strict=True)):
        ill = masks.opacity(k)
        if ill is not None and ill.any() and hot.any():
            hits.append(bool(ill[np.unravel_index(hot.argmax(), hot.shape)]))
            groups.append(group)
    return proportion(np.array(hits, np.bool_), np.array(groups), "no true opacities are known")


TEST = AuditTest("where", "Does it look outside the lungs?", LIMIT, lambda _: 2, "picture", run)
