"""The registry of image steps: each with its name, the parameters that put it in force, and what it does.

``prepare_image``, the names and pictures of the steps (examples.py) and the digest of a store (prepare.py) follow from
it. A new step is a function here, its entry below, and its parameters in ``params.Images``. The steps are the paper's
(top cropped, centre square, resize, equalise, lungs). By default cropping and shrinking come before equalising, which
then works on few pixels; ``order: equalise_first`` is the paper's order.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import cv2
import numpy as np

from cxrflow.errors import LeftOut
from cxrflow.images import steps as do
from cxrflow.images.steps import LungMap, Prepared, Window
from cxrflow.lungs import learned, opencv
from cxrflow.params import Images
from cxrflow.reading import to_uint8

#: Lungs below this share of the map count as none: a speck in a picture of something else.
_LEAST = 0.02


@dataclass(frozen=True)
class View:
    """A radiograph after some of the steps.

    whole   uint8 (height, width), as read
    window  the part that is shown
    draw    window -> its picture after these steps, uint8. It is computed when asked for, because a later step may
            choose another window.
    found   where lungs were found; None before they are looked for
    lungs   window -> the lungs in it, bool (size, size); None likewise
    """

    whole: np.ndarray
    window: Window
    draw: Callable[[Window], np.ndarray]
    found: LungMap | None = None
    lungs: Callable[[Window], np.ndarray] | None = None

    @property
    def image(self) -> np.ndarray:
        """The picture, uint8: (size, size) once it is cut to a square."""
        return self.draw(self.window)

    @property
    def mask(self) -> np.ndarray | None:
        """The lungs in it, bool (size, size); None where none were looked for."""
        return self.lungs(self.window) if self.lungs else None


@dataclass(frozen=True)
class Step:
    """An image step.

    name       what people read; fields in braces are filled in with the parameters
    when       the values of parameters that put it in force; empty: always
    needs      further parameters that its result depends on
    apply      (view before it, parameters) -> view after it
    show       view after it -> the picture that shows what it does, uint8
    code       files of the package that do it, beside images/ and reading/
    libraries  distributions that do it, beside those that decode files
    """

    name: str
    when: Mapping[str, tuple[str, ...]]
    needs: tuple[str, ...]
    apply: Callable[[View, Images], View]
    show: Callable[[View], np.ndarray] = lambda view: view.image
    code: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()

    def in_force(self, steps: Images) -> bool:
        """Whether the parameters ask for it."""
        return all(getattr(steps, key) in values for key, values in self.when.items())

    def parameters(self, steps: Images) -> dict[str, Any]:
        """The parameters that its result depends on."""
        return {key: getattr(steps, key) for key in (*self.when, *self.needs)}


def _square(view: View, steps: Images) -> View:
    window = do.centre_square(view.whole.shape, steps.crop_top)
    return replace(view, window=window, draw=cache(lambda part: do.shrink(do.cut(view.draw(part), part), steps.size)))


def _changed(view: View, change: Callable[[np.ndarray], np.ndarray]) -> View:
    return replace(view, draw=cache(lambda window: change(view.draw(window))))


def _clahe(view: View, steps: Images) -> View:
    clahe = do.clahe if steps.order == "shrink_first" else do.clahe_as_the_paper
    return _changed(view, lambda image: clahe(image, steps.clahe_clip, steps.clahe_tiles))


def _find_with_opencv(view: View, steps: Images) -> View:
    top, left, side = view.window
    return _found(view, LungMap(opencv.lung_mask(view.image).astype(np.uint8) * 255, top, left, side, side), steps)


def _find_with_networks(view: View, steps: Images) -> View:
    height, width = view.whole.shape
    return _found(view, LungMap(learned.lung_map(view.whole), 0, 0, height, width), steps)


def _found(view: View, lungs: LungMap, steps: Images) -> View:
    found = lungs if (lungs.chance > 127).mean() >= _LEAST else lungs._replace(chance=np.zeros_like(lungs.chance))
    return replace(view, found=found, lungs=cache(lambda window: do.lung_mask_in(found, window, steps.size)))


def _crop_to_lungs(view: View, steps: Images) -> View:
    # Without lungs the whole picture stays.
    window = do.lung_window(view.found, view.whole.shape) if view.found else None
    return replace(view, window=window or view.window)


def _lungs_alone(view: View, steps: Images) -> View:
    def draw(window: Window) -> np.ndarray:
        image = view.draw(window)
        return do.blacken_outside(image, view.lungs(window)) if view.lungs else image

    return replace(view, draw=cache(draw))


def _outlined(view: View) -> np.ndarray:
    return view.image if view.mask is None else do.outline(view.image, view.mask)


_SQUARE = Step("top {crop_top:.0%} off, centre square", {}, ("size", "crop_top"), _square)
_GREY_LEVELS = (
    Step("stretched", {"harmonise": ("percentiles",)}, ("order",), lambda view, _: _changed(view, do.stretch)),
    Step("equalised", {"equalise": ("global",)}, ("order",), lambda view, _: _changed(view, cv2.equalizeHist)),
    Step("CLAHE", {"equalise": ("clahe",)}, ("order", "clahe_clip", "clahe_tiles"), _clahe),
)
_FOUND = ("opencv", "learned")
_LUNGS = (
    Step("lungs found", {"lungs": ("opencv",)}, (), _find_with_opencv, _outlined, code=("lungs/opencv.py",)),
    Step(
        "lungs found",
        {"lungs": ("learned",)},
        (),
        _find_with_networks,
        _outlined,
        code=("lungs/learned.py", "lungs/lungs.onnx"),
        libraries=("onnxruntime",),
    ),
    Step("cropped to the lungs", {"lungs": _FOUND, "lungs_use": ("crop", "both")}, (), _crop_to_lungs),
    Step("lungs alone", {"lungs": _FOUND, "lungs_use": ("mask", "both")}, (), _lungs_alone),
)
#: The steps in each order that ``images.order`` may name.
STEPS: Mapping[str, tuple[Step, ...]] = {
    "shrink_first": (_SQUARE, *_GREY_LEVELS, *_LUNGS),
    "equalise_first": (*_GREY_LEVELS, _SQUARE, *_LUNGS),
}


def steps_in_force(steps: Images) -> list[Step]:
    """The steps that the parameters ask for, in their order."""
    return [step for step in STEPS[steps.order] if step.in_force(steps)]


def views(grey: np.ndarray, steps: Images) -> Iterator[tuple[Step | None, View]]:
    """The radiograph as read (step None), then after each step in force.

    grey  (height, width) uint8 or uint16, air dark
    """
    whole = to_uint8(grey)
    view = View(whole, Window(0, 0, min(whole.shape)), lambda _: whole)
    yield None, view
    for step in steps_in_force(steps):
        view = step.apply(view, steps)
        yield step, view


def prepare_image(grey: np.ndarray, steps: Images) -> Prepared:
    """A radiograph as the network sees it, with its lungs where ``steps.lungs`` asks for them.

    grey  (height, width) uint8 or uint16, air dark
    ``steps.lungs_use`` says what the lungs are used for: ``store`` (nothing), ``mask`` (all else becomes 0), ``crop``
    (to their box), or ``both``. Where no lungs are found, the whole picture stays.
    Raises LeftOut where OpenCV cannot do a step.
    """
    try:
        *_, (_, view) = views(grey, steps)
        return Prepared(view.image, view.mask, view.window)
    except cv2.error as error:
        raise LeftOut(f"the image steps failed ({' '.join(str(error).split())[:200]})") from None
