"""Fingerprints, and the cache that spares reading a file twice."""

import hashlib
import importlib.util
import os
import sqlite3
from contextlib import closing

import cv2
import numpy as np
import pytest
from PIL import Image

from cxrflow.engines import LocalEngine
from cxrflow.errors import CxrflowError
from cxrflow.files import Root
from cxrflow.metadata import fingerprint as module
from cxrflow.metadata.fingerprint import fingerprint, fingerprints
from cxrflow.metadata.near_hash import DIGITS, THUMBNAIL

PATHS = ["c/0.png", "c/1.png", "c/damaged.png"]


@pytest.fixture
def root(tmp_path, picture):
    folder = tmp_path / "root" / "c"
    folder.mkdir(parents=True)
    for n in range(2):
        Image.fromarray(picture(n)).save(folder / f"{n}.png")
    (folder / "damaged.png").write_text("text")
    return tmp_path / "root"


def asked(engine) -> list[str]:
    paths = [path for _, path in engine.asked]
    engine.asked.clear()
    return paths


def test_what_a_fingerprint_holds(root) -> None:
    found = fingerprint((Root(root), "c/0.png"))
    assert found.content_hash == hashlib.sha256((root / "c/0.png").read_bytes()).hexdigest()
    assert len(found.near_hash) == DIGITS
    assert len(found.thumbnail) == THUMBNAIL**2
    assert (found.width, found.height, found.bits, found.format) == (128, 128, 8, "PNG")
    assert found.left_out is None
    assert 0 <= found.frontal <= 1
    assert found.turned is False
    damaged = fingerprint((Root(root), "c/damaged.png"))
    assert (damaged.content_hash, damaged.near_hash, damaged.thumbnail) == (None, None, None)
    assert (damaged.frontal, damaged.turned) == (None, None)
    assert "not an image" in damaged.left_out


@pytest.mark.parametrize("shape", [(1, 2), (1, 5000), (40_000, 2)])
def test_odd_shapes_have_fingerprints(root, shape) -> None:
    Image.fromarray((100 * np.arange(np.prod(shape))).astype(np.uint8).reshape(shape)).save(root / "c" / "odd.png")
    assert fingerprint((Root(root), "c/odd.png")).left_out is None


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("c/../other/a.png", "leaves"),
        ("c//etc/passwd", "leaves"),
        ("c/link.png", "leaves"),
        ("c/loop", "cannot be opened"),
        ("c/a\0b.png", "contains a NUL"),
        ("c/absent.png", "absent"),
        ("c/", "not a file"),
        ("c/" + "x" * 400, "cannot be opened"),
    ],
)
def test_paths_that_lead_nowhere_or_elsewhere(root, path, reason) -> None:
    (root / "other").mkdir()
    (root / "c/0.png").rename(root / "other/a.png")
    (root / "c/link.png").symlink_to(root / "other/a.png")
    (root / "c/loop").symlink_to("loop")
    assert reason in fingerprint((Root(root), path)).left_out


def test_a_link_that_stays_inside_is_followed(root) -> None:
    (root / "c/link.png").symlink_to("0.png")
    assert fingerprint((Root(root), "c/link.png")) == fingerprint((Root(root), "c/0.png"))


def test_the_second_call_reads_only_what_could_not_be_read(root, tmp_path, engine) -> None:
    first = fingerprints(Root(root), [*PATHS, PATHS[0]], engine, tmp_path / "cache")
    assert asked(engine) == PATHS  # each once
    assert fingerprints(Root(root), PATHS, engine, tmp_path / "cache") == first
    assert asked(engine) == ["c/damaged.png"]


def test_a_cache_of_an_earlier_version_does_no_harm(root, tmp_path, engine) -> None:
    with closing(sqlite3.connect(tmp_path / "cache")) as store, store:
        store.execute("create table fingerprint (path text primary key, state text, content_hash text, near_hash text)")
    first = fingerprints(Root(root), PATHS, engine, tmp_path / "cache")
    asked(engine)
    assert fingerprints(Root(root), PATHS, engine, tmp_path / "cache") == first
    assert asked(engine) == ["c/damaged.png"]


def test_a_damaged_cache_says_what_to_do(root, tmp_path, engine) -> None:
    (tmp_path / "cache").write_bytes(b"no database, " * 100)
    with pytest.raises(CxrflowError, match=r"damaged.*delete it"):
        fingerprints(Root(root), PATHS, engine, tmp_path / "cache")


