"""Sides that stay: whatever is added, taken out, renamed or joined, nobody leaves a side but for training."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrflow.engines import LocalEngine
from cxrflow.errors import CxrflowError
from cxrflow.metadata.build import SIDES, build_records
from cxrflow.metadata.groups import split_of
from cxrflow.metadata.remembered import COLUMNS, read_sides, write_sides
from cxrflow.metadata.rows import Rows
from cxrflow.metadata.sides import keep_sides
from cxrflow.params import Sources, Split

SPLIT = Split(train=0.5, val=0.2, test=0.3, seed=0)
Row = tuple[str, str | None, str | None, bool]


#: Rows of a part of the records.
SIZE = 3


@dataclass(frozen=True)
class Kept:
    """``Sides`` with plain columns, and with the rows to remember as one table."""

    side: pd.Series
    remembered: pd.DataFrame
    moved: pd.DataFrame
    reassigned: bool


@pytest.fixture(scope="module")
def nothing() -> pd.DataFrame:
    return pd.DataFrame(columns=list(COLUMNS), dtype=object)


@pytest.fixture(scope="module")
def engine() -> LocalEngine:
    return LocalEngine()


@pytest.fixture(scope="module")
def keep(tmp_path_factory, engine) -> Callable[..., Kept]:
    """Calls ``keep_sides`` with the rows in parts and with a file of the remembered rows."""
    work = tmp_path_factory.mktemp("remembered")

    def run(records, split, drawn, remembered, children=None, size=SIZE) -> Kept:
        write_sides([remembered], work / SIDES)
        rows = Rows(engine, work)
        read_sides(work / SIDES, rows)
        group = pd.factorize(records.group_id)[0]
        first = pd.Series(range(len(records))).groupby(group).transform("min").to_numpy(np.int32)
        texts = ["image_id", "other_id", "patient_id", "content_hash", "left_out", "group_id"]
        whole = records[texts].assign(position=range(len(records)), group=first)
        whole["children"] = False if children is None else children
        types = dict.fromkeys(texts, pa.string()) | {
            "position": pa.int64(),
            "group": pa.int32(),
            "children": pa.bool_(),
        }
        table = pa.Table.from_pandas(whole, pa.schema(types), preserve_index=False)
        parts = [table[at : at + size] for at in range(0, max(len(records), 1), size)]
        rows.write("grouped", (part.drop_columns(["group_id", "children"]) for part in parts))
        rows.write("named", (part.select(["position", "group_id", "children"]) for part in parts))
        sides = keep_sides(rows, split, drawn, children is not None)
        side = sides.side.astype(object).where(sides.side.notna(), None)
        return Kept(side, table_of(sides.parts()), sides.moved, sides.reassigned)

    return run


def table_of(parts) -> pd.DataFrame:
    table = pd.concat(parts, ignore_index=True).astype(object)
    return table.where(table.notna(), None)


def stored(path: Path, engine: LocalEngine) -> pd.DataFrame:
    """The rows of a file of remembered sides."""
    rows = Rows(engine, path.parent)  # its tables go with it
    table = read_sides(path, rows).order_by("position").drop("position").to_pandas().astype(object)
    return table.where(table.notna(), None)


def frame(rows: list[Row], near: list[tuple[str, str]] = ()) -> pd.DataFrame:
    """Records of (image, patient, content, kept), in the groups that these and the near repeats give."""
    table = pd.DataFrame(rows, columns=["image_id", "patient_id", "content_hash", "kept"]).astype(object)
    table = table.assign(path=table.image_id, left_out=[None if kept else "some reason" for kept in table.kept])
    table["other_id"] = None
    at = {image: position for position, image in enumerate(table.image_id)}
    pairs = [[at[a], at[b]] for a, b in near if a in at and b in at]
    return table.assign(group_id=_group_names(table, pairs))


def _group_names(table: pd.DataFrame, pairs: list[list[int]]) -> list[str]:
    """The first patient, else the first image, of all rows that a patient, a content or a pair connects."""
    groups = [{position} for position in range(len(table))]
    same = [rows for key in ("patient_id", "content_hash") for rows in table.groupby(key).indices.values()]
    for one, other in [*pairs, *(pair for rows in same for pair in pairwise(rows))]:
        if groups[one] is not groups[other]:
            groups[one] |= groups[other]
            for position in groups[other]:
                groups[position] = groups[one]
    named = [table.iloc[sorted(group)] for group in groups]
    return [min(rows.patient_id.dropna(), default=None) or min(rows.image_id) for rows in named]


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


def test_the_first_sides_are_those_of_the_hash(keep, nothing) -> None:
    records = frame([image(n, n // 2, kept=n != 7) for n in range(60)])
    sides = keep(records, SPLIT, False, nothing)
    assert sides.side.tolist() == [split_of(group, SPLIT) for group in records.group_id]
    assert set(sides.side) == {"train", "val", "test"}
    assert sides.remembered.image_id.tolist() == records.image_id.tolist()  # the row left out, too
    assert sides.moved.empty
    assert not sides.reassigned


@settings(max_examples=20)
@given(
    st.lists(
        st.tuples(st.integers(0, 9), st.none() | st.integers(0, 6), st.integers(0, 9), st.booleans()), max_size=12
    ),
    st.booleans(),
    st.integers(1, 5),
)
def test_rows_in_parts_get_the_sides_of_the_whole(keep, rows, children, size) -> None:
    records = frame([image(k, patient, content, kept) for k, (_, patient, content, kept) in enumerate(rows)])
    child = pd.Series([flag == 0 for flag, *_ in rows], dtype=bool)
    in_train = records.group_id.isin(records.group_id[child & records.left_out.isna()]) if children else None
    remembered = pd.DataFrame([["0" * 16, "x", None, None, "val"]], columns=list(COLUMNS), dtype=object)
    for reassigned in (True, False):
        whole, parts = (keep(records, SPLIT, False, remembered, in_train, size=of) for of in (100, size))
        assert parts.side.tolist() == whole.side.tolist()
        pd.testing.assert_frame_equal(parts.remembered, whole.remembered)
        assert (parts.reassigned, len(parts.moved)) == (whole.reassigned, len(whole.moved)) == (reassigned, 0)
        remembered = whole.remembered
        if len(remembered) == 1:  # no row has a side
            break


def test_a_group_without_a_kept_image_has_no_side(keep, nothing) -> None:
    sides = keep(frame([image(0, 0, kept=False), image(1, 1)]), SPLIT, False, nothing)
    assert sides.side[0] is None
    assert sides.remembered.image_id.tolist() == ["i01"]


def test_a_new_member_that_renames_the_group_does_not_move_it(keep, nothing) -> None:
    """Patients "p<n>" come after "a": each group is renamed by a new patient with the same picture."""
    before = frame([image(n, n) for n in range(50)])
    first = keep(before, SPLIT, False, nothing)
    more = [(f"new{n}", f"a{n}", f"{n + 1000:064x}", True) for n in range(50)]
    after = frame([image(n, n) for n in range(50)] + more)
    assert set(after.group_id) == {f"a{n}" for n in range(50)}
    second = keep(after, SPLIT, False, first.remembered)
    assert second.side.tolist() == first.side.tolist() * 2
    assert second.moved.empty
    # it is the memory that keeps them: by the hash alone some would move
    assert [split_of(group, SPLIT) for group in after.group_id[:50]] != first.side.tolist()


@pytest.mark.parametrize("sides", [("val", "test"), ("train", "test"), ("train", "val")])
def test_a_link_between_two_sides_moves_all_to_train_and_says_who(keep, nothing, sides) -> None:
    one, other = (on(side) for side in sides)
    rows = [image(0, one), image(1, other), image(2, other, kept=False)]
    first = keep(frame(rows), SPLIT, False, nothing)
    assert first.side.tolist() == [sides[0], sides[1], sides[1]]
    joined = frame(rows, [("i00", "i01")])
    second = keep(joined, SPLIT, False, first.remembered)
    assert second.side.tolist() == ["train"] * 3
    wanted = {name: side for name, side in zip(("i00", "i01"), sides, strict=True) if side != "train"}
    assert dict(zip(second.moved.image_id, second.moved.side, strict=True)) == wanted  # the kept ones
    third = keep(joined, SPLIT, False, second.remembered)
    assert third.moved.empty
    # and there they stay when the link is gone
    assert keep(frame(rows), SPLIT, False, third.remembered).side.tolist() == ["train"] * 3


@pytest.mark.parametrize("by", ["image", "content", "patient"])
def test_what_was_taken_out_comes_back_to_its_side(keep, nothing, by) -> None:
    """The group of a val and of a test patient went to train; it returns by one sign alone."""
    one, other = on("val"), on("test")
    rows = [image(0, one), image(1, other), image(9, on("train"))]
    first = keep(frame(rows), SPLIT, False, nothing)
    joined = keep(frame(rows, [("i00", "i01")]), SPLIT, False, first.remembered)
    without = keep(frame(rows[2:]), SPLIT, False, joined.remembered)
    assert len(without.remembered) == 3
    back = {"image": ("i00", None, None, True), "content": image(5, None, 1000), "patient": image(5, one, 77)}[by]
    again = keep(frame([rows[2], back]), SPLIT, False, without.remembered)
    assert again.side.tolist() == ["train", "train"]
    assert again.moved.empty


def test_an_absent_image_moves_with_its_patient(keep, nothing) -> None:
    val, test = on("val"), on("test")
    first = keep(frame([image(0, val), image(1, test), image(2, test)]), SPLIT, False, nothing)
    # image 2 is absent while the link is found
    second = keep(frame([image(0, val), image(1, test)], [("i00", "i01")]), SPLIT, False, first.remembered)
    assert second.remembered.set_index("image_id").side.to_dict() == dict.fromkeys(["i00", "i01", "i02"], "train")


def test_what_is_unknown_now_and_was_known_is_not_forgotten(keep, nothing) -> None:
    """Files ignored for one run: the bytes are remembered for the next."""
    first = keep(frame([image(0, 3)]), SPLIT, False, nothing)
    second = keep(frame([("i00", None, None, True)]), SPLIT, False, first.remembered)
    pd.testing.assert_frame_equal(second.remembered, first.remembered)


def test_names_that_shift_by_one_move_nobody(keep, nothing) -> None:
    """A re-export with running numbers: one image added in front, and every name belongs to another image."""
    people = [(f"p{n}", f"{n:064x}", True) for n in range(1000)]
    first = keep(frame([(f"i{n:04}", *who) for n, who in enumerate(people)]), SPLIT, False, nothing)
    shifted = frame([("i0000", "new", "f" * 64, True), *((f"i{n + 1:04}", *who) for n, who in enumerate(people))])
    second = keep(shifted, SPLIT, False, first.remembered)
    assert second.side[1:].tolist() == first.side.tolist()
    assert second.side[0] == split_of("new", SPLIT)
    assert second.moved.empty
    assert len(second.remembered) == 1001


@pytest.mark.parametrize("sign", ["content", "patient"])
def test_an_image_whose_id_another_takes_is_found_again_by_each_sign(keep, nothing, engine, tmp_path, sign) -> None:
    train, test = on("train"), on("test")
    first = keep(frame([image(0, test)]), SPLIT, False, nothing)
    other = ("i00", f"p{train}", "f" * 64, True)
    second = keep(frame([other]), SPLIT, False, first.remembered)
    assert second.side.tolist() == ["train"]
    assert second.moved.empty
    write_sides([second.remembered], tmp_path / SIDES)
    remembered = stored(tmp_path / SIDES, engine)
    assert remembered[["image_id", "side"]].to_numpy().tolist() == [["i00", "train"], [None, "test"]]
    # the same image of a new patient, or another one of the same patient
    found = {"content": ("i01", f"p{on('val')}", f"{1000:064x}", True), "patient": image(1, test)}[sign]
    third = keep(frame([other, found]), SPLIT, False, remembered)
    assert third.side.tolist() == ["train", "test"]
    assert third.moved.empty
    again = keep(frame([other, found]), SPLIT, False, third.remembered).remembered
    pd.testing.assert_frame_equal(again, third.remembered)


def test_a_renamed_image_that_moves_is_reported(keep, nothing) -> None:
    val, test = on("val"), on("test")
    first = keep(frame([image(0, val), image(1, test)]), SPLIT, False, nothing)
    renamed = [image(2, val, 1000), image(0, test, 1001)]
    second = keep(frame(renamed, [("i02", "i00")]), SPLIT, False, first.remembered)
    assert second.side.tolist() == ["train", "train"]
    assert dict(zip(second.moved.image_id, second.moved.side, strict=True)) == {"i02": "val", "i00": "test"}


def test_an_adult_who_was_trained_on_with_a_child_stays_in_train(keep, nothing) -> None:
    test = on("test")
    adult, child = frame([image(0, test)]), frame([image(0, test), image(1, test)])
    nobody, everybody = adult.image_id.isna(), child.image_id.notna()
    first = keep(adult, SPLIT, False, nothing, nobody)
    assert first.side.tolist() == ["test"]
    second = keep(child, SPLIT, False, first.remembered, everybody)
    assert second.side.tolist() == ["train", "train"]
    assert "i00" in second.moved.image_id.tolist()
    third = keep(adult, SPLIT, False, second.remembered, nobody)
    assert third.side.tolist() == ["train"]
    assert third.moved.empty
    # tested again where children are: another memory, and this one is kept
    kept = keep(child, SPLIT, False, third.remembered)
    assert kept.side.tolist() == ["test", "test"]
    assert kept.reassigned
    assert keep(adult, SPLIT, False, kept.remembered, nobody).side.tolist() == ["train"]


def test_a_second_file_of_the_same_name_takes_no_side_away(tmp_path, write_csv, how, demo_params, engine) -> None:
    """Counting mode without patients: the first file's id changes with the second file, and changes back."""
    folder, names = tmp_path / "root" / "covid-chestxray", [f"{n}.jpg" for n in range(60)]

    def build(*listed: tuple[str, str]) -> pd.Series:
        header = ["patientid", "finding", "view", "modality", "folder", "filename"]
        write_csv(folder / "metadata.csv", [header, *(["", "COVID-19", "PA", "X-ray", *file] for file in listed)])
        params = how.model_copy(update={"files": "ignored"})
        sources = Sources(root=str(tmp_path / "root"), collections=None)
        built = build_records(sources, params, demo_params.task, engine, tmp_path)
        write_sides(built.sides.parts(), tmp_path / SIDES)
        assert built.sides.moved.empty
        return built.records.split[: len(names)]

    one, more = ([(place, name) for name in names] for place in ("images", "more"))
    first = build(*one)
    assert set(first) == {"train", "val", "test"}
    assert build(*one, *more).equals(first)
    assert build(*one).equals(first)
    (tmp_path / SIDES).unlink()
    both = build(*one, *more)
    assert build(*one).equals(both)


