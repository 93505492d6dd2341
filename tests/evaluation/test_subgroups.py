"""Parts of a test set, and what it cannot tell."""

import json

import numpy as np
import pandas as pd
import pytest

from cxrflow.evaluation.limits import cannot_tell, more_groups, unanswerable
from cxrflow.evaluation.metrics import evaluate
from cxrflow.evaluation.subgroups import subgroups
from cxrflow.records import CLASSES


def table(**columns: list) -> pd.DataFrame:
    n = len(columns["label"])
    rest = {
        "source": "a",
        "view": None,
        "sex": None,
        "age": np.nan,
        "day": np.nan,
        "group_id": [f"g{k}" for k in range(n)],
    }
    return pd.DataFrame(rest | columns)


SURE = {"covid": [0.8, 0.1, 0.1], "normal": [0.1, 0.8, 0.1], "pneumonia": [0.1, 0.1, 0.8]}


def test_parts_are_told_by_what_is_known() -> None:
    images = table(
        label=["covid", "covid", "covid", "normal", "pneumonia", "normal"],
        view=["PA", "AP Supine", None, "AP erect", "L", "pa"],
        sex=["F", "M", None, "F", "M", "F"],
        age=[17.9, 18, np.nan, 59.5, 80, 79],
        day=[3, 4, np.nan, 2, np.nan, np.nan],
        source=["b", "a", "a", "b", "a", "a"],
    )
    predicted = ["covid", "normal", "covid", "normal", "pneumonia", "covid"]
    parts = subgroups(images, np.array([SURE[name] for name in predicted]), 100, 0)
    counts = {name: {part: f["n"] for part, f in found.items()} for name, found in parts.items()}
    assert counts["by_collection"] == {"a": 4, "b": 2}
    assert counts["by_view"] == {"PA": 2, "AP": 2, "other": 1, "unknown": 1}
    assert counts["by_sex"] == {"F": 3, "M": 2, "unknown": 1}
    assert counts["by_age"] == {
        "under 18": 1, "18 to 39": 1, "40 to 59": 1, "60 to 79": 1, "80 and over": 1, "unknown": 1,
    }  # fmt: skip
    assert counts["by_day"] == {"day 0 to 3": 1, "day 4 to 7": 1, "unknown": 1}  # of COVID-19 alone
    assert parts["by_day"]["day 4 to 7"]["sensitivity"]["value"] == 0
    assert parts["by_collection"]["a"]["sensitivity"]["value"] == 0.5
    assert parts["by_collection"]["a"]["specificity"]["value"] == 0.5
    assert parts["by_view"]["PA"]["accuracy"]["value"] == 0.5
    assert parts["by_view"]["other"]["sensitivity"]["reason"] == "no covid image in the set"
    assert json.loads(json.dumps(parts, allow_nan=False)) == parts


def test_four_times_the_patients_halve_an_interval() -> None:
    assert more_groups({"value": 0.5, "low": 0.4, "high": 0.6}, 50) == 150
    assert more_groups({"value": 0.5, "low": 0.46, "high": 0.55}, 50) == 0
    assert more_groups({"value": None, "reason": "none"}, 50) is None
    # A proportion of 0.5 takes 1.96^2 / 4 / 0.05^2 = 384 patients, however many there are now.
    for n in (40, 100):
        half = 1.96 * 0.5 / np.sqrt(n)
        assert n + more_groups({"value": 0.5, "low": 0.5 - half, "high": 0.5 + half}, n) == pytest.approx(385, abs=1)


def held(counts: dict[tuple[str, str], int]) -> pd.DataFrame:
    rows = [(source, label) for (source, label), count in counts.items() for _ in range(count)]
    return table(source=[source for source, _ in rows], label=[label for _, label in rows])


def test_what_more_images_cannot_tell_is_named() -> None:
    said = unanswerable(held({("a", "covid"): 9, ("a", "normal"): 4, ("b", "normal"): 9, ("b", "pneumonia"): 9}))
    assert len(said) == 4
    assert "COVID-19 from normal or one hospital from another" in said[0]
    assert "(COVID-19: a; normal: b)" in said[0]  # four normal patients are too few to ask
    assert "COVID-19 from pneumonia" in said[1]
    assert "in b does so in another hospital" in said[2]
    assert said[3].startswith("Anything within a alone")


def test_a_collection_of_few_patients_is_named() -> None:
    counts = {(s, c): 5 for s in "ab" for c in CLASSES} | {("small", c): 4 for c in CLASSES}
    assert unanswerable(held(counts)) == ["Anything of small: it has fewer than 5 patients of every class."]


def test_nothing_is_said_where_two_collections_have_everything() -> None:
    assert unanswerable(held({(s, c): 5 for s in "ab" for c in ("covid", "normal", "pneumonia")})) == []
    assert unanswerable(held({("a", "covid"): 9, ("a", "normal"): 9}))[0].startswith("Anything of pneumonia")


def test_what_is_needed_names_kind_and_source() -> None:
    test = held({("a", "covid"): 12, ("a", "normal"): 12, ("b", "normal"): 12, ("b", "pneumonia"): 12})
    rng = np.random.default_rng(0)
    figures = evaluate(test, rng.dirichlet(np.ones(3), len(test)), 100, 0)
    unknown = {"value": None, "reason": "train it again"}
    figures["operating_points"] = {"specificity": {"sensitivity": unknown, "specificity": unknown}}
    found = cannot_tell(figures, test, test)
    rows = {row["figure"]: row for row in found["needed"]}
    sensitivity = rows["COVID-19 sensitivity"]["more"]
    width = figures["test"]["covid"]["sensitivity"]["high"] - figures["test"]["covid"]["sensitivity"]["low"]
    needed = int(np.ceil(12 * ((width / 0.1) ** 2 - 1)))
    assert sensitivity == [{"kind": "covid", "sources": ["a"], "groups": 12, "needed": needed}]
    assert [each["kind"] for each in rows["COVID-19 specificity"]["more"]] == ["normal", "pneumonia"]
    assert [(each["kind"], each["sources"], each["groups"]) for each in rows["pneumonia specificity"]["more"]] == [
        ("covid", ["a"], 12),
        ("normal", ["a", "b"], 24),
    ]
    pooled = [figures["test"][name] for name in ("macro_auroc", "accuracy")]
    pooled += [figures["test"][c][f] for c in CLASSES for f in ("auroc", "sensitivity", "specificity", "ppv")]
    assert [row["interval"] for row in found["needed"]][: len(pooled)] == [[f["low"], f["high"]] for f in pooled]
    within = rows["AUROC of COVID-19 against normal within a"]["more"]
    assert [(each["kind"], each["sources"], each["groups"]) for each in within] == [
        ("covid", ["a"], 12),
        ("normal", ["a"], 12),
    ]
    missing = rows["COVID-19 sensitivity at the wanted specificity"]
    assert missing["reason"] == "train it again"
    assert missing["more"][0]["needed"] is None
