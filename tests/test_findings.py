"""The vocabulary of findings."""

import pytest

from cxrflow.findings import FINDINGS, find_finding, most_specific, under


def test_every_term_is_a_path_of_plain_words_with_its_parents_and_its_publication() -> None:
    for finding, published in FINDINGS.items():
        assert finding == finding.strip().lower()
        assert ";" not in finding  # joins findings in records.csv
        parent = finding.rpartition("/")[0]
        assert not parent or parent in FINDINGS
        assert any(digit.isdigit() for digit in published)  # year


def test_every_path_and_every_unambiguous_last_word_is_found() -> None:
    ends = [finding.rpartition("/")[2] for finding in FINDINGS]
    for finding, end in zip(FINDINGS, ends, strict=True):
        assert find_finding(finding) == finding
        assert find_finding(f" {finding.upper()} ") == finding
        if ends.count(end) == 1:
            assert find_finding(end) == finding


@pytest.mark.parametrize(
    ("word", "finding"),
    [
        ("COVID-19", "pneumonia/viral/covid-19"),
        ("covid19", "pneumonia/viral/covid-19"),
        ("SARS-CoV-2", "pneumonia/viral/covid-19"),
        ("SARS", "pneumonia/viral/sars"),
        ("Normal", "no finding"),
        ("Pleural_Thickening", "pleural thickening"),
        ("ARDS", "acute respiratory distress syndrome"),
        ("Infiltrate", "infiltration"),
        ("flu", None),
        ("pneumonia/", None),
        ("pneum", None),
        ("", None),
    ],
)
def test_words_as_people_write_them(word, finding) -> None:
    assert find_finding(word) == finding


def test_under_is_of_whole_parts_of_a_path() -> None:
    assert under("pneumonia/viral/sars", "pneumonia")
    assert under("pneumonia", "pneumonia")
    assert not under("pneumonia", "pneumonia/viral")
    assert not under("nodule or mass", "nodule")


def test_the_most_specific_stay_each_once_in_their_order() -> None:
    given = ["pneumonia", "effusion", "pneumonia/viral/sars", "pneumonia/viral", "effusion", "pneumonia/lipoid"]
    assert most_specific(given) == ("effusion", "pneumonia/viral/sars", "pneumonia/lipoid")
    assert most_specific([]) == ()
