"""Groups, and the split by group."""

import ibis
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cxrflow.errors import CxrflowError
from cxrflow.metadata import groups
from cxrflow.metadata.groups import NO_PAIRS, check_classes, components, joined, split_of
from cxrflow.metadata.rules import named_groups
from cxrflow.params import Split
from cxrflow.task import Task

SPLIT = Split(train=0.65, val=0.15, test=0.2, seed=0)


def table(*rows: tuple[str | None, str, str | None]) -> pd.DataFrame:
    """Rows of (patient, path, content), with image ids i0, i1, ..."""
    frame = pd.DataFrame(rows, columns=["patient_id", "path", "content_hash"], dtype=object)
    return frame.assign(image_id=[f"i{n}" for n in range(len(rows))])


def group_ids(frame: pd.DataFrame, near: np.ndarray) -> pd.Series:
    """The names of the groups of rows with the same patient, same file or near repeats."""
    group = components(frame, ("patient_id", "path", "content_hash"), near)
    rows = frame[["image_id", "patient_id"]].assign(
        position=range(len(frame)), group=group, paediatric=False, left_out=None
    )
    texts = dict.fromkeys(("image_id", "patient_id", "left_out"), "string")
    table = ibis.memtable(rows, schema=texts | {"position": "int64", "group": "int32", "paediatric": "bool"})
    names = named_groups(table).order_by("position").to_pandas().group_id
    return pd.Series(names.tolist(), index=frame.index, dtype=object)


def test_by_patient_by_file_by_content_and_along_the_chain() -> None:
    frame = table(
        ("b", "1", "h1"), ("b", "2", "h2"),  # one patient
        ("a", "3", "h2"),                    # the same bytes as an image of b
        (None, "3", None),                   # the same file as that
        (None, "4", "h4"),                   # near the last
        (None, "5", None), (None, "6", None),  # nobody knows, two of them
        ("c", "7", "h7"),
    )  # fmt: skip
    groups = group_ids(frame, np.array([[3, 4]]))
    assert groups.tolist() == ["a"] * 5 + ["i5", "i6", "c"]


def test_a_single_row_and_none() -> None:
    assert group_ids(table(("a", "1", "h")), NO_PAIRS).tolist() == ["a"]
    assert group_ids(table(), NO_PAIRS).tolist() == []


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 19), st.integers(-2, 19)), max_size=25), st.integers(1, 9))
def test_nodes_are_joined_as_scipy_joins_them(links, size) -> None:
    """In parts of any size; a negative number is no node."""
    one, other = np.array(links, dtype=np.int32).reshape(-1, 2).T
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(groups, "_PART", size)
        found = joined(20, [(one[::2], other[::2]), (one[1::2], other[1::2])])
    known = other >= 0
    graph = coo_array((np.ones(known.sum()), (one[known], other[known])), shape=(20, 20))
    _, component = connected_components(graph, directed=False)
    assert found.tolist() == [component.tolist().index(number) for number in component]


ROW = st.tuples(
    st.one_of(st.none(), st.sampled_from("abcdefgh")),
    st.integers(0, 30).map(str),
    st.one_of(st.none(), st.integers(0, 30).map(str)),
)


