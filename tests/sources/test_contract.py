"""What every collection promises, over the whole registry."""

import re

import pytest

from cxrflow.errors import CxrflowError
from cxrflow.findings import FINDINGS, most_specific
from cxrflow.sources import SOURCES, covidx, find_collections, read_collections, rsna, source_name, tables
from cxrflow.sources.collection import Options
from cxrflow.task import NO_FINDING_GIVEN


def test_labels_are_those_counted_by_hand(name, tiny, read, label) -> None:
    assert [label(record) for record in read(name, tiny)] == tiny.labels


def test_records_keep_the_contract(name, tiny, read) -> None:
    records = read(name, tiny)
    source = source_name(SOURCES[name], tiny.folder)
    assert len({record.image_id for record in records}) == len(records)
    assert [record.left_out for record in records] == list(tiny.reasons or [None] * len(records))
    for record in records:
        assert record.source == source
        assert record.image_id.startswith(f"{source}:")
        assert record.path.startswith(f"{tiny.folder}/")
        assert set(record.findings) <= set(SOURCES[name].findings or FINDINGS) <= set(FINDINGS)
        assert record.findings == most_specific(record.findings)
        assert not record.findings or record.finding
        assert record.patient_id is None or record.patient_id.split(":")[0] in (source, *SOURCES, *covidx.ORIGINS)
        assert record.age is None or 0 < record.age <= 120
        assert record.sex in ("M", "F", None)


def test_an_absent_table_stops_at_once_and_is_named(tabled) -> None:
    name, tiny = tabled
    folder = tiny.write()
    for table in set(tiny.tables) - set(tiny.optional):
        (folder / table).rename(folder / "elsewhere")
        with pytest.raises(CxrflowError) as stopped:
            list(SOURCES[name].read(folder, tiny.folder, Options()))
        assert (table if SOURCES[name].folders else tiny.folder) in str(stopped.value)
        if SOURCES[name].folders and table != rsna.MAPPING:
            assert SOURCES[name].expects
            with pytest.raises(CxrflowError, match=f"expected: {re.escape(SOURCES[name].expects)}; found: "):
                list(read_collections(*_found(tiny), Options()))
        assert str(stopped.value).count("\n") == 0
        (folder / "elsewhere").rename(folder / table)


def test_a_missing_column_stops_at_once_with_table_and_column(tabled) -> None:
    name, tiny = tabled
    for table, columns in tiny.columns.items():
        whole = tiny.tables[table]
        for column in columns:
            place = whole[0].index(column)
            tiny.tables[table] = [row[:place] + row[place + 1 :] for row in whole]
            tiny.write()
            with pytest.raises(CxrflowError, match=rf"column {column} is missing") as stopped:
                list(read_collections(*_found(tiny), Options(with_files=False)))
            assert table in str(stopped.value)
            assert SOURCES[name].expects in str(stopped.value)
            assert str(stopped.value).count("\n") == 0
        tiny.tables[table] = whole


def test_an_empty_table_stops_at_once(tabled) -> None:
    name, tiny = tabled
    folder = tiny.write()
    (folder / tiny.main).write_bytes(b"")
    with pytest.raises(CxrflowError, match=tiny.main if SOURCES[name].folders else tiny.folder):
        list(SOURCES[name].read(folder, tiny.folder, Options(with_files=False)))


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


def test_found_by_its_published_names_and_by_its_own(name, tiny) -> None:
    written = tiny.write()
    for folder in (*SOURCES[name].folders, name) if SOURCES[name].folders else (tiny.folder,):
        written = written.rename(written.with_name(folder))
        root, found = _found(tiny)
        assert found == [(SOURCES[name], folder)]
        assert len(list(read_collections(root, found, Options()))) == len(tiny.labels)


def _found(tiny):
    return find_collections(tiny.root)
