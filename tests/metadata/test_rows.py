"""Tables of the rows on disk."""

from pathlib import Path

import pyarrow as pa
import pytest

from cxrflow.engines import LocalEngine, SparkEngine
from cxrflow.metadata.rows import Rows


def test_tables_are_on_this_disk_whatever_the_file_system_of_the_cluster(spark: SparkEngine, tmp_path: Path) -> None:
    """On YARN, paths without a scheme are of HDFS; nobody has this one."""
    configuration = spark.backend._session.sparkContext._jsc.hadoopConfiguration()
    before = configuration.get("fs.defaultFS")
    configuration.set("fs.defaultFS", "hdfs://nobody.invalid:9")
    try:
        rows = Rows(spark, tmp_path)
        rows.save("saved", rows.write("listed", [pa.table({"position": [1, 0]})]))
        assert rows.table("saved").position.execute().tolist() == [0, 1]
    finally:
        configuration.set("fs.defaultFS", before)


@pytest.mark.parametrize("name", ["plain", "o'brien", "study [2]", 'a "b" c', "all*?", "{x,y}"])
def test_a_folder_may_have_any_name(name: str, spark: SparkEngine, tmp_path: Path) -> None:
    """Also one with characters of SQL, or of a pattern of file names."""
    for engine in (LocalEngine(), spark):
        rows = Rows(engine, tmp_path / name)
        table = rows.write("listed", [pa.table({"position": [0, 1], "path": ["a", "b"]})])
        rows.save("chosen", table.filter(table.path == "b"))
        assert rows.table("chosen").position.execute().tolist() == [1]
        assert pa.Table.from_batches(rows.read("chosen")).to_pylist() == [{"position": 1, "path": "b"}]
