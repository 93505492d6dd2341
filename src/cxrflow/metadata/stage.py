"""The metadata stage: build the records, print the reconciliation, write the tables."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cxrflow.csv_files import to_csv
from cxrflow.engines import Engine
from cxrflow.files import write_whole
from cxrflow.metadata.build import SIDES, Built, build_records
from cxrflow.metadata.groups import check_classes, unknown_patients
from cxrflow.metadata.overlap import collection_overlap, most_shared, overlap_map, print_overlap
from cxrflow.metadata.remembered import write_sides
from cxrflow.metadata.sides import Sides
from cxrflow.params import Metadata, Sources
from cxrflow.reading.frontal import FLAG
from cxrflow.records import SPLITS, write_records
from cxrflow.sources.files import print_files
from cxrflow.sources.header import COLUMNS_FILE
from cxrflow.state import write_sealed
from cxrflow.task import Task

KEPT = "kept"
#: Maximum number of images printed from a list; summary.json has all of them.
_LISTED = 10


def run(sources: Sources, metadata: Metadata, task: Task, engine: Engine, data: Path, results: Path) -> Built:
    """Build and split the records, and print the reconciliation.

    Writes reconciliation, shares, overlap (table and figure) and summary into ``results``, and ``records.csv`` and the
    remembered sides of the split into ``data``.
    Raises CxrflowError as ``build_records`` does, and if a class has too few groups; in the latter case ``results`` is
    complete, but neither records nor sides are written.
    """
    built = build_records(sources, metadata, task, engine, data)
    facts = summary(built)
    print_reconciliation(built.outline)
    print_rows(built)
    print_split(built.outline, task, facts)
    if built.sides is not None:
        print_moved(built.sides)
    print_not_frontal(facts)
    print_files(built.files)
    print_tables_read(built)
    overlap = collection_overlap(built.outline, built.near)
    print_overlap(overlap)
    write_tables(built, overlap, results)
    check_classes(built.outline[built.outline.left_out.isna()], task, why_left_out(built))
    if built.sides is not None:
        write_sides(built.sides.parts(), data / SIDES)
    write_records(built.parts(), data / "records.csv")
    return built


def write_tables(built: Built, overlap: pd.DataFrame, results: Path) -> None:
    """Write reconciliation, shares, overlap and summary into ``results``.

    overlap  table of ``collection_overlap``; if it is empty, no figure is written
    """
    tables = {"reconciliation": reconciliation(built.outline), "shares": shares(built.outline), "overlap": overlap}
    for name, table in tables.items():
        write_whole(results / f"{name}.csv", to_csv(table))
    if not overlap.empty:
        write_whole(results / "overlap.svg", overlap_map(overlap))
    write_sealed(results / "summary.json", summary(built))


def reconciliation(records: pd.DataFrame) -> pd.DataFrame:
    """Number of rows by collection and fate: columns source, fate, rows. Fate is ``kept: <class>``, or the reason for
    leaving the row out, without details in parentheses at its end. The counts add up to the number of ``records``.
    """
    order = {source: position for position, source in enumerate(records.source.unique())}
    keys = ["source", "label", "left_out"]
    alike = records.groupby(keys, sort=False, dropna=False, observed=True).size().rename("rows").reset_index()
    alike = alike.astype(dict.fromkeys(keys, object))
    reason = alike.left_out.astype("string").str.replace(r" \(.*\)$", "", regex=True).astype(object)
    fate = reason.where(alike.left_out.notna(), KEPT + ": " + alike.label.fillna(""))
    counted = alike.assign(fate=fate).groupby(["source", "fate"], sort=False)["rows"].sum().reset_index()
    kept_first = counted.fate.str.startswith(KEPT)
    ranked = counted.assign(s=counted.source.map(order), k=~kept_first, r=-counted.rows.where(~kept_first, 0))
    return ranked.sort_values(["s", "k", "r", "fate"])[["source", "fate", "rows"]].reset_index(drop=True)


def shares(records: pd.DataFrame) -> pd.DataFrame:
    """Kept images and groups by split, collection and class: columns split, source, label, images, groups."""
    kept = records.loc[records.left_out.isna(), ["split", "source", "label", "image_id", "group_id"]]
    counted = kept.groupby(["split", "source", "label"], observed=True).agg(
        images=("image_id", "size"), groups=("group_id", "nunique")
    )
    table = counted.reset_index().astype(dict.fromkeys(("split", "source", "label"), object))
    order = {split: position for position, split in enumerate(SPLITS)}
    return table.sort_values(["split", "source", "label"], key=lambda c: c.map(order) if c.name == "split" else c)


def summary(built: Built) -> dict[str, Any]:
    """Counts for the report: rows, those of every table, kept images, groups, pairs of near repeats (both kept, and
    all), the largest group and the picture that joins most of its patients; collections whose patients are not all
    known, in words; images moved to train when groups were joined; kept images that do not look frontal, worst first;
    kept images stored inverted; of each collection, files listed in another spelling and images that no row lists; how
    users' own tables were read, and what of all tables was not, in words.
    """
    moved = built.sides.moved if built.sides else pd.DataFrame(columns=["image_id", "group_id"])
    kept = built.outline[built.outline.left_out.isna()]
    sizes = kept.groupby("group_id", sort=False).size()
    members = kept[kept.group_id == sizes.idxmax()] if len(sizes) else kept
    positions = members.index.to_numpy()[:1]
    flagged = np.flatnonzero((built.outline.left_out.isna() & (built.outline.frontal < FLAG)).to_numpy())
    scores = built.outline.frontal.iloc[flagged].tolist()
    not_frontal = sorted(zip(scores, built.texts("image_id", flagged), strict=True))
    return {
        "rows": len(built.outline),
        "rows_of_tables": built.listed,
        "kept": len(kept),
        "left_out": len(built.outline) - len(kept),
        "groups": len(sizes),
        "patients": int(kept.patient_id.nunique()),
        "under_18": int((kept.age < 18).sum()),
        "near_repeats": built.near_repeats,
        "near_repeats_in_all": len(built.near),
        "largest_group": {
            "group_id": next(iter(built.texts("group_id", positions)), None),
            "images": len(members),
            "patients": int(members.patient_id.nunique()),
            "joined_by": _joined_by(built, members),
        },
        "unknown_patients": unknown_patients(kept),
        "tables_read": _tables_read(built),
        "moved": {
            "groups": int(moved.group_id.nunique()),
            "images": len(moved),
            "list": moved.image_id.tolist(),
        },
        "not_frontal": {
            "below": FLAG,
            "images": len(flagged),
            "list": [{"image_id": image_id, "frontal": round(score, 3)} for score, image_id in not_frontal],
        },
        "turned": int(kept.turned.sum()),
        "files": {
            folder: {"respelled": files.respelled, "unlisted": dict(files.unlisted)}
            for folder, files in built.files.items()
        },
    }


def _joined_by(built: Built, members: pd.DataFrame) -> dict[str, Any] | None:
    """The picture that occurs with most patients of a group: its first image, and how many images and patients have it.

    members  kept images of the group
    """
    group = built.outline[built.outline.group_id.isin(members.group_id)]
    if group.empty or (found := most_shared(group, built.near)) is None:
        return None
    first, images, patients = found
    (image_id,) = built.texts("image_id", np.array([first]))
    return {"image_id": image_id, "images": images, "patients": patients}


def _tables_read(built: Built) -> list[str]:
    own = [f"{name}: {sentence}" for name, account in built.accounts.items() for sentence in account.sentences()]
    return own + built.unread


def why_left_out(built: Built) -> str:
    """The most frequent reasons for leaving out rows, and the words of labels that are not known; empty if no row is
    left out."""
    fates = reconciliation(built.outline)
    counted = fates[~fates.fate.str.startswith(KEPT)].groupby("fate")["rows"].sum().sort_values(ascending=False)
    if counted.empty:
        return ""
    most = "; ".join(f"{fate} ({rows:,} rows)" for fate, rows in counted.head(3).items())
    said = f"Of the {counted.sum():,} rows left out, most for these reasons: {most}."
    for name, account in built.accounts.items():
        if unknown := account.words("label"):
            said += f" Labels of {name} that are not known: {unknown}; translate them in {COLUMNS_FILE}."
    return f"{said} `cxrflow sources` with the folder's name shows what is not read and why."


def print_reconciliation(records: pd.DataFrame) -> None:
    """Print how many rows of each collection are kept or left out, and why."""
    table = Table("collection", "fate", "rows", title="Every row, kept or left out")
    table.columns[2].justify = "right"
    for source, rows in reconciliation(records).groupby("source", sort=False):
        for position, row in enumerate(rows.itertuples()):
            table.add_row(escape(str(source)) if position == 0 else "", escape(str(row.fate)), f"{row.rows:,}")
        table.add_row("", "[bold]all", f"[bold]{rows.rows.sum():,}", end_section=True)
    kept = records.left_out.isna().sum()
    sums = f"{kept:,} + {len(records) - kept:,} = {len(records):,}"
    table.add_row("[bold]all", "[bold]kept + left out", f"[bold]{sums}")
    Console().print(table)


def print_tables_read(built: Built) -> None:
    """Print how users' own tables were read, and what of all tables was not."""
    for sentence in _tables_read(built):
        Console().print(sentence, markup=False, highlight=False)


