"""What a bundle says of one image, or why it says nothing: the typed result that every output is written from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from cxrflow.bundle import Bundle
from cxrflow.far import FAR
from cxrflow.images.file import LeftOutFile, PreparedFile
from cxrflow.images.steps import Window, cut
from cxrflow.reading.frontal import FLAG, NOT_FRONTAL, TURNED
from cxrflow.reading.letters import has_text


@dataclass(frozen=True, eq=False)
class Look:
    """Where the networks looked, and where lungs were found.

    label  the class whose evidence the heat shows
    shape  height and width of the original picture: of its upright pixels, or of the pixels of a DICOM image
    heats  by each network Grad-CAM, float32 (size, size), with a maximum of 1 or 0 everywhere, and what of the
           radiograph it shows
    lungs  by each of the image steps that look for lungs, bool (size, size), and what of the radiograph it shows
    """

    label: str
    shape: tuple[int, int]
    heats: tuple[tuple[NDArray[np.float32], Window], ...]
    lungs: tuple[tuple[NDArray[np.bool_], Window], ...]

    def each(self) -> Iterator[NDArray[np.float32]]:
        """The heat of each network on the original picture: float32 (height, width), 0 outside of what it sees."""
        return (on_original(heat, window, self.shape) for heat, window in self.heats)

    def heat(self) -> NDArray[np.float32]:
        """The mean of ``each``, scaled to a maximum of 1; 0 everywhere without evidence for the class."""
        total = np.zeros(self.shape, np.float32)
        for heat in self.each():
            total += heat
        return np.asarray(total / total.max() if total.max() > 0 else total, np.float32)

    def lung_mask(self) -> NDArray[np.bool_] | None:
        """The lungs on the original picture, bool (height, width); None if no image steps look for them."""
        found = [on_original(mask.astype(np.uint8) * 255, window, self.shape) > 127 for mask, window in self.lungs]
        return np.asarray(np.any(found, axis=0)) if found else None


class Result(BaseModel):
    """A bundle's answer for one image. Research software: never a diagnosis.

    image           ``sha256:`` and the SHA-256 of the file's content, or of an array's shape, dtype and pixels; where
                    that could not be read, ``file:`` and the number of the file among those asked about, from 1. No
                    name of a file or patient is in it
    path            its path as name text (text.py); empty for bytes and arrays
    study, series, instance  UIDs of a DICOM image (PS3.3 C.7.2.1, C.7.3.1, C.12.1); else empty
    scores          calibrated probability of each class, in the order of the task; empty if it was left out
    prediction      the most probable class; None if it was left out
    positive_at     for each operating point, whether the image is positive there
    prediction_set  the classes that cannot be ruled out; None if the bundle has no prediction sets
    frontal         score in [0, 1] for a frontal chest radiograph
    as_far          share of images of new patients, such as those of val, that are at least as far from the training
                    images (far.py); None if the bundle cannot say
    text_places     number of places with text burned into the picture; None if it was not, or could not be, looked for
    flags           warnings in words: does not look like a frontal radiograph; was stored inverted; has text burned in;
                    is far from the training data; was used to train the bundle
    note            what the file's header declares and reading did not apply
    left_out        why there is no answer; else None
    bundle          SHA-256 of the bundle's description, which holds those of its weights and thresholds; of one of
                    its networks alone (``member``), of that network's
    cxrflow, purpose  version of this program; intended use and excluded use
    look            where the networks looked, if it was asked for; never part of the JSON
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, arbitrary_types_allowed=True)

    image: str
    path: str = ""
    study: str = ""
    series: str = ""
    instance: str = ""
    scores: dict[str, float] = {}
    prediction: str | None = None
    positive_at: dict[str, bool] = {}
    prediction_set: tuple[str, ...] | None = None
    frontal: float | None = None
    as_far: float | None = None
    text_places: int | None = None
    flags: tuple[str, ...] = ()
    note: str | None = None
    left_out: str | None = None
    bundle: str
    cxrflow: str
    purpose: str
    look: Look | None = Field(None, exclude=True)


