"""BIMCV-COVID19+: what an image shows depends on the PCR nearest to it."""

import datetime

import pytest

from cxrflow.sources import bimcv_covid19, find_collections, read_collections
from cxrflow.sources.bimcv_covid19 import FINDING, NO_DATE, NO_PCR, NOT_POSITIVE, findings_of
from cxrflow.sources.collection import Options

STUDY = datetime.date(2020, 4, 15)


def day(number: int) -> datetime.date:
    return STUDY + datetime.timedelta(days=number)


@pytest.mark.parametrize(
    ("tests", "finding", "reason"),
    [
        ([(0, True)], FINDING, None),
        ([(-14, True)], FINDING, None),
        ([(14, True)], FINDING, None),
        ([(-15, True)], None, NO_PCR),
        ([(15, True)], None, NO_PCR),
        ([], None, NO_PCR),
        ([(-2, False)], None, NOT_POSITIVE),
        ([(-2, False), (-3, True)], None, NOT_POSITIVE),  # recovered
        ([(-3, False), (-2, True)], FINDING, None),
        ([(-2, False), (2, True)], FINDING, None),  # a false negative is the likelier error
        ([(0, False), (0, True)], FINDING, None),
        ([(-40, True), (-20, False)], None, NO_PCR),
    ],
)
def test_the_nearest_pcr_decides(tests, finding, reason) -> None:
    results = [(day(number), positive) for number, positive in tests]
    assert findings_of(STUDY, results) == ((finding,) if finding else (), reason)


def test_without_a_date_nothing_is_known() -> None:
    assert findings_of(None, [(STUDY, True)]) == ((), NO_DATE)


@pytest.fixture
def tiny(make_tiny):
    tiny = make_tiny("bimcv-covid19")
    tiny.tables["derivatives/EHR/sil_reg_covid_posi.tsv"] += [
        ["sub-S1", "2.6.2020", "IgG", "POSITIVO"],  # an antibody is no proof that it shows
        ["sub-S1", "1.6.2020", "PCR", "INDETERMINADO"],
        ["sub-S1", "31.2.2020", "PCR", "POSITIVO"],  # no date
    ]
    return tiny


def records(tiny, options=None):
    return list(read_collections(*find_collections(tiny.root), options or Options()))


def test_people_views_and_paths(tiny) -> None:
    tiny.write()
    first, second, third = records(tiny)
    assert first.path == f"covid19_posi/{tiny.files[0]}"
    assert (first.patient_id, first.view, first.age, first.sex) == ("bimcv-covid19:sub-S1", "AP", 62, "M")
    assert (first.findings, first.finding) == ((FINDING,), "PCR POSITIVO")
    assert second.left_out == NO_PCR
    assert (third.patient_id, third.view, third.age, third.sex) == ("bimcv-covid19:sub-S2", "PA", None, None)
    assert records(tiny, Options(with_files=False)) == [first, second, third]  # no table lists the images


def test_lateral_views_and_other_body_parts_are_left_out(tiny) -> None:
    place = "sub-S1/ses-E1/mod-rx/sub-S1_ses-E1_acq-2_run-1"
    tiny.files = [f"{place}_bp-chest_vp-ll_cr.png", f"{place}_bp-abdomen_vp-ap_cr.png", f"{place}_bp-chest_cr.png"]
    tiny.files += ["sub-S1/ses-E1/mod-rx/sub-S1_ses-E1_run-1_bp-chest_ct.nii.gz"]
    tiny.write()
    assert [(r.left_out, r.view) for r in records(tiny)] == [
        ("body part is abdomen, not chest", "AP"),
        (None, None),  # view not published: the check for frontal radiographs looks
        ("view is ll, not frontal", None),
    ]


def test_people_without_a_table_of_sessions_are_left_out(tiny) -> None:
    del tiny.tables["sub-S1/sub-S1_sessions.tsv"]
    tiny.tables["sub-S2/sub-S2_sessions.tsv"][1][1] = ""
    tiny.write()
    assert [record.left_out for record in records(tiny)] == [NO_DATE] * 3


def test_iteration_3_has_its_tests_in_a_table_of_another_name(tiny) -> None:
    rows = tiny.tables.pop(bimcv_covid19.TESTS[1])
    tiny.texts = {bimcv_covid19.TESTS[0]: "".join("\t".join(row) + "\n" for row in rows)}
    tiny.write()
    assert [record.left_out for record in records(tiny)] == [None, NO_PCR, NOT_POSITIVE]


def test_a_participant_that_names_another_folder_is_not_opened(tiny) -> None:
    tiny.tables["participants.tsv"].append(["sub-S1/../../elsewhere", "", "", "", ""])
    tiny.files = [*tiny.files, "../elsewhere/ses-E1/mod-rx/a.png"]
    tiny.write()
    assert [record.left_out for record in records(tiny)][3:] == ["row names no image"]
