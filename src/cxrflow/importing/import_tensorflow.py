"""Imports a TensorFlow 1 meta graph and checkpoint, such as COVID-Net's, as a bundle (docs/covid-net-released.md).

TensorFlow runs in a virtual environment of its own (importing/in_tensorflow.py) and returns ONNX and NumPy arrays.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pydantic import ValidationError

import cxrflow
from cxrflow.bundle import Bundle, Network
from cxrflow.bundle_files import seen_rows, write_bundle
from cxrflow.errors import CxrflowError
from cxrflow.files import digest, write_whole
from cxrflow.model_card import write_card
from cxrflow.models.stored import STORED, StoredNetwork
from cxrflow.params import Images
from cxrflow.passport import unknown
from cxrflow.task import Task
from cxrflow.terminal import remark

REQUIREMENTS = Path(__file__).parent / "requirements.txt"
#: Largest accepted difference between the bundle's outputs (logits and probabilities) and TensorFlow's; for logits
#: relative to the largest absolute logit, if that is above 1.
TOLERANCE = 1e-4
#: COVID-Net's image steps (its ``data.py``): top 8 % cut off, centre square, resized, as BGR / 255.
_STEPS: dict[str, Any] = {
    "crop_top": 0.08,
    "equalise": "none",
    "clahe_clip": 2.0,
    "clahe_tiles": 8,
    "order": "shrink_first",
    "lungs": "none",
    "lungs_use": "store",
}
_SCRIPT = Path(__file__).parent / "in_tensorflow.py"
_SAYS = "import-tensorflow: "  # prefix of the script's messages to the user


@dataclass(frozen=True, slots=True)
class Released:
    """A released network: its files, and the names of its tensors, as in ``input_1:0``.

    meta           file of the meta graph
    checkpoint     common prefix of the checkpoint's files: ``model-18540`` for ``model-18540.index`` and the rest
    input          pictures (n, size, size, channels), 0 to 1
    logits         (n, classes); ``probabilities`` are their softmax
    size           side of the pictures (pixels), or None: read from the graph
    """

    meta: Path
    checkpoint: Path
    input: str
    logits: str
    probabilities: str
    size: int | None = None


def import_tensorflow(
    released: Released, task: Task, classes: Sequence[str], trained_on: str, python: Path | None, out: Path
) -> tuple[Bundle, float]:
    """Write a bundle of a TensorFlow 1 network to ``out``; returns its description, and the largest difference between
    its outputs and TensorFlow's on random images, which is at most TOLERANCE.

    task        the question that the network answers
    classes     the task's classes in the order of the network's outputs
    trained_on  what is known of its training images, for ``Bundle.pretrained_on``
    python      an interpreter with TensorFlow and tf2onnx; None for the one of ``environment``
    Raises CxrflowError if ``classes`` are not those of the task, if a file or tensor is missing, if the graph cannot be
    converted, or if the outputs differ from TensorFlow's.
    """
    if sorted(classes) != sorted(task.order):
        raise CxrflowError(
            f"--classes: {','.join(classes)} are not the task's classes {', '.join(task.order)}; name exactly these, "
            "in the order of the network's outputs."
        )
    files = _files(released)
    with tempfile.TemporaryDirectory() as work:
        side, channels = _convert(released, python or environment(), Path(work))
        try:
            steps = Images.model_validate({"size": side, "channels": channels, **_STEPS})
        except ValidationError:
            raise CxrflowError(
                f"{released.input}: pictures of {side} pixels and {channels} channels; cxrflow supports 32 to 2048 "
                "pixels, and 1 or 3 channels."
            ) from None
        network = StoredNetwork((Path(work) / "network.onnx").read_bytes()).eval()
        with np.load(Path(work) / "answers.npz", allow_pickle=False) as loaded:
            answers = {name: loaded[name] for name in loaded.files}
    order = [classes.index(name) for name in task.order]
    if answers["logits"].shape[1:] != (len(order),):
        raise CxrflowError(
            f"{released.logits}: shape {answers['logits'].shape[1:]} for each picture, not one value for each "
            f"of {len(order)} classes; name the logits."
        )
    network.order.copy_(torch.tensor(order))
    difference = _difference(network, answers, order)
    if not difference <= TOLERANCE:
        raise CxrflowError(
            f"{released.meta}: the converted network's outputs differ from TensorFlow's by {difference:.1e}, more than "
            f"{TOLERANCE:.0e}; nothing was written. Are {released.probabilities} the softmax of {released.logits}?"
        )
    bundle = Bundle(
        cxrflow=cxrflow.__version__,
        task=task,
        networks=(
            Network(
                model=STORED,
                images=steps,
                mean=0.0,
                std=1.0,
                temperature=1.0,
                epoch=0,
                validation={},
                start=unknown("a network trained by others, imported from TensorFlow", (trained_on,)),
            ),
        ),
        sources={},
        pretrained_on=(trained_on,),
        seen="unknown",
        digests={
            "meta": hashlib.sha256(released.meta.read_bytes()).hexdigest(),
            "checkpoint": digest([hashlib.sha256(file.read_bytes()).hexdigest() for file in files]),
        },
    )
    nothing = pd.DataFrame(columns=["split", "content_hash", "near_hash", "patient_id"], dtype=object)
    write_bundle(out, [network], bundle, seen_rows(nothing))
    write_card(out)
    return bundle, difference


def environment() -> Path:
    """The interpreter of a virtual environment with the packages of REQUIREMENTS. It is created in the user's cache
    folder on first use; raises CxrflowError if that fails."""
    key = digest([REQUIREMENTS.read_text(encoding="utf-8"), sys.version_info[:2]])[:12]
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "cxrflow" / f"tensorflow-{key}"
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if (folder / "complete").exists():
        return python
    remark(f"Setting up TensorFlow, once, in {folder} (1.6 GB, about a minute) ...")
    shutil.rmtree(folder, ignore_errors=True)  # an interrupted installation
    venv.create(folder, with_pip=True)
    done = _run([python, "-m", "pip", "install", "--quiet", "--requirement", REQUIREMENTS])
    if done.returncode:
        raise CxrflowError(
            f"{REQUIREMENTS}: pip could not install it ({_last_line(done.stderr)}); use --python to name an "
            "interpreter that has TensorFlow and tf2onnx."
        )
    write_whole(folder / "complete", b"")
    return python


def _files(released: Released) -> list[Path]:
    """The checkpoint's files."""
    if not released.meta.is_file():
        raise CxrflowError(f"{released.meta}: no such file; name the .meta file of the meta graph.")
    stem = released.checkpoint
    index = stem.with_name(f"{stem.name}.index")
    data = sorted(stem.parent.glob(f"{stem.name}.data-*"))
    if not (index.is_file() and data):
        raise CxrflowError(f"{stem}: no checkpoint there; {index.name} and {stem.name}.data-00000-of-00001 are needed.")
    return [index, *data]


