"""An audit test: does the exposure of a picture alone move the scores? It differs between hospitals, not by disease."""

import numpy as np

from cxrflow.audit.context import Audited
from cxrflow.audit.verdicts import AuditTest, Limit, Result, Rows, simultaneous
from cxrflow.statistics.figure import in_words
from cxrflow.statistics.intervals import clustered_mean

#: A shortcut, if the predicted class's probability changes by more than this on average.
LIMIT = Limit(0.2)
_BRIGHTER = 20  # grey levels


def run(context: Audited) -> Result:
    """The mean change of the predicted class's probability in the test pictures, made brighter."""
    pictures = [view.images for view in context.views]
    before = context.scores(pictures)
    after = context.scores([np.clip(images.astype(int) + _BRIGHTER, 0, 255).astype(np.uint8) for images in pictures])
    at = before.argmax(axis=1)[:, None]
    change = np.abs(np.take_along_axis(after - before, at, axis=1))[:, 0]
    moved = simultaneous(clustered_mean(change, context.test.groups), context.claims, least=0.0)
    words = f"With {_BRIGHTER} grey levels more, the predicted class's probability changes by {in_words(moved)}."
    return Result(LIMIT.judge(moved), words, {"change": moved}, (Rows("change", "brighter picture", {"all": moved}),))


TEST = AuditTest("example_brightness", "Does the exposure alone move the scores?", LIMIT, lambda _: 1, "picture", run)
