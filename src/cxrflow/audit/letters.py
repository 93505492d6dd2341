"""Does the network read text that is burned into the pictures?

Side markers, "PORTABLE", names and dates differ between hospitals and wards, and so between classes. Two questions:
does the text go with the class in these images, and does a prediction change when the text is painted over? Painting
disturbs a picture whatever it covers, so the same area is painted over elsewhere for comparison, outside the lungs if
the text is.
"""

from math import ceil, floor
from typing import NamedTuple

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrflow.audit.context import Audited
from cxrflow.audit.pictures import Pictures
from cxrflow.audit.verdicts import AuditTest, Limit, Result, Rows, simultaneous
from cxrflow.audit.words import UNTOLD
from cxrflow.images.steps import Window
from cxrflow.records import places_of
from cxrflow.statistics.figure import Figure, in_percent, in_words, missing
from cxrflow.statistics.intervals import Question, aurocs, clustered_mean, proportion
from cxrflow.statistics.scored import Scored
from cxrflow.statistics.within import within_sources

#: Limit of the mean fall of the probability of a picture's own class, beyond that with another area painted over.
LIMIT = Limit(0.03)

_TITLE, _MORE = "fall of own class, text painted over", "more than elsewhere"
_NOT_LOOKED_FOR = (
    "text was not looked for in these images; to look for it, install the extra text and run again with "
    "metadata.burned_in_text: true"
)
_MOST = 3  # places with text: as many, or more, are counted alike
_REACH = 3  # pixels from which what is painted over takes its grey
_TRIES = 50  # random places tried for the comparison
_LUNGS = 0.1  # share of an area that may lie in the lungs, beyond that of the text


class Area(NamedTuple):
    """A rectangle of a prepared picture, in pixels; right and bottom are outside of it."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def pixels(self) -> tuple[slice, slice]:
        """As an index of the picture."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


def run(context: Audited) -> Result:
    """How far the number of places with text tells the class, over all images and within a source; and how predictions
    change with the text painted over, and with the same area painted over elsewhere."""
    if why := not_looked_for(context):
        unknown = missing(why)
        rows = (Rows("change", _TITLE, {_MORE: missing("text not looked for")}),)
        return Result(UNTOLD, "Whether the pictures show text is not known.", {"fall": unknown}, rows)
    records, test = context.test.records, context.test
    share: dict[str, dict[str, Figure]] = {}
    for (source, label), here in records.groupby(["source", "label"]):
        has = (here.text_places > 0).to_numpy(np.bool_)
        share.setdefault(str(source), {})[str(label)] = proportion(has, here.group_id.to_numpy(str))
    seen, (before, over, aside) = _painted(context)
    groups, own = test.groups[seen], (np.arange(len(seen)), test.truth[seen])
    nothing = "no test picture shows text"
    fall = clustered_mean(aside[own] - over[own], groups, nothing)
    flips = {
        name: proportion(after.argmax(axis=1) != before.argmax(axis=1), groups, nothing)
        for name, after in (("text", over), ("elsewhere", aside))
    }
    return _result(_told(context), share, simultaneous(fall, context.claims), flips)


def not_looked_for(context: Audited) -> str | None:
    """Why there is nothing to test, as a clause, unless text was looked for in all images."""
    known = pd.concat([context.train.records.text_places, context.test.records.text_places]).notna()
    return None if known.all() else _NOT_LOOKED_FOR


def moot(context: Audited) -> str | None:
    """Why the test does not apply, as a clause; None if text was looked for and found in a test image."""
    if (why := not_looked_for(context)) or (context.test.records.text_places > 0).any():
        return why
    return "no text was found in a test image"


def _result(
    told: tuple[Figure, dict[str, Figure]], share: dict[str, dict[str, Figure]], fall: Figure, flips: dict[str, Figure]
) -> Result:
    overall, within = told
    class_from_text = {"overall": overall, "within": within}
    words = f"The number of places with text alone tells the class with an AUROC of {in_words(overall)}"
    words += "".join(f"; within a source, {pair} with {in_words(figure)}" for pair, figure in within.items())
    words += (
        ". With the text painted over, the probability of a picture's own class falls by "
        f"{in_words(fall)} more than with the same area painted over elsewhere. Predictions that flip: text painted "
        f"over {in_percent(flips['text'])}, elsewhere {in_percent(flips['elsewhere'])}."
    )
    return Result(
        LIMIT.judge(fall),
        words,
        {"fall": fall, "flips": flips, "class_from_text": class_from_text, "share_with_text": share},
        (
            Rows("auroc", "class from burned-in text", {"overall": overall, **within}),
            Rows("change", _TITLE, {_MORE: fall}),
        ),
    )


