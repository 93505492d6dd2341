"""A result in words, for a person."""

from collections.abc import Iterator

from cxrflow.bundle import Bundle, OperatingPoint
from cxrflow.result import Result

#: Warning for a bundle that was trained on drawings.
DRAWN = "The bundle was trained on drawings: what it says of real radiographs means nothing."
#: How an operating point was chosen, by its name in a bundle.
_CHOSEN = {
    "specificity": "chosen for a specificity of {wanted:g}",
    "cost_ratio": "chosen as if a missed case cost {wanted:g} false alarms",
}


def chosen(name: str, at: OperatingPoint) -> str:
    """How an operating point of this name was chosen."""
    return _CHOSEN.get(name, name).format(wanted=at.wanted)


def in_words(result: Result, bundle: Bundle) -> Iterator[str]:
    """A result as lines of text."""
    if result.left_out is not None:
        yield f"No answer: {result.left_out}."
        return
    named = {name: bundle.task.names.get(name, name) for name in bundle.task.order}
    for flag in result.flags:
        yield f"Warning: the image {flag}."
    if result.note:
        yield f"Header: {result.note}."
    scores = sorted(result.scores.items(), key=lambda item: -item[1])
    yield "Probabilities: " + ", ".join(f"{named[name]} {score:.2f}" for name, score in scores) + "."
    if result.prediction_set is not None and bundle.prediction_sets:
        held = ", ".join(named[name] for name in result.prediction_set) or "none"
        yield f"Cannot be ruled out (right for {bundle.prediction_sets.coverage:.0%} of new patients): {held}."
    for name, positive in result.positive_at.items():
        at = bundle.thresholds[name]
        called = "positive" if positive else "negative"
        yield f"{named[bundle.task.positive]} {called} at the threshold {at.threshold:.2f}, {chosen(name, at)}."
    if bundle.drawn:
        yield DRAWN
    yield result.purpose
