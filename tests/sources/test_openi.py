"""Open-i's Indiana collection: MeSH terms in the one vocabulary, laterals, reports in XML and tables made from them."""

import pytest

from cxrflow.errors import CxrflowError
from cxrflow.findings import FINDINGS
from cxrflow.sources import find_collections, openi, read_collections
from cxrflow.sources.collection import Options

#: A report as published, less the text, which the reader does not look at.
REPORT = """<?xml version="1.0" encoding="utf-8"?>
<eCitation><meta type="rr"/><uId id="CXR{uid}"/><pmcId id="{uid}"/><docSource>CXR</docSource>
<licenseURL>http://creativecommons.org/licenses/by-nc-nd/4.0/</licenseURL>
<MedlineCitation><Article><Abstract><AbstractText Label="FINDINGS">No pneumonia. é</AbstractText></Abstract></Article>
</MedlineCitation><MeSH>{terms}<automatic>pneumonia</automatic></MeSH>{images}</eCitation>"""


def report(folder, uid, terms, *images) -> None:
    (folder / "ecgen-radiology").mkdir(parents=True, exist_ok=True)
    text = REPORT.format(
        uid=uid,
        terms="".join(f"<major>{term}</major>" for term in terms),
        images="".join(f'<parentImage id="{image}"><figureId>F1</figureId></parentImage>' for image in images),
    )
    (folder / "ecgen-radiology" / f"{uid}.xml").write_text(text, encoding="utf-8")


@pytest.mark.parametrize(
    ("terms", "findings", "label"),
    [
        (["normal"], ("no finding",), "normal"),
        (["Cardiomegaly/borderline", "Pulmonary Artery/enlarged"], ("cardiomegaly", "enlarged pulmonary artery"), None),
        (["Pneumonia/lung/base/left", "Opacity/lung/base/left"], ("pneumonia", "lung opacity"), "pneumonia"),
        # the qualifier says what it is
        (["Opacity/retrocardiac"], ("other finding",), None),
        (["Thickening/pleura/apex"], ("pleural thickening",), None),
        (["Fractures, Bone/ribs", "Fractures, Bone/clavicle"], ("fracture/rib", "fracture/clavicle"), None),
        (["Fractures, Bone/humerus"], ("fracture",), None),
        (["Costophrenic Angle/right/blunted"], ("costophrenic angle blunting",), None),
        (["Calcified Granuloma/lung", "Granuloma"], ("calcification", "granuloma"), None),
        # a term without an equivalent is not normal, nor is "normal" beside it
        (["Spine/degenerative"], ("other finding",), None),
        (["normal", "Spondylosis"], ("other finding",), None),
        (["No Indexing"], ("not determined",), None),
        (["Technical Quality of Image Unsatisfactory ", "Lung/hypoinflation"], ("other finding",), None),
        ([], (), None),
        ([""], (), None),
    ],
)
def test_terms(terms, findings, label, demo_params) -> None:
    assert openi.findings_of(tuple(terms)) == findings
    assert demo_params.task.label_of(findings)[0] == label


def test_every_translation_ends_in_the_vocabulary() -> None:
    assert {finding for findings in openi.PUBLISHED.values() for finding in findings} <= set(FINDINGS)


def test_reports_with_the_projections_of_the_other_release(tmp_path) -> None:
    folder = tmp_path / "NLMCXR"
    report(folder, 10, ["Pneumonia"], "CXR10_IM-0002-1001", "CXR10_IM-0002-2001")
    report(folder, 1, ["normal"], "CXR1_1_IM-0001-3001", "CXR1_1_IM-0001-4001")
    report(folder, 2, ["normal"])  # 104 of the published reports have no image
    (folder / "indiana_projections.csv").write_text(
        "uid,filename,projection\n1,1_IM-0001-4001.dcm.png,Frontal\n1,1_IM-0001-3001.dcm.png,Lateral\n"
        "10,10_IM-0002-1001.dcm.png,Frontal\n"
    )
    (folder / "NLMCXR_png").mkdir()
    (folder / "NLMCXR_png/CXR1_1_IM-0001-4001.png").touch()
    options = Options()
    lateral, frontal, other, unknown = read_collections(*find_collections(tmp_path), options)
    assert (frontal.view, frontal.left_out, frontal.findings) == ("Frontal", None, ("no finding",))
    assert lateral.left_out == "view is Lateral, not frontal"
    assert (other.image_id, other.view, other.finding) == ("openi:10_IM-0002-1001", "Frontal", "Pneumonia")
    assert (unknown.view, unknown.left_out) == (None, openi.NOT_GIVEN)
    assert frontal.path == "NLMCXR/NLMCXR_png/CXR1_1_IM-0001-4001.png"
    assert [record.patient_id for record in (lateral, frontal, other)] == ["openi:1", "openi:1", "openi:10"]
    assert options.unread == []


def test_without_projections_no_image_is_taken_for_a_frontal_one(tmp_path) -> None:
    report(tmp_path / "NLMCXR", 1, ["normal"], "CXR1_1_IM-0001-3001", "CXR1_1_IM-0001-4001")
    records = list(read_collections(*find_collections(tmp_path), Options(with_files=False)))
    assert [record.left_out for record in records] == [openi.NO_TABLE] * 2
    assert "put it beside ecgen-radiology" in openi.NO_TABLE


def test_an_image_without_a_projection_in_the_table_is_left_out(make_tiny, read) -> None:
    tiny = make_tiny("openi")
    tiny.add(["1", "1_IM-0001-3001.dcm.png", ""])
    assert [record.left_out for record in read("openi", tiny)] == [None] * 3 + [openi.NOT_GIVEN]


def test_laterals_and_the_ids_of_both_releases_agree(make_tiny, read, tmp_path) -> None:
    tiny = make_tiny("openi")
    tiny.add(["1", "1_IM-0001-3001.dcm.png", "Lateral"])
    *_, lateral = by_table = read("openi", tiny)
    assert lateral.left_out == "view is Lateral, not frontal"
    report(tmp_path / "NLMCXR", 1, ["normal"], "CXR1_1_IM-0001-4001", "CXR1_1_IM-0001-3001")
    by_report = list(openi.read(tmp_path / "NLMCXR", "NLMCXR", Options(with_files=False)))
    assert [r.image_id for r in by_report] == [by_table[0].image_id, lateral.image_id]
    assert by_report[0].patient_id == by_table[0].patient_id
    assert by_table[0].path.endswith("/images/images_normalized/1_IM-0001-4001.dcm.png")


@pytest.mark.parametrize(
    "damage",
    ["", "no report", "<eCitation/>", REPORT[:200], '<eCitation><uId id="CXR1"/><parentImage/></eCitation>',
     '<!DOCTYPE e [<!ENTITY a "aaaa">]><eCitation><uId id="CXR1"/></eCitation>', " " * (1 << 21)],
)  # fmt: skip
def test_a_damaged_report_is_one_sentence(tmp_path, damage) -> None:
    report(tmp_path, 1, ["normal"], "CXR1_1_IM-0001-3001")
    (tmp_path / "ecgen-radiology/2.xml").write_text(damage)
    with pytest.raises(CxrflowError, match=r"2\.xml: not a report of the collection \(.*\); put it there again\.$"):
        list(openi.read(tmp_path, "NLMCXR", Options(with_files=False)))
