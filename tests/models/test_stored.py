"""A network that comes as an ONNX graph: trained further by the training stage, and graphs of few layers."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

import cxrflow
from cxrflow.bundle import Bundle, Network
from cxrflow.bundle_files import seen_rows, write_bundle
from cxrflow.bundle_networks import read_bundle
from cxrflow.dataset import Dataset
from cxrflow.errors import CxrflowError
from cxrflow.models.stored import STORED, StoredNetwork
from cxrflow.params import Images, Params
from cxrflow.task import Task
from cxrflow.training.start import begin
from cxrflow.training.train import train

Tiny = Callable[..., tuple[Dataset, Images]]


@pytest.fixture
def imported(tiny: Tiny, onnx_network: Callable[[int], bytes], tmp_path: Path) -> Path:
    """The bundle of a network that answers in the order 2, 0, 1 of the default task."""
    dataset, steps = tiny(120)
    network = StoredNetwork(onnx_network(32))
    network.order.copy_(torch.tensor([2, 0, 1]))
    bundle = Bundle(
        cxrflow=cxrflow.__version__,
        task=dataset.task,
        networks=(
            Network(
                model=STORED,
                mean=0,
                std=1,
                temperature=1,
                images=steps.model_copy(update={"channels": 3}),
                epoch=0,
                validation={},
            ),
        ),
        sources={},
        pretrained_on=("elsewhere",),
        seen="unknown",
        digests={},
    )
    write_bundle(tmp_path / "imported", [network], bundle, seen_rows(dataset.records[:0]))
    return tmp_path / "imported"


def test_training_feeds_a_stored_network_what_it_was_made_for(
    imported: Path, tiny: Tiny, params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shares of white, three equal planes, and not the new images' mean and deviation; it learns, and is a bundle."""
    dataset, steps = tiny(120)
    before = read_bundle(imported)[1][0].state_dict()
    update = {"model": STORED, "start": str(imported), "epochs": 4, "batch_size": 16}
    how = params.training.model_copy(update=update)
    fed: list[torch.Tensor] = []
    forward = StoredNetwork.forward

    def watched(self: StoredNetwork, images: torch.Tensor) -> torch.Tensor:
        if not self.training and images.any():  # a bundle that is read is tried on black
            fed.append(images)
        return forward(self, images)

    monkeypatch.setattr(StoredNetwork, "forward", watched)
    trained = train(dataset, steps.model_copy(update={"channels": 3}), how, tmp_path / "out")
    val = dataset.split("val").pixels()
    assert fed[0].shape[1] == 3
    assert (fed[0][0, 0] * 255).round().byte().tolist() == val[0].tolist()
    assert torch.equal(fed[0][:, 0], fed[0][:, 2])
    assert trained is not None
    (about,) = trained.networks
    assert (about.mean, about.std, trained.seen, trained.pretrained_on) == (0, 1, "unknown", ("elsewhere",))
    assert about.validation["macro_auroc"] > 0.8
    again, (network,) = read_bundle(tmp_path / "out" / "bundle")
    assert again.name == STORED
    moved = [n for n, value in network.state_dict().items() if not torch.equal(value, before[n])]
    assert sorted(moved) == sorted(set(before) - {"order"})  # the statistics of batch normalisation among them
    assert network.order.tolist() == [2, 0, 1]


def test_a_stored_network_keeps_size_planes_and_classes_and_answers_in_the_order_of_the_task(
    imported: Path, task: Task, two_classes: Task
) -> None:
    steps = read_bundle(imported)[0].networks[0].images
    turned = Task(classes=dict(reversed(task.classes.items())), positive=task.positive)
    network = begin(STORED, str(imported), steps, turned).network.eval()
    images = torch.rand(2, 3, 32, 32)
    with torch.inference_mode():
        assert torch.equal(network(images), read_bundle(imported)[1][0](images)[:, [2, 1, 0]])
    others = Task(classes={"a": ("mass",), "b": ("nodule",), "c": ("cancer",)}, positive="a")
    for images_, other in [(steps.model_copy(update={"size": 48}), task), (steps, two_classes), (steps, others)]:
        with pytest.raises(CxrflowError, match=rf"requires images\.size 32, .*classes {', '.join(task.order)}; set"):
            begin(STORED, str(imported), images_, other)


def test_a_stored_network_of_another_number_of_outputs_is_refused(imported: Path, two_classes: Task) -> None:
    description = json.loads((imported / "bundle.json").read_text())
    (imported / "bundle.json").write_text(json.dumps(description | {"task": two_classes.model_dump()}))
    with pytest.raises(CxrflowError, match="has 3 outputs, not one for each of the classes clear, air"):
        read_bundle(imported)


@pytest.mark.parametrize("end", ["Flatten", "Reshape"])
def test_a_graph_without_dense_layers(end: str) -> None:
    """Convolutions down to the classes: onnx2torch keeps no constants for it, or the new shape alone."""
    random = np.random.default_rng(0)
    values = {
        "first": random.normal(0, 0.3, (8, 3, 3, 3)).astype(np.float32),
        "last": random.normal(0, 0.3, (3, 8, 1, 1)).astype(np.float32),
        "shape": np.array([-1, 3]),
    }
    weights = [onnx.numpy_helper.from_array(value, name) for name, value in values.items()]
    node, given = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    nodes = [
        node("Conv", ["image", "first"], ["a"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        node("Relu", ["a"], ["b"]),
        node("Conv", ["b", "last"], ["c"], kernel_shape=[1, 1]),
        node("GlobalAveragePool", ["c"], ["d"]),
        node(end, ["d", "shape"] if end == "Reshape" else ["d"], ["logits"]),
    ]
    ends = given("image", onnx.TensorProto.FLOAT, ["n", 3, 32, 32]), given("logits", onnx.TensorProto.FLOAT, ["n", 3])
    made = onnx.helper.make_graph(nodes, "network", ends[:1], ends[1:], weights[: 3 if end == "Reshape" else 2])
    opset = onnx.helper.make_opsetid("", 13)
    graph = onnx.helper.make_model(made, opset_imports=[opset], ir_version=8).SerializeToString()
    images = random.random((2, 3, 32, 32), dtype=np.float32)
    expected = onnxruntime.InferenceSession(graph).run(None, {"image": images})[0]
    network = StoredNetwork(graph)
    assert network(torch.from_numpy(images)).detach().numpy() == pytest.approx(expected, abs=1e-5)
    assert sorted(p.numel() for p in network.parameters()) == [24, 216]
