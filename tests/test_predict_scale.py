"""The model of hours and gigabytes: its arithmetic, and the measured tables that it reads."""

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

PROJECT = Path(__file__).parents[1]


@pytest.fixture(name="scale", scope="module")
def imported() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(PROJECT / "benchmarks")
        yield importlib.import_module("predict_scale")
        for name in ("predict_scale", "images", "paper_order", "tables"):
            sys.modules.pop(name, None)


def test_hours_by_hand(scale: ModuleType) -> None:
    costs = scale.Costs(rows=(36, 0.001), read=(0.01, 0.02), prepare=(0.0, 0.1), near=(0.01, 1e-6), trained=10)
    of = scale.Collection("", 36_000, 2.0)
    one_epoch = scale.PARAMS.metadata.split.train * 36_000 / 3600  # hours at one image/s
    epochs = scale.PARAMS.training.epochs
    assert costs.hours(of, scale.Machine("", 2)) == pytest.approx(
        {
            "tables": 0.02,  # 36 s + 36 s
            "reading": 0.25,  # 50 ms an image on two cores
            "near repeats": 0.23,  # 10 ms + 36 ms
            "images": 1.0,
            "training": epochs * one_epoch / 10,
        }
    )
    more = costs.hours(of, scale.Machine("", 32, gpus=2))
    assert more["tables"] == pytest.approx(0.02)  # one process
    assert more["images"] == pytest.approx(1 / 16)
    assert more["training"] == pytest.approx(epochs * one_epoch / (2 * scale.OF_A_GPU))


def test_time_grows_with_images_and_that_of_near_repeats_with_their_square(scale: ModuleType) -> None:
    costs = scale.Costs(rows=(0, 0.001), read=(0.01, 0.02), prepare=(0.0, 0.1), near=(0, 1e-6), trained=10)
    few, many = (costs.hours(scale.Collection("", n, 1.0), scale.Machine("", 2)) for n in (1000, 3000))
    assert {step: round(many[step] / few[step], 6) for step in few} == {
        **dict.fromkeys(few, 3),
        "near repeats": 9,
    }


def test_gigabytes_by_hand(scale: ModuleType) -> None:
    found = scale.gigabytes(scale.Collection("", 1_000_000, 1.0))
    assert found["prepared images, with DVC's copy"] == pytest.approx(100.352)
    assert found["memory: near repeats"] == pytest.approx(9.216 + 2.048)


def test_the_documentation_has_the_costs(scale: ModuleType) -> None:
    costs = scale.costs_of((0.0, 0.0), (0.0, 0.0))
    assert 1e-5 < costs.rows[1] < 1e-3  # s a row
    assert 1e-3 < costs.near[0] < 0.1  # s an image
    assert costs.near[1] > 0
    assert costs.trained > 1
    assert scale.value("2,556 (1,780)") == 1780  # the processor time
    assert scale.value("17.6") == 17.6


def test_times_have_a_unit_that_suits_them(scale: ModuleType) -> None:
    assert [scale.shown(hours) for hours in (16.1, 2.06, 0.5, 0.02, 0.001)] == [
        "16 h",
        "2.1 h",
        "30 min",
        "1.2 min",
        "3.6 s",
    ]
