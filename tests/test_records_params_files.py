"""Records on disk, parameters checked, files whole and below their root."""

import os
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrflow.errors import CxrflowError, LeftOut
from cxrflow.files import Root, below, check_writable, code_digest, digest, write_json, write_whole
from cxrflow.findings import FINDINGS
from cxrflow.params_file import DEFAULTS, load_params, resolved_yaml, shipped_overrides
from cxrflow.records import (
    COLUMNS,
    Box,
    Record,
    boxes_of,
    boxes_text,
    read_kept,
    read_records,
    to_frame,
    typed,
    write_records,
)
from cxrflow.task import Task

WORD = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1)
TEXT = st.one_of(st.none(), WORD)
NUMBER = st.one_of(st.none(), st.floats(-1e9, 1e9))
RECORD = st.builds(
    Record, WORD, st.just("a"), WORD, patient_id=TEXT, findings=st.lists(st.sampled_from(list(FINDINGS))).map(tuple),
    finding=TEXT, view=TEXT, age=NUMBER, day=NUMBER, paediatric=st.booleans(), left_out=TEXT,
    boxes=st.lists(st.builds(Box, st.sampled_from(list(FINDINGS)), *[st.floats(0, 1)] * 4)).map(tuple),
)  # fmt: skip


@settings(max_examples=40)
@given(st.lists(RECORD, max_size=5, unique_by=lambda record: record.image_id))
def test_records_are_read_as_written(tmp_path_factory, records) -> None:
    path = tmp_path_factory.getbasetemp() / "records.csv"
    frame = typed(to_frame(records).assign(label="normal", group_id="g", split="test"))
    write_records(frame, path)
    pd.testing.assert_frame_equal(read_records(path), frame, check_dtype=bool(records))
    assert len(read_kept(path)) == sum(record.left_out is None for record in records)


def test_text_that_looks_like_nothing_stays_text(tmp_path) -> None:
    odd = Record("a:1", "a", "p", patient_id="NA", findings=("mass", "edema"), finding="None", view="007")
    write_records(to_frame([odd]), tmp_path / "r.csv")
    row = read_records(tmp_path / "r.csv").iloc[0]
    assert (row.patient_id, row.finding, row.view, row.label) == ("NA", "None", "007", None)
    assert row.findings == "mass;edema"
    assert tuple(row.index) == COLUMNS


def test_boxes_are_read_as_written_and_damaged_ones_refused(tmp_path) -> None:
    boxes = (Box("pneumonia/viral/covid-19", 0, 0.123456, 1, 0.5), Box("mass", 0.25, 0.5, 0.125, 0.0625))
    cell = boxes_text(boxes)
    assert cell == "pneumonia/viral/covid-19:0.00000,0.12346,1.00000,0.50000;mass:0.25000,0.50000,0.12500,0.06250"
    assert boxes_of(cell) == [Box("pneumonia/viral/covid-19", 0, 0.12346, 1, 0.5), boxes[1]]
    assert boxes_of(boxes_text([])) == boxes_of(None) == []
    for damaged in (cell[:-1], cell.replace(",", ";"), "mass", "mass:0,0,1,1", ":0.00000,0.00000,1.00000,1.00000"):
        frame = to_frame([Record("a:1", "a", "p")]).assign(boxes=damaged)
        write_records(frame, tmp_path / "r.csv")
        with pytest.raises(CxrflowError, match=r"damaged, boxes: row 1: .* is not what it can be; run"):
            read_records(tmp_path / "r.csv")


@pytest.fixture
def params(tmp_path) -> Path:
    shutil.copy(DEFAULTS, tmp_path / "params.yaml")
    return tmp_path / "params.yaml"


