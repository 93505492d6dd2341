"""Tables that a narrow screen can show as cards, and a screen reader can announce: each cell carries the name of its
column, each header what it is the header of."""

import re

_TABLE = re.compile(r"<table\b.*?</table>", re.DOTALL)
_CELL = re.compile(r"<(t[hd])\b([^>]*)>(.*?)(?=<t[hd]\b|</tr>)", re.DOTALL)
_ROW = re.compile(r"<tr>.*?</tr>", re.DOTALL)
_SPAN = re.compile(r'colspan="(\d+)"')
_TAG = re.compile(r"<[^>]*>")


def labelled(page: str) -> str:
    """The HTML page with, in each of its tables, ``scope`` on headers and ``data-label`` on cells below a named column.

    A table's rows are ``<tr>`` to ``</tr>``; ``</th>`` and ``</td>`` are left out. The content of a cell gets a
    ``<div>`` of its own, to stand beside the label.
    """
    return _TABLE.sub(lambda table: _labelled(table[0]), page)


def _labelled(table: str) -> str:
    head, end, body = table.partition("</thead>")
    if not end:
        head, body = "", table
    names = [_TAG.sub("", content).strip() for _, _, content in _CELL.findall(head)]
    head = _CELL.sub(r'<th\2 scope="col">\3', head)
    return head + end + _ROW.sub(lambda row: _row(row[0], names), body)


def _row(row: str, names: list[str]) -> str:
    column = 0

    def cell(found: re.Match[str]) -> str:
        nonlocal column
        kind, attributes, content = found.groups()
        name, span = names[column] if names else "", _SPAN.search(attributes)
        column += int(span[1]) if span else 1
        if kind == "th":
            return f'<th{attributes} scope="{"rowgroup" if span else "row"}">{content}'
        label = f' data-label="{name}"' if name and content.strip() and not span else ""
        return f"<td{attributes}{label}><div>{content}</div>" if content.strip() else f"<td{attributes}>"

    return _CELL.sub(cell, row)