def print_rows(built: Built) -> None:
    """Print how many rows every table has, and how many images they are."""
    images = built.outline.source.value_counts()
    for source, counted in built.listed.items():
        rows = ", ".join(f"{rows:,} in {table}" for table, rows in counted.items())
        Console().print(f"Rows of {source}: {rows}; {images.get(source, 0):,} images.", markup=False, highlight=False)


def print_split(records: pd.DataFrame, task: Task, facts: dict[str, Any]) -> None:
    """Print the number of images, by class, and of groups on each side of the split, the largest group, and
    the collections whose patients are not all known."""
    console = Console()
    kept = records[records.left_out.isna()]
    names = [escape(task.names[label]) for label in task.order]
    sides = Table("split", *names, "images", "groups", title="Sides of the split")
    for side in SPLITS:
        rows = kept[kept.split == side]
        by_class = [f"{(rows.label == c).sum():,}" for c in task.order]
        sides.add_row(side, *by_class, f"{len(rows):,}", f"{rows.group_id.nunique():,}")
    console.print(sides)
    largest = facts["largest_group"]
    said = f"Largest group: {largest['group_id']}, {largest['images']} images of {largest['patients']} patients."
    if picture := largest["joined_by"]:
        said += (
            f" The picture that joins most of its patients is {picture['image_id']}: {picture['images']} images of "
            f"{picture['patients']} patients show it."
        )
    console.print(said, markup=False)
    pairs, in_all = facts["near_repeats"], facts["near_repeats_in_all"]
    console.print(
        f"Near repeats: {pairs:,} pairs of kept images; {in_all:,} pairs with the images that are left out.",
        markup=False,
    )
    for sentence in facts["unknown_patients"]:
        console.print(sentence, markup=False)


