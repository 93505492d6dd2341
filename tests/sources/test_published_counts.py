"""The complete label tables against the figures that their publishers give."""

from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from cxrflow.sources import SOURCES, nih, openi, vindr_cxr
from cxrflow.sources.collection import Options
from cxrflow.sources.tables import read_table


@pytest.fixture(scope="module")
def full(real_data) -> Path:
    return real_data / "metadata-full"


@pytest.mark.parametrize(
    ("name", "rows"),
    [("covid-chestxray", 673), ("figure1", 55), ("actualmed", 238), ("radiography", 219 + 1341 + 1345)],
)
def test_one_record_per_published_row(full, name, rows) -> None:
    folder = SOURCES[name].folders[0]
    assert len(list(SOURCES[name].read(full / folder, folder, Options(with_files=False)))) == rows


def test_radiography_by_folder(full, label) -> None:
    records = list(SOURCES["radiography"].read(full / "COVID-19-Radiography-Database", "r", Options(with_files=False)))
    assert Counter(map(label, records)) == {"covid": 219, "normal": 1341, "pneumonia": 1345}
    assert sum(record.paediatric for record in records) == 1341 + 1345
    assert sum(record.left_out is not None for record in records) == 17


def test_covid_chestxray_by_finding(full) -> None:
    """All 673 published findings are translated; the counts are of the words in the table itself."""
    records = list(SOURCES["covid-chestxray"].read(full / "covid-chestxray-dataset", "c", Options(with_files=False)))
    assert Counter(record.findings for record in records) == {
        ("pneumonia/viral/covid-19",): 526,
        ("pneumonia/viral/covid-19", "acute respiratory distress syndrome"): 12,
        ("no finding",): 23,
        ("pneumonia/fungal/pneumocystis",): 17,
        ("pneumonia/bacterial/streptococcus",): 17,
        ("pneumonia/viral/sars",): 16,
        ("pneumonia",): 14,
        ("pneumonia/bacterial/klebsiella",): 8,
        ("pneumonia/bacterial/mycoplasma",): 8,
        ("pneumonia/bacterial/legionella",): 6,
        ("pneumonia/lipoid",): 5,
        ("pneumonia/viral/varicella",): 5,
        ("acute respiratory distress syndrome",): 4,
        ("pneumonia/bacterial/e.coli",): 4,
        ("pneumonia/bacterial",): 4,
        ("pneumonia/bacterial/chlamydophila",): 2,
        ("pneumonia/viral/influenza",): 2,
    }


def test_nih_of_2020_with_the_adjudicated_findings(real_data) -> None:
    folder = real_data / "tables/nih-chestxray14"
    rows = list(read_table(folder / "Data_Entry_2017_v2020.csv", ("Finding Labels",)))
    records = list(SOURCES["nih"].read(folder, folder.name, Options(with_files=False)))
    assert len(rows) == len(records) == 112_120
    assert len({record.patient_id for record in records}) == 30_805
    assert Counter(record.view for record in records) == {"PA": 67_310, "AP": 44_810}
    words = Counter(word for row in rows for word in row["Finding Labels"].split("|"))
    assert set(words) == set(nih.PUBLISHED)
    findings = Counter(finding for row in rows for finding in nih.findings_of(row["Finding Labels"])[0])
    assert findings == {nih.PUBLISHED[word]: count for word, count in words.items()}
    assert findings["pneumonia"] == 1_431  # Wang et al., version of 2020
    # 2,414 for validation and 1,962 for test in the table itself, counted with another reader
    table = pd.read_csv(folder / nih.ADJUDICATED_TABLE, index_col="Image Index")
    adjudicated = {r.image_id[4:]: r for r in records if "; adjudicated: " in (r.finding or "")}
    assert len(table) == len(adjudicated) == 2_414 + 1_962
    yes = {nih.ADJUDICATED[name][0]: int((table[name] == "YES").sum()) for name in nih.ADJUDICATED}
    assert yes == {"airspace opacity": 2_166, "fracture": 186, "nodule or mass": 605, "pneumothorax": 238}
    found = Counter(finding for record in adjudicated.values() for finding in record.findings)
    assert {name: found[name] for name in yes} == yes
    # of 76 images with a mined pneumonia, 59 have an airspace opacity
    assert found["pneumonia"] == 59
    none = table[list(nih.ADJUDICATED)].eq("NO").all(axis=1)
    assert found["no finding"] == int((none & (table["Finding Labels"] == "No Finding")).sum())
    assert all(record.left_out == nih.REFUTED for record in records if not record.findings)


