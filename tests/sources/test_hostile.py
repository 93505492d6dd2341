"""Hostile tables and readings cost no more than honest ones of their size."""

import time

import pytest

from cxrflow.sources import radiography, shenzhen, siim_covid19


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
