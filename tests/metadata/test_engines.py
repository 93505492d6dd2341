"""Two engines, the same records, row for row; and what Spark is asked to do."""

import os
import time
from pathlib import Path

import pandas as pd
import pytest

from cxrflow.engines import LocalEngine, Lost, cores, open_engine
from cxrflow.errors import CxrflowError
from cxrflow.metadata.build import SIDES, build_records
from cxrflow.metadata.remembered import write_sides
from cxrflow.params import Sources


def test_duckdb_has_the_memory_that_its_threads_need(monkeypatch: pytest.MonkeyPatch) -> None:
    """125 MB for each, says its guide; with 64 threads the rules of a million rows ran out of memory."""
    monkeypatch.setattr("cxrflow.engines.cores", lambda: 64)
    settings = LocalEngine().backend.raw_sql("SELECT current_setting('threads'), current_setting('memory_limit')")
    threads, memory = settings.fetchone()
    assert memory == "488.2 MiB"  # 512 MB
    assert 512 / threads >= 125


@pytest.fixture
def both(how, demo_params, spark, tmp_path):
    """Builds the records with either engine, each with its own cache and its own memory of sides."""

    def run(root: Path, *, split: bool, **changes: object) -> tuple[pd.DataFrame, pd.DataFrame]:
        sources, params = Sources(root=str(root), collections=None), how.model_copy(update=changes)
        built = []
        for engine in (LocalEngine(), spark):
            work = tmp_path / type(engine).__name__
            built.append(build_records(sources, params, demo_params.task, engine, work, split=split))
            if split:
                write_sides(built[-1].sides.parts(), work / SIDES)
        if split:
            pd.testing.assert_frame_equal(built[0].sides.moved, built[1].sides.moved)
        return built[0].records, built[1].records

    return run


def test_spark_and_local_agree_on_every_rule(own, both) -> None:
    columns = ["url", "age", "day", "finding"]
    first = [
        ["a.png", "covid", "p1", "https://www.a.org/1/", "50", "", "é"],
        ["b.png", "covid", "p2", "", "", "3", ""],
        ["c.png", "normal", "p3", "", "", "", ""],
        ["a.png", "covid", "p1", "", "", "", ""],
        ["d.png", "normal", "", "", "", "", ""],
        ["text.png", "normal", "p4", "", "", "", ""],
    ]
    second = [
        ["e.png", "covid", "q1", "http://a.org/1", "", "", ""],
        ["f.png", "covid", "q2", "", "", "", ""],
        ["g.png", "covid", "q3", "", "", "", ""],
        ["h.jpg", "normal", "q4", "", "", "", ""],
        ["i.png", "flu", "q5", "", "", "", ""],
    ]
    own(first, {"a.png": 1, "b.png": 2, "c.png": 3, "d.png": 4}, folder="first", columns=columns)
    root = own(second, {"e.png": 5, "f.png": 2, "g.png": 3, "h.jpg": 4}, folder="second", columns=columns)
    (root / "first" / "text.png").write_text("text")
    local, there = both(root, split=False)
    pd.testing.assert_frame_equal(local, there)
    reasons = local.set_index("image_id").left_out
    # a, b, d and h are kept; every other row meets a rule of its own
    assert reasons.isna().sum() == 4
    assert reasons.nunique() == 6
    assert reasons["first:c.png"] == reasons["second:g.png"]


def test_spark_and_local_agree_on_the_complete_tables(real_data, both) -> None:
    local, there = both(real_data / "metadata-full", split=True, files="ignored", paediatric="keep")
    pd.testing.assert_frame_equal(local, there)
    rsna = local[(local.source == "rsna") & local.left_out.isna()]
    assert rsna.label.value_counts().to_dict() == {"normal": 8_851, "pneumonia": 6_012}


