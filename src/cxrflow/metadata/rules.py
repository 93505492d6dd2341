"""The rules that leave out children and repeats, as Ibis expressions: one set for DuckDB and for Spark.

Each rule takes and returns a table of rows with the columns of the record that it names and ``position``, the row's
place in the order of collections: of several repeats the first is kept. A row is kept while its ``left_out`` is null.
"""

from typing import Any

import ibis

PAEDIATRIC = "child, left out by metadata.paediatric"
LISTED_AGAIN = "listed again: an earlier row names the same file"
SAME_FILE = "repeat: the same bytes as an earlier image"
SAME_URL = "repeat: an earlier collection holds the image of this URL"
CONFLICT = "repeats with different labels"
#: Parts in which two addresses of one page may differ.
URL_ENDS = r"^https?://(www\.)?|/+$"


def leave_out_repeats(table: Any, leave_out_children: bool) -> Any:
    """Apply the rules in their order. All rows are returned, with the reason where a rule leaves one out."""
    if leave_out_children:
        table = _leave_out(table, table.paediatric, PAEDIATRIC)
    for key, reason in (("path", LISTED_AGAIN), ("content_hash", SAME_FILE)):
        table = _leave_out(table, _kept(table) & (_labels_of(table, key) > 1), CONFLICT)
        table = _leave_out(table, _kept(table) & (table.position > _first_of(table, key)), reason)
    return _leave_out_same_url(table)


def _kept(table: Any) -> Any:
    return table.left_out.isnull()


def _leave_out(table: Any, condition: Any, reason: str) -> Any:
    out = ibis.cases((table.left_out.isnull() & condition, reason), else_=table.left_out)
    return table.mutate(left_out=out)


def _among_kept(table: Any, key: str, value: Any) -> Any:
    """``value`` where the row is kept and its key known, else null, which windows over the key ignore."""
    return ibis.cases((_kept(table) & table[key].notnull(), value), else_=ibis.null(value.type()))


def _labels_of(table: Any, key: str) -> Any:
    """1 where all kept rows of the same key have one label, 2 where they differ."""
    label = _among_kept(table, key, table.label)
    window = ibis.window(group_by=table[key])
    differ = label.max().over(window) != label.min().over(window)
    return ibis.cases((differ, 2), else_=1)


def _first_of(table: Any, key: str) -> Any:
    """Position of the first kept row of the same key; null where the key is unknown, so that no comparison holds."""
    return _among_kept(table, key, table.position).min().over(ibis.window(group_by=table[key]))


def _leave_out_same_url(table: Any) -> Any:
    """Leave out images whose URL an earlier collection names, too. Within one collection a page may show several."""
    url = table.url.re_replace(URL_ENDS, "")
    table = table.mutate(url_key=url)
    position = _among_kept(table, "url_key", table.position)
    first = position.min().over(ibis.window(group_by=table.url_key))
    table = table.mutate(first=first)
    owner = ibis.cases((table.position == table.first, table.source), else_=ibis.null("string"))
    table = table.mutate(owner=owner.max().over(ibis.window(group_by=table.url_key)))
    table = _leave_out(table, table.url_key.notnull() & (table.owner != table.source), SAME_URL)
    return table.drop("url_key", "first", "owner")
