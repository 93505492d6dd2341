"""What the flag "far from the training data" finds and misses, on collections of radiographs.

    python benchmarks/far.py FOLDER

FOLDER holds collections as for `make run`. The distance is fitted on the training side of the images that the default
task keeps, the alarm on val; ways to measure the distance are compared on val, and the one in use is then measured on
test. One network is trained, with the default parameters, for the ways that need one. Drawn radiographs and
two photographs of scikit-learn are the only images that are not from FOLDER.
"""

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnx
import pandas as pd
import torch
from far_images import Seen, rows, seen
from numpy.typing import NDArray
from sklearn.datasets import load_sample_images
from tables import table

from cxrflow.dataset import Dataset
from cxrflow.engines import LocalEngine
from cxrflow.evaluation.conformal import group_weights
from cxrflow.evaluation.far import SHARE, fit_distance
from cxrflow.far import LENGTH
from cxrflow.files import Root
from cxrflow.images.prepare import prepare_all
from cxrflow.params import Demo, Params
from cxrflow.params_file import DEFAULTS, load_params
from cxrflow.predictor import Predictor
from cxrflow.reading import decode
from cxrflow.reading.frontal import FLAG, WEIGHTS, thumbnail
from cxrflow.statistics.figure import in_percent
from cxrflow.statistics.intervals import mean_over_groups
from cxrflow.synthetic.demo import write_demo
from cxrflow.training.train import train

_PROJECT = Path(__file__).parents[1]
#: Changes that preparation undoes, or that are no larger than those of training.
_HARMLESS = ("mirrored", "inverted", "rotated by 15 degrees")
_NEIGHBOURS = 10
Numbers = NDArray[np.float64]
Distance = Callable[[Numbers], Numbers]
Shown = list[Seen]
#: Parts of a description.
_PARTS = {"shape": slice(0, 24), "detail": slice(24, 34), "grey levels": slice(34, LENGTH)}


def mahalanobis(known: Numbers, labels: NDArray[Any] | None = None) -> Distance:
    """Lee et al. 2018, of one Gaussian."""
    mean, whiten = fit_distance(known)
    return lambda asked: np.linalg.norm((asked - mean) @ whiten.T, axis=1)


def relative(known: Numbers, labels: NDArray[Any]) -> Distance:
    """Ren et al. 2021: the least distance from a class's mean, within classes, less that from the mean of all."""
    whole = mahalanobis(known)
    centres = {label: known[labels == label].mean(axis=0) for label in np.unique(labels)}
    mean, whiten = fit_distance(known - np.array([centres[label] for label in labels]))

    def distance(asked: Numbers) -> Numbers:
        own = [np.linalg.norm((asked - centre - mean) @ whiten.T, axis=1) for centre in centres.values()]
        return np.asarray(np.min(own, axis=0) ** 2 - whole(asked) ** 2)

    return distance


def neighbour(known: Numbers, labels: NDArray[Any] | None = None) -> Distance:
    """Sun et al. 2022: the distance from the k-th nearest of the standardised and normalised."""
    mean, spread = known.mean(axis=0), known.std(axis=0) + 1e-6

    def unit(of: Numbers) -> Numbers:
        scaled = (of - mean) / spread
        return np.asarray(scaled / np.linalg.norm(scaled, axis=1, keepdims=True))

    near = unit(known)
    return lambda asked: 1 - np.sort(unit(asked) @ near.T, axis=1)[:, -_NEIGHBOURS]


def itself(known: Numbers, labels: NDArray[Any] | None = None) -> Distance:
    """Of a number that is the distance already."""
    return lambda asked: asked[:, 0]


def flags(distance: Distance, held: Numbers, groups: NDArray[Any], asked: Numbers) -> NDArray[np.bool_]:
    """Which of ``asked`` are flagged, by the alarm of ``held`` in their groups."""
    weights, far = group_weights(groups), distance(held)
    share = max(SHARE, 1 - weights.sum())
    return np.array([1 - weights[far < each].sum() <= share + 1e-9 for each in distance(asked)], bool)


def described(shown: Shown, steps: int = 0) -> Numbers:
    """The description in use."""
    return np.array([each.described[steps] for each in shown])


def frontal_layer(shown: Shown) -> Numbers:
    """The first layer of the network of the frontal check, before the ReLU."""
    stored = {each.name: onnx.numpy_helper.to_array(each) for each in onnx.load(WEIGHTS).graph.initializer}
    thumbs = np.array([thumbnail(each.image) for each in shown])
    return np.asarray(thumbs @ stored["weight0_float16"].astype(float) + stored["bias0_float16"])


