"""What tests of several folders share: pictures, tiny collections, engines, and the place of the real data."""

import csv
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, settings
from PIL import Image

from cxrflow.dataset import Dataset
from cxrflow.engines import Engine, open_engine
from cxrflow.images.prepare import Store, steps_digest
from cxrflow.params import Images, Metadata, Params
from cxrflow.params_file import DEFAULTS, load_params
from cxrflow.synthetic.drawing import draw
from cxrflow.synthetic.layouts import plan
from cxrflow.task import Task

PROJECT = Path(__file__).parents[1]
Tiny = tuple[Dataset, Images]

# How long an example takes says something of the machine, nothing of the code.
settings.register_profile("cxrflow", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("cxrflow")
# What a shell runs in the background ignores Ctrl-C, and so would every command that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)
#: The files that take minutes, begun first: a process is given whole files, and the last one should not be long.
_LONGEST = (
    *("test_flow.py", "test_audit.py", "test_graph.py", "test_import_tensorflow.py", "test_benchmarks.py"),
    *("test_on_spark.py", "test_export.py", "test_server.py", "test_int8.py", "test_lungs.py", "test_registry.py"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {name: number for number, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: place.get(item.path.name, len(_LONGEST)))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder that the environment variable CXR_REAL_DATA names."""
    if not os.environ.get("CXR_REAL_DATA"):
        pytest.skip("CXR_REAL_DATA is not set")
    return Path(os.environ["CXR_REAL_DATA"])


@pytest.fixture(scope="session")
def demo_params() -> Params:
    """The parameters as the project ships them."""
    return load_params(DEFAULTS)


@pytest.fixture(scope="session")
def params(demo_params: Params) -> Params:
    """The same, by the name that tests of training use."""
    return demo_params


@pytest.fixture(scope="session")
def how(demo_params: Params) -> Metadata:
    """The parameters of the metadata stage."""
    return demo_params.metadata


class InProcess:
    """An engine without other processes, so that what it is asked to do can be counted."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    @cached_property
    def backend(self) -> Any:
        import ibis  # takes seconds, which most tests need not wait for

        return ibis.duckdb.connect()

    def map(self, function: Callable[[Any], Any], items: Sequence[Any]) -> Iterator[Any]:
        for item in items:
            self.asked.append(item)
            yield function(item)


@pytest.fixture
def engine() -> InProcess:
    return InProcess()


@dataclass
class Cluster:
    """A Spark cluster on this machine.

    url      of its master
    add      starts a worker of this name, and waits until the master knows it
    workers  processes of the workers by their names, each the leader of a group with its executors
    """

    url: str
    add: Callable[[str], None]
    workers: dict[str, subprocess.Popen]


@pytest.fixture(scope="session")
def spark_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A Spark cluster started on this machine: a master and the workers ``one`` and ``two``.

    Each worker has a core for each of two applications: that of the fixture ``spark`` and one that a test starts.
    """
    found = importlib.util.find_spec("pyspark")
    if found is None:
        pytest.skip("pyspark is not installed")
    if not (os.environ.get("JAVA_HOME") or shutil.which("java")):
        pytest.skip("Java is not found")
    folder = tmp_path_factory.mktemp("spark")
    port, web_port = _free_ports(2)
    url, page = f"spark://127.0.0.1:{port}", f"http://127.0.0.1:{web_port}/json/"
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv("SPARK_LOCAL_IP", "127.0.0.1")  # of the drivers too
        # Of every JVM, drivers and executors too: they start sooner, and live too short for the full compiler.
        patch.setenv("JAVA_TOOL_OPTIONS", "-XX:+UseSerialGC -XX:TieredStopAtLevel=1")
        environment = os.environ | {
            "SPARK_HOME": str(Path(found.origin).parent),
            "SPARK_DAEMON_MEMORY": "256m",
            "SPARK_MASTER_OPTS": "-Dspark.deploy.defaultCores=2",  # one application does not take every core
        }
        deploy, host, workers = "org.apache.spark.deploy", ("--host", "127.0.0.1"), {}

        def start(name: str, *arguments: str) -> subprocess.Popen:
            with (folder / f"{name}.log").open("w") as log:
                process = subprocess.Popen(
                    [Path(found.origin).parent / "bin" / "spark-class", *arguments],
                    env=environment,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                )
            stack.callback(_stop, process)
            return process

        def wait_for(count: int) -> None:
            deadline = time.monotonic() + 120
            while _workers(page) < count:
                logs = "\n".join(log.read_text() for log in sorted(folder.glob("*.log")))
                assert time.monotonic() < deadline, f"the Spark cluster did not start:\n{logs}"
                time.sleep(0.2)

        def add(*names: str) -> None:
            for name in names:
                room = ("--cores", "2", "--memory", "2g", "--work-dir", str(folder / name), "--webui-port", "0")
                workers[name] = start(name, f"{deploy}.worker.Worker", *host, *room, url)
            wait_for(sum(process.poll() is None for process in workers.values()))

        start("master", f"{deploy}.master.Master", *host, "--port", str(port), "--webui-port", str(web_port))
        wait_for(0)  # a worker that finds no master tries again late
        add("one", "two")
        yield Cluster(url, add, workers)


@pytest.fixture(scope="session")
def spark_master(spark_cluster: Cluster) -> str:
    """The URL of the Spark cluster's master."""
    return spark_cluster.url


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def _workers(page: str) -> int:
    """How many workers the master knows, by its web page; -1 before it has one."""
    try:
        with urllib.request.urlopen(page, timeout=5) as answer:  # noqa: S310
            return json.load(answer)["aliveworkers"]
    except OSError:
        return -1


def _stop(process: subprocess.Popen) -> None:
    """End a process and those that it started."""
    for how in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, how)
            process.wait(20)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


@pytest.fixture(scope="session")
def spark(demo_params: Params, spark_master: str) -> Iterator[Engine]:
    """A Spark engine on the cluster, one for all tests: a process may have only one."""
    update = {"engine": "spark", "spark": demo_params.spark.model_copy(update={"master": spark_master})}
    with open_engine(demo_params.model_copy(update=update)) as opened:
        yield opened


@pytest.fixture(scope="session")
def picture() -> Callable[..., np.ndarray]:
    """Makes a smooth grey picture, uint8 (side, side): another seed, another picture."""

    def make(seed: int, side: int = 128) -> np.ndarray:
        coarse = np.random.default_rng(seed).integers(20, 236, (12, 12)).astype(np.uint8)
        return cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)

    return make


@pytest.fixture(scope="session")
def drawn() -> list[np.ndarray]:
    """Frontal radiographs as the demo draws them, uint8."""
    jobs = [job for job in plan(60, 3)[0] if job.kind != "other"][::6]
    return [np.rint(draw(j.patient, j.kind, j.style, j.seed).pixels * 255).astype(np.uint8) for j in jobs]


@pytest.fixture(scope="session")
def write_csv() -> Callable[..., Path]:
    """Writes rows, the first of them the header, as CSV."""

    def write(path: Path, rows: Sequence[Sequence[str]], encoding: str = "utf-8") -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", encoding=encoding, newline="") as file:
            csv.writer(file).writerows(rows)
        return path

    return write


@pytest.fixture
def own(tmp_path: Path, write_csv: Callable[..., Path], picture: Callable[..., np.ndarray]) -> Callable[..., Path]:
    """Writes a user's own collection of rows (path, label, patient, and more under ``columns``); its root.

    ``pictures`` gives the seed of the picture at each path, or the array itself; a path not in it has no file.
    """

    def write(
        rows: Sequence[Sequence[str]],
        pictures: dict[str, int | np.ndarray],
        folder: str = "mine",
        columns: Sequence[str] = (),
    ) -> Path:
        write_csv(tmp_path / "root" / folder / "table.csv", [["path", "label", "patient", *columns], *rows])
        for path, content in pictures.items():
            file = tmp_path / "root" / folder / path
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture(content) if isinstance(content, int) else content).save(file)
        return tmp_path / "root"

    return write