def test_another_split_reassigns_says_so_and_forgets_nothing(keep, nothing) -> None:
    records, other = frame([image(n, n) for n in range(40)]), SPLIT.model_copy(update={"seed": 1})
    first = keep(records, SPLIT, False, nothing)
    second = keep(records, other, False, first.remembered)
    assert second.reassigned
    assert second.side.tolist() == [split_of(group, other) for group in records.group_id]
    assert second.moved.empty
    back = keep(records, SPLIT, False, second.remembered)
    assert not back.reassigned
    assert back.side.equals(first.side)
    # people of the demo share numbers with real ones
    assert keep(records, SPLIT, True, back.remembered).reassigned


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
    # an id gets other bytes and another patient, known or not
    st.tuples(
        st.just("other"),
        st.integers(0, 25),
        st.one_of(st.none(), st.integers(0, 12)),
        st.one_of(st.none(), st.integers(0, 12)),
    ),
    # every image takes the next one's name
    st.tuples(st.just("shift"), st.just(0)),
)


def evidence(remembered: pd.DataFrame, row: Row) -> list[str]:
    """Remembered sides of the image, best evidence first: its id, its bytes, its patient."""
    name, patient, content, _ = row
    signs = {"content_hash": content, "patient": patient and hashlib.sha256(patient.encode()).hexdigest()[:16]}
    named = remembered[remembered.image_id == name]
    for column, value in signs.items():
        named = named[named[column].isna() | (named[column] == value) | (value is None)]
    found = [named.side, *(remembered.side[remembered[column] == value] for column, value in signs.items() if value)]
    return [side for sides in found for side in sides]


