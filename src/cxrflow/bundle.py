"""A trained model described: ``bundle.json`` and ``thresholds.json``, which bundle_files.py reads and writes."""

from collections import Counter
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from cxrflow.far import Far
from cxrflow.params import Fraction, Images, Positive, Text, different_steps
from cxrflow.passport import Passport, unknown
from cxrflow.plugins import Plugin, is_in_file
from cxrflow.task import Task

#: Version of ``bundle.json``. Newer versions are refused, because their meaning is unknown here.
FORMAT: Literal[3] = 3
#: Probabilities; a threshold that nothing reaches is the next number above 1.
Threshold = Annotated[float, Field(ge=0, le=1.001)]
_NOT_NEGATIVE = Field(ge=0)
PURPOSE = "Research software. Not a medical device; not for diagnosis or treatment."


class OperatingPoint(BaseModel):
    """A decision threshold for the positive class, chosen on val (evaluation/operating.py).

    wanted       target specificity, or cost of a false negative relative to a false positive
    prevalence   of the positive class, for the expected cost; None if the operating point does not depend on it
    threshold    an image is positive if its calibrated probability of the positive class is at least this
    sensitivity, specificity   on val; optimistic, because selected there
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    wanted: Positive
    prevalence: Fraction | None = None
    threshold: Threshold
    sensitivity: Fraction
    specificity: Fraction


class LeftOutScores(BaseModel):
    """Probabilities of one class for the images of that class in one fold, by the networks that left the fold out.

    scores   in ascending order
    weights  of the images; over all folds, they add up to 1 minus the weight of a new group (evaluation/conformal.py)
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    scores: tuple[Fraction, ...]
    weights: tuple[Fraction, ...]

    @model_validator(mode="after")
    def _is_sorted(self) -> "LeftOutScores":
        if len(self.scores) != len(self.weights) or list(self.scores) != sorted(self.scores):
            raise ValueError("scores must ascend, each with its weight")
        return self

    def below(self, probabilities: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """The weight of the images whose score is at most each of ``probabilities``."""
        total = np.r_[0.0, np.cumsum(self.weights)]
        return np.asarray(total[np.searchsorted(self.scores, probabilities, side="right")], np.float64)


class PredictionSets(BaseModel):
    """Prediction sets (evaluation/conformal.py): the classes whose calibrated probability is at least ``least``, or, of
    networks that left out folds, whose probability is not among the lowest of ``left_out``.

    coverage     probability, for each class, that the set of a new patient's image contains its true class
    least        for each class, the smallest probability at which it is in the set; empty with ``left_out``
    left_out     for each class, the scores in each fold; empty with ``least``
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    coverage: Fraction
    least: dict[str, Threshold] = {}
    left_out: dict[str, tuple[LeftOutScores, ...]] = {}

    def held(self, by_fold: NDArray[np.floating[Any]], order: Sequence[str]) -> NDArray[np.bool_]:
        """Whether each class is in each image's set: bool (n, classes).

        by_fold  calibrated probabilities, float (folds, n, classes), classes in ``order``, as ``Bundle.for_sets``
        """
        if self.least:
            return np.asarray(by_fold.mean(axis=0) >= np.array([self.least[name] for name in order]))
        held = np.empty(by_fold.shape[1:], np.bool_)
        for c, name in enumerate(order):
            folds = self.left_out[name]
            new = 1 - sum(sum(fold.weights) for fold in folds)
            lower = sum(fold.below(scores) for fold, scores in zip(folds, by_fold[:, :, c], strict=True))
            held[:, c] = new + lower > 1 - self.coverage + 1e-9
        return held


class Network(BaseModel):
    """One network of a bundle.

    model             name for ``find_model``, or STORED
    images            its image steps, size and channels
    mean, std         of training pixels / 255, or as pretrained weights expect; its input is (pixel / 255 - mean) / std
    temperature       divisor of its logits (Guo et al. 2017, section 4.2), fitted on the images it left out
    fold              the fold of the patients that it left out, from 0; None: it left out val
    epoch, validation chosen epoch and metrics on the images it left out; 0 and empty if imported
    frozen            training has fitted its last linear layer alone (``training.freeze``)
    start             passport of the weights that its training began with; None if random; an earlier version recorded
                      none (``Bundle.starts``)
    weights, graph    SHA-256 of its weights, and of a stored graph
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    model: Text
    images: Images
    mean: Annotated[float, Field(ge=-100, le=100)]
    std: Annotated[float, Field(ge=1e-4, le=100)]
    temperature: Annotated[float, Field(ge=1e-3, le=1000)]
    fold: Annotated[int, _NOT_NEGATIVE] | None = None
    epoch: Annotated[int, _NOT_NEGATIVE]
    validation: dict[str, float]
    frozen: bool = False
    start: Passport | None = None
    weights: str = ""
    graph: str | None = None


class Bundle(BaseModel):
    """A bundle's description: ``bundle.json``, and ``thresholds.json`` with what was chosen after training.

    format            3; formats 1 (which had no task) and 2 (with one network) can still be read
    cxrflow           version that wrote it
    purpose           intended use and excluded use
    task              the classes, in the order of the networks' outputs, and the positive one
    networks          whose probabilities are averaged
    sharpness         power of their mean (``pooled``)
    thresholds        operating points by name (thresholds.json); empty for an imported network
    prediction_sets   prediction sets (thresholds.json); None for an imported network
    far               what is far from the training images, as prepared for the first network (thresholds.json); None
                      for an imported network, for a bundle of before, and if val has too few patients
    sources           number of training and validation images of each source
    drawn             the training images are synthetic (the demo's); bundles of before do not say so
    pretrained_on     data sets on which the initial weights were trained; empty if trained from scratch
    seen              listed: TRAINED_ON lists all radiographs that the weights were trained on; unknown: there are
                      others, so no test image is known to be unseen
    digests           SHA-256 of data, params, code, weights (of all networks) and TRAINED_ON, or of imported files
    plugins           networks and image steps of others that it was trained with, whose code it does not hold
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format: Literal[3] = FORMAT
    cxrflow: str
    purpose: str = PURPOSE
    task: Task
    networks: Annotated[tuple[Network, ...], Field(min_length=1, max_length=20)]
    sharpness: Annotated[float, Field(ge=0.1, le=10)] = 1.0
    thresholds: dict[Annotated[str, Field(pattern="^[a-z_]{1,40}$")], OperatingPoint] = {}
    prediction_sets: PredictionSets | None = None
    far: Far | None = None
    sources: dict[str, Annotated[int, _NOT_NEGATIVE]]
    drawn: bool = False
    pretrained_on: tuple[str, ...] = ()
    seen: Literal["listed", "unknown"] = "listed"
    digests: dict[str, str]
    # Not written if empty, so that a bundle without any can be read by versions from before this key.
    plugins: tuple[Plugin, ...] = Field(default=(), exclude_if=lambda parts: not parts)

    @model_validator(mode="after")
    def _consistent(self) -> "Bundle":
        used = {("models", network.model) for network in self.networks if is_in_file(network.model)}
        used |= {("image_steps", name) for network in self.networks for name in network.images.extra}
        if lacking := sorted(used - {(plugin.kind, plugin.name) for plugin in self.plugins}):
            raise ValueError(f"plugins must describe {lacking[0][1]}")
        sets = self.prediction_sets
        if sets and any(set(named) != set(self.task.classes) for named in (sets.least or sets.left_out,)):
            raise ValueError(f"prediction_sets must name exactly {', '.join(self.task.order)}")
        if sets and any(len(scores) != self.folds for scores in sets.left_out.values()):
            raise ValueError("prediction_sets must have scores of each fold that the networks leave out")
        left_out = [network.fold for network in self.networks]
        if set(left_out) not in ({None}, set(range(self.folds))):
            raise ValueError("networks: each fold up to the last must be left out by one of them")
        return self

    @property
    def folds(self) -> int:
        """Number of folds that the networks leave out; 0 if they left out val."""
        return max((-1 if network.fold is None else network.fold) for network in self.networks) + 1

    def pooled(self, by_fold: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
        """The bundle's probabilities, float64 (..., classes), from those of the networks that left out each fold, float
        (folds, ..., classes): their mean to the power ``sharpness``, normalised to a sum of 1.

        The mean of calibrated networks that err differently is less sure than it is right (Rahaman and Thiery, NeurIPS
        2021, section 4); the power makes up for it.
        """
        mean = np.asarray(by_fold, np.float64).mean(axis=0)
        if self.sharpness == 1:
            return np.asarray(mean)
        raised = mean**self.sharpness
        return np.asarray(raised / raised.sum(axis=-1, keepdims=True))

    def for_sets(self, by_fold: NDArray[np.float64]) -> NDArray[np.float64]:
        """What ``PredictionSets.held`` compares, of ``by_fold`` as for ``pooled``: the same, or, if the networks left
        out val, the bundle's probabilities as those of one fold, because ``least`` was chosen of these."""
        return by_fold if self.folds else self.pooled(by_fold)[None]

    @property
    def starts(self) -> list[Passport | None]:
        """The passport of the weights that the training of each network began with; None if these were random."""
        recorded = [network.start for network in self.networks]
        if self.pretrained_on and not any(recorded):  # a bundle of before passports
            return [unknown("not recorded by the version that trained this bundle", self.pretrained_on)] * len(recorded)
        return recorded

    @property
    def steps(self) -> list[Images]:
        """The image steps of its networks, each different ones once."""
        return different_steps(network.images for network in self.networks)

    @property
    def views(self) -> list[int]:
        """For each network, the position in ``steps`` of its image steps."""
        one_plane = [each.model_copy(update={"channels": 1}) for each in self.steps]
        return [one_plane.index(network.images.model_copy(update={"channels": 1})) for network in self.networks]

    @property
    def name(self) -> str:
        """What its networks are called, such as ``2 x resnet18 + crnn``."""
        counted = Counter(network.model for network in self.networks)
        return " + ".join(model if count == 1 else f"{count} x {model}" for model, count in counted.items())
