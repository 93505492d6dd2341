"""Do markers, borders, exposure and texture move the predictions?

The first experiment counts the predictions that flip under harmless changes and under marks of another hospital. The
second one can reveal a shortcut: each picture gets the border, the exposure or the texture of a picture of another
class and, for comparison, that of another picture of its own class. Both borders are equally foreign; if only the other
class's border moves the prediction towards that class, the network reads the class from the border. (DeGrave et al.,
Nat Mach Intell 2021; 3: 610-619, generate such counterfactual pictures with a network; here they are pasted together.)

Donors, from which border, exposure and texture are taken, are pictures of a class from the sources in which that class
is frequent: if the network reads the class from the source, these show what it reads.
"""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from cxrflow.audit.context import Audited
from cxrflow.audit.pictures import Pictures, grown
from cxrflow.audit.verdicts import AuditTest, Limit, Result, Rows, any_found, black_outside, simultaneous
from cxrflow.statistics.figure import Figure, in_percent, in_words, missing
from cxrflow.statistics.intervals import multiway_mean, proportion

Images = NDArray[np.uint8]
Positions = NDArray[np.intp]
#: Makes pictures at some positions look like those at others.
Change = Callable[[Pictures, Positions, Positions], Images]

#: Limit of the mean change of the probability of the class whose border, exposure or texture is given. It was set on
#: planted shortcuts with other seeds than those of benchmarks/audit_check.py.
LIMIT = Limit(0.03)

_FRAME, _CORNER, _BORDER = 0.15, 0.2, 0.08  # shares of the side
_AROUND = 0.03  # margin round the lungs that is left unchanged, share of the side
_BLOCKS, _GAIN = 8, 4.0  # blocks along a side, of which spectra are taken; largest change of an amplitude
_FREQUENT = 2.0  # odds ratio from which a source shows what tells a class; chance alone rarely reaches it
_DONORS = 10  # groups of patients, fewer of whom stand for themselves rather than for their sources
_ROUNDING = 1 / 12  # power of rounding to whole grey levels
_QUALITY, _BRIGHTNESS, _BLUR = 50, 0.15, 1 / 128  # of JPEG; +-, share; sigma, share of the side


