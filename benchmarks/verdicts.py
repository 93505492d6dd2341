"""How often each verdict of the audit is given, on simulated figures whose true effect is known; about 4 minutes.

    python benchmarks/verdicts.py [draws]

Four kinds of figure decide the audit's verdicts: means over pictures (test 5), means over pictures and those who donate
their surroundings (test 6), AUROCs of networks trained from several seeds (test 3), and differences of AUROCs from the
same resamples (tests 1, 2 and 4; simulated as test 4's). For each, the true effect is none, exactly the limit, or twice
the limit, and patients have one to three pictures. At no effect "shortcut found" is wrong; at the limit both verdicts
are; at twice the limit "no shortcut found" is. The second table draws whole audits whose figures all lie exactly at
their limits, where errors are most likely. Shares of draws with intervals that hold together, as the audit's do; in
brackets with single ones.
"""

import sys
from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import optimize, stats
from tables import table, track

from cxrflow.audit import gap, retraining, swaps
from cxrflow.audit.registry import TESTS
from cxrflow.audit.verdicts import Limit, simultaneous
from cxrflow.audit.words import CLEAR, FOUND
from cxrflow.statistics.figure import Figure
from cxrflow.statistics.intervals import Question, aurocs, clustered_mean, multiway_mean
from cxrflow.statistics.resampling import Bootstrap
from cxrflow.statistics.scored import Scored
from cxrflow.task import Task

TASK = Task.model_validate(
    {"classes": {"covid": ["pneumonia/viral/covid-19"], "normal": ["no finding"]}, "positive": "covid"}
)
#: Figures that decide the verdicts on a task of three classes, of which a task has three pairs.
CLAIMS = sum(test.claims(TASK) for test in TESTS.values()) + 2
GROUPS = (30, 113, 400)
RESAMPLES = 200
EFFECTS = {"no effect": 0, "at the limit": 1, "twice the limit": 2}

Draw = Callable[[np.random.Generator, int, float], Figure]


def mean_change(rng: np.random.Generator, groups: int, effect: float) -> Figure:
    """A change of a probability with a standard deviation of 0.12, half of it shared by a patient's pictures."""
    index = _pictures(rng, groups)
    noise = rng.normal(size=groups)[index] + rng.normal(size=len(index))
    return clustered_mean(effect + 0.12 / np.sqrt(2) * noise, index)


