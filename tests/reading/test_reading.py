"""Any file at all: a grey array or a reason, never another error."""

import io
import os

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from cxrflow import reading
from cxrflow.errors import LeftOut
from cxrflow.reading import read_radiograph

GREY = np.add.outer(np.arange(24), np.arange(32)).astype(np.uint8) * 4


def saved(kind: str, image: Image.Image) -> bytes:
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()


WHOLE = [saved(kind, Image.fromarray(GREY)) for kind in ("PNG", "JPEG", "TIFF", "BMP", "WEBP")]
WHOLE += [saved("PNG", Image.fromarray(GREY).convert("P")), saved("TIFF", Image.fromarray(GREY.astype(np.uint16)))]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"patient,label\n1,sick\n", "not an image"),
        (WHOLE[1][:-200], "damaged"),
        (b"\0" * 500, "not an image"),
        (b"%PDF-1.7\n" + b"x" * 500, "a PDF document"),
    ],
)
def test_left_out_with_the_reason(tmp_path, content, reason) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(LeftOut, match=reason):
        read_radiograph(tmp_path / "a.png")


def test_absent_a_folder_and_a_pipe_are_left_out(tmp_path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for name, reason in (("absent.png", "absent"), (".", "not a file"), ("pipe.png", "not a file")):
        with pytest.raises(LeftOut, match=reason):
            read_radiograph(tmp_path / name)
    with pytest.raises(LeftOut, match="cannot be opened"):
        read_radiograph(tmp_path / ("x" * 300))


def test_a_file_that_is_too_large_is_not_opened(tmp_path, monkeypatch) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(WHOLE[0])
    monkeypatch.setattr(reading, "LARGEST_FILE", path.stat().st_size)
    assert np.array_equal(read_radiograph(path), GREY)
    monkeypatch.setattr(reading, "LARGEST_FILE", path.stat().st_size - 1)
    with pytest.raises(LeftOut, match="larger than"):
        read_radiograph(path)


def test_the_content_decides_not_the_name(tmp_path) -> None:
    (tmp_path / "a.dcm").write_bytes(WHOLE[0])
    assert np.array_equal(read_radiograph(tmp_path / "a.dcm"), GREY)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(WHOLE),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=6),
    st.integers(0, 40),
)
@pytest.mark.filterwarnings("error")
def test_damage_anywhere_never_crashes_or_warns(tmp_path, whole, changes, cut) -> None:
    damaged = bytearray(whole[: len(whole) - cut])
    for place, value in changes:
        damaged[place % len(damaged)] = value
    (tmp_path / "a").write_bytes(damaged)
    try:
        grey = read_radiograph(tmp_path / "a")
    except LeftOut:
        return
    assert grey.ndim == 2
    assert grey.dtype in (np.uint8, np.uint16)
