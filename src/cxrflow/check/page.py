"""The page of ``cxrflow check``: what it prints, with class against source as a heat map; it loads nothing."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import cxrflow
from cxrflow.check.plan import Plan
from cxrflow.check.tables import by_class, costs_of, how_close, rows_of_source, value_text
from cxrflow.params import Params
from cxrflow.records import are_drawn
from cxrflow.report.filters import environment
from cxrflow.report.tables import labelled

if TYPE_CHECKING:
    from cxrflow.check.check import Estimate


def page(
    found: dict[str, Any], cannot: list[str], plan: Plan | None, estimate: "Estimate | None", params: Params
) -> str:
    """The page as HTML.

    found     of ``fingerprint.fingerprint``
    cannot    of ``unanswered.unanswered``
    plan, estimate  None if the study would stop before training
    """
    counts = by_class(found)
    most = max(counts.values(), default=1)
    groups = {(row["source"], row["label"]): int(row["groups"]) for row in found["classes"]}
    heat = [
        (
            source,
            [
                (images, groups.get((source, label), 0), round(100 * (images / most) ** 0.5))
                for label in params.task.order
                for images in [counts.get((source, label), 0)]
            ],
        )
        for source in found["sources"]
    ]
    return labelled(
        environment()
        .get_template("check.html")
        .render(
            version=cxrflow.__version__,
            task=params.task,
            drawn=are_drawn(Path(params.sources.root)),
            found=found,
            heat=heat,
            close=how_close(found),
            sources=[(name, rows_of_source(source)) for name, source in found["sources"].items()],
            cannot=cannot,
            choices=[(choice.key, value_text(choice.value), choice.reason) for choice in plan.choices] if plan else [],
            costs=costs_of(plan, estimate) if plan and estimate else [],
            device=estimate.device if estimate else "",
            warning=plan.warning if plan else "",
        )
    )
