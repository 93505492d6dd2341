"""Grad-CAM of test images, right and wrong ones of each class, beside the original."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from cxrflow.errors import CxrflowError
from cxrflow.files import write_json, write_whole
from cxrflow.images.prepare import Store
from cxrflow.images.steps import cut
from cxrflow.params import Explanation
from cxrflow.predictor import Predictor
from cxrflow.records import CLASSES
from cxrflow.synthetic.demo import TRUTH

#: Where the demo's collections keep the true opacity of each image, below the root of the collections.
TRUE_OPACITY = Path(TRUTH) / "opacity"
_SHOWN = 320  # side of a shown picture, pixels
#: Heat is measured inside masks on about this many test images at most, evenly spaced.
_MEASURED = 500
#: From an image's path and its position in the store: bool (size, size), or None where there is none.
Mask = Callable[[str, int], np.ndarray | None]


def explain(
    predictor: Predictor,
    records: pd.DataFrame,
    store: Store,
    predictions: pd.DataFrame,
    root: Path,
    params: Explanation,
    out: Path,
) -> dict[str, Any]:
    """Write ``explanation.json`` and a PNG per example (original left, heat of the predicted class right).

    predictions  as evaluation wrote them
    root         of the collections; where it holds the true opacities (demo data), the share of the heat inside them
                 is measured over test images that have one; and so inside the lungs, where the store has them
    """
    rows = predictions.merge(records[["image_id", "path"]], on="image_id", validate="one_to_one")
    rows["store"] = store.rows_of(rows.image_id)
    rows["score"] = rows[list(CLASSES)].max(axis=1)
    examples = [
        _example(predictor, store, row, out)
        for label in CLASSES
        for right in (True, False)
        for row in _choose(rows, label, right, params.per_class).itertuples()
    ]
    masks: dict[str, Mask] = {
        "inside_opacity": lambda path, row: true_opacity(root, path, store, row),
        "inside_lungs": lambda path, row: _lungs(store, row),
    }
    summary = {"examples": examples} | _inside(predictor, rows.iloc[:: -(-len(rows) // _MEASURED)], store, masks)
    for old in set(out.glob("*.png")) - {out / example["picture"] for example in examples}:
        old.unlink()
    write_json(out / "explanation.json", summary)
    return summary


def overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """A heat map laid over a picture.

    image  uint8 (size, size); heat  float (size, size) in [0, 1]
    Returns uint8 (size, size, 3), BGR: the picture where the heat is 0, more of the colour the hotter.
    """
    colour = cv2.applyColorMap(np.rint(heat * 255).astype(np.uint8), cv2.COLORMAP_INFERNO).astype(np.float32)
    share = 0.6 * heat[..., None] ** 0.8
    grey = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR).astype(np.float32)
    return np.rint(grey * (1 - share) + colour * share).astype(np.uint8)


def _choose(rows: pd.DataFrame, label: str, right: bool, count: int) -> pd.DataFrame:
    """Examples of a class, evenly from the surest to the least sure: not the prettiest alone."""
    among = rows[(rows.label == label) & ((rows.prediction == label) == right)]
    among = among.sort_values(["score", "image_id"], ascending=[False, True])
    places = np.linspace(0, max(len(among) - 1, 0), min(count, len(among))).round().astype(int)
    return among.iloc[np.unique(places)]


def _example(predictor: Predictor, store: Store, row: Any, out: Path) -> dict[str, Any]:
    image = np.asarray(store.images[row.store])
    heat = predictor.heat_map(image, row.prediction)
    panel = np.concatenate(
        [_enlarged(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)), _enlarged(overlay(image, heat))], axis=1
    )
    name = f"{row.label}-{'right' if row.prediction == row.label else 'wrong'}-{row.store}.png"
    done, content = cv2.imencode(".png", panel)
    if not done:
        raise CxrflowError(f"explanation: the picture of {row.image_id} could not be encoded.")
    write_whole(out / name, content.tobytes())
    return {
        "image_id": row.image_id,
        "source": row.source,
        "label": row.label,
        "prediction": row.prediction,
        "score": round(float(row.score), 4),
        "picture": name,
    }


def _enlarged(picture: np.ndarray) -> np.ndarray:
    return cv2.resize(picture, (_SHOWN, _SHOWN), interpolation=cv2.INTER_CUBIC)


def _inside(predictor: Predictor, rows: pd.DataFrame, store: Store, masks: dict[str, Mask]) -> dict[str, Any]:
    """For each kind of mask the mean share of the heat of the true class inside it, the mean share of its area, and of
    how many images; None where no image has a mask that is not empty."""
    shares: dict[str, list[tuple[float, float]]] = {name: [] for name in masks}
    for path, position, label in zip(rows.path, rows.store, rows.label, strict=True):
        found = {name: mask for name, of in masks.items() if (mask := of(path, position)) is not None and mask.any()}
        if not found:
            continue
        heat = predictor.heat_map(np.asarray(store.images[position]), label)
        if (total := heat.sum()) > 0:
            for name, mask in found.items():
                shares[name].append((float(heat[mask].sum() / total), float(mask.mean())))
    return {name: _means(pairs) if pairs else None for name, pairs in shares.items()}


def _means(pairs: list[tuple[float, float]]) -> dict[str, float]:
    heat, area = np.mean(pairs, axis=0)
    return {"heat": float(heat), "area": float(area), "images": len(pairs)}


def true_opacity(root: Path, path: str, store: Store, row: int) -> np.ndarray | None:
    """What a stored image shows of the true opacity of a demo radiograph: bool (size, size), or None with real data."""
    file = (root / TRUE_OPACITY / path).with_suffix(".png")
    mask = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) if file.is_file() else None
    if mask is None:
        return None
    return cv2.resize(cut(mask, store.window(row)), store.images.shape[1:], interpolation=cv2.INTER_NEAREST) > 0


def _lungs(store: Store, row: int) -> np.ndarray | None:
    return None if store.lungs is None else np.asarray(store.lungs[row])
