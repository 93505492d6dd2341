"""Pictures: readable, the same each time, in the names and colours of the task, for two classes and for four."""

import io
import xml.etree.ElementTree as ET

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from cxrflow.evaluation import curve_plots, plots
from cxrflow.evaluation.calibration import abstention, calibration
from cxrflow.evaluation.curves import curves as curves_of
from cxrflow.evaluation.metrics import confusion
from cxrflow.statistics.figure import Figure, missing

FIGURE = Figure(0.876, 0.812, 0.931, 90, 60)


def words(svg):
    tree = ET.fromstring(svg)  # noqa: S314 (our own)
    return {"".join(node.itertext()).strip() for node in tree.iter("{http://www.w3.org/2000/svg}text")}


def history(task, epochs=3):
    frame = pd.DataFrame({"epoch": range(1, epochs + 1)})
    for name in ("train_loss", "val_loss", "val_macro_auroc"):
        frame[name] = np.linspace(0.9, 0.75, epochs)
    for name in task.order:
        frame[f"val_sensitivity_{name}"] = 0.5
        frame[f"val_ppv_{name}"] = np.nan
    return frame


def matrix(score, task, kind):
    k = len(task.order)
    return plots.confusion_panel(confusion(np.arange(k), np.arange(k), k), task, "counts", kind)


def curves(score, task, kind, name=None):
    """Of a class, by default the first; of three classes or more the last one is absent."""
    k = len(task.order)
    case = score(task, np.arange(40) % max(k - 1, 2), np.random.default_rng(0).dirichlet(np.ones(k), 40), draws=10)
    test = {name: {"auroc": FIGURE if (case.labels == name).any() else missing("too few")} for name in task.order}
    point = {"sensitivity": FIGURE, "specificity": FIGURE, "ppv": missing("none called")}
    points = dict.fromkeys(("argmax", "specificity", "cost_ratio"), point)
    figures = {"test": test, "confusion": confusion(case.truth, case.predicted, k), "n": 40, "operating_points": points}
    name = name or task.order[0]
    return curve_plots.curve_panel(curves_of(case)[name], figures, task, name, kind)


def reliability(score, task, kind):
    k = len(task.order)
    case = score(task, np.arange(40) % k, np.random.default_rng(0).dirichlet(np.ones(k), 40))
    return curve_plots.reliability_panel(calibration(case), k, kind)


def risk(score, task, kind):
    k = len(task.order)
    case = score(task, np.arange(40) % k, np.random.default_rng(0).dirichlet(np.ones(k), 40))
    return curve_plots.abstention_panel(abstention(case), kind)


def training(score, task, kind):
    return plots.training_panel(history(task), task, 2, "sensitivity", kind)


def sources(score, task, kind):
    return plots.within_sources({"a": {"{}_vs_{}".format(*task.pairs[0]): FIGURE}}, FIGURE, FIGURE, task, kind)


def nothing(score, task, kind):
    return plots.within_sources({}, missing("none"), missing("none"), task, kind)


PICTURES = {each.__name__: each for each in (matrix, curves, reliability, risk, training, sources, nothing)}


@pytest.fixture(scope="module")
def picture(score):
    """Draws a picture of PICTURES for a task as SVG, each once."""
    drawn = {}

    def draw(name, task):
        key = (name, task.order)
        if key not in drawn:
            drawn[key] = PICTURES[name](score, task, "svg")
        return drawn[key]

    return draw


@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_is_an_image_with_text(picture, four, name):
    assert words(picture(name, four))


@pytest.mark.parametrize("name", ["matrix", "curves"])
def test_a_picture_is_the_same_each_time_and_not_blank(picture, score, four, name):
    """All pictures are saved in one place, which sets what would differ from run to run: dates and identifiers."""
    assert picture(name, four) == PICTURES[name](score, four, "svg")
    with Image.open(io.BytesIO(PICTURES[name](score, four, "png"))) as image:
        assert min(image.size) > 100
        assert image.convert("L").getextrema()[0] < 100


