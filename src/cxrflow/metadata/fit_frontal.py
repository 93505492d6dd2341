"""Fit the network of reading/frontal.py on the training side of the collections, and measure it on the test side.

Frontal are the radiographs that the collections list as such; not frontal are their CT slices and lateral views, the
frontal ones inverted, lying, upside down or cut to a small part, and drawn noise, shapes, slopes and pages.
"""

import hashlib
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.random import Generator
from rich.console import Console
from safetensors.numpy import save
from sklearn.datasets import load_sample_images
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import roc_auc_score
from sklearn.neural_network import MLPClassifier

from cxrflow.engines import Engine
from cxrflow.errors import CxrflowError, LeftOut
from cxrflow.files import below, write_json, write_whole
from cxrflow.metadata.build import build_records
from cxrflow.metadata.groups import split_of
from cxrflow.params import Metadata
from cxrflow.reading import decode
from cxrflow.reading.frontal import FLAG, Weights, judge, load_weights, probability, thumbnail
from cxrflow.sources import tables

#: Reasons for leaving a row out, and what its picture shows; None: the row is kept.
_SHOWS = {
    "": "frontal",
    tables.NO_FINDING_GIVEN: "frontal",
    tables.NOT_IN_RULES: "frontal",
    "modality is CT, not X-ray": "ct",
    "view is L, not frontal": "lateral",
}
_SIDE = 96
_HIDDEN = (32, 16)
_EXAMPLES = 50_000
_FOLDS = 5


def fit_frontal(sources: Path, params: Metadata, engine: Engine, out: Path) -> dict[str, Any]:
    """Fit on the training side of the collections below ``sources``; write ``out/frontal.safetensors`` (the weights)
    and ``out/figures.json`` (what they do on val and test, and five-fold over all sides); returns the figures.

    Raises CxrflowError where a collection cannot be read, or CT slices or lateral views are missing.
    """
    rows = _rows(sources, params, engine, out)
    path = out / "frontal.safetensors"
    fitted = fit(rows[rows.side == "train"], _EXAMPLES)
    write_whole(path, save({name: array.astype(np.float16) for name, array in fitted.items()}))
    weights = load_weights(path)
    figures: dict[str, Any] = {
        "fitted_on": _counts(rows[rows.side == "train"]),
        **{
            side: measure(rows[rows.side == side], _judged(rows[rows.side == side], weights))
            for side in ("val", "test")
        },
        "photographs": _photographs(weights),
        "five_fold": measure(rows, _five_fold(rows)),
    }
    write_json(out / "figures.json", figures)
    return figures