@settings(max_examples=50)
@given(st.lists(ROW, min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_reordering_renames_nobody_and_groups_are_closed(rows, random) -> None:
    frame = table(*rows)
    groups = group_ids(frame, NO_PAIRS)
    for key in ("patient_id", "path", "content_hash"):
        assert groups.groupby(frame[key]).nunique().eq(1).all()
    # Not coarser than the obvious closure, repeated until nothing changes.
    member = list(range(len(rows)))
    for _ in rows:
        for i, one in enumerate(rows):
            for j, other in enumerate(rows):
                if any(a == b and a is not None for a, b in zip(one, other, strict=True)):
                    member[i] = member[j] = min(member[i], member[j])
    assert groups.nunique() == len(set(member))
    order = list(range(len(rows)))
    random.shuffle(order)
    again = group_ids(frame.iloc[order].reset_index(drop=True), NO_PAIRS)
    assert dict(zip(frame.image_id.iloc[order], again, strict=True)) == dict(zip(frame.image_id, groups, strict=True))


@settings(max_examples=50)
@given(st.lists(ROW, min_size=1, max_size=8), st.integers(1, 5))
def test_adding_strangers_renames_nobody(rows, strangers) -> None:
    alone = group_ids(table(*rows), NO_PAIRS)
    more = [("0 first in the alphabet" + str(n), f"other {n}", None) for n in range(strangers)]
    assert group_ids(table(*rows, *more), NO_PAIRS).tolist()[: len(rows)] == alone.tolist()


@settings(max_examples=25)
@given(st.tuples(*[st.integers(1, 20)] * 3), st.integers(0, 5))
def test_shares_are_roughly_as_wanted(weights, seed) -> None:
    train, val = weights[0] / sum(weights), weights[1] / sum(weights)
    split = Split(train=train, val=val, test=1 - train - val, seed=seed)
    sides = [split_of(f"group {n}", split) for n in range(10_000)]
    for side in ("train", "val", "test"):
        wanted = getattr(split, side)
        # five standard deviations of a binomial share
        assert abs(sides.count(side) / 10_000 - wanted) < 5 * np.sqrt(wanted * (1 - wanted) / 10_000)


@given(st.text(), st.integers(0, 2**31))
def test_a_group_stays_where_it_is_as_training_grows(group, seed) -> None:
    """The side depends on nothing but name, seed and shares; a larger training side takes, and gives nobody away."""
    small = Split(train=0.5, val=0.2, test=0.3, seed=seed)
    large = Split(train=0.7, val=0.2, test=0.1, seed=seed)
    assert split_of(group, small) == split_of(group, small.model_copy())
    if split_of(group, small) == "train":
        assert split_of(group, large) == "train"
    if split_of(group, large) == "test":
        assert split_of(group, small) == "test"


def test_the_split_is_this_one_for_good() -> None:
    """Worked out with sha256sum of "0:<group>": its first 13 digits as a share of 16 ** 13 are 0.9241 and 0.6978."""
    assert split_of("nih:00001684", SPLIT) == "test"
    assert split_of("covid-chestxray:2", SPLIT) == "val"


def counted(**sides: list[str]) -> pd.DataFrame:
    """The number of groups of each class and side, given the sides of a class's groups."""
    rows = [(label, side, sides[label].count(side)) for label in sides for side in dict.fromkeys(sides[label])]
    return pd.DataFrame(rows, columns=["label", "split", "groups"])


ALL = ["train", "val", "test"]


def task(*labels: str) -> Task:
    findings = ("no finding", "pneumonia", "effusion", "mass")
    return Task(classes={label: (finding,) for label, finding in zip(labels, findings, strict=False)}, positive="a")


FOUR = ("a", "b", "c", "d")


@pytest.mark.parametrize("count", [2, 4])
def test_a_class_on_every_side_passes(count) -> None:
    labels = FOUR[:count]
    check_classes(counted(**(dict.fromkeys(labels, ALL) | {"b": [*ALL, "train"]})), task(*labels))


@pytest.mark.parametrize("label", FOUR)
@pytest.mark.parametrize(("sides", "groups", "none"), [(["train", "val"], 2, "test"), (["val"], 1, "train, test")])
def test_a_class_with_too_few_groups_stops_at_once(label, sides, groups, none) -> None:
    with pytest.raises(CxrflowError, match=rf"class {label} has {groups} groups?.*none in .*{none}"):
        check_classes(counted(**(dict.fromkeys(FOUR, ALL) | {label: sides})), task(*FOUR))


@pytest.mark.parametrize("why", ["", "Of the 3 rows left out, most for these reasons: unknown label (3 rows)."])
def test_a_class_without_an_image_is_said_to_have_none(why: str) -> None:
    with pytest.raises(CxrflowError, match="no image of class c is kept") as stopped:
        check_classes(counted(**(dict.fromkeys(FOUR, ALL) | {"c": []})), task(*FOUR), why)
    assert str(stopped.value).endswith(f"a task of your own.{why and f' {why}'}")


@pytest.mark.parametrize(
    ("sides", "said"), [([], "no image of class c is kept"), (["train"], "on the sides val, test")]
)
def test_a_class_of_children_names_the_parameter_about_them(sides: list[str], said: str) -> None:
    with pytest.raises(CxrflowError, match=f"{said}.*metadata.paediatric: keep, as overrides: children") as stopped:
        check_classes(counted(**(dict.fromkeys(FOUR, ALL) | {"c": sides})), task(*FOUR), "", {"c"})
    assert "--overrides" not in str(stopped.value)