def _told(context: Audited) -> tuple[Figure, dict[str, Figure]]:
    """Macro AUROC of the class, and AUROC within sources of each pair of classes, the score of a class being its share
    (plus one image) among the training images with as many places with text."""
    task, test = context.task, context.test
    counted = [side.records.text_places.clip(upper=_MOST).to_numpy(int) for side in (context.train, test)]
    images = np.ones((_MOST + 1, len(task.order)))
    np.add.at(images, (counted[0], context.train.truth), 1)
    chance = (images / images.sum(axis=0))[counted[1]]  # within each class, so that its frequency does not matter
    chance /= chance.sum(axis=1, keepdims=True)
    asked = {name: Question(chance[:, c], test.truth == c, task.names[name]) for c, name in enumerate(task.order)}
    _, overall = aurocs(asked, test.groups, context.bootstrap)
    scored = Scored(task, test.records, chance, context.bootstrap)
    names = task.names
    return overall, {f"{names[a]} against {names[b]}": within_sources(scored, (a, b)) for a, b in task.pairs}


def _painted(context: Audited) -> tuple[NDArray[np.intp], list[NDArray[np.float64]]]:
    """The test pictures in which text is seen, positions (k,), and their probabilities, (k, classes) each: as they are,
    with the text painted over, and with the same area painted over elsewhere."""
    cells = context.test.records.text_boxes
    areas = [
        [areas_of(cell, view.dataset.window(k), view.dataset.size) for k, cell in enumerate(cells)]
        for view in context.views
    ]
    seen = np.flatnonzero([any(of_view[k] for of_view in areas) for k in range(len(cells))])
    if not len(seen):
        return seen, [np.empty((0, len(context.task.order)))] * 3
    kinds: list[list[NDArray[np.uint8]]] = [[], [], []]
    for view, of_view in zip(context.views, areas, strict=True):
        both = [_both(view, int(k), of_view[k], np.random.default_rng([context.seed, 8, int(k)])) for k in seen]
        kinds[0].append(view.images[seen])
        for kind, painted in zip(kinds[1:], zip(*both, strict=True), strict=True):
            kind.append(np.stack(painted))
    return seen, [context.scores(views) for views in kinds]


def areas_of(cell: str | None, window: Window, size: int) -> list[Area]:
    """The places with text that a prepared picture shows, a pixel larger on every side, where the text has spread when
    the picture was shrunk.

    cell  ``text_boxes`` of the record
    size  side of the picture (pixels)
    """
    found = []
    for left, top, width, height in places_of(cell):
        scale = size / window.side
        columns = [round((share * window.width - window.left) * scale, 6) for share in (left, left + width)]
        rows = [round((share * window.height - window.top) * scale, 6) for share in (top, top + height)]
        begin, end = ([floor(columns[0]) - 1, floor(rows[0]) - 1], [ceil(columns[1]) + 1, ceil(rows[1]) + 1])
        area = Area(*(min(max(edge, 0), size) for edge in (*begin, *end)))
        if columns[1] > 0 and rows[1] > 0 and columns[0] < size and rows[0] < size:
            found.append(area)
    return found


def _both(
    view: Pictures, at: int, areas: list[Area], rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A picture with the areas painted over, and with others of the same shape painted over."""
    image, lungs = view.images[at], view.lungs[at]
    text, other = (np.zeros(image.shape, np.uint8) for _ in range(2))
    for area in areas:
        text[area.pixels] = 1
    for area in areas:
        if (place := elsewhere(area, text, lungs, rng)) is not None:
            other[place.pixels] = 1
    return paint_over(image, text), paint_over(image, other)


def paint_over(image: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture with what the mask covers painted over from around it (Telea, J Graph Tools 2004; 9: 23-34)."""
    return np.asarray(cv2.inpaint(image, mask, _REACH, cv2.INPAINT_TELEA), np.uint8)


def elsewhere(area: Area, text: NDArray[np.uint8], lungs: NDArray[np.bool_], rng: np.random.Generator) -> Area | None:
    """An area of the same shape without text, and with hardly more of the lungs: mirrored to another corner, or else at
    a random place; None if none is found.

    text, lungs  masks of the picture, (size, size)
    """
    size, (left, top, right, bottom) = len(text), area
    width, height = right - left, bottom - top
    places = [(size - right, top), (left, size - bottom), (size - right, size - bottom)]
    places += [(int(rng.integers(size - width + 1)), int(rng.integers(size - height + 1))) for _ in range(_TRIES)]
    for x, y in places:
        place = Area(x, y, x + width, y + height)
        if not text[place.pixels].any() and lungs[place.pixels].mean() <= lungs[area.pixels].mean() + _LUNGS:
            return place
    return None


TEST = AuditTest("letters", "Does it read text burned into the pictures?", LIMIT, lambda _: 1, "picture", run, moot)
