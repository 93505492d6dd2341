"""Cells: what is known, and what is an age, a number, a sex."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrflow.sources.cells import known, number, sex, years


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # plain numbers, and DICOM's age strings (PS3.5, table 6.2-1, AS)
        ("58", 58), ("65.0", 65), ("65,5", 65.5), ("058Y", 58), ("018M", 1.5), ("026W", 0.5), ("030D", 0.08), ("0", 0),
        # in words
        ("18 months", 1.5), ("3 weeks", 0.06), ("6 mo", 0.5), ("10 days", 0.03), ("58 years old", 58),
        ("58-year-old", 58), ("58yo", 58), ("2 years 6 months", 2.5), ("1 year, 3 months", 1.25), ("newborn", 0),
        ("3 Monate", 0.25), ("58 Jahre", 58), ("58 años", 58), ("aged 58", 58), ("approx. 60", 60), ("~60", 60),
        # bounds: the lower one
        ("50+", 50), ("67+", 67), (">89", 89), ("90 or older", 90), ("early 40s", 40), ("mid 50s", 50),
        ("late-60s", 60), ("40's", 40),
        # no ages: dates, codes, ranges, negative numbers, and what may be a man of 58 or 58 months
        ("-1", None), ("12/03/1960", None), ("1960-03-12", None), ("411", None), ("999", None), ("5-7", None),
        ("58 M", None), ("58M", None), ("58 F", None), ("A58", None), ("1e1", None), ("12:30", None), ("5 ft", None),
        ("6 months 2 years", None), ("121", None), ("58 59", None), ("", None), (None, None), ("unknown", None),
        ("nan", None), ("١٢", 12),
    ],
)  # fmt: skip
def test_years(text, expected) -> None:
    assert years(text) == expected


@given(st.text(max_size=15))
def test_any_text_is_an_age_within_bounds_or_none(text) -> None:
    assert (age := years(text)) is None or 0 <= age <= 120


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "nan", "NaN", "NA", "N/A", "n.a.", "#N/A", "None", "null", "NULL", "<NA>", "unknown", "(unknown)"),
        *("?", "-", "--", ".", "not available", "Not given", "keine Angabe", "k.A.", "unbekannt", "Anonymous", None),
    ],
)
def test_a_word_for_nothing_is_nothing(text) -> None:
    assert known(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("123.0", "123"), ("123", "123"), (" p1 ", "p1"), ("007", "007"), ("1.10", "1.10"), ("123.5", "123.5"),
        ("p1.0", "p1.0"), ("Nancy", "Nancy"), ("NA1", "NA1"), ("0", "0"), ("-5.00", "-5"),
    ],
)  # fmt: skip
def test_what_is_known_is_kept_as_written(text, expected) -> None:
    assert known(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [("M", "M"), (" f ", "F"), ("Female", "F"), ("male", "M"), ("O", None), ("", None), (None, None), ("nan", None)],
)
def test_sex(text, expected) -> None:
    assert sex(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("3", 3),
        ("-1.5", -1.5),
        ("1e3", 1000),
        ("nan", None),
        ("inf", None),
        ("1_000", None),
        ("1e99", None),
        ("x", None),
    ],
)
def test_number(text, expected) -> None:
    assert number(text) == expected
