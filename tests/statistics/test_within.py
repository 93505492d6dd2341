"""Within sources, all together: against scikit-learn for one source, by hand for two."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from cxrflow.statistics.within import within_sources

PAIR = ("normal", "pneumonia")


def rows(sources: str, normal: str) -> pd.DataFrame:
    """One image per letter; ``normal`` says y or n, or c for covid."""
    names = {"y": "normal", "n": "pneumonia", "c": "covid"}
    groups = [f"g{k}" for k in range(len(sources))]
    return pd.DataFrame({"source": list(sources), "label": [names[c] for c in normal], "group_id": groups})


def scored(normal: list[float]) -> np.ndarray:
    values = np.array(normal)
    return np.stack([np.zeros_like(values), values, 1 - values], axis=1)


def test_two_sources_by_hand() -> None:
    """a: 1 normal above 1 of 2 pneumonia (1 of 2 pairs right); b: all 4 pairs right; 5 of 6 together. Between the
    sources all is wrong, and does not count; c has one class."""
    table = rows("aaabbbbcc", "ynnyynnyy")
    figure = within_sources(table, scored([0.5, 0.4, 0.6, 0.3, 0.31, 0.1, 0.2, 0.0, 0.0]), PAIR, 100, 0)
    assert figure["value"] == pytest.approx(5 / 6)
    assert (figure["n"], figure["groups"]) == (7, 7)
    assert figure["counts"] == "3 normal, 4 pneumonia"
    assert 0 < figure["low"] < figure["value"] < figure["high"] < 1


@settings(max_examples=25)
@given(st.integers(0, 1000))
def test_one_source_is_the_plain_auroc(seed: int) -> None:
    random = np.random.default_rng(seed)
    truth = np.r_[True, False, random.random(30) < 0.4]
    values = np.round(random.random(32), 1)  # with ties
    table = rows("a" * 32, "".join(np.where(truth, "y", "n")))
    figure = within_sources(table, scored(values.tolist()), PAIR, 100, 0)
    assert figure["value"] == pytest.approx(roc_auc_score(truth, values))
    assert 0 <= figure["low"] <= figure["value"] <= figure["high"] <= 1


@settings(max_examples=25)
@given(st.integers(0, 1000))
def test_what_tells_the_source_alone_changes_nothing(seed: int) -> None:
    random = np.random.default_rng(seed)
    source = random.integers(0, 3, 60)
    table = rows("".join("abc"[s] for s in source), "".join(random.choice(["y", "n"], 60)))
    values = random.random(60) / 10
    plain = within_sources(table, scored(values.tolist()), PAIR, 100, 0)
    moved = within_sources(table, scored((values + 0.3 * source).tolist()), PAIR, 100, 0)
    assert moved["value"] == pytest.approx(plain["value"])
    assert moved["low"] == pytest.approx(plain["low"])


def test_the_interval_covers_a_known_truth() -> None:
    """Normal scores one and a half standard deviations up in each of two sources: AUROC 0.856; 150 draws."""
    truth, covered, values, widths = norm.cdf(1.5 / np.sqrt(2)), 0, [], []
    table = rows("a" * 40 + "b" * 40, "yn" * 40)
    for seed in range(150):
        drawn = norm.cdf(np.random.default_rng(seed).normal(1.5 * (table.label == "normal")))
        figure = within_sources(table, scored(drawn.tolist()), PAIR, 100, seed)
        covered += figure["low"] <= truth <= figure["high"]
        values.append(figure["value"])
        widths.append(figure["high"] - figure["low"])
    assert np.mean(values) == pytest.approx(truth, abs=0.01)
    assert covered / 150 >= 0.92
    assert 0.9 < np.mean(widths) / (2 * 1.96 * np.std(values)) < 1.3  # neither too narrow nor needlessly wide


@pytest.mark.parametrize(("groups", "most", "alike", "area"), [(20, 4, 0.5, 0.7), (20, 8, 0.5, 0.9), (40, 8, 0.8, 0.9)])
def test_the_interval_covers_a_known_truth_though_patients_have_many_images(
    groups: int, most: int, alike: float, area: float
) -> None:
    """Two sources with as many patients of each class; a patient's images share a part of their scores; 200 draws."""
    covered, numbers = 0, np.arange(4 * groups)
    for seed in range(200):
        random = np.random.default_rng(seed)
        index = np.repeat(numbers, random.integers(1, most + 1, len(numbers)))
        label = np.where(index % 2 == 0, "normal", "pneumonia")
        scores = np.sqrt(alike) * random.normal(size=len(numbers))[index]
        scores += np.sqrt(1 - alike) * random.normal(size=len(index))
        scores += np.sqrt(2) * norm.ppf(area) * (label == "normal")
        table = pd.DataFrame({"source": np.where(index < 2 * groups, "a", "b"), "label": label})
        table["group_id"] = index.astype(str)
        figure = within_sources(table, scored(norm.cdf(scores / 3).tolist()), PAIR, 100, seed)
        covered += figure["low"] <= area <= figure["high"]
    assert 0.92 <= covered / 200 <= 0.99


def test_what_cannot_be_computed_says_why() -> None:
    assert within_sources(rows("ab", "yn"), scored([0.1, 0.2]), PAIR, 100, 0) == {
        "value": None,
        "reason": "no source has both normal and pneumonia",
    }
    one = rows("aa", "yn").assign(group_id="g")
    assert within_sources(one, scored([0.1, 0.2]), PAIR, 100, 0)["reason"] == "all images are in one group"