def network_of(kept: pd.DataFrame, root: Root, params: Params, work: Path) -> Predictor:
    """A bundle, trained on the kept records."""
    stores = prepare_all(kept, root, [params.images], LocalEngine(), work / "images")
    train(Dataset.join(kept, stores, params.task), params.images, params.training, work / "training")
    return Predictor(work / "training" / "bundle")


def ways(predictor: Predictor) -> dict[str, tuple[Callable[[Shown], Numbers], Any]]:
    """Each way to measure the distance: numbers of images, and how a distance is fitted to them."""
    network = predictor.networks[0]

    def features(shown: Shown) -> Numbers:
        return network.features(np.array([each.image for each in shown])).astype(float)

    @torch.inference_mode()
    def energy(shown: Shown) -> Numbers:
        images = np.array([each.image for each in shown])
        logits = [network.module(network.to_tensor(images[k : k + 64])) for k in range(0, len(images), 64)]
        return -torch.cat(logits).double().logsumexp(dim=1, keepdim=True).cpu().numpy()

    def beside(shown: Shown) -> Numbers:
        return np.hstack([frontal_layer(shown), described(shown)[:, 24:]])

    return {
        "**43 numbers, Mahalanobis**": (described, mahalanobis),
        **{
            f"{name} alone, Mahalanobis": (lambda shown, at=at: described(shown)[:, at], mahalanobis)
            for name, at in _PARTS.items()
        },
        "43 numbers, relative Mahalanobis": (described, relative),
        "43 numbers, 10th nearest neighbour": (described, neighbour),
        "first layer of the frontal check, Mahalanobis": (frontal_layer, mahalanobis),
        "the same, with detail and grey levels": (beside, mahalanobis),
        f"features of {network.about.model}, Mahalanobis": (features, mahalanobis),
        f"features of {network.about.model}, relative Mahalanobis": (features, relative),
        f"features of {network.about.model}, 10th nearest neighbour": (features, neighbour),
        f"energy of {network.about.model}": (energy, itself),
    }


def percent(which: NDArray[np.bool_]) -> str:
    """A share, without interval."""
    return f"{100 * which.mean():.0f} %" if len(which) else "–"


def first(part: pd.DataFrame) -> Shown:
    """The images as they are."""
    return [each[""] for each in part.seen]


def harmed(part: pd.DataFrame) -> Shown:
    """The images changed, in every way that is not harmless."""
    return [image for each in part.seen for name, image in each.items() if name and name not in _HARMLESS]


def compare(kept: pd.DataFrame, others: pd.DataFrame, predictor: Predictor) -> None:
    """Print the ways, on val and on test."""
    known, val, test = (kept[kept.side == side] for side in ("train", "val", "test"))
    lines = []
    for name, (numbers, fit) in ways(predictor).items():
        flagged = partial(
            flags, fit(numbers(first(known)), known.label.to_numpy()), numbers(first(val)), val.group_id.to_numpy()
        )
        cells = [percent(flagged(numbers(first(test))))]
        for side, part in (("val", val), ("test", test)):
            for kind in ("CT slices", "lateral views"):
                cells.append(percent(flagged(numbers(first(others[(others.shows == kind) & (others.side == side)])))))
            cells.append(percent(flagged(numbers(harmed(part)))))
        lines.append((name, *cells[1:4], *cells[4:], cells[0]))
    heads = [f"{side}: {kind}" for side in ("val", "test") for kind in ("CT", "lateral", "changed")]
    table(("distance", *heads, "test: unchanged"), lines)


def measure(kept: pd.DataFrame, others: pd.DataFrame, drawn: Shown, photographs: Shown) -> None:
    """Print what the way in use flags on test."""
    known, val, test = (kept[kept.side == side] for side in ("train", "val", "test"))
    shown: list[tuple[str, Shown, NDArray[Any]]] = [("all kept images of test", first(test), test.group_id.to_numpy())]
    shown += [(f"– {name}", first(part), part.group_id.to_numpy()) for name, part in test.groupby("source")]
    for name, part in others.groupby("shows", sort=False):
        part = part if name == "children" else part[part.side == "test"]
        shown.append((f"{name}{'' if name == 'children' else ' of test'}", first(part), part.group_id.to_numpy()))
    shown += [("photographs and parts of them", photographs, np.arange(len(photographs)))]
    shown += [("drawn radiographs (the demo's)", drawn, np.arange(len(drawn)))]
    for name in list(test.seen.iloc[0])[1:]:
        shown.append((f"test, {name}", [each[name] for each in test.seen], test.group_id.to_numpy()))
    lines = []
    for name, images, groups in shown:
        far = [
            flags(
                mahalanobis(described(first(known), k)),
                described(first(val), k),
                val.group_id.to_numpy(),
                described(images, k),
            )
            for k in range(2)
        ]
        frontal = np.array([each.frontal < FLAG for each in images])
        cells = [in_percent(mean_over_groups(each, groups)) for each in (*far, frontal, far[0] & ~frontal)]
        lines.append((name, f"{len(images)} of {len(np.unique(groups))}", *cells))
    heads = (
        "far: 128 pixels, whole",
        "far: 112 pixels, cropped to lungs",
        "not frontal",
        "far, and not flagged as not frontal",
    )
    table(("images", "images of groups", *heads), lines)