def test_spark_and_local_agree_on_remembered_sides(own, both, tmp_path) -> None:
    """New rows join twenty patients of all sides; each engine has a memory of its own."""
    rows = [[f"{n}.png", ("covid", "normal")[n % 2], f"p{n:02}"] for n in range(60)]
    root = own(rows, {})
    first, _ = both(root, split=True, files="ignored")
    joined = [[path, label, "joined" if n < 20 else patient] for n, (path, label, patient) in enumerate(rows)]
    own([*joined, ["new.png", "covid", "a first"]], {})
    local, there = both(root, split=True, files="ignored")
    pd.testing.assert_frame_equal(local, there)
    assert set(first.split[:20]) == {"train", "val", "test"}
    assert set(local.split[:20]) == {"train"}
    assert local.split[20:60].tolist() == first.split[20:].tolist()
    sides = [tmp_path / engine / SIDES for engine in ("LocalEngine", "SparkEngine")]
    assert sides[0].read_bytes() == sides[1].read_bytes()


def test_map_keeps_the_order(spark) -> None:
    numbers = list(range(-50, 50))
    for engine in (LocalEngine(), spark):
        assert list(engine.map(abs, numbers)) == [abs(n) for n in numbers]
        assert list(engine.map(abs, [])) == []


def test_both_workers_of_the_cluster_work(spark, spark_cluster) -> None:
    def where(_: int) -> tuple[str, int]:
        import cv2

        assert cv2.getNumThreads() == 1
        time.sleep(0.05)
        return str(Path.cwd()), os.getpid()  # executors work in a folder of their worker's

    deadline, seen = time.monotonic() + 120, set()
    while len({folder for folder, _ in seen}) < 2:
        assert time.monotonic() < deadline, seen
        seen |= set(spark.map(where, range(32)))
    folders, pids = (set(column) for column in zip(*seen, strict=True))
    assert {Path(folder).parents[1].name for folder in folders} == set(spark_cluster.workers)
    assert os.getpid() not in pids


def test_the_driver_asks_for_few_partitions_ahead_and_stops_where_its_caller_does(spark) -> None:
    class Watched(list):
        asked = 0

        def __getitem__(self, part):
            self.asked = max(self.asked, part.stop)
            return super().__getitem__(part)

    items = Watched(range(10_000))
    results = spark.map(abs, items)
    assert [next(results) for _ in range(100)] == items[:100]
    assert 100 < items.asked <= 64 * (2 + 2 * 2)  # two taken, and two for each of two cores
    results.close()
    assert items.asked <= 64 * (2 + 2 * 2)
    assert list(spark.map(abs, items[:10])) == items[:10]


def test_what_fails_on_an_executor_is_one_sentence(spark) -> None:
    def fail(number: int) -> int:
        if number == 3:
            raise ValueError("three is\ntoo many")
        return number

    with pytest.raises(CxrflowError, match=r"spark failed \(.*too many\)") as stopped:
        list(spark.map(fail, range(8)))
    assert "\n" not in str(stopped.value)


def test_a_worker_that_dies_on_an_executor_costs_one_item(spark) -> None:
    def die(number: int) -> int:
        return os._exit(1) if number == 3 else number

    expected = [Lost("the decoder crashed (exit status 1)") if number == 3 else number for number in range(8)]
    assert list(spark.map(die, range(8))) == expected


def test_a_slow_taker_never_has_everything_in_memory(tmp_path: Path) -> None:
    """Only so many parts are worked on ahead of what is taken."""
    files = [tmp_path / str(k) for k in range(2_000)]
    results = LocalEngine().map(Path.touch, files)
    next(results)
    time.sleep(1.5)
    assert len(list(tmp_path.iterdir())) <= 16 * 4 * cores()
    results.close()


def test_spark_that_cannot_start_is_one_sentence(demo_params, monkeypatch) -> None:
    sql = pytest.importorskip("pyspark.sql", reason="pyspark is not installed")

    def fail(builder):
        raise RuntimeError("Java gateway process exited\nand a long trace")

    monkeypatch.setattr(sql.SparkSession.Builder, "getOrCreate", fail)
    with (
        pytest.raises(CxrflowError, match="Java gateway process exited") as stopped,
        open_engine(demo_params.model_copy(update={"engine": "spark"})),
    ):
        pass
    assert "\n" not in str(stopped.value)
