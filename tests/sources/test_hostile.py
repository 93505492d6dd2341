"""Hostile tables and readings cost no more than honest ones of their size."""

import os
import time

import pytest

from cxrflow.errors import CxrflowError
from cxrflow.sources import openi, radiography, shenzhen, siim_covid19, tbx11k
from cxrflow.sources.collection import Options


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (shenzhen.findings_of, "a" * 65_536),  # the most that is read of a reading
        (siim_covid19._BOX.findall, "{'x': " * 20_000),
        (radiography._NUMBER.search, "1" * 100_000 + "x"),
        (radiography._NUMBER.search, "1" * 100_000),
    ],
)
def test_time_grows_with_the_length_of_a_text_not_with_its_square(read, text) -> None:
    began = time.process_time()
    read(text)
    assert time.process_time() - began < 2


def test_a_number_of_many_digits_is_a_row_like_others(make_tiny, read) -> None:
    tiny = make_tiny("radiography")
    tiny.tables["NORMAL.metadata.xlsx"].append([f"NORMAL-{'1' * 5_000}", "PNG", "", ""])
    assert sum(record.image_id.endswith("111") for record in read("radiography", tiny)) == 1


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-16-be"])
def test_a_report_that_declares_entities_is_not_parsed(tmp_path, encoding, monkeypatch) -> None:
    """Whatever its encoding: XML parsers recognise UTF-16 (XML 1.0, appendix F)."""
    monkeypatch.setattr(openi.ElementTree, "fromstring", lambda content: pytest.fail("parsed"))
    text = '<!DOCTYPE e [<!ENTITY a "aaaa">]><eCitation><uId id="CXR1"/></eCitation>'
    (tmp_path / "ecgen-radiology").mkdir()
    (tmp_path / "ecgen-radiology/1.xml").write_bytes(text.encode(encoding))
    with pytest.raises(CxrflowError, match=r"1\.xml: not a report of the collection \(it declares entities, "):
        list(openi.read(tmp_path, "NLMCXR", Options(with_files=False)))


@pytest.mark.parametrize(
    ("source", "path"), [(openi, "ecgen-radiology/1.xml"), (tbx11k, "annotations/json/TBX11K_train.json")]
)
def test_what_is_not_a_file_is_not_waited_for(tmp_path, source, path) -> None:
    (tmp_path / path).parent.mkdir(parents=True)
    os.mkfifo(tmp_path / path)
    with pytest.raises(CxrflowError, match=r"\(too large, or not a file\); put "):
        list(source.read(tmp_path, "x", Options(with_files=False)))
