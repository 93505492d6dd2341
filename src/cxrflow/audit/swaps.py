"""Test 6: what has nothing to do with disease is changed, and the predictions are watched.

First harmless changes and marks of another hospital: how many predictions flip. Then the experiment that tells a
shortcut: each picture gets the surroundings, or the exposure, of a picture of another class, and for comparison those
of a picture of its own class. Both are equally foreign to it; where only the other class's moves the prediction towards
that class, the network reads the class off them. (Counterfactual images, as DeGrave et al., Nat Mach Intell 2021; 3:
610-619, make them with a generative network; here the picture itself is cut and pasted.)
"""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from cxrflow.audit.pictures import Pictures, grown
from cxrflow.audit.verdicts import FOUND, NOT_FOUND, UNTOLD, Limits, Test, mean, percent, result
from cxrflow.records import CLASSES
from cxrflow.statistics.intervals import Figure, missing, proportion

Scores = Callable[[np.ndarray], np.ndarray]
Images = NDArray[np.uint8]

QUESTION = "Do markers, borders and exposure move the predictions?"
#: Of the mean change of a probability towards the class whose surroundings or exposure a picture is given. Set on
#: planted shortcuts of other seeds than those that they are checked on (benchmarks/audit_check.py).
LIMITS = Limits(found=0.03, clear=0.1, none=0.0)

_FRAME, _CORNER, _BORDER = 0.15, 0.2, 0.08  # shares of the side
_AROUND = 0.03  # what lies this near to the lungs, a share of the side, is left alone
_QUALITY, _BRIGHTNESS, _BLUR = 50, 0.15, 1 / 128  # of JPEG; +-, share; sigma, share of the side


def swaps(pictures: Pictures, scores: Scores, seed: int) -> Test:
    """Flips under each change, and what another class's surroundings and exposure do.

    scores  prepared pictures uint8 (n, size, size) to probabilities (n, 3)
    seed    chooses the pictures that are pasted from
    """
    groups = pictures.table.group_id.to_numpy()
    before = scores(pictures.images).argmax(axis=1)
    flips = {
        name: changed if isinstance(changed, dict) else proportion(scores(changed).argmax(axis=1) != before, groups)
        for name, changed in _changed(pictures, seed).items()
    }
    towards = {
        "surroundings": _towards(pictures, scores, paste_frame, seed),
        "exposure": _towards(pictures, scores, match_exposure, seed),
    }
    judged = {name: LIMITS.judge(figure) for name, figure in towards.items()}
    told = set(judged.values())
    verdict = FOUND if FOUND in told else NOT_FOUND if told == {NOT_FOUND} else UNTOLD
    words = (
        f"Given the surroundings of a picture of another class, rather than of its own, a picture's probability of "
        f"that class changes by {_points(towards['surroundings'])} on average; given its exposure, by "
        f"{_points(towards['exposure'])}. "
        "Predictions that flip: " + ", ".join(f"{name} {percent(figure)}" for name, figure in flips.items()) + "."
    )
    return result(QUESTION, verdict, words, towards=towards, flips=flips)


def donors(allowed: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.intp]:
    """For each row one of the columns that it allows, bool (n, m), each used about as often; -1 where there is none."""
    chosen = np.full(len(allowed), -1)
    used = np.zeros(allowed.shape[1])
    for row in rng.permutation(len(allowed)):
        if allowed[row].any():
            chosen[row] = int(np.where(allowed[row], used + rng.random(len(used)) / 2, np.inf).argmin())
            used[chosen[row]] += 1
    return chosen


def paste_frame(pictures: Pictures, rows: NDArray[np.intp], sources: NDArray[np.intp]) -> Images:
    """Pictures ``rows`` with the outer frame of pictures ``sources``, but for where either has lungs."""
    return _pasted(pictures, rows, sources, _frame(pictures.images.shape[-1], _FRAME))


def match_exposure(pictures: Pictures, rows: NDArray[np.intp], sources: NDArray[np.intp]) -> Images:
    """Pictures ``rows`` with the grey values of pictures ``sources``: every grey value becomes the one that as large a
    share of the other picture lies below, both counted outside the lungs, where no disease can have its say.

    The darkest and the brightest 5 % play no part, since a marker may be among them; what lies beyond them is shifted
    as they are."""
    outside = ~grown(pictures.lungs, _AROUND)
    shares = np.linspace(0.05, 0.95, 19)
    out = np.empty((len(rows), *pictures.images.shape[1:]), np.uint8)
    for k, (row, source) in enumerate(zip(rows, sources, strict=True)):
        own, other = (np.quantile(pictures.images[i][outside[i]], shares) for i in (row, source))
        # np.interp asks for rising values: a margin of one grey has many quantiles.
        own += np.arange(len(own)) * 1e-6
        own, other = (np.concatenate([[q[0] - 255], q, [q[-1] + 255]]) for q in (own, other))
        out[k] = np.clip(np.rint(np.interp(pictures.images[row], own, other)), 0, 255).astype(np.uint8)
    return out


def _towards(
    pictures: Pictures,
    scores: Scores,
    change: Callable[[Pictures, NDArray[np.intp], NDArray[np.intp]], Images],
    seed: int,
) -> Figure:
    """Mean over pictures and other classes of the change of that class's probability: with something of a picture of
    that class, less with the same of a picture of the own class."""
    labels = pictures.table.label.map(CLASSES.index).to_numpy(int)
    groups = pictures.table.group_id.to_numpy()
    rng = np.random.default_rng([seed, 6])
    foreign = groups[:, None] != groups
    given = np.full((len(labels), len(CLASSES), len(CLASSES)), np.nan)  # picture, class pasted from, probability
    for c in range(len(CLASSES)):
        chosen = donors(foreign & (labels == c), rng)
        rows = np.flatnonzero(chosen >= 0)
        if len(rows):
            given[rows, c] = scores(change(pictures, rows, chosen[rows]))
    everyone = np.arange(len(labels))
    own = given[everyone, labels]
    gains = np.stack([given[:, c, c] - own[:, c] for c in range(len(CLASSES))], axis=1)
    gains[everyone, labels] = np.nan
    known = np.isfinite(gains).any(axis=1)
    if not known.any():
        return missing("no class has pictures of two groups beside another class")
    return mean(np.nanmean(gains[known], axis=1), groups[known])


def _changed(pictures: Pictures, seed: int) -> dict[str, Images | Figure]:
    """The pictures under each harmless change, or why there are none."""
    images, side = pictures.images, pictures.images.shape[-1]
    changed: dict[str, Images | Figure] = {
        f"resaved as JPEG, quality {_QUALITY}": np.stack([_resaved(image) for image in images]),
        "darker": _scaled(images, 1 - _BRIGHTNESS),
        "brighter": _scaled(images, 1 + _BRIGHTNESS),
        "blurred": np.stack([cv2.GaussianBlur(image, (0, 0), max(side * _BLUR, 0.5)) for image in images]),
    }
    sources, labels = pictures.table.source.to_numpy(str), pictures.table.label.to_numpy(str)
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


def _pasted(pictures: Pictures, rows: NDArray[np.intp], sources: NDArray[np.intp], where: NDArray[np.bool_]) -> Images:
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
    return np.clip(np.rint(images * factor), 0, 255).astype(np.uint8)


def _points(figure: dict[str, Any]) -> str:
    """Percentage points, with their sign."""
    if figure["value"] is None:
        return f"an unknown amount ({figure['reason']})"
    value, low, high = (f"{100 * figure[key]:+.0f}" for key in ("value", "low", "high"))
    return f"{value} points ({low} to {high})"
