"""Bundles and results of stages that were edited, cut or half written."""

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from bad_inputs import GREY, Run, call, tables
from bad_inputs.encoded import picture

#: The bundle and the results of a metadata stage beside the folder of each input.
BUNDLE, RESULTS = "../bundle", "../results"
_ABSENT = "absent"
_COMMAND = ("predict", "a.png", "--bundle", "bundle", "--out", "out.csv")
_IMAGES = ("images", "--params", "params.yaml")
_NO_NUMBERS = np.full(1000, np.nan, "<f4").tobytes()
_NAN, _INF = float("nan"), float("inf")


def write_bundle(folder: Path) -> None:
    """A small bundle with random weights."""
    import pandas as pd
    import torch

    from cxrflow.bundle import Bundle, Network
    from cxrflow.bundle_files import seen_rows
    from cxrflow.bundle_files import write_bundle as write
    from cxrflow.models import find_model
    from cxrflow.params_file import DEFAULTS, load_params

    params = load_params(DEFAULTS)
    torch.manual_seed(0)
    bundle = Bundle(
        cxrflow="0",
        task=params.task,
        networks=(
            Network(
                model="crnn",
                images=params.images.model_copy(update={"size": 32}),
                mean=0.5,
                std=0.25,
                temperature=1.5,
                epoch=3,
                validation={},
            ),
        ),
        sources={"a": 1},
        digests={},
    )
    network = find_model("crnn").build(1, 3)
    network.train()(torch.randn(8, 1, 48, 48))  # statistics of batch normalisation
    empty = pd.DataFrame({"split": [], "content_hash": [], "near_hash": [], "patient_id": []})
    write(folder, [network], bundle, seen_rows(empty))


def inputs() -> Iterator[Run]:
    """Bundles that are refused, and records.csv that the images stage refuses."""
    for key, value in _VALUES:
        yield _run(f"bundle.json: {key} {str(value)[:20]}", partial(_set, key, value))
    for name, file, edit in _FILES:
        yield _run(f"{file} {name}", partial(_edit, file, edit))
    for name in ("bundle.json", "model.safetensors"):
        yield _run(f"{name} is not there", partial(_remove, name))
    yield _run("a bundle that is a file", lambda folder: (shutil.rmtree(folder), folder.write_bytes(b"x")))
    yield Run(
        "bundles and state", "a bundle as written", _with(lambda folder: None), _COMMAND, table="out.csv", rows=(1, 0)
    )
    for name, edit in _RECORDS:
        yield Run("bundles and state", f"records.csv {name}", partial(_records, edit), _IMAGES, "stops")


_VALUES: tuple[tuple[str, Any], ...] = (
    *(("temperature", value) for value in (_NAN, _INF, 0, -1, "hot", None)),
    *(("std", value) for value in (_NAN, 0, _INF)), ("mean", _NAN), ("model", "no such"), ("model", "resnet18"),
    ("format", 99), ("task", 3), ("images", {}), ("epoch", -1), ("digests", None), ("unknown", 1),
)  # fmt: skip
_FILES: tuple[tuple[str, str, Callable[[bytes], bytes]], ...] = (
    *(
        (name, file, edit)
        for file in ("bundle.json", "model.safetensors")
        for name, edit in (
            ("cut", lambda content: content[: len(content) // 2]),
            ("empty", lambda content: b""),
            ("overwritten with zeros", lambda content: bytes(len(content))),
        )
    ),
    ("with one byte changed", "model.safetensors", lambda content: content[:-1] + bytes([content[-1] ^ 1])),
    ("a list", "bundle.json", lambda content: b"[]"),
    ("nested 20,000 times", "bundle.json", lambda content: b"[" * 20_000),
    ("a pickle", "model.safetensors", lambda content: b"\x80\4\x95" + bytes(100)),
    ("that declares a huge header", "model.safetensors", lambda content: (2**60).to_bytes(8, "little") + content[8:]),
    ("with weights that are no numbers", "model.safetensors", lambda content: content[:-4000] + _NO_NUMBERS),
)  # fmt: skip
_RECORDS: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("empty", lambda text: ""),
    ("cut", lambda text: text[: len(text) // 2]),
    ("with a column less", lambda text: text.replace("image_id", "image", 1)),
    ("that leaves the root", lambda text: text.replace("mine/0.png", "../../../etc/passwd")),
    ("of an absolute path", lambda text: text.replace("mine/0.png", "/etc/passwd")),
    ("with another side of the split", lambda text: text.replace("train", "exam")),
    ("of random bytes", lambda text: "\udcff\0" * 500),
    ("that is not there", lambda text: _ABSENT),
)


def _run(name: str, edit: Callable[[Path], object]) -> Run:
    return Run("bundles and state", name, _with(edit), _COMMAND, "stops")


def _with(edit: Callable[[Path], object]) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / "a.png").write_bytes(picture("PNG", GREY))
        shutil.copytree(folder / BUNDLE, folder / "bundle")
        edit(folder / "bundle")

    return write


def _set(key: str, value: Any, folder: Path) -> None:
    path = folder / "bundle.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))


def _edit(file: str, edit: Callable[[bytes], bytes], folder: Path) -> None:
    (folder / file).write_bytes(edit((folder / file).read_bytes()))


def _remove(file: str, folder: Path) -> None:
    (folder / file).unlink()


def write_results(folder: Path) -> None:
    """The parameters of a project, and the results of its metadata stage."""
    folder.mkdir()
    tables.write(tables.GOOD.encode(), "table.csv", folder)
    with contextlib.chdir(folder):
        status, words = call("metadata", "--params", "params.yaml", "--files", "ignored", "--sources", "sources")
    if status:
        raise RuntimeError(words)


def _records(edit: Callable[[str], str], folder: Path) -> None:
    """The results of the metadata stage, with records.csv edited."""
    shutil.copytree(folder / RESULTS, folder, dirs_exist_ok=True)
    path = folder / "data" / "metadata" / "records.csv"
    text = edit(path.read_text())
    path.unlink()
    if text != _ABSENT:
        path.write_bytes(text.encode(errors="surrogateescape"))
