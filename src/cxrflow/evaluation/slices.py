"""Slices: groups of failed test images that look alike to the network, named by what the records say of them.

The failed images are clustered by the network's features. A cluster is named by the trait (class, source, view, sex or
age) that most of its images share and with which the network fails more often than without it. All traits that could be
named are tested together, whether or not a cluster shares them, so the choice of clusters does not weaken the test
(Holm, Scand J Stat 1979; 6: 65-70).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.metrics import silhouette_score
from sklearn.preprocessing import StandardScaler

from cxrflow.evaluation.subgroups import traits
from cxrflow.statistics.intervals import proportion
from cxrflow.statistics.resampling import effective_groups, group_index
from cxrflow.statistics.scored import Scored

#: Fewest failed images that are clustered.
LEAST_FAILED = 16
#: Probability of naming any slice if the failures depend on no trait.
LEVEL = 0.05
#: Share of a cluster's images that have the trait it is named by.
_SHARED = 2 / 3
#: A trait is tested if this many groups have it, and as many do not.
_LEAST_GROUPS = 8
_MOST_CLUSTERS = 8
_COMPONENTS = 10
_SAMPLE = 2000  # images for the silhouette, whose time grows with their square


@dataclass(frozen=True)
class _Trait:
    """A trait, among all images or among those of a class.

    inside, beside  bool (n,): images with and without it
    """

    name: str
    inside: NDArray[np.bool_]
    beside: NDArray[np.bool_]


def slices(scored: Scored, features: NDArray[np.floating[Any]]) -> dict[str, Any]:
    """The slices of a test set on which the network fails; an image fails if its most probable class is not its own.

    features  float (failed images, k): the network's features of the failed images, in their order

    Returns ``failed`` (images), ``clusters``, ``compared`` (traits tested), ``unnamed`` (failed images in clusters
    without a name) and ``named``, a list, most failures first. Each slice has ``shared`` (the trait in words),
    ``failed`` (images of its clusters), ``error`` and ``error_beside`` (the share of failures among all test images
    with and without the trait, with intervals by group) and ``p`` (adjusted). With fewer than LEAST_FAILED failed
    images, ``clusters`` is 0.
    """
    failed, groups = scored.predicted != scored.truth, scored.groups
    clusters = _clusters(features, scored.bootstrap.seed)
    compared = _traits(scored)
    adjusted = _holm([_p_value(failed, trait, groups) for trait in compared])
    significant = [(p, trait) for p, trait in zip(adjusted, compared, strict=True) if p <= LEVEL]
    named: dict[str, dict[str, Any]] = {}
    unnamed = 0
    for cluster in range(clusters.max(initial=-1) + 1):
        members = np.flatnonzero(failed)[clusters == cluster]
        sharing = [(p, k) for k, (p, trait) in enumerate(significant) if trait.inside[members].mean() >= _SHARED]
        if not sharing:
            unnamed += len(members)
            continue
        p, at = min(sharing)
        trait = significant[at][1]
        found = named.setdefault(trait.name, {"shared": trait.name, "failed": 0, "p": p})
        found["failed"] += len(members)
        found["error"] = proportion(failed[trait.inside], groups[trait.inside])
        found["error_beside"] = proportion(failed[trait.beside], groups[trait.beside])
    return {
        "failed": int(failed.sum()),
        "clusters": int(clusters.max(initial=-1)) + 1,
        "compared": len(compared),
        "unnamed": unnamed,
        "named": sorted(named.values(), key=lambda each: (-each["failed"], each["p"])),
    }


def _clusters(features: NDArray[np.floating[Any]], seed: int) -> NDArray[np.int64]:
    """The cluster of each image, int (n,): k-means of the first principal components of the standardised features, with
    the number of clusters that gives the largest silhouette (Rousseeuw, J Comput Appl Math 1987; 20: 53-65). Empty if
    there are too few images."""
    if len(features) < LEAST_FAILED:
        return np.empty(0, np.int64)
    scaled = StandardScaler().fit_transform(features.astype(np.float64))
    if not scaled.any():
        return np.zeros(len(features), np.int64)
    points = PCA(min(_COMPONENTS, *scaled.shape), svd_solver="full").fit_transform(scaled)
    best, chosen = -1.0, np.zeros(len(points), np.int64)
    for count in range(2, min(_MOST_CLUSTERS, len(np.unique(points, axis=0)) - 1) + 1):
        found = KMeans(count, n_init=5, random_state=seed).fit_predict(points)
        score = silhouette_score(points, found, sample_size=min(_SAMPLE, len(points)), random_state=seed)
        if score > best:
            best, chosen = score, found.astype(np.int64)
    return chosen


def _traits(scored: Scored) -> list[_Trait]:
    """Every trait with enough groups, among all images and within each class; of several that are the same images, the
    first."""
    everywhere = np.ones(len(scored), np.bool_)
    classes = [(scored.task.names[name], scored.labels == name) for name in scored.task.order]
    found: dict[tuple[bytes, bytes], _Trait] = {}
    candidates = [(f"class {name}", inside, everywhere) for name, inside in classes]
    for title, values in traits(scored.table).items():
        for each in sorted(set(values.dropna())):
            inside = (values == each).to_numpy(bool)
            candidates.append((f"{title} {each}", inside, everywhere))
            candidates += [(f"{title} {each}, class {name}", inside & of, of) for name, of in classes]
    for name, inside, among in candidates:
        beside = among & ~inside
        if min(len(np.unique(scored.groups[side])) for side in (inside, beside)) >= _LEAST_GROUPS:
            found.setdefault((inside.tobytes(), beside.tobytes()), _Trait(name, inside, beside))
    return list(found.values())


def _p_value(failed: NDArray[np.bool_], trait: _Trait, groups: NDArray[Any]) -> float:
    """One-sided p-value of failing more often with a trait than without it.

    A score test: the variance of the difference of the two shares is the linearised between-group variance under equal
    shares; t has as many degrees of freedom as there are effective groups on the smaller side, less 1.
    """
    inside, beside = trait.inside, trait.beside
    among = inside | beside
    weights = inside[among] / inside.sum() - beside[among] / beside.sum()
    residuals = failed[among] - failed[among].mean()
    by_group = np.bincount(group_index(groups[among]), weights * residuals)
    count = len(by_group)
    error = np.sqrt(count / (count - 1) * (by_group**2).sum())
    if error == 0:
        return 1.0
    freedom = min(effective_groups(groups[inside]), effective_groups(groups[beside])) - 1
    return float(stats.t.sf((weights @ failed[among]) / error, max(freedom, 1)))


def _holm(p_values: list[float]) -> list[float]:
    """Holm's adjusted p-values."""
    order, adjusted, running = np.argsort(p_values, kind="stable"), [1.0] * len(p_values), 0.0
    for rank, at in enumerate(order):
        running = max(running, min((len(p_values) - rank) * p_values[at], 1.0))
        adjusted[at] = running
    return adjusted
