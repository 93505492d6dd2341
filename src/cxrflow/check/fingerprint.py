"""The fingerprint of a study's data: what each source holds, and how closely class and source coincide.

Counted by the engine from the records of the metadata stage; the results are small, whatever the number of rows.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats.contingency import association

from cxrflow.engines import Engine
from cxrflow.evaluation.baseline import cross_fitted_baseline
from cxrflow.evaluation.metrics import macro_auroc
from cxrflow.evaluation.subgroups import traits
from cxrflow.metadata.build import FINGERPRINTS, Built
from cxrflow.metadata.counts import groups_of_classes, kept_of, reconciliation, shares, summary
from cxrflow.metadata.fingerprint import fingerprints, pictures
from cxrflow.metadata.groups import hashed_share
from cxrflow.metadata.overlap import collection_overlap
from cxrflow.statistics.figure import Figure, missing
from cxrflow.statistics.intervals import proportion
from cxrflow.statistics.resampling import Bootstrap
from cxrflow.statistics.scored import Scored
from cxrflow.task import Task

#: Shares of the images below the quantiles that are stated.
QUANTILES = (0.0, 0.05, 0.5, 0.95, 1.0)
#: Images from which the baseline without a pixel is fitted at most, whole groups of them.
_MOST_ROWS = 20_000
#: Resamples for the interval of that baseline.
_RESAMPLES = 200
#: Images of each source in which text is looked for, if only in a sample.
TEXT_SAMPLE = 40
_HELD = ["source", "label", "split", "group_id"]


def fingerprint(built: Built, task: Task, work: Path, text: dict[str, Figure] | None = None) -> dict[str, Any]:
    """What the data are, JSON-serialisable but for its figures.

    work  folder of the fingerprint cache, the one given to ``build_records``
    text  share of images with text burned in, by source, of ``text_in_sample``; None: of the records, if looked for
    ``rows``, ``kept``, ``groups``, ``near_repeats``: numbers, of all sources. ``shorter``: quantiles QUANTILES of the
    kept images' shorter side, in pixels. ``left_out``: reason -> rows.
    ``sources``: name -> ``rows`` listed, ``images`` kept, ``people`` known among them, images of ``unknown`` people,
    ``groups`` of linked people, ``children`` (images of children), ``views``, ``sexes`` and ``ages`` (word -> images),
    ``age``, ``width``, ``height`` and ``shorter`` side (quantiles QUANTILES of the images, or None if unknown),
    ``bits`` and ``formats`` (word -> images), ``repeated`` (images that occur again ``here`` or ``elsewhere``) and
    ``text`` (share of images with text burned in).
    ``classes``: the rows of ``counts.shares`` over all splits, class by source: images and groups.
    ``splits``: the same by side and class.
    ``cramers_v``: of class and source, over groups, in [0, 1]; None with one class or one source.
    ``baseline``: macro AUROC of the table without a pixel, cross-fitted outside the test split.
    """
    counts, fates = summary(built), reconciliation(built.table)
    left_out = fates[~fates.fate.str.startswith("kept: ")].groupby("fate")["rows"].sum().sort_values(ascending=False)
    by_class = _by_class(built)
    summed = by_class.groupby(["source", "label"], sort=False)[["images", "groups"]].sum().reset_index()
    repeats = collection_overlap(built.table, built.near)
    listed = {str(name): int(rows) for name, rows in fates.groupby("source", sort=False)["rows"].sum().items()}
    looked = _text_of_records(built) if text is None else text
    files = _files(built, work)
    people, traited, sizes = _people(built), _traits(built), _sizes(files)
    sources = {
        name: {
            "rows": rows,
            **people.get(name, dict.fromkeys(("images", "people", "unknown", "groups"), 0)),
            **traited.get(name, {"children": 0, "views": {}, "sexes": {}, "ages": {}, "age": None}),
            **sizes.get(name, dict.fromkeys(("width", "height", "shorter")) | {"bits": {}, "formats": {}}),
            "repeated": _repeated(repeats, name),
            "text": looked.get(name, missing("not looked for")),
        }
        for name, rows in listed.items()
    }
    return {
        "rows": counts["rows"],
        "kept": counts["kept"],
        "groups": counts["groups"],
        "near_repeats": counts["near_repeats"],
        "shorter": _quantiles(files.shorter.to_numpy(float)),
        "left_out": {str(reason): int(rows) for reason, rows in left_out.items()},
        "sources": sources,
        "classes": summed.to_dict("records"),
        "splits": groups_of_classes(built.table).sort_values(["split", "label"]).to_dict("records"),
        "cramers_v": cramers_v(by_class),
        "baseline": _baseline(built, task),
    }


def held(built: Built) -> pd.DataFrame:
    """What the kept images are of, a row for each different one: source, label, split, group_id."""
    return pd.DataFrame(kept_of(built.table).select(_HELD).distinct().to_pandas())


def cramers_v(by_class: pd.DataFrame) -> float | None:
    """How closely class and source coincide: 0, not at all, to 1, the source gives the class away; over groups, because
    the images of one person are not independent. None with one class or one source.

    by_class  columns source, label, groups
    Source: Cramér, Mathematical Methods of Statistics, 1946, section 21.9.
    """
    table = by_class.pivot_table("groups", "source", "label", "sum", fill_value=0).to_numpy()
    return None if min(table.shape) < 2 else float(association(table.astype(int), method="cramer"))


def text_in_sample(built: Built, engine: Engine, work: Path, seed: int = 0) -> dict[str, Figure]:
    """Share of images with text burned in, of a random sample of TEXT_SAMPLE kept images of each source.

    What is found is remembered in the fingerprint cache, for the metadata stage too.
    """
    random, chosen = np.random.default_rng(seed), {}
    for name, paths in _paths(built).items():
        chosen[name] = sorted(random.choice(paths, min(TEXT_SAMPLE, len(paths)), replace=False).tolist())
    every = [path for paths in chosen.values() for path in paths]
    found = fingerprints(built.root, every, engine, work / FINGERPRINTS, burned_in_text=True)
    looked = {name: [found[path].text_places for path in paths] for name, paths in chosen.items()}
    return {
        name: _share(np.array([count > 0 for count in counts if count is not None], dtype=bool))
        for name, counts in looked.items()
    }


def _share(yes: NDArray[np.bool_]) -> Figure:
    return proportion(yes, np.arange(len(yes)))


def _text_of_records(built: Built) -> dict[str, Figure]:
    kept = kept_of(built.table)
    looked = kept.filter(kept.text_places.notnull()).select("source", "group_id", places="text_places").to_pandas()
    return {
        str(name): proportion(rows.places.to_numpy() > 0, rows.group_id.to_numpy(str))
        for name, rows in looked.groupby("source")
    }


def _by_class(built: Built) -> pd.DataFrame:
    """Rows of ``counts.shares``; a group lies on one side of the split, so that its groups may be summed over them."""
    return shares(built.table).astype({"images": int, "groups": int})


def _people(built: Built) -> dict[str, dict[str, int]]:
    kept = kept_of(built.table)
    counted = kept.group_by("source").agg(
        images=kept.count(),
        people=kept.patient_id.nunique(),
        unknown=kept.patient_id.isnull().sum(),
        groups=kept.group.nunique(),
    )
    found = counted.to_pandas().set_index("source").astype(int)
    return {str(name): {str(key): int(value) for key, value in row.items()} for name, row in found.iterrows()}


def _traits(built: Built) -> dict[str, dict[str, Any]]:
    kept = kept_of(built.table)
    counted = kept.group_by(["source", "view", "sex", "age", "paediatric"]).agg(images=kept.count()).to_pandas()
    words = pd.DataFrame(traits(counted)).assign(images=counted.images, years=counted.age, child=counted.paediatric)
    words["child"] = words.child.astype(bool) | (words.years < 18)
    return {
        str(name): {
            "children": int(rows.images[rows.child].sum()),
            **{
                plural: {str(word): int(count) for word, count in rows.groupby(trait).images.sum().items()}
                for plural, trait in (("views", "view"), ("sexes", "sex"), ("ages", "age"))
            },
            "age": _quantiles(np.repeat(rows.years.to_numpy(float), rows.images.to_numpy(int))),
        }
        for name, rows in words.groupby("source")
    }


def _files(built: Built, work: Path) -> pd.DataFrame:
    """The kept images as their files were read: columns source, width, height, shorter, bits, format."""
    parts = pd.concat(list(_kept_files(built)), ignore_index=True)
    joined = parts.merge(pictures(work / FINGERPRINTS), on=["path", "content_hash"])
    return joined.assign(shorter=joined[["width", "height"]].min(axis=1))


def _sizes(files: pd.DataFrame) -> dict[str, dict[str, Any]]:
    return {
        str(name): {side: _quantiles(rows[side].to_numpy(float)) for side in ("width", "height", "shorter")}
        | {
            "bits": {f"{bits} bits": int(count) for bits, count in rows.bits.value_counts().sort_index().items()},
            "formats": {str(kind): int(count) for kind, count in rows.format.value_counts().items()},
        }
        for name, rows in files.groupby("source")
    }


def _kept_files(built: Built) -> Iterator[pd.DataFrame]:
    for batch in built.rows.read(built.name, ["source", "path", "content_hash", "left_out"]):
        rows = batch.to_pandas()
        yield rows[rows.left_out.isna()].drop(columns="left_out")


def _paths(built: Built) -> dict[str, NDArray[Any]]:
    kept = pd.concat(list(_kept_files(built)), ignore_index=True)
    return {str(name): rows.path.unique() for name, rows in kept.groupby("source", sort=False)}


def _quantiles(values: NDArray[np.float64]) -> list[float] | None:
    known = values[np.isfinite(values)]
    return np.quantile(known, QUANTILES).round(1).tolist() if len(known) else None


def _repeated(overlap: pd.DataFrame, source: str) -> dict[str, int]:
    """Images of a source that occur again, by ``collection_overlap``: in it, and (at most) in all others."""
    rows = overlap[overlap.collection == source]
    here = rows.other == source
    return {"here": int(rows.repeated[here].sum()), "elsewhere": int(rows.repeated[~here].sum())}


def _baseline(built: Built, task: Task) -> Figure:
    """Macro AUROC of the table without a pixel, outside the test split, of at most about _MOST_ROWS images."""
    kept = kept_of(built.table)
    columns = ["source", "view", "sex", "age", "label", "group_id"]
    table = pd.DataFrame(kept.filter(kept.split != "test").select(columns).to_pandas())
    if len(table) > _MOST_ROWS:
        part = table.group_id.map(lambda group: hashed_share("check", group))
        table = table[part < _MOST_ROWS / len(table)]
    table = table.sort_values(columns, ignore_index=True)  # the engine gives no order
    probabilities, reason = cross_fitted_baseline(table, task, seed=0)
    if probabilities is None:
        return missing(reason)
    return macro_auroc(Scored(task, table, probabilities, Bootstrap(_RESAMPLES, 0)))
