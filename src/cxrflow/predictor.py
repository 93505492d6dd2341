"""A bundle and an image to scores and a heat map: the one path of evaluation, explanation and prediction."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from captum.attr import LayerGradCam
from rich.progress import track
from torch import nn
from torch.nn import functional

from cxrflow.bundle import Bundle, gradcam_layer, read_bundle
from cxrflow.dataset import Dataset
from cxrflow.engines import Engine
from cxrflow.errors import CxrflowError, LeftOut
from cxrflow.files import write_whole
from cxrflow.images.prepare import check_steps
from cxrflow.images.steps import prepare_image
from cxrflow.models.model import to_input
from cxrflow.params import Images
from cxrflow.reading import ENDINGS, read
from cxrflow.reading.dicom import is_dicom
from cxrflow.reading.frontal import FLAG, NOT_FRONTAL, TURNED
from cxrflow.task import Task

_BATCH = 64


class Predictor:
    """Uses one bundle. Attributes: ``folder``, ``bundle`` (its description), ``network``, ``device``."""

    def __init__(self, folder: Path) -> None:
        """Load the bundle in ``folder`` onto the GPU where there is one. Raises CxrflowError as ``read_bundle``."""
        self.folder = folder
        self.bundle, network = read_bundle(folder)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.use(network)

    def use(self, network: nn.Module) -> None:
        """Go on with another network of the bundle's architecture, such as one with random weights."""
        self.network = network.to(self.device)
        self._gradcam = LayerGradCam(self.network, gradcam_layer(self.bundle, network))

    @torch.inference_mode()
    def scores(self, images: np.ndarray) -> np.ndarray:
        """Calibrated probabilities of prepared images.

        images  uint8 (n, size, size), prepared by the bundle's image steps
        Returns float64 (n, classes) in the order of ``bundle.task``, rows adding up to 1.
        """
        parts = []
        for start in range(0, len(images), _BATCH):
            logits = self.network(self.to_tensor(images[start : start + _BATCH]))
            parts.append((logits.double() / self.bundle.temperature).softmax(dim=1).cpu().numpy())
        return np.concatenate(parts) if parts else np.empty((0, len(self.bundle.task.order)))

    def score(self, dataset: Dataset) -> np.ndarray:
        """``scores`` of a data set, a batch in memory at a time, in the order of the data set's own task.

        Raises CxrflowError where the bundle answers another question than the data set's labels, or where the images
        were prepared by other steps than the bundle's.
        """
        self.check_task(dataset.task)
        check_steps(dataset.store, self.bundle.images)
        columns = [self.bundle.task.order.index(name) for name in dataset.task.order]
        parts = [self.scores(images)[:, columns] for images in dataset.batches()]
        return np.concatenate(parts) if parts else np.empty((0, len(columns)))

    def check_task(self, task: Task) -> None:
        """Raise CxrflowError where the bundle answers another question than ``task``."""
        if not self.bundle.task.same_question(task):
            raise CxrflowError(
                f"{self.folder}: the bundle tells apart {_said(self.bundle.task)}, the labels {_said(task)}; name a "
                "bundle of this task, or set the bundle's task in the parameter file."
            )

    def heat_map(self, image: np.ndarray, label: str) -> np.ndarray:
        """Grad-CAM (Selvaraju et al. 2017, equations 1 and 2) of one prepared image for the class ``label``.

        image  uint8 (size, size)
        Returns float32 (size, size) in [0, 1], its greatest value 1, or all 0 where nothing speaks for the class.
        """
        target = self.bundle.task.order.index(label)
        heat = self._gradcam.attribute(self.to_tensor(image[None]), target=target, relu_attributions=True)
        full = functional.interpolate(heat.detach(), image.shape, mode="bilinear", align_corners=False)[0, 0]
        greatest = full.max()
        return (full / greatest if greatest > 0 else full).cpu().numpy()

    def to_tensor(self, images: np.ndarray) -> torch.Tensor:
        """What the network sees of prepared images, uint8 (n, size, size): float32 (n, channels, size, size)."""
        pixels = torch.tensor(images).to(self.device).float()[:, None] / 255
        return to_input(pixels, self.bundle.images.channels, self.bundle.mean, self.bundle.std)


def _said(task: Task) -> str:
    said = ", ".join(f"{name} ({' + '.join(paths)})" for name, paths in task.classes.items())
    return f"{said}, positive {task.positive}"


