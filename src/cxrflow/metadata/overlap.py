"""Images and patients that collections have in common, as a table and as a figure."""

import io
from typing import Any

import ibis
import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.markup import escape
from rich.table import Table

from cxrflow.metadata import reasons
from cxrflow.metadata.groups import components
from cxrflow.terminal import console

#: Rows left out for these reasons still count as images of their collection.
_OFFERED = (reasons.PAEDIATRIC, reasons.SAME_FILE, reasons.SAME_URL, reasons.CONFLICT)
COLUMNS = (
    *("collection", "other", "images", "same_file", "near", "same_url", "repeated", "other_label"),
    *("patients", "shared_patients"),
)
#: How an image is recognised, surest sign first.
_SIGNS = ("same_file", "near", "same_url")
_TITLE = "Images and patients in several collections, with images that are left out as repeats or children"
_SHADES = ("#F7F9FB", "#8FB0CC", "#1F4E79")
_STYLE = {"svg.fonttype": "none", "svg.hashsalt": "cxrflow", "font.size": 9.5, "text.color": "#2B2F33"}


def collection_overlap(records: Any, near: NDArray[np.int64]) -> pd.DataFrame:
    """Images and patients shared by each ordered pair of collections, including a collection with itself: one row per
    pair.

    records  Ibis table: columns of records.py, and position, 0 to n - 1
    near     near repeats among them, positions (pairs, 2)
    The images of a collection are its rows that are kept, or left out as repeats or as children.
    Columns:
    collection, other  in the order in which metadata reads them
    images             number of images of ``collection``
    same_file          of these, those with the same bytes as an image of ``other``
    near               of the rest, those that are near repeats (near.py), directly or through a chain
    same_url           of the rest, those with the same URL as an image of ``other`` (a page may show several images); 0
                       within a collection
    repeated           sum of these three; within a collection, number of images that occur more than once
    other_label        of same_file and near, those with another label in ``other``
    patients           number of known patients of ``collection``
    shared_patients    of these, those that are also in ``other`` (within a collection: all)
    """
    rows = _with_pictures(records, near)
    rows = rows.mutate(page=rows.url.re_replace(reasons.URL_ENDS, ""))
    offered = rows.filter(rows.left_out.isnull() | rows.left_out.isin(_OFFERED))
    repeated = _repeated(offered)
    people = offered.filter(offered.patient_id.notnull()).select("source", "patient_id").distinct()
    there = people.select(other="source", person="patient_id")
    both = people.join(there, [("patient_id", "person")])
    shared = both.group_by(["source", "other"]).agg(patients=both.count()).to_pandas()
    shared = shared.set_index(["source", "other"]).patients.to_dict()
    images = offered.source.value_counts(name="images").to_pandas().set_index("source").images.to_dict()
    order = records.group_by("source").agg(first=records.position.min()).to_pandas().sort_values("first").source
    none = dict.fromkeys((*_SIGNS, "other_label"), 0)
    table = [
        {"collection": name, "other": other, "images": images.get(name, 0)}
        | (counts := repeated.get((name, other), none))
        | {"repeated": counts["same_file"] + counts["near"] + counts["same_url"]}
        | {"patients": shared.get((name, name), 0), "shared_patients": shared.get((name, other), 0)}
        for name in order
        for other in order
    ]
    return pd.DataFrame(table, columns=list(COLUMNS))


def _with_pictures(records: Any, near: NDArray[np.int64]) -> Any:
    """The records with the column picture: the same text for files with the same bytes and their near repeats."""
    if not len(near):
        return records.mutate(picture=records.content_hash)
    wanted = ibis.memtable({"at": np.unique(near)})
    paired = records.join(wanted, [("position", "at")])
    frame = paired.select("position", "content_hash").to_pandas().set_index("position").sort_index()
    lowest = components(frame, ("content_hash",), np.searchsorted(frame.index, near))
    names = pd.DataFrame({"bytes": frame.content_hash, "name": frame.content_hash.to_numpy()[lowest]})
    known = ibis.memtable(names.drop_duplicates())
    found = records.left_join(known, [("content_hash", "bytes")])
    return found.mutate(picture=ibis.coalesce(found.name, found.content_hash)).drop("bytes", "name")


def _repeated(offered: Any) -> dict[tuple[str, str], dict[str, int]]:
    """Number of images of a collection by the surest sign that another holds them, and of those with another label
    there: (collection, other) -> column of ``collection_overlap`` -> images."""
    found = []
    for sign, key in enumerate(("content_hash", "picture", "page")):
        rows = offered.filter(offered[key].notnull()).select("position", "source", "label", value=offered[key])
        there = rows.group_by(value_there=rows.value, other=rows.source)
        there = there.agg(images=rows.count(), low=rows.label.min(), high=rows.label.max())
        both = rows.join(there, [("value", "value_there")])
        elsewhere = both.source != both.other
        both = both.filter(elsewhere if key == "page" else elsewhere | (both.images > 1))
        differs = (both.label != both.low) | (both.label != both.high) if key == "picture" else ibis.literal(False)
        found.append(both.select("position", "source", "other", sign=sign, differs=differs.cast("int8")))
    signs = ibis.union(*found)
    signs = signs.group_by(["position", "source", "other"]).agg(sign=signs.sign.min(), differs=signs.differs.max())
    counted = signs.group_by(["source", "other", "sign", "differs"]).agg(images=signs.count()).to_pandas()
    repeated: dict[tuple[str, str], dict[str, int]] = {}
    for row in counted.to_dict("records"):
        counts = repeated.setdefault((row["source"], row["other"]), dict.fromkeys((*_SIGNS, "other_label"), 0))
        counts[_SIGNS[row["sign"]]] += row["images"]
        counts["other_label"] += row["images"] * row["differs"]
    return repeated