def change(path: Path, keys: str, value: object) -> None:
    values = yaml.safe_load(path.read_text())
    *sections, last = keys.split(".")
    section = values
    for name in sections:
        section = section[name]
    section[last] = value
    path.write_text(yaml.safe_dump(values))


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        ("images.sise", 4), ("images.size", 31), ("images.size", "large"), ("images.channels", 2),
        ("images.equalise", "some"),
        ("training.epochs", 0), ("training.learning_rate", 0), ("training.learning_rate", float("inf")),
        ("training.weight_decay", float("nan")), ("training.positive_share", 1), ("metadata.paediatric", "maybe"),
        ("metadata.split", None), ("engine", "ray"), ("extra", 1), ("images", None), ("evaluation.bootstrap", 99),
        ("training.augmentation.flip", 1.5), ("task.classes", {"covid": ["pneumonia"]}), ("task.positive", ["covid"]),
        ("task", "covid"),
    ],
)  # fmt: skip
def test_a_wrong_key_or_value_is_named(params, keys, value) -> None:
    change(params, keys, value)
    with pytest.raises(CxrflowError) as stopped:
        load_params(params)
    assert keys in str(stopped.value)
    assert str(params) in str(stopped.value)
    assert "\n" not in str(stopped.value)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"metadata.split.train": 0.9}, "add up to 1"),
        ({"metadata.split.train": 0.85, "metadata.split.val": 0}, "above 0"),
        (
            {"training.loss_weights": {"flu": 2}},
            "loss_weights: flu is not one of the task's classes covid, normal, pneumonia",
        ),
        ({"training.sample_weight_covid": 0.33}, "sample_weight_covid is now positive_share"),
        ({"training.balance": "source_and_class"}, "balance: source_and_class draws all images"),
        ({"training.balance": "replacement", "training.positive_share": None}, "replacement needs positive_share"),
        ({"task.positive": "flu"}, "positive: flu is not one of the classes"),
        ({"training.schedule.warmup_epochs": 14}, "warmup_epochs must be below epochs"),
    ],
)
def test_contradictions_are_named(params, changes, says) -> None:
    for keys, value in changes.items():
        change(params, keys, value)
    with pytest.raises(CxrflowError, match=says):
        load_params(params)


@pytest.mark.parametrize(
    "content", [b"a: [1", b"- 1\n", b"", b"caf\xe9: 1\n", "a: \ud800".encode("utf-8", "surrogatepass")]
)
def test_a_file_that_is_no_mapping_is_one_sentence(params, content) -> None:
    params.write_bytes(content)
    with pytest.raises(CxrflowError, match=r"params\.yaml") as stopped:
        load_params(params)
    assert "\n" not in str(stopped.value)


def test_an_absent_file_is_one_sentence(tmp_path) -> None:
    with pytest.raises(CxrflowError, match="no such parameter file"):
        load_params(tmp_path / "params.yaml")


@pytest.mark.parametrize("name", shipped_overrides())
def test_every_file_of_overrides_fits_and_changes_only_what_it_names(tmp_path, name) -> None:
    before = load_params(DEFAULTS).model_dump()
    (tmp_path / "params.yaml").write_text(f"overrides: {name}\n")
    after = load_params(tmp_path / "params.yaml").model_dump()
    over = yaml.safe_load(shipped_overrides()[name].read_text())

    if "task" in over:  # one thing: laid over as a whole
        over["task"] = Task.model_validate(over["task"]).model_dump()
        over["training"] = {"loss_weights": {}} | over.get("training", {})
        before["task"] = {}

    def check(before: dict, after: dict, over: dict) -> None:
        for key, value in after.items():
            if isinstance(value, dict) and key in over:
                check(before.get(key, {}), value, over[key])
            elif key != "overrides":
                assert value == (over[key] if key in over else before[key])

    check(before, after, over)
    assert after != before | {"overrides": name}


def test_resolved_parameters_are_read_as_they_are(params, tmp_path) -> None:
    loaded = load_params(params)
    (tmp_path / "resolved.yaml").write_text(resolved_yaml(loaded))
    assert load_params(tmp_path / "resolved.yaml") == loaded


def test_files_are_written_whole_or_not_at_all(tmp_path) -> None:
    path = tmp_path / "new" / "a.json"
    write_json(path, {"a": 1.5})
    assert path.read_text() == '{\n  "a": 1.5\n}\n'
    with pytest.raises(ValueError, match="JSON"):
        write_json(path, {"a": float("nan")})
    with pytest.raises(TypeError):
        write_whole(path, "text, not bytes")
    assert path.read_text() == '{\n  "a": 1.5\n}\n'
    assert [file.name for file in path.parent.iterdir()] == ["a.json"]


@pytest.mark.parametrize("name", ["n" * 255, "肺" * 85, os.fsdecode(b"\xff" * 255), "-", " a\n"])
def test_files_of_any_name_are_written(tmp_path, name) -> None:
    check_writable(tmp_path / name)
    write_whole(tmp_path / name, b"whole")
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [(name, b"whole")]


@pytest.fixture
def linked(tmp_path) -> Path:
    """A folder with links that stay in it, lead out of it, and lead nowhere."""
    root = tmp_path / "root"
    (root / "sub").mkdir(parents=True)
    (tmp_path / "rooted").mkdir()  # begins like the root, and is not in it
    (root / "out").symlink_to(tmp_path)
    (root / "round").symlink_to("round")
    (root / "in").symlink_to("sub")
    return root


