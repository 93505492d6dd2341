"""The sentence at the top of the page, of planted networks: constant, random, inverted, source-reader, perfect."""

import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cxrflow.audit.audit import conclude
from cxrflow.audit.registry import TESTS
from cxrflow.audit.verdicts import Result
from cxrflow.audit.words import CLEAR, SIGNS
from cxrflow.audit.words import UNTOLD as NOT_KNOWN
from cxrflow.evaluation.differences import differences
from cxrflow.evaluation.learned import called_one_class, not_learned
from cxrflow.evaluation.metrics import evaluate
from cxrflow.params import Params
from cxrflow.report.answer import IN_PART, NO, UNTOLD, YES, Answer, answer
from cxrflow.report.page import write_report
from cxrflow.state import read_sealed, write_sealed
from cxrflow.statistics.figure import Figure, missing, to_json
from cxrflow.statistics.resampling import Bootstrap
from cxrflow.statistics.scored import Scored
from cxrflow.task import Task

N = 300
CALM = {"alarm": False, "verdicts": dict.fromkeys(SIGNS, 0) | {CLEAR: 7}, "tests": dict.fromkeys(TESTS)}
ALARM = CALM | {"alarm": True}
PRAISE = re.compile(r"It tells|better|well above|shows that|holds", re.IGNORECASE)


def planted(task: Task, kind: str) -> tuple[dict[str, Any], Scored]:
    """The figures of a network of the kind on images of three sources, each with 80 % of its images of one class."""
    rng, k = np.random.default_rng(3), len(task.order)
    source = rng.integers(0, k, N)
    truth = np.where(rng.random(N) < 0.8, source, rng.integers(0, k, N))
    of_source = 0.05 + 0.9 * np.eye(k)[source]
    scores = {
        "constant": np.tile([0.5, *[0.1] * (k - 1)], (N, 1)),
        "random": rng.random((N, k)),
        "inverted": 1.05 - np.eye(k)[truth] + 0.2 * rng.random((N, k)),
        "source-reader": of_source + 0.001 * rng.random((N, k)),
        "perfect": np.eye(k)[truth] + 0.05 + 0.2 * rng.random((N, k)),
    }[kind]
    columns = {"label": np.array(task.order)[truth], "source": [f"hospital {s}" for s in source]}
    table = pd.DataFrame(columns | {"group_id": [f"g{n}" for n in range(N)]})
    scored = Scored(task, table, scores / scores.sum(axis=1, keepdims=True), Bootstrap(200, 0))
    blind = Scored(task, table, of_source / of_source.sum(axis=1, keepdims=True), Bootstrap(200, 0))
    compared = differences(blind, scored, (None, None))["macro_auroc"]
    figures = evaluate(scored) | {
        "baseline": {"macro_auroc": compared["a"], "difference": compared["difference"]},
        "calibration": {"ece": 0.02, "ece_if_calibrated": {"p95": 0.05}},
        "test_set": {"overlap": None},
    }
    return figures, scored


def in_full(said: Answer) -> str:
    return " ".join([said.word, said.told, *said.against])


@pytest.mark.parametrize("classes", ["two_classes", "task", "four_classes"])
@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("constant", "it calls every image {first}; its macro AUROC, 0.50 (0.50 to 0.50), is not above chance"),
        ("random", "is not above chance, 0.50, with the whole interval"),
        ("inverted", "is below chance, 0.50"),
        ("source-reader", "is not above that of a table without a pixel"),
    ],
)
def test_a_network_that_has_learned_nothing_is_said_to_and_is_not_praised(
    kind: str, says: str, classes: str, request: pytest.FixtureRequest
) -> None:
    task: Task = request.getfixturevalue(classes)
    figures, _ = planted(task, kind)
    said = answer(figures, task, CALM, drawn=False)
    assert said.word == (UNTOLD if kind == "source-reader" else NO)
    assert said.told.startswith("This test set does not show that it tells ")
    assert says.format(first=task.names[task.order[0]]) in said.told
    assert not PRAISE.search(in_full(said).replace("does not show that it tells", ""))
    assert "every image" not in in_full(said) or kind == "constant"


