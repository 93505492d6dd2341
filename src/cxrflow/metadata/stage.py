"""The metadata stage: build the records, print the reconciliation, write the tables."""

from pathlib import Path
from typing import Any

import pandas as pd
from rich.markup import escape
from rich.table import Table

from cxrflow.csv_files import to_csv
from cxrflow.engines import Engine
from cxrflow.files import write_whole
from cxrflow.metadata.build import SIDES, Built, build_records
from cxrflow.metadata.counts import (
    KEPT,
    classes_of_children,
    groups_of_classes,
    kept_of,
    reconciliation,
    shares,
    summary,
    tables_read,
    why_left_out,
    with_text,
)
from cxrflow.metadata.groups import check_classes
from cxrflow.metadata.overlap import collection_overlap, overlap_map, print_overlap
from cxrflow.metadata.remembered import write_sides
from cxrflow.metadata.sides import Sides
from cxrflow.params import Metadata, Sources
from cxrflow.records import SPLITS, write_records
from cxrflow.sources.files import print_files
from cxrflow.state import write_sealed
from cxrflow.task import Task
from cxrflow.terminal import console
from cxrflow.text import number_of

#: Maximum number of images printed from a list; summary.json has all of them.
_LISTED = 10


def run(sources: Sources, metadata: Metadata, task: Task, engine: Engine, data: Path, results: Path) -> Built:
    """Build and split the records, and print the reconciliation.

    Writes reconciliation, shares, overlap (table and figure) and summary into ``results``, and ``records.csv`` and the
    remembered sides of the split into ``data``.
    Raises CxrflowError as ``build_records`` does, and if a class has too few groups; in the latter case ``results`` is
    complete, but no sides are written, and no records, with which a later stage would go on, unless ``data`` and
    ``results`` are one folder, to look at.
    """
    built = build_records(sources, metadata, task, engine, data)
    facts = summary(built)
    print_reconciliation(built.table)
    print_rows(built)
    print_split(built.table, task, facts)
    if built.sides is not None:
        print_moved(built.sides)
    print_not_frontal(facts)
    print_text(facts["burned_in_text"], task)
    print_files(built.files)
    print_tables_read(built)
    overlap = collection_overlap(built.table, built.near)
    print_overlap(overlap)
    write_tables(built, overlap, results)
    if data == results:
        write_records(built.parts(), data / "records.csv")
    children = classes_of_children(built.table, metadata.paediatric)
    check_classes(groups_of_classes(built.table), task, why_left_out(built), children)
    if built.sides is not None:
        write_sides(built.sides.parts(), data / SIDES)
    if data != results:
        write_records(built.parts(), data / "records.csv")
    return built


def write_tables(built: Built, overlap: pd.DataFrame, results: Path) -> None:
    """Write reconciliation, shares, overlap and summary into ``results``, and if text was looked for, how many images
    have some.

    overlap  table of ``collection_overlap``; if it is empty, no figure is written
    """
    tables = {"reconciliation": reconciliation(built.table), "shares": shares(built.table), "overlap": overlap}
    if not (text := with_text(built.table)).empty:
        tables["burned-in-text"] = text
    for name, table in tables.items():
        write_whole(results / f"{name}.csv", to_csv(table))
    if not overlap.empty:
        write_whole(results / "overlap.svg", overlap_map(overlap))
    write_sealed(results / "summary.json", summary(built))


def print_reconciliation(records: Any) -> None:
    """Print how many rows of each collection are kept or left out, and why; ``records`` as for ``reconciliation``."""
    table = Table("collection", "fate", "rows", title="Every row, kept or left out")
    table.columns[2].justify = "right"
    fates = reconciliation(records)
    for source, rows in fates.groupby("source", sort=False):
        for position, row in enumerate(rows.itertuples()):
            table.add_row(escape(str(source)) if position == 0 else "", escape(str(row.fate)), f"{row.rows:,}")
        table.add_row("", "[bold]all", f"[bold]{rows.rows.sum():,}", end_section=True)
    kept, count = fates.rows[fates.fate.str.startswith(KEPT)].sum(), fates.rows.sum()
    sums = f"{kept:,} + {count - kept:,} = {count:,}"
    table.add_row("[bold]all", "[bold]kept + left out", f"[bold]{sums}")
    console().print(table)


def print_tables_read(built: Built) -> None:
    """Print how users' own tables were read, and what of all tables was not."""
    for sentence in tables_read(built):
        console().print(sentence, markup=False, highlight=False)