def test_below_follows_links_that_stay_in_the_folder(linked) -> None:
    for inside in ("a.png", "in/a.png", "absent/a.png", "..a/b..png", "round", "C:a.png"):
        assert below(linked, inside) == linked / inside
    for link in ("out/a.png", "out"):
        with pytest.raises(LeftOut, match=r"set sources\.follow_links: true if the link is yours"):
            below(linked, link)
        assert below(linked, link, follow_links=True) == linked / link


@pytest.mark.parametrize("follow_links", [False, True])
def test_below_refuses_paths_that_lead_up_or_are_absolute(linked, follow_links) -> None:
    for outside in ("..", "../rooted/a.png", "/etc/passwd", "sub/../../a", "sub/..", "a\0b", r"C:\a.png", r"\\host\a"):
        with pytest.raises(LeftOut):
            below(linked, outside, follow_links)


def test_a_records_path_leads_to_the_file_of_any_name_and_stays_in_its_collection(linked) -> None:
    root = Root(linked.parent)
    assert root.file(r"root/M\xfcller\\1.png") == linked / os.fsdecode(b"M\xfcller\\1.png")
    assert Root(linked.parent, follow_links=True).file("root/out/a") == linked / "out" / "a"
    for outside in ("root/out/a", "../a.png", "/etc/passwd", "./a.png", "root//etc/passwd", r"root/\u002e\u002e/a"):
        with pytest.raises(LeftOut, match="path leaves the collection's folder"):
            root.file(outside)


def test_digests_tell_values_and_code_apart(tmp_path) -> None:
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1})
    assert digest([1, 2]) != digest([2, 1])
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "a.py").write_text("1")
    (tmp_path / "b.py").write_text("2")
    parts = ("part", "b.py")
    first = code_digest(tmp_path, parts)
    assert code_digest(tmp_path, reversed(parts)) == first
    (tmp_path / "part" / "a.cpython-311.pyc").write_text("bytecode")
    (tmp_path / "other.py").write_text("not asked for")
    assert code_digest(tmp_path, parts) == first
    (tmp_path / "part" / "a.py").rename(tmp_path / "part" / "c.py")
    assert code_digest(tmp_path, parts) != first


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: text.replace("a:2,", "a:1,"), "a:1 is the image_id of two rows"),
        (lambda text: text.replace("train", "trains", 1), "split: row 1: 'trains' is not one of train, val, test"),
        (lambda text: text.replace("train", "val", 1), "the group g is on two sides of the split"),
        (lambda text: text.replace(",g,", ",,", 1), "a:1 is kept, but has no group_id"),
        (lambda text: text.replace("41.0", "old"), "age: row 1: 'old' is no number it can be"),
        (lambda text: text.replace("41.0", "inf"), "age: row 1: 'inf' is no number"),
        (lambda text: text.replace("41.0", "4" * 2_000_000), "age: row 1: '4"),
        (lambda text: text.replace(",False", ",yes", 1), "row 1: 'yes' is neither True nor False"),
        (lambda text: text.replace("image_id", "id"), "another version of cxrflow .* there is no column image_id"),
        (lambda text: text.replace("near_hash", "near_hash,gone"), "another version .* gone is no column of it"),
        (lambda text: text.replace("train", "train,more", 1), "more cells than"),
        (lambda text: text.replace("a/1.png", "x" * 200_000), "path: row 1: .* is too long"),
        (lambda text: text[:-9], "its last row is cut"),
        (lambda text: text[:-1] + '"', "damaged"),
        (lambda text: "", "damaged"),
        (lambda text: "\0" * 100, "damaged"),
        (lambda text: text.replace("a/1.png", "a/\0.png"), "damaged"),
        (lambda text: text.encode("utf-16"), "damaged"),
        (lambda text: "[" * 10**5 + "\n", "damaged"),
    ],
)
def test_a_damaged_table_of_records_is_one_sentence(tmp_path, damage, said) -> None:
    path = tmp_path / "records.csv"
    frame = to_frame([Record(f"a:{n}", "a", f"a/{n}.png", age=40.0 + n) for n in (1, 2)])
    write_records(frame.assign(label="normal", group_id="g", split="train"), path)
    content = damage(path.read_text())
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(CxrflowError, match=rf"records\.csv: .*{said}.*; run `cxrflow metadata`") as stopped:
        read_kept(path)
    assert str(stopped.value).isprintable()
    assert len(str(stopped.value)) < 400 + len(str(path))