@settings(max_examples=40)
@given(st.lists(st.lists(ACTION, min_size=1, max_size=6), min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_in_any_order_of_changes_nobody_moves_but_into_train_by_a_link(keep, nothing, runs, random) -> None:
    images: dict[int, Row] = {}
    out: set[int] = set()
    near: list[tuple[int, int]] = []
    remembered = nothing
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
                near.append((number, more[0]))
            elif kind == "absent":
                out.add(number)
            elif kind == "other":
                patient, content = more
                out.discard(number)
                row = image(number, patient, content)
                images[number] = row if content is not None else (row[0], row[1], None, True)
                near = [pair for pair in near if number not in pair]
            else:
                images = {n + 1: (f"i{n + 1:02}", *row[1:]) for n, row in images.items()}
                out = {n + 1 for n in out}
                near = [(one + 1, other + 1) for one, other in near]
        rows = [row for number, row in images.items() if number not in out]
        random.shuffle(rows)
        records = frame(rows, [(f"i{one:02}", f"i{other:02}") for one, other in near])
        sides = keep(records, SPLIT, False, remembered)
        now = named(records, sides)
        before = {row[0]: evidence(remembered, row) for row in rows}
        kept = records.set_index("image_id").left_out.isna()
        groups = records.assign(side=sides.side).groupby("group_id")
        assert groups.side.nunique(dropna=False).eq(1).all()
        assert all(now[name] for name in kept.index[kept])
        for name, group in groups:
            had = {side for i in group.image_id for side in before[i]}
            if len(had) == 1:
                # the one side, or train by a link through somebody who is absent
                assert set(group.side) <= had | {"train"}
            elif had:
                assert set(group.side) == {"train"}
            elif kept[group.image_id].any():
                assert set(group.side) == {split_of(name, SPLIT)}
        moved = {name for name in kept.index[kept] if before[name] and before[name][0] != now[name]}
        assert set(sides.moved.image_id) == moved
        # no bytes and no patient are forgotten, and all that have one of them are on one side
        for column in ("content_hash", "patient"):
            stored = sides.remembered.groupby(column).side.agg(set)
            for value, old in remembered.groupby(column).side.first().items():
                assert stored[value] <= {old, "train"}
            assert stored.map(len).eq(1).all()
        assert not sides.remembered.dropna(subset=["image_id"]).duplicated("image_id").any()
        assert {row[0] for row in rows if now[row[0]]} <= set(sides.remembered.image_id)
        remembered = sides.remembered
    # nothing changes where nothing was added
    again = keep(records, SPLIT, False, remembered)
    assert again.side.equals(sides.side)
    assert again.moved.empty


def test_sides_are_read_as_written(keep, nothing, engine, tmp_path) -> None:
    rows = [image(0, 1), ('odd, "name"\r', None, None, True), ("NA", "None", None, True)]
    remembered = keep(frame(rows), SPLIT, False, nothing).remembered
    write_sides([remembered], tmp_path / SIDES)
    pd.testing.assert_frame_equal(stored(tmp_path / SIDES, engine), remembered)
    assert "p1," not in (tmp_path / SIDES).read_text()  # patients are not named


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:-20],
        lambda text: text.replace("train", "trian"),
        lambda text: text.replace("side", "sides"),
        lambda text: text + text.split("\n")[1] + "\n",
        lambda text: text + f"{text.splitlines()[1][:16]},,,,train\n",
        lambda text: text + 2 * f"{text.splitlines()[1][:16]},,{0:064x},,train\n",
        lambda text: text.replace(f"{1001:064x}", "12"),
        lambda text: text + 'x,"',
        lambda text: text + "a,b,c,d,e,f\n",
        lambda text: "",
        lambda text: "\0\0\0",
        lambda text: text.replace("i01", "\udcff"),
    ],
)
def test_damaged_sides_are_refused_in_one_sentence(keep, nothing, engine, tmp_path, damage) -> None:
    records = frame([image(n, n) for n in range(20)])
    write_sides([keep(records, SPLIT, False, nothing).remembered], tmp_path / SIDES)
    text = (tmp_path / SIDES).read_text()
    (tmp_path / SIDES).write_bytes(damage(text).encode(errors="surrogateescape"))
    with pytest.raises(
        CxrflowError, match=r"sides\.csv: the remembered sides .* are damaged .*dvc checkout"
    ) as stopped:
        read_sides(tmp_path / SIDES, Rows(engine, tmp_path))
    assert "\n" not in str(stopped.value)
