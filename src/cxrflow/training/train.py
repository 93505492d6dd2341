"""The training stage: trains the networks of a bundle, one after the other, and writes it."""

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from torch import distributed

import cxrflow
from cxrflow.bundle import Bundle
from cxrflow.bundle_files import write_bundle
from cxrflow.bundle_networks import plugins_of
from cxrflow.csv_files import to_csv
from cxrflow.dataset import Dataset
from cxrflow.files import digest, remove, write_json, write_whole
from cxrflow.folds import leaving_out
from cxrflow.model_card import write_card
from cxrflow.params import Images, Training, check_start, members_of
from cxrflow.terminal import remark
from cxrflow.training.callbacks import History
from cxrflow.training.data import Process
from cxrflow.training.fit import Trained, sources_of, train_network

if TYPE_CHECKING:
    from cxrflow.training.live import LiveMetrics

#: What a training took, for people and ``dvc metrics``.
COST = "cost.json"


def train(
    dataset: Dataset,
    images: Images,
    params: Training,
    out: Path,
    classes: Sequence[str] | None = None,
    features: Path | None = None,
    to_follow: int = 0,
    drawn: bool = False,
    live: Path | None = None,
) -> Bundle | None:
    """Train each network of ``members_of(images, params)``; write ``bundle``, ``history.csv``, ``cost.json`` and
    ``checkpoints``.

    A network is trained on the split ``train``, and its epoch chosen on ``val``. One that leaves out a fold
    (``training.folds``) is trained on the rest of both splits, for all epochs: nothing is chosen on the images that it
    left out, because they calibrate it.
    out       results folder; an interrupted run with the same params, data and code resumes from the last complete
              epoch in ``out/checkpoints``, where each of several networks has a folder
    classes   classes that must have images in both splits, by default all of the task. Other classes may lack images:
              they are then not learned, and are left out of the macro AUROC that selects the epoch.
    features  cache for the features of frozen backbones (training/features.py), which several trainings may share; by
              default ``out/features``
    to_follow  trainings that a study does after this one: to say how long all take
    drawn     whether the images are synthetic, for the bundle to say so
    live      folder for DVCLive's figures of each epoch, as ``LiveMetrics``; None: write none
    Under ``torchrun`` each DDP rank takes its part of every batch; all ranks but 0 return None.
    Raises CxrflowError if one of ``classes`` has no training or validation image, if the images were prepared by other
    steps, if a network does not accept their size, if the loss is NaN, or if memory runs out.
    """
    process, members = _join(), members_of(images, params)
    needed, cache = classes or dataset.task.order, features or out / "features"
    folders = [out / "checkpoints"]
    if len(members) > 1:
        folders = [out / "checkpoints" / str(number + 1) for number in range(len(members))]
        if process.rank == 0:
            for other in set((out / "checkpoints").glob("*")) - set(folders):  # of a training of fewer, or of more
                remove(other)
    trained: list[Trained] = []
    shown = None
    if live and process.rank == 0:
        from cxrflow.training.live import LiveMetrics  # with DVC, takes a second to import

        shown = LiveMetrics(live, len(members) > 1)
    for number, (member, checkpoints) in enumerate(zip(members, folders, strict=True), start=1):
        check_start(member.training, out)
        if len(members) > 1 and process.rank == 0:
            remark(f"Network {number} of {len(members)}: {member.training.model}, {member.images.size} pixels")
        sides = leaving_out(dataset, params.folds, member.fold) if params.folds and member.fold is not None else dataset
        write = partial(_write_epoch, out / "history.csv", [one.history for one in trained], shown)
        left = len(members) - number + 1 + to_follow * len(members)
        one = train_network(sides, member, checkpoints, needed, write, process, cache, left)
        if one is not None:
            trained.append(one)
    if process.rank > 0:
        return None
    used = dataset.split("train", "val").records
    bundle = Bundle(
        cxrflow=cxrflow.__version__,
        task=dataset.task,
        networks=tuple(one.about for one in trained),
        sharpness=params.sharpness,
        sources=sources_of(used),
        drawn=drawn,
        pretrained_on=tuple(dict.fromkeys(name for one in trained for name in one.start.pretrained_on)),
        seen="listed" if all(one.start.listed for one in trained) else "unknown",
        digests=_together([one.digests for one in trained]),
        plugins=plugins_of(one.about for one in trained),
    )
    histories = [one.history for one in trained]
    _write_histories(out / "history.csv", [], *histories)
    if shown:
        shown.log(histories)
        shown.end()
    write_json(out / COST, _cost(trained))
    seen = pd.concat([one.seen for one in trained]).drop_duplicates()
    write_bundle(out / "bundle", [one.module for one in trained], bundle, seen)
    write_card(out / "bundle", dataset.records, params)
    return bundle


def _together(digests: Sequence[dict[str, str]]) -> dict[str, str]:
    """The digests of a single network, or, by name, the digest of those of several."""
    names = dict.fromkeys(name for each in digests for name in each)
    each_name = {name: [each.get(name, "") for each in digests] for name in names}
    return {name: digest(values) if len(values) > 1 else values[0] for name, values in each_name.items()}


def _cost(trained: Sequence[Trained]) -> dict[str, Any]:
    """``seconds`` that the epochs took (all networks), ``parameters`` (of all), ``device``."""
    return {
        "seconds": round(sum(one.seconds for one in trained), 1),
        "parameters": sum(value.numel() for one in trained for value in one.module.parameters()),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }


def _write_epoch(path: Path, before: Sequence[History], live: "LiveMetrics | None", history: History) -> None:
    """Write what there is after an epoch of a network: its history so far, and those of the networks ``before``."""
    _write_histories(path, before, history)
    if live:
        live.log([*before, history])


def _write_histories(path: Path, before: Sequence[History], *these: History) -> None:
    """Write the histories of the networks as CSV: a row for each epoch of each, with the network's number, from 1."""
    tables = [pd.DataFrame(history).astype({"epoch": int}) for history in (*before, *these)]
    for number, table in enumerate(tables, start=1):
        table.insert(0, "network", number)
    write_whole(path, to_csv(pd.concat(tables), float_format="%.6g"))


def _join() -> Process:
    """Join the process group; returns DDP rank and world size, as set by ``torchrun``."""
    process = Process(int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1)))
    if process.world > 1 and not distributed.is_initialized():
        if torch.cuda.is_available():
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", 0)))
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    return process
