"""NIH ChestX-ray14 (Wang et al. 2017): labels mined from reports, several per image."""

from pathlib import Path

from cxrflow.records import Record
from cxrflow.sources import tables
from cxrflow.sources.collection import Collection

NAME = "nih"


def label_of(findings: str) -> tuple[str | None, str | None]:
    """Label and reason for leaving out, one of them None, of ``Finding Labels`` ("A|B")."""
    names = set(findings.split("|"))
    if not findings:
        return None, tables.NO_FINDING_GIVEN
    if "Pneumonia" in names:
        return "pneumonia", None
    return ("normal", None) if names == {"No Finding"} else (None, tables.NOT_IN_RULES)


def read(folder: Path, name: str, with_files: bool) -> list[Record]:
    """One record per row of ``Data_Entry_2017.csv``."""
    rows = tables.read_csv(folder / "Data_Entry_2017.csv", ("Image Index", "Finding Labels", "Patient ID"))
    return [_record(row, name, position) for position, row in enumerate(rows, start=2)]


def _record(row: tables.Row, folder: str, line: int) -> Record:
    label, reason = label_of(row["Finding Labels"])
    file = row["Image Index"]
    # The number before "_" in the file's name is the patient, zero-padded as nih_mapping.csv of RSNA has it.
    patient = file.split("_")[0] if "_" in file else row["Patient ID"].zfill(8)
    return Record(
        image_id=f"{NAME}:{file or f'line {line}'}",
        source=NAME,
        path=f"{folder}/images/{file}",
        patient_id=f"{NAME}:{patient}" if patient.strip("0") else None,
        label=label,
        finding=row["Finding Labels"] or None,
        view=row.get("View Position") or None,
        age=tables.years(row.get("Patient Age")),
        sex=tables.sex(row.get("Patient Gender")),
        left_out=tables.problem(row, file) or reason,
    )


COLLECTION = Collection(NAME, "nih-chestxray14", read)
