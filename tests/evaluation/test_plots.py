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
    return plots.confusion_panels(confusion(np.arange(k), np.arange(k), k), task, kind)


def curves(score, task, kind):
    """Of three classes or more the last one is absent."""
    k = len(task.order)
    case = score(task, np.arange(40) % max(k - 1, 2), np.random.default_rng(0).dirichlet(np.ones(k), 40), draws=10)
    test = {name: {"auroc": FIGURE if (case.labels == name).any() else missing("too few")} for name in task.order}
    point = {"sensitivity": FIGURE, "specificity": FIGURE, "ppv": missing("none called")}
    points = dict.fromkeys(("argmax", "specificity", "cost_ratio"), point)
    figures = {"test": test, "confusion": confusion(case.truth, case.predicted, k), "n": 40, "operating_points": points}
    return curve_plots.curve_panels(curves_of(case), figures, task, kind)


def reliability(score, task, kind):
    k = len(task.order)
    case = score(task, np.arange(40) % k, np.random.default_rng(0).dirichlet(np.ones(k), 40))
    return curve_plots.calibration_panels(calibration(case), abstention(case), k, kind)


def training(score, task, kind):
    return plots.training_curves(history(task), task, 2, kind)


def sources(score, task, kind):
    return plots.within_sources({"a": {"{}_vs_{}".format(*task.pairs[0]): FIGURE}}, FIGURE, FIGURE, task, kind)


def nothing(score, task, kind):
    return plots.within_sources({}, missing("none"), missing("none"), task, kind)


PICTURES = {each.__name__: each for each in (matrix, curves, reliability, training, sources, nothing)}


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
@pytest.mark.parametrize("name", ["matrix", "curves", "training"])
def test_every_class_has_its_name_and_its_colour(picture, request, asked, name):
    task = request.getfixturevalue(asked)
    svg = picture(name, task)
    shown, colours = " ".join(words(svg)), svg.decode().lower()
    for each in task.order:
        assert task.names[each] in shown
        assert name == "matrix" or task.colours[each].lower() in colours


def test_confusion_shows_counts_shares_and_empty_cells(task):
    truth, predicted = np.repeat([0, 0, 1], [1234, 766, 50]), np.repeat([0, 1, 1], [1234, 766, 50])
    shown = words(plots.confusion_panels(confusion(truth, predicted, 3), task))
    assert {"1,234", "766", "50", "0.62", "0.38", "0.94", "0.06", "–"} <= shown


@pytest.mark.parametrize(("asked", "least", "most"), [("two", 600, 760), ("four", 750, 930)])
def test_confusion_has_a_row_for_each_class_and_grows_with_them(picture, request, asked, least, most):
    task = request.getfixturevalue(asked)
    k, tree = len(task.order), ET.fromstring(picture("matrix", task))  # noqa: S314 (our own)
    texts = ["".join(node.itertext()).strip() for node in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert (texts.count("1"), texts.count("1.00")) == (k, 2 * k)  # counts, and shares by row and by column
    assert least < float(tree.get("width").removesuffix("pt")) < most


def test_roc_legend_gives_interval_or_reason(picture, four):
    shown = words(picture("curves", four))
    assert "pneumothorax: 0.88 (0.81 to 0.93)" in shown
    assert "pleural effusion: unknown (too few)" in shown


def test_training_names_the_epoch_kept(picture, two):
    assert "dashed line: epoch 3, the one kept (macro AUROC on val 0.825)" in words(picture("training", two))
    one_epoch = plots.training_curves(history(two, 1), two, None)
    assert not any("dashed" in word for word in words(one_epoch))


def test_sources_stand_beside_pooled_and_baseline(task):
    by_source = {"rsna": {"flu_vs_other": missing("only 1 group")}, "empty": {}, "a$b$": {"flu_vs_clear": FIGURE}}
    shown = words(plots.within_sources(by_source, FIGURE, Figure(0.78, 0.7, 0.9), task))
    assert {"0.88 (0.81 to 0.93)", "0.78 (0.70 to 0.90)", "rsna", "unknown (only 1 group)", "a$b$"} <= shown
    assert {"influenza vs other", "influenza vs clear"} <= shown
    assert "empty" not in shown
