"""covid-chestxray-dataset (Cohen et al. 2020, arXiv:2006.11988), with the label vocabularies of June 2020 and later."""

import re
from pathlib import Path

from cxrflow.records import Record
from cxrflow.sources import tables
from cxrflow.sources.collection import Collection

NAME = "covid-chestxray"
FRONTAL = {"PA", "AP", "AP SUPINE", "AP ERECT", "AP SEMI ERECT"}
#: The organisms and kinds that the collection names in either vocabulary, all of them pneumonias.
PNEUMONIA = re.compile(
    r"PNEUMONIA|SARS|MERS|STREPTOCOCCUS|PNEUMOCYSTIS|KLEBSIELLA|LEGIONELLA|MYCOPLASMA|VARICELLA|INFLUENZA|LIPOID"
    r"|E\.? ?COLI|BACTERIAL|CHLAMYDOPHILA|VIRAL|FUNGAL|ASPIRATION|HERPES|ASPERGILLOSIS|NOCARDIA|STAPHYLOCOCCUS|MRSA"
)
OTHER = re.compile(r"ARDS|TODO|UNKNOWN|TUBERCULOSIS|CANCER|EDEMA|EMPHYSEMA|FIBROSIS|PNEUMOTHORAX|EFFUSION")


def label_of(finding: str) -> tuple[str | None, str | None]:
    """Label and reason for leaving out, one of them None, of a published finding (facts: label rules)."""
    text = finding.upper()
    if not text:
        return None, tables.NO_FINDING_GIVEN
    if "COVID" in text:
        return "covid", None
    if text == "NO FINDING":
        return "normal", None
    if PNEUMONIA.search(text):
        return "pneumonia", None
    return None, tables.NOT_IN_RULES if OTHER.search(text) else tables.UNKNOWN_LABEL


def read(folder: Path, name: str, with_files: bool) -> list[Record]:
    """One record per row of ``metadata.csv``."""
    rows = tables.read_csv(folder / "metadata.csv", ("patientid", "finding", "view", "modality", "folder", "filename"))
    return [_record(row, name, position) for position, row in enumerate(rows, start=2)]


def _record(row: tables.Row, folder: str, line: int) -> Record:
    label, reason = label_of(row["finding"])
    if row["modality"].upper() != "X-RAY":
        reason = f"modality is {row['modality'] or 'not given'}, not X-ray"
    elif row["view"].upper() not in FRONTAL:
        reason = f"view is {row['view'] or 'not given'}, not frontal"
    file = row["filename"]
    return Record(
        image_id=f"{NAME}:{file or f'line {line}'}",
        source=NAME,
        path=f"{folder}/{row['folder'] or 'images'}/{file}",
        patient_id=f"{NAME}:{row['patientid']}" if row["patientid"] else None,
        label=label,
        finding=row["finding"] or None,
        view=row["view"] or None,
        age=tables.years(row.get("age")),
        sex=tables.sex(row.get("sex")),
        day=tables.number(row.get("offset")),
        url=row.get("url") or None,
        left_out=tables.problem(row, file) or reason,
    )


COLLECTION = Collection(NAME, "covid-chestxray-dataset", read)
