"""Grad-CAM of test images of each class, correctly and wrongly predicted, beside the original."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrflow.dataset import Dataset
from cxrflow.errors import CxrflowError
from cxrflow.explanation.masks import Masks
from cxrflow.files import write_whole
from cxrflow.images.prepare import check_steps
from cxrflow.params import Explanation
from cxrflow.predictor import Predictor
from cxrflow.state import write_sealed

_REMEDY = "run `cxrflow evaluation` again"
_SHOWN = 320  # side of each displayed picture, pixels
#: The share of heat inside masks is measured on at most about this many images, evenly spaced.
_MEASURED = 500


def explain(
    predictor: Predictor,
    dataset: Dataset,
    predictions: pd.DataFrame,
    root: Path,
    params: Explanation,
    out: Path,
) -> dict[str, Any]:
    """Write ``explanation.json`` and one PNG per example: the picture, and the heat of the predicted class over it.

    predictions  the table that evaluation wrote, of images of ``dataset``
    root         folder of the collections. The share of heat is measured inside the true opacities if it holds them
                 (demo data), and inside the lungs if the store has lung masks
    Raises CxrflowError if the data set's task is not the bundle's, if the images were prepared by other steps than the
    bundle's, or if the predictions are of other images.
    """
    predictor.check_task(dataset.task)
    check_steps(dataset.store, predictor.bundle.images)
    shown, order = predicted_images(dataset, predictions), dataset.task.order
    rows = predictions.reset_index(drop=True)
    rows["score"] = rows[list(order)].max(axis=1)
    examples = [
        _example(predictor, shown, row, out)
        for label in order
        for right in (True, False)
        for row in _choose(rows, label, right, params.per_class).itertuples()
    ]
    measured = range(0, len(rows), -(-len(rows) // _MEASURED))
    summary = {"examples": examples} | _inside(predictor, Masks(shown, root), measured)
    for old in set(out.glob("*.png")) - {out / example["picture"] for example in examples}:
        old.unlink()
    write_sealed(out / "explanation.json", summary)
    return summary


def predicted_images(dataset: Dataset, predictions: pd.DataFrame) -> Dataset:
    """The images of a table of predictions, in its order.

    Raises CxrflowError if one is not in the data set, has another label, source or group there, or if an image of its
    test split has no prediction: the table and the data set are not of the same run.
    """
    at = pd.Index(dataset.records.image_id).get_indexer(predictions.image_id)
    if (at < 0).any():
        absent = predictions.image_id.to_numpy()[at < 0][0]
        raise CxrflowError(f"predictions: {absent} is not among the prepared images of this data set; {_REMEDY}.")
    shown = dataset.where(at)
    for name in ("label", "source", "group_id"):
        if (other := shown.records[name].to_numpy(str) != predictions[name].to_numpy(str)).any():
            image = shown.records.image_id[other].iloc[0]
            raise CxrflowError(f"predictions: {image} has another {name} than in its record; {_REMEDY}.")
    test = dataset.records.image_id[dataset.records.split == "test"]
    if (without := ~test.isin(predictions.image_id)).any():
        raise CxrflowError(f"predictions: none is given for the test image {test[without].iloc[0]}; {_REMEDY}.")
    return shown


def overlay(image: NDArray[np.uint8], heat: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    """A picture with a heat map over it.

    image  uint8 (size, size); heat  float (size, size) in [0, 1]
    Returns uint8 (size, size, 3), BGR: the unchanged picture where the heat is 0, more colour with more heat.
    """
    colour = cv2.applyColorMap(np.rint(heat * 255).astype(np.uint8), cv2.COLORMAP_INFERNO).astype(np.float32)
    share = 0.6 * heat[..., None] ** 0.8
    grey = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR).astype(np.float32)
    return np.asarray(np.rint(grey * (1 - share) + colour * share), np.uint8)


def _choose(rows: pd.DataFrame, label: str, right: bool, count: int) -> pd.DataFrame:
    """Examples of a class, evenly spaced from the highest score to the lowest, to show unclear cases, too."""
    among = rows[(rows.label == label) & ((rows.prediction == label) == right)]
    among = among.sort_values(["score", "image_id"], ascending=[False, True])
    places = np.linspace(0, max(len(among) - 1, 0), min(count, len(among))).round().astype(int)
    return among.iloc[np.unique(places)]


def _example(predictor: Predictor, shown: Dataset, row: Any, out: Path) -> dict[str, Any]:
    image = shown.image(row.Index)
    heat = predictor.heat_map(image, row.prediction)
    panel = np.concatenate(
        [_enlarged(cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)), _enlarged(overlay(image, heat))], axis=1
    )
    name = f"{row.label}-{'right' if row.prediction == row.label else 'wrong'}-{shown.rows[row.Index]}.png"
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


def _enlarged(picture: NDArray[Any]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(picture, (_SHOWN, _SHOWN), interpolation=cv2.INTER_CUBIC), np.uint8)


def _inside(predictor: Predictor, masks: Masks, positions: range) -> dict[str, Any]:
    """For each kind of mask: the mean share of the true class's heat inside it, its mean share of the area, and the
    number of images; None if no image has a non-empty mask of that kind."""
    shares: dict[str, list[tuple[float, float]]] = {"inside_opacity": [], "inside_lungs": []}
    labels = masks.dataset.labels
    for k in positions:
        known = {"inside_opacity": masks.opacity(k), "inside_lungs": masks.lungs(k)}
        found = {name: mask for name, mask in known.items() if mask is not None and mask.any()}
        if not found:
            continue
        heat = predictor.heat_map(masks.dataset.image(k), labels[k])
        if (total := heat.sum()) > 0:
            for name, mask in found.items():
                shares[name].append((float(heat[mask].sum() / total), float(mask.mean())))
    return {name: _means(pairs) if pairs else None for name, pairs in shares.items()}


def _means(pairs: list[tuple[float, float]]) -> dict[str, float]:
    heat, area = np.mean(pairs, axis=0)
    return {"heat": float(heat), "area": float(area), "images": len(pairs)}
