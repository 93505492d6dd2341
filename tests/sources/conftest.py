"""One tiny collection in the layout of each member of SOURCES, counted by hand."""

import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import openpyxl
import pytest

from cxrflow.params import Params
from cxrflow.records import Record
from cxrflow.sources import SOURCES, bimcv_covid19, siim_covid19
from cxrflow.sources.collection import Options

Table = list[list[str]]


@dataclass
class Tiny:
    """A tiny collection.

    folder    name of its folder
    tables    path in the folder -> rows, the first the header; none if the collection has no table
    files     further files, empty
    texts     further files, path in the folder -> text
    labels    of its records in the default task, in order
    columns   table -> columns that it needs
    main      the table that names images
    nameless  a row of it that names no image
    unknown   a row of it with a word for which the source has no finding
    optional  tables that may be absent
    reasons   for leaving out its records; none by default
    """

    folder: str
    tables: dict[str, Table]
    labels: list[str | None]
    columns: dict[str, Sequence[str]]
    main: str
    nameless: list[str]
    unknown: list[str] | None = None
    files: Sequence[str] = ()
    optional: Sequence[str] = ()
    reasons: Sequence[str | None] = ()
    texts: Mapping[str, str] = field(default_factory=dict)
    root: Path = field(default=Path())
    encoding: str = "utf-8"

    def write(self) -> Path:
        """Write the tables; the collection's folder."""
        folder = self.root / self.folder
        folder.mkdir(parents=True, exist_ok=True)
        for place in {(folder / file).parent for file in self.files}:
            place.mkdir(parents=True, exist_ok=True)
        for file in self.files:
            (folder / file).touch()
        for name, text in self.texts.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        for name, rows in self.tables.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            if name.endswith(".xlsx"):
                book = openpyxl.Workbook()
                for row in rows:
                    book.active.append(row)
                book.save(folder / name)
            else:
                joint, mark = {".tsv": ("\t", '"'), ".txt": (" ", "")}.get(Path(name).suffix, (",", '"'))
                text = "".join(joint.join(f"{mark}{cell}{mark}" for cell in row) + "\n" for row in rows)
                data = text.encode(self.encoding)
                (folder / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return folder

    def add(self, row: list[str]) -> None:
        self.tables[self.main].append(row)


def _covid() -> Tiny:
    header = ["patientid", "offset", "sex", "age", "finding", "view", "modality", "folder", "filename", "url"]
    rows = [
        ["2", "0", "M", "65", "COVID-19", "PA", "X-ray", "images", "a.jpg", "https://somewhere.org/é/1"],
        ["3", "3", "F", "40", "No Finding", "AP", "X-ray", "images", "b.jpg", ""],
        ["4", "", "", "", "Streptococcus", "AP Supine", "X-ray", "images", "c.png", ""],
    ]
    return Tiny(
        "covid-chestxray-dataset",
        {"metadata.csv": [header, *rows]},
        ["covid", "normal", "pneumonia"],
        {"metadata.csv": ("patientid", "finding", "view", "modality", "folder", "filename")},
        "metadata.csv",
        ["9", "", "", "", "COVID-19", "PA", "X-ray", "images", "", ""],
        ["9", "", "", "", "Banana", "PA", "X-ray", "images", "z.jpg", ""],
    )


def _figure1() -> Tiny:
    rows = [
        ["COVID-00001", "13", "M", "33", "COVID-19", "AP erect", "é"],
        ["COVID-00002", "", "M", "50+", "No finding", "PA", ""],
        ["COVID-00003a", "", "", "", "Pneumonia", "", ""],
    ]
    return Tiny(
        "Figure1-COVID-chestxray-dataset",
        {"metadata.csv": [["patientid", "offset", "sex", "age", "finding", "view", "notes"], *rows]},
        ["covid", "normal", "pneumonia"],
        {"metadata.csv": ("patientid", "finding")},
        "metadata.csv",
        ["", "", "", "", "COVID-19", "", ""],
        ["COVID-00009", "", "", "", "Banana", "", ""],
    )


def _actualmed() -> Tiny:
    rows = [
        ["ANON1", "COVID-19", "PA", "a.png", "é"],
        ["ANON2", "No finding", "AP", "b.png", ""],
        ["ANON2", "", "AP", "c.png", "Inconclusive"],
    ]
    return Tiny(
        "Actualmed-COVID-chestxray-dataset",
        {"metadata.csv": [["patientid", "finding", "view", "imagename", "notes"], *rows]},
        ["covid", "normal", None],
        {"metadata.csv": ("patientid", "finding", "imagename")},
        "metadata.csv",
        ["ANON9", "COVID-19", "PA", "", ""],
        ["ANON9", "Banana", "PA", "z.png", ""],
    )


def _hannover() -> Tiny:
    header = ["patient_id", "image_id", "sex", "age", "size", "weight", "admission_offset", "icu_admission_offset"]
    header += ["icu_release_offset", "death_offset", "modality", "projection", "crp_offset", "crp_val"]
    rows = [
        ["024e7871", "fff13f3a", "f", "", "", "", "0", "", "", "", "CR", "pa", "0.0", "3.0"],
        ["042f06a9", "c9280a30", "m", "", "", "", "-2", "-2.0", "2.0", "", "CR", "ap", "0.0", "38.0"],
        ["042f06a9", "53c9be49", "w", "", "", "", "", "-5.0", "-1.0", "", "DX", "ap", "0.0", "inf"],
    ]
    return Tiny(
        "covid-19-image-repository",
        {"data.csv": [header, *rows]},
        ["covid", "covid", "covid"],
        {"data.csv": ("patient_id", "image_id")},
        "data.csv",
        ["ffffffff", "", "m", "", "", "", "0", "", "", "", "CR", "pa", "", ""],
    )


def _radiography() -> Tiny:
    def table(*names: str) -> Table:
        return [["FILE NAME", "FORMAT", "SIZE", "URL"], *([n, "PNG", "1024*1024", "https://a.org"] for n in names)]

    tables = {
        "COVID-19.metadata.xlsx": table("COVID-19(1)", "COVID-19 (2)"),
        "NORMAL.metadata.xlsx": table("NORMAL-1"),
        "Viral Pneumonia.matadata.xlsx": table("Viral Pneumonia-1"),
    }
    return Tiny(
        "COVID-19-Radiography-Database",
        tables,
        ["covid", "covid", "normal", "pneumonia"],
        dict.fromkeys(tables, ("FILE NAME", "URL")),
        "Viral Pneumonia.matadata.xlsx",
        ["", "PNG", "1024*1024", "https://a.org"],
    )


def _bimcv() -> Tiny:
    people = [["participant", "modality_dicom", "body_parts", "age", "gender"]]
    people += [
        ["sub-S1", "['CR', 'CT']", "['chest']", "[62, 63]", "M"],
        ["sub-S2", "['DX']", "['chest']", "['é']", "None"],
    ]
    tests = [["participant", "date", "test", "result"]]
    tests += [["sub-S1", "01.04.2020", "PCR", "POSITIVO"], ["sub-S2", "01.04.2020", "PCR", "NEGATIVO"]]
    sessions = {
        "sub-S1/sub-S1_sessions.tsv": [["ses-E1", "20200403", "é"], ["ses-E2", "20200601", ""]],
        "sub-S2/sub-S2_sessions.tsv": [["ses-E3", "20200402", ""]],
    }
    header = ["session_id", "study_date", "medical_evaluation"]
    files = [
        "sub-S1/ses-E1/mod-rx/sub-S1_ses-E1_run-1_bp-chest_vp-ap_cr.png",
        "sub-S1/ses-E2/mod-rx/sub-S1_ses-E2_run-1_bp-chest_vp-ap_cr.png",
        "sub-S2/ses-E3/mod-rx/sub-S2_ses-E3_run-1_bp-chest_vp-pa_dx.png",
    ]
    labs = "derivatives/EHR/sil_reg_covid_posi.tsv"
    return Tiny(
        "covid19_posi",
        {"participants.tsv": people, labs: tests} | {name: [header, *rows] for name, rows in sessions.items()},
        ["covid", None, None],
        {"participants.tsv": ("participant",), labs: ("participant", "date", "test", "result")}
        | dict.fromkeys(sessions, ("session_id", "study_date")),
        "participants.tsv",
        ["derivatives", "", "", "", ""],
        files=files,
        optional=tuple(sessions),
        reasons=(None, bimcv_covid19.NO_PCR, bimcv_covid19.NOT_POSITIVE),
    )


def _siim() -> Tiny:
    box = "{'x': 512.0, 'y': 256.5, 'width': 1024.0, 'height': 512.0}"
    return Tiny(
        "siim-covid19-detection",
        {
            "train_study_level.csv": [
                ["id", *siim_covid19.PUBLISHED],
                ["s1_study", "0", "1", "0", "0"],
                ["s2_study", "1", "0", "0", "0"],
                ["s3_study", "0", "0", "0", "1"],
                ["s4_study", "0", "0", "0", "0"],
            ],
            "train_image_level.csv": [
                ["id", "boxes", "label", "StudyInstanceUID"],
                ["a_image", f"[{box}]", "opacity 1 512.0 256.5 1536.0 768.5", "s1"],
                ["b_image", "", "none 1 0 0 1 1", "s1"],
                ["c_image", "", "none 1 0 0 1 1", "s2"],
                ["d_image", "", "none 1 0 0 1 1", "s3"],
            ],
        },
        [None] * 4,  # how it looks is no diagnosis
        {"train_study_level.csv": ("id", *siim_covid19.PUBLISHED), "train_image_level.csv": ("id", "StudyInstanceUID")},
        "train_image_level.csv",
        ["", "", "none 1 0 0 1 1", "s2"],
        ["z_image", "", "none 1 0 0 1 1", "s4"],
        reasons=(None, siim_covid19.ELSEWHERE, None, None),
    )


def _covidx() -> Tiny:
    train = [["4", "é.jpg", "COVID-19", "cohen"], ["COVID 626", "COVID(626).png", "COVID-19", "sirm"]]
    test = [["u1", "u1.png", "normal"], ["u2", "u2.png", "pneumonia", "rsna"]]
    return Tiny(
        "COVIDx",
        {"train_COVIDx9A.txt": train, "test_COVIDx9A.txt": test},
        ["covid", "covid", "normal", "pneumonia"],
        {},
        "test_COVIDx9A.txt",
        ["u3", "normal", "rsna"],
        ["u3", "u3.png", "banana", "rsna"],
    )


def _kermany() -> Tiny:
    files = [
        "train/NORMAL/IM-0115-0001.jpeg", "train/NORMAL/NORMAL2-IM-0666-0001.jpeg", "train/PNEUMONIA/.DS_Store",
        "train/PNEUMONIA/person1_bacteria_1.jpeg", "train/PNEUMONIA/person1_bacteria_2.jpeg",
        "val/NORMAL/NORMAL2-IM-1427-0001.jpeg", "test/PNEUMONIA/person1_virus_6.jpeg",
    ]  # fmt: skip
    labels = ["normal", "normal", "pneumonia", "pneumonia", "normal", "pneumonia"]
    return Tiny("chest_xray", {}, labels, {}, "", [], files=files)


def _rsna() -> Tiny:
    return Tiny(
        "rsna-pneumonia-detection-challenge",
        {
            "stage_2_train_labels.csv": [
                ["patientId", "x", "y", "width", "height", "Target"],
                ["r1", "1", "2", "3", "4", "1"],
                ["r1", "5", "6", "7", "8", "1"],
                ["r2", "", "", "", "", "0"],
                ["r3", "", "", "", "", "0"],
            ],
            "stage_2_detailed_class_info.csv": [
                ["patientId", "class"],
                ["r1", "Lung Opacity"],
                ["r1", "Lung Opacity"],
                ["r2", "Normal"],
                ["r3", "No Lung Opacity / Not Normal"],
            ],
            "nih_mapping.csv": [
                ["patientId", "nih_image"],
                ["r1", "00000150_007.png"],
                ["r2", "00000151_001.png"],
                ["r3", "00000152_000.png"],
            ],
        },
        ["pneumonia", "normal", None],
        {
            "stage_2_train_labels.csv": ("patientId", "Target"),
            "stage_2_detailed_class_info.csv": ("patientId", "class"),
            "nih_mapping.csv": ("patientId", "nih_image"),
        },
        "stage_2_train_labels.csv",
        ["", "", "", "", "", "0"],
        ["r9", "", "", "", "", "0"],
    )


def _nih() -> Tiny:
    header = ["Image Index", "Finding Labels", "Follow-up #", "Patient ID"]
    header += ["Patient Age", "Patient Gender", "View Position"]
    rows = [
        ["00000061_015.png", "Pneumonia", "15", "61", "77", "M", "AP"],
        ["00000150_002.png", "Atelectasis|Infiltration|Pneumonia", "2", "150", "055Y", "F", "AP"],
        ["00000150_003.png", "No Finding", "3", "150", "411", "F", "PA"],
        ["00000151_000.png", "Effusion", "0", "151", "55", "F", "PA"],
    ]
    return Tiny(
        "nih-chestxray14",
        {"Data_Entry_2017.csv": [header, *rows]},
        ["pneumonia", "pneumonia", "normal", None],
        {"Data_Entry_2017.csv": ("Image Index", "Finding Labels", "Patient ID")},
        "Data_Entry_2017.csv",
        ["", "Pneumonia", "1", "9", "", "", ""],
        ["00000009_000.png", "Banana", "0", "9", "", "", ""],
    )


def _table() -> Tiny:
    rows = [
        ["a/1.png", "covid", "p1", "50", "é"],
        ["a/2.png", "Normal", "p2", "", ""],
        ["3.dcm", "pneumonia", "", "", "lobar"],
    ]
    return Tiny(
        "hospital",
        {"any name.csv": [["path", "label", "patient", "age", "finding"], *rows]},
        ["covid", "normal", "pneumonia"],
        {"any name.csv": ("path", "patient")},  # without a label, the finding is it
        "any name.csv",
        ["", "covid", "p9", "", ""],
        ["z.png", "flu", "p9", "", ""],
    )


#: Observations of CheXpert and MIMIC-CXR-JPG, in the order of CheXpert's table.
OBSERVATIONS = (
    *("No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema"),
    *("Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture"),
    "Support Devices",
)


def observed(**cells: str) -> list[str]:
    """The cells of the observations: those given (``_`` for a space), the others empty."""
    given = {name.replace("_", " "): cell for name, cell in cells.items()}
    assert given.keys() <= set(OBSERVATIONS)
    return [given.get(name, "") for name in OBSERVATIONS]


def _chexpert() -> Tiny:
    def row(path: str, *cells: str, **observations: str) -> list[str]:
        return [f"CheXpert-v1.0-small/{path}" if path else "", *cells, *observed(**observations)]

    header = ["Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *OBSERVATIONS]
    one, two, three, four = (
        f"{patient}/view1_frontal.jpg"
        for patient in ("patient00001/study1", "patient00002/study2", "patient00002/study1", "patient64541/study1")
    )
    train = [
        row(f"train/{one}", "Female", "68", "Frontal", "AP", No_Finding="1.0", Edema="0.0", Support_Devices="1.0"),
        row(f"train/{two}", "Male", "90", "Frontal", "PA", Pneumonia="1.0", Edema="-1.0", Lung_Opacity="1.0"),
        row(f"train/{three}", "Unknown", "0", "Frontal", "AP", Pleural_Effusion="1.0", Pneumonia="-1.0"),
    ]
    valid = [row(f"valid/{four}", "Male", "73", "Frontal", "AP", No_Finding="1.0", Pneumonia="0.0")]
    return Tiny(
        "CheXpert-v1.0-small",
        {"train.csv": [header, *train], "valid.csv": [header, *valid]},
        ["normal", "pneumonia", None, "normal"],
        {"train.csv": header, "valid.csv": header[:2]},
        "valid.csv",
        row("", "Male", "50", "Frontal", "AP", Pneumonia="1.0"),
        row("valid/patient64542/study1/view1_frontal.jpg", "Male", "50", "Frontal", "AP", Pneumonia="Banana"),
    )


def _mimic() -> Tiny:
    metadata, labels = "mimic-cxr-2.0.0-metadata.csv.gz", "mimic-cxr-2.0.0-chexpert.csv.gz"
    header = ["dicom_id", "subject_id", "study_id", "PerformedProcedureStepDescription", "ViewPosition", "Rows"]
    header += ["Columns", "StudyDate", "StudyTime", "ViewCodeSequence_CodeMeaning"]
    rest = ["3056", "2544", "21800506", "213014.531", "postero-anterior"]
    rows = [
        ["02aa804e-bde0afdd", "10000032", "50414267", "CHEST (PA AND LAT)", "PA", *rest],
        ["2a2277a9-b0ded155", "10000032", "53189527", "CHEST (PA AND LAT)", "PA", *rest],
        ["68b5c4b1-227d0485", "10000764", "57375967", "CHEST (PORTABLE AP)", "AP", *rest],
        ["096052b7-d256dc40", "10000898", "50771383", "", "", *rest],
        ["deaf0000-00000000", "10000898", "59999999", "", "AP", *rest],
    ]
    # the columns are in another order than CheXpert's
    observations = sorted(OBSERVATIONS)
    order = [OBSERVATIONS.index(name) for name in observations]

    def study(subject: str, number: str, **cells: str) -> list[str]:
        return [subject, number, *(observed(**cells)[k] for k in order)]

    studies = [
        study("10000032", "50414267", No_Finding="1.0"),
        study("10000032", "53189527", Pneumonia="1.0", Consolidation="-1.0"),
        study("10000764", "57375967", Pneumonia="-1.0", Atelectasis="1.0"),
        study("10000898", "50771383", No_Finding="1.0"),
        study("10000935", "58888888", Pneumonia="Banana"),
    ]
    return Tiny(
        "mimic-cxr-jpg",
        {metadata: [header, *rows], labels: [["subject_id", "study_id", *observations], *studies]},
        ["normal", "pneumonia", None, "normal", None],
        {metadata: ("dicom_id", "subject_id", "study_id", "ViewPosition"), labels: ("study_id", *observations)},
        metadata,
        ["", "10000032", "50414267", "", "PA", *rest],
        ["ba9a9a00-00000000", "10000935", "58888888", "", "PA", *rest],
    )


def _padchest() -> Tiny:
    table = "PADCHEST_chest_x_ray_images_labels_160K_01.02.19.csv.gz"
    header = ["", "ImageID", "ImageDir", "StudyDate_DICOM", "StudyID", "PatientID", "PatientBirth"]
    header += ["PatientSex_DICOM", "ViewPosition_DICOM", "Projection", "MethodProjection", "Pediatric", "Report"]
    header += ["MethodLabel", "Labels"]
    rows = [
        "0|a.png|0|20140915|s1|8398|1930.0|F|POSTEROANTERIOR|PA|Manual|No|sin cambi . é|Physician|['normal']",
        "1|b.png|14.0|20150717|s2|5078|1925|M||AP_horizontal|Manual|No||RNN_model"
        "|['pneumonia', ' pleural effusion', 'kyphosis', '']",
        "2|c.png|54|20150914|s3|3135||||AP|Manual|PED||Physician|['unchanged']",
        "3|d.png|54|20150914|s3|3135|1929|M||PA|Manual|No||RNN_model|[]",
    ]
    return Tiny(
        "PadChest",
        {table: [header, *(row.split("|") for row in rows)]},
        ["normal", "pneumonia", None, None],
        {table: ("ImageID", "ImageDir", "StudyDate_DICOM", "PatientID", "PatientBirth", "Projection", "Labels")},
        table,
        ["4", "", "0", "20140915", "s9", "1", "1930", "F", "", "PA", "Manual", "No", "", "Physician", "['normal']"],
        [
            "4",
            "z.png",
            "0",
            "20140915",
            "s9",
            "1",
            "1930",
            "F",
            "",
            "PA",
            "Manual",
            "No",
            "",
            "Physician",
            "['banana']",
        ],
    )


#: Columns of VinDr-CXR's tables of labels, but for the one that they spell differently.
LABELS = (
    *("Aortic enlargement", "Atelectasis", "Calcification", "Cardiomegaly", "Clavicle fracture", "Consolidation"),
    *("Edema", "Emphysema", "Enlarged PA", "ILD", "Infiltration", "Lung Opacity", "Lung cavity", "Lung cyst"),
    *("Mediastinal shift", "Nodule/Mass", "Pleural effusion", "Pleural thickening", "Pneumothorax"),
    *("Pulmonary fibrosis", "Rib fracture", "Other lesion", "COPD", "Lung tumor", "Pneumonia", "Tuberculosis"),
)


def _vindr() -> Tiny:
    def read_by(start: Sequence[str], *given: str) -> list[str]:
        return [*start, *("1" if name in given else "0" for name in (*LABELS, "Other diseases", "No finding"))]

    label, box = "annotations/image_labels_{}.csv", "annotations/annotations_{}.csv"
    train = [
        *(read_by(["i1", reader], "No finding") for reader in ("R9", "R10", "R11")),
        read_by(["i2", "R8"], "Pneumonia", "Consolidation"),
        read_by(["i2", "R9"], "Pneumonia", "Nodule/Mass"),
        read_by(["i2", "R10"], "Pleural effusion"),
    ]
    test = [read_by(["i3"], "No finding"), read_by(["i4"], "Tuberculosis", "Other diseases")]
    corners = ["x_min", "y_min", "x_max", "y_max"]
    return Tiny(
        "vindr-cxr",
        {
            label.format("train"): [["image_id", "rad_id", *LABELS, "Other diseases", "No finding"], *train],
            label.format("test"): [["image_id", *LABELS, "Other disease", "No finding"], *test],
            box.format("train"): [
                ["image_id", "rad_id", "class_name", *corners],
                ["i1", "R9", "No finding", "", "", "", ""],
                ["i2", "R8", "Consolidation", "100", "200", "300", "600"],
            ],
            box.format("test"): [["image_id", "class_name", *corners], ["i4", "Other lesion", "1", "2", "3", "4"]],
        },
        ["normal", "pneumonia", "normal", None],
        {
            label.format("train"): ("image_id", "rad_id", "Pneumonia", "No finding"),
            label.format("test"): ("image_id", "Tuberculosis"),
            box.format("train"): ("image_id", "class_name", *corners),
            box.format("test"): ("image_id", "class_name", *corners),
        },
        label.format("test"),
        read_by([""], "No finding"),
        ["i9", *(["0"] * (len(LABELS) - 1)), "Banana", "0", "0"],
    )


def _openi() -> Tiny:
    reports = [
        ["1", "normal", "normal", "Xray Chest PA and Lateral", "", "", "The heart is normal, é.", "Normal."],
        ["2", "Cardiomegaly/borderline;Pneumonia/lung/base/left", "Cardiomegaly;Pneumonia", "", "", "", "", ""],
        ["3", "No Indexing", "No Indexing", "", "", "", "", ""],
    ]
    names = ("1_IM-0001-4001", "2_IM-0652-1001", "3_IM-1384-1001")
    return Tiny(
        "chest-xrays-indiana-university",
        {
            "indiana_reports.csv": [
                ["uid", "MeSH", "Problems", "image", "indication", "comparison", "findings", "impression"],
                *reports,
            ],
            "indiana_projections.csv": [
                ["uid", "filename", "projection"],
                *([name[0], f"{name}.dcm.png", "Frontal"] for name in names),
            ],
        },
        ["normal", "pneumonia", None],
        {"indiana_reports.csv": ("uid", "MeSH"), "indiana_projections.csv": ("uid", "filename", "projection")},
        "indiana_projections.csv",
        ["1", "", "Frontal"],
    )


def _without_table(folder: str, labels: list[str | None], texts: Mapping[str, str]) -> Tiny:
    return Tiny(folder, {}, labels, {}, "", [], texts=texts)


def _montgomery() -> Tiny:
    texts = {
        "0001_0": "Patient's Sex: F \r\nPatient's Age: 027Y\r\nnormal",
        "0113_1": "Patient's Sex: M \nPatient's Age: 084Y\n\nold granulomatous disease, é",
        "0117_1": "Patient's Sex: M\nPatient's Age: 085Y\nstable; off Rx since 6M (same pt as MCUCXR_0113_1)",
    }
    readings = {f"ClinicalReadings/MCUCXR_{number}.txt": text for number, text in texts.items()}
    return _without_table("MontgomerySet", ["normal", None, None], readings)


def _shenzhen() -> Tiny:
    texts = {"0001_0": "male 45yrs\nnormal", "0327_1": "Female , 28 yrs  \t\nbilateral PTB,right pneumothorax\n"}
    readings = {f"ClinicalReadings/CHNCXR_{number}.txt": text for number, text in texts.items()}
    return _without_table("ChinaSet_AllFiles", ["normal", None], readings)


def tbx11k(images: Mapping[str, Sequence[tuple[str, list[float]]]]) -> str:
    """Annotations of TBX11K, as published: image -> category and box (left, top, width, height) of each box."""
    names = ["ActiveTuberculosis", "ObsoletePulmonaryTuberculosis", "PulmonaryTuberculosis"]
    categories = [{"id": k, "name": name, "supercategory": "Tuberculosis"} for k, name in enumerate(names, 1)]
    listed = [{"id": k, "file_name": file, "width": 512, "height": 512} for k, file in enumerate(images, 1)]
    boxes = [
        {"id": k, "image_id": k, "category_id": names.index(category) + 1, "iscrowd": 0, "bbox": box}
        for k, marked in enumerate(images.values(), 1)
        for category, box in marked
    ]
    return json.dumps({"categories": categories, "images": listed, "annotations": boxes})


def _tbx11k() -> Tiny:
    train = {"health/h0001.png": [], "tb/tb0005.png": [("ActiveTuberculosis", [384, 128, 64, 32])]}
    texts = {
        "annotations/json/TBX11K_train.json": tbx11k(train),
        "annotations/json/TBX11K_val.json": tbx11k({"sick/s0001.png": []}),
    }
    return _without_table("TBX11K", ["normal", None, None], texts)


TINY: dict[str, Callable[[], Tiny]] = {
    "covid-chestxray": _covid,
    "figure1": _figure1,
    "actualmed": _actualmed,
    "hannover": _hannover,
    "radiography": _radiography,
    "bimcv-covid19": _bimcv,
    "siim-covid19": _siim,
    "covidx": _covidx,
    "kermany": _kermany,
    "rsna": _rsna,
    "nih": _nih,
    "chexpert": _chexpert,
    "mimic-cxr-jpg": _mimic,
    "padchest": _padchest,
    "vindr-cxr": _vindr,
    "openi": _openi,
    "montgomery": _montgomery,
    "shenzhen": _shenzhen,
    "tbx11k": _tbx11k,
    "table": _table,
}


@pytest.fixture(name="annotated")
def _annotated() -> Callable[..., str]:
    return tbx11k


@pytest.fixture(name="observed")
def _observed() -> Callable[..., list[str]]:
    return observed


@pytest.fixture(params=list(SOURCES))
def name(request: pytest.FixtureRequest) -> str:
    """Every member of the registry in turn."""
    return request.param


@pytest.fixture
def make_tiny(tmp_path: Path) -> Callable[[str], Tiny]:
    def make(name: str) -> Tiny:
        tiny = TINY[name]()
        tiny.root = tmp_path / "root"
        return tiny

    return make


@pytest.fixture
def tiny(name: str, make_tiny: Callable[[str], Tiny]) -> Tiny:
    """The tiny collection of ``name``, not yet written."""
    return make_tiny(name)


@pytest.fixture(params=[name for name in SOURCES if TINY[name]().tables])
def tabled(request: pytest.FixtureRequest, make_tiny: Callable[[str], Tiny]) -> tuple[str, Tiny]:
    """Every member of the registry that has a table, and its tiny collection, not yet written."""
    return request.param, make_tiny(request.param)


@pytest.fixture(scope="session")
def label(demo_params: Params) -> Callable[[Record], str | None]:
    """The class of a record in the default task, or None."""
    return lambda record: demo_params.task.label_of(record.findings)[0]


@pytest.fixture
def read() -> Callable[[str, Tiny], list[Record]]:
    """Writes a tiny collection and reads its records, without files."""

    def run(name: str, tiny: Tiny) -> list[Record]:
        return list(SOURCES[name].read(tiny.write(), tiny.folder, Options(with_files=False)))

    return run
