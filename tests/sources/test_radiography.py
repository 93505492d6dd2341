"""Versions 3 to 5 of the Radiography database, which take in others' images; version 1 is in test_collections.py."""

from collections import Counter

import pytest

from cxrflow.errors import CxrflowError
from cxrflow.sources import find_collections, radiography, read_collections
from cxrflow.sources.collection import Options

RSNA = "https://www.kaggle.com/c/rsna-pneumonia-detection-challenge/data"
KERMANY = "https://www.kaggle.com/paultimothymooney/chest-xray-pneumonia"
BIMCV = "https://bimcv.cipf.es/bimcv-projects/bimcv-covid19/#1590858128006-9e640421-6711"
HANNOVER = "https://github.com/ml-workgroup/covid-19-image-repository/tree/master/png"


def table(*rows: tuple[str, str]) -> list[list[str]]:
    return [["FILE NAME", "FORMAT", "SIZE", "URL"], *([name, "PNG", "256*256", url] for name, url in rows)]


@pytest.fixture
def version_5(make_tiny):
    tiny = make_tiny("radiography")
    tiny.folder = "COVID-19_Radiography_Dataset"
    tiny.tables = {
        "COVID.metadata.xlsx": table(("COVID-1", BIMCV), ("COVID-2", BIMCV), ("COVID-100", HANNOVER)),
        "Lung_Opacity.metadata.xlsx": table(("Lung_Opacity-1", RSNA)),
        "Normal.metadata.xlsx": table(("NORMAL-1", RSNA), ("NORMAL-2", KERMANY)),
        "Viral Pneumonia.metadata.xlsx": table(("Viral Pneumonia-1", KERMANY)),
    }
    tiny.files = [
        "COVID/images/COVID-1.png",
        "COVID/images/COVID-100.png",
        "COVID/masks/COVID-1.png",
        "Lung_Opacity/images/Lung_Opacity-1.png",
        "Normal/images/Normal-1.png",
        "Normal/images/Normal-2.png",
        "Viral Pneumonia/images/Viral Pneumonia-1.png",
        "README.md.txt",
    ]
    return tiny


def test_version_5(version_5) -> None:
    version_5.write()
    files = {}
    records = list(read_collections(*find_collections(version_5.root), Options(), files))
    assert [(r.path.partition("/")[2], r.findings, r.paediatric) for r in records] == [
        ("COVID/images/COVID-1.png", ("pneumonia/viral/covid-19",), False),
        ("COVID/images/COVID-2.png", ("pneumonia/viral/covid-19",), False),  # not there: the run says so
        ("COVID/images/COVID-100.png", ("pneumonia/viral/covid-19",), False),  # discarded is number 100 of version 1
        ("Lung_Opacity/images/Lung_Opacity-1.png", ("lung opacity", "pneumonia"), False),  # as RSNA says of its own
        ("Normal/images/Normal-1.png", ("no finding",), False),  # an adult of RSNA
        ("Normal/images/Normal-2.png", ("no finding",), True),  # a child of Kermany's
        ("Viral Pneumonia/images/Viral Pneumonia-1.png", ("pneumonia/viral",), True),
    ]
    assert [record.url for record in records] == [BIMCV, BIMCV, HANNOVER, RSNA, RSNA, KERMANY, KERMANY]
    # the address of a collection is no person: 2,473 images of BIMCV would be one group
    assert {record.patient_id for record in records} == {None}
    assert {record.left_out for record in records} == {None}
    assert files["COVID-19_Radiography_Dataset"].unlisted == Counter({"COVID/*.png": 1})  # the mask


def test_version_4_has_no_folder_of_images_and_masks(version_5) -> None:
    version_5.files = [file.replace("/images/", "/") for file in version_5.files if "/masks/" not in file]
    version_5.write()
    records = list(read_collections(*find_collections(version_5.root), Options()))
    assert [record.path.partition("/")[2] for record in records][-2:] == [
        "Normal/Normal-2.png",
        "Viral Pneumonia/Viral Pneumonia-1.png",
    ]


def test_version_3_has_no_lung_opacity_and_numbers_in_brackets(version_5) -> None:
    version_5.folder = "COVID-19 Radiography Database"
    version_5.tables = {
        "COVID.metadata.xlsx": table(("COVID 626", HANNOVER), ("COVID 1", "")),
        "NORMAL.metadata.xlsx": table(("NORMAL-1", KERMANY)),
        "Viral Pneumonia.matadata.xlsx": table(("Viral Pneumonia-1", KERMANY)),
    }
    version_5.files = [
        "COVID/COVID (626).png",
        "COVID/COVID(1).png",
        "NORMAL/NORMAL (1).png",
        "Viral Pneumonia/Viral Pneumonia (1).png",
    ]
    version_5.write()
    records = list(read_collections(*find_collections(version_5.root), Options()))
    assert [record.path.partition("/")[2] for record in records] == version_5.files
    assert [record.paediatric for record in records] == [False, False, True, True]


def test_tables_of_another_name_are_met_with_what_was_expected_and_found(version_5) -> None:
    version_5.tables["COVID-19 metadata.csv"] = version_5.tables.pop("COVID.metadata.xlsx")
    version_5.write()
    says = (
        r"/COVID\.metadata\.xlsx: the table is absent \(expected: version 1 with .*; or a later one with "
        r"COVID\.metadata\.xlsx, .*; found: COVID-19 metadata\.csv, Lung_Opacity\.metadata\.xlsx, "
    )
    with pytest.raises(CxrflowError, match=says):
        list(read_collections(*find_collections(version_5.root), Options()))


def test_folders_of_version_5_without_any_table_ask_for_its_tables(version_5) -> None:
    version_5.tables = {}
    version_5.write()
    with pytest.raises(CxrflowError, match=r"/COVID\.metadata\.xlsx: the table is absent .*; found: .*COVID/, "):
        list(read_collections(*find_collections(version_5.root), Options()))


def test_two_versions_side_by_side_are_refused(version_5, make_tiny) -> None:
    version_5.write()
    make_tiny("radiography").write()
    with pytest.raises(CxrflowError, match=r"radiography is there twice \(COVID-19-Radiography-Database, COVID-19_Rad"):
        find_collections(version_5.root)


def test_the_published_totals_of_version_5(version_5) -> None:
    """21,165 images: 3,616 of COVID-19, 6,012 lung opacities, 10,192 normal (8,851 RSNA's), 1,345 viral (README)."""
    folder = version_5.write()
    named = {
        "COVID": [BIMCV] * 2_473 + [HANNOVER] * 183 + ["https://sirm.org/"] * 960,
        "Lung_Opacity": [RSNA] * 6_012,
        "Normal": [RSNA] * 8_851 + [KERMANY] * 1_341,
        "Viral Pneumonia": [KERMANY] * 1_345,
    }
    for kind, urls in named.items():  # as text, which is read by its content and faster than workbooks
        rows = [f"{kind}-{number},PNG,256*256,{url}\n" for number, url in enumerate(urls, 1)]
        (folder / f"{kind}.metadata.xlsx").write_text("FILE NAME,FORMAT,SIZE,URL\n" + "".join(rows))
    records = list(radiography.read(folder, folder.name, Options(with_files=False)))
    assert len(records) == 21_165
    assert Counter(record.finding for record in records) == {kind: len(urls) for kind, urls in named.items()}
    assert sum(record.paediatric for record in records) == 1_341 + 1_345
