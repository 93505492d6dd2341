"""PadChest (Bustos et al. 2020, Med Image Anal 66: 101797): labels of reports in Spanish, by physicians (27 % of the
reports) and by a network that was trained on these (``MethodLabel``); both are read, and the published words say which.

Its ~190 labels are those of the authors' trees (github.com/auriml/Rx-thorax-automatic-captioning).
"""

import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from cxrflow.findings import most_specific
from cxrflow.records import Record
from cxrflow.sources import tables
from cxrflow.sources.cells import known, number, sex
from cxrflow.sources.collection import Collection, Options

NAME = "padchest"
TABLE = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv"
NORMAL = "normal"
#: Labels that say nothing of what the image shows: alone, its finding is not known.
SILENT = frozenset(("unchanged", "exclude", "suboptimal study"))
#: Finding -> published labels. A label that is in none of these lists, but in OTHER, is an "other finding".
PUBLISHED = {
    "pneumonia": ("pneumonia",),
    "pneumonia/atypical": ("atypical pneumonia",),
    "pneumonia/viral": ("viral pneumonia",),
    "tuberculosis": ("tuberculosis",),
    "tuberculosis/sequelae": ("tuberculosis sequelae",),
    "atelectasis": (
        *("atelectasis", "atelectasis basal", "laminar atelectasis", "lobar atelectasis", "round atelectasis"),
        *("segmental atelectasis", "total atelectasis"),
    ),
    "cardiomegaly": ("cardiomegaly",),
    "consolidation": ("consolidation", "air bronchogram"),
    "edema": ("pulmonary edema",),
    "effusion": (
        *("pleural effusion", "loculated pleural effusion", "loculated fissural effusion", "hydropneumothorax"),
        *("empyema", "hemothorax"),
    ),
    "emphysema": ("emphysema",),
    "fibrosis": ("pulmonary fibrosis", "asbestosis signs", "post radiotherapy changes"),
    "hernia": ("hiatal hernia",),
    "infiltration": (
        *("infiltrates", "interstitial pattern", "ground glass pattern", "reticular interstitial pattern"),
        *("reticulonodular interstitial pattern", "miliary opacities", "alveolar pattern"),
    ),
    "mass": ("mass", "pulmonary mass"),
    "nodule": ("nodule", "multiple nodules"),
    "pleural thickening": ("pleural thickening", "apical pleural thickening", "calcified pleural thickening"),
    "pneumothorax": ("pneumothorax", "hydropneumothorax"),
    "fracture": ("fracture", "humeral fracture", "vertebral fracture"),
    "fracture/clavicle": ("clavicle fracture",),
    "fracture/rib": ("rib fracture", "callus rib fracture"),
    "enlarged cardiomediastinum": ("mediastinal enlargement", "superior mediastinal enlargement"),
    "air trapping": ("air trapping",),
    "aortic atheromatosis": ("aortic atheromatosis",),
    "aortic elongation": (
        *("aortic elongation", "ascendent aortic elongation", "descendent aortic elongation"),
        *("supra aortic elongation", "aortic button enlargement"),
    ),
    "bronchiectasis": ("bronchiectasis",),
    "calcification": (
        *("calcified densities", "calcified granuloma", "calcified adenopathy", "calcified mediastinal adenopathy"),
        *("calcified pleural plaques", "calcified pleural thickening", "heart valve calcified"),
        "calcified fibroadenoma",
    ),
    "chronic obstructive pulmonary disease": ("copd signs",),
    "costophrenic angle blunting": ("costophrenic angle blunting",),
    "enlarged pulmonary artery": ("pulmonary artery enlargement",),
    "flattened diaphragm": ("flattened diaphragm",),
    "granuloma": ("granuloma", "calcified granuloma"),
    "hemidiaphragm elevation": ("hemidiaphragm elevation",),
    "hilar enlargement": ("hilar enlargement", "vascular hilar enlargement"),
    "lung cavity": ("cavitation",),
    "lung cyst": ("cyst",),
    "mediastinal shift": ("mediastinal shift",),
    "scoliosis": ("scoliosis",),
    "support devices": (
        *("artificial aortic heart valve", "artificial heart valve", "artificial mitral heart valve", "catheter"),
        *("central venous catheter", "central venous catheter via jugular vein", "chest drain tube", "dai"),
        *("central venous catheter via subclavian vein", "central venous catheter via umbilical vein"),
        *("double j stent", "dual chamber device", "electrical device", "endoprosthesis", "aortic endoprosthesis"),
        *("endotracheal tube", "gastrostomy tube", "nephrostomy tube", "nsg tube", "pacemaker"),
        *("reservoir central venous catheter", "single chamber device", "tracheostomy tube"),
        "ventriculoperitoneal drain tube",
    ),
}
#: The other published labels.
OTHER = frozenset(
    (
        *("abnormal foreign body", "abscess", "adenopathy", "air fluid level", "aortic aneurysm", "axial hyperostosis"),
        *("azygoesophageal recess shift", "azygos lobe", "blastic bone lesion", "bone cement", "bone metastasis"),
        *("breast mass", "bronchovascular markings", "bullas", "central vascular redistribution", "cervical rib"),
        *("chilaiditi sign", "chronic changes", "costochondral junction hypertrophy", "dextrocardia"),
        *("diaphragmatic eventration", "end on vessel", "esophagic dilatation", "external foreign body"),
        *("fibrotic band", "fissure thickening", "goiter", "gynecomastia", "heart insufficiency", "hilar congestion"),
        *("humeral prosthesis", "hyperinflated lung", "hypoexpansion", "hypoexpansion basal", "increased density"),
        *("kerley lines", "kyphosis"),
        *("lepidic adenocarcinoma", "lipomatosis", "lung metastasis", "lung vascular paucity", "lytic bone lesion"),
        *("lymphangitis carcinomatosa", "major fissure thickening", "mammary prosthesis", "mastectomy"),
        *("mediastinal mass", "mediastinic lipomatosis", "metal", "minor fissure thickening", "nipple shadow"),
        *("non axial articular degenerative changes", "obesity", "osteopenia", "osteoporosis"),
        *("osteosynthesis material", "pectum carinatum", "pectum excavatum", "pericardial effusion", "pleural mass"),
        *("pleural plaques", "pneumomediastinum", "pneumoperitoneo", "prosthesis", "pseudonodule"),
        *("pulmonary artery hypertension", "pulmonary hypertension", "pulmonary venous hypertension"),
        *("respiratory distress", "right sided aortic arch", "sclerotic bone lesion", "soft tissue mass"),
        *("sternoclavicular junction hypertrophy", "sternotomy", "subacromial space narrowing", "suture material"),
        *("subcutaneous emphysema", "surgery", "surgery breast", "surgery heart", "surgery humeral", "surgery lung"),
        *("surgery neck", "thoracic cage deformation", "tracheal shift", "vascular redistribution", "volume loss"),
        *("vertebral anterior compression", "vertebral compression", "vertebral degenerative changes"),
    )
)
_FINDINGS: dict[str, tuple[str, ...]] = {
    label: tuple(finding for finding, labels in PUBLISHED.items() if label in labels)
    for labels in PUBLISHED.values()
    for label in labels
}
#: Method of labelling -> what the published words then end in.
_BY = {"RNN_model": "; labelled by a network"}
#: Projections of frontal views.
FRONTAL = ("PA", "AP", "AP_horizontal")