@pytest.mark.parametrize("asked", ["two", "four"])
@pytest.mark.parametrize("name", ["matrix", "training"])
def test_every_class_has_its_name_and_its_colour(picture, request, asked, name):
    task = request.getfixturevalue(asked)
    svg = picture(name, task)
    shown, colours = " ".join(words(svg)), svg.decode().lower()
    for each in task.order:
        assert all(word in shown for word in task.names[each].split())  # a long name has several lines
        assert name == "matrix" or task.colours[each].lower() in colours


@pytest.mark.parametrize("asked", ["two", "four"])
def test_each_class_has_a_panel_of_its_own_curves(score, request, asked):
    task = request.getfixturevalue(asked)
    for each in task.order:
        svg = curves(score, task, "svg", each)
        titles, lower = " ".join(words(svg)), svg.decode().lower()
        assert [name for name in task.order if task.names[name] in titles] == [each]
        others = {task.colours[name].lower() for name in task.order} - {task.colours[each].lower()}
        assert not [colour for colour in others if colour in lower]


def test_confusion_shows_counts_shares_and_empty_cells(task):
    truth, predicted = np.repeat([0, 0, 1], [1234, 766, 50]), np.repeat([0, 1, 1], [1234, 766, 50])
    found = confusion(truth, predicted, 3)
    assert {"1,234", "766", "50"} <= words(plots.confusion_panel(found, task, "counts"))
    assert {"0.62", "0.38", "1.00", "–"} <= words(plots.confusion_panel(found, task, "by_row"))
    assert {"0.94", "0.06", "–"} <= words(plots.confusion_panel(found, task, "by_column"))


@pytest.mark.parametrize("name", ["matrix", "curves", "reliability", "risk", "training", "sources"])
def test_a_phone_shows_a_panel_whole_and_readable(picture, four, name):
    """At 360 pixels, 328 of them beside the margins, the words of 9.5 points are no smaller than two thirds of that."""
    width = float(ET.fromstring(picture(name, four)).get("width").removesuffix("pt")) * 96 / 72  # noqa: S314 (our own)
    assert 328 / width > 2 / 3


def test_the_counts_of_all_bins_stand_above_the_diagram(picture, score, four):
    k = len(four.order)
    case = score(four, np.arange(40) % k, np.random.default_rng(0).dirichlet(np.ones(k), 40))
    counts = [str(row["right"].n) for row in calibration(case)["bins"]]
    nodes = list(ET.fromstring(picture("reliability", four)).iter("{http://www.w3.org/2000/svg}text"))  # noqa: S314
    heights = {"".join(node.itertext()).strip(): float(node.get("y")) for node in nodes}
    assert len(counts) > 1
    assert max(heights[count] for count in counts) < heights["1.0"]


def test_roc_gives_interval_or_reason(score, four):
    assert "ROC, AUROC 0.88 (0.81 to 0.93)" in words(curves(score, four, "svg", four.order[0]))
    absent = words(curves(score, four, "svg", four.order[-1]))
    assert "ROC, AUROC unknown (too few)" in absent
    assert any(word.startswith("unknown (no ") for word in absent)


def test_training_marks_the_epoch_kept(two):
    dashed = [plots.training_panel(history(two), two, chosen, "ppv").count(b"stroke-dasharray") for chosen in (2, None)]
    assert dashed[0] > dashed[1] == 0
    assert {"train", "val"} <= words(plots.training_panel(history(two, 1), two, None, "loss"))


def test_sources_stand_beside_pooled_and_baseline(task):
    by_source = {"rsna": {"flu_vs_other": missing("only 1 group")}, "empty": {}, "a$b$": {"flu_vs_clear": FIGURE}}
    shown = words(plots.within_sources(by_source, FIGURE, Figure(0.78, 0.7, 0.9), task))
    assert {"0.88 (0.81 to 0.93)", "0.78 (0.70 to 0.90)", "rsna", "unknown (only 1 group)", "a$b$"} <= shown
    assert {"influenza vs other", "influenza vs clear"} <= shown
    assert "empty" not in shown