def _convert(released: Released, python: Path, work: Path) -> tuple[int, int]:
    """Run in_tensorflow.py, which writes its results to ``work``; returns size and channels of the pictures."""
    files = {"meta": str(released.meta.absolute()), "checkpoint": str(released.checkpoint.absolute())}
    (work / "job.json").write_text(json.dumps(asdict(released) | files | {"out": str(work)}), encoding="utf-8")
    try:
        done = _run([python, "-I", _SCRIPT, work / "job.json"])
    except OSError as error:
        raise CxrflowError(f"--python: {python}: {error.strerror}; name a Python interpreter.") from None
    if done.returncode:
        last = _last_line(done.stderr)
        raise CxrflowError(last.removeprefix(_SAYS) if last.startswith(_SAYS) else f"TensorFlow in {python}: {last}")
    pictures = json.loads((work / "network.json").read_text(encoding="utf-8"))
    return pictures["size"], pictures["channels"]


def _run(command: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  no shell, arguments of our own


def _last_line(text: str) -> str:
    return ([line for line in text.splitlines() if line.strip()] or ["no error message"])[-1].strip()[:300]


@torch.inference_mode()
def _difference(network: StoredNetwork, answers: dict[str, NDArray[np.float32]], order: list[int]) -> float:
    """Largest difference from TensorFlow's outputs, over all images in one batch and each image alone; see
    TOLERANCE."""
    images = torch.from_numpy(answers["images"])
    theirs, chances = answers["logits"][:, order], answers["probabilities"][:, order]
    apart = []
    for logits in (network(images), torch.cat([network(image[None]) for image in images])):
        apart.append(np.abs(logits.numpy() - theirs).max() / max(1.0, np.abs(theirs).max()))
        apart.append(np.abs(logits.softmax(dim=1).numpy() - chances).max())
    return float(np.max(apart))  # NaN if any difference is NaN