def overlap_map(table: pd.DataFrame) -> bytes:
    """The table of ``collection_overlap`` as an SVG of two matrices: number of images, and of patients, of the row's
    collection that are also in the column's; shaded by share."""
    import matplotlib as mpl  # for this function alone: the table is read without
    from matplotlib.colors import LinearSegmentedColormap
    from matplotlib.figure import Figure

    names = list(dict.fromkeys(table.collection))
    n, out, shades = len(names), io.BytesIO(), LinearSegmentedColormap.from_list("ink", _SHADES)
    panels = (("Images also in …", "repeated", "images"), ("Patients also in …", "shared_patients", "patients"))
    with mpl.rc_context(_STYLE):  # type: ignore[arg-type]
        side = 0.55 * n + 0.4
        canvas = Figure(figsize=(2 * side + 3.4, side + 1.5), layout="constrained", facecolor="white")
        for column, (title, part, whole) in enumerate(panels):
            counts = table[part].to_numpy().reshape(n, n)
            totals = table[whole].to_numpy().reshape(n, n)[:, 0]
            shown = counts.astype(float)
            if part == "shared_patients":
                np.fill_diagonal(shown, np.nan)  # all, by definition
            axes = canvas.add_subplot(1, 2, column + 1)
            share = np.nan_to_num(shown / np.maximum(totals, 1)[:, None])
            axes.imshow(share, cmap=shades, vmin=0, vmax=1)
            for (row, col), value in np.ndenumerate(shown):
                text = "–" if np.isnan(value) else f"{value:,.0f}" if value else "·"
                colour = "white" if share[row, col] > 0.55 else "#2B2F33"
                axes.text(col, row, text, ha="center", va="center", color=colour)
            plain = [name.replace("$", r"\$") for name in names]  # else matplotlib reads mathtext
            labels = [f"{name} ({total:,})" for name, total in zip(plain, totals, strict=True)]
            axes.set_xticks(range(n), plain, rotation=35, ha="left", rotation_mode="anchor")
            axes.set_yticks(range(n), labels)
            axes.xaxis.tick_top()
            axes.tick_params(length=0)
            axes.spines[:].set_visible(False)
            axes.set_xticks(np.arange(0.5, n - 1), minor=True)
            axes.set_yticks(np.arange(0.5, n - 1), minor=True)
            axes.grid(which="minor", color="white", linewidth=2)
            axes.tick_params(which="minor", length=0)
            axes.set_title(title, loc="left", fontsize=10.5, pad=8)
        canvas.savefig(out, format="svg", metadata={"Date": None}, bbox_inches="tight", pad_inches=0.08)
    return out.getvalue()


def most_shared(group: pd.DataFrame, near: NDArray[np.int64]) -> tuple[int, int, int] | None:
    """The picture of a group that occurs with most patients: position of its first image, number of images and of
    patients; None if none occurs with two.

    group  rows of the group, kept or not: columns patient_id, content_hash, left_out; index of positions
    near   near repeats, positions (pairs, 2)
    """
    linked = group.index[group.left_out.isna() | (group.left_out == reasons.CONFLICT)]
    pairs = np.searchsorted(group.index, near[np.isin(near, linked).all(axis=1)])
    picture = components(group, ("content_hash",), pairs)
    patients = group.groupby(picture).patient_id.nunique()
    if patients.max() < 2:
        return None
    shown = group.index[picture == patients.idxmax()]
    return int(shown[0]), len(shown), int(patients.max())


def meeting(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of ``collection_overlap`` with repeated images, or with patients shared with another collection."""
    return table[(table.repeated > 0) | ((table.collection != table.other) & (table.shared_patients > 0))]


def print_overlap(table: pd.DataFrame) -> None:
    """Print which collections share images or patients, or that none does."""
    found = meeting(table)
    if found.empty:
        console().print("No collection holds images or patients of another collection, or an image twice.")
        return
    shown = Table("of", "also in", "images", "as", "patients", title=_TITLE)
    for row in found.to_dict("records"):
        within = row["collection"] == row["other"]
        ways = {"the same file": row["same_file"], "near repeats": row["near"], "the same URL": row["same_url"]}
        said = ", ".join(f"{count:,} {way}" for way, count in ways.items() if count)
        shown.add_row(
            escape(str(row["collection"])),
            "itself" if within else escape(str(row["other"])),
            f"{row['repeated']:,} of {row['images']:,}",
            said + (f"; {row['other_label']:,} with another label" if row["other_label"] else ""),
            "" if within else f"{row['shared_patients']:,} of {row['patients']:,}",
        )
    console().print(shown)
