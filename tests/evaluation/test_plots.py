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
from cxrflow.records import CLASSES
from cxrflow.statistics.intervals import missing

FIGURE = {"value": 0.876, "low": 0.812, "high": 0.931, "n": 90, "groups": 60}


def words(svg):
    tree = ET.fromstring(svg)  # noqa: S314 (our own)
    return {"".join(node.itertext()).strip() for node in tree.iter("{http://www.w3.org/2000/svg}text")}


def history(epochs=3):
    frame = pd.DataFrame({"epoch": range(1, epochs + 1)})
    for name in ("train_loss", "val_loss", "val_macro_auroc"):
        frame[name] = np.linspace(0.9, 0.75, epochs)
    for name in CLASSES:
        frame[f"val_sensitivity_{name}"] = 0.5
        frame[f"val_ppv_{name}"] = np.nan
    return frame


def drawn(kind="svg"):
    rng = np.random.default_rng(0)
    labels, probabilities = np.array(CLASSES[:2] * 15), rng.dirichlet(np.ones(3), 30)
    curves = curves_of(probabilities, labels, np.arange(30), 100, 0)
    figures = {"covid": FIGURE, "normal": FIGURE, "pneumonia": missing("too few")}
    point = {"sensitivity": FIGURE, "specificity": FIGURE, "ppv": missing("none called")}
    return curve_plots.curve_panels(curves, figures, dict.fromkeys(CLASSES, 0.3), {"argmax": point}, kind)


def reliability(kind="svg"):
    labels, probabilities = np.array(CLASSES * 10), np.random.default_rng(0).dirichlet(np.ones(3), 30)
    groups = np.arange(30)
    calibrated = calibration(probabilities, labels, groups, 100, 0)
    return curve_plots.calibration_panels(calibrated, abstention(probabilities, labels, groups), kind)


PLOTS = {
    "confusion": lambda kind: plots.confusion_panels(confusion(np.array([0, 0, 1]), np.array([0, 1, 1])), kind),
    "curves": drawn,
    "calibration": reliability,
    "training": lambda kind: plots.training_curves(history(), 2, kind),
    "one epoch": lambda kind: plots.training_curves(history(1), None, kind),
    "sources": lambda kind: plots.within_sources({"a": {"covid_vs_normal": FIGURE}}, FIGURE, FIGURE, kind),
    "nothing": lambda kind: plots.within_sources({}, missing("none"), missing("none"), kind),
}


@pytest.mark.parametrize("name", PLOTS)
def test_every_picture_is_an_image_with_text_the_same_each_time(name):
    svg = PLOTS[name]("svg")
    assert words(svg)
    assert svg == PLOTS[name]("svg")
    with Image.open(io.BytesIO(PLOTS[name]("png"))) as image:
        assert min(image.size) > 100
        assert image.convert("L").getextrema()[0] < 100


def test_confusion_shows_counts_shares_and_empty_cells():
    truth, predicted = np.repeat([0, 0, 1], [1234, 766, 50]), np.repeat([0, 1, 1], [1234, 766, 50])
    shown = words(plots.confusion_panels(confusion(truth, predicted)))
    assert {"1,234", "766", "50", "0.62", "0.38", "0.94", "0.06", "–"} <= shown


def test_roc_legend_gives_interval_or_reason():
    shown = words(drawn())
    assert "COVID-19: 0.88 (0.81 to 0.93)" in shown
    assert "pneumonia: too few" in shown


def test_training_names_the_epoch_kept():
    shown = words(plots.training_curves(history(), 2))
    assert "dashed line: epoch 2, the one kept (macro AUROC on val 0.825)" in shown
    assert not any("dashed" in word for word in words(plots.training_curves(history(), None)))


def test_sources_stand_beside_pooled_and_baseline():
    by_source = {"rsna": {"normal_vs_pneumonia": missing("all images are in one group")}, "empty": {}}
    shown = words(plots.within_sources(by_source, FIGURE, {**FIGURE, "value": 0.78, "low": 0.7, "high": 0.9}))
    assert {"0.88 (0.81 to 0.93)", "0.78 (0.70 to 0.90)", "rsna", "all images are in one group"} <= shown
    assert "empty" not in shown
