"""Words of labels, sexes and views in other languages."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cxrflow.findings import FINDINGS
from cxrflow.sources.words import entries, finding_of, plain, sex_of, view_of

LANGUAGES = {"en", "de", "fr", "es", "pt", "it", "nl", "pl", "tr", "ru", "zh", "ja", "ko", "ar", "hi"}
NORMAL, PNEUMONIA, COVID = "no finding", "pneumonia", "pneumonia/viral/covid-19"


def test_no_word_has_two_meanings_and_every_meaning_is_known() -> None:
    meanings: dict[tuple[str, str], set[str]] = {}
    for kind, meaning, _, word in entries():
        meanings.setdefault((kind, plain(word)), set()).add(meaning)
    assert [key for key, several in meanings.items() if len(several) > 1] == []
    assert {meaning for kind, meaning, _, _ in entries() if kind == "findings"} <= set(FINDINGS)


@pytest.mark.parametrize("meaning", [NORMAL, PNEUMONIA, COVID, "tuberculosis", "effusion", "pneumothorax"])
def test_the_commonest_findings_have_a_word_in_every_language(meaning) -> None:
    # English words of a single term are the vocabulary's own (findings.py)
    assert {language for _, found, language, _ in entries() if found == meaning} | {"en"} == LANGUAGES


@given(st.sampled_from(list(entries())), st.sampled_from(["NFC", "NFD"]), st.sampled_from([str, str.upper, str.title]))
def test_words_are_found_in_any_case_and_unicode_form(entry, form, case) -> None:
    kind, meaning, _, word = entry
    written = f" {unicodedata.normalize(form, case(word))} "
    if kind == "findings":
        assert finding_of(written) == meaning
    elif kind == "sexes":
        assert sex_of(written) == meaning
    else:
        assert view_of(written) == meaning


@pytest.mark.parametrize(
    ("word", "finding"),
    [
        ("unauffällig", NORMAL), ("unauffaellig", NORMAL), ("Unauffallig", NORMAL), ("o.B.", NORMAL),
        ("NEUMONÍA", PNEUMONIA), ("Lungenentzuendung", PNEUMONIA), ("zapalenie_płuc", PNEUMONIA),
        ("COVID 19", COVID), ("Covid19", COVID), ("कोविड-१९", COVID), ("туберкулез", "tuberculosis"),
        # only whole cells: these are not pneumonia
        ("keine Pneumonie", None), ("Pneumonie ausgeschlossen", None), ("no pneumonia", None), ("V.a. Pneumonie", None),
        # of two meanings
        ("negative", None), ("positive", None), ("kein Befund", None), ("1", None), ("", None), ("-", None),
    ],
)  # fmt: skip
def test_findings(word, finding) -> None:
    assert finding_of(word) == finding


@pytest.mark.parametrize(
    ("word", "letters", "sex"),
    [
        ("männlich", "", "M"), ("Maennlich", "", "M"), ("W", "", "F"), ("М", "", "M"), ("Ж", "", "F"),
        ("m", "MF", "M"), ("M", "M", "M"), ("M", "HM", None), ("H", "HM", "M"), ("H", "HF", "M"), ("H", "H", "M"),
        # codes are never guessed
        ("1", "", None), ("2", "", None), ("O", "", None), ("divers", "", None), ("", "", None),
    ],
)  # fmt: skip
def test_sexes(word, letters, sex) -> None:
    assert sex_of(word, frozenset(letters)) == sex


@pytest.mark.parametrize(
    ("word", "view"),
    [
        ("PA", "PA"), ("p.a.", "PA"), ("AP supine", "AP"), ("AP_horizontal", "AP"), ("a.p. liegend", "AP"),
        ("liegend", "AP"), ("postero-anterior", "PA"), ("PA/AP", "frontal"), ("frontal", "frontal"),
        ("CHEST PA AND LATERAL", None), ("Paula", None),
        ("正位", "frontal"), ("L", "lateral"), ("LL", "lateral"), ("seitlich", "lateral"), ("Profil", "lateral"),
        ("LAO", "oblique"), ("Thorax stehend", None), ("", None),
    ],
)  # fmt: skip
def test_views(word, view) -> None:
    assert view_of(word) == view