def change_by_donors(rng: np.random.Generator, groups: int, effect: float) -> Figure:
    """A change of the same size by what is taken from donors: half of the patients of each of three classes, at least
    ten. Its variance is, in quarters, the patient's, the donor's, that of the donor of the picture's own class, and the
    picture's."""
    donors = max(10, groups // 6)
    index = _pictures(rng, groups)
    own = rng.integers(0, 3, groups)[index]
    picture = np.repeat(np.arange(len(index)), 2)
    other = (own[picture] + np.tile([1, 2], len(index))) % 3
    of_other = donors * other + rng.integers(0, donors, len(picture))
    of_own = (donors * own + rng.integers(0, donors, len(index)))[picture]
    patient, donor = rng.normal(size=groups), rng.normal(size=3 * donors)
    noise = patient[index[picture]] + donor[of_other] - donor[of_own] + rng.normal(size=len(picture))
    return multiway_mean(effect + 0.06 * noise, index[picture], of_other, of_own)


def trained_again(rng: np.random.Generator, groups: int, effect: float) -> Figure:
    """Three networks whose AUROC is 0.5 + effect on average, with a standard deviation of 0.02 over seeds; a third of
    the patients is positive, and half of the scores' variance is shared by the networks."""
    index = _pictures(rng, groups)
    positive = index < groups // 3
    shared, figures = rng.normal(size=len(index)), []
    for _ in range(retraining.VARIANTS["without lungs"]):
        area = 0.5 + effect + rng.normal(0, 0.02)
        scores = (shared + rng.normal(size=len(index))) / np.sqrt(2) + np.sqrt(2) * stats.norm.ppf(area) * positive
        figures.append(aurocs({"": Question(scores, positive, "")}, index, _bootstrap(rng))[1])
    return retraining.over_seeds(figures)


def gap_of(rng: np.random.Generator, groups: int, effect: float) -> Figure:
    """Two hospitals, 80 and 20 % of whose patients are ill; AUROC 0.8 within them, and ``effect`` more pooled."""
    hospital, ill = rng.integers(0, 2, groups), rng.random(groups)
    ill = ill < np.where(hospital == 1, 0.8, 0.2)
    index = _pictures(rng, groups)
    apart = np.sqrt(2) * stats.norm.ppf(0.8)
    score = (apart * ill + _shift(effect) * hospital)[index] + rng.normal(size=len(index))
    p = stats.norm.cdf(score / 3)
    names = {"label": np.where(ill, "covid", "normal")[index], "source": hospital[index].astype(str)}
    table = pd.DataFrame(names | {"group_id": index.astype(str)})
    return gap.pooled_and_within(Scored(TASK, table, np.column_stack([p, 1 - p]), _bootstrap(rng)), *TASK.order)["gap"]


#: Name of each kind of figure, how it is drawn, and its limit, as a value and as an effect.
KINDS: dict[str, tuple[Draw, Limit, float, float]] = {
    "mean change (test 5)": (mean_change, swaps.LIMIT, 0.0, -1.0),
    "mean change by donors (test 6)": (change_by_donors, swaps.LIMIT, 0.0, -1.0),
    "AUROC (test 3)": (trained_again, retraining.LIMIT, 0.5, 0.0),
    "difference of AUROCs (tests 1, 2, 4)": (gap_of, gap.LIMIT, 0.0, -1.0),
}


def main(draws: int = 500) -> None:
    """Print both tables; the standard error of a share is at most sqrt(0.25 / draws)."""
    rng = np.random.default_rng(0)
    rows: dict[tuple[str, int], list[str]] = {(kind, groups): [] for kind in KINDS for groups in GROUPS}
    for kind, groups, effect in track([(*row, effect) for row in rows for effect in EFFECTS], "verdicts"):
        draw, limit, none, least = KINDS[kind]
        figures = [draw(rng, groups, EFFECTS[effect] * (limit.value - none)) for _ in range(draws)]
        together, alone = (
            [limit.judge(simultaneous(figure, claims, least)) for figure in figures] for claims in (CLAIMS, 1)
        )
        for verdict in (FOUND, CLEAR):
            rows[kind, groups].append(f"{together.count(verdict) / draws:.3f} ({alone.count(verdict) / draws:.2f})")
    columns = [f"{effect}: {said}" for effect in EFFECTS for said in ("found", "none")]
    table(("figure", "patients", *columns), [(*row, *shares) for row, shares in rows.items()])
    wrong = []
    for groups in track(GROUPS, "audits at the limits"):
        drawn = [[mean_change(rng, groups, swaps.LIMIT.value) for _ in range(CLAIMS)] for _ in range(draws)]
        shares = []
        for bad in ({FOUND}, {FOUND, CLEAR}):
            together, alone = (
                np.mean([any(swaps.LIMIT.judge(simultaneous(f, claims)) in bad for f in audit) for audit in drawn])
                for claims in (CLAIMS, 1)
            )
            shares.append(f"{together:.3f} ({alone:.2f})")
        wrong.append((groups, *shares))
    table((f"patients ({CLAIMS} figures)", "a shortcut found", "any wrong verdict"), wrong)


def _pictures(rng: np.random.Generator, groups: int) -> np.ndarray:
    return np.repeat(np.arange(groups), rng.choice([1, 2, 3], groups, p=[0.72, 0.2, 0.08]))


def _bootstrap(rng: np.random.Generator) -> Bootstrap:
    return Bootstrap(RESAMPLES, int(rng.integers(2**31)))


def _shift(effect: float) -> float:
    """How much higher the second hospital's scores are, so that the pooled AUROC exceeds 0.8 by ``effect``."""
    apart = np.sqrt(2) * stats.norm.ppf(0.8)
    ill, well = {1: 0.8, 0: 0.2}, {1: 0.2, 0: 0.8}

    def excess(shift: float) -> float:
        areas = [
            ill[a] * well[b] * stats.norm.cdf((apart + shift * (a - b)) / np.sqrt(2)) for a in (0, 1) for b in (0, 1)
        ]
        return float(sum(areas)) - 0.8 - effect

    return float(optimize.brentq(excess, 0, 5)) if effect else 0.0


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
