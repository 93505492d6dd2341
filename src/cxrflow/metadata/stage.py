"""The metadata stage: build the records, print the reconciliation, write the tables."""

from pathlib import Path
from typing import Any

import ibis
import pandas as pd
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cxrflow.csv_files import to_csv
from cxrflow.engines import Engine
from cxrflow.files import write_whole
from cxrflow.metadata.build import SIDES, Built, build_records
from cxrflow.metadata.groups import check_classes, said_of_unknown
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
    print_reconciliation(built.table)
    print_rows(built)
    print_split(built.table, task, facts)
    if built.sides is not None:
        print_moved(built.sides)
    print_not_frontal(facts)
    print_files(built.files)
    print_tables_read(built)
    overlap = collection_overlap(built.table, built.near)
    print_overlap(overlap)
    write_tables(built, overlap, results)
    check_classes(_groups_of_classes(built.table), task, why_left_out(built))
    if built.sides is not None:
        write_sides(built.sides.parts(), data / SIDES)
    write_records(built.parts(), data / "records.csv")
    return built


def write_tables(built: Built, overlap: pd.DataFrame, results: Path) -> None:
    """Write reconciliation, shares, overlap and summary into ``results``.

    overlap  table of ``collection_overlap``; if it is empty, no figure is written
    """
    tables = {"reconciliation": reconciliation(built.table), "shares": shares(built.table), "overlap": overlap}
    for name, table in tables.items():
        write_whole(results / f"{name}.csv", to_csv(table))
    if not overlap.empty:
        write_whole(results / "overlap.svg", overlap_map(overlap))
    write_sealed(results / "summary.json", summary(built))


def reconciliation(records: Any) -> pd.DataFrame:
    """Number of rows by collection and fate: columns source, fate, rows. Fate is ``kept: <class>``, or the reason for
    leaving the row out, without details in parentheses at its end. The counts add up to the number of ``records``.

    records  Ibis table: columns source, label, left_out, position
    """
    alike = records.group_by(["source", "label", "left_out"]).agg(rows=records.count(), first=records.position.min())
    alike = pd.DataFrame(alike.to_pandas()).astype(dict.fromkeys(("source", "label", "left_out"), object))
    order = alike.groupby("source")["first"].min()
    reason = alike.left_out.astype("string").str.replace(r" \(.*\)$", "", regex=True).astype(object)
    fate = reason.where(alike.left_out.notna(), KEPT + ": " + alike.label.fillna(""))
    counted = alike.assign(fate=fate).groupby(["source", "fate"], sort=False)["rows"].sum().reset_index()
    kept_first = counted.fate.str.startswith(KEPT)
    ranked = counted.assign(s=counted.source.map(order), k=~kept_first, r=-counted.rows.where(~kept_first, 0))
    return ranked.sort_values(["s", "k", "r", "fate"])[["source", "fate", "rows"]].reset_index(drop=True)


def shares(records: Any) -> pd.DataFrame:
    """Kept images and groups by split, collection and class: columns split, source, label, images, groups.

    records  Ibis table: columns split, source, label, left_out, group
    """
    kept = _kept(records)
    keys = ["split", "source", "label"]
    counted: pd.DataFrame = kept.group_by(keys).agg(images=kept.count(), groups=kept.group.nunique()).to_pandas()
    order = {split: position for position, split in enumerate(SPLITS)}
    return counted.sort_values(keys, key=lambda column: column.map(order) if column.name == "split" else column)


def _kept(records: Any) -> Any:
    return records.filter(records.left_out.isnull())


def _groups_of_classes(records: Any) -> pd.DataFrame:
    """Kept images and their groups: columns label, split, images, groups."""
    kept = _kept(records)
    counted = kept.group_by(["label", "split"]).agg(images=kept.count(), groups=kept.group.nunique())
    return pd.DataFrame(counted.to_pandas())


