"""The complete label tables against the figures that their publishers give."""

from collections import Counter
from pathlib import Path

import pytest

from cxrflow.sources import SOURCES
from cxrflow.sources.tables import read_csv


@pytest.fixture(scope="module")
def full(real_data) -> Path:
    return real_data / "metadata-full"


@pytest.mark.parametrize(
    ("name", "rows"),
    [("covid-chestxray", 673), ("figure1", 55), ("actualmed", 238), ("radiography", 219 + 1341 + 1345)],
)
def test_one_record_per_published_row(full, name, rows) -> None:
    folder = SOURCES[name].folder
    assert len(SOURCES[name].read(full / folder, folder, False)) == rows


def test_radiography_by_folder(full) -> None:
    records = SOURCES["radiography"].read(full / "COVID-19-Radiography-Database", "r", False)
    assert Counter(record.label for record in records) == {"covid": 219, "normal": 1341, "pneumonia": 1345}
    assert sum(record.paediatric for record in records) == 1341 + 1345
    assert sum(record.left_out is not None for record in records) == 17


def test_rsna_images_and_patients(full) -> None:
    folder = full / "rsna-pneumonia-detection-challenge"
    boxes = read_csv(folder / "stage_2_train_labels.csv", ("Target",))
    assert (len(boxes), sum(row["Target"] == "1" for row in boxes)) == (30_227, 9_555)
    records = SOURCES["rsna"].read(folder, folder.name, False)
    assert Counter(record.label for record in records) == {"normal": 8_851, "pneumonia": 6_012, None: 11_821}
    assert len(records) == 26_684
    assert len({record.patient_id for record in records}) == 11_439
    assert len({record.patient_id for record in records if record.label == "pneumonia"}) == 2_359
