"""The tiny hospital of cxrflow.testing, whose pictures have a disease in their lungs and a mark at their border."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from cxrflow.audit.context import Audited
from cxrflow.params import Params
from cxrflow.predictor import Predictor
from cxrflow.task import Task
from cxrflow.testing import hospital as make


@pytest.fixture
def hospital(demo_params: Params, tmp_path: Path) -> Callable[..., Audited]:
    """``cxrflow.testing.hospital.hospital``, into a folder of the test's own."""
    return partial(make.hospital, demo_params, tmp_path)


@pytest.fixture(autouse=True, scope="session")
def tiny_network() -> Iterator[None]:
    """A network that trains in a second, for as long as these tests run."""
    with make.tiny_network():
        yield


@pytest.fixture(scope="session")
def untrained(demo_params: Params, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Task], Predictor]:
    """Makes a predictor of a task whose network has random weights, for pictures of SIDE pixels."""
    return lambda task: make.untrained(demo_params.images, tmp_path_factory.mktemp("bundle"), task)
