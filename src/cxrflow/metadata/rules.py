"""The rules that leave out children and repeats, as Ibis expressions, which run on DuckDB and on Spark.

The table has the columns of the record that the rules use, and ``position``, the row's position in the order of the
collections: of several repeats, the first is kept. A row counts as kept while its ``left_out`` is null.
"""

from typing import Any

import ibis

from cxrflow.metadata.reasons import CONFLICT, LISTED_AGAIN, PAEDIATRIC, SAME_FILE, SAME_URL, URL_ENDS


def unique_ids(table: Any) -> Any:
    """Unique image ids: columns position, image_id and other_id.

    If several files share an id, their ids are made from the paths; if several rows list the same file, ``#2``, ``#3``,
    ... is appended from the second row on; if that is another row's id, the row's number, too. other_id is the id that
    the image has once another file of its name is added or, if there is one, removed.

    table  columns position, image_id, source, path
    """
    listed, by_path = table.image_id, table.source + ":" + table.path
    same_id = ibis.window(group_by=table.image_id)
    several = table.path.min().over(same_id) != table.path.max().over(same_id)
    table = table.select("position", listed=listed, by_path=by_path, id=ibis.ifelse(several, by_path, listed))
    again = ibis.row_number().over(group_by=table.id, order_by=table.position)
    table = table.mutate(image_id=ibis.ifelse(again == 0, table.id, table.id + "#" + (again + 1).cast("string")))
    taken = ibis.row_number().over(group_by=table.image_id, order_by=table.position) > 0
    row = "#row " + (table.position + 1).cast("string")
    table = table.mutate(image_id=ibis.ifelse(taken, table.image_id + row, table.image_id))
    other = ibis.ifelse(table.image_id == table.listed, table.by_path, table.listed)
    return table.select("position", "image_id", other_id=other)


def first_rows(table: Any, keys: tuple[str, ...]) -> Any:
    """For each row and key, the position of the first row with the same value, null if it is unknown: columns position
    and ``keys``."""
    first = {
        key: ibis.ifelse(table[key].isnull(), ibis.null("int64"), table.position.min().over(group_by=table[key]))
        for key in keys
    }
    return table.select("position", **first)


def named_groups(table: Any) -> Any:
    """Names of the groups, and whether a kept image of the group is a child's: columns position, group_id, children.

    A group is named after its alphabetically first patient, or image if no patient is known. The name does not depend
    on the order of rows, but may change with a new member; sides.py keeps the group's side nevertheless.

    table  columns position, group (any number of the group), image_id, patient_id, paediatric, left_out
    """
    same = ibis.window(group_by=table.group)
    child = (_kept(table) & table.paediatric).cast("int8").max().over(same)
    name = ibis.coalesce(table.patient_id.min().over(same), table.image_id.min().over(same))
    return table.select("position", group_id=name, children=child == 1)


def leave_out_repeats(table: Any, leave_out_children: bool) -> Any:
    """Apply the rules in order. Returns all rows; those that a rule leaves out have its reason in ``left_out``."""
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
    """``value`` if the row is kept and its key is known, else null, which window aggregates ignore."""
    return ibis.cases((_kept(table) & table[key].notnull(), value), else_=ibis.null(value.type()))


def _labels_of(table: Any, key: str) -> Any:
    """1 if all kept rows with the same key have the same label, else 2."""
    label = _among_kept(table, key, table.label)
    window = ibis.window(group_by=table[key])
    differ = label.max().over(window) != label.min().over(window)
    return ibis.cases((differ, 2), else_=1)


def _first_of(table: Any, key: str) -> Any:
    """Position of the first kept row with the same key; null, so that no comparison holds, if the key is unknown."""
    return _among_kept(table, key, table.position).min().over(ibis.window(group_by=table[key]))


def _leave_out_same_url(table: Any) -> Any:
    """Leave out images whose URL also occurs in an earlier collection. Within a collection, images may share a page."""
    url = table.url.re_replace(URL_ENDS, "")
    table = table.mutate(url_key=url)
    position = _among_kept(table, "url_key", table.position)
    first = position.min().over(ibis.window(group_by=table.url_key))
    table = table.mutate(first=first)
    owner = ibis.cases((table.position == table.first, table.source), else_=ibis.null("string"))
    table = table.mutate(owner=owner.max().over(ibis.window(group_by=table.url_key)))
    table = _leave_out(table, table.url_key.notnull() & (table.owner != table.source), SAME_URL)
    return table.drop("url_key", "first", "owner")
