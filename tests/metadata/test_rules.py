"""The rules on tables small enough to work out by hand."""

import ibis
import pandas as pd
import pytest

from cxrflow.metadata.rules import CONFLICT, LISTED_AGAIN, PAEDIATRIC, SAME_FILE, SAME_URL, leave_out_repeats

COLUMNS = {
    "position": "int64",
    "path": "string",
    "label": "string",
    "source": "string",
    "url": "string",
    "paediatric": "boolean",
    "content_hash": "string",
    "left_out": "string",
}


def applied(*rows: dict[str, object], children: bool = True) -> list[str | None]:
    """Reasons by position of rows; what a row does not say is its own."""
    full = [
        {"position": n, "path": f"p{n}", "label": "covid", "source": "a", "url": None, "paediatric": False,
         "content_hash": f"h{n}", "left_out": None} | row
        for n, row in enumerate(rows)
    ]  # fmt: skip
    table = ibis.memtable(pd.DataFrame(full, columns=list(COLUMNS)), schema=COLUMNS)
    done = ibis.duckdb.connect().to_pandas(leave_out_repeats(table, children))
    return [None if pd.isna(reason) else reason for reason in done.sort_values("position").left_out]


@pytest.mark.parametrize(("key", "reason"), [("content_hash", SAME_FILE), ("path", LISTED_AGAIN)])
def test_the_first_repeat_is_kept(key, reason) -> None:
    assert applied({key: "x"}, {}, {key: "x"}, {key: "x"}) == [None, None, reason, reason]


@pytest.mark.parametrize("key", ["content_hash", "path"])
def test_repeats_with_different_labels_are_all_left_out(key) -> None:
    rows = [{key: "x"}, {key: "x", "label": "normal"}, {key: "x"}, {}]
    assert applied(*rows) == [CONFLICT, CONFLICT, CONFLICT, None]


def test_what_is_left_out_already_neither_repeats_nor_conflicts() -> None:
    rows = [
        {"content_hash": "x", "left_out": "before", "label": "normal"},
        {"content_hash": "x"},
        {"content_hash": "x"},
    ]
    assert applied(*rows) == ["before", None, SAME_FILE]


def test_unknown_is_not_equal_to_unknown() -> None:
    assert applied(*[{"content_hash": None, "url": None}] * 3) == [None] * 3


def test_children_are_left_out_first_if_at_all() -> None:
    rows = [{"paediatric": True, "content_hash": "x"}, {"content_hash": "x"}]
    assert applied(*rows) == [PAEDIATRIC, None]
    assert applied(*rows, children=False) == [None, SAME_FILE]


def test_a_url_repeats_only_across_collections() -> None:
    here = {"url": "https://a.org/1"}
    rows = [here, here, here | {"source": "b"}, {"source": "b", "url": "https://a.org/2"}, here | {"source": "c"}]
    assert applied(*rows) == [None, None, SAME_URL, None, SAME_URL]


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ("http://a.org/1", True),
        ("https://www.a.org/1/", True),
        ("https://a.org/1//", True),
        ("https://a.org/12", False),
    ],
)
def test_urls_are_the_same_without_scheme_www_and_last_slash(other, same) -> None:
    reasons = applied({"url": "https://a.org/1"}, {"url": other, "source": "b"})
    assert reasons == [None, SAME_URL if same else None]


def test_the_owner_of_a_url_is_the_first_that_is_kept() -> None:
    url = {"url": "a.org/1"}
    assert applied(url | {"left_out": "lateral"}, url | {"source": "b"}, url | {"source": "c"}) == [
        "lateral",
        None,
        SAME_URL,
    ]
    # the order of collections counts, not that of rows in the table
    assert applied(url | {"position": 1}, url | {"position": 0, "source": "b"}) == [None, SAME_URL]


def test_every_row_comes_back_once() -> None:
    rows = [{"content_hash": f"h{n % 7}", "url": f"u{n % 5}", "source": "ab"[n % 2]} for n in range(60)]
    reasons = applied(*rows)
    assert len(reasons) == 60
    assert reasons.count(None) + sum(reasons.count(r) for r in (SAME_FILE, SAME_URL)) == 60
