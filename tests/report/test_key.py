"""What stands on a page in place of names and paths: all of each, however it is written, and nothing twice."""

import html
from pathlib import Path

import pytest
from markupsafe import escape

from cxrflow.params import Params
from cxrflow.report.key import Key

ROOT = Path('/home/anna/o\'brien & "sons" cxr')


@pytest.mark.parametrize("escaped", [escape, html.escape, lambda text: html.escape(text).replace("&#x27;", "&apos;")])
@pytest.mark.parametrize("name", ["Meier_Hans/x.png", "Meier, Hans.png", "Meier (Hans)/o'x 1.png", "Dr.Meier: Hans"])
def test_of_a_path_nothing_is_left_however_it_is_escaped(escaped, name: str) -> None:
    page = f'<td title="{escaped(f"{ROOT}/{name}")}">cannot read {escaped(f"{ROOT}/{name}")}</td><td>rest</td>'
    key = Key()
    shown = key.without_paths(page, [ROOT, Path("/home/anna")])
    assert shown == '<td title="path 1">cannot read path 1</td><td>rest</td>'
    assert key.of("path", f"{ROOT}/{name}") == "path 1"


def test_a_folder_is_replaced_alone_and_another_of_a_longer_name_is_not() -> None:
    page = "<p>in /data/cxr: nothing, see /data/cxr2/a</p>"
    assert Key().without_paths(page, [Path("/data/cxr")]) == "<p>in path 1: nothing, see /data/cxr2/a</p>"


def test_a_name_within_what_stands_for_another_is_not_replaced() -> None:
    assert Key().without("found table file.csv, then file", "file", ["file", "file.csv"]) == (
        "found table file 1, then file 2"
    )


@pytest.mark.parametrize(
    ("section", "name", "value", "shown"),
    [
        ("sources", "root", "localhospital/Meier", "path 1"),
        ("training", "start", "scratch-run/last.ckpt", "path 1"),
        ("training", "start", "imagenet-of-anna", "path 1"),
        ("training", "start", "imagenet", "imagenet"),
        ("spark", "master", "local[4]", "local[4]"),
        ("spark", "master", "spark://host7:7077", "path 1"),
    ],
)
def test_a_place_is_told_by_all_of_it(section: str, name: str, value: str, shown: str, demo_params: Params) -> None:
    changed = getattr(demo_params, section).model_copy(update={name: value})
    params = demo_params.model_copy(
        update={"sources": demo_params.sources.model_copy(update={"root": "local"}), section: changed}
    )
    assert f"{name}: {shown}\n" in Key().parameters(params)
