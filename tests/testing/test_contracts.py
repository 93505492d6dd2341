"""The contract tests pass cxrflow's own parts (tests of sources, models, audit) and catch parts that break one."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from cxrflow.audit.context import Audited
from cxrflow.audit.verdicts import AuditTest, Limit, Result, Rows
from cxrflow.audit.words import UNTOLD
from cxrflow.errors import LeftOut
from cxrflow.models.model import Model
from cxrflow.outputs.tables import csv_table, json_lines
from cxrflow.params import Params
from cxrflow.records import Record
from cxrflow.sources import tables
from cxrflow.sources.collection import Collection
from cxrflow.statistics.figure import missing
from cxrflow.testing import (
    Broken,
    check_audit_test,
    check_image_step,
    check_network,
    check_output,
    check_source,
    check_stops,
)
from cxrflow.testing.audit_tests import TASKS
from cxrflow.testing.hospital import build_tiny, hospital

# A source


def records(folder: Path, name: str, options: object) -> Iterator[Record]:
    for row in tables.read_table(folder / "list.csv", ("file", "who")):
        yield Record(
            f"ward:{row['file']}", "ward", f"{name}/{row['file']}", f"ward:{row['who']}", ("no finding",), finding="-"
        )


WARD = Collection("ward", ("ward-2026",), records, "list.csv", findings=("no finding",))


@pytest.fixture
def ward(tmp_path: Path) -> Path:
    (tmp_path / "ward-2026").mkdir()
    (tmp_path / "ward-2026" / "list.csv").write_text("file,who\na.png,1\nb.png,2\n")
    return tmp_path / "ward-2026"


def changed(**fields: Any) -> Callable[..., Iterator[Record]]:
    return lambda *given: (replace(record, **fields) for record in records(*given))


def counted(*given: Any, seen: list[int] = []) -> Iterator[Record]:  # noqa: B006  it remembers, as it should not
    seen.append(1)
    return (replace(record, day=len(seen)) for record in records(*given))


def test_a_good_source_passes_and_is_not_changed(ward: Path) -> None:
    before = (ward / "list.csv").read_bytes()
    assert len(check_source(WARD, ward, {"list.csv": ("file", "who")})) == 2
    assert (ward / "list.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": "My Ward"}, "lower-case letters"),
        ({"findings": ("flu",)}, "vocabulary"),
        ({"expects": ""}, "which versions it reads"),
        ({"folders": ("nih-chestxray14",)}, "called nih-chestxray14 is recognised"),
        ({"read": lambda *given: iter(())}, "a record for each image"),
        ({"read": counted}, "same records, in the same order"),
        ({"read": changed(image_id="ward:1")}, "image_id is there once"),
        ({"read": changed(source="other")}, "source of each record"),
        ({"read": changed(path="elsewhere/a.png")}, "name of the folder"),
        ({"read": changed(findings=("pneumonia",))}, "those that its collection lists"),
        ({"read": changed(finding=None)}, "as published"),
        ({"read": changed(patient_id="17")}, "issued the number"),
        ({"read": changed(age=1998.0)}, "Ages are years"),
        ({"read": changed(sex="w")}, "M, F or None"),
        ({"read": lambda *given: 1 / 0}, "ZeroDivisionError"),
    ],
)
def test_a_broken_source_is_caught(ward: Path, change: dict[str, Any], said: str) -> None:
    with pytest.raises(Broken, match=said):
        check_source(replace(WARD, **change), ward)


def test_a_source_that_does_not_stop_is_caught(ward: Path) -> None:
    def careless(folder: Path, name: str, options: object) -> Iterator[Record]:
        return records(folder, name, options) if (folder / "list.csv").exists() else iter(())

    def raw(folder: Path, name: str, options: object) -> Iterator[Record]:
        (folder / "list.csv").read_text()
        return records(folder, name, options)

    for read, found in ((careless, "nothing was said"), (raw, "FileNotFoundError")):
        with pytest.raises(Broken, match=f"list.csv.*{found}"):
            check_source(replace(WARD, read=read), ward, {"list.csv": ()})
    with pytest.raises(Broken, match="nothing was said"):
        check_stops(WARD, ward, "list.csv")  # which is there


# A network


class Net(nn.Sequential):
    def __init__(self, channels: int, classes: int, *more: nn.Module) -> None:
        super().__init__(*build_tiny(channels, classes), *more)


class Unused(Net):
    def __init__(self, channels: int, classes: int) -> None:
        super().__init__(channels, classes)
        self.forgotten = nn.Linear(1, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        for name, layer in self.named_children():
            images = images if name == "forgotten" else layer(images)
        return images


class Restless(Net):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits = super().forward(images)
        return logits + torch.rand_like(logits)


class Stubborn(Net):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if images.shape[-1] != 64:
            raise ValueError("64 pixels only")
        return super().forward(images)


def layer(name: str) -> Callable[[nn.Module, int], nn.Module]:
    return lambda network, size: network.get_submodule(name)


GOOD = Model(Net, layer("3"), 32)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"architecture": lambda channels, classes: Net(channels, 7)}, "a logit for each image and class"),
        ({"architecture": lambda channels, classes: 1}, "torch.nn.Module"),
        ({"architecture": Unused}, "every parameter.*forgotten.weight"),
        ({"architecture": Restless}, "Saved and loaded"),
        ({"architecture": Stubborn}, "takes images of 1 x 480 x 480.*64 pixels only"),
        ({"gradcam_layer": layer("8")}, "square map"),
        ({"gradcam_layer": layer("nowhere")}, "layer for Grad-CAM"),
        ({"gradcam_layer": layer("6")}, "7 x 7 or larger"),
    ],
)
def test_a_broken_network_is_caught(change: dict[str, Any], said: str) -> None:
    with pytest.raises(Broken, match=said):
        check_network(replace(GOOD, **change), with_onnx=False)


def test_a_good_network_passes() -> None:
    check_network(GOOD, with_onnx=False)


# An image step


def counting(image: np.ndarray, seen: list[int] = []) -> np.ndarray:  # noqa: B006  it remembers, as it should not
    seen.append(1)
    return np.full_like(image, len(seen))


def in_place(image: np.ndarray) -> np.ndarray:
    image[:] = 255 - image
    return image


def never(image: np.ndarray) -> np.ndarray:
    raise LeftOut("no")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda image: image / 255, "uint8"),
        (lambda image: image[1:], "same shape"),
        (lambda image: image.tolist(), "NumPy array"),
        (lambda image: image // (image.max() - image.min()) if image.any() else 1 / 0, "or raises LeftOut"),
        (lambda image: np.random.default_rng().integers(0, 255, image.shape).astype(np.uint8), "random numbers"),
        (counting, "whatever images came before"),
        (in_place, "does not change the image given"),
        (never, "leave out every image"),
    ],
)
def test_a_broken_image_step_is_caught(change: Callable[[np.ndarray], np.ndarray], said: str) -> None:
    with pytest.raises(Broken, match=said):
        check_image_step(change)


def test_a_good_image_step_passes() -> None:
    check_image_step(lambda image: 255 - image)


# An output


@pytest.mark.parametrize(
    "write",
    [partial(csv_table, paths=False), lambda bundle, results: json_lines(results, False)],
    ids=["csv", "json"],
)
def test_the_tables_of_cxrflow_keep_the_contract_of_an_output(write: Callable[..., Iterator[bytes]]) -> None:
    check_output(write)


@pytest.mark.parametrize(
    ("write", "said"),
    [
        (lambda bundle, results: [result.image for result in results], "yields bytes"),
        (lambda bundle, results: [str(result.scores["air"]).encode() for result in results], "takes 3 results"),
        (lambda bundle, results: [r.image.encode() for r in results if r.scores], "left out"),
        (
            lambda bundle, results: [repr(results).encode(), str(np.random.default_rng().random()).encode()],
            "time of day",
        ),
        (lambda bundle, results: [next(results).image.encode()], "something of every image|takes 0 results"),
    ],
)
def test_a_broken_output_is_caught(write: Callable[..., Any], said: str) -> None:
    with pytest.raises(Broken, match=said):
        check_output(write)


# A test of the audit

FIGURE = missing("nothing was measured")


def said(verdict: Any = UNTOLD, words: str = "Nothing was measured.", **more: Any) -> Callable[[Audited], Result]:
    given = {"figures": {"a": FIGURE}, "rows": (Rows("auroc", "nothing", {"a": FIGURE}),)} | more
    return lambda context: Result(verdict, words, **given)


TEST = AuditTest("mine", "Is it so?", Limit(0.5), lambda task: 1, "picture", said())


@pytest.fixture
def context(demo_params: Params, tmp_path: Path) -> Audited:
    return hospital(demo_params, tmp_path, np.arange(8) // 4, task=TASKS[0])


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        ({"name": "Mine!"}, "name"),
        ({"question": "It is so."}, "asks one question"),
        ({"claims": lambda task: 0}, "how many figures decide"),
        ({"run": lambda context: 1 / 0}, "has learned nothing.*ZeroDivisionError"),
        ({"run": said(verdict="fine")}, "A verdict is one of"),
        ({"run": said(words="nothing  measured")}, "whole sentences"),
        ({"run": said(words="The class air is best.")}, "display names"),
        ({"run": said(figures={"a": 0.5}, rows=())}, "Every figure is a Figure"),
        ({"run": said(rows=())}, "rows of the plot"),
        ({"run": said(rows=(Rows("bars", "nothing", {"a": FIGURE}),))}, "panel"),
        ({"run": said(rows=(Rows("auroc", "nothing", {"a": missing("other")}),))}, "same objects"),
    ],
)
def test_a_broken_audit_test_is_caught(context: Audited, change: dict[str, Any], broken: str) -> None:
    with pytest.raises(Broken, match=broken):
        check_audit_test(replace(TEST, **change), context)


def test_a_good_audit_test_passes(context: Audited) -> None:
    check_audit_test(TEST, context)
