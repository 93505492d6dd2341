"""Does the network look outside the lungs?"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxrflow.audit import sanity
from cxrflow.audit.context import Audited
from cxrflow.audit.verdicts import AuditTest, Limit, Result, Rows, black_outside, simultaneous
from cxrflow.audit.words import CLEAR, FOUND, UNTOLD, YES
from cxrflow.statistics.figure import Figure, in_percent
from cxrflow.statistics.intervals import clustered_mean

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
    """The share of the heat inside the lungs, compared with their share of the picture. Where it is known where the
    disease shows, also the heat for the true class there, and whether the hottest point lies there
    (``explanation.inside``). Cannot be told unless ``sanity`` is passed.
    """
    maps = {"Grad-CAM": context.heat.gradcam, "occlusion": context.heat.occlusion}
    shares = {name: _shares(heat, context) for name, heat in maps.items()}
    disease = context.marks.figures()
    judged = {LIMIT.judge(each.missed) for each in shares.values()}
    verdict = FOUND if judged == {FOUND} else CLEAR if judged == {CLEAR} else UNTOLD
    words = "; ".join(
        f"{name}: {in_percent(each.heat)} of the heat lies in the lungs, {in_percent(each.area)} of the area"
        for name, each in shares.items()
    )
    for name, each in disease.items():
        if each["pointing"].known:
            words += (
                f"; {name} for the true class: the hottest point lies in {context.marked_by} in "
                f"{in_percent(each['pointing'])} of {each['pointing'].n} pictures, with {in_percent(each['heat'])} of "
                f"the heat and {in_percent(each['area'])} of the area"
            )
    if sanity.run(context).verdict != YES:
        verdict, words = UNTOLD, f"{words}; but the heat maps are not known to depend on what was learned"
    figures = {name: {"heat": each.heat, "area": each.area, "missed": each.missed} for name, each in shares.items()}
    missed = {name: each.missed for name, each in shares.items()}
    rows = Rows("change", "lungs' share of area minus heat", missed)
    return Result(verdict, f"{words}.", {"shares": figures, "disease": disease}, (rows,))


def _shares(maps: NDArray[np.float32], context: Audited) -> _Shares:
    lungs, groups = context.shown.lungs, context.shown.dataset.groups
    total, area = maps.sum(axis=(1, 2)), lungs.mean(axis=(1, 2))
    use = (total > 0) & (area > 0)
    heat = (maps * lungs).sum(axis=(1, 2))[use] / total[use]
    nothing = "no picture has lungs and heat"
    shares = [clustered_mean(v, groups[use], nothing) for v in (heat, area[use], area[use] - heat)]
    return _Shares(shares[0], shares[1], simultaneous(shares[2], context.claims))


TEST = AuditTest("where", "Does it look outside the lungs?", LIMIT, lambda _: 2, "picture", run, black_outside)
