import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxrflow.errors import CxrflowError
from cxrflow.evaluation import ledger as ledgers


def images(n=6):
    content = [None if i == 2 else f"{i:064x}" for i in range(n)]
    labels = ["flu", "clear", "other"] * (n // 3)
    return pd.DataFrame({"image_id": [f"a:{i}" for i in range(n)], "content_hash": content, "label": labels})


@given(st.permutations(range(6)))
@settings(max_examples=25)
def test_hash_does_not_depend_on_order_or_file_names(order):
    shuffled = images().iloc[list(order)]
    assert ledgers.test_set_hash(shuffled) == ledgers.test_set_hash(images())
    renamed = images().assign(image_id=[f"b:{i}" if i != 2 else "a:2" for i in range(6)])
    assert ledgers.test_set_hash(renamed) == ledgers.test_set_hash(images())


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t[:-1],
        lambda t: pd.concat([t, t[-1:]]),
        lambda t: t.assign(label=t["label"].to_numpy()[[1, 0, 2, 3, 4, 5]]),
        lambda t: t.replace({"image_id": {"a:2": "a:9"}}),  # the one without a content hash
        lambda t: t.drop(columns="content_hash"),
    ],
)
def test_hash_depends_on_every_image_and_label(change):
    changed = ledgers.test_set_hash(change(images()))
    assert len(changed) == 64
    assert changed != ledgers.test_set_hash(images())


def test_looks_are_counted_by_test_set(tmp_path):
    path = tmp_path / "results" / "ledger.csv"
    assert ledgers.times_looked_at(path, "x") == 0
    for count, (bundle, test_set) in enumerate([("m1", "x"), ('odd, "name"', "x"), ("m1", "y")], 1):
        ledgers.enter(path, bundle, test_set)
        assert len(path.read_text().splitlines()) == count + 1
    assert ledgers.times_looked_at(path, "x") == 2
    assert ledgers.times_looked_at(path, "y") == 1
    assert ledgers.times_looked_at(path, "z") == 0


def test_time_is_written_in_utc_to_the_second(tmp_path, monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Karachi")
    before = datetime.now(UTC).replace(microsecond=0)
    ledgers.enter(tmp_path / "l.csv", "m", "x")
    header, row = (tmp_path / "l.csv").read_text().splitlines()
    assert header == "when,bundle,test_set_hash"
    when, *rest = row.split(",")
    assert rest == ["m", "x"]
    assert len(when) == len("2024-05-06T07:08:09+00:00")
    assert timedelta(0) <= datetime.fromisoformat(when) - before <= timedelta(minutes=1)
    assert when.endswith("+00:00")


def test_a_kill_while_writing_leaves_the_old_ledger(tmp_path, monkeypatch):
    path = tmp_path / "l.csv"
    ledgers.enter(path, "m", "x")

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", killed)
    with pytest.raises(KeyboardInterrupt):
        ledgers.enter(path, "m", "x")
    assert ledgers.times_looked_at(path, "x") == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == [".l.csv.lock", "l.csv"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"when,bundle\n",
        b"when,bundle,test_set_hash\n2024-05-06T07:08:09+00:00,m\n",
        b"when,bundle,test_set_hash\nyesterday,m,x\n",
        b'when,bundle,test_set_hash\n2024-05-06T07:08:09+00:00,"m,x\n',
    ],
)
def test_a_damaged_ledger_stops_and_is_left_as_it_is(tmp_path, content):
    path = tmp_path / "l.csv"
    path.write_bytes(content)
    with pytest.raises(CxrflowError, match=r"l\.csv: damaged"):
        ledgers.times_looked_at(path, "x")
    with pytest.raises(CxrflowError, match=r"l\.csv: damaged"):
        ledgers.enter(path, "m", "x")
    assert path.read_bytes() == content


def test_looks_of_several_runs_at_once_all_count(tmp_path):
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda k: ledgers.enter(tmp_path / "ledger.csv", f"bundle {k}", "test"), range(20)))
    assert ledgers.times_looked_at(tmp_path / "ledger.csv", "test") == 20
