"""A network that comes as an ONNX graph: trained further by the training stage, and graphs of few layers."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch

import cxrflow
from cxrflow.bundle import Bundle, read_bundle, seen_rows, write_bundle
from cxrflow.errors import CxrflowError
from cxrflow.images.prepare import Store
from cxrflow.params import Images, Params
from cxrflow.records import CLASSES
from cxrflow.training.models.stored import STORED, StoredNetwork
from cxrflow.training.start import begin
from cxrflow.training.train import train

Tiny = Callable[..., tuple[pd.DataFrame, Store, Images]]


def test_training_feeds_a_stored_network_what_it_was_made_for(
    tiny: Tiny, params: Params, onnx_network: Callable[[int], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shares of white, three equal planes, and not the new images' mean and deviation; it learns, and is a bundle."""
    records, store, steps = tiny(120)
    steps = steps.model_copy(update={"channels": 3})
    network = StoredNetwork(onnx_network(32))
    network.order.copy_(torch.tensor([2, 0, 1]))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    bundle = Bundle(
        cxrflow=cxrflow.__version__, model=STORED, classes=CLASSES, images=steps, mean=0, std=1, temperature=1,
        sources={}, pretrained_on=("elsewhere",), seen="unknown", epoch=0, validation={}, digests={},
    )  # fmt: skip
    write_bundle(tmp_path / "imported", network, bundle, seen_rows(records[:0]))
    update = {"model": STORED, "start": str(tmp_path / "imported"), "epochs": 4, "batch_size": 16}
    how = params.training.model_copy(update=update)
    fed: list[torch.Tensor] = []
    forward = StoredNetwork.forward

    def watched(self: StoredNetwork, images: torch.Tensor) -> torch.Tensor:
        if not self.training:
            fed.append(images)
        return forward(self, images)

    monkeypatch.setattr(StoredNetwork, "forward", watched)
    trained = train(records, store, steps, how, tmp_path / "out")
    val = store.images[(records.split == "val").to_numpy()]
    assert fed[0].shape[1] == 3
    assert (fed[0][0, 0] * 255).round().byte().tolist() == val[0].tolist()
    assert torch.equal(fed[0][:, 0], fed[0][:, 2])
    assert trained is not None
    assert (trained.mean, trained.std, trained.seen, trained.pretrained_on) == (0, 1, "unknown", ("elsewhere",))
    assert trained.validation["macro_auroc"] > 0.8
    again, network = read_bundle(tmp_path / "out" / "bundle")
    assert again.model == STORED
    moved = [n for n, value in network.state_dict().items() if not torch.equal(value, before[n])]
    assert sorted(moved) == sorted(set(before) - {"order"})  # the statistics of batch normalisation among them
    assert network.order.tolist() == [2, 0, 1]
    with pytest.raises(CxrflowError, match=r"keeps its images\.size 32"):
        begin(STORED, str(tmp_path / "imported"), steps.model_copy(update={"size": 48}), 3)