@pytest.fixture(scope="session")
def onnx_network() -> Callable[[int], bytes]:
    """Makes an ONNX graph with COVID-Net's kinds of layers, weights drawn: pictures (n, 3, side, side) to 3 logits."""
    onnx = pytest.importorskip("onnx")

    def make(side: int) -> bytes:
        random, last = np.random.default_rng(0), 24 * (side // 8) ** 2
        values = {
            "first": random.normal(0, 0.1, (8, 3, 7, 7)),
            "gamma": random.uniform(0.5, 1.5, 8),
            "beta": random.normal(0, 0.1, 8),
            "mean": random.normal(0, 0.1, 8),
            "var": random.uniform(0.5, 1.5, 8),
            "deep": random.normal(0, 0.5, (8, 1, 3, 3)),
            "second": random.normal(0, 0.2, (24, 8, 3, 3)),
            "wide": random.normal(0, last**-0.5, (last, 20)),
            "bias": random.normal(0, 0.1, 20),
            "narrow": random.normal(0, 0.5, (20, 3)),
        }
        weights = [onnx.numpy_helper.from_array(value.astype(np.float32), name) for name, value in values.items()]
        weights.append(onnx.numpy_helper.from_array(np.array([-1, last]), "flat"))
        node = onnx.helper.make_node
        nodes = [
            node("Conv", ["input_1:0", "first"], ["a"], kernel_shape=[7, 7], strides=[2, 2], pads=[2, 2, 3, 3]),
            node("BatchNormalization", ["a", "gamma", "beta", "mean", "var"], ["b"]),
            node("Relu", ["b"], ["c"]),
            node("MaxPool", ["c"], ["d"], kernel_shape=[2, 2], strides=[2, 2]),
            node("Conv", ["d", "deep"], ["e"], kernel_shape=[3, 3], pads=[1, 1, 1, 1], group=8),
            node("Conv", ["e", "second"], ["f"], kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
            node("Relu", ["f"], ["g"]),
            node("Reshape", ["g", "flat"], ["h"]),
            node("MatMul", ["h", "wide"], ["i"]),
            node("Add", ["i", "bias"], ["j"]),
            node("Relu", ["j"], ["k"]),
            node("MatMul", ["k", "narrow"], ["norm_dense_1/MatMul:0"]),
        ]
        sides = {"input_1:0": ["n", 3, side, side], "norm_dense_1/MatMul:0": ["n", 3]}
        ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, dims) for name, dims in sides.items()]
        graph = onnx.helper.make_graph(nodes, "network", ends[:1], ends[1:], weights)
        opset = onnx.helper.make_opsetid("", 13)
        return onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8).SerializeToString()

    return make


