"""People and images that several collections have in common, in the layouts as published: who copied whom."""

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

from cxrflow.metadata.build import build_records
from cxrflow.metadata.overlap import collection_overlap, meeting
from cxrflow.params import Sources
from cxrflow.sources import SOURCES
from cxrflow.sources.siim_covid19 import PUBLISHED
from cxrflow.task import Task

COVID = "pneumonia/viral/covid-19"
WRITTEN = "https://github.com/ml-workgroup/covid-19-image-repository"

#: Tables and lists, cells separated by bars.
TABLES = {
    "covid-19-image-repository/data.csv": "patient_id|image_id\n042f06a9|c9280a30\n042f06a9|53c9be49\n",
    "covid-chestxray-dataset/metadata.csv": "patientid|finding|view|modality|folder|filename|url\n"
    f"7|COVID-19|AP|X-ray|images|c9280a30.jpg|{WRITTEN}\n",
    "covid19_posi/participants.tsv": "participant|age|gender\nsub-S1|[62]|M\n",
    "covid19_posi/derivatives/EHR/sil_reg_covid_posi.tsv": "participant|date|test|result\n"
    "sub-S1|01.04.2020|PCR|POSITIVO\n",
    "covid19_posi/sub-S1/sub-S1_sessions.tsv": "session_id|study_date\nses-E1|20200403\nses-E2|20200404\n",
    "siim-covid19-detection/train_study_level.csv": f"id|{'|'.join(PUBLISHED)}\ns1_study|0|1|0|0\n",
    "siim-covid19-detection/train_image_level.csv": "id|boxes|label|StudyInstanceUID\na1_image||none 1 0 0 1 1|s1\n",
    "COVID-19_Radiography_Dataset/COVID.metadata.xlsx": f"FILE NAME|URL\nCOVID-1|{WRITTEN}/tree/master/png\n",
    "COVID-19_Radiography_Dataset/Normal.metadata.xlsx": "FILE NAME|URL\n"
    "NORMAL-1|https://www.kaggle.com/c/rsna-pneumonia-detection-challenge/data\n"
    "NORMAL-2|https://www.kaggle.com/paultimothymooney/chest-xray-pneumonia\n",
    "COVID-19_Radiography_Dataset/Viral Pneumonia.metadata.xlsx": "FILE NAME|URL\n",
    "rsna-pneumonia-detection-challenge/stage_2_train_labels.csv": "patientId|x|y|width|height|Target\n"
    "r1|||||1\nr2|||||0\n",
    "rsna-pneumonia-detection-challenge/stage_2_detailed_class_info.csv": "patientId|class\n"
    "r1|Lung Opacity\nr2|Normal\n",
    "rsna-pneumonia-detection-challenge/nih_mapping.csv": "patientId|nih_image\n"
    "r1|00000150_007.png\nr2|00000151_000.png\n",
    "nih-chestxray14/Data_Entry_2017_v2020.csv": "Image Index|Finding Labels|Patient ID\n"
    "00000150_002.png|Pneumonia|150\n",
    "COVIDx/train_COVIDx9A.txt": "7|c9280a30.jpg|COVID-19|cohen\n"
    "S1|sub-S1_ses-E2_run-1_bp-chest_vp-pa_dx.png|COVID-19|bimcv\n",
    "COVIDx/test_COVIDx9A.txt": "r1|r1.png|pneumonia|rsna\n",
}
PNG = "sub-S1_{}_run-1_bp-chest_vp-pa_dx.png"
#: Image -> number of the picture that it shows, and its side in pixels.
IMAGES = {
    "covid-19-image-repository/png/c9280a30.png": (0, 300),
    "covid-19-image-repository/png/53c9be49.png": (1, 300),
    "covid-chestxray-dataset/images/c9280a30.jpg": (0, 300),
    f"covid19_posi/sub-S1/ses-E1/mod-rx/{PNG.format('ses-E1')}": (2, 300),
    f"covid19_posi/sub-S1/ses-E2/mod-rx/{PNG.format('ses-E2')}": (3, 300),
    "siim-covid19-detection/train/s1/series/a1.dcm": (2, 280),
    "COVID-19_Radiography_Dataset/COVID/images/COVID-1.png": (1, 256),
    "COVID-19_Radiography_Dataset/Normal/images/Normal-1.png": (5, 256),
    "COVID-19_Radiography_Dataset/Normal/images/Normal-2.png": (7, 256),
    "chest_xray/train/NORMAL/IM-0115-0001.jpeg": (7, 300),
    "rsna-pneumonia-detection-challenge/stage_2_train_images/r1.dcm": (4, 300),
    "rsna-pneumonia-detection-challenge/stage_2_train_images/r2.dcm": (5, 300),
    "nih-chestxray14/images/00000150_002.png": (6, 300),
    "COVIDx/train/c9280a30.jpg": (0, 300),
    "COVIDx/train/sub-S1_ses-E2_run-1_bp-chest_vp-pa_dx.png": (3, 300),
    "COVIDx/test/r1.png": (4, 300),
}
#: Images of one person each: those joined by number or file name, and those that only near repeats join to them.
GROUPS = [
    (
        ["hannover:c9280a30", "hannover:53c9be49", "covid-chestxray:c9280a30.jpg", "covidx:c9280a30.jpg"],
        ["radiography:COVID-1"],
    ),
    (
        [
            f"bimcv-covid19:{PNG.format('ses-E1')}",
            f"bimcv-covid19:{PNG.format('ses-E2')}",
            f"covidx:{PNG.format('ses-E2')}",
        ],
        ["siim-covid19:a1"],
    ),
    (["rsna:r1", "nih:00000150_002.png", "covidx:r1.png"], []),
    (["rsna:r2"], ["radiography:NORMAL-1"]),
    (["kermany:IM-0115-0001.jpeg"], ["radiography:NORMAL-2"]),
]
#: Collection, another before it in order -> images with the same bytes, near repeats, people by number.
SHARED = {
    ("hannover", "covid-chestxray"): (0, 1, 1),
    ("radiography", "hannover"): (0, 1, 0),
    ("siim-covid19", "bimcv-covid19"): (0, 1, 0),
    ("kermany", "radiography"): (0, 1, 0),
    ("rsna", "radiography"): (0, 1, 0),
    ("nih", "rsna"): (0, 0, 1),
    ("covidx", "covid-chestxray"): (1, 0, 1),
    ("covidx", "hannover"): (0, 1, 1),
    ("covidx", "bimcv-covid19"): (0, 1, 1),
    ("covidx", "rsna"): (0, 1, 1),
    ("covidx", "nih"): (0, 0, 1),
}


