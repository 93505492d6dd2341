"""What the metadata stage counts: queries of the engine, whose results are small."""

from typing import Any

import ibis
import pandas as pd

from cxrflow.metadata.build import Built
from cxrflow.metadata.groups import said_of_unknown
from cxrflow.metadata.overlap import most_shared
from cxrflow.metadata.reasons import PAEDIATRIC
from cxrflow.reading.frontal import FLAG
from cxrflow.records import SPLITS
from cxrflow.sources.header import COLUMNS_FILE
from cxrflow.text import number_of

KEPT = "kept"


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
    kept = kept_of(records)
    keys = ["split", "source", "label"]
    counted: pd.DataFrame = kept.group_by(keys).agg(images=kept.count(), groups=kept.group.nunique()).to_pandas()
    order = {split: position for position, split in enumerate(SPLITS)}
    return counted.sort_values(keys, key=lambda column: column.map(order) if column.name == "split" else column)


def with_text(records: Any) -> pd.DataFrame:
    """Kept images, and those of them with text burned in, by collection and class: columns source, label, images,
    with_text, groups. Empty if text was not looked for.

    records  Ibis table: columns source, label, left_out, text_places, group
    """
    looked = kept_of(records).filter(lambda t: t.text_places.notnull())
    found = looked.group_by(["source", "label"]).agg(
        images=looked.count(), with_text=(looked.text_places > 0).sum(), groups=looked.group.nunique()
    )
    return pd.DataFrame(found.to_pandas()).sort_values(["source", "label"]).reset_index(drop=True)


def kept_of(records: Any) -> Any:
    """The rows of an Ibis table of records that are not left out."""
    return records.filter(records.left_out.isnull())


def groups_of_classes(records: Any) -> pd.DataFrame:
    """Kept images and their groups by class and side: columns label, split, images, groups.

    records  Ibis table: columns label, split, left_out, group
    """
    kept = kept_of(records)
    counted = kept.group_by(["label", "split"]).agg(images=kept.count(), groups=kept.group.nunique())
    return pd.DataFrame(counted.to_pandas())


def classes_of_children(records: Any, paediatric: str) -> set[str]:
    """The classes with images that ``metadata.paediatric`` leaves out, or, if it says ``train``, only trains on.

    records  Ibis table: columns label, paediatric, left_out
    """
    if paediatric == "keep":
        return set()
    concerned = records.filter(records.paediatric & (records.left_out.isnull() | (records.left_out == PAEDIATRIC)))
    return set(concerned.filter(concerned.label.notnull()).select("label").distinct().to_pandas().label)


def summary(built: Built) -> dict[str, Any]:
    """Counts for the report: rows, those of every table, kept images, groups, pairs of near repeats (both kept, and
    all), the largest group and the picture that joins most of its patients; collections whose patients are not all
    known, in words; images moved to train when groups were joined; kept images that do not look frontal, worst first;
    kept images stored inverted; kept images with text burned in, by collection and class; of each collection, files
    listed in another spelling and images that no row lists; how users' own tables were read, and what of all tables was
    not, in words, and the files that these words name.
    """
    moved = built.sides.moved if built.sides else pd.DataFrame(columns=["image_id", "group_id"])
    kept = kept_of(built.table)
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
        "tables_read": tables_read(built),
        "files_named": files_named(built),
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
        "burned_in_text": with_text(built.table).to_dict("records"),
        "files": {
            folder: {"respelled": files.respelled, "unlisted": dict(files.unlisted)}
            for folder, files in built.files.items()
        },
    }


def _largest_group(built: Built) -> dict[str, Any]:
    """Name of the largest group, the first of several; its kept images and their patients; and, as ``joined_by``, the
    picture that occurs with most patients: its first image, and how many images and patients have it."""
    kept = kept_of(built.table)
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


def tables_read(built: Built) -> list[str]:
    """How users' own tables were read, and what of all tables was not, in sentences."""
    own = [f"{name}: {sentence}" for name, account in built.accounts.items() for sentence in account.sentences()]
    return own + built.unread


def files_named(built: Built) -> list[str]:
    """The names of users' files that stand in ``tables_read``."""
    named = (account.files_named() for account in built.accounts.values())
    return list(dict.fromkeys(name for names in named for name in names))


def why_left_out(built: Built) -> str:
    """The most frequent reasons for leaving out rows, and the words of labels that are not known; empty if no row is
    left out."""
    fates = reconciliation(built.table)
    counted = fates[~fates.fate.str.startswith(KEPT)].groupby("fate")["rows"].sum().sort_values(ascending=False)
    if counted.empty:
        return ""
    most = "; ".join(f"{fate} ({number_of(rows, 'row')})" for fate, rows in counted.head(3).items())
    said = f"Of the {number_of(int(counted.sum()), 'row')} left out, most for these reasons: {most}."
    for name, account in built.accounts.items():
        if unknown := account.words("label"):
            said += f" Labels of {name} that are not known: {unknown}; translate them in {COLUMNS_FILE}."
    return f"{said} `cxrflow sources` with the folder's name shows what is not read and why."
