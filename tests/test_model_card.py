"""The card says what the run knows, counted by hand, and names what it does not."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cxrflow import model_card
from cxrflow.bundle import Bundle, Network
from cxrflow.evaluation.card import card_section
from cxrflow.model_card import (
    CARD,
    NOT_AUDITED,
    NOT_MEASURED,
    card,
    card_of,
    markdown_table,
    with_starts,
    with_verdicts,
)
from cxrflow.params import Params
from cxrflow.passport import MET, TOLD, Licence, Passport
from cxrflow.statistics.figure import Figure, missing
from cxrflow.task import Task

MITCHELL = (
    *("Model details", "Intended use", "Factors", "Metrics", "Evaluation data", "Training data"),
    *("Quantitative analyses", "Ethical considerations", "Caveats and recommendations"),
)


def described(task: Task, params: Params) -> Bundle:
    return Bundle(
        cxrflow="0",
        task=task,
        networks=(
            Network(
                model="resnet18",
                images=params.images,
                mean=0.5,
                std=0.2,
                temperature=1.25,
                epoch=7,
                validation={"macro_auroc": 0.875},
            ),
        ),
        sources={"a": 3},
        digests={"weights": "0123456789abcdef"},
    )


@pytest.fixture
def bundle(task: Task, demo_params: Params) -> Bundle:
    return described(task, demo_params)


@pytest.fixture
def records(task: Task) -> pd.DataFrame:
    first, second, _ = task.order
    return pd.DataFrame(
        {
            "source": ["a", "a", "a", "b|c"], "split": ["train", "train", "test", "train"],
            "label": [first, second, second, first], "group_id": ["g1", "g1", "g2", "g3"],
            "patient_id": ["p1", "p1", "p2", None],
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


def test_counts_people_and_sources_of_one_class(bundle, records, demo_params, task) -> None:
    text = card(bundle, records, demo_params.training)
    names = " | ".join(task.names[name] for name in task.order)
    assert f"| split | source | {names} | images | groups of patients |" in text
    assert "| train | a | 1 | 1 | 0 | 2 | 1 |" in text
    assert text.count("- b|c: the patient of 1 of 1 images is not known") == text.count("images is not known") == 1
    assert "| test | a | 0 | 1 | 0 | 1 | 1 |" in text
    assert r"| train | b\|c | 1 | 0 | 0 | 1 | 1 |" in text
    assert "| train | 50 (45 to 55) | 1 | F 2, unknown 1 | AP 1, PA 1, unknown 1 |" in text
    assert f"Sources with images of one class only: b|c: {task.names[task.order[0]]}." in text
    assert "Epoch 8 kept" in text
    assert "macro_auroc 0.875" in text
    assert bundle.purpose in text


def test_the_classes_are_those_of_the_bundle(two_classes, four_classes, demo_params) -> None:
    text = card(described(two_classes, demo_params))
    assert (
        "- Classes, by findings: clear (no finding); pneumothorax (pneumothorax). Positive class: pneumothorax." in text
    )
    assert "one probability for each of 2 classes" in text
    assert "Operating points for pneumothorax" in text
    weighted = demo_params.training.model_copy(update={"loss_weights": {"other": 2.5}, "positive_share": None})
    text = card(described(four_classes, demo_params), recipe=weighted)
    assert "other pneumonia (pneumonia). Positive class: bacterial." in text
    assert "Weights in the loss: other pneumonia 2.5, 1 for all other classes." in text
    assert "Share of each batch drawn from bacterial images: not set." in text
    plain = demo_params.training.model_copy(update={"loss_weights": {}, "positive_share": 0.25})
    text = card(described(four_classes, demo_params), recipe=plain)
    assert "Weights in the loss: 1 for all classes." in text
    assert "Share of each batch drawn from bacterial images: 0.25." in text


def test_no_class_of_the_default_task_is_in_the_template(task) -> None:
    template = Path(model_card.__file__).with_suffix(".md").read_text()
    words = "|".join(map(re.escape, {*task.order, *task.names.values()}))
    assert not re.findall(rf"\b(?:{words})\b", template, re.IGNORECASE)


def test_test_figures_take_the_place_kept_for_them(bundle, task, tmp_path: Path) -> None:
    figure = Figure(0.9, 0.8, 0.95, 5, 4)
    first, second, _ = task.order
    part = {"n": 3, "images": {task.positive: 2}, "accuracy": figure, "sensitivity": figure, "specificity": figure}
    point = dict.fromkeys(("sensitivity", "specificity", "ppv_at_prevalence", "npv_at_prevalence"), figure)
    of_class = dict.fromkeys(("sensitivity", "specificity", "ppv", "auroc"), figure)
    test = dict.fromkeys(task.order, of_class) | {"macro_auroc": figure, "accuracy": figure}
    test[first] = of_class | {"ppv": missing("no image was called it")}
    section = card_section(
        {
            "test": test, "n": 5, "groups": 4, "baseline": {"macro_auroc": figure}, "test_set": {"overlap": None},
            "by_source": {"a": {f"{first}_vs_{second}": figure}, "b": {}},
            "by_collection": {}, "by_view": {"PA": part | {"auroc": figure}}, "by_sex": {}, "by_age": {}, "by_day": {},
            "operating_points": {"cost_ratio": point | {"wanted": 10, "threshold": 0.25, "prevalence": 0.3}},
            "prevalence": 0.02,
            "calibration": {"ece": 0.05, "ece_if_calibrated": {"mean": 0.03, "p95": 0.04}, "brier": figure},
            "far": {"share": 0.02, "all": figure, "by_source": {"a": figure}},
            "prediction_sets": {"wanted": 0.9, "coverage": dict.fromkeys(task.order, figure)},
            "cannot_tell": {"unanswerable": ["Anything of it."], "unknown_patients": ["a: the patient of 1 of 3."]},
        },
        task,
        "the split *test*",
    )  # fmt: skip
    (tmp_path / CARD).write_text("first\n" + card(bundle))
    text = card_of(tmp_path, bundle)
    assert text.startswith("first")
    assert text.count(NOT_MEASURED) == 1
    assert "**Patients not known:** a: the patient of 1 of 3." in section
    assert section.startswith("On the split *test*: 5 images of 4 groups")
    assert "unknown (no image was called it)" in section
    said, names = "0.900 (0.800 to 0.950)", task.names
    assert f"| a | {names[first]} vs {names[second]} | {said} |" in section
    assert f"| view: PA | 3 | 2 | {said} | {said} | {said} | {said} |" in section
    assert "| PPV at 0.02 | NPV at 0.02 |" in section
    assert f"| cost_ratio 10, for a prevalence of 0.3 | 0.250 | {said} |" in section
    assert (
        "expected calibration error 0.050 (if calibrated, 0.030 on average and up to 0.040 19 times in 20)" in section
    )
    assert f"0.9 wanted in each class: {names[first]} {said}, {names[second]}" in section
    assert "- Anything of it." in section
    assert card_of(tmp_path / "nowhere", bundle) == card(bundle)


def test_the_audits_verdicts_take_the_place_kept_for_them(bundle) -> None:
    tests = {"swaps": {"question": "Do markers move it?", "verdict": "shortcut found", "words": "By 0.1|0.2."}}
    text = with_verdicts(card(bundle), {"tests": tests})
    assert card(bundle).count(NOT_AUDITED) == 1
    assert NOT_AUDITED not in text
    assert r"| Do markers move it? | shortcut found | By 0.1\|0.2. |" in text


def test_a_cell_cannot_break_its_table() -> None:
    cell = "a|b\nc <script> 1 < 2"
    assert markdown_table(["x"], [[cell]]).splitlines() == ["| x |", "| --- |", r"| a\|b c &lt;script> 1 < 2 |"]


def test_passports_are_in_the_card_and_get_their_figures(bundle: Bundle) -> None:
    licence = Licence(name="cc-by-nc-4.0", research=True, commercial=False, share_alike=False)
    start = Passport(name="a|b", origin="u", licence=licence, trained_on=("NIH",), unverified="the licence")
    (network,) = bundle.networks
    began = bundle.model_copy(update={"networks": (network.model_copy(update={"start": start}), network)})
    text = card(began)
    assert r"| Network 1 | weights | a\|b |" in text
    assert "|  | licence | cc-by-nc-4.0: research yes, commercial use no, share-alike no |" in text
    assert "|  | not checked against the original | the licence |" in text
    assert "| Network 2 | weights | random; they have seen no image |" in text
    assert f"|  | {MET} | not counted yet |" in text
    met = ["nih: 2 images of 1 group", "none"]
    counted = with_starts(text, began, met)
    assert f"|  | {MET} | nih: 2 images of 1 group |" in counted
    told = with_starts(counted, began, met, ["0.70 (0.60 to 0.80)", None])
    assert f"|  | {TOLD} | 0.70 (0.60 to 0.80) |" in told
    assert "not counted yet" not in told
