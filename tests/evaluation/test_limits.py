"""What a test set cannot tell: how many patients are missing, and what no number of them would tell."""

import numpy as np
import pandas as pd
import pytest

from cxrflow.evaluation.limits import cannot_tell, more_groups, unanswerable
from cxrflow.evaluation.metrics import evaluate
from cxrflow.statistics.figure import Figure, missing


def test_four_times_the_patients_halve_an_interval() -> None:
    assert more_groups(Figure(0.5, 0.4, 0.6), 50) == 150
    assert more_groups(Figure(0.5, 0.46, 0.55), 50) == 0
    assert more_groups(missing("none"), 50) is None
    # A proportion of 0.5 takes 1.96^2 / 4 / 0.05^2 = 384 patients, however many there are now.
    for n in (40, 100):
        half = 1.96 * 0.5 / np.sqrt(n)
        assert n + more_groups(Figure(0.5, 0.5 - half, 0.5 + half), n) == pytest.approx(385, abs=1)


def held(counts: dict[tuple[str, str], int]) -> pd.DataFrame:
    rows = [(source, label) for (source, label), count in counts.items() for _ in range(count)]
    table = pd.DataFrame(rows, columns=["source", "label"])
    return table.assign(group_id=[f"g{k}" for k in range(len(table))], patient_id="p")


def test_what_more_images_cannot_tell_is_named(task) -> None:
    counts = {("a", "flu"): 9, ("a", "clear"): 4, ("b", "clear"): 9, ("b", "other"): 9}
    said = unanswerable(held(counts), task)
    assert len(said) == 4
    assert "influenza from clear or one hospital from another" in said[0]
    assert "(influenza: a; clear: b)" in said[0]  # four clear patients are too few to ask
    assert "influenza from other" in said[1]
    assert "in b, does so in another hospital" in said[2]
    assert said[3].startswith("Anything within a alone")


def test_a_collection_of_few_patients_is_named(any_task) -> None:
    counts = {(s, c): 5 for s in "ab" for c in any_task.order} | {("small", c): 4 for c in any_task.order}
    said = unanswerable(held(counts), any_task)
    assert said == ["Anything of small: it has fewer than 5 patients of every class."]


def test_nothing_is_said_where_two_collections_have_everything(any_task) -> None:
    assert unanswerable(held({(s, c): 5 for s in "ab" for c in any_task.order}), any_task) == []
    last = any_task.order[-1]
    without = held({("a", name): 9 for name in any_task.order[:-1]})
    assert unanswerable(without, any_task)[0].startswith(f"Anything of {any_task.names[last]}: no collection")


def test_what_is_needed_names_kind_and_source(task, score) -> None:
    test = held({("a", "flu"): 12, ("a", "clear"): 12, ("b", "clear"): 12, ("b", "other"): 12})
    probabilities = np.random.default_rng(0).dirichlet(np.ones(3), len(test))
    scored = score(task, task.numbers(test.label), probabilities, source=test.source.to_numpy())
    figures = evaluate(scored)
    unknown = missing("train it again")
    figures["operating_points"] = {"specificity": {"sensitivity": unknown, "specificity": unknown}}
    found = cannot_tell(figures, scored, test.assign(patient_id=[None] * 3 + ["p"] * 45))
    assert [sentence.partition(",")[0] for sentence in found["unknown_patients"]] == [
        "a: the patient of 3 of 24 images is not known; images of one person may lie on several sides of the split"
    ]
    rows = {row["figure"]: row for row in found["needed"]}
    sensitivity = figures["test"]["flu"]["sensitivity"]
    needed = int(np.ceil(12 * (((sensitivity.high - sensitivity.low) / 0.1) ** 2 - 1)))
    assert rows["influenza sensitivity"]["more"] == [{"kind": "flu", "sources": ["a"], "groups": 12, "needed": needed}]
    assert [each["kind"] for each in rows["influenza specificity"]["more"]] == ["clear", "other"]
    assert [(each["kind"], each["sources"], each["groups"]) for each in rows["other specificity"]["more"]] == [
        ("flu", ["a"], 12),
        ("clear", ["a", "b"], 24),
    ]
    pooled = [figures["test"][name] for name in ("macro_auroc", "accuracy")]
    pooled += [figures["test"][c][f] for c in task.order for f in ("auroc", "sensitivity", "specificity", "ppv")]
    assert [row["interval"] for row in found["needed"]][: len(pooled)] == [[f.low, f.high] for f in pooled]
    within = rows["AUROC of influenza against clear within a"]["more"]
    assert [(each["kind"], each["sources"], each["groups"]) for each in within] == [
        ("flu", ["a"], 12),
        ("clear", ["a"], 12),
    ]
    unanswered = rows["influenza sensitivity at the wanted specificity"]
    assert unanswered["reason"] == "train it again"
    assert unanswered["more"][0]["needed"] is None


def test_every_class_has_its_rows_whatever_their_number(any_task, random_case) -> None:
    scored = random_case(any_task)
    figures = evaluate(scored)
    point = figures["test"][any_task.positive]
    figures["operating_points"] = {"specificity": {key: point[key] for key in ("sensitivity", "specificity")}}
    rows = cannot_tell(figures, scored, scored.table.assign(patient_id="p"))["needed"]
    pairs = sum(len(of_source) for of_source in figures["by_source"].values())
    assert len(rows) == 2 + 4 * len(any_task.order) + 2 + pairs
    others = [name for name in any_task.order if name != any_task.positive]
    last = next(row for row in rows if row["figure"].endswith("specificity at the wanted specificity"))
    assert [each["kind"] for each in last["more"]] == others