@pytest.mark.parametrize("kind", ["constant", "random", "inverted", "source-reader", "perfect"])
def test_the_page_of_a_planted_network_clears_and_praises_it_only_if_it_has_learned(
    kind: str, results: Callable[[Task], Path], task: Task, demo_params: Params
) -> None:
    """Even if each test of the audit by itself clears it."""
    folder, (figures, scored) = results(task), planted(task, kind)
    written = folder / "evaluation" / "metrics.json"
    before = read_sealed(written, "write it")
    baseline = to_json(figures["baseline"]) | {"learned_from": "train"}
    kept = {name: to_json(figures[name]) for name in ("test", "by_source", "confusion", "calibration")}
    write_sealed(written, before | kept | {"baseline": baseline, "calibration": before["calibration"]})
    nothing = not_learned(figures["test"]["macro_auroc"], figures["baseline"]["difference"])
    audited = conclude({name: Result(CLEAR, "Words.", {}, ()) for name in TESTS}, scored.table, task, nothing)
    write_sealed(folder / "audit" / "audit.json", audited.to_json())
    page = html.unescape(write_report(demo_params, folder).read_text())
    (word, told) = re.findall(r'<p class="answer"><b>(.*?)</b> (.*?)</p>', page)[0]
    learned = kind == "perfect"
    assert word == (YES if learned else UNTOLD if kind == "source-reader" else NO)
    assert told.startswith(f"{'It' if learned else 'This test set does not show that it'} tells ")
    assert page.count('<span class="verdict no-shortcut-found">') == (len(TESTS) if learned else 0)
    assert page.count('<span class="verdict cannot-be-told">') == (0 if learned else len(TESTS))
    assert ("No test can clear a network that is not shown to have learned" in page) == (not learned)
    assert ("calls every image" in told) == (kind == "constant")
    assert "does better" not in page


@pytest.mark.parametrize("classes", ["two_classes", "task", "four_classes"])
def test_a_perfect_network_is_believed_until_something_speaks_against_it(
    classes: str, request: pytest.FixtureRequest
) -> None:
    task: Task = request.getfixturevalue(classes)
    figures, _ = planted(task, "perfect")
    said = answer(figures, task, CALM, drawn=False)
    assert (said.word, said.against) == (YES, [])
    assert "with a macro AUROC of 1.00 (0." in said.told
    assert all(f"{task.names[a]} from {task.names[b]} (in hospital " in said.told for a, b in task.pairs)
    for changed, audit, drawn, word, why in (
        ({}, ALARM, False, NO, "the audit found a shortcut"),
        ({}, CALM | {"verdicts": CALM["verdicts"] | {CLEAR: 0}}, False, IN_PART, "could rule out no shortcut"),
        ({}, CALM | {"verdicts": CALM["verdicts"] | {NOT_KNOWN: 2}}, False, IN_PART, "for 2 of the audit's 8 tests"),
        ({}, None, False, IN_PART, "the audit was not run on these images"),
        ({}, CALM, True, IN_PART, "these pictures are drawings"),
        ({"test_set": {"overlap": "Unknown."}}, CALM, False, IN_PART, "it may have seen some of these images"),
        ({"calibration": figures["calibration"] | {"ece": 0.06}}, CALM, False, IN_PART, "its probabilities are off"),
        ({"baseline": {"difference": missing("too few")}}, CALM, False, IN_PART, "table without a pixel (too few)"),
        ({"by_source": {"a": {}}}, CALM, False, IN_PART, "so the collection may give the class away"),
    ):
        other = answer(figures | changed, task, audit, drawn)
        assert other.word == word
        assert any(why in each for each in other.against)


