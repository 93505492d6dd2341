import xml.etree.ElementTree as ET

import pytest

from cxrflow.audit.plots import forest
from cxrflow.audit.verdicts import Result, Rows
from cxrflow.audit.words import FOUND, UNTOLD
from cxrflow.statistics.figure import Figure, missing

FIGURE, POOLED = Figure(0.71, 0.62, 0.79, 90, 60), Figure(0.9, 0.62, 0.91, 90, 60)
TRAINED = {"without lungs": FIGURE, "lungs alone": missing("not done")}
RESULTS = {
    "retraining": Result(FOUND, "", {}, (Rows("auroc", "trained again", TRAINED),)),
    "swaps": Result(UNTOLD, "", {}, (Rows("change", "towards", {"exposure": Figure(-0.02, -0.1, 0.79, 90, 60)}),)),
}


def texts(svg: bytes) -> list[ET.Element]:
    return list(ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"))  # noqa: S314


def test_every_figure_stands_there_with_its_interval_or_reason() -> None:
    svg = forest(RESULTS, POOLED)
    words = {"".join(text.itertext()).strip() for text in texts(svg)}
    titles = {"✗ trained again", "? towards"}
    assert {
        "without lungs",
        "0.71 (0.62 to 0.79)",
        "unknown (not done)",
        "the network, pooled",
        "exposure",
    } | titles <= words
    assert any("-0.10" in word or "−0.10" in word for word in words)
    assert svg == forest(RESULTS, POOLED)


def test_long_names_of_classes_make_room() -> None:
    name = "a very long name of a class vs another quite as long as this one"
    long = {"gap": Result(FOUND, "", {}, (Rows("change", "gap", {name: FIGURE}),))}

    def width(results: dict[str, Result]) -> float:
        return float(ET.fromstring(forest(results, POOLED)).attrib["width"].removesuffix("pt"))  # noqa: S314

    assert width(long) > 1.2 * width(RESULTS)


@pytest.mark.parametrize(
    "results", [{}, {"sanity": Result(UNTOLD, "", {}, (Rows("change", "heat", {"SSIM": missing("flat")}),))}]
)
def test_a_picture_of_few_tests(results: dict[str, Result]) -> None:
    assert forest(results, missing("none"), "png").startswith(b"\x89PNG")