def decided(bundle: Bundle, by_fold: NDArray[np.float64]) -> dict[str, Any]:
    """Scores, prediction, operating points and prediction set of one image, as fields of ``Result``.

    by_fold  calibrated probabilities, float (folds, classes), as ``Predictor.scores_by_fold``
    """
    order, score = bundle.task.order, bundle.pooled(by_fold)
    positive = score[bundle.task.positive_column]
    fields = {
        "scores": dict(zip(order, score.tolist(), strict=True)),
        "prediction": order[int(score.argmax())],
        "positive_at": {name: bool(positive >= at.threshold) for name, at in bundle.thresholds.items()},
    }
    if bundle.prediction_sets:
        held = bundle.prediction_sets.held(bundle.for_sets(by_fold[:, None]), order)[0]
        fields["prediction_set"] = tuple(name for name, is_in in zip(order, held, strict=True) if is_in)
    return fields


def compared(bundle: Bundle, file: PreparedFile, seen: str | None) -> dict[str, Any]:
    """How an image compares with the training images, as fields of ``Result``; the flags are all of its flags.

    seen  a flag of trained_on.py, or None
    """
    flags, as_far = list(_flags(file)), None
    if bundle.far:
        as_far = bundle.far.as_far(file.images[bundle.views[0]])
        flags += [FAR] if bundle.far.is_far(as_far) else []
    return {"as_far": as_far, "flags": (*flags, *([seen] if seen else []))}


def described(number: int, path: str, file: PreparedFile | LeftOutFile) -> dict[str, Any]:
    """What is known of a file before its scores, as fields of ``Result``.

    number  of the file among those asked about, from 1
    path    as name text, empty for bytes and arrays
    """
    if isinstance(file, LeftOutFile):
        named = f"sha256:{file.sha256}" if file.sha256 else f"file:{number}"
        return {"image": named, "path": path, "left_out": file.reason}
    return {
        "image": f"sha256:{file.sha256}",
        "path": path,
        **(file.identity._asdict() if file.identity else {}),
        "frontal": file.frontal,
        "text_places": file.text_places,
        "note": file.note,
    }


def _flags(file: PreparedFile) -> Iterator[str]:
    if file.frontal < FLAG:
        yield NOT_FRONTAL
    if file.turned:
        yield TURNED
    if file.text_places:
        yield has_text(file.text_places)


def on_original(picture: NDArray[Any], window: Window, shape: tuple[int, int]) -> NDArray[Any]:
    """A map of a prepared image, in the geometry of the original picture: crop, square and resize undone.

    picture  float32 or uint8 (size, size), such as a heat map
    window   what of the radiograph the prepared image shows
    shape    height and width of the original picture; other than the window's where a DICOM's pixels are not square
    Returns the same dtype, (height, width), interpolated bilinearly; 0 outside of what the prepared image shows.
    """
    whole = np.zeros((window.height, window.width), picture.dtype)
    resized = cv2.resize(picture, (window.side, window.side), interpolation=cv2.INTER_LINEAR)
    cut(whole, window)[:] = resized
    if whole.shape == shape:
        return whole
    return np.asarray(cv2.resize(whole, shape[::-1], interpolation=cv2.INTER_LINEAR), picture.dtype)


def looked(label: str, file: PreparedFile, heats: Sequence[NDArray[np.float32]], views: Sequence[int]) -> Look:
    """Where the networks looked in a prepared file.

    heats  by each network, as ``Predictor.heat_maps``
    views  for each network, the position of its view in ``file.views``
    """
    placed = tuple((heat, file.views[view].window) for heat, view in zip(heats, views, strict=True))
    lungs = tuple((view.lungs, view.window) for view in file.views if view.lungs is not None)
    return Look(label, file.shape, placed, lungs)
