"""Hannover's COVID-19 Image Repository, and its patients in covid-chestxray-dataset."""

from cxrflow.sources import find_collections, read_collections
from cxrflow.sources.collection import Options

URL = "https://github.com/ml-workgroup/covid-19-image-repository"


def test_views_sexes_and_days_since_admission(make_tiny, read) -> None:
    records = read("hannover", make_tiny("hannover"))
    assert [(r.path.partition("/")[2], r.patient_id, r.view, r.sex, r.day) for r in records] == [
        ("png/fff13f3a.png", "hannover:024e7871", "PA", "F", 0),
        ("png/c9280a30.png", "hannover:042f06a9", "AP", "M", 2),
        ("png/53c9be49.png", "hannover:042f06a9", "AP", "F", None),
    ]
    assert str(records[0].day) == "0.0"  # not -0.0


def test_its_patients_in_covid_chestxray_are_the_same_people(make_tiny) -> None:
    copies = make_tiny("covid-chestxray")
    rest = ["AP", "X-ray", "images"]
    copies.add(["219", "", "M", "", "Pneumonia/Viral/COVID-19", *rest, "c9280a30.jpg", URL])
    copies.add(["219", "", "M", "", "No Finding", *rest, "cae2c0a9.jpg", URL])  # of the same person; not in version 2
    copies.add(["220", "", "M", "", "COVID-19", *rest, "00000000.jpg", URL])
    copies.add(["221", "", "M", "", "COVID-19", *rest, "fff13f3a.jpg", "https://somewhere.org"])  # a chance
    copies.write()

    def patients() -> list[str]:
        found = read_collections(*find_collections(copies.root), Options())
        return [record.patient_id for record in found if record.source == "covid-chestxray"][-4:]

    assert patients() == [f"covid-chestxray:{number}" for number in (219, 219, 220, 221)]
    make_tiny("hannover").write()
    joined = "hannover:042f06a9"
    assert patients() == [joined, joined, "covid-chestxray:220", "covid-chestxray:221"]
