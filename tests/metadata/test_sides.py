"""Sides that stay: whatever is added, taken out or joined, nobody leaves a side but for training."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrflow.errors import CxrflowError
from cxrflow.metadata.build import SIDES
from cxrflow.metadata.groups import NO_PAIRS, group_ids, split_of
from cxrflow.metadata.sides import keep_sides, read_sides, write_sides
from cxrflow.params import Split

SPLIT = Split(train=0.5, val=0.2, test=0.3, seed=0)
Row = tuple[str, str | None, str | None, bool]


@pytest.fixture(scope="module")
def nothing(tmp_path_factory) -> pd.DataFrame:
    return read_sides(tmp_path_factory.mktemp("none") / SIDES)


def frame(rows: list[Row], near: list[tuple[str, str]] = ()) -> pd.DataFrame:
    """Records of (image, patient, content, kept), in the groups that these and the near repeats give."""
    table = pd.DataFrame(rows, columns=["image_id", "patient_id", "content_hash", "kept"]).astype(object)
    table = table.assign(path=table.image_id, left_out=[None if kept else "some reason" for kept in table.kept])
    at = {image: position for position, image in enumerate(table.image_id)}
    pairs = [[at[a], at[b]] for a, b in near if a in at and b in at]
    return table.assign(group_id=group_ids(table, np.array(pairs, dtype=np.int64) if pairs else NO_PAIRS))


def image(number: int, patient: int | None = None, content: int | None = None, kept: bool = True) -> Row:
    return (
        f"i{number:02}",
        None if patient is None else f"p{patient}",
        f"{number + 1000 if content is None else content:064x}",
        kept,
    )


def named(records: pd.DataFrame, sides) -> dict[str, str]:
    return dict(zip(records.image_id, sides.side, strict=True))


def on(side: str, but: tuple[int, ...] = ()) -> int:
    """A patient whose own group has this side by its hash."""
    return next(n for n in range(1000) if n not in but and split_of(f"p{n}", SPLIT) == side)


def test_the_first_sides_are_those_of_the_hash(nothing) -> None:
    records = frame([image(n, n // 2, kept=n != 7) for n in range(60)])
    sides = keep_sides(records, SPLIT, False, nothing)
    assert sides.side.tolist() == [split_of(group, SPLIT) for group in records.group_id]
    assert set(sides.side) == {"train", "val", "test"}
    assert sides.remembered.image_id.tolist() == records.image_id.tolist()  # the row left out, too
    assert sides.moved.empty
    assert not sides.anew


def test_a_group_without_a_kept_image_has_no_side(nothing) -> None:
    sides = keep_sides(frame([image(0, 0, kept=False), image(1, 1)]), SPLIT, False, nothing)
    assert sides.side[0] is None
    assert sides.remembered.image_id.tolist() == ["i01"]


def test_a_new_member_that_renames_the_group_does_not_move_it(nothing) -> None:
    """Patients "p<n>" come after "a": each group is renamed by a new patient with the same picture."""
    before = frame([image(n, n) for n in range(50)])
    first = keep_sides(before, SPLIT, False, nothing)
    more = [(f"new{n}", f"a{n}", f"{n + 1000:064x}", True) for n in range(50)]
    after = frame([image(n, n) for n in range(50)] + more)
    assert set(after.group_id) == {f"a{n}" for n in range(50)}
    second = keep_sides(after, SPLIT, False, first.remembered)
    assert second.side.tolist() == first.side.tolist() * 2
    assert second.moved.empty
    # it is the memory that keeps them: by the hash alone some would move
    assert [split_of(group, SPLIT) for group in after.group_id[:50]] != first.side.tolist()


@pytest.mark.parametrize("sides", [("val", "test"), ("train", "test"), ("train", "val")])
def test_a_link_between_two_sides_moves_all_to_train_and_says_who(nothing, sides) -> None:
    one, other = (on(side) for side in sides)
    rows = [image(0, one), image(1, other), image(2, other, kept=False)]
    first = keep_sides(frame(rows), SPLIT, False, nothing)
    assert first.side.tolist() == [sides[0], sides[1], sides[1]]
    joined = frame(rows, [("i00", "i01")])
    second = keep_sides(joined, SPLIT, False, first.remembered)
    assert second.side.tolist() == ["train"] * 3
    wanted = {name: side for name, side in zip(("i00", "i01"), sides, strict=True) if side != "train"}
    assert dict(zip(second.moved.image_id, second.moved.side, strict=True)) == wanted  # the kept ones
    third = keep_sides(joined, SPLIT, False, second.remembered)
    assert third.moved.empty
    # and there they stay when the link is gone
    assert keep_sides(frame(rows), SPLIT, False, third.remembered).side.tolist() == ["train"] * 3


@pytest.mark.parametrize("by", ["image", "content", "patient"])
def test_what_was_taken_out_comes_back_to_its_side(nothing, by) -> None:
    """The group of a val and of a test patient went to train; it returns by one sign alone."""
    one, other = on("val"), on("test")
    rows = [image(0, one), image(1, other), image(9, on("train"))]
    first = keep_sides(frame(rows), SPLIT, False, nothing)
    joined = keep_sides(frame(rows, [("i00", "i01")]), SPLIT, False, first.remembered)
    without = keep_sides(frame(rows[2:]), SPLIT, False, joined.remembered)
    assert len(without.remembered) == 3
    back = {"image": image(0, None, 77), "content": image(5, None, 1000), "patient": image(5, one, 77)}[by]
    again = keep_sides(frame([rows[2], back]), SPLIT, False, without.remembered)
    assert again.side.tolist() == ["train", "train"]
    assert again.moved.empty


def test_an_absent_image_moves_with_its_patient(nothing) -> None:
    val, test = on("val"), on("test")
    first = keep_sides(frame([image(0, val), image(1, test), image(2, test)]), SPLIT, False, nothing)
    # image 2 is absent while the link is found
    second = keep_sides(frame([image(0, val), image(1, test)], [("i00", "i01")]), SPLIT, False, first.remembered)
    assert second.remembered.set_index("image_id").side.to_dict() == dict.fromkeys(["i00", "i01", "i02"], "train")


def test_what_is_unknown_now_and_was_known_is_not_forgotten(nothing) -> None:
    """Files ignored for one run: the bytes are remembered for the next."""
    first = keep_sides(frame([image(0, 3)]), SPLIT, False, nothing)
    second = keep_sides(frame([("i00", None, None, True)]), SPLIT, False, first.remembered)
    pd.testing.assert_frame_equal(second.remembered, first.remembered)


def test_another_split_begins_anew_says_so_and_forgets_nothing(nothing) -> None:
    records, other = frame([image(n, n) for n in range(40)]), SPLIT.model_copy(update={"seed": 1})
    first = keep_sides(records, SPLIT, False, nothing)
    second = keep_sides(records, other, False, first.remembered)
    assert second.anew
    assert second.side.tolist() == [split_of(group, other) for group in records.group_id]
    assert second.moved.empty
    back = keep_sides(records, SPLIT, False, second.remembered)
    assert not back.anew
    assert back.side.equals(first.side)
    # people of the demo share numbers with real ones
    assert keep_sides(records, SPLIT, True, back.remembered).anew


ACTION = st.one_of(
    # an image of a patient known or not, with bytes of its own or those of another, kept or left out
    st.tuples(
        st.just("image"),
        st.integers(0, 25),
        st.one_of(st.none(), st.integers(0, 12)),
        st.one_of(st.none(), st.integers(0, 12)),
        st.booleans(),
    ),
    st.tuples(st.just("near"), st.integers(0, 25), st.integers(0, 25)),
    st.tuples(st.just("absent"), st.integers(0, 25)),
)


@settings(max_examples=25)
@given(st.lists(st.lists(ACTION, min_size=1, max_size=6), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_in_any_order_of_changes_nobody_moves_but_into_train_by_a_link(nothing, runs, random) -> None:
    images: dict[int, Row] = {}
    out: set[int] = set()
    near: list[tuple[str, str]] = []
    remembered, had = nothing, {}
    for actions in runs:
        for kind, number, *more in actions:
            if kind == "image":
                patient, content, kept = more
                out.discard(number)
                # a patient may become known, and a row be kept or left out by turns
                earlier = images.get(number)
                row = image(number, patient, content, kept)
                images[number] = row if earlier is None else (row[0], earlier[1] or row[1], earlier[2], kept)
            elif kind == "near":
                near.append((f"i{number:02}", f"i{more[0]:02}"))
            else:
                out.add(number)
        rows = [row for number, row in images.items() if number not in out]
        random.shuffle(rows)
        records = frame(rows, near)
        sides = keep_sides(records, SPLIT, False, remembered)
        now = named(records, sides)
        kept = records.set_index("image_id").left_out.isna()
        groups = records.assign(side=sides.side).groupby("group_id")
        assert groups.side.nunique(dropna=False).eq(1).all()
        assert all(now[name] for name in kept.index[kept])
        for name, group in groups:
            before = {had[i] for i in group.image_id if i in had}
            if len(before) == 1:
                # the one side, or train by a link through somebody who is absent
                assert set(group.side) <= before | {"train"}
            elif before:
                assert set(group.side) == {"train"}
            elif kept[group.image_id].any() and not out:
                assert set(group.side) == {split_of(name, SPLIT)}
        moved = {name for name in kept.index[kept] if name in had and had[name] != now[name]}
        assert set(sides.moved.image_id) == moved
        remembered = sides.remembered
        stored = dict(zip(remembered.image_id, remembered.side, strict=True))
        for name, side in had.items():
            assert stored[name] in (side, "train")
        assert not remembered.duplicated("image_id").any()
        had = stored
    # nothing changes where nothing was added
    again = keep_sides(records, SPLIT, False, remembered)
    assert again.side.equals(sides.side)
    assert again.moved.empty


def test_sides_are_read_as_written(nothing, tmp_path) -> None:
    rows = [image(0, 1), ('odd, "name"\r', None, None, True), ("NA", "None", None, True)]
    remembered = keep_sides(frame(rows), SPLIT, False, nothing).remembered
    write_sides(remembered, tmp_path / SIDES)
    pd.testing.assert_frame_equal(read_sides(tmp_path / SIDES), remembered)
    assert "p1," not in (tmp_path / SIDES).read_text()  # patients are not named


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-20],
        lambda text: text.replace("train", "trian"),
        lambda text: text.replace("side", "sides"),
        lambda text: text + text.split("\n")[1] + "\n",
        lambda text: text.replace("i01", ""),
        lambda text: text.replace(f"{1001:064x}", "12"),
        lambda text: text + 'x,"',
        lambda text: text + "a,b,c,d,e,f\n",
        lambda text: "",
        lambda text: "\0\0\0",
        lambda text: text.replace("i01", "\udcff"),
    ],
)
def test_damaged_sides_are_refused_in_one_sentence(nothing, tmp_path, damage) -> None:
    records = frame([image(n, n) for n in range(20)])
    write_sides(keep_sides(records, SPLIT, False, nothing).remembered, tmp_path / SIDES)
    text = (tmp_path / SIDES).read_text()
    (tmp_path / SIDES).write_bytes(damage(text).encode(errors="surrogateescape"))
    with pytest.raises(
        CxrflowError, match=r"sides\.csv: the remembered sides .* are damaged .*dvc checkout"
    ) as stopped:
        read_sides(tmp_path / SIDES)
    assert "\n" not in str(stopped.value)