def print_moved(sides: Sides) -> None:
    """Print the images moved to train because new links join groups on different sides, and whether all groups were
    assigned again from the start."""
    console = Console()
    if sides.reassigned:
        console.print(
            "No side of the split is kept from before: metadata.split, metadata.paediatric or the collections are new "
            "here."
        )
    moved = sides.moved
    if moved.empty:
        return
    console.print(
        "New links join groups on different sides of the split, or add children for training only; they all go to "
        f"train: {len(moved):,} images of {moved.group_id.nunique():,} groups moved.",
        markup=False,
    )
    for image in moved[:_LISTED].itertuples():
        console.print(f"  {image.image_id}: was on {image.side}", markup=False)
    if (more := len(moved) - _LISTED) > 0:
        console.print(f"  and {more:,} more, in summary.json", markup=False)


def print_not_frontal(facts: dict[str, Any]) -> None:
    """Print how many and which kept images do not look like frontal radiographs, and how many are stored inverted."""
    console = Console()
    flagged = facts["not_frontal"]
    console.print(
        f"Kept images that do not look like frontal radiographs (score below {flagged['below']}): {flagged['images']}. "
        f"Stored inverted, corrected when read: {facts['turned']}.",
        markup=False,
    )
    for image in flagged["list"][:_LISTED]:
        console.print(f"  {image['image_id']}: {image['frontal']:.3f}", markup=False)
    if (more := flagged["images"] - _LISTED) > 0:
        console.print(f"  and {more:,} more, in summary.json", markup=False)