@lru_cache(maxsize=100_000)
def findings_of(published: str) -> tuple[tuple[str, ...], str | None]:
    """The findings in ``Labels`` (``['pneumonia', ' nodule']``), and the reason for leaving the row out if none of them
    is known.

    "normal" counts only if it is the sole label; a label without a finding of its own is an "other finding".
    """
    labels = [label for found in re.findall(r"'([^']*)'|\"([^\"]*)\"", published) if (label := _plain("".join(found)))]
    if labels == [NORMAL]:
        return ("no finding",), None
    findings = [finding for label in labels for finding in _FINDINGS.get(label, ("other finding",) * (label in OTHER))]
    if not findings and labels and SILENT.union((NORMAL,)).issuperset(labels):
        findings = ["not determined"]
    return most_specific(findings), None if findings or not labels else tables.UNKNOWN_LABEL


def _plain(label: str) -> str:
    return " ".join(label.casefold().split())


def read(folder: Path, name: str, options: Options) -> Iterator[Record]:
    """One record per row of TABLE, compressed or not, as published; laterals and other projections are left out.

    The images may be in the numbered folders of their archives (``ImageDir``), all in ``images``, or beside the table.
    """
    required = ("ImageID", "ImageDir", "StudyDate_DICOM", "PatientID", "PatientBirth", "Projection", "Labels")
    optional = ("PatientSex_DICOM", "Pediatric", "MethodLabel")
    for row in tables.read_table(tables.first_of(folder, TABLE, f"{TABLE}.gz"), required, optional):
        yield _record(row, name, options)


def _record(row: tables.Row, folder: str, options: Options) -> Record:
    findings, reason = findings_of(row["Labels"])
    file, patient, view = row["ImageID"], known(row["PatientID"]), known(row["Projection"])
    part = known(row["ImageDir"]) or ""  # 0.0 in some copies
    not_frontal = f"view is {view}, not frontal" if view and view not in FRONTAL else None
    return Record(
        image_id=f"{NAME}:{file or f'line {row.line}'}",
        source=NAME,
        path=f"{folder}/{options.place(file, (part, f'images/{part}', 'images', ''))}",
        patient_id=f"{NAME}:{patient}" if patient else None,
        findings=findings,
        finding=f"{row['Labels']}{_BY.get(row['MethodLabel'], '')}" if row["Labels"] else None,
        view=view,
        age=_age(row["PatientBirth"], row["StudyDate_DICOM"]),
        sex=sex(row["PatientSex_DICOM"]),
        paediatric=row["Pediatric"].upper() == "PED",
        left_out=tables.problem(row, file) or not_frontal or reason,
    )


def _age(birth: str, study: str) -> float | None:
    """Age in years, which may be one too high, from the year of birth (``1930.0``) and the date of the study
    (``20140915``); None if it is not from 0 to 120."""
    born, date = number(birth), number(study[:4])
    if born is None or date is None:
        return None
    return date - born if 0 <= date - born <= 120 else None


COLLECTION = Collection(
    NAME,
    ("PadChest", "BIMCV-PadChest", "PADCHEST"),
    read,
    f"{TABLE} (or .csv.gz)",
    findings=("no finding", *PUBLISHED, "other finding", "not determined"),
)
