"""Within sources, all together: against scikit-learn for one source, by hand for two."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from cxrflow.statistics.figure import Figure, missing
from cxrflow.statistics.resampling import Bootstrap, too_few_groups
from cxrflow.statistics.scored import Scored
from cxrflow.statistics.within import stratified_auroc, within_sources
from cxrflow.task import Task

TASK = Task(
    classes={"other": ("mass",), "well": ("no finding",), "sick": ("pneumonia",)},
    positive="sick",
    names={"sick": "ill"},
)
PAIR = ("well", "sick")
NAMES = {"y": "well", "n": "sick", "o": "other"}


def rows(sources: str, well: str) -> pd.DataFrame:
    """One image per letter; ``well`` says y or n, or o for the other class."""
    groups = [f"g{k}" for k in range(len(sources))]
    return pd.DataFrame({"source": list(sources), "label": [NAMES[c] for c in well], "group_id": groups})


def within(table: pd.DataFrame, well: object, seed: int = 0, draws: int = 60) -> Figure:
    values = np.asarray(well, float)
    probabilities = np.stack([np.zeros_like(values), values, 1 - values], axis=1)
    return within_sources(Scored(TASK, table, probabilities, Bootstrap(draws, seed)), PAIR)


def test_two_sources_by_hand() -> None:
    """a: 1 well above 1 of 2 sick (1 of 2 pairs right); b: all 4 pairs right; 5 of 6 together. Between the sources all
    is wrong, and does not count; c has one class, and the third class is not asked."""
    table = rows("aaaabbbbcc", "yonnyynnyy")
    figure = within(table, [0.5, 0.0, 0.4, 0.6, 0.3, 0.31, 0.1, 0.2, 0.0, 0.0])
    assert figure.value == pytest.approx(5 / 6)
    assert (figure.n, figure.groups) == (7, 7)
    assert figure.counts == "3 well, 4 ill"
    assert 0 < figure.low < figure.value < figure.high < 1


@settings(max_examples=25)
@given(st.integers(0, 1000))
def test_one_source_is_the_plain_auroc(seed: int) -> None:
    random = np.random.default_rng(seed)
    truth = np.r_[True, False, random.random(30) < 0.4]
    values = np.round(random.random(32), 1)  # with ties
    figure = within(rows("a" * 32, "".join(np.where(truth, "y", "n"))), values)
    assert figure.value == pytest.approx(roc_auc_score(truth, values))
    assert 0 <= figure.low <= figure.value <= figure.high <= 1


@settings(max_examples=25)
@given(st.integers(0, 1000))
def test_what_tells_the_source_alone_changes_nothing(seed: int) -> None:
    random = np.random.default_rng(seed)
    source = random.integers(0, 3, 60)
    table = rows("".join("abc"[s] for s in source), "".join(random.choice(["y", "n"], 60)))
    values = random.random(60) / 10
    plain, moved = within(table, values), within(table, values + 0.3 * source)
    assert moved.value == pytest.approx(plain.value)
    assert moved.low == pytest.approx(plain.low)


def check_coverage(figures: list[Figure], truth: float) -> None:
    """Intervals hold the truth as often as they say, and are neither too narrow nor needlessly wide."""
    values, widths = [figure.value for figure in figures], [figure.high - figure.low for figure in figures]
    assert np.mean(values) == pytest.approx(truth, abs=0.015)
    assert np.mean([figure.low <= truth <= figure.high for figure in figures]) >= 0.91
    assert 0.9 < np.mean(widths) / (2 * 1.96 * np.std(values)) < 1.3


def test_the_interval_covers_a_known_truth() -> None:
    """Normal scores one and a half standard deviations up in each of two sources: AUROC 0.856."""
    table = rows("a" * 40 + "b" * 40, "yn" * 40)
    drawn = (np.random.default_rng(seed).normal(1.5 * (table.label == "well")) for seed in range(120))
    check_coverage([within(table, norm.cdf(scores), seed) for seed, scores in enumerate(drawn)], norm.cdf(1.5 / 2**0.5))


@pytest.mark.parametrize(("groups", "most", "alike", "area"), [(20, 4, 0.5, 0.7), (20, 8, 0.5, 0.9), (40, 8, 0.8, 0.9)])
def test_the_interval_covers_a_known_truth_though_patients_have_many_images(
    groups: int, most: int, alike: float, area: float
) -> None:
    """Two sources with as many patients of each class; a patient's images share a part of their scores. The width of
    the intervals against the spread of the values shows a wrong one in fewer draws than coverage alone."""
    figures, numbers = [], np.arange(4 * groups)
    for seed in range(80):
        random = np.random.default_rng(seed)
        index = np.repeat(numbers, random.integers(1, most + 1, len(numbers)))
        label = np.where(index % 2 == 0, "well", "sick")
        scores = np.sqrt(alike) * random.normal(size=len(numbers))[index]
        scores += np.sqrt(1 - alike) * random.normal(size=len(index))
        scores += np.sqrt(2) * norm.ppf(area) * (label == "well")
        table = pd.DataFrame({"source": np.where(index < 2 * groups, "a", "b"), "label": label})
        figures.append(within(table.assign(group_id=index.astype(str)), norm.cdf(scores / 3), seed))
    check_coverage(figures, area)


def test_what_cannot_be_computed_says_why() -> None:
    assert within(rows("ab", "yn"), [0.1, 0.2]) == missing("no source has both well and ill")
    one = rows("aa", "yn").assign(group_id="g")
    assert within(one, [0.1, 0.2]) == missing(too_few_groups(1, 2))


def test_weights_without_a_pair_in_any_stratum_have_no_auroc() -> None:
    scores, positive, strata = np.array([1.0, 0, 0, 1]), np.array([True, False] * 2), np.array(["a", "a", "b", "b"])
    weights = np.array([[1, 1, 1, 1], [1, 0, 0, 1], [0, 0, 2, 3]])
    assert np.array_equal(stratified_auroc(scores, positive, strata, weights), [0.5, np.nan, 0], equal_nan=True)
