import xml.etree.ElementTree as ET

import pytest

from cxrflow.audit.plots import forest
from cxrflow.audit.verdicts import FOUND, UNTOLD, result
from cxrflow.statistics.intervals import missing

FIGURE = {"value": 0.71, "low": 0.62, "high": 0.79, "n": 90, "groups": 60}
TESTS = {
    "retraining": result("?", FOUND, "", macro_auroc={"without lungs": FIGURE, "lungs alone": missing("not done")}),
    "swaps": result("?", UNTOLD, "", towards={"exposure": {**FIGURE, "value": -0.02, "low": -0.1}}, flips={}),
}


def test_every_figure_stands_there_with_its_interval_or_reason() -> None:
    svg = forest(TESTS, {**FIGURE, "value": 0.9})
    words = {"".join(n.itertext()).strip() for n in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")}  # noqa: S314
    assert {"without lungs", "0.71 (0.62 to 0.79)", "not done", "the network, pooled", "exposure"} <= words
    assert any("-0.10" in word or "−0.10" in word for word in words)
    assert svg == forest(TESTS, {**FIGURE, "value": 0.9})
    assert "without a pixel" not in words


@pytest.mark.parametrize("tests", [{}, {"sanity": result("?", UNTOLD, "", SSIM=missing("flat"))}])
def test_a_picture_of_few_tests(tests: dict) -> None:
    assert forest(tests, missing("none"), "png").startswith(b"\x89PNG")
