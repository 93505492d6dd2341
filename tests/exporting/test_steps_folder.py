"""The image steps beside an ONNX file prepare pictures byte for byte as cxrflow does, without it."""

import itertools
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from cxrflow.bundle import Bundle, Network
from cxrflow.errors import CxrflowError
from cxrflow.exporting.export import export
from cxrflow.exporting.steps_folder import write_steps
from cxrflow.images.registry import prepare_image
from cxrflow.params import Images, Params
from cxrflow.reading import EXTENSIONS, decode
from cxrflow.reading.frontal import turn
from cxrflow.task import Task

#: Prepares the pictures of one file with every package of a folder, into another file.
PROGRAM = """
import importlib, sys
import numpy as np

folder, given, out, *names = sys.argv[1:]
pictures = np.load(given)
found = {}
for name in names:
    sys.path.insert(0, f"{folder}/{name}")
    for key in [key for key in sys.modules if key.split(".")[0] == "prepare"]:
        del sys.modules[key]
    package = importlib.import_module("prepare")
    for key, grey in pictures.items():
        turned, frontal, inverted = package.turn(grey)
        found[f"{name} {key}"] = package.prepare(turned)["image"][0]
        found[f"{key} turn"] = np.array([frontal, inverted])
assert not [name for name in sys.modules if name.split(".")[0] in ("cxrflow", "pydantic", "torch", "pandas")]
np.savez(out, **found)
"""
COMBINATIONS = [
    *(
        {"order": order, "equalise": equalise, "harmonise": harmonise}
        for order, equalise, harmonise in itertools.product(
            ("shrink_first", "equalise_first"), ("none", "global", "clahe"), ("none", "percentiles")
        )
    ),
    *(
        {"order": order, "lungs": lungs, "lungs_use": use}
        for order, lungs, use in itertools.product(
            ("shrink_first", "equalise_first"), ("opencv", "learned"), ("store", "mask", "crop", "both")
        )
    ),
    {"size": 200, "crop_top": 0.0, "clahe_clip": 3.0, "clahe_tiles": 5},
]


def check(pictures: Sequence[np.ndarray], steps: Images, task: Task, tmp_path: Path) -> None:
    every = [Images(**steps.model_dump() | {"size": 96} | combination) for combination in COMBINATIONS]
    for k, images in enumerate(every):
        network = Network(model="crnn", images=images, mean=0, std=1, temperature=1, epoch=0, validation={})
        bundle = Bundle(cxrflow="0", task=task, networks=(network,), sources={}, digests={})
        write_steps(tmp_path / str(k), bundle, "0", "1")
    np.savez(tmp_path / "given.npz", *pictures)
    names = [str(k) for k in range(len(every))]
    command = [sys.executable, "-I", "-c", PROGRAM, tmp_path, tmp_path / "given.npz", tmp_path / "out.npz", *names]
    subprocess.run(command, check=True)
    found = np.load(tmp_path / "out.npz")
    for p, grey in enumerate(pictures):
        upright, frontal, inverted = turn(grey)
        assert found[f"arr_{p} turn"].tolist() == [frontal, inverted]
        for k, images in enumerate(every):
            assert np.array_equal(found[f"{k} arr_{p}"], prepare_image(upright, images).image), (p, COMBINATIONS[k])


def test_drawn_radiographs_and_other_pictures(
    demo_params: Params, task: Task, drawn: list[np.ndarray], tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    noise = random.integers(0, 4000, (150, 211)).astype(np.uint16)
    others = [255 - drawn[1], np.zeros((99, 40), np.uint8), noise, random.integers(90, 99, (31, 77)).astype(np.uint8)]
    assert turn(others[0])[2]  # is inverted
    check([drawn[0], *others], demo_params.images, task, tmp_path)


def test_real_radiographs(real_data: Path, demo_params: Params, task: Task, tmp_path: Path) -> None:
    pictures = []
    for collection in sorted((real_data / "sources").iterdir()):
        files = sorted(p for p in collection.rglob("*") if p.suffix.lower() in EXTENSIONS and "mask" not in str(p))
        pictures.append(decode(files[len(files) // 2]))
    check(pictures, demo_params.images, task, tmp_path)


@pytest.mark.parametrize("channels", [1, 3])
def test_planes_are_the_networks_matter(channels: int, demo_params: Params, task: Task, tmp_path: Path) -> None:
    """Two networks that differ in their planes alone have one input, as they have one view."""
    of = [demo_params.images.model_copy(update={"channels": each}) for each in (1, channels)]
    networks = [Network(model="crnn", images=i, mean=0, std=1, temperature=1, epoch=0, validation={}) for i in of]
    bundle = Bundle(cxrflow="0", task=task, networks=tuple(networks), sources={}, digests={})
    package = write_steps(tmp_path, bundle, "0", "1")
    assert (package / "__init__.py").read_text().count('": Images(') == 1


def test_a_folder_of_somebody_else_is_left_as_it_is(
    write: Callable[..., Path], describe: Callable[..., Network], tmp_path: Path
) -> None:
    folder = write(tmp_path / "bundle", [describe("crnn", size=32)])
    (tmp_path / "out" / "prepare").mkdir(parents=True)
    for name in ("registry.py", "thesis.txt"):
        (tmp_path / "out" / "prepare" / name).write_text("mine")
    with pytest.raises(CxrflowError, match="not a folder that this command wrote"):
        export(folder, tmp_path / "out" / "model.onnx")
    assert (tmp_path / "out" / "prepare" / "thesis.txt").read_text() == "mine"
    assert not (tmp_path / "out" / "model.onnx").exists()
    export(folder, tmp_path / "again" / "model.onnx")
    export(folder, tmp_path / "again" / "model.onnx")  # its own is written anew
