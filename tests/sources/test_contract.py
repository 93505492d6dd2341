"""What every collection promises, over the whole registry."""

import re

import pytest

from cxrflow.errors import CxrflowError
from cxrflow.sources import SOURCES, covidx, find_collections, read_collections, rsna, tables
from cxrflow.sources.collection import Options
from cxrflow.task import NO_FINDING_GIVEN
from cxrflow.testing import check_source, check_stops


def test_labels_are_those_counted_by_hand(name, tiny, read, label) -> None:
    assert [label(record) for record in read(name, tiny)] == tiny.labels


def test_every_source_keeps_the_contract(name, tiny) -> None:
    records = check_source(SOURCES[name], tiny.write(), issuers=covidx.ORIGINS)
    assert [record.left_out for record in records] == list(tiny.reasons or [None] * len(records))


def test_an_absent_table_stops_at_once_and_is_named(tabled) -> None:
    name, tiny = tabled
    folder = tiny.write()
    for table in set(tiny.tables) - set(tiny.optional):
        (folder / table).rename(folder / "elsewhere")
        check_stops(SOURCES[name], folder, table if SOURCES[name].folders else tiny.folder)
        if SOURCES[name].folders and table != rsna.MAPPING:
            with pytest.raises(CxrflowError, match=f"expected: {re.escape(SOURCES[name].expects)}; found: "):
                list(read_collections(*_found(tiny), Options()))
        (folder / "elsewhere").rename(folder / table)


def test_a_missing_column_stops_at_once_with_table_and_column(tabled) -> None:
    name, tiny = tabled
    for table, columns in tiny.columns.items():
        whole = tiny.tables[table]
        for column in columns:
            place = whole[0].index(column)
            tiny.tables[table] = [row[:place] + row[place + 1 :] for row in whole]
            check_stops(SOURCES[name], tiny.write(), table, f"column {column} is missing")
            with pytest.raises(CxrflowError) as stopped:
                list(read_collections(*_found(tiny), Options(with_files=False)))
            assert SOURCES[name].expects in str(stopped.value)
        tiny.tables[table] = whole


def test_an_empty_table_stops_at_once(tabled) -> None:
    name, tiny = tabled
    folder = tiny.write()
    (folder / tiny.main).write_bytes(b"")
    check_stops(SOURCES[name], folder, tiny.main if SOURCES[name].folders else tiny.folder)


def test_a_row_with_surplus_cells_is_left_out(tabled, read) -> None:
    name, tiny = tabled
    last = tiny.tables[tiny.main][-1]
    last.extend([""] * (len(tiny.tables[tiny.main][0]) - len(last)) + ["surplus"])
    records = read(name, tiny)
    assert len(records) == len(tiny.labels)
    assert [record.left_out == tables.BAD_ROW for record in records] == [False] * (len(records) - 1) + [True]


def test_a_row_that_names_no_image_is_left_out(tabled, read) -> None:
    name, tiny = tabled
    tiny.add(tiny.nameless)
    records = read(name, tiny)
    assert [record.left_out for record in records].count(tables.NO_IMAGE) == 1
    assert len(records) == len(tiny.labels) + 1


def test_an_unknown_label_is_left_out_not_guessed(tabled, read, demo_params) -> None:
    name, tiny = tabled
    task = demo_params.task
    if tiny.unknown is None:
        # whose folders are its labels; with one label for all; MeSH has no end
        assert name in ("radiography", "hannover", "bimcv-covid19", "openi")
        return
    tiny.add(tiny.unknown)
    added = read(name, tiny)[-1]
    assert added.findings == ()
    # RSNA's row has a Target and no class; the words of a user's own table are named
    expected = {"rsna": NO_FINDING_GIVEN, "table": f"{tables.UNKNOWN_LABEL} (flu)"}.get(name, tables.UNKNOWN_LABEL)
    assert (added.left_out or task.label_of(added.findings)[1]) == expected


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1", "cp1252"])
def test_the_encoding_changes_nothing(tabled, encoding) -> None:
    _, tiny = tabled
    tiny.write()
    expected = list(read_collections(*_found(tiny), Options(with_files=False)))
    tiny.encoding = encoding
    tiny.write()
    assert list(read_collections(*_found(tiny), Options(with_files=False))) == expected


def _found(tiny):
    return find_collections(tiny.root)
