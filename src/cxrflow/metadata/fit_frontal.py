"""Fit the network of reading/frontal.py on the training side of the collections, and measure it on val and test.

Positive examples are the radiographs that the collections list as frontal. Negative examples are their CT slices and
lateral views; frontal radiographs that are inverted, rotated by 90, 180 or 270 degrees, or cropped to a small
part; and synthetic noise, shapes, gradients and text pages.
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
from onnxruntime import InferenceSession
from sklearn.datasets import load_sample_images
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import roc_auc_score
from sklearn.neural_network import MLPClassifier

from cxrflow.engines import Engine, Lost
from cxrflow.errors import CxrflowError, LeftOut
from cxrflow.files import Root, write_json, write_whole
from cxrflow.metadata.build import build_records
from cxrflow.metadata.groups import split_of
from cxrflow.params import Params, Sources
from cxrflow.reading import decode
from cxrflow.reading.frontal import FLAG, THUMBNAIL, WEIGHTS, judge, open_network, probability, thumbnail
from cxrflow.records import FINDINGS_JOINT
from cxrflow.terminal import console
from cxrflow.text import number_of

#: Reasons for leaving a row out that tell what its image shows.
_SHOWS = {"modality is CT, not X-ray": "ct", "view is L, not frontal": "lateral"}
_KINDS = ("frontal", "ct", "lateral")
_SIDE = 96
_HIDDEN = (32, 16)
_EXAMPLES = 50_000
_FOLDS = 5


def fit_frontal(sources: Path, params: Params, engine: Engine, out: Path, work: Path | None = None) -> dict[str, Any]:
    """Fit on the training side of the collections in ``sources``; write the network and ``figures.json`` into ``out``.

    work  folder of the fingerprint cache and of the remembered sides of the split (see ``build_records``), ``out`` if
          not given
    Returns the figures: on val, on test, and by five-fold cross-validation over all sides.
    Raises CxrflowError if a collection cannot be read, or CT slices or lateral views are missing.
    """
    rows = _rows(sources, params, engine, work or out)
    content = fit(rows[rows.side == "train"], _EXAMPLES)
    write_whole(out / WEIGHTS.name, content)
    network = open_network(content)
    figures: dict[str, Any] = {
        "fitted_on": _counts(rows[rows.side == "train"]),
        **{
            side: measure(rows[rows.side == side], _judged(rows[rows.side == side], network))
            for side in ("val", "test")
        },
        "photographs": _photographs(network),
        "five_fold": measure(rows, _five_fold(rows)),
    }
    write_json(out / "figures.json", figures)
    return figures


def fit(rows: pd.DataFrame, examples: int) -> bytes:
    """The network as an ONNX file, fitted on synthetic images and augmented ``rows`` (columns shows, picture)."""
    rng = np.random.default_rng(0)
    pictures = {kind: np.stack(rows.picture[rows.shows == kind].tolist()) for kind in _KINDS}
    drawn = [_example(pictures, rng) for _ in range(examples)]
    network = MLPClassifier(_HIDDEN, alpha=0.1, batch_size=128, max_iter=25, tol=0, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the number of epochs is fixed
        network.fit(np.stack([thumbnail(picture) for picture, _ in drawn]), [label for _, label in drawn])
    return to_onnx(list(zip(network.coefs_, network.intercepts_, strict=True)))


def to_onnx(layers: list[tuple[np.ndarray, np.ndarray]]) -> bytes:
    """Fully connected layers with ReLU between them, as the ONNX file that reading/frontal.py runs.

    layers  weights (inputs, outputs) and bias (outputs,) of each layer; stored as float16, computed as float32
    """
    from onnx import TensorProto, helper, numpy_helper

    nodes, stored, value = [], [], "thumbnails"
    for n, layer in enumerate(layers):
        for name, array in zip((f"weight{n}", f"bias{n}"), layer, strict=True):
            stored.append(numpy_helper.from_array(array.astype(np.float16), f"{name}_float16"))
            nodes.append(helper.make_node("Cast", [f"{name}_float16"], [name], to=TensorProto.FLOAT))
        last = n == len(layers) - 1
        result = "logits" if last else f"sum{n}"
        nodes.append(helper.make_node("Gemm", [value, f"weight{n}", f"bias{n}"], [result]))
        if not last:
            nodes.append(helper.make_node("Relu", [result], [value := f"layer{n}"]))
    widths = {"thumbnails": THUMBNAIL**2, "logits": 1}
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ("n", width)) for name, width in widths.items()]
    graph = helper.make_graph(nodes, "frontal", ends[:1], ends[1:], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    return bytes(model.SerializeToString())


def measure(rows: pd.DataFrame, judged: pd.DataFrame) -> dict[str, Any]:
    """Performance of the check: AUROC against CT and lateral views; images flagged and inverted, by kind and source.

    rows    columns shows, source
    judged  columns plain (score of the image as stored), flagged, turned (inverted by the check), inverse_turned
            (whether the check corrects the artificially inverted image)
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
    """Print the figures, one per line."""
    for name, value in figures.items():
        console().print(f"[bold]{name}[/bold]")
        for key, figure in value.items():
            console().print(f"  {key}: {figure}", markup=False, highlight=False, soft_wrap=True)


