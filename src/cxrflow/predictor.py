"""Scores and heat maps of images by a bundle, for evaluation, explanation and prediction alike.

Imports are kept light for scoring single files: no pandas (data sets), captum (heat maps) or training code, and PyTorch
only where it scores or explains.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from cxrflow import __version__
from cxrflow.bundle_files import TRAINED_ON, read_description
from cxrflow.errors import CxrflowError
from cxrflow.files import digest
from cxrflow.images.file import LeftOutFile, PreparedFile, Source, prepare_source, try_source
from cxrflow.onnx_file import open_onnx
from cxrflow.plugins import check_trained_with
from cxrflow.reading.letters import check_installed
from cxrflow.result import Result, compared, decided, described, looked
from cxrflow.task import Task
from cxrflow.text import name_text
from cxrflow.trained_on import TrainedOn, read_trained_on

if TYPE_CHECKING:
    from torch import nn

    from cxrflow.dataset import Dataset
    from cxrflow.network import LoadedNetwork

#: Reason for leaving out an image.
NO_NUMBER = "the network gives no number"

#: Prepared images, uint8: an array (n, size, size), or (size, size) of one image, for each of the bundle's image
#: steps; with a single set of image steps, the array alone.
Views = Sequence[NDArray[np.uint8]] | NDArray[np.uint8]
#: Number of images that are scored at once.
BATCH = 64
_Item = tuple[str, PreparedFile | LeftOutFile]
Each = TypeVar("Each")


class Predictor:
    """Uses one bundle. Attributes: ``folder``, ``bundle`` (its description), ``networks``.

    ``results`` are scored by ONNX Runtime, where the bundle holds its ONNX file (onnx_file.py) and there is no GPU; all
    else, such as evaluation, by PyTorch. The scores of both differ by less than 1e-4.
    """

    def __init__(self, folder: Path | str, member: int | None = None, features: Path | None = None) -> None:
        """Open the bundle in ``folder``, and load its networks onto the GPU if there is one; where ONNX Runtime scores,
        they are loaded when they are needed.

        member    use this network of the bundle alone, from 1
        features  cache of the features of frozen backbones (training/features.py), from which data sets are scored
        Raises CxrflowError as ``read_bundle`` does, if there is no such network, or if the code of an image step is not
        here (``plugins.check_trained_with``).
        """
        self.folder, self._features, self._member = Path(folder), features, member
        self._whole = self.bundle = read_description(self.folder)
        check_trained_with((each for each in self.bundle.plugins if each.kind == "image_steps"), self.folder)
        if member is not None:
            if not 1 <= member <= len(self.bundle.networks):
                raise CxrflowError(
                    f"{folder}: the bundle has no network {member}, only 1 to {len(self.bundle.networks)}."
                )
            # What was chosen for all networks together does not hold for one.
            alone = self.bundle.networks[member - 1].model_copy(update={"fold": None})
            far = self.bundle.far if self.bundle.views[member - 1] == self.bundle.views[0] else None
            update = {"networks": (alone,), "sharpness": 1.0, "thresholds": {}, "prediction_sets": None, "far": far}
            self.bundle = self.bundle.model_copy(update=update)
        self._onnx = None if member is not None or features else open_onnx(self.folder, self.bundle)
        if self._onnx is None:
            self.networks  # noqa: B018  damaged weights are refused before any work

    @cached_property
    def trained_on(self) -> TrainedOn | None:
        """What the bundle was trained on; None if its list is absent. Raises CxrflowError if the list is damaged."""
        return read_trained_on(self.folder / TRAINED_ON, self.bundle.digests.get("trained_on"))

    @cached_property
    def networks(self) -> list["LoadedNetwork"]:
        """The networks, loaded. Raises CxrflowError as ``read_networks`` does."""
        from cxrflow.bundle_networks import read_networks
        from cxrflow.network import LoadedNetwork

        modules = read_networks(self.folder, self._whole)
        loaded = [LoadedNetwork(*each) for each in zip(self._whole.networks, modules, strict=True)]
        return loaded if self._member is None else [loaded[self._member - 1]]

    def with_modules(self, change: Callable[["LoadedNetwork"], "nn.Module"]) -> "Predictor":
        """The same bundle with other modules of the same architectures, such as some with random weights."""
        other = object.__new__(Predictor)
        other.folder, other.bundle, other._features, other._onnx = self.folder, self.bundle, None, None
        other.networks = [network.with_module(change(network)) for network in self.networks]
        return other

    def prepare(self, source: Source | str) -> tuple[NDArray[np.uint8], ...]:
        """Read one radiograph and apply each of the bundle's image steps: uint8 (size, size) each.

        source  a file (PNG, JPEG, TIFF, BMP, WebP, DICOM), the content of one, or a grey picture, uint8 or uint16
                (height, width), air dark
        An inverted radiograph is corrected first. Raises LeftOut with the reason if the file cannot be used. Declared
        sizes are checked before decoding, but this process has no limits of memory and time as a worker process of
        ``cxrflow predict`` has: read files of unknown origin with that.
        """
        return prepare_source(self.bundle.steps, Path(source) if isinstance(source, str) else source).images

    def results(
        self, sources: Iterable[Source | str], look: bool = False, burned_in_text: bool = False
    ) -> Iterator[Result]:
        """The answer for each radiograph, in their order; for one that cannot be used, the reason (``left_out``).

        sources  as for ``prepare``; read in this process, without limits of memory and time
        look     also where the networks looked, for the predicted class (``Result.look``; None where a network's heat
                 is not finite)
        burned_in_text  also look for text burned into the pictures, which is flagged (``Result.text_places``); takes
                 about half a second for each
        Raises TypeError for a single radiograph; CxrflowError if text is to be looked for and the extra ``text`` is not
        installed.
        """
        if isinstance(sources, (str, Path, bytes, np.ndarray)):
            raise TypeError("several radiographs are expected; put a single one into a list")
        if burned_in_text:
            check_installed("burned_in_text")
        given = (Path(source) if isinstance(source, str) else source for source in sources)
        prepare = partial(try_source, self.bundle.steps, burned_in_text=burned_in_text)
        read = ((name_text(each) if isinstance(each, Path) else "", prepare(each)) for each in given)
        return self.results_of(read, look)

    def results_of(self, prepared: Iterable[_Item], look: bool = False, first: int = 1) -> Iterator[Result]:
        """As ``results``, of files that are prepared: their path as name text, and what ``try_source`` gives.

        first  number of the first file (``Result.image``)
        """
        if look:
            self.networks  # noqa: B018  if it cannot be loaded, this is said before any work
        bundle = {"bundle": digest(self.bundle.model_dump(mode="json")), "purpose": self.bundle.purpose}
        numbers = itertools.count(first)
        for batch in batches(prepared, BATCH):
            read = [file for _, file in batch if isinstance(file, PreparedFile)]
            views = [np.stack(view) for view in zip(*(file.images for file in read), strict=True)]
            scores = iter((self._onnx or self).scores_by_fold(views).swapaxes(0, 1) if read else ())
            seen = iter(self.trained_on.flags(read) if self.trained_on else [None] * len(read))
            for path, file in batch:
                fields = described(next(numbers), path, file) | bundle | {"cxrflow": __version__}
                if isinstance(file, PreparedFile):
                    fields |= compared(self.bundle, file, next(seen)) | self._answer(file, next(scores), look)
                yield Result(**fields)

    def _answer(self, file: PreparedFile, by_fold: NDArray[np.float64], look: bool) -> dict[str, Any]:
        """Fields of ``Result``."""
        if not np.isfinite(by_fold).all():
            unsaid = dict.fromkeys(("frontal", "as_far", "text_places", "note"))
            return {"left_out": NO_NUMBER, "flags": (), **unsaid}
        fields = decided(self.bundle, by_fold)
        if look:
            try:
                heats = self.heat_maps(file.images, fields["prediction"])
            except CxrflowError:  # an image without a heat map has scores all the same
                return fields
            fields["look"] = looked(fields["prediction"], file, heats, self.bundle.views)
        return fields

    def scores(self, views: Views) -> NDArray[np.float64]:
        """Calibrated probabilities of prepared images by all networks together (``Bundle.pooled``).

        views  as ``prepare`` returns them, or stacked: an array (n, size, size) for each of the image steps
        Returns float64 (n, classes), classes in the order of ``bundle.task``; each row sums to 1.
        Raises CxrflowError if a network gives no number for one of them: this is never an answer.
        """
        scores = self.bundle.pooled(self.scores_by_fold(views))
        if without := int((~np.isfinite(scores)).any(axis=1).sum()):
            raise CxrflowError(f"{self.folder}: {NO_NUMBER} for {without} of {len(scores)} images; use another bundle.")
        return np.asarray(scores)

    def scores_by_fold(self, views: Views) -> NDArray[np.float64]:
        """The mean of the networks that left out each fold: float64 (folds, n, classes), folds 1 if they left out val.
        A row is NaN where a network gives no number for an image (NO_NUMBER)."""
        arrays = [views] if isinstance(views, np.ndarray) else list(views)
        if len(arrays) != len(self.bundle.steps):
            raise ValueError(f"{len(self.bundle.steps)} arrays of images are needed, one for each of bundle.steps")
        stacked = [array[None] if array.ndim == 2 else array for array in arrays]
        return self._by_fold([network.probabilities(stacked[k], self._classes) for k, network in self.by_view])

    @property
    def by_view(self) -> list[tuple[int, "LoadedNetwork"]]:
        """Each network, with the position in ``bundle.steps`` of its image steps."""
        return list(zip(self.bundle.views, self.networks, strict=True))

    def score(self, dataset: "Dataset") -> NDArray[np.float64]:
        """``scores`` of a data set, batch by batch; columns in the class order of the data set's own task.

        Raises CxrflowError if the tasks of bundle and data set differ (``check_task``), or if the images were not
        prepared by the bundle's image steps.
        """
        return self.bundle.pooled(self.score_by_fold(dataset))

    def score_by_fold(self, dataset: "Dataset", fold: int | None = None) -> NDArray[np.float64]:
        """``scores_by_fold`` of a data set, as ``score``; of the networks that left out ``fold`` alone, if it is
        given."""
        self.check_task(dataset.task)
        columns = [self.bundle.task.order.index(name) for name in dataset.task.order]
        networks = [each for each in self.networks if fold is None or each.about.fold == fold]
        scores = self._by_fold([self._score(network, dataset) for network in networks], networks)
        if without := int((~np.isfinite(scores)).any(axis=(0, 2)).sum()):
            raise CxrflowError(
                f"{self.folder}: {NO_NUMBER} for {without} of {len(dataset)} images; use another bundle."
            )
        return scores[:, :, columns]

    def check_task(self, task: Task) -> None:
        """Raise CxrflowError if ``task`` and the bundle's task differ in classes, findings or positive class."""
        if not self.bundle.task.same_question(task):
            raise CxrflowError(
                f"{self.folder}: the bundle's classes are {_said(self.bundle.task)}, the labels' {_said(task)}; name a "
                "bundle of this task, or set the bundle's task in the parameter file."
            )

    def features(self, dataset: "Dataset") -> NDArray[np.float32]:
        """The features of a data set's images, of all networks beside each other: float32 (n, k)."""
        sets = [(network, dataset.of(network.about.images)) for network in self.networks]
        return np.hstack(
            [
                np.concatenate([network.features(batch) for batch in images.batches()])
                if len(images)
                else np.empty((0, 0), np.float32)
                for network, images in sets
            ]
        )

    def heat_maps(self, views: Views, label: str) -> list[NDArray[np.float32]]:
        """Grad-CAM of one image for the class ``label``, by each network: float32 (size, size) in the geometry of its
        own view, scaled to a maximum of 1; all 0 if no pixel has positive evidence for the class.

        views  of one image, as ``prepare`` returns them
        """
        arrays = [views] if isinstance(views, np.ndarray) else list(views)
        target, maps = self.bundle.task.order.index(label), []
        for k, network in self.by_view:
            heat = network.heat_map(arrays[k], target)
            if not np.isfinite(heat).all():
                raise CxrflowError(f"{self.folder}: {NO_NUMBER} for the heat map of an image; use another bundle.")
            maps.append(heat / heat.max() if heat.max() > 0 else heat)
        return maps

    @property
    def _classes(self) -> int:
        return len(self.bundle.task.order)

    def _score(self, network: "LoadedNetwork", dataset: "Dataset") -> NDArray[np.float64]:
        prepared = dataset.of(network.about.images)
        if self._features is not None and network.about.frozen:
            from cxrflow.training.features import features_of

            return network.probabilities_of(features_of(network, prepared, self._features))
        parts = [network.probabilities(images, self._classes) for images in prepared.batches()]
        return np.concatenate(parts) if parts else np.empty((0, self._classes))

    def _by_fold(
        self, each: Sequence[NDArray[np.float64]], networks: "Sequence[LoadedNetwork] | None" = None
    ) -> NDArray[np.float64]:
        """The mean over the networks of each fold; ``each`` has the probabilities of ``networks`` (default: all)."""
        folds = np.array([network.about.fold or 0 for network in networks or self.networks])
        stacked = np.stack(each)
        return np.stack([stacked[folds == fold].mean(axis=0) for fold in np.unique(folds)])


def batches(items: Iterable[Each], size: int) -> Iterator[list[Each]]:
    """The items in lists of ``size``; the last may be shorter."""
    remaining = iter(items)
    while batch := list(itertools.islice(remaining, size)):
        yield batch


def _said(task: Task) -> str:
    said = ", ".join(f"{name} ({' + '.join(paths)})" for name, paths in task.classes.items())
    return f"{said}, positive {task.positive}"
