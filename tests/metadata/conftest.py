"""What tests of the metadata stage share."""

from collections.abc import Callable
from typing import Any

import ibis
import pandas as pd
import pytest

_TEXTS = ("image_id", "source", "patient_id", "label", "url", "content_hash", "left_out")


@pytest.fixture(scope="session")
def as_table() -> Callable[[pd.DataFrame], Any]:
    """Gives records as an Ibis table of texts and positions."""

    def make(records: pd.DataFrame) -> Any:
        columns = [name for name in _TEXTS if name in records]
        frame = records[columns].astype(object).assign(position=range(len(records)))
        return ibis.memtable(frame, schema=dict.fromkeys(columns, "string") | {"position": "int64"})

    return make