def left_out(kept: pd.DataFrame, drawn: Shown) -> None:
    """Print what is flagged of a collection that neither training nor val has."""
    lines = []
    for name, part in kept.groupby("source"):
        known, val = (kept[(kept.side == side) & (kept.source != name)] for side in ("train", "val"))
        far = flags(
            mahalanobis(described(first(known))), described(first(val)), val.group_id.to_numpy(), described(first(part))
        )
        lines.append((name, "all others", f"{len(part)}", in_percent(mean_over_groups(far, part.group_id.to_numpy()))))
    half = len(drawn) // 2
    fitted = mahalanobis(described(drawn[:half]))
    for name, part in [("all collections", kept), *kept.groupby("source")]:
        far = flags(fitted, described(drawn[half:]), np.arange(len(drawn) - half), described(first(part)))
        lines.append(
            (name, "drawn radiographs", f"{len(part)}", in_percent(mean_over_groups(far, part.group_id.to_numpy())))
        )
    table(("collection", "trained on", "images", "flagged, mean over groups"), lines)


def sizes(kept: pd.DataFrame, others: pd.DataFrame) -> None:
    """Print what becomes of it with fewer training images, on average over twenty draws."""
    known, val, test = (kept[kept.side == side] for side in ("train", "val", "test"))
    ct, changed = (
        described(first(others[(others.shows == "CT slices") & (others.side == "test")])),
        described(harmed(test)),
    )
    held, plain, rng = described(first(val)), described(first(test)), np.random.default_rng(1)
    lines = []
    for count in (50, 100, 200, 400, len(known)):
        found = []
        for _ in range(20):
            some = described(first(known.iloc[rng.choice(len(known), count, replace=False)]))
            flagged = partial(flags, mahalanobis(some), held, val.group_id.to_numpy())
            found.append([flagged(each).mean() for each in (plain, ct, changed)])
        lines.append((f"{count}", *(f"{100 * value:.0f} %" for value in np.mean(found, axis=0))))
    table(("training images", "test, unchanged", "CT slices of test", "test, changed"), lines)


def main() -> None:
    """Read, train, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    asked = parser.parse_args()
    params = load_params(DEFAULTS)
    lungs = {"size": 112, "lungs": "learned", "lungs_use": "crop"}  # overrides/real.yaml
    steps = (params.images, params.images.model_copy(update=lungs))
    rng = np.random.default_rng(1)
    with tempfile.TemporaryDirectory() as work:
        found, built = rows(asked.folder, params, steps, Path(work))
        write_demo(Path(work) / "demo", Demo(patients=150, seed=1, shortcut="none", shortcut_strength=1.0))
        every = built.with_records(built.records).records
        predictor = network_of(every[every.left_out.isna()], built.root, params, Path(work))
        drawings = sorted(p for p in (Path(work) / "demo").rglob("*") if "truth" not in p.parts and _is_picture(p))
        drawn = [seen(grey, steps) for grey in (decode(path) for path in drawings)]
        drawn = [each for each in drawn if each.frontal >= FLAG]
    photographs = []
    for colour in load_sample_images().images:
        grey = cv2.cvtColor(colour, cv2.COLOR_RGB2GRAY)
        photographs.append(seen(grey, steps))
        for side in rng.integers(60, min(grey.shape), 100):
            top, left = (int(rng.integers(0, length - side)) for length in grey.shape)
            photographs.append(seen(np.ascontiguousarray(grey[top : top + side, left : left + side]), steps))
    kept, others = found[found.shows == "kept"], found[found.shows != "kept"]
    compare(kept, others, predictor)
    measure(kept, others, drawn, photographs)
    left_out(kept, drawn)
    sizes(kept, others)


def _is_picture(path: Path) -> bool:
    return path.suffix in (".png", ".jpg", ".jpeg", ".dcm")


if __name__ == "__main__":
    main()
