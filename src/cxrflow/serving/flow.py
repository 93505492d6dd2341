"""From a study in the spool to its results at the destination: one step at a time, each of which may fail or be killed.

    receiving -> scoring    quiet for a while
    scoring -> sending      all results are made
    sending -> done         all results are sent
What fails is tried again, later and later; nothing is given up.
"""

import logging
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cxrflow.errors import CxrflowError
from cxrflow.predictor import BATCH
from cxrflow.serving.spool import Spool
from cxrflow.text import number_of

if TYPE_CHECKING:
    from cxrflow.serving.dicom_results import Made

LOG = logging.getLogger(__name__)
#: Shortest and longest pause before a failed step is tried again (seconds); it doubles from one to the other.
_SHORTEST, _LONGEST = 1.0, 300.0
#: Characters of a study's digest in a line of the log.
SHOWN = 12
#: Stands for all studies where nothing can be sent.
_ALL = ""


class Unreachable(CxrflowError):
    """The destination cannot be reached, or refuses every association."""


#: DICOM files -> what was made of each, in their order.
Answer = Callable[[Sequence[Path]], Iterable["Made"]]
#: DICOM files -> each after the destination has stored it. Raises CxrflowError at the first that it has not.
Send = Callable[[Sequence[Path]], Iterator[Path]]


class Pauses:
    """When what has failed is due again."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failed: dict[str, tuple[int, float]] = {}

    def due(self, *several: str) -> list[str]:
        """Those that have not failed, and after them those whose pause is over, the longest first."""
        now = self._clock()
        since = {what: self._failed[what][1] if what in self._failed else float("-inf") for what in several}
        return sorted((what for what in several if since[what] <= now), key=since.__getitem__)

    def failed(self, what: str) -> float:
        """Note a failure; returns the pause (seconds)."""
        times = self._failed[what][0] if what in self._failed else 0
        pause = min(_SHORTEST * 2.0**times, _LONGEST)
        self._failed[what] = (min(times + 1, 30), self._clock() + pause)
        return pause

    def succeeded(self, what: str) -> None:
        """Forget its failures."""
        self._failed.pop(what, None)

    def has_failed(self, what: str) -> bool:
        """Whether it has failed since it last succeeded."""
        return what in self._failed


class Flow:
    """Moves the studies of a spool. ``score`` and ``send`` may be called by one thread each.

    quiet  seconds without a new image after which a study is complete
    clock  seconds, from any origin
    """

    def __init__(
        self, spool: Spool, answer: Answer, send: Send, quiet: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._spool, self._answer, self._send, self._quiet = spool, answer, send, quiet
        self._scoring, self._sending = Pauses(clock), Pauses(clock)

    def score(self) -> bool:
        """Make the results of complete studies, about BATCH images at once. Returns whether there was one."""
        for study in self._spool.complete(self._quiet):
            images = number_of(len(self._spool.images("scoring", study)), "image")
            LOG.info("study %s: complete, %s", study[:SHOWN], images)
        due = self._scoring.due(*self._spool.studies("scoring"))
        if not due:
            return False
        batch = self._batch(due)
        try:
            self._make(batch)
        except Exception as error:
            for study in batch:
                pause = self._scoring.failed(study)
                LOG.error("study %s: not scored (%s); again in %.0f s", study[:SHOWN], said(error), pause)
        return True

    def _batch(self, due: Sequence[str]) -> list[str]:
        """The first studies, together about BATCH images; one that has failed before is alone, lest it fail others."""
        if self._scoring.has_failed(due[0]):
            return [due[0]]
        batch, images = list[str](), 0
        for study in due:
            images += len(self._spool.images("scoring", study))
            if batch and (images > BATCH or self._scoring.has_failed(study)):
                break
            batch.append(study)
        return batch

    def _make(self, studies: Sequence[str]) -> None:
        images = [(study, image) for study in studies for image in self._spool.images("scoring", study)]
        for study in studies:
            self._spool.begin(study)
        counts = {study: [0, 0, 0] for study in studies}
        for (study, image), made in zip(images, self._answer([image for _, image in images]), strict=True):
            if made.reason is not None:
                self._spool.keep_reason(image, made.reason)
            self._spool.keep(image, made.objects)
            counts[study][2 if made.reason is not None else 1 if made.result.left_out is not None else 0] += 1
        for study, (scored, left_out, aside) in counts.items():
            self._spool.scored(study)
            self._scoring.succeeded(study)
            LOG.info("study %s: %d scored, %d left out, %d set aside", study[:SHOWN], scored, left_out, aside)

    def send(self) -> bool:
        """Send the results of the study that waits longest and is due. Returns whether there was one."""
        if not self._sending.due(_ALL) or not (due := self._sending.due(*self._spool.studies("sending"))):
            return False
        study = due[0]
        try:
            if results := self._spool.results(study):
                for result in self._send(results):
                    self._spool.sent(result)
                self._sending.succeeded(_ALL)
            aside = self._spool.finish(study)
        except Unreachable as error:
            LOG.warning("nothing can be sent (%s); again in %.0f s", error, self._sending.failed(_ALL))
        except Exception as error:
            pause = self._sending.failed(study)
            LOG.error("study %s: not sent (%s); again in %.0f s", study[:SHOWN], said(error), pause)
        else:
            self._sending.succeeded(study)
            LOG.info("study %s: sent%s", study[:SHOWN], f", {number_of(aside, 'image')} set aside" if aside else "")
        return True


def said(error: Exception) -> str:
    """Of an error that others raise, its kind and place: its message may quote a header."""
    if isinstance(error, CxrflowError):
        return str(error)
    last = traceback.extract_tb(error.__traceback__)[-1]
    what = error.strerror if isinstance(error, OSError) else type(error).__name__
    return f"{what}, {Path(last.filename).name} line {last.lineno}"