def test_pairs_are_named_with_the_sources_in_which_they_are_told(task: Task) -> None:
    """One source tells the pair, one does not with the whole interval, one does not know."""
    first, second, third = task.order
    pair, other = f"{first}_vs_{second}", f"{first}_vs_{third}"
    figures, _ = planted(task, "perfect")
    figures["by_source"] = {
        "north": {pair: Figure(0.8, 0.7, 0.9, 100, 100)},
        "south": {pair: Figure(0.6, 0.49, 0.7, 100, 100), other: Figure(0.55, 0.5, 0.6, 100, 100)},
        "east": {pair: missing("too few groups")},
    }
    said = answer(figures, task, CALM, drawn=False)
    names = task.names
    assert said.word == IN_PART
    told = f"it tells {names[first]} from {names[second]} (in north), but this test set does not show it for"
    assert f"{told} {names[first]} from {names[third]}." in said.told
    assert f"no source of the test set has both {names[second]} and {names[third]}," in said.against[0]


def test_a_network_that_is_weak_or_turned_round_in_a_source_is_not_simply_believed(task: Task) -> None:
    figures, _ = planted(task, "perfect")
    keys = [f"{a}_vs_{b}" for a, b in task.pairs]
    good = {"north": dict.fromkeys(keys, Figure(0.9, 0.8, 0.95, 100, 100))}
    assert answer(figures | {"by_source": good}, task, CALM, drawn=False).word == YES
    weak = {"test": figures["test"] | {"macro_auroc": Figure(0.56, 0.55, 0.57)}}
    assert "its macro AUROC is low, below 0.7" in answer(figures | weak, task, CALM, drawn=False).against
    turned = good | {"south": dict.fromkeys(keys, Figure(0.2, 0.1, 0.3, 100, 100))}
    said = answer(figures | {"by_source": turned}, task, CALM, drawn=False)
    assert said.word == IN_PART
    assert sum("in south it ranks" in each for each in said.against) == len(keys)
    by_chance = {"north": dict.fromkeys(keys, Figure(0.6, 0.51, 0.69, 100, 100))}  # one in 40 does, of each
    assert "within no single source" in answer(figures | {"by_source": by_chance}, task, CALM, drawn=False).told


def test_a_network_that_is_worse_than_the_table_is_not_believed(task: Task) -> None:
    figures, _ = planted(task, "perfect")
    for gain, word in ((Figure(-0.1, -0.2, -0.01), NO), (Figure(0.02, -0.01, 0.05), UNTOLD)):
        changed = figures | {"baseline": figures["baseline"] | {"difference": gain}}
        assert answer(changed, task, CALM, drawn=False).word == word


def test_where_a_class_is_absent_it_cannot_be_told(task: Task) -> None:
    figures, scored = planted(task, "perfect")
    figures |= evaluate(scored.where(scored.labels != task.order[0]))
    said = answer(figures, task, None, drawn=False)
    assert said.word == UNTOLD
    assert f"cannot be measured (no {task.names[task.order[0]]} image in the set)" in said.told
    absent, a, b = (task.names[name] for name in task.order)
    assert f"{a} against {b}, AUROC 1.00" in said.told  # what is there is shown
    assert not any(absent in reason and "has both" in reason for reason in said.against)  # and gives nothing away


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ([[0, 10], [0, 90]], "it calls every image air"),
        ([[3, 27], [2, 68]], "it calls 95 % of the images air (70 % are)"),
        ([[0, 0], [0, 100]], None),  # they all are
        ([[5, 2], [1, 92]], None),  # and so are nearly all of these
        ([[40, 10], [12, 38]], None),
    ],
)
def test_it_is_named_when_nearly_all_images_are_called_one_class(
    counts: list[list[int]], said: str | None, two_classes: Task
) -> None:
    task = two_classes.model_copy(update={"names": {name: name for name in two_classes.order}})
    assert called_one_class(counts, task) == said