def _rows(sources: Path, params: Params, engine: Engine, work: Path) -> pd.DataFrame:
    """One row per readable image: source, group_id, side, shows, picture (uint8, _SIDE x _SIDE), thumbnail."""
    # "train" has its own memory of sides, in which children are on the training side.
    children = "train" if params.metadata.paediatric == "train" else "keep"
    metadata = params.metadata.model_copy(update={"paediatric": children, "files": "required"})
    found = Sources(root=str(sources), collections=None)
    built = build_records(found, metadata, params.task, engine, work)
    known = built.sides.side if built.sides is not None else built.records.split
    # Radiographs left out only because their findings belong to no class of the task are frontal as well.
    findings = built.records.findings.fillna("").unique()
    no_class = {params.task.label_of(tuple(filter(None, joined.split(FINDINGS_JOINT))))[1] for joined in findings}
    frontal = built.records.left_out.isna() | built.records.left_out.isin(no_class)
    records = built.records.assign(shows=built.records.left_out.map(_SHOWS).where(~frontal, "frontal"))
    records = records[records.shows.notna()]
    results = engine.map(partial(_picture, built.root), records.path.tolist())
    seen: list[tuple[Any, Any]] = [(None, None) if isinstance(result, Lost) else result for result in results]
    records = records.assign(
        # A group without a kept image has no side.
        side=known[records.index].where(
            known[records.index].notna(), [split_of(group, metadata.split) for group in records.group_id]
        ),
        picture=[picture for picture, _ in seen],
        thumbnail=[thumb for _, thumb in seen],
    )
    records = records[records.picture.notna()].reset_index(drop=True)
    for side in ("train", "val", "test"):
        if missing := set(_KINDS) - set(records.shows[records.side == side]):
            raise CxrflowError(f"{sources}: no {' and no '.join(sorted(missing))} picture on side {side} to fit on.")
    return records


def _picture(root: Root, path: str) -> tuple[np.ndarray | None, np.ndarray | None]:
    try:
        grey = decode(root.file(path))
    except LeftOut:
        return None, None
    small = cv2.resize(grey, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    low, high = float(small.min()), float(small.max())
    return np.rint((small - low) * (255 / max(high - low, 1e-6))).astype(np.uint8), thumbnail(grey)


def _example(pictures: dict[str, np.ndarray], rng: Generator) -> tuple[np.ndarray, bool]:
    """A random example: image, float32 (side, side) in [0, 255], and whether it is a frontal radiograph."""
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
    """Random augmentation: flip, rotation by up to 10 degrees, aspect, zoom, shift, border, gamma, letters, bands."""
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
    return np.asarray(out)


def _drawn(rng: Generator) -> np.ndarray:
    """A synthetic image: noise of random smoothness, ellipses, rectangles, a gradient, or a page of text lines."""
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
    return np.asarray(255 - out if rng.random() < 0.5 else out, np.float32)


def _judged(rows: pd.DataFrame, network: InferenceSession) -> pd.DataFrame:
    thumbs = np.stack(rows.thumbnail.tolist())
    score, turned = zip(*(judge(thumb, network) for thumb in thumbs), strict=True)
    inverse = [judge(-thumb, network)[1] for thumb in thumbs]
    found = {"plain": probability(thumbs, network), "flagged": np.array(score) < FLAG, "turned": turned}
    return pd.DataFrame({**found, "inverse_turned": inverse}, index=rows.index)


def _five_fold(rows: pd.DataFrame) -> pd.DataFrame:
    """Cross-validation: every image judged by a network fitted on the groups of the other four folds."""
    fold = rows.group_id.map(lambda group: int(hashlib.sha256(group.encode()).hexdigest(), 16) % _FOLDS)
    fitted = [open_network(fit(rows[fold != n], _EXAMPLES)) for n in range(_FOLDS)]
    return pd.concat([_judged(rows[fold == n], fitted[n]) for n in range(_FOLDS)]).loc[rows.index]


def _photographs(network: InferenceSession) -> dict[str, Any]:
    """Share flagged and inverted among scikit-learn's two sample photographs and 500 square crops of each."""
    rng = np.random.default_rng(1)
    seen = []
    for colour in load_sample_images().images:
        grey = cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY)
        seen.append(grey)
        for side in rng.integers(60, min(grey.shape), 500):
            top, left = (int(rng.integers(0, length - side)) for length in grey.shape)
            seen.append(grey[top : top + side, left : left + side])
    score, turned = zip(*(judge(thumbnail(grey), network) for grey in seen), strict=True)
    return {"flagged": _share(np.array(score) < FLAG), "turned": _share(np.array(turned))}


def _counts(rows: pd.DataFrame) -> dict[str, str]:
    found = rows.groupby("shows").agg(images=("source", "size"), groups=("group_id", "nunique"))
    return {
        str(kind): f"{number_of(row.images, 'image')} of {number_of(row.groups, 'group')}"
        for kind, row in found.iterrows()
    }


def _share(which: Any) -> str:
    return f"{int(np.sum(which))} of {len(which)}"
