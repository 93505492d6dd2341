"""Coverage of the 95 % intervals of proportions and AUROC on simulated data; about 3 minutes.

    python benchmarks/intervals.py [draws]

Proportions: groups of 1 image, or of 1 to 8, from a beta-binomial with the given intra-class correlation. AUROC: scores
from two normal distributions whose distance gives the AUROC, with a component shared within each group.
"""

import sys

import numpy as np
from scipy import stats
from tables import table, track

from cxrflow.statistics.intervals import Question, aurocs, proportion
from cxrflow.statistics.resampling import Bootstrap

PROPORTIONS = [(12, 1, 0.0), (30, 1, 0.0), (100, 1, 0.0), (12, 8, 0.3), (30, 8, 0.3), (30, 8, 0.7), (100, 8, 0.3)]
SHARES = (0.1, 0.3, 0.5, 0.8, 0.9)
#: Groups with the finding, groups without it, maximum number of images in a group, intra-class correlation.
AUROCS = [(12, 40, 1, 0.0), (30, 60, 1, 0.0), (12, 40, 8, 0.5), (30, 60, 8, 0.5), (100, 200, 4, 0.5)]
AREAS = (0.6, 0.8, 0.9, 0.95)


def holds_share(rng: np.random.Generator, groups: int, most: int, correlation: float, p: float) -> bool:
    """Whether the interval of one simulated study holds the share ``p``."""
    index = np.repeat(np.arange(groups), rng.integers(1, most + 1, groups))
    of_group = np.full(groups, p)
    if correlation:
        scale = (1 - correlation) / correlation
        of_group = rng.beta(p * scale, (1 - p) * scale, groups)
    figure = proportion(rng.random(len(index)) < of_group[index], index)
    return figure.low <= p <= figure.high


def holds_area(rng: np.random.Generator, setting: tuple[int, int, int, float], area: float, resamples: int) -> bool:
    """Whether the interval of one simulated study holds the AUROC ``area``."""
    yes, no, most, correlation = setting
    index = np.repeat(np.arange(yes + no), rng.integers(1, most + 1, yes + no))
    own = np.sqrt(correlation) * rng.normal(size=yes + no)[index]
    positive = index < yes
    apart = np.sqrt(2) * stats.norm.ppf(area)
    scores = own + np.sqrt(1 - correlation) * rng.normal(size=len(index)) + apart * positive
    bootstrap = Bootstrap(resamples, int(rng.integers(2**31)))
    figure = aurocs({"": Question(scores, positive, "")}, index, bootstrap)[1]
    return figure.low <= area <= figure.high


def main(draws: int = 2000) -> None:
    """Print two tables of coverage, standard error sqrt(0.05 * 0.95 / draws); AUROC has a fifth of the draws."""
    rng = np.random.default_rng(0)
    first = ("groups", "images in a group", "correlation")
    rows = []
    for groups, most, correlation in track(PROPORTIONS, "proportions"):
        held = [np.mean([holds_share(rng, groups, most, correlation, p) for _ in range(draws)]) for p in SHARES]
        rows.append((groups, f"1 to {most}", correlation, *(f"{share:.3f}" for share in held)))
    table((*first, *(f"proportion {p}" for p in SHARES)), rows)
    rows = []
    for setting in track(AUROCS, "AUROC"):
        yes, no, most, correlation = setting
        held = [np.mean([holds_area(rng, setting, area, 200) for _ in range(max(draws // 5, 1))]) for area in AREAS]
        rows.append((f"{yes} + {no}", f"1 to {most}", correlation, *(f"{share:.3f}" for share in held)))
    table((*first, *(f"AUROC {a}" for a in AREAS)), rows)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