@pytest.fixture(scope="session")
def task(demo_params: Params) -> Task:
    """The task that the project ships with: three classes."""
    return demo_params.task


@pytest.fixture(scope="session")
def two_classes() -> Task:
    """A task of two classes, the positive one last."""
    return Task(
        classes={"clear": ("no finding",), "air": ("pneumothorax",)}, positive="air", names={"air": "pneumothorax"}
    )


@pytest.fixture(scope="session")
def four_classes() -> Task:
    """A task of four classes, the positive one third."""
    return Task(
        classes={
            "clear": ("no finding",),
            "viral": ("pneumonia/viral",),
            "bacterial": ("pneumonia/bacterial",),
            "other": ("pneumonia",),
        },
        positive="bacterial",
        names={"other": "other pneumonia"},
    )


@pytest.fixture(scope="session")
def tiny(demo_params: Params) -> Callable[..., Tiny]:
    """A data set that a network can learn, and its image steps: ``n`` images of 32 pixels, a third of them ``val``; the
    brightest part of the picture, from left to right, is the class of ``task`` (the default task's, or another's)."""

    def make(n: int = 90, task: Task | None = None) -> Tiny:
        task = task or demo_params.task
        random, classes = np.random.default_rng(0), len(task.order)
        labels = random.integers(0, classes, n)
        images = random.integers(60, 120, (n, 32, 32)).astype(np.uint8)
        width = 30 // classes
        for image, label in zip(images, labels, strict=True):
            image[:, width * label : width * label + width] += 60
        ids = [f"tiny:{k}" for k in range(n)]
        records = pd.DataFrame(
            {
                "image_id": ids,
                "source": "tiny",
                "patient_id": [f"tiny:p{k}" for k in range(n)],
                "group_id": ids,
                "label": [task.order[label] for label in labels],
                "split": np.where(np.arange(n) % 3 == 0, "val", "train"),
                "content_hash": [f"{k:064x}" for k in range(n)],
                "near_hash": [f"{k * 7919:081x}" for k in range(n)],
                "boxes": None,
            }
        )
        steps = demo_params.images.model_copy(update={"size": 32})
        index = pd.DataFrame({"image_id": ids, "content_hash": records.content_hash, "left_out": None})
        return Dataset.join(records, Store(images, None, index, steps_digest(steps)), task), steps

    return make


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Draws the weights of one of timm's networks and writes them where timm looks for the downloaded ones; without a
    network connection. Returns that network, with three planes and its 1,000 classes, in evaluation mode."""
    import timm  # with torch, takes seconds to import
    import torch
    from safetensors.torch import save_file

    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)

    def write(name: str) -> Any:
        torch.manual_seed(3)
        network = timm.create_model(name).eval()
        folder = tmp_path / "hub" / f"models--{network.pretrained_cfg['hf_hub_id'].replace('/', '--')}"
        (folder / "refs").mkdir(parents=True)
        (folder / "refs" / "main").write_text("0" * 40)
        (folder / "snapshots" / ("0" * 40)).mkdir(parents=True)
        state = {key: tensor.contiguous() for key, tensor in network.state_dict().items()}
        save_file(state, folder / "snapshots" / ("0" * 40) / "model.safetensors")
        return network

    return write


@pytest.fixture(scope="session")
def bundle_of(demo_params: Params, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes a bundle with random weights, of any task and network; its folder. ``more`` are further fields of its
    description."""
    import torch  # takes seconds to import

    from cxrflow.bundle import Bundle, Network
    from cxrflow.bundle_files import seen_rows, write_bundle
    from cxrflow.models import find_model

    def write(
        task: Task, model: str = "crnn", channels: int = 1, images: Images = demo_params.images, **more: Any
    ) -> Path:
        torch.manual_seed(1)
        bundle = Bundle(
            cxrflow="0",
            task=task,
            networks=(
                Network(
                    model=model,
                    images=images.model_copy(update={"channels": channels}),
                    mean=0.4,
                    std=0.2,
                    temperature=2.0,
                    epoch=0,
                    validation={},
                ),
            ),
            sources={},
            digests={},
            **more,
        )
        network = find_model(model).build(channels, len(task.order))
        network.train()(torch.randn(8, channels, 48, 48))  # some statistics for batch normalisation
        empty = pd.DataFrame({"split": [], "content_hash": [], "near_hash": [], "patient_id": []})
        folder = tmp_path_factory.mktemp("bundle")
        write_bundle(folder, [network], bundle, seen_rows(empty))
        return folder

    return write


@pytest.fixture
def with_text(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Lets ``try_source`` of a module find two places with text where it is to look for text, without the detector,
    which takes seconds; in worker processes, too."""

    def put(module: str) -> None:
        def try_source(steps: Any, source: Any, burned_in_text: bool = False) -> Any:
            from cxrflow.images.file import try_source

            found = try_source(steps, source)
            return found._replace(text_places=2) if burned_in_text else found

        monkeypatch.setattr(f"{module}.try_source", try_source)
        monkeypatch.setattr("cxrflow.reading.letters.find_spec", lambda _: object())

    return put
