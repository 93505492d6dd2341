"""One contract for every network, and what is published of each."""

import gc
import json

import numpy as np
import pytest
import timm
import torch
import torchvision
from captum.attr import LayerGradCam
from torch import nn
from typer.testing import CliRunner

from cxrflow.cli import app
from cxrflow.errors import CxrflowError
from cxrflow.models import MODELS, find_model
from cxrflow.models.covidnet import CovidNet, pepx
from cxrflow.models.measure import check_size, measure
from cxrflow.models.model import Model
from cxrflow.testing import check_network

XRV = "xrv:densenet121-res224-all"
EVA = "timm:eva02_tiny_patch14_224"
TRANSFORMERS = [
    "timm:vit_tiny_patch16_224", "timm:deit_tiny_distilled_patch16_224", EVA, "timm:swin_tiny_patch4_window7_224",
]  # fmt: skip
CONVOLUTIONAL = [*MODELS, "timm:resnet10t", "timm:efficientnet_b0", "timm:convnext_atto", "timm:tresnet_m", XRV]
NAMES = [*CONVOLUTIONAL, *TRANSFORMERS]
#: A small, a large and another size that these networks take (pixels); all others take 64, 480 and 150.
SIZES = dict.fromkeys(TRANSFORMERS, (64, 480, 160)) | {EVA: (56, 490, 154), "timm:tresnet_m": (64, 480, 148)}


def model_called(name: str) -> Model:
    if name.startswith("xrv:"):
        pytest.importorskip("torchxrayvision")
    return find_model(name)


@pytest.mark.parametrize("name", NAMES)
def test_every_network_keeps_the_contract(name: str) -> None:
    """By ONNX of one network, since an export takes seconds: the one whose rows and states would be traced wrongly
    first."""
    check_network(model_called(name), (*SIZES.get(name, (64, 480, 150)), 224), with_onnx=name == "crnn")
    gc.collect()  # the largest take half a gigabyte


#: Weights whose parameters and multiply-accumulates (1,000 classes, 3 planes, 224 pixels) torchvision publishes.
PUBLISHED = {
    "resnet18": torchvision.models.ResNet18_Weights.IMAGENET1K_V1,
    "resnet34": torchvision.models.ResNet34_Weights.IMAGENET1K_V1,
    "resnet50": torchvision.models.ResNet50_Weights.IMAGENET1K_V1,
    "resnet101": torchvision.models.ResNet101_Weights.IMAGENET1K_V1,
    "resnet152": torchvision.models.ResNet152_Weights.IMAGENET1K_V1,
    "vgg11": torchvision.models.VGG11_Weights.IMAGENET1K_V1,
    "vgg19": torchvision.models.VGG19_Weights.IMAGENET1K_V1,
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_sizes_are_torchvisions(name: str) -> None:
    measured, meta = measure(name, classes=1000), PUBLISHED[name].meta
    assert measured.parameters_m == pytest.approx(meta["num_params"] / 1e6, abs=1e-6)
    assert measured.macs_g == pytest.approx(meta["_ops"], rel=1e-3)


def test_the_command_lists_every_network_for_programs() -> None:
    """COVID-Net's as published; ResNet-18's as published for 1,000 classes, less 997 times the 513 weights of each."""
    told = CliRunner().invoke(app, ["models", "--json"], catch_exceptions=False)
    assert told.exit_code == 0
    rows = {row["name"]: row for row in json.loads(told.stdout)}
    assert list(rows) == list(MODELS)
    assert all({"name", "parameters_m", "macs_g", "default_size", "gradcam_layer"} == set(row) for row in rows.values())
    small = rows["covidnet_small"]
    assert small["parameters_m"] == pytest.approx(117.4, rel=0.02)
    assert small["macs_g"] == pytest.approx(2.26, rel=0.02)
    published = PUBLISHED["resnet18"].meta["num_params"] / 1e6
    assert rows["resnet18"]["parameters_m"] == pytest.approx(published - 997 * 513e-6, abs=1e-6)


def test_the_command_shows_every_network() -> None:
    shown = CliRunner().invoke(app, ["models"], catch_exceptions=False, env={"COLUMNS": "120"})
    assert shown.exit_code == 0
    rows = {cells[1].strip(): cells[2:] for line in shown.stdout.splitlines() if len(cells := line.split("│")) > 5}
    assert set(rows) == set(MODELS)
    assert float(rows["covidnet_small"][0]) == pytest.approx(117.4, rel=0.02)
    assert float(rows["covidnet_small"][1]) == pytest.approx(2.26, rel=0.02)
    assert "timm:NAME" in shown.stdout
    assert "cxrflow[xrv]" in shown.stdout


def test_covidnet_is_as_large_as_published() -> None:
    """Wang and Wong's model page: 117.4 M and 2.26 G for Small, 127.4 M and 3.59 G for Large."""
    small, large = measure("covidnet_small"), measure("covidnet_large")
    assert small.parameters_m == pytest.approx(117.4, rel=0.02)
    assert small.macs_g == pytest.approx(2.26, rel=0.02)
    assert large.parameters_m == pytest.approx(127.4, rel=0.01)
    assert large.macs_g == pytest.approx(3.59, rel=0.01)


@pytest.mark.parametrize("with_path", [False, True])
def test_covidnets_maps_are_those_of_the_figure(with_path: bool) -> None:
    with torch.device("meta"):
        network = CovidNet(3, 3, with_path=with_path)
        maps = network.stem(torch.empty(1, 3, 224, 224))
        assert maps.shape[1:] == (64, 112, 112)
        for stage, shape in zip(
            network.stages, [(256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7)], strict=True
        ):
            maps = stage(maps)
            assert maps.shape[1:] == shape
    assert [len(stage.blocks) for stage in network.stages] == [3, 4, 6, 3]
    assert [layer.in_features for layer in network.head if isinstance(layer, nn.Linear)] == [100_352, 1024, 256]


def test_a_pepx_projects_expands_looks_projects_and_extends() -> None:
    convolutions = [layer for layer in pepx(256, 512).modules() if isinstance(layer, nn.Conv2d)]
    assert [layer.kernel_size[0] for layer in convolutions] == [1, 1, 3, 1, 1]
    assert [layer.out_channels for layer in convolutions] == [64, 128, 128, 64, 512]
    assert [layer.groups for layer in convolutions] == [1, 1, 128, 1, 1]


def test_covidnets_pooling_changes_nothing_at_its_own_size() -> None:
    maps = torch.randn(1, 4, 7, 7)
    with torch.device("meta"):
        pool = CovidNet(1, 3, with_path=False).pool
    assert torch.equal(pool(maps), maps)


def test_crnn_reads_rows_in_their_order() -> None:
    """Rows swapped: the same cells, another sequence, another answer; and it is small."""
    torch.manual_seed(0)
    network = MODELS["crnn"].build(1, 3).eval()
    images = torch.randn(1, 1, 128, 128)
    with torch.inference_mode():
        expected = network(images)
        network.stem.register_forward_hook(lambda *args: args[2].flip(2))
        assert not torch.allclose(network(images), expected, rtol=1e-3)
    assert 1 < measure("crnn").parameters_m < 5


def test_an_unknown_name_says_which_there_are() -> None:
    with pytest.raises(CxrflowError, match=r"resnet9;.*resnet18.*timm:NAME"):
        find_model("resnet9")
    with pytest.raises(CxrflowError, match=r"no network is called hub:resnet18"):
        find_model("hub:resnet18")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("timm:efficientnet_b00", r"no network called efficientnet_b00 .*timm:efficientnet_b0"),
        ("timm:zzzzzzzz", r"no network called zzzzzzzz .*list_models"),
        ("timm:resnet18.a1_in1k", r"without tags"),
        ("timm:beit_base_patch16_224", r"224 x 224 only"),
        ("timm:hrnet_w18_small", r"give no feature maps"),
        ("timm:csatv2", r"give no feature maps"),
        ("timm:gemma4_vit_167m", r"give no feature maps"),
    ],
)
def test_what_timm_cannot_do_is_one_clear_sentence(name: str, said: str) -> None:
    with pytest.raises(CxrflowError, match=said):
        find_model(name)