def dicom(grey: np.ndarray) -> Dataset:
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    data.set_pixel_data(grey, "MONOCHROME2", 8)
    return data


@pytest.fixture
def root(tmp_path, picture):
    place = tmp_path / "root"
    for name, text in TABLES.items():
        file, separator = place / name, "\t" if name.endswith(".tsv") else " " if name.endswith(".txt") else ","
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.replace("|", separator))
    for name, (number, side) in IMAGES.items():
        file, grey = place / name, cv2.resize(picture(number, 320), (side, side), interpolation=cv2.INTER_AREA)
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".dcm":
            dicom(grey).save_as(file, enforce_file_format=True)
        else:
            Image.fromarray(grey.astype(np.uint16) * 257 if "covid19_posi" in name else grey).save(file)
    return place


@pytest.fixture
def build(root, how, demo_params, engine, tmp_path):
    def run(files: str):
        classes = {"normal": ("no finding",), "covid": (COVID, "typical appearance of covid-19")}
        task = Task(classes=classes | {"other": ("pneumonia",)}, positive="covid")
        keep = how.model_copy(update={"paediatric": "keep", "files": files})
        return build_records(
            Sources(root=str(root), collections=None), keep, task, engine, tmp_path / "work", split=False
        )

    return run


def groups(records: pd.DataFrame) -> list[list[str]]:
    return sorted(sorted(images) for images in records.groupby("group_id").image_id.agg(list))


def test_the_people_of_nine_collections_meet_and_the_overlap_says_who_copied_whom(build) -> None:
    built = build("required")
    assert groups(built.records) == sorted(sorted(known + near) for known, near in GROUPS)
    table = meeting(collection_overlap(built.table, built.near))
    order = {name: place for place, name in enumerate(SOURCES)}
    found = {
        (row.collection, row.other): (row.same_file, row.near, row.shared_patients)
        for row in table.itertuples()
        if order[row.collection] > order[row.other]
    }
    assert found == SHARED
    assert not table.same_url.any()  # the address of a whole repository says nothing of an image


def test_without_image_files_people_meet_by_number_and_file_name_alone(build) -> None:
    apart = [known for known, _ in GROUPS] + [[image] for _, near in GROUPS for image in near]
    assert groups(build("ignored").records) == sorted(map(sorted, apart))