def fit(rows: pd.DataFrame, examples: int) -> Weights:
    """Weights of the network, fitted on varied pictures of ``rows`` (columns shows, picture) and drawn ones."""
    rng = np.random.default_rng(0)
    pictures = {kind: np.stack(rows.picture[rows.shows == kind].tolist()) for kind in ("frontal", "ct", "lateral")}
    drawn = [_example(pictures, rng) for _ in range(examples)]
    network = MLPClassifier(_HIDDEN, alpha=0.1, batch_size=128, max_iter=25, tol=0, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of rounds is given
        network.fit(np.stack([thumbnail(picture) for picture, _ in drawn]), [label for _, label in drawn])
    layers = enumerate(zip(network.coefs_, network.intercepts_, strict=True))
    return {name: array for n, pair in layers for name, array in zip((f"weight{n}", f"bias{n}"), pair, strict=True)}


def measure(rows: pd.DataFrame, judged: pd.DataFrame) -> dict[str, Any]:
    """Figures of judged pictures: AUROC against CT and lateral views, flagged and turned of each kind and source.

    rows    columns shows, source
    judged  columns plain (score without turning), flagged, turned, inverse_turned (the inverted picture turned)
    """
    shows = rows.shows.to_numpy()
    auroc = {}
    for other in ("ct", "lateral"):
        pair = np.isin(shows, ("frontal", other))
        auroc[other] = round(float(roc_auc_score(shows[pair] == "frontal", judged.plain.to_numpy()[pair])), 4)
    kinds = pd.Series(np.where(shows == "frontal", "frontal: " + rows.source, shows), index=judged.index)
    frontal = judged[shows == "frontal"]
    return {
        "images": _counts(rows),
        "auroc_frontal_against": auroc,
        "flagged": {str(kind): _share(some.flagged) for kind, some in judged.groupby(kinds)},
        "frontal_flagged": _share(frontal.flagged),
        "frontal_turned": _share(frontal.turned),
        "inverted_frontal_turned": _share(frontal.inverse_turned),
        "ct_and_lateral_turned": _share(judged.turned[shows != "frontal"]),
    }


def print_figures(figures: dict[str, Any]) -> None:
    """Print what was measured, one line each."""
    for name, value in figures.items():
        Console().print(f"[bold]{name}[/bold]")
        for key, figure in value.items():
            Console().print(f"  {key}: {figure}", markup=False, highlight=False, soft_wrap=True)


def _rows(sources: Path, params: Metadata, engine: Engine, out: Path) -> pd.DataFrame:
    """One row per readable picture: source, group_id, side, shows, picture (uint8, _SIDE x _SIDE), thumbnail."""
    params = params.model_copy(update={"paediatric": "keep", "files": "required"})
    built = build_records(sources, None, params, engine, out / "fingerprints.sqlite")
    records = built.records.assign(shows=built.records.left_out.fillna("").map(_SHOWS))
    records = records[records.shows.notna()]
    seen: list[tuple[Any, Any]] = list(engine.map(partial(_picture, built.root), records.path.tolist()))
    records = records.assign(
        side=[split_of(group, params.split) for group in records.group_id],
        picture=[picture for picture, _ in seen],
        thumbnail=[thumb for _, thumb in seen],
    )
    records = records[records.picture.notna()].reset_index(drop=True)
    for side in ("train", "val", "test"):
        if missing := {"frontal", "ct", "lateral"} - set(records.shows[records.side == side]):
            raise CxrflowError(f"{sources}: no {' and no '.join(sorted(missing))} picture on side {side} to fit on.")
    return records


def _picture(root: Path, relative: str) -> tuple[np.ndarray | None, np.ndarray | None]:
    folder, _, rest = relative.partition("/")
    try:
        grey = decode(below(root / folder, rest))
    except LeftOut:
        return None, None
    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    low, high = float(small.min()), float(small.max())
    return np.rint((small - low) * (255 / max(high - low, 1e-6))).astype(np.uint8), thumbnail(grey)


def _example(pictures: dict[str, np.ndarray], rng: Generator) -> tuple[np.ndarray, bool]:
    """A picture, (side, side) float32 in [0, 255], and whether it is a frontal radiograph."""
    kind = rng.choice(
        ["frontal", "inverted", "lying", "part", "ct", "lateral", "inverted other", "drawn"],
        p=[0.40, 0.08, 0.06, 0.03, 0.09, 0.11, 0.04, 0.19],
    )
    if kind == "drawn":
        return _drawn(rng), False
    origin = {"ct": "ct", "lateral": "lateral", "inverted other": rng.choice(["ct", "lateral"])}.get(kind, "frontal")
    picture = pictures[origin][rng.integers(len(pictures[origin]))].astype(np.float32)
    if kind == "part":
        side = rng.integers(_SIDE // 5, _SIDE // 2)
        top, left = rng.integers(0, _SIDE - side, 2)
        return picture[top : top + side, left : left + side], False
    picture = _varied(picture, rng)
    if kind == "lying":
        picture = np.rot90(picture, int(rng.integers(1, 4)))
    return (255 - picture if kind.startswith("inverted") else picture), kind == "frontal"


def _varied(picture: np.ndarray, rng: Generator) -> np.ndarray:
    """The picture flipped, rotated to 10 degrees, stretched, cropped or with a border, gamma, letters, bands."""
    if rng.random() < 0.5:
        picture = np.ascontiguousarray(picture[:, ::-1])
    angle, zoom, aspect = np.deg2rad(rng.uniform(-10, 10)), rng.uniform(0.8, 1.3), np.exp(rng.uniform(-0.15, 0.15))
    turned = zoom * np.array([[np.cos(angle) * aspect, -np.sin(angle)], [np.sin(angle), np.cos(angle) / aspect]])
    shift = _SIDE / 2 - turned @ np.full(2, _SIDE / 2) + rng.uniform(-0.08, 0.08, 2) * _SIDE
    border = rng.choice([-1, -1, 0, 0, 255])
    mode = cv2.BORDER_REPLICATE if border < 0 else cv2.BORDER_CONSTANT
    matrix = np.column_stack([turned, shift])
    out = cv2.warpAffine(picture, matrix, (_SIDE, _SIDE), borderMode=mode, borderValue=float(border))
    out = 255 * (out.clip(0, 255) / 255) ** np.exp(rng.uniform(-0.6, 0.6))
    for _ in range(rng.integers(0, 4)):
        (top, left), (height, width) = rng.integers(0, _SIDE - 6, 2), rng.integers(2, 14, 2)
        out[top : top + height, left : left + width] = rng.choice([0, 255, rng.uniform(0, 255)])
    if rng.random() < 0.15:
        band, value = rng.integers(2, 14), rng.choice([0, 0, 255])
        across = out if rng.random() < 0.5 else out.T
        across[:band] = across[-band:] = value
    return out


def _drawn(rng: Generator) -> np.ndarray:
    """Noise of any smoothness, ellipses, rectangles, a slope, or a page of lines of text."""
    kind = rng.choice(["noise", "ellipses", "rectangles", "slope", "page"], p=[0.4, 0.2, 0.15, 0.1, 0.15])
    out = np.full((_SIDE, _SIDE), rng.choice([0, 255]), dtype=np.float32)
    if kind == "noise":
        down, across = np.meshgrid(np.fft.fftfreq(_SIDE), np.fft.fftfreq(_SIDE), indexing="ij")
        frequency = np.maximum(np.hypot(down, across * np.exp(rng.uniform(-1, 1))), 1 / _SIDE)
        spectrum = np.fft.fft2(rng.normal(size=out.shape)) / frequency ** rng.uniform(0, 3)
        out = np.fft.ifft2(spectrum).real.astype(np.float32)
    elif kind == "ellipses":
        for _ in range(rng.integers(1, 80)):
            centre, axes = rng.integers(0, _SIDE, 2).tolist(), rng.integers(3, 45, 2).tolist()
            cv2.ellipse(out, centre, axes, rng.uniform(0, 180), 0, 360, rng.uniform(0, 255), -1)
    elif kind == "rectangles":
        for _ in range(rng.integers(1, 40)):
            (top, left), (height, width) = rng.integers(0, _SIDE, 2), rng.integers(2, 50, 2)
            out[top : top + height, left : left + width] = rng.uniform(0, 255)
    elif kind == "slope":
        y, x = np.mgrid[-1 : 1 : _SIDE * 1j, -1 : 1 : _SIDE * 1j]
        angle = rng.uniform(0, 2 * np.pi)
        straight = np.cos(angle) * x + np.sin(angle) * y
        round_ = np.hypot(x - rng.uniform(-0.5, 0.5), y - rng.uniform(-0.5, 0.5))
        out = (straight if rng.random() < 0.5 else round_) + rng.normal(size=out.shape) * rng.choice([0, 0.1])
    else:
        out[:], top = 255, int(rng.integers(2, 12))
        while top < _SIDE - 4:
            height, left = int(rng.integers(1, 6)), int(rng.integers(2, 12))
            while left < _SIDE - 10:
                width = int(rng.integers(2, 9))
                out[top : top + height, left : left + width] = rng.uniform(0, 120)
                left += width + int(rng.integers(1, 4))
            top += height + int(rng.integers(1, 5))
    out = (out - out.min()) * (255 / max(float(np.ptp(out)), 1e-6))
    return (255 - out if rng.random() < 0.5 else out).astype(np.float32)


def _judged(rows: pd.DataFrame, weights: Weights) -> pd.DataFrame:
    thumbs = np.stack(rows.thumbnail.tolist())
    score, turned = zip(*(judge(thumb, weights) for thumb in thumbs), strict=True)
    inverse = [judge(-thumb, weights)[1] for thumb in thumbs]
    found = {"plain": probability(thumbs, weights), "flagged": np.array(score) < FLAG, "turned": turned}
    return pd.DataFrame({**found, "inverse_turned": inverse}, index=rows.index)


def _five_fold(rows: pd.DataFrame) -> pd.DataFrame:
    """Every picture judged by weights fitted on the groups of the four other fifths."""
    fold = rows.group_id.map(lambda group: int(hashlib.sha256(group.encode()).hexdigest(), 16) % _FOLDS)
    fitted = [fit(rows[fold != n], _EXAMPLES) for n in range(_FOLDS)]
    return pd.concat([_judged(rows[fold == n], fitted[n]) for n in range(_FOLDS)]).loc[rows.index]


def _photographs(weights: Weights) -> dict[str, Any]:
    """The two photographs that scikit-learn brings, and 500 squares cut out of each."""
    rng = np.random.default_rng(1)
    seen = []
    for colour in load_sample_images().images:
        grey = cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY)
        seen.append(grey)
        for side in rng.integers(60, min(grey.shape), 500):
            top, left = (int(rng.integers(0, length - side)) for length in grey.shape)
            seen.append(grey[top : top + side, left : left + side])
    score, turned = zip(*(judge(thumbnail(grey), weights) for grey in seen), strict=True)
    return {"flagged": _share(np.array(score) < FLAG), "turned": _share(np.array(turned))}


def _counts(rows: pd.DataFrame) -> dict[str, str]:
    found = rows.groupby("shows").agg(images=("source", "size"), groups=("group_id", "nunique"))
    return {str(kind): f"{row.images} images of {row.groups} groups" for kind, row in found.iterrows()}


def _share(which: Any) -> str:
    return f"{int(np.sum(which))} of {len(which)}"
