"""The gap between the pooled AUROC and that within a source, and the verdict on the pixel-free baseline."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from sklearn.metrics import roc_auc_score

from cxrflow.audit.pooled import baseline, baseline_verdict, gap, pooled_and_within
from cxrflow.audit.verdicts import FOUND, NOT_FOUND, UNTOLD
from cxrflow.records import CLASSES
from cxrflow.statistics.intervals import missing


def figure(value: float, half: float) -> dict:
    return {"value": value, "low": value - half, "high": value + half, "n": 90, "groups": 60}


@pytest.mark.parametrize(
    ("table", "difference", "verdict"),
    [
        (figure(0.84, 0.025), figure(0, 0.03), FOUND),
        (figure(0.84, 0.025), figure(-0.05, 0.06), FOUND),
        (figure(0.84, 0.025), figure(0.02, 0.02), FOUND),  # better, but by next to nothing
        (figure(0.75, 0.14), figure(0.2, 0.15), NOT_FOUND),  # the two intervals overlap, their difference is clear
        (figure(0.75, 0.14), figure(0.1, 0.15), UNTOLD),
        (figure(0.52, 0.05), figure(0.03, 0.01), NOT_FOUND),  # the table gives nothing away
        (figure(0.6, 0.1), figure(0, 0.02), UNTOLD),
        (figure(0.6, 0.1), missing("fewer than two classes in the set"), UNTOLD),
    ],
)
def test_a_table_that_does_as_well_is_a_shortcut(table: dict, difference: dict, verdict: str) -> None:
    assert baseline_verdict(table, difference) == verdict


@pytest.mark.parametrize(("skill", "verdict"), [(0.0, FOUND), (4.0, NOT_FOUND)])
def test_network_and_table_are_compared_on_the_same_patients(skill: float, verdict: str) -> None:
    """A network that says what the table says, and one that sees the disease, too. Alike on every patient, the two do
    not differ, whatever the width of either's interval."""
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 3, 90)
    table = pd.DataFrame({"label": [CLASSES[k] for k in labels], "group_id": np.arange(90)})
    hint = rng.normal(0, 1, (90, 3)) + 1.5 * np.eye(3)[labels]
    seen = hint + skill * np.eye(3)[labels] + rng.normal(0, 0.01, (90, 3))
    found = baseline(table, softmax(hint, axis=1), softmax(seen, axis=1), 300, 0)
    assert found["verdict"] == verdict
    figures = found["figures"]
    auroc = [
        np.mean([roc_auc_score(labels == c, p[:, c]) for c in range(3)]) for p in (softmax(hint, 1), softmax(seen, 1))
    ]
    assert figures["difference"]["value"] == pytest.approx(auroc[1] - auroc[0])
    assert figures["without_a_pixel"]["high"] - figures["without_a_pixel"]["low"] > 0.05
    if skill == 0:
        assert figures["difference"]["high"] - figures["difference"]["low"] < 0.02


def drawn(seed: int, by_hospital: float, by_disease: float, n: int = 400) -> tuple[pd.DataFrame, np.ndarray]:
    """Two hospitals, one mostly of COVID-19, the other mostly normal; scores follow hospital and disease."""
    rng = np.random.default_rng(seed)
    hospital = rng.integers(0, 2, n)
    ill = rng.random(n) < np.where(hospital == 1, 0.85, 0.15)
    score = by_hospital * hospital + by_disease * ill + rng.normal(0, 1, n)
    p = 1 / (1 + np.exp(-score))
    labels = np.where(ill, "covid", "normal")
    table = pd.DataFrame({"label": labels, "source": np.where(hospital == 1, "b", "a"), "group_id": np.arange(n)})
    return table, np.stack([p, 1 - p, np.zeros(n)], axis=1)


def test_figures_are_those_of_scikit_learn() -> None:
    table, probabilities = drawn(0, 1, 1)
    ill, score = (table.label == "covid").to_numpy(), probabilities[:, 0]
    groups, sources = table.group_id.to_numpy(), table.source.to_numpy(str)
    found = pooled_and_within(score, ill, sources, groups, 100, 0)
    assert found["pooled"]["value"] == pytest.approx(roc_auc_score(ill, score))
    pairs, areas = [], []
    for source in "ab":
        here = sources == source
        pairs.append(ill[here].sum() * (~ill[here]).sum())
        areas.append(roc_auc_score(ill[here], score[here]))
    assert found["within"]["value"] == pytest.approx(np.average(areas, weights=pairs))
    assert found["gap"]["value"] == pytest.approx(found["pooled"]["value"] - found["within"]["value"])


def test_a_network_that_reads_the_hospital_is_found_and_one_that_reads_disease_is_not() -> None:
    table, probabilities = drawn(1, 3, 0)
    reads_hospital = gap(table, probabilities, 200, 0)
    assert reads_hospital["verdict"] == FOUND
    pair = reads_hospital["figures"]["pairs"]["covid_vs_normal"]
    assert pair["within"]["low"] < 0.5 < pair["within"]["high"]
    table, probabilities = drawn(2, 0, 3)
    pair = gap(table, probabilities, 200, 0)["figures"]["pairs"]["covid_vs_normal"]
    assert pair["gap"]["low"] < 0.02
    assert pair["gap"]["high"] < 0.15


def test_intervals_of_the_gap_hold() -> None:
    """No gap where only disease counts and both hospitals score alike: it is covered in at least 46 of 50 draws."""
    held = 0
    for seed in range(50):
        table, probabilities = drawn(100 + seed, 0, 1.5, 150)
        found = gap(table, probabilities, 100, 0)["figures"]["pairs"]["covid_vs_normal"]["gap"]
        held += found["low"] <= 0 <= found["high"]
    assert held >= 46


def test_where_no_source_has_both_classes_nothing_is_told() -> None:
    table = pd.DataFrame({"label": ["covid", "normal"] * 10, "source": ["a", "b"] * 10, "group_id": range(20)})
    found = gap(table, np.random.default_rng(0).dirichlet(np.ones(3), 20), 100, 0)
    assert found["verdict"] == UNTOLD
    reasons = {pair["gap"]["reason"] for pair in found["figures"]["pairs"].values()}
    assert reasons == {"no source has both classes", "a class has no picture"}
    assert set(found["figures"]["pairs"]) == {f"{a}_vs_{b}" for i, a in enumerate(CLASSES) for b in CLASSES[i + 1 :]}
