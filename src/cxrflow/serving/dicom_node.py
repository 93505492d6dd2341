"""The DICOM node: takes radiographs by C-STORE, and sends results of complete studies to a configured node.

An image is acknowledged after it is on the disk (spool.py); what follows is flow.py. It may be killed at any moment.
"""

import logging
import signal
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from cxrflow.errors import CxrflowError
from cxrflow.files import digest
from cxrflow.outputs.dicom import Kind, check_extra
from cxrflow.predictor import Predictor
from cxrflow.reading.letters import check_installed, detector
from cxrflow.running import only_run
from cxrflow.serving.dicom_results import dicom_results
from cxrflow.serving.flow import Flow, said
from cxrflow.serving.nodes import Destination, Listening
from cxrflow.serving.spool import Spool
from cxrflow.terminal import is_quiet

LOG = logging.getLogger(__name__)

#: Seconds between two looks into the spool, and after an unexpected error.
_PAUSE, _AFTER_ERROR = 0.25, 10.0
_DAY = 86_400.0


def run_node(
    bundle: Path,
    folder: Path,
    listening: Listening,
    to: Destination,
    kinds: Sequence[Kind],
    quiet: float,
    most: int,
    burned_in_text: bool = False,
) -> None:
    """Run the node until SIGTERM or SIGINT; what is being scored or sent is finished first.

    Its log goes to standard error; no line holds patient data.

    folder  of the spool; what an earlier node has left there is gone on with
    quiet   seconds without a new image after which a study is complete
    most    limit of what the spool may hold (bytes)
    burned_in_text  whether to look for text burned into the pictures, which is flagged
    Raises CxrflowError if the bundle cannot be read, another node uses the spool, the port cannot be listened at, or
    text is to be looked for and the extra ``text`` is not installed.
    """
    check_extra()
    if burned_in_text:
        check_installed("--burned-in-text")
    try:
        from cxrflow.serving.sending import send
        from cxrflow.serving.storing import listen
    except ModuleNotFoundError:
        raise CxrflowError("dicom-node needs pynetdicom; install it with `pip install 'cxrflow[pacs]'`.") from None
    _log()
    warnings.simplefilter("ignore")  # pydicom's quote values of headers
    predictor = Predictor(bundle)
    stopped = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopped.set())
    with only_run(folder):
        by = [predictor.bundle.model_dump(mode="json"), sorted(kinds), *([detector()] if burned_in_text else [])]
        spool = Spool(folder, most, by=digest(by))
        answer = partial(dicom_results, predictor, kinds, burned_in_text=burned_in_text)
        deliver = partial(send, listening.title, to)
        flow = Flow(spool, answer, deliver, quiet)
        entity, port = listen(listening, spool)
        LOG.info("listening as %s at %s:%d, results go to %s", listening.title, listening.host, port, to)
        sender = threading.Thread(target=_repeat, args=(flow.send, stopped), name="sender")
        sender.start()
        _repeat(flow.score, stopped, spool.forget)
        entity.shutdown()
        sender.join()
    LOG.info("stopped")


def _log() -> None:
    """Have the lines of cxrflow alone, not those of libraries, which may quote headers, written to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("cxrflow")
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING if is_quiet() else logging.INFO)


def _repeat(step: Callable[[], bool], stopped: threading.Event, daily: Callable[[], None] | None = None) -> None:
    """Repeat a step until ``stopped``, with a pause where there was nothing to do."""
    day = time.monotonic()
    while not stopped.is_set():
        try:
            if daily and time.monotonic() - day > _DAY:
                day = time.monotonic()
                daily()
            if not step():
                stopped.wait(_PAUSE)
        except Exception as error:  # such as a disk that cannot be read for a while: nothing is lost
            LOG.error("%s; again in %.0f s", said(error), _AFTER_ERROR)
            stopped.wait(_AFTER_ERROR)