def test_a_size_that_does_not_fit_is_one_clear_sentence() -> None:
    check_size("timm:tresnet_m", 1, 148, 2)
    with pytest.raises(CxrflowError, match=r"timm:tresnet_m does not take images of 150 x 150; .* 148 and 152"):
        check_size("timm:tresnet_m", 1, 150, 4)
    with pytest.raises(CxrflowError, match=r"timm:vit_tiny_patch16_224 does not take .* sizes: 144 and 160"):
        check_size("timm:vit_tiny_patch16_224", 1, 150, 3)
    with pytest.raises(CxrflowError, match=r"timm:inception_v3 does not take images of 64 x 64; nearest sizes: 75"):
        check_size("timm:inception_v3", 3, 64, 3)


@pytest.mark.parametrize(("name", "block"), [(TRANSFORMERS[0], "blocks.11"), (TRANSFORMERS[-1], "layers.3.blocks.1")])
def test_a_transformers_map_is_grad_cam_of_the_tokens_that_its_last_block_reads(name: str, block: str) -> None:
    """Selvaraju et al. 2017, equations 1 and 2, by hand from timm's own network; the class token is not in the map."""
    torch.manual_seed(0)
    model = find_model(name)
    network, images = model.architecture(3, 3).eval(), torch.randn(1, 3, 224, 224)
    heat = LayerGradCam(network, model.gradcam_layer(network, 224)).attribute(images, target=1)[0, 0]
    theirs = timm.create_model(name.removeprefix("timm:"), num_classes=3).eval()
    theirs.load_state_dict(network.state_dict())
    read: list[torch.Tensor] = []
    theirs.get_submodule(block).register_forward_pre_hook(lambda _, inputs: read.append(inputs[0]))
    logits = theirs(images)
    assert torch.allclose(network(images), logits, atol=1e-5)
    (slopes,) = torch.autograd.grad(logits[0, 1], read[0])
    vit = name == TRANSFORMERS[0]
    tokens, slopes = (t[:, 1:].reshape(1, 14, 14, -1) if vit else t for t in (read[0].detach(), slopes))
    expected = (tokens * slopes.mean(dim=(1, 2), keepdim=True)).sum(dim=-1)[0]
    assert expected.abs().max() > 1e-6
    assert torch.allclose(heat, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_a_transformers_map_lies_as_the_image_does(name: str) -> None:
    """A bright square, bottom left: there the tokens differ most from those of the same image without it."""
    torch.manual_seed(0)
    model = find_model(name)
    network, images, maps = model.architecture(1, 3).eval(), torch.zeros(2, 1, 224, 224), []
    images[1, :, 176:, :48] = 1
    model.gradcam_layer(network, 224).register_forward_hook(lambda *args: maps.append(args[2]))
    with torch.inference_mode():
        network(images)
    change = (maps[0][1] - maps[0][0]).norm(dim=0)
    row, column = divmod(int(change.argmax()), change.shape[1])
    assert row >= 0.7 * change.shape[0]
    assert column < 0.3 * change.shape[1]


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
    timms = find_model("timm:resnet10t")
    network = timms.architecture(1, 3)
    assert timms.gradcam_layer(network, size) is getattr(network, stage)
