"""``cxrflow check``: look at the data, say what they cannot answer, plan, measure, and write it all down."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from cxrflow.check.facts import Facts, Span
from cxrflow.check.fingerprint import fingerprint, text_in_sample
from cxrflow.check.measure import SECONDS_IMAGES, SECONDS_TRAINING, measured
from cxrflow.check.plan import Plan, fitted_to_data, fitted_to_time, training_hours
from cxrflow.check.room import available_gb, disk_gb, free_gb, training_gb
from cxrflow.check.tables import print_fingerprint, print_plan, print_unanswered
from cxrflow.check.unanswered import enough, unanswered
from cxrflow.check.write import check_unedited, how_to_use, plan_file, recipe, write_plan
from cxrflow.engines import Engine, cores, open_engine
from cxrflow.files import write_json, write_whole
from cxrflow.metadata.build import Built, build_records
from cxrflow.metadata.counts import kept_of
from cxrflow.params import Params
from cxrflow.reading.letters import check_installed
from cxrflow.records import SPLITS
from cxrflow.statistics.figure import to_json
from cxrflow.terminal import say
from cxrflow.training.checks import check_params

#: Images from which those to measure are drawn at most.
_MOST_RECORDS = 5_000


@dataclass(frozen=True)
class Estimate:
    """What the plan takes on this machine.

    metadata             seconds for the metadata stage at most: it reads no image again
    images, training     seconds for these stages; ``training`` if no network stops early
    memory_gb, free_memory_gb  that a training takes, and that is free
    disk_gb, free_disk_gb      that images and checkpoints take, and that is free
    device               on which it trains
    """

    metadata: float
    images: Span
    training: Span
    memory_gb: float
    free_memory_gb: float
    disk_gb: float
    free_disk_gb: float
    device: str


def check(
    path: Path,
    data: Path,
    out: Path,
    hours: float,
    text: bool = False,
    seconds: tuple[float, float] = (SECONDS_IMAGES, SECONDS_TRAINING),
) -> bool:
    """Print the fingerprint of a study's data, what they cannot answer, and a plan with its cost; write
    ``fingerprint.json`` and ``index.html`` into ``out``, and the plan into ``params/plan.yaml`` of the study.
    Returns whether there is a plan; there is none if the study would stop before training.

    path     parameter file of the study
    data     working folder of the metadata stage, which reads no image again that is read here
    hours    that the trainings may take
    text     look for burned-in text in a sample of each source
    seconds  for measuring image steps, and trainings
    Raises CxrflowError if the parameters are not valid, a plan that was edited is in the way, the sources cannot be
    read, or a training does not fit into memory.
    """
    params, names, given = recipe(path)
    planned = plan_file(path)
    check_unedited(planned)
    check_params(params, out)
    if text:
        check_installed("--text")
    metadata = params.metadata.model_copy(update={"files": "required"})
    with open_engine(params) as engine:
        begun = time.perf_counter()
        built = build_records(params.sources, metadata, params.task, engine, data)
        took = time.perf_counter() - begun
        found = fingerprint(built, params.task, data, text_in_sample(built, engine, data) if text else None)
        cannot = unanswered(built, params.task, metadata)
        print_fingerprint(found, params.task)
        print_unanswered(cannot)
        facts = facts_of(built, params, found)
        plan, estimate = None, None
        if facts is not None:
            plan, estimate = _planned(params, facts, given, built, engine, hours, took, path.parent, seconds)
            print_plan(plan, estimate)
    write_json(out / "fingerprint.json", to_json(found) | {"cannot_tell": cannot} | _as_json(plan, estimate))
    from cxrflow.check.page import page

    write_whole(out / "index.html", page(found, cannot, plan, estimate, params).encode())
    if plan is None or estimate is None:
        say("No plan: the study would stop before training, as said above.")
    else:
        write_plan(planned, plan, names, [_in_short(estimate), *filter(None, [plan.warning])])
        say(f"Plan: {planned.absolute()}. {how_to_use(names)}")
    say(f"Page: {(out / 'index.html').absolute()}")
    return plan is not None


def facts_of(built: Built, params: Params, found: dict[str, Any]) -> Facts | None:
    """The numbers that the rules of the plan need; None if a class lacks patients on a side of the split.

    found  of ``fingerprint``
    """
    counted = {(row["split"], row["label"]): row for row in found["splits"]}
    if any((side, label) not in counted for side in SPLITS for label in params.task.order):
        return None

    def images(side: str) -> int:
        return sum(int(row["images"]) for (split, _), row in counted.items() if split == side)

    def groups(label: str, *sides: str) -> int:
        return sum(int(counted[side, label]["groups"]) for side in sides)

    kept = kept_of(built.table)
    return Facts(
        images=found["kept"],
        train=images("train"),
        val=images("val"),
        positive=int(counted["train", params.task.positive]["images"]),
        train_groups=int(kept.filter(kept.split == "train").group.nunique().to_pandas()),
        rarest=min(groups(label, "train", "val") for label in params.task.order),
        rarest_val=min(groups(label, "val") for label in params.task.order),
        enough=enough(),
        shorter=found["shorter"][2],
    )


def _planned(
    params: Params,
    facts: Facts,
    given: frozenset[str],
    built: Built,
    engine: Engine,
    hours: float,
    took: float,
    folder: Path,
    seconds: tuple[float, float],
) -> tuple[Plan, Estimate]:
    classes = len(params.task.order)
    free = available_gb()
    plan = fitted_to_data(params, facts, free, lambda images, training: training_gb(images, training, classes), given)
    prepared, costs = measured(plan.networks, _sample(built), built.root, params.task, engine, seconds)
    plan = fitted_to_time(plan, facts, costs, hours, given)
    images = Span(0, 0, 0)
    for steps in {network.images.model_copy(update={"channels": 1}) for network in plan.networks}:
        images += prepared[steps] * facts.images
    needed = [training_gb(network.images, network.training, classes) or 0.0 for network in plan.networks]
    return plan, Estimate(
        metadata=took,
        images=images,
        training=training_hours(plan, facts, costs) * 3600,
        memory_gb=max(needed),
        free_memory_gb=free,
        disk_gb=disk_gb(plan.networks, facts.images, classes),
        free_disk_gb=free_gb(folder),
        device=torch.cuda.get_device_name() if torch.cuda.is_available() else f"{cores()} cores, no GPU",
    )


def _sample(built: Built) -> pd.DataFrame:
    """At most _MOST_RECORDS kept images at random: columns path, turned."""
    parts = []
    for batch in built.rows.read(built.name, ["path", "turned", "left_out"]):
        rows = batch.to_pandas()
        parts.append(rows[rows.left_out.isna()].drop(columns="left_out"))
    every: pd.DataFrame = pd.concat(parts, ignore_index=True).astype({"turned": bool})
    chosen = np.random.default_rng(0).permutation(len(every))[:_MOST_RECORDS]
    return every.iloc[chosen]


def _as_json(plan: Plan | None, estimate: Estimate | None) -> dict[str, Any]:
    if plan is None or estimate is None:
        return {"plan": None, "estimate": None}
    return {"plan": [asdict(choice) for choice in plan.choices], "estimate": asdict(estimate)}


def _in_short(estimate: Estimate) -> str:
    from cxrflow.check.tables import ranged

    return (
        f"On this machine ({estimate.device}), as busy as it was: images {ranged(estimate.images)}, trainings "
        f"{ranged(estimate.training)}, {estimate.memory_gb:.1f} GB of memory, {estimate.disk_gb:.1f} GB on disk."
    )
