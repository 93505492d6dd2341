"""covid-chestxray-dataset (Cohen et al. 2020, arXiv:2006.11988), in its vocabulary of June 2020 and the later one."""

import re
from collections.abc import Iterator
from pathlib import Path

from cxrflow.findings import most_specific
from cxrflow.records import Record
from cxrflow.sources import hannover, tables
from cxrflow.sources.cells import known, number, sex, years
from cxrflow.sources.collection import Collection, Options

NAME = "covid-chestxray"
TABLE = "metadata.csv"
FRONTAL = {"PA", "AP", "AP SUPINE", "AP ERECT", "AP SEMI ERECT"}
#: Pattern in the published text, in upper case -> finding; the most specific first. "Streptococcus" (June 2020) and
#: "Pneumonia/Bacterial/Streptococcus" (later) are the same finding.
PUBLISHED = (
    (r"COVID|SARS-COV-2", "pneumonia/viral/covid-19"),
    (r"SARS(?!-COV-2)", "pneumonia/viral/sars"),
    (r"MERS", "pneumonia/viral/mers-cov"),
    (r"H1N1", "pneumonia/viral/influenza/h1n1"),
    (r"INFLUENZA", "pneumonia/viral/influenza"),
    (r"VARICELLA", "pneumonia/viral/varicella"),
    (r"HERPES", "pneumonia/viral/herpes"),
    (r"STREPTOCOCCUS", "pneumonia/bacterial/streptococcus"),
    (r"MRSA", "pneumonia/bacterial/staphylococcus/mrsa"),
    (r"STAPHYLOCOCCUS", "pneumonia/bacterial/staphylococcus"),
    (r"KLEBSIELLA", "pneumonia/bacterial/klebsiella"),
    (r"LEGIONELLA", "pneumonia/bacterial/legionella"),
    (r"MYCOPLASMA", "pneumonia/bacterial/mycoplasma"),
    (r"CHLAMYDOPHILA", "pneumonia/bacterial/chlamydophila"),
    (r"E\.? ?COLI", "pneumonia/bacterial/e.coli"),
    (r"NOCARDIA", "pneumonia/bacterial/nocardia"),
    (r"PNEUMOCYSTIS", "pneumonia/fungal/pneumocystis"),
    (r"ASPERGILLOSIS", "pneumonia/fungal/aspergillosis"),
    (r"LIPOID", "pneumonia/lipoid"),
    (r"ASPIRATION", "pneumonia/aspiration"),
    (r"VIRAL", "pneumonia/viral"),
    (r"BACTERIAL", "pneumonia/bacterial"),
    (r"FUNGAL", "pneumonia/fungal"),
    (r"PNEUMONIA", "pneumonia"),
    (r"ARDS", "acute respiratory distress syndrome"),
    (r"TUBERCULOSIS", "tuberculosis"),
    (r"CANCER", "cancer"),
    (r"EDEMA", "edema"),
    (r"EMPHYSEMA", "emphysema"),
    (r"FIBROSIS", "fibrosis"),
    (r"PNEUMOTHORAX", "pneumothorax"),
    (r"EFFUSION", "effusion"),
    (r"TODO|UNKNOWN", "not determined"),
    (r"^NO FINDING$", "no finding"),
)


def findings_of(published: str) -> tuple[tuple[str, ...], str | None]:
    """The findings in the published text, and the reason for leaving the row out if none of its words is known."""
    words = published.upper()
    findings = most_specific(finding for pattern, finding in PUBLISHED if re.search(pattern, words))
    return findings, None if findings else tables.unknown(published)


def read(folder: Path, name: str, options: Options) -> Iterator[Record]:
    """One record per row of TABLE."""
    required = ("patientid", "finding", "view", "modality", "folder", "filename")
    of_hannover = read_patients(folder)
    for row in tables.read_table(folder / TABLE, required, ("age", "sex", "offset", "url")):
        yield _record(row, name, of_hannover)


def read_patients(folder: Path) -> dict[str, str]:
    """``patientid`` -> ``hannover:<patient>``, of the patients some of whose images have the name of an image of the
    Hannover repository, if that is beside this folder: 46 patients (June 2020), each of them one patient there."""
    beside = hannover.COLLECTION.beside(folder)
    if beside is None or not (beside / hannover.TABLE).is_file():
        return {}
    patients = hannover.read_patients(beside)
    rows = tables.read_table(folder / TABLE, ("patientid", "filename"), ("url",), counted=False)
    named = ((row["patientid"], row["filename"].rpartition(".")[0]) for row in rows if hannover.URL in row["url"])
    return {patient: patients[image] for patient, image in named if image in patients}


def _record(row: tables.Row, folder: str, of_hannover: dict[str, str]) -> Record:
    findings, reason = findings_of(row["finding"])
    if row["modality"].upper() != "X-RAY":
        reason = f"modality is {row['modality'] or 'not given'}, not X-ray"
    elif row["view"].upper() not in FRONTAL:
        reason = f"view is {row['view'] or 'not given'}, not frontal"
    file, patient = row["filename"], known(row["patientid"])
    return Record(
        image_id=f"{NAME}:{file or f'line {row.line}'}",
        source=NAME,
        path=f"{folder}/{row['folder'] or 'images'}/{file}",
        patient_id=of_hannover.get(row["patientid"]) or (f"{NAME}:{patient}" if patient else None),
        findings=findings,
        finding=row["finding"] or None,
        view=known(row["view"]),
        age=years(row["age"]),
        sex=sex(row["sex"]),
        day=number(row["offset"]),
        url=known(row["url"]),
        left_out=tables.problem(row, file) or reason,
    )


COLLECTION = Collection(
    NAME,
    ("covid-chestxray-dataset",),
    read,
    f"{TABLE} in the vocabulary of June 2020 or the later one",
    findings=tuple(finding for _, finding in PUBLISHED),
)