def run(context: Audited) -> Result:
    """How many predictions flip under each harmless change, and the effect of another class's border, exposure and
    texture."""
    before = context.scores([pictures.images for pictures in context.views]).argmax(axis=1)
    each = [_changed(pictures, context.seed) for pictures in context.views]
    flips = {name: _flips(context, [changed[name] for changed in each], before) for name in each[0]}
    towards = {name: simultaneous(_towards(context, change), context.claims) for name, change in CHANGES.items()}
    words = (
        "With another class's border pasted in, a picture's probability of that class changes by "
        f"{in_words(towards['surroundings'])} on average, against a border of its own class; with another class's "
        f"exposure, by {in_words(towards['exposure'])}; with another class's texture (sharpness and grain), by "
        f"{in_words(towards['texture'])}. "
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


def match_texture(pictures: Pictures, rows: Positions, sources: Positions) -> Images:
    """Pictures ``rows`` filtered so that their power spectrum is that of pictures ``sources``: as sharp, as grainy, as
    much contrast in large and in small structures, in the same directions. The mean grey value stays.

    A spectrum is the median over blocks without lungs, in which there is no disease; a marker is in few of them. It is
    that of the cosine transform, for which a block's edges need not meet. No amplitude changes by more than ``_GAIN``,
    and none where either picture has no such block.
    """
    out = np.empty((len(rows), *pictures.images.shape[1:]), np.uint8)
    spectra = {int(k): _spectrum(pictures.images[k], pictures.lungs[k]) for k in {*rows, *sources}}
    coarse, side = len(next(iter(spectra.values()))), pictures.images.shape[-1]
    finer = np.indices((side, side)) * coarse / side  # a block's frequency k is the picture's k * side / coarse
    for k, (row, source) in enumerate(zip(rows, sources, strict=True)):
        gain = np.clip(np.sqrt(spectra[int(source)] / spectra[int(row)]), 1 / _GAIN, _GAIN)
        gain[0, 0] = 1
        gain = ndimage.map_coordinates(np.nan_to_num(gain, nan=1), finer, order=1, mode="nearest")
        filtered = fft.idctn(fft.dctn(pictures.images[row].astype(np.float32)) * gain)
        out[k] = np.clip(np.rint(filtered), 0, 255).astype(np.uint8)
    return out


def _spectrum(image: Images, lungs: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Power by frequency, float32 (block, block), of the median block without lungs that is not of one grey; NaN
    if there is none."""
    side = max(8, len(image) // _BLOCKS)
    at = range(0, len(image) - side + 1, side // 2)
    blocks = [image[y : y + side, x : x + side] for y in at for x in at if not lungs[y : y + side, x : x + side].any()]
    blocks = [block for block in blocks if block.std() > 1]
    if not blocks:
        return np.full((side, side), np.nan, np.float32)
    power = np.square(fft.dctn(np.array(blocks, np.float32), axes=(1, 2), norm="ortho")) + _ROUNDING
    power[:, 0, 0] = 1  # the block's mean
    return np.asarray(np.exp(ndimage.gaussian_filter(np.log(np.median(power, axis=0)), 0.5)), np.float32)


def _towards(context: Audited, change: Change) -> Figure:
    """Mean change of the other class's probability, over pictures and other classes: with the border, exposure or
    texture of a picture of that class, minus with that of another picture of the own class. The interval knows that one
    donor serves several pictures."""
    classes, truth, groups = len(context.task.order), context.test.truth, context.test.groups
    rng = np.random.default_rng([context.seed, 6])
    foreign, shows = groups[:, None] != groups, typical(context)
    chosen = np.stack([donors(foreign & shows[c], rng) for c in range(classes)])
    given = np.full((len(truth), classes, classes), np.nan)  # picture, class pasted from, probability
    for c in range(classes):
        rows = np.flatnonzero(chosen[c] >= 0)
        if len(rows):
            given[rows, c] = context.scores([change(pictures, rows, chosen[c, rows]) for pictures in context.views])
    everyone = np.arange(len(truth))
    gains = np.stack([given[:, c, c] - given[everyone, truth, c] for c in range(classes)], axis=1)
    gains[everyone, truth] = np.nan
    row, other = np.nonzero(np.isfinite(gains))
    if not len(row):
        return missing("no class has pictures of two groups beside another class")
    by = groups[row], groups[chosen[other, row]], groups[chosen[truth[row], row]]  # picture, both donors
    return multiway_mean(gains[row, other], *by)


def typical(context: Audited) -> NDArray[np.bool_]:
    """For each class, the pictures of test from the sources in which its odds are at least ``_FREQUENT`` times those
    over all sources, bool (classes, n); all of its pictures where those are of fewer than ``_DONORS`` groups."""
    known, test = context.dataset.records, context.test
    sources, out = test.records.source.to_numpy(str), []
    for c, name in enumerate(context.task.order):
        of_class = known.label == name
        inside, whole = of_class.groupby(known.source).mean(), of_class.mean()
        often = inside * (1 - whole) >= _FREQUENT * whole * (1 - inside)
        ours = test.truth == c
        most = ours & np.isin(sources, inside.index[often].astype(str))
        out.append(most if len(set(test.groups[most])) >= _DONORS else ours)
    return np.stack(out)


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


CHANGES: dict[str, Change] = {"surroundings": paste_frame, "exposure": match_exposure, "texture": match_texture}
TEST = AuditTest(
    "swaps",
    "Do markers, borders, exposure and texture move the predictions?",
    LIMIT,
    lambda _: len(CHANGES),
    "picture",
    run,
    black_outside,
)
