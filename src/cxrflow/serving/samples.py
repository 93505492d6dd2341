"""A few drawn radiographs, so that everybody can try the service at once."""

from functools import cache

import cv2
import numpy as np

from cxrflow.synthetic.drawing import draw
from cxrflow.synthetic.layouts import plan
from cxrflow.synthetic.people import Job

_PEOPLE, _SEED, _SIDE = 60, 3, 512


@cache
def jobs() -> tuple[Job, ...]:
    """One radiograph to draw of each kind that the demo draws, in the order of their names."""
    found = {job.kind: job for job in plan(_PEOPLE, _SEED)[0] if job.kind != "other"}
    return tuple(found[kind] for kind in sorted(found))


@cache
def sample(number: int) -> bytes:
    """The PNG of ``jobs()[number]``, 8-bit grey."""
    job = jobs()[number]
    pixels = cv2.resize(draw(job.patient, job.kind, job.style, job.seed).pixels, (_SIDE, _SIDE))
    return cv2.imencode(".png", np.rint(pixels * 255).clip(0, 255).astype(np.uint8))[1].tobytes()
