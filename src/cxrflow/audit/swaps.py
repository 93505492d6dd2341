"""Do markers, borders and exposure move the predictions?

The first experiment counts the predictions that flip under harmless changes and under marks of another hospital. The
second one can reveal a shortcut: each picture gets the border, or the exposure, of a picture of another class and, for
comparison, that of another picture of its own class. Both borders are equally foreign; if only the other class's border
moves the prediction towards that class, the network reads the class from the border. (DeGrave et al., Nat Mach Intell
2021; 3: 610-619, generate such counterfactual pictures with a network; here they are pasted together.)
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from cxrflow.audit.context import Audited
from cxrflow.audit.pictures import Pictures, grown
from cxrflow.audit.verdicts import AuditTest, Limit, Result, Rows, any_found, black_outside, simultaneous
from cxrflow.statistics.figure import Figure, in_percent, in_words, missing
from cxrflow.statistics.intervals import clustered_mean, proportion

Images = NDArray[np.uint8]
Positions = NDArray[np.intp]
#: Makes pictures at some positions look like those at others.
Change = Callable[[Pictures, Positions, Positions], Images]

#: Limit of the mean change of the probability of the class whose border or exposure is pasted in. It was set on
#: planted shortcuts with other seeds than those of benchmarks/audit_check.py.
LIMIT = Limit(0.03)

_FRAME, _CORNER, _BORDER = 0.15, 0.2, 0.08  # shares of the side
_AROUND = 0.03  # margin round the lungs that is left unchanged, share of the side
_QUALITY, _BRIGHTNESS, _BLUR = 50, 0.15, 1 / 128  # of JPEG; +-, share; sigma, share of the side


def run(context: Audited) -> Result:
    """How many predictions flip under each harmless change, and the effect of another class's border and exposure."""
    before = context.scores([pictures.images for pictures in context.views]).argmax(axis=1)
    each = [_changed(pictures, context.seed) for pictures in context.views]
    flips = {name: _flips(context, [changed[name] for changed in each], before) for name in each[0]}
    changes = {"surroundings": paste_frame, "exposure": match_exposure}
    towards = {name: simultaneous(_towards(context, change), context.claims) for name, change in changes.items()}
    words = (
        "With another class's border pasted in, a picture's probability of that class changes by "
        f"{in_words(towards['surroundings'])} on average, against a border of its own class; with another class's "
        f"exposure, by {in_words(towards['exposure'])}. "
        "Predictions that flip: " + "; ".join(f"{name}: {in_percent(figure)}" for name, figure in flips.items()) + "."
    )
    return Result(
        any_found([LIMIT.judge(figure) for figure in towards.values()]),
        words,
        {"towards": towards, "flips": flips},
        (Rows("change", "towards the class pasted from", towards), Rows("change", "predictions that flip", flips)),
    )


def donors(allowed: NDArray[np.bool_], rng: np.random.Generator) -> Positions:
    """For each row of ``allowed``, bool (n, m), one of the allowed columns, all used about equally often; -1 if no
    column is allowed."""
    chosen = np.full(len(allowed), -1)
    used = np.zeros(allowed.shape[1])
    for row in rng.permutation(len(allowed)):
        if allowed[row].any():
            chosen[row] = int(np.where(allowed[row], used + rng.random(len(used)) / 2, np.inf).argmin())
            used[chosen[row]] += 1
    return chosen


def paste_frame(pictures: Pictures, rows: Positions, sources: Positions) -> Images:
    """Pictures ``rows`` with the outer frame of pictures ``sources``, except where either picture has lungs."""
    return _pasted(pictures, rows, sources, _frame(pictures.images.shape[-1], _FRAME))


def match_exposure(pictures: Pictures, rows: Positions, sources: Positions) -> Images:
    """Pictures ``rows`` with their grey values matched to pictures ``sources`` by quantiles. The quantiles are measured
    outside the lungs, where there is no disease.

    Only the 5 % to 95 % quantiles are matched, since the darkest and brightest pixels may be a marker; values beyond
    them are shifted like the outermost quantile."""
    outside = ~grown(pictures.lungs, _AROUND)
    shares = np.linspace(0.05, 0.95, 19)
    out = np.empty((len(rows), *pictures.images.shape[1:]), np.uint8)
    for k, (row, source) in enumerate(zip(rows, sources, strict=True)):
        own, other = (np.quantile(pictures.images[i][outside[i]], shares) for i in (row, source))
        # np.interp needs increasing values, but many quantiles of a uniform margin are equal.
        own += np.arange(len(own)) * 1e-6
        own, other = (np.concatenate([[q[0] - 255], q, [q[-1] + 255]]) for q in (own, other))
        out[k] = np.clip(np.rint(np.interp(pictures.images[row], own, other)), 0, 255).astype(np.uint8)
    return out


