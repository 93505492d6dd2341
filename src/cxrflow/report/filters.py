"""The environment of the templates: filters that format figures as HTML."""

import json

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from cxrflow.evaluation.tables import pair_in_words
from cxrflow.report.figures import drawn
from cxrflow.statistics.figure import Figure


def figure(shown: Figure, digits: int = 2) -> Markup:
    """A figure with its interval and counts as HTML, or a dash with the reason why it is missing."""
    if not shown.known:
        return Markup('<span class="none" title="{0}">– <small>{0}</small></span>').format(shown.reason)
    value, low, high = (f"{number:.{digits}f}" for number in (shown.value, shown.low, shown.high))
    counts = Markup("<small class=counts>{}</small>").format(shown.counts) if shown.counts else ""
    return Markup('<b>{}</b> <span class="interval">{} to {}</span>{}').format(value, low, high, counts)


def percent(shown: Figure) -> Markup:
    """A figure that is a share, as ``figure``, in percent."""
    if not shown.known:
        return figure(shown)
    value, low, high = (f"{100 * number:.0f}" for number in (shown.value, shown.low, shown.high))
    counts = Markup("<small class=counts>{}</small>").format(shown.counts) if shown.counts else ""
    return Markup('<b>{} %</b> <span class="interval">{} to {}</span>{}').format(value, low, high, counts)


def restated(shown: Figure) -> Markup:
    """A figure that the page recomputes for another prevalence; ``data-restated`` holds its unrounded numbers."""
    if not shown.known:
        return figure(shown)
    numbers = json.dumps([shown.value, shown.low, shown.high])
    return Markup("<span data-restated='{}'>{}</span>").format(numbers, figure(shown))


def environment() -> Environment:
    """Where the templates of the pages are, and their filters."""
    made = Environment(
        loader=PackageLoader("cxrflow", "report"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["figure"] = figure
    made.filters["drawn"] = drawn
    made.filters["percent"] = percent
    made.filters["pair"] = pair_in_words
    made.filters["restated"] = restated
    made.filters["by_kind"] = lambda rows: {row["kind"]: row for row in rows}
    return made
