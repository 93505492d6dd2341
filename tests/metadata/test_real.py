"""The metadata stage on real collections, against counts worked out beforehand."""

import pandas as pd
import pytest

from cxrflow.engines import LocalEngine
from cxrflow.metadata import rules
from cxrflow.metadata.build import Built, build_records
from cxrflow.metadata.counts import reconciliation, summary
from cxrflow.metadata.overlap import collection_overlap
from cxrflow.params import Sources


@pytest.fixture(scope="module")
def build(real_data, how, demo_params, tmp_path_factory):
    work = tmp_path_factory.mktemp("real")
    sources = Sources(root=str(real_data / "sources"), collections=None)

    def run(paediatric: str) -> Built:
        params = how.model_copy(update={"paediatric": paediatric})
        return build_records(sources, params, demo_params.task, LocalEngine(), work)

    return run


@pytest.fixture(scope="module")
def built(build) -> Built:
    return build("leave_out")


def test_rows_in_are_rows_kept_and_left_out(built, build) -> None:
    records = built.records
    assert (len(records), records.left_out.isna().sum()) == (1_400, 866)
    assert reconciliation(built.table).rows.sum() == 1_400
    with_children = build("keep").records
    assert (len(with_children), with_children.left_out.isna().sum()) == (1_400, 1_126)


def test_children_for_training_alone_move_no_adult(built, build) -> None:
    records = build("train").records
    kept = records[records.left_out.isna()].set_index("image_id")
    assert len(kept) == 1_126
    assert set(kept.split[kept.paediatric]) == {"train"}
    assert kept.groupby("group_id").split.nunique().eq(1).all()
    adults = built.records[built.records.left_out.isna()].set_index("image_id")
    assert kept.split[~kept.paediatric].to_dict() == adults.split.to_dict()


def test_the_radiography_covid_images_repeat_covid_chestxray(built) -> None:
    records = built.records
    repeats = records[(records.source == "radiography") & (records.label == "covid")]
    assert repeats.left_out.tolist() == [rules.SAME_URL] * 65


def test_the_same_pictures_and_people_are_found_in_two_collections(built) -> None:
    """All 65 images that the rule of URLs leaves out are the same pictures, and RSNA's people are NIH's."""
    table = collection_overlap(built.table, built.near).set_index(["collection", "other"])
    found = table.loc["radiography", "covid-chestxray"]
    assert found.same_file + found.near == found.repeated == 65
    assert table.loc[("rsna", "nih"), "shared_patients"] == 24


def test_no_group_is_on_two_sides_and_every_class_on_each(built) -> None:
    kept = built.records[built.records.left_out.isna()]
    assert kept.groupby("group_id").split.nunique().eq(1).all()
    assert (kept.groupby(["split", "label"]).size() > 0).sum() == 9
    assert kept.groupby(kept.patient_id.dropna()).split.nunique().eq(1).all()


def test_the_largest_group_is_a_patient_not_a_chain(built) -> None:
    alone = {"group_id": "nih:00001684", "images": 9, "patients": 1, "joined_by": None}
    assert summary(built)["largest_group"] == alone


def test_people_of_both_collections_meet(built) -> None:
    kept = built.records[built.records.left_out.isna()]
    sources: pd.Series = kept.groupby("group_id").source.unique().map(set)
    assert (sources == {"rsna", "nih"}).sum() > 0


def test_repeats_that_a_crop_or_another_exposure_hid_are_in_one_group(built) -> None:
    """Three radiographs that are published twice, looked at by eye; before alignment they were on two sides."""
    group = built.records.set_index("image_id").group_id
    for one, other in (
        ("covid-chestxray:A7E260CE-8A00-4C5F-A7F5-27336527A981.jpeg", "covid-chestxray:case_76_1-3.png"),
        ("covid-chestxray:2-chest-filmc.jpg", "covid-chestxray:7-fatal-covid19.jpg"),
        ("covid-chestxray:16654_1_1.png", "figure1:COVID-00045"),
    ):
        assert group[one] == group[other]
