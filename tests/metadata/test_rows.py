"""Tables of the rows on disk."""

from pathlib import Path

import pyarrow as pa
import pytest

from cxrflow.engines import LocalEngine, SparkEngine
from cxrflow.metadata.rows import Rows


@pytest.mark.parametrize("name", ["plain", "o'brien", "study [2]", 'a "b" c', "all*?", "{x,y}"])
def test_a_folder_may_have_any_name(name: str, spark: SparkEngine, tmp_path: Path) -> None:
    """Also one with characters of SQL, or of a pattern of file names."""
    for engine in (LocalEngine(), spark):
        rows = Rows(engine, tmp_path / name)
        table = rows.write("listed", [pa.table({"position": [0, 1], "path": ["a", "b"]})])
        rows.save("chosen", table.filter(table.path == "b"))
        assert rows.table("chosen").position.execute().tolist() == [1]
        assert pa.Table.from_batches(rows.read("chosen")).to_pylist() == [{"position": 1, "path": "b"}]