def find_images(paths: Iterable[Path]) -> list[Path]:
    """Files as given, and all pictures (by their endings) and DICOM files (by their content, since archives often name
    them without an ending) in given folders, at any depth, sorted.

    Raises CxrflowError where a path is absent or nothing is found.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(p for p in path.rglob("*") if p.is_file() and _looks_like_an_image(p))
        elif path.exists():
            found.append(path)
        else:
            raise CxrflowError(f"{path}: no such file or folder.")
    if not found:
        raise CxrflowError(f"no image found (endings: {', '.join(ENDINGS)}); name a file or a folder of images.")
    return found


def predict_files(predictor: Predictor, paths: Sequence[Path], engine: Engine, out: Path) -> pd.DataFrame:
    """Score image files and write ``out`` (CSV): path, one column per class, prediction, frontal, flag, left_out.

    Where the bundle has them, after ``prediction``: ``positive_at_<operating point>``, whether it calls the image
    positive there, and ``prediction_set``, the classes that it cannot exclude.
    ``frontal`` says how much the picture looks like a frontal chest radiograph, in [0, 1]; ``flag`` is text where that
    is below FLAG, or where the picture lay inverted and was turned, else empty. A file that cannot be read has its
    reason in ``left_out`` and no scores.
    """
    items = [(path.absolute(), predictor.bundle.images) for path in paths]  # executors of Spark work elsewhere
    prepared = track(engine.map(_prepare, items), "predicting", total=len(items))
    rows = [row for batch in _batches(zip(paths, prepared, strict=True)) for row in _rows(predictor, batch)]
    decided = _decisions(predictor.bundle, np.zeros(len(predictor.bundle.task.order)))
    columns = ["path", *predictor.bundle.task.order, "prediction", *decided, "frontal", "flag", "left_out"]
    table = pd.DataFrame(rows, columns=columns)
    write_whole(out, table.to_csv(index=False, lineterminator="\n", float_format="%.6f").encode())
    return table


def _looks_like_an_image(path: Path) -> bool:
    if path.suffix.lower() in ENDINGS:
        return True
    with path.open("rb") as file:
        return is_dicom(file.read(132))


_Prepared = tuple[np.ndarray, float, bool]


def _prepare(item: tuple[Path, Images]) -> _Prepared | str:
    """Of the file ``item[0]``: the prepared image, its ``frontal`` score, and whether it was turned, or the reason why
    there is none."""
    path, steps = item
    try:
        reading = read(path)
        return prepare_image(reading.grey, steps).image, reading.frontal, reading.turned
    except LeftOut as reason:
        return str(reason)


_Item = tuple[Path, _Prepared | str]


def _batches(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    batch: list[_Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    yield batch


def _rows(predictor: Predictor, batch: list[_Item]) -> list[dict[str, object]]:
    images = [prepared[0] for _, prepared in batch if not isinstance(prepared, str)]
    scores = iter(predictor.scores(np.stack(images)) if images else ())
    rows: list[dict[str, object]] = []
    for path, prepared in batch:
        if isinstance(prepared, str):
            rows.append({"path": str(path), "flag": None, "left_out": prepared})
        else:
            score, (_, frontal, turned) = next(scores), prepared
            classes = predictor.bundle.task.order
            rows.append(
                {
                    "path": str(path),
                    **dict(zip(classes, score, strict=True)),
                    "prediction": classes[int(score.argmax())],
                }
                | _decisions(predictor.bundle, score)
                | {"frontal": frontal, "flag": NOT_FRONTAL if frontal < FLAG else TURNED if turned else None}
                | {"left_out": None}
            )
    return rows


def _decisions(bundle: Bundle, score: np.ndarray) -> dict[str, object]:
    """What the bundle's operating points and prediction sets make of one image's probabilities, float (classes,), by
    column."""
    order, positive = bundle.task.order, score[bundle.task.positive_column]
    decided: dict[str, object] = {
        f"positive_at_{name}": bool(positive >= at.threshold) for name, at in bundle.thresholds.items()
    }
    if bundle.prediction_sets:
        held = bundle.prediction_sets.held(score[None], order)[0]
        decided["prediction_set"] = " ".join(name for name, is_in in zip(order, held, strict=True) if is_in)
    return decided