def test_a_changed_file_and_a_new_one_are_read_again(root, tmp_path, engine) -> None:
    before = fingerprints(Root(root), PATHS, engine, tmp_path / "cache")
    asked(engine)
    (root / "c/0.png").write_bytes((root / "c/1.png").read_bytes())
    Image.open(root / "c/1.png").rotate(90).save(root / "c/2.png")
    after = fingerprints(Root(root), [*PATHS, "c/2.png"], engine, tmp_path / "cache")
    assert asked(engine) == ["c/0.png", "c/damaged.png", "c/2.png"]
    assert after["c/0.png"] == before["c/1.png"]


def test_same_size_other_time_is_read_again(root, tmp_path, engine) -> None:
    fingerprints(Root(root), PATHS, engine, tmp_path / "cache")
    asked(engine)
    os.utime(root / "c/1.png", ns=(1, 1))
    fingerprints(Root(root), PATHS, engine, tmp_path / "cache")
    assert asked(engine) == ["c/1.png", "c/damaged.png"]


def test_other_code_reads_everything_again(root, tmp_path, engine, monkeypatch) -> None:
    fingerprints(Root(root), PATHS, engine, tmp_path / "cache")
    asked(engine)
    monkeypatch.setattr(module, "code_digest", lambda package, parts: "another")
    fingerprints(Root(root), PATHS, engine, tmp_path / "cache")
    assert asked(engine) == PATHS


def test_a_file_that_appears_later_is_read(root, tmp_path, engine) -> None:
    (root / "c/0.png").rename(root / "c/away")
    assert "absent" in fingerprints(Root(root), PATHS, engine, tmp_path / "cache")["c/0.png"].left_out
    (root / "c/away").rename(root / "c/0.png")
    assert fingerprints(Root(root), PATHS, engine, tmp_path / "cache")["c/0.png"].left_out is None


def test_an_interrupted_run_goes_on_where_it_stopped(root, tmp_path, engine, monkeypatch) -> None:
    monkeypatch.setattr(module, "_CHUNK", 1)

    class Interrupted:
        def map(self, function, items):
            yield function(items[0])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fingerprints(Root(root), PATHS, Interrupted(), tmp_path / "cache")
    fingerprints(Root(root), PATHS, engine, tmp_path / "cache")
    assert asked(engine) == PATHS[1:]


def test_other_processes_give_the_same(root, tmp_path, engine) -> None:
    here = fingerprints(Root(root), PATHS, engine, tmp_path / "here")
    assert fingerprints(Root(root), PATHS, LocalEngine(), tmp_path / "there") == here


@pytest.mark.skipif(importlib.util.find_spec("rapidocr") is None, reason="the extra text is not installed")
def test_text_is_looked_for_once_and_only_if_asked(root, engine, tmp_path, picture, monkeypatch) -> None:
    named = cv2.resize(picture(1), (400, 500))
    cv2.putText(named, "DOE JANE", (40, 250), cv2.FONT_HERSHEY_SIMPLEX, 1, 255, 2)
    Image.fromarray(named).save(root / "c/1.png")
    plain = fingerprints(Root(root), PATHS, engine, tmp_path / "cache")
    assert [plain[path].text_places for path in PATHS] == [None] * 3
    assert sorted(asked(engine)) == PATHS
    found = fingerprints(Root(root), PATHS, engine, tmp_path / "cache", burned_in_text=True)
    assert sorted(asked(engine)) == PATHS
    assert [(found[path].text_places, found[path].text_boxes is None) for path in PATHS] == [
        (0, True),
        (1, False),
        (None, True),
    ]
    left, top, width, height = map(float, found["c/1.png"].text_boxes.split(","))
    assert left < 40 / 400
    assert left + width > 180 / 400
    assert top < 230 / 500 < 250 / 500 < top + height
    assert fingerprints(Root(root), PATHS, engine, tmp_path / "cache", burned_in_text=True) == found
    assert fingerprints(Root(root), PATHS, engine, tmp_path / "cache") == plain
    assert asked(engine) == ["c/damaged.png"] * 2
    monkeypatch.setattr(module, "detector", lambda: "another")
    fingerprints(Root(root), PATHS, engine, tmp_path / "cache", burned_in_text=True)
    assert sorted(asked(engine)) == PATHS
