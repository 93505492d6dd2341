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


def as_far_in_words(as_far: float) -> str:
    """What ``Result.as_far`` says, as a clause; of 1,000 images where it is less than 1 of 100."""
    of = 100 if round(100 * as_far) else 1000
    count = round(of * as_far)
    said = "1 is" if count == 1 else f"{count} are" if count else "less than 1 is"
    return f"Of {of:,} images of new patients like those of val, {said} at least as far from the training images"


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
        yield f"Cannot be ruled out (right for {100 * bundle.prediction_sets.coverage:.0f} % of new patients): {held}."
    for name, positive in result.positive_at.items():
        at = bundle.thresholds[name]
        called = "positive" if positive else "negative"
        yield f"{named[bundle.task.positive]} {called} at the threshold {at.threshold:.2f}, {chosen(name, at)}."
    if result.as_far is None:
        yield "How far the image is from the training images is unknown: the bundle does not say."
    else:
        yield f"{as_far_in_words(result.as_far)}."
    if bundle.drawn:
        yield DRAWN
    yield result.purpose