def print_rows(built: Built) -> None:
    """Print how many rows every table has, and how many images they are."""
    images = reconciliation(built.table).groupby("source")["rows"].sum()
    for source, counted in built.listed.items():
        rows = ", ".join(f"{rows:,} in {table}" for table, rows in counted.items())
        listed = f"Rows of {source}: {rows}" if rows else f"{source} has no table"
        console().print(f"{listed}; {number_of(images.get(source, 0), 'image')}.", markup=False, highlight=False)


def print_split(records: Any, task: Task, facts: dict[str, Any]) -> None:
    """Print the number of images, by class, and of groups on each side of the split, the largest group, and
    the collections whose patients are not all known.

    records  Ibis table: columns label, split, left_out, group
    facts    from ``summary``
    """
    screen, kept = console(), kept_of(records)
    images = groups_of_classes(records).set_index(["split", "label"]).images
    groups = kept.group_by("split").agg(groups=kept.group.nunique()).to_pandas().set_index("split").groups
    names = [escape(task.names[label]) for label in task.order]
    sides = Table("split", *names, "images", "groups", title="Sides of the split")
    for side in SPLITS:
        by_class = [int(images.get((side, label), 0)) for label in task.order]
        sides.add_row(side, *(f"{count:,}" for count in (*by_class, sum(by_class), int(groups.get(side, 0)))))
    screen.print(sides)
    largest = facts["largest_group"]
    said = f"Largest group: {largest['group_id']}, {_images_of_patients(largest)}." if largest["images"] else ""
    if picture := largest["joined_by"]:
        said += (
            f" The picture that joins most of its patients is {picture['image_id']}: it is in "
            f"{_images_of_patients(picture)}."
        )
    if said:
        screen.print(said, markup=False)
    pairs, in_all = facts["near_repeats"], facts["near_repeats_in_all"]
    screen.print(
        f"Near repeats: {number_of(pairs, 'pair')} of kept images; with those that are left out, {in_all:,}.",
        markup=False,
    )
    for sentence in facts["unknown_patients"]:
        screen.print(sentence, markup=False)
    if minors := facts["under_18"]:
        screen.print(
            f"Kept images of people listed as under 18: {minors:,}; metadata.paediatric is about "
            "collections of children only.",
            markup=False,
        )


def print_moved(sides: Sides) -> None:
    """Print the images moved to train because new links join groups on different sides, and whether all groups were
    assigned again from the start."""
    screen = console()
    if sides.reassigned:
        screen.print(
            "No side of the split is kept from before: metadata.split, metadata.paediatric or the collections are new "
            "here."
        )
    moved = sides.moved
    if moved.empty:
        return
    screen.print(
        "New links join groups on different sides of the split, or add children for training only; they all go to "
        f"train: {number_of(len(moved), 'image')} of {number_of(moved.group_id.nunique(), 'group')} moved.",
        markup=False,
    )
    for image in moved[:_LISTED].itertuples():
        screen.print(f"  {image.image_id}: was on {image.side}", markup=False)
    if (more := len(moved) - _LISTED) > 0:
        screen.print(f"  and {more:,} more, in summary.json", markup=False)


def print_not_frontal(facts: dict[str, Any]) -> None:
    """Print how many and which kept images do not look like frontal radiographs, and how many are stored inverted."""
    screen = console()
    flagged = facts["not_frontal"]
    screen.print(
        f"Kept images that do not look like frontal radiographs (score below {flagged['below']}): {flagged['images']}. "
        f"Stored inverted, corrected when read: {facts['turned']}.",
        markup=False,
    )
    for image in flagged["list"][:_LISTED]:
        screen.print(f"  {image['image_id']}: {image['frontal']:.3f}", markup=False)
    if (more := flagged["images"] - _LISTED) > 0:
        screen.print(f"  and {more:,} more, in summary.json", markup=False)


def print_text(counted: list[dict[str, Any]], task: Task) -> None:
    """Print in how many kept images text is burned in, by collection and class; nothing if it was not looked for.

    counted  rows of ``counts.with_text``
    """
    if not counted:
        return
    table = Table("collection", *(escape(task.names[name]) for name in task.order), title="Images with text burned in")
    said = {(row["source"], row["label"]): f"{row['with_text']:,} of {row['images']:,}" for row in counted}
    for source in dict.fromkeys(source for source, _ in said):
        table.add_row(escape(source), *(said.get((source, name), "") for name in task.order))
    console().print(table)


def _images_of_patients(counts: dict[str, Any]) -> str:
    return f"{number_of(counts['images'], 'image')} of {number_of(counts['patients'], 'patient')}"