def _towards(context: Audited, change: Change) -> Figure:
    """Mean change of the other class's probability, over pictures and other classes: with the border or exposure of a
    picture of that class, minus with that of another picture of the own class."""
    classes, truth, groups = len(context.task.order), context.test.truth, context.test.groups
    rng = np.random.default_rng([context.seed, 6])
    foreign = groups[:, None] != groups
    given = np.full((len(truth), classes, classes), np.nan)  # picture, class pasted from, probability
    for c in range(classes):
        chosen = donors(foreign & (truth == c), rng)
        rows = np.flatnonzero(chosen >= 0)
        if len(rows):
            given[rows, c] = context.scores([change(pictures, rows, chosen[rows]) for pictures in context.views])
    everyone = np.arange(len(truth))
    own = given[everyone, truth]
    gains = np.stack([given[:, c, c] - own[:, c] for c in range(classes)], axis=1)
    gains[everyone, truth] = np.nan
    known = np.isfinite(gains).any(axis=1)
    if not known.any():
        return missing("no class has pictures of two groups beside another class")
    return clustered_mean(np.nanmean(gains[known], axis=1), groups[known])


def _flips(context: Audited, changed: list[Images | Figure], before: Positions) -> Figure:
    """The share of predictions that a change of every view flips, or why there is no such change."""
    views = [view for view in changed if not isinstance(view, Figure)]
    if len(views) < len(changed):
        return next(why for why in changed if isinstance(why, Figure))
    return proportion(context.scores(views).argmax(axis=1) != before, context.test.groups)


def _changed(pictures: Pictures, seed: int) -> dict[str, Images | Figure]:
    """The pictures after each harmless change, or the reason why it is impossible."""
    images, side = pictures.images, pictures.images.shape[-1]
    changed: dict[str, Images | Figure] = {
        f"resaved as JPEG, quality {_QUALITY}": np.stack([_resaved(image) for image in images]),
        "darker": _scaled(images, 1 - _BRIGHTNESS),
        "brighter": _scaled(images, 1 + _BRIGHTNESS),
        "blurred": np.stack([cv2.GaussianBlur(image, (0, 0), max(side * _BLUR, 0.5)) for image in images]),
    }
    sources, labels = pictures.dataset.records.source.to_numpy(str), pictures.dataset.labels
    elsewhere = sources[:, None] != sources
    alike = elsewhere & (labels[:, None] == labels)  # of the same class where there is one
    allowed = np.where(alike.any(axis=1, keepdims=True), alike, elsewhere)
    chosen = donors(allowed, np.random.default_rng([seed, 60]))
    for name, where in (("side marker", _corners(side)), ("border", _frame(side, _BORDER))):
        key = f"{name} of another source"
        if (chosen < 0).any():
            changed[key] = missing("there is one source only")
        else:
            changed[key] = _pasted(pictures, np.arange(len(images)), chosen, where)
    return changed


def _pasted(pictures: Pictures, rows: Positions, sources: Positions, where: NDArray[np.bool_]) -> Images:
    lungs = grown(pictures.lungs, _AROUND)
    mask = where & ~lungs[rows] & ~lungs[sources]
    return np.where(mask, pictures.images[sources], pictures.images[rows])


def _frame(side: int, share: float) -> NDArray[np.bool_]:
    inner = max(1, round(share * side))
    frame = np.ones((side, side), np.bool_)
    frame[inner:-inner, inner:-inner] = False
    return frame


def _corners(side: int) -> NDArray[np.bool_]:
    reach = round(_CORNER * side)
    upper = np.zeros((side, side), np.bool_)
    upper[:reach, :reach] = upper[:reach, -reach:] = True
    return upper


def _resaved(image: Images) -> Images:
    content = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])[1]
    return np.asarray(cv2.imdecode(content, cv2.IMREAD_GRAYSCALE), np.uint8)


def _scaled(images: Images, factor: float) -> Images:
    return np.asarray(np.clip(np.rint(images * factor), 0, 255), np.uint8)


TEST = AuditTest(
    "swaps", "Do markers, borders and exposure move the predictions?", LIMIT, lambda _: 2, "picture", run, black_outside
)
