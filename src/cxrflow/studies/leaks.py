"""The effect of each leak of the paper's protocol, on the same test images and with equally many training images."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from rich.table import Column, Table

from cxrflow.dataset import Dataset
from cxrflow.engines import Engine
from cxrflow.errors import CxrflowError
from cxrflow.evaluation.ledger import test_set_hash
from cxrflow.files import write_json
from cxrflow.images.prepare import prepare_images
from cxrflow.metadata.groups import folds_of
from cxrflow.params import Augmentation, Params, first_member
from cxrflow.predictor import Predictor
from cxrflow.records import are_drawn
from cxrflow.sources import find_collections, rsna
from cxrflow.statistics.figure import in_words, to_json
from cxrflow.statistics.resampling import Bootstrap
from cxrflow.statistics.scored import Scored
from cxrflow.studies.folds import (
    FOLD,
    enter_together,
    kept_records,
    one_process,
    only_trained,
    reading_all,
    train_or_val,
)
from cxrflow.studies.leaked import LEAKS, compared, exchanged, figure_names, given_away, listed_again
from cxrflow.task import Task
from cxrflow.terminal import console, remark
from cxrflow.text import number_of
from cxrflow.training.augmentation import augment
from cxrflow.training.train import train

_BOXES = "stage_2_train_labels.csv"


def leaks(sources: Path, params: Params, engine: Engine, folds: int, seeds: int, out: Path) -> dict[str, Any]:
    """Build records and images of the collections below ``sources`` and measure each leak on them (``measure_leaks``),
    with the first of several members.

    sources  folder of collections, including RSNA, whose table with one row for each box is one of the leaks
    out      folder for fingerprints, images, and the output of ``measure_leaks``
    Raises CxrflowError if RSNA is missing, and as ``build_records`` and ``train``.
    """
    one_process("leaks")
    params = reading_all(sources, first_member(params))
    rows = rows_of_images(sources)
    records, root = kept_records(params, engine, out)
    store = prepare_images(records, root, params.images, engine, out / "images")
    return measure_leaks(Dataset.join(records, store, params.task), rows, params, folds, seeds, out)


def rows_of_images(sources: Path) -> pd.Series:
    """The number of rows of each image in RSNA's table of boxes, int, by image_id.

    Raises CxrflowError if RSNA is not among the collections below ``sources``.
    """
    root, found = find_collections(sources)
    tables = [root / name / _BOXES for collection, name in found if collection.name == rsna.NAME]
    if not any(table.is_file() for table in tables):
        raise CxrflowError(
            f"leaks: {sources} lacks RSNA's collection with {_BOXES}, whose rows are one of the leaks; name a folder "
            "that holds it."
        )
    boxes = pd.read_csv(tables[0], dtype=str).patientId.value_counts()
    return boxes.set_axis(f"{rsna.NAME}:" + boxes.index)


def measure_leaks(
    dataset: Dataset, rows: pd.Series, params: Params, folds: int, seeds: int, out: Path
) -> dict[str, Any]:
    """Train and test with each of LEAKS, in ``folds`` folds of the groups and with ``seeds`` seeds.

    dataset  its own split is not used; the images of ``only_trained`` are in every training and in no test
    rows     number of rows of an image in its collection's table, by image_id, if more than one
    out      ``fold0``, ``fold1``, ...: the trainings of each fold, resumed if interrupted; a file for each leak with
             the hashes of its networks and test set; a ledger; ``metrics.json``, written after each leak
    The test images of a fold are those that ``given_away`` leaves, the same for every leak. Returns ``tested``,
    ``groups`` and ``seeds``, and ``by_leak``: for each leak its ``figures`` (``compared``) and, per seed,
    ``trained_on``, the number of training images of all folds, and ``shared``, the number of test images that have an
    image of their group, or themselves, in training.
    Raises CxrflowError as ``train``.
    """
    records = dataset.records.assign(at=np.arange(len(dataset)))
    alone = only_trained(dataset, params)
    children, adults = records[alone].assign(split="train"), records[~alone].reset_index(drop=True)
    fold, given = folds_of(adults.group_id.to_numpy(str), folds, FOLD), given_away(adults)
    divided = adults.assign(split=train_or_val(adults.group_id.to_numpy(str)))
    tested = adults.assign(fold=fold)[~given].sort_values("fold", kind="stable")
    each_seed = pd.concat([tested.assign(fold=tested.fold + folds * seed) for seed in range(seeds)])
    bootstrap = Bootstrap(params.evaluation.bootstrap, params.evaluation.seed)
    by_leak: dict[str, dict[str, Any]] = {}
    honest: Scored | None = None
    found = {"tested": len(tested), "groups": int(tested.group_id.nunique()), "seeds": seeds, "by_leak": by_leak}
    for name, leak in LEAKS.items():
        remark(f"Leak {len(by_leak) + 1} of {len(LEAKS)}: {name}")
        parts, weights, trained_on, shared = [], [], 0, 0
        to_follow = (len(LEAKS) - len(by_leak)) * seeds * folds
        for seed, number in product(range(seeds), range(folds)):
            to_follow -= 1
            outside, test = pd.concat([divided[fold != number], children]), tested[tested.fold == number]
            leaked = {
                "patients": divided[(fold == number) & given],
                "rows": test[listed_again(test, rows, number)],
            }
            learned = outside[outside.split == "train"]
            if leak.learned:
                learned = exchanged(learned, pd.concat([leaked[what] for what in leak.learned]).assign(split="train"))
            chosen_on = outside[outside.split == "val"] if leak.choose == "val" else test.assign(split="val")
            used = pd.concat([learned, chosen_on])
            place = out / f"fold{number}" / "-".join([*leak.learned, leak.choose, str(leak.seed + seed)])
            recipe = params.training.model_copy(update={"seed": params.training.seed + leak.seed + seed})
            sides = dataset.where(used["at"]).divided(used.split.to_numpy())
            drawn = are_drawn(Path(params.sources.root))
            train(sides, params.images, recipe, place, features=out / "features", to_follow=to_follow, drawn=drawn)
            predictor = Predictor(place / "bundle")
            changes = params.training.augmentation if leak.augmented else None
            parts.append(_scores(predictor, dataset.where(test["at"]), changes, number))
            weights.append(predictor.bundle.digests["weights"])
            trained_on += len(learned)
            shared += int(test.group_id.isin(learned.group_id).sum())
        scored = Scored(dataset.task, each_seed, np.concatenate(parts), bootstrap)
        honest = honest or scored
        about = out / f"{name.replace(' ', '-').replace(',', '')}.json"
        together = enter_together(weights, tested, about, out / "ledger.csv")
        write_json(about, {"test_set": {"hash": test_set_hash(tested), "bundle": together}})
        by_leak[name] = {"trained_on": trained_on // seeds, "shared": shared // seeds}
        by_leak[name]["figures"] = compared(honest, scored)
        write_json(out / "metrics.json", to_json(found))
    return found


def print_leaks(found: dict[str, Any], task: Task) -> None:
    """Print the result of ``leaks``: each figure without a leak, and the difference that each leak makes."""
    wide = (Column(name, no_wrap=True) for name in ("leak", "shared"))
    table = Table(*wide, "figure", Column("value, or difference", no_wrap=True))
    table.title = (
        f"{number_of(found['tested'], 'test image')} of {number_of(found['groups'], 'group')}, 95 % intervals by group"
    )
    table.caption = "shared: test images with an image of their group in training"
    for number, (name, of_leak) in enumerate(found["by_leak"].items()):
        which = "difference" if number else "figure"
        for position, (key, said) in enumerate(figure_names(task).items()):
            about = ("", "") if position else (name, str(of_leak["shared"]))
            table.add_row(*about, said, in_words(of_leak["figures"][key][which], 3))
        table.add_section()
    console().print(table)


def _scores(predictor: Predictor, dataset: Dataset, changes: Augmentation | None, seed: int) -> NDArray[np.float64]:
    """Softmax of the logits, float64 (n, classes), without the temperature, which may be fitted on test images.

    changes  random augmentation of the pixels, drawn from ``seed``; None for no augmentation
    """
    (network,) = predictor.bundle.networks
    pixels = dataset.pixels()
    if changes:
        changed = augment(torch.tensor(pixels)[:, None].float() / 255, changes, torch.Generator().manual_seed(seed))
        pixels = (changed[:, 0] * 255).round().byte().numpy()
    raised = predictor.scores(pixels) ** network.temperature
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))