def summary(built: Built) -> dict[str, Any]:
    """Counts for the report: rows, those of every table, kept images, groups, pairs of near repeats (both kept, and
    all), the largest group and the picture that joins most of its patients; collections whose patients are not all
    known, in words; images moved to train when groups were joined; kept images that do not look frontal, worst first;
    kept images stored inverted; of each collection, files listed in another spelling and images that no row lists; how
    users' own tables were read, and what of all tables was not, in words.
    """
    moved = built.sides.moved if built.sides else pd.DataFrame(columns=["image_id", "group_id"])
    kept = _kept(built.table)
    counts = kept.agg(
        kept=kept.count(),
        groups=kept.group.nunique(),
        patients=kept.patient_id.nunique(),
        under_18=(kept.age < 18).sum(),
        turned=kept.turned.sum(),
    )
    (count,) = counts.to_pandas().fillna(0).astype(int).to_dict("records")
    rows = built.rows.count(built.name)
    sources = kept.group_by("source").agg(
        unknown=kept.patient_id.isnull().sum(), images=kept.count(), first=kept.position.min()
    )
    sources = sources.order_by("first").to_pandas()
    flagged = kept.filter(kept.frontal < FLAG).select("frontal", "image_id").to_pandas()
    not_frontal = sorted(zip(flagged.frontal.tolist(), flagged.image_id, strict=True))
    return {
        "rows": rows,
        "rows_of_tables": built.listed,
        "kept": count["kept"],
        "left_out": rows - count["kept"],
        "groups": count["groups"],
        "patients": count["patients"],
        "under_18": count["under_18"],
        "near_repeats": built.near_repeats,
        "near_repeats_in_all": len(built.near),
        "largest_group": _largest_group(built),
        "unknown_patients": said_of_unknown(sources[["source", "unknown", "images"]].itertuples(index=False)),
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
        "turned": count["turned"],
        "files": {
            folder: {"respelled": files.respelled, "unlisted": dict(files.unlisted)}
            for folder, files in built.files.items()
        },
    }


def _largest_group(built: Built) -> dict[str, Any]:
    """Name of the largest group, the first of several; its kept images and their patients; and, as ``joined_by``, the
    picture that occurs with most patients: its first image, and how many images and patients have it."""
    kept = _kept(built.table)
    sizes = kept.group_by("group").agg(
        images=kept.count(), patients=kept.patient_id.nunique(), first=kept.position.min(), group_id=kept.group_id.min()
    )
    largest = sizes.order_by([ibis.desc("images"), "first"]).limit(1).to_pandas()
    if largest.empty:
        return {"group_id": None, "images": 0, "patients": 0, "joined_by": None}
    (found,) = largest.to_dict("records")
    members = built.table.filter(built.table.group == found["group"])
    columns = members.select("position", "image_id", "patient_id", "content_hash", "left_out")
    group = columns.order_by("position").to_pandas().set_index("position")
    joined_by = None
    if (shared := most_shared(group, built.near)) is not None:
        first, images, patients = shared
        joined_by = {"image_id": group.image_id[first], "images": images, "patients": patients}
    return {name: found[name] for name in ("group_id", "images", "patients")} | {"joined_by": joined_by}


def _tables_read(built: Built) -> list[str]:
    own = [f"{name}: {sentence}" for name, account in built.accounts.items() for sentence in account.sentences()]
    return own + built.unread


def why_left_out(built: Built) -> str:
    """The most frequent reasons for leaving out rows, and the words of labels that are not known; empty if no row is
    left out."""
    fates = reconciliation(built.table)
    counted = fates[~fates.fate.str.startswith(KEPT)].groupby("fate")["rows"].sum().sort_values(ascending=False)
    if counted.empty:
        return ""
    most = "; ".join(f"{fate} ({rows:,} rows)" for fate, rows in counted.head(3).items())
    said = f"Of the {counted.sum():,} rows left out, most for these reasons: {most}."
    for name, account in built.accounts.items():
        if unknown := account.words("label"):
            said += f" Labels of {name} that are not known: {unknown}; translate them in {COLUMNS_FILE}."
    return f"{said} `cxrflow sources` with the folder's name shows what is not read and why."


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
    Console().print(table)


def print_tables_read(built: Built) -> None:
    """Print how users' own tables were read, and what of all tables was not."""
    for sentence in _tables_read(built):
        Console().print(sentence, markup=False, highlight=False)


def print_rows(built: Built) -> None:
    """Print how many rows every table has, and how many images they are."""
    images = reconciliation(built.table).groupby("source")["rows"].sum()
    for source, counted in built.listed.items():
        rows = ", ".join(f"{rows:,} in {table}" for table, rows in counted.items())
        Console().print(f"Rows of {source}: {rows}; {images.get(source, 0):,} images.", markup=False, highlight=False)


def print_split(records: Any, task: Task, facts: dict[str, Any]) -> None:
    """Print the number of images, by class, and of groups on each side of the split, the largest group, and
    the collections whose patients are not all known.

    records  Ibis table: columns label, split, left_out, group
    facts    from ``summary``
    """
    console, kept = Console(), _kept(records)
    images = _groups_of_classes(records).set_index(["split", "label"]).images
    groups = kept.group_by("split").agg(groups=kept.group.nunique()).to_pandas().set_index("split").groups
    names = [escape(task.names[label]) for label in task.order]
    sides = Table("split", *names, "images", "groups", title="Sides of the split")
    for side in SPLITS:
        by_class = [int(images.get((side, label), 0)) for label in task.order]
        sides.add_row(side, *(f"{count:,}" for count in (*by_class, sum(by_class), int(groups.get(side, 0)))))
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