def test_every_published_box_of_nih_is_read(real_data) -> None:
    table = real_data / "tables/nih-chestxray14" / nih.BOXES
    boxes = nih.read_boxes(table)
    images = {row["Image Index"] for row in read_table(table, ("Image Index",))}
    found = Counter(box.finding for image in images for box in boxes.of(image))
    assert (len(images), found.total(), found["pneumonia"], found["infiltration"]) == (880, 984, 120, 123)
    assert not list(boxes.sentences())


def test_rsna_images_and_patients(full, label) -> None:
    folder = full / "rsna-pneumonia-detection-challenge"
    boxes = list(read_table(folder / "stage_2_train_labels.csv", ("Target",)))
    assert (len(boxes), sum(row["Target"] == "1" for row in boxes)) == (30_227, 9_555)
    records = list(SOURCES["rsna"].read(folder, folder.name, Options(with_files=False)))
    assert Counter(map(label, records)) == {"normal": 8_851, "pneumonia": 6_012, None: 11_821}
    assert Counter(record.findings for record in records) == {
        ("no finding",): 8_851,
        ("lung opacity", "pneumonia"): 6_012,
        ("abnormal without lung opacity",): 11_821,
    }
    assert len(records) == 26_684
    assert sum(len(record.boxes) for record in records) == 2 * 9_555  # each is a lung opacity and a pneumonia
    assert len({record.patient_id for record in records}) == 11_439
    assert len({record.patient_id for record in records if label(record) == "pneumonia"}) == 2_359


def test_vindrs_totals_in_the_table_of_kaggle(tmp_path: Path) -> None:
    """A drawn table with the totals of the competition's: 67,914 rows of 15,000 images, of 10,606 of which all three
    readers say "No finding", and the boxes of each label on the 4,394 others."""
    boxes = {
        "Aortic enlargement": 7_162, "Cardiomegaly": 5_427, "Pleural thickening": 4_842, "Pulmonary fibrosis": 4_655,
        "Nodule/Mass": 2_580, "Lung Opacity": 2_483, "Pleural effusion": 2_476, "Other lesion": 2_203,
        "Infiltration": 1_247, "ILD": 1_000, "Calcification": 960, "Consolidation": 556, "Atelectasis": 279,
        "Pneumothorax": 226,
    }  # fmt: skip
    rows = [f"n{k},No finding,14,R{r},,,,\n" for k in range(10_606) for r in (8, 9, 10)]
    labels = [label for label, count in boxes.items() for _ in range(count)]
    rows += [f"a{k % 4_394},{label},0,R{8 + k // 4_394 % 3},1,2,3,4\n" for k, label in enumerate(labels)]
    assert len(rows) == 67_914
    (tmp_path / "train.csv").write_text("image_id,class_name,class_id,rad_id,x_min,y_min,x_max,y_max\n" + "".join(rows))
    records = list(SOURCES["vindr-cxr"].read(tmp_path, "v", Options(with_files=False)))
    normal = {record.image_id for record in records if record.findings == ("no finding",)}
    assert (len(records), len(normal)) == (15_000, 10_606)
    assert all(name.startswith("vindr-cxr:n") for name in normal)
    seen = {finding for record in records for finding in (*record.findings, *record.uncertain)}
    assert seen == {"no finding", *(vindr_cxr.PUBLISHED[label] for label in boxes)}


def test_openis_totals_in_its_reports(tmp_path: Path) -> None:
    """As many drawn reports as published, 3,955, 104 of them without an image, and 7,470 images."""
    (tmp_path / openi.REPORTS).mkdir()
    two = 7_470 - (3_955 - 104)  # reports of two images, if none has more
    for number in range(1, 3_956):
        count = 2 if number <= two else number <= 3_955 - 104
        images = "".join(f'<parentImage id="CXR{number}_IM-0001-{k}001"/>' for k in range(count))
        text = f'<eCitation><uId id="CXR{number}"/><MeSH><major>normal</major></MeSH>{images}</eCitation>'
        (tmp_path / openi.REPORTS / f"{number}.xml").write_text(text)
    records = list(SOURCES["openi"].read(tmp_path, "o", Options(with_files=False)))
    assert len({record.image_id for record in records}) == len(records) == 7_470
    assert len({record.patient_id for record in records}) == 3_955 - 104
    assert {record.left_out for record in records} == {openi.NO_TABLE}  # which are lateral, the reports do not say
