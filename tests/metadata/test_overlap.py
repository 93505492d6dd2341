"""Which collection holds what of which other: counted by hand."""

import numpy as np
import pandas as pd
import pytest

from cxrflow.errors import CxrflowError
from cxrflow.metadata import rules
from cxrflow.metadata.build import build_records
from cxrflow.metadata.overlap import collection_overlap, meeting, most_shared, overlap_map, print_overlap
from cxrflow.metadata.stage import run
from cxrflow.params import Sources
from cxrflow.records import Record, to_frame

NONE = np.empty((0, 2), dtype=np.int64)


def rows(*given: tuple[str, dict[str, object]]) -> pd.DataFrame:
    """Records of (source, what differs from the default)."""
    records = [Record(f"{source}:{k}", source, f"{source}/{k}.png") for k, (source, _) in enumerate(given)]
    frame = to_frame(records).assign(label=pd.Series(["covid"] * len(records), dtype=object))
    for position, (_, values) in enumerate(given):
        for name, value in values.items():
            frame.at[position, name] = value
    return frame


def between(table: pd.DataFrame, collection: str, other: str) -> dict[str, int]:
    found = table[(table.collection == collection) & (table.other == other)]
    assert len(found) == 1
    return found.iloc[0].to_dict()


def test_a_copy_is_counted_once_by_the_surest_sign(as_table) -> None:
    """b holds a's 0 as the same file, 1 as a near repeat, 2 by its URL; its image 6 is its own."""
    records = rows(
        ("a", {"content_hash": "0", "url": "https://www.page.org/0"}),
        ("a", {"content_hash": "1"}),
        ("a", {"content_hash": "2", "url": "http://page.org/2/"}),
        ("b", {"content_hash": "0", "url": "https://page.org/0", "left_out": rules.SAME_FILE}),
        ("b", {"content_hash": "4", "label": "normal", "left_out": rules.CONFLICT}),
        ("b", {"content_hash": "5", "url": "https://page.org/2", "left_out": rules.SAME_URL}),
        ("b", {"content_hash": "6"}),
        ("b", {"left_out": "file is absent"}),
    )
    table = collection_overlap(as_table(records), np.array([[1, 4]]))
    of_b, of_a = between(table, "b", "a"), between(table, "a", "b")
    assert [of_b[k] for k in ("images", "same_file", "near", "same_url", "repeated")] == [4, 1, 1, 1, 3]
    assert [of_a[k] for k in ("images", "same_file", "near", "same_url", "repeated")] == [3, 1, 1, 1, 3]
    assert (of_b["other_label"], of_a["other_label"]) == (1, 1)
    assert between(table, "a", "a")["repeated"] == 0


def test_near_repeats_count_along_their_chain(as_table) -> None:
    records = rows(*[(source, {"content_hash": str(k)}) for k, source in enumerate("abc")])
    table = collection_overlap(as_table(records), np.array([[0, 1], [1, 2]]))
    assert between(table, "c", "a")["near"] == 1


def test_repeats_within_a_collection_and_shared_people(as_table) -> None:
    records = rows(
        ("a", {"content_hash": "0", "patient_id": "p1", "url": "page"}),
        ("a", {"content_hash": "0", "patient_id": "p2", "url": "page", "left_out": rules.SAME_FILE}),
        ("a", {"content_hash": "2", "patient_id": "p2", "url": "page"}),
        ("b", {"content_hash": "3", "patient_id": "p2"}),
        ("b", {"content_hash": "4", "patient_id": "p2"}),
        ("b", {"content_hash": "5", "patient_id": "p9", "left_out": "no finding given"}),
    )
    table = collection_overlap(as_table(records), NONE)
    itself = between(table, "a", "a")
    assert (itself["same_file"], itself["near"], itself["same_url"], itself["repeated"]) == (2, 0, 0, 2)
    assert (between(table, "a", "b")["shared_patients"], between(table, "a", "b")["patients"]) == (1, 2)
    assert (between(table, "b", "a")["shared_patients"], between(table, "b", "a")["patients"]) == (1, 1)
    assert {(m.collection, m.other) for m in meeting(table).itertuples()} == {("a", "a"), ("a", "b"), ("b", "a")}


@pytest.mark.parametrize("first", [True, False])
def test_the_picture_that_occurs_with_most_patients(first) -> None:
    """Of a group at positions 3, 4, ...: one file of a patient twice, then another of two patients; or turned round."""
    files = [("p", "0"), ("p", "0"), ("p", "1"), ("q", "1"), ("r", "2")]
    group = pd.DataFrame(files if first else files[::-1], columns=["patient_id", "content_hash"], dtype=object)
    group = group.assign(left_out=None).set_index(pd.RangeIndex(3, 8))
    assert most_shared(group, NONE) == ((5, 2, 2) if first else (4, 2, 2))
    near = np.array([[5, 7]] if first else [[3, 4]])
    assert most_shared(group, near) == ((5, 3, 3) if first else (3, 3, 3))
    assert most_shared(group[group.patient_id == "p"], NONE) is None


def test_the_picture_shows_every_collection_and_is_the_same_twice(as_table) -> None:
    records = rows(("a", {"content_hash": "0"}), ("m$n<i>", {"content_hash": "0", "left_out": rules.SAME_FILE}))
    picture = overlap_map(collection_overlap(as_table(records), NONE))
    assert picture == overlap_map(collection_overlap(as_table(records), NONE))
    text = picture.decode()
    assert "Images also in" in text
    assert "&lt;i&gt;" in text
    assert "<i>" not in text


def test_collections_that_share_nothing_are_said_to(as_table, capsys: pytest.CaptureFixture[str]) -> None:
    print_overlap(collection_overlap(as_table(rows(("a", {"content_hash": "0"}), ("b", {}))), NONE))
    assert "No collection holds" in capsys.readouterr().out


def test_files_of_two_folders_are_told_apart_and_found_again(own, how, demo_params, engine, tmp_path) -> None:
    own([["one.png", "covid", "p1"], ["two.png", "normal", "p2"]], {"one.png": 1, "two.png": 2}, "first")
    root = own([["copy.png", "covid", "q1"], ["new.png", "normal", "q2"]], {"copy.png": 1, "new.png": 3}, "second")
    sources = Sources(root=str(root), collections=None)
    built = build_records(sources, how, demo_params.task, engine, tmp_path, split=False)
    table = collection_overlap(built.table, built.near)
    assert between(table, "second", "first")["same_file"] == 1
    assert between(table, "first", "second")["repeated"] == 1


def test_a_folder_without_a_class_has_its_overlap_all_the_same(own, how, demo_params, engine, tmp_path) -> None:
    """As NIH and RSNA have no COVID-19: nothing can be trained on them, but they can be compared."""
    own([["one.png", "normal", "p1"], ["two.png", "normal", "p2"]], {"one.png": 1, "two.png": 2}, "first")
    root = own([["copy.png", "normal", "q1"], ["new.png", "normal", "q2"]], {"copy.png": 1, "new.png": 3}, "second")
    sources = Sources(root=str(root), collections=None)
    with pytest.raises(CxrflowError, match="no image of class covid is kept"):
        run(sources, how, demo_params.task, engine, tmp_path / "data", tmp_path / "results")
    table = pd.read_csv(tmp_path / "results" / "overlap.csv")
    assert between(table, "second", "first")["same_file"] == 1
    assert (tmp_path / "results" / "overlap.svg").exists()
    assert not (tmp_path / "data" / "records.csv").exists()  # no later stage goes on with it
