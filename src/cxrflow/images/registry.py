"""The registry of image steps: each with its name, the parameters that activate it, and its function.

``prepare_image``, the figure of the steps (examples.py) and the digest of a store (prepare.py) are derived from it. A
new step needs a function here, an entry below, and its parameters in ``params.Images``. The steps are those of the
paper (crop the top, centre square, resize, equalise, lungs). By default, images are cropped and shrunk before they are
equalised, which is then faster; ``order: equalise_first`` is the paper's order. Steps of others (``images.extra``)
change the square image last; only then what lies outside the lungs is made black, if it is to be.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import cv2
import numpy as np

from cxrflow.errors import LeftOut, one_line
from cxrflow.images import steps as do
from cxrflow.images.steps import LungMap, Prepared, Window
from cxrflow.lungs import learned, opencv
from cxrflow.params import Images
from cxrflow.reading import to_uint8

#: An image step of others: uint8 (size, size) to the same; LeftOut if it cannot.
Change = Callable[[np.ndarray], np.ndarray]
#: Lungs that cover less than this share of the map are ignored: specks in images of something else.
_LEAST = 0.02


@dataclass(frozen=True)
class View:
    """A radiograph after some of the steps.

    whole   the radiograph as read, uint8 (height, width)
    window  the part that is shown
    draw    window -> its image after these steps, uint8; computed on demand, because a later step may choose another
            window
    found   where lungs were found; None before the segmentation step
    lungs   window -> the lung mask in it, bool (size, size); None before the segmentation step
    """

    whole: np.ndarray
    window: Window
    draw: Callable[[Window], np.ndarray]
    found: LungMap | None = None
    lungs: Callable[[Window], np.ndarray] | None = None

    @property
    def image(self) -> np.ndarray:
        """The image in the window, uint8; (size, size) after the step that cuts the square."""
        return self.draw(self.window)

    @property
    def mask(self) -> np.ndarray | None:
        """The lung mask in the window, bool (size, size); None before the segmentation step."""
        return self.lungs(self.window) if self.lungs else None


@dataclass(frozen=True)
class Step:
    """An image step.

    name       display name; fields in braces are replaced by parameters
    when       parameter values that activate the step; empty if always active
    needs      further parameters that its result depends on
    apply      (view before the step, parameters) -> view after it
    show       view after the step -> image that shows its effect, uint8
    code       files of the package that implement it, besides images/ and reading/
    libraries  distributions that it uses, besides those that decode files
    """

    name: str
    when: Mapping[str, tuple[str, ...]]
    needs: tuple[str, ...]
    apply: Callable[[View, Images], View]
    show: Callable[[View], np.ndarray] = lambda view: view.image
    code: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()

    def in_force(self, steps: Images) -> bool:
        """Whether the parameters activate it."""
        return all(getattr(steps, key) in values for key, values in self.when.items())

    def parameters(self, steps: Images) -> dict[str, Any]:
        """The parameters that its result depends on."""
        return {key: getattr(steps, key) for key in (*self.when, *self.needs)}


def _square(view: View, steps: Images) -> View:
    window = do.kept_by_shrink(do.centre_square(view.whole.shape, steps.crop_top), steps.size)
    return replace(view, window=window, draw=cache(lambda part: do.shrink(do.cut(view.draw(part), part), steps.size)))


def _changed(view: View, change: Callable[[np.ndarray], np.ndarray]) -> View:
    return replace(view, draw=cache(lambda window: change(view.draw(window))))


def _clahe(view: View, steps: Images) -> View:
    clahe = do.clahe if steps.order == "shrink_first" else do.clahe_as_the_paper
    return _changed(view, lambda image: clahe(image, steps.clahe_clip, steps.clahe_tiles))


def _find_with_opencv(view: View, steps: Images) -> View:
    top, left, side, *_ = view.window
    return _found(view, LungMap(opencv.lung_mask(view.image).astype(np.uint8) * 255, top, left, side, side), steps)


def _find_with_networks(view: View, steps: Images) -> View:
    height, width = view.whole.shape
    return _found(view, LungMap(learned.lung_map(view.whole), 0, 0, height, width), steps)


def _found(view: View, lungs: LungMap, steps: Images) -> View:
    found = lungs if (lungs.chance > 127).mean() >= _LEAST else lungs._replace(chance=np.zeros_like(lungs.chance))
    return replace(view, found=found, lungs=cache(lambda window: do.lung_mask_in(found, window, steps.size)))


def _crop_to_lungs(view: View, steps: Images) -> View:
    # If no lungs are found, the window stays unchanged.
    window = do.lung_window(view.found, view.whole.shape) if view.found else None
    return replace(view, window=do.kept_by_shrink(window, steps.size) if window else view.window)


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
    """The steps that the parameters activate, in their order."""
    *before, last = STEPS[steps.order]
    return [step for step in (*before, *map(_extra, steps.extra), last) if step.in_force(steps)]


def find_change(name: str) -> Change:
    """The image step of others called ``name``. Raises CxrflowError as ``plugins.find``."""
    from cxrflow.plugins import find  # not at the top: what `cxrflow export` writes of this module has no plug-ins

    change: Change = find("image_steps", name, None, "images.extra")
    return change


def _extra(name: str) -> Step:
    """A step of others, called ``name``; its code is run where it is applied."""
    return Step(name, {}, (), lambda view, _: _changed(view, lambda image: _changed_by(name, image)))


def _changed_by(name: str, image: np.ndarray) -> np.ndarray:
    from cxrflow.plugins import running

    change = find_change(name)
    with running("image_steps", name):
        changed = change(image.copy())
        if getattr(changed, "dtype", None) != np.uint8 or changed.shape != image.shape:
            raise TypeError(f"it gives {_kind(changed)} for {_kind(image)}")
    return changed


def _kind(value: Any) -> str:
    return f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else type(value).__name__


def views(grey: np.ndarray, steps: Images) -> Iterator[tuple[Step | None, View]]:
    """The radiograph as read (step None), then after each active step.

    grey  (height, width) uint8 or uint16, air dark
    """
    whole = to_uint8(grey)
    height, width = whole.shape
    view = View(whole, Window(0, 0, min(height, width), height, width), lambda _: whole)
    yield None, view
    for step in steps_in_force(steps):
        view = step.apply(view, steps)
        yield step, view


def prepare_image(grey: np.ndarray, steps: Images) -> Prepared:
    """Apply the image steps to a radiograph; the result includes a lung mask if ``steps.lungs`` asks for one.

    grey  (height, width) uint8 or uint16, air dark
    ``steps.lungs_use``: ``store`` (only store the mask), ``mask`` (set pixels outside it to 0), ``crop`` (to the square
    around the lungs), or ``both``. If no lungs are found, the image is neither masked nor cropped.
    Raises LeftOut if OpenCV fails in a step.
    """
    try:
        *_, (_, view) = views(grey, steps)
        return Prepared(view.image, view.mask, view.window)
    except cv2.error as error:
        raise LeftOut(f"the image steps failed ({one_line(str(error))})") from None
