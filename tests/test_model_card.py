"""The card says what the run knows, counted by hand, and names what it does not."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cxrflow.bundle import Bundle
from cxrflow.evaluation.card import card_section
from cxrflow.model_card import CARD, NOT_AUDITED, NOT_MEASURED, card, card_of, markdown_table, with_verdicts
from cxrflow.params import Params

MITCHELL = (
    *("Model details", "Intended use", "Factors", "Metrics", "Evaluation data", "Training data"),
    *("Quantitative analyses", "Ethical considerations", "Caveats and recommendations"),
)


@pytest.fixture
def bundle(demo_params: Params) -> Bundle:
    return Bundle(
        cxrflow="0", model="resnet18", classes=("covid", "normal", "pneumonia"), images=demo_params.images, mean=0.5,
        std=0.2, temperature=1.25, sources={"a": 3}, epoch=7, validation={"macro_auroc": 0.875},
        digests={"weights": "0123456789abcdef"},
    )  # fmt: skip


@pytest.fixture
def records() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "source": ["a", "a", "a", "b|c"], "split": ["train", "train", "test", "train"],
            "label": ["covid", "normal", "normal", "covid"], "group_id": ["g1", "g1", "g2", "g3"],
            "age": [40, 60, np.nan, np.nan], "sex": ["F", None, "M", "F"], "view": ["AP", "PA", "PA", None],
        }
    )  # fmt: skip


def test_every_field_and_every_item_is_there_once(bundle, records, demo_params) -> None:
    for text in (card(bundle, records, demo_params.training), card(bundle)):
        for field in MITCHELL:
            assert text.count(f"\n## {field}\n") == 1
        claim = text.split("## CLAIM checklist")[1]
        answered, not_answered = claim.split("Not answered")
        items = [number for row in re.findall(r"^\| ([\d, to]+) ", answered, re.MULTILINE) for number in numbers(row)]
        items += [n for found in re.findall(r"(?:\d+ to \d+|\d+)", not_answered) for n in numbers(found)]
        assert sorted(items) == list(range(1, 43))


def numbers(text: str) -> list[int]:
    ranges = [re.findall(r"\d+", part) for part in text.split(",")]
    return [n for r in ranges for n in range(int(r[0]), int(r[-1]) + 1)]


def test_counts_people_and_sources_of_one_class(bundle, records, demo_params) -> None:
    text = card(bundle, records, demo_params.training)
    assert "| train | a | 1 | 1 | 0 | 2 | 1 |" in text
    assert "| test | a | 0 | 1 | 0 | 1 | 1 |" in text
    assert r"| train | b\|c | 1 | 0 | 0 | 1 | 1 |" in text
    assert "| train | 50 (45 to 55) | 1 | F 2, unknown 1 | AP 1, PA 1, unknown 1 |" in text
    assert "Sources of one class alone: b|c: covid." in text
    assert "Epoch 7 kept" in text
    assert "macro_auroc 0.875" in text
    assert bundle.purpose in text


def test_test_figures_take_the_place_kept_for_them(bundle, tmp_path: Path) -> None:
    figure = {"value": 0.9, "low": 0.8, "high": 0.95, "n": 5, "groups": 4}
    part = {"n": 3, "images": {"covid": 2}, "accuracy": figure, "sensitivity": figure, "specificity": figure}
    point = dict.fromkeys(("sensitivity", "specificity", "ppv_at_prevalence", "npv_at_prevalence"), figure)
    of_class = dict.fromkeys(("sensitivity", "specificity", "ppv", "auroc"), figure)
    test = dict.fromkeys(("covid", "normal", "pneumonia"), of_class) | {"macro_auroc": figure, "accuracy": figure}
    test["covid"] = of_class | {"ppv": {"value": None, "reason": "no image was called covid"}}
    section = card_section(
        {
            "test": test, "n": 5, "groups": 4, "baseline": {"macro_auroc": figure}, "test_set": {"overlap": None},
            "by_source": {"a": {"covid_vs_normal": figure}, "b": {}},
            "by_collection": {}, "by_view": {"PA": part | {"auroc": figure}}, "by_sex": {}, "by_age": {}, "by_day": {},
            "operating_points": {"cost_ratio": point | {"wanted": 10, "threshold": 0.25, "prevalence": 0.3}},
            "prevalence": 0.02,
            "calibration": {"ece": 0.05, "ece_if_calibrated": {"mean": 0.03, "p95": 0.04}, "brier": figure},
            "prediction_sets": {"wanted": 0.9, "coverage": dict.fromkeys(("covid", "normal", "pneumonia"), figure)},
            "cannot_tell": {"unanswerable": ["Anything of covid."]},
        },
        "the split *test*",
    )  # fmt: skip
    (tmp_path / CARD).write_text("first\n" + card(bundle))
    text = card_of(tmp_path, bundle)
    assert text.startswith("first")
    assert text.count(NOT_MEASURED) == 1
    assert section.startswith("On the split *test*: 5 images of 4 groups")
    assert "none: no image was called covid" in section
    assert "| a | covid vs normal | 0.900 (0.800 to 0.950) |" in section
    said = "0.900 (0.800 to 0.950)"
    assert f"| view: PA | 3 | 2 | {said} | {said} | {said} | {said} |" in section
    assert "| PPV at 0.02 | NPV at 0.02 |" in section
    assert f"| cost_ratio 10, for a prevalence of 0.3 | 0.250 | {said} |" in section
    assert (
        "expected calibration error 0.050 (if calibrated, 0.030 on average and up to 0.040 19 times in 20)" in section
    )
    assert f"0.9 wanted in each class: covid {said}, normal" in section
    assert "- Anything of covid." in section
    assert card_of(tmp_path / "nowhere", bundle) == card(bundle)


def test_the_audits_verdicts_take_the_place_kept_for_them(bundle) -> None:
    tests = {"swaps": {"question": "Do markers move it?", "verdict": "shortcut found", "words": "By 0.1|0.2."}}
    text = with_verdicts(card(bundle), {"tests": tests})
    assert card(bundle).count(NOT_AUDITED) == 1
    assert NOT_AUDITED not in text
    assert r"| Do markers move it? | shortcut found | By 0.1\|0.2. |" in text


def test_a_cell_cannot_break_its_table() -> None:
    assert markdown_table(["x"], [["a|b\nc"]]).splitlines() == ["| x |", "| --- |", r"| a\|b c |"]
