"""Grad-CAM of test images of each class, correctly and wrongly predicted, beside the picture."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxrflow.dataset import Dataset
from cxrflow.errors import CxrflowError
from cxrflow.explanation.heat import HeatMaps
from cxrflow.explanation.inside import Inside, figures, measure
from cxrflow.explanation.masks import Masks
from cxrflow.explanation.overlay import overlay
from cxrflow.files import write_whole
from cxrflow.params import Explanation
from cxrflow.predictor import Predictor
from cxrflow.state import write_sealed
from cxrflow.statistics.figure import Figure, to_json

_REMEDY = "run `cxrflow evaluation` again"
_SHOWN = 320  # side of each displayed picture, pixels
#: The heat inside each kind of mask is measured on at most about this many images, evenly spaced.
_MEASURED = 500
_NOTHING = {
    "opacity": "no true opacities are known",
    "boxes": "no radiologist's boxes are known",
    "lungs": "the image steps find no lungs",
}


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
    root         folder of the collections. The heat is measured inside the true opacities if it holds them (demo
                 data), inside radiologists' boxes if the records have them, and inside the lungs if the store has masks
    Raises CxrflowError if the data set's task is not the bundle's, if the images were prepared by other steps than the
    bundle's, or if the predictions are of other images.
    """
    predictor.check_task(dataset.task)
    shown, order = HeatMaps.of(predictor, predicted_images(dataset, predictions)), dataset.task.order
    rows = predictions.reset_index(drop=True)
    rows["score"] = rows[list(order)].max(axis=1)
    examples = [
        _example(shown, row, out)
        for label in order
        for right in (True, False)
        for row in _choose(rows, label, right, params.per_class).itertuples()
    ]
    summary = {"examples": examples, "inside": to_json(_inside(shown, Masks(shown.canvas, root)))}
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


def _choose(rows: pd.DataFrame, label: str, right: bool, count: int) -> pd.DataFrame:
    """Examples of a class, evenly spaced from the highest score to the lowest, to show unclear cases, too."""
    among = rows[(rows.label == label) & ((rows.prediction == label) == right)]
    among = among.sort_values(["score", "image_id"], ascending=[False, True])
    places = np.linspace(0, max(len(among) - 1, 0), min(count, len(among))).round().astype(int)
    return among.iloc[np.unique(places)]


def _example(shown: HeatMaps, row: Any, out: Path) -> dict[str, Any]:
    """The picture, its heat map and, of several networks, the map of each."""
    image = shown.canvas.image(row.Index)
    maps = [shown.gradcam(row.Index, row.prediction)]
    if len(shown.predictor.networks) > 1:
        maps += shown.each(row.Index, row.prediction)
    pictures = [cv2.cvtColor(image, cv2.COLOR_GRAY2BGR), *(overlay(image, heat) for heat in maps)]
    panel = _in_rows([_enlarged(picture) for picture in pictures])
    name = f"{row.label}-{'right' if row.prediction == row.label else 'wrong'}-{shown.canvas.rows[row.Index]}.png"
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


def _in_rows(pictures: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """The pictures side by side, of more than three two or three to a row, so that a phone shows them large enough."""
    across = len(pictures) if len(pictures) <= 3 else 2 if len(pictures) == 4 else 3
    white = [np.full_like(pictures[0], 255)] * (-len(pictures) % across)
    filled = [*pictures, *white]
    rows = [np.concatenate(filled[at : at + across], axis=1) for at in range(0, len(filled), across)]
    return np.concatenate(rows, axis=0)


def _enlarged(picture: NDArray[Any]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(picture, (_SHOWN, _SHOWN), interpolation=cv2.INTER_CUBIC), np.uint8)


def _inside(shown: HeatMaps, masks: Masks) -> dict[str, dict[str, Figure]]:
    """The true class's heat inside each kind of mask: ``opacity``, ``boxes`` and ``lungs``, each with the figures of
    ``inside.figures``. Of demo data the opacities are known, which are more exact than boxes."""
    kinds = {"opacity": masks.opacity, "boxes": masks.boxes, "lungs": masks.lungs}
    count, marked = len(masks.dataset), np.flatnonzero(masks.dataset.records.boxes.notna() & (not masks.drawn))
    spaced = {"boxes": marked[_evenly(len(marked))]}
    chosen = {name: set(spaced.get(name, _evenly(count)).tolist()) for name in kinds}
    measured: dict[str, list[Inside]] = {name: [] for name in kinds}
    groups: dict[str, list[str]] = {name: [] for name in kinds}
    labels = masks.dataset.labels
    for k in sorted(set().union(*chosen.values())):
        known = {name: mask for name, of in kinds.items() if k in chosen[name] and (mask := of(k)) is not None}
        if not any(mask.any() for mask in known.values()):
            continue
        heat = shown.gradcam(k, labels[k])
        for name, mask in known.items():
            if (each := measure(heat, mask)) is not None:
                measured[name].append(each)
                groups[name].append(str(masks.dataset.groups[k]))
    return {name: figures(measured[name], groups[name], _NOTHING[name]) for name in kinds}


def _evenly(count: int) -> NDArray[np.int64]:
    """At most about _MEASURED positions out of ``count``, evenly spaced."""
    return np.arange(0, count, max(-(-count // _MEASURED), 1))
