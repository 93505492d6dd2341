"""One contract for every network of the registry."""

import numpy as np
import pytest
import torch
from safetensors.torch import load, save

from cxrflow.errors import CxrflowError
from cxrflow.training.models import MODELS, find_model

#: Parameters (M) of the ImageNet networks as torchvision's documentation lists them, with 1,000 classes.
PUBLISHED = {"resnet18": 11.689512, "resnet50": 25.557032}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", MODELS)
def test_contract(name: str, channels: int) -> None:
    torch.manual_seed(0)
    model = MODELS[name]
    network = model.build(channels, 3)
    images = torch.randn(2, channels, 64, 64)
    seen = []
    model.gradcam_layer(network, 64).register_forward_hook(lambda *args: seen.append(args[2].shape))
    logits = network(images)
    assert logits.shape == (2, 3)
    assert len(seen) == 1
    assert seen[0][0] == 2
    assert len(seen[0]) == 4
    logits.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
    network.eval()
    other = model.build(channels, 3).eval()
    other.load_state_dict(load(save(network.state_dict())))
    assert torch.equal(network(images), other(images))


@pytest.mark.parametrize("name", PUBLISHED)
def test_size_is_the_published_one(name: str) -> None:
    count = sum(p.numel() for p in MODELS[name].build(3, 1000).parameters())
    assert count / 1e6 == pytest.approx(PUBLISHED[name])


def test_an_unknown_name_says_which_there_are() -> None:
    with pytest.raises(CxrflowError, match=r"resnet9.*resnet18"):
        find_model("resnet9")


def test_grey_stem_keeps_the_scale_of_the_first_layer() -> None:
    torch.manual_seed(0)
    network = MODELS["resnet18"].build(1, 3)
    out = network.conv1(torch.randn(4, 1, 64, 64)).detach()
    assert np.isfinite(out.std().item())
    assert out.std() == pytest.approx((2 / 64) ** 0.5, rel=0.3)  # Kaiming, fan out: variance 2 / (64 * 49) times 49


@pytest.mark.parametrize(("size", "stage"), [(224, "layer4"), (480, "layer4"), (160, "layer3"), (96, "layer3")])
def test_resnets_heat_map_is_no_coarser_than_seven_by_seven_where_a_stage_allows(size: int, stage: str) -> None:
    network = MODELS["resnet18"].build(1, 3)
    assert MODELS["resnet18"].gradcam_layer(network, size) is getattr(network, stage)[-1]
