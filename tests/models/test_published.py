"""Published backbones: tiny ones written here in the published layouts, against forward passes written out here."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models.eva import Eva
from torch import nn
from torch.nn import functional

from cxrflow.errors import CxrflowError
from cxrflow.models import find_model, published
from cxrflow.models.measure import check_size
from cxrflow.models.model import to_input
from cxrflow.models.passports import BACKBONES
from cxrflow.models.published import PUBLISHED
from cxrflow.network import last_linear
from cxrflow.params import Params
from cxrflow.task import Task
from cxrflow.training.checks import check_freeze
from cxrflow.training.start import begin

WIDTH, HEADS, DEPTH, SIDE = 32, 2, 2, 4  # of the tiny networks; SIDE patches along each side
State = dict[str, torch.Tensor]
TINY = {"embed_dim": WIDTH, "depth": DEPTH, "num_heads": HEADS}
#: Of the planes. Means are alike: what one plane keeps of others differs by a constant (``Pretrained.one_scale``).
MEANS, DEVIATIONS = [0.45] * 3, [0.25, 0.2, 0.3]


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes a published backbone tiny."""

    def make(name: str, **options: Any) -> None:
        entry = PUBLISHED[name]
        monkeypatch.setitem(PUBLISHED, name, replace(entry, options={**entry.options, **TINY, **options}))

    return make


@pytest.fixture
def answer(params: Params, task: Task) -> Callable[[str, Path, torch.Tensor, int], torch.Tensor]:
    """What goes into the last layer of a backbone that begins with some files, for grey pixels in [0, 1]."""

    def of(name: str, path: Path, pixels: torch.Tensor, channels: int) -> torch.Tensor:
        images = params.images.model_copy(update={"channels": channels, "size": pixels.shape[-1]})
        start = begin(f"published:{name}", str(path), images, task)
        assert start.scale is not None
        passport = BACKBONES[PUBLISHED[name].passport]
        assert (start.passport, start.listed) == (passport, False)
        assert start.pretrained_on == passport.trained_on
        seen: list[torch.Tensor] = []
        last = last_linear(start.network)
        assert last is not None
        last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        with torch.inference_mode():
            start.network.eval()(to_input(pixels, channels, *start.scale))
        return seen[0]

    return of


def drawn(shapes: dict[str, tuple[int, ...]]) -> State:
    torch.manual_seed(1)
    return {name: 0.3 * torch.randn(shape) + (name.endswith(("norm1.weight", "norm2.weight"))) for name, shape in
            shapes.items()}  # fmt: skip


def colour(pixels: torch.Tensor, means: list[float], deviations: list[float]) -> torch.Tensor:
    return (pixels - torch.tensor(means).view(3, 1, 1)) / torch.tensor(deviations).view(3, 1, 1)


def linear(x: torch.Tensor, p: State, name: str) -> torch.Tensor:
    return functional.linear(x, p[f"{name}.weight"], p[f"{name}.bias"])


def normal(x: torch.Tensor, p: State, name: str) -> torch.Tensor:
    return functional.layer_norm(x, (WIDTH,), p[f"{name}.weight"], p[f"{name}.bias"], 1e-6)


def attention(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
    """Multi-head attention of (n, tokens, WIDTH)."""
    q, k, v = (x.unflatten(2, (HEADS, -1)).transpose(1, 2) for x in (q, k, v))
    weights = (q @ k.transpose(2, 3) / (WIDTH // HEADS) ** 0.5).softmax(dim=3)
    return (weights @ v).transpose(1, 2).flatten(2)


def layer(prefix: str, names: list[str], hidden: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the weights of one block, by their names for two norms, q, k, v, out, fc1 and fc2."""
    sizes = [(WIDTH,)] * 2 + [(WIDTH, WIDTH)] * 4 + [(hidden, WIDTH), (WIDTH, hidden)]
    weights = {f"{prefix}{name}.weight": size for name, size in zip(names, sizes, strict=True)}
    return weights | {name.removesuffix("weight") + "bias": size[:1] for name, size in weights.items()}


def write_scale(folder: Path, name: str = "preprocessor_config.json") -> None:
    values: dict[str, Any] = {"image_mean": MEANS, "image_std": DEVIATIONS}
    if name.startswith("open_clip"):
        values = {"preprocess_cfg": {"mean": MEANS, "std": DEVIATIONS}}
    (folder / name).write_text(json.dumps(values))


@pytest.mark.parametrize("channels", [1, 3])
def test_rad_dino_in_the_layout_of_dinov2_model(
    channels: int, tiny: Callable[..., None], answer: Callable[..., torch.Tensor], tmp_path: Path
) -> None:
    tiny("rad-dino", img_size=14 * SIDE)
    names = [
        "norm1", "norm2", *(f"attention.attention.{part}" for part in ("query", "key", "value")),
        "attention.output.dense", "mlp.fc1", "mlp.fc2",
    ]  # fmt: skip
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.cls_token": (1, 1, WIDTH),
        "embeddings.mask_token": (1, WIDTH),
        "embeddings.position_embeddings": (1, 1 + SIDE**2, WIDTH),
        "embeddings.patch_embeddings.projection.weight": (WIDTH, 3, 14, 14),
        "embeddings.patch_embeddings.projection.bias": (WIDTH,),
        "layernorm.weight": (WIDTH,),
        "layernorm.bias": (WIDTH,),
    }
    for k in range(DEPTH):
        shapes |= layer(f"encoder.layer.{k}.", names, 4 * WIDTH)
        shapes |= {f"encoder.layer.{k}.layer_scale{part}.lambda1": (WIDTH,) for part in (1, 2)}
    p = drawn(shapes)
    save_file(p, tmp_path / "model.safetensors")
    write_scale(tmp_path)
    pixels = torch.rand(2, 1, 14 * SIDE, 14 * SIDE)
    patch = "embeddings.patch_embeddings.projection"
    maps = functional.conv2d(colour(pixels, MEANS, DEVIATIONS), p[f"{patch}.weight"], p[f"{patch}.bias"], stride=14)
    x = torch.cat([p["embeddings.cls_token"].expand(2, -1, -1), maps.flatten(2).transpose(1, 2)], dim=1)
    x = x + p["embeddings.position_embeddings"]
    for k in range(DEPTH):
        here = f"encoder.layer.{k}."
        y = normal(x, p, here + "norm1")
        parts = (linear(y, p, f"{here}attention.attention.{part}") for part in ("query", "key", "value"))
        y = linear(attention(*parts), p, here + "attention.output.dense")
        x = x + p[here + "layer_scale1.lambda1"] * y
        y = functional.gelu(linear(normal(x, p, here + "norm2"), p, here + "mlp.fc1"))
        x = x + p[here + "layer_scale2.lambda1"] * linear(y, p, here + "mlp.fc2")
    expected = normal(x, p, "layernorm")[:, 0]
    found = answer("rad-dino", tmp_path, pixels, channels)
    assert found.shape == expected.shape == (2, WIDTH)
    assert torch.allclose(found, expected, atol=1e-4)


def test_medsiglip_in_the_layout_of_siglip_model(
    tiny: Callable[..., None], answer: Callable[..., torch.Tensor], tmp_path: Path
) -> None:
    tiny("medsiglip", img_size=14 * SIDE, mlp_ratio=4.0)
    names = ["layer_norm1", "layer_norm2", *(f"self_attn.{part}_proj" for part in ("q", "k", "v", "out"))]
    shapes: dict[str, tuple[int, ...]] = {
        "logit_scale": (1,),
        "text_model.final_layer_norm.weight": (WIDTH,),
        "vision_model.embeddings.patch_embedding.weight": (WIDTH, 3, 14, 14),
        "vision_model.embeddings.patch_embedding.bias": (WIDTH,),
        "vision_model.embeddings.position_embedding.weight": (SIDE**2, WIDTH),
        "vision_model.post_layernorm.weight": (WIDTH,),
        "vision_model.post_layernorm.bias": (WIDTH,),
        "vision_model.head.probe": (1, 1, WIDTH),
        "vision_model.head.attention.in_proj_weight": (3 * WIDTH, WIDTH),
        "vision_model.head.attention.in_proj_bias": (3 * WIDTH,),
        "vision_model.head.attention.out_proj.weight": (WIDTH, WIDTH),
        "vision_model.head.attention.out_proj.bias": (WIDTH,),
        "vision_model.head.layernorm.weight": (WIDTH,),
        "vision_model.head.layernorm.bias": (WIDTH,),
        "vision_model.head.mlp.fc1.weight": (4 * WIDTH, WIDTH),
        "vision_model.head.mlp.fc1.bias": (4 * WIDTH,),
        "vision_model.head.mlp.fc2.weight": (WIDTH, 4 * WIDTH),
        "vision_model.head.mlp.fc2.bias": (WIDTH,),
    }
    for k in range(DEPTH):
        shapes |= layer(f"vision_model.encoder.layers.{k}.", [*names, "mlp.fc1", "mlp.fc2"], 4 * WIDTH)
    p = drawn(shapes)
    save_file(p, tmp_path / "model.safetensors")
    write_scale(tmp_path)
    pixels = torch.rand(2, 1, 14 * SIDE, 14 * SIDE)
    patch, gelu = "vision_model.embeddings.patch_embedding", partial(functional.gelu, approximate="tanh")
    maps = functional.conv2d(colour(pixels, MEANS, DEVIATIONS), p[f"{patch}.weight"], p[f"{patch}.bias"], stride=14)
    x = maps.flatten(2).transpose(1, 2) + p["vision_model.embeddings.position_embedding.weight"]
    for k in range(DEPTH):
        here = f"vision_model.encoder.layers.{k}."
        y = normal(x, p, here + "layer_norm1")
        y = attention(*(linear(y, p, f"{here}self_attn.{part}_proj") for part in ("q", "k", "v")))
        x = x + linear(y, p, here + "self_attn.out_proj")
        x = x + linear(gelu(linear(normal(x, p, here + "layer_norm2"), p, here + "mlp.fc1")), p, here + "mlp.fc2")
    x = normal(x, p, "vision_model.post_layernorm")
    pool = nn.MultiheadAttention(WIDTH, HEADS, batch_first=True)  # as in transformers
    head = "vision_model.head.attention."
    pool.load_state_dict({name.removeprefix(head): tensor for name, tensor in p.items() if name.startswith(head)})
    x = pool(p["vision_model.head.probe"].expand(2, -1, -1), x, x)[0]
    y = gelu(linear(normal(x, p, "vision_model.head.layernorm"), p, "vision_model.head.mlp.fc1"))
    expected = (x + linear(y, p, "vision_model.head.mlp.fc2"))[:, 0]
    assert torch.allclose(answer("medsiglip", tmp_path, pixels, 1), expected, atol=1e-4)


@pytest.mark.parametrize("file", ["open_clip_model.safetensors", "open_clip_pytorch_model.bin"])
def test_biomedclip_in_the_layout_of_open_clip(
    file: str, tiny: Callable[..., None], answer: Callable[..., torch.Tensor], tmp_path: Path
) -> None:
    tiny("biomedclip", img_size=16 * SIDE)
    torch.manual_seed(1)
    trunk = timm.create_model("vit_base_patch16_224", num_classes=0, img_size=16 * SIDE, **TINY).eval()
    state = {f"visual.trunk.{name}": tensor for name, tensor in trunk.state_dict().items()}
    state |= {"visual.head.proj.weight": torch.zeros(8, WIDTH), "text.proj.0.weight": torch.zeros(8, 8)}
    save_file(state, tmp_path / file) if file.endswith("safetensors") else torch.save(state, tmp_path / file)
    write_scale(tmp_path, "open_clip_config.json")
    pixels = torch.rand(2, 1, 16 * SIDE, 16 * SIDE)
    with torch.inference_mode():
        expected = trunk(colour(pixels, MEANS, DEVIATIONS))
    assert torch.allclose(answer("biomedclip", tmp_path, pixels, 1), expected, atol=1e-4)


@pytest.mark.parametrize("size", ["tiny", "base"])
def test_eva_x_in_the_layout_of_its_authors(
    size: str, tiny: Callable[..., None], answer: Callable[..., torch.Tensor], tmp_path: Path, monkeypatch: Any
) -> None:
    """``Eva`` with the arguments in the authors' eva_x.py, its weights under the names of EVA-02's pretraining."""
    tiny(f"eva-x-{size}")
    entry = PUBLISHED[f"eva-x-{size}"]
    rename = published._eva_x(entry.network, entry.options)
    monkeypatch.setitem(PUBLISHED, f"eva-x-{size}", replace(entry, rename=rename))
    torch.manual_seed(1)
    others = {"qkv_fused": False, "scale_mlp": True} if size == "base" else {}
    network = Eva(
        img_size=224, patch_size=16, mlp_ratio=4 * 2 / 3, swiglu_mlp=True, use_rot_pos_emb=True,
        ref_feat_shape=(14, 14), num_classes=0, **TINY, **others,
    ).eval()  # fmt: skip
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)
    names = {
        "fc_norm.": "norm.", "mlp.fc1_g": "mlp.w1", "mlp.fc1_x": "mlp.w2", "mlp.fc2": "mlp.w3",
        "mlp.norm": "mlp.ffn_ln", "attn.q_proj.bias": "attn.q_bias", "attn.v_proj.bias": "attn.v_bias",
    }  # fmt: skip
    state = {"mask_token": torch.zeros(1, 1, WIDTH), "lm_head.weight": torch.zeros(8, WIDTH)}
    for name, tensor in network.state_dict().items():
        for ours, theirs in names.items():
            name = name.replace(ours, theirs)
        state[name] = tensor
    torch.save({"module": state}, tmp_path / "eva.pt")
    pixels = torch.rand(2, 1, 224, 224)
    with torch.inference_mode():
        expected = network(((pixels - 0.49185243) / 0.28509309).expand(-1, 3, -1, -1))
    assert torch.allclose(answer(f"eva-x-{size}", tmp_path / "eva.pt", pixels, 3), expected, atol=1e-4)


@pytest.mark.parametrize("name", PUBLISHED)
def test_at_full_size_they_take_their_own_pictures_and_can_be_frozen(
    name: str, params: Params, task: Task, tmp_path: Path
) -> None:
    model = find_model(f"published:{name}")
    size = {"rad-dino": 518, "medsiglip": 448}.get(name, 224)
    assert model.default_size == size
    check_size(f"published:{name}", 1, size, 3)
    start = {"freeze": "backbone", "model": f"published:{name}", "start": str(tmp_path)}
    check_freeze(params.training.model_copy(update=start), 1, size, 3)


def test_what_is_not_there_or_damaged_is_one_clear_sentence(
    tiny: Callable[..., None], params: Params, task: Task, tmp_path: Path
) -> None:
    def start(name: str, path: str) -> None:
        begin(f"published:{name}", path, params.images.model_copy(update={"size": 56}), task)

    with pytest.raises(CxrflowError, match="choose one of published:rad-dino, published:eva-x-tiny"):
        find_model("published:rad")
    tiny("rad-dino", img_size=56)
    with pytest.raises(CxrflowError, match=r"lie in files; download them from huggingface\.co/microsoft/rad-dino"):
        start("rad-dino", "scratch")
    with pytest.raises(CxrflowError, match="no ImageNet weights"):
        start("rad-dino", "imagenet")
    with pytest.raises(CxrflowError, match=r"does not hold published:rad-dino \(model\.safetensors or"):
        start("rad-dino", str(tmp_path))
    with pytest.raises(CxrflowError, match="the file of weights itself"):
        start("eva-x-tiny", str(tmp_path))
    save_file({"layernorm.weight": torch.zeros(32)}, tmp_path / "model.safetensors")
    with pytest.raises(CxrflowError, match=r"preprocessor_config\.json is absent"):
        start("rad-dino", str(tmp_path))
    (tmp_path / "preprocessor_config.json").write_text("{}")
    with pytest.raises(CxrflowError, match=r"is damaged, or not published:rad-dino \(KeyError"):
        start("rad-dino", str(tmp_path))
    write_scale(tmp_path)
    with pytest.raises(CxrflowError, match="does not fit the network"):
        start("rad-dino", str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"half")
    with pytest.raises(CxrflowError, match="holds no weights"):
        start("rad-dino", str(tmp_path))


def test_no_code_of_a_weights_file_is_run(params: Params, task: Task, tmp_path: Path) -> None:
    class Harmful:
        def __reduce__(self) -> tuple:
            return Path.touch, (tmp_path / "harm",)

    torch.save({"module": Harmful()}, tmp_path / "eva.pt")
    with pytest.raises(CxrflowError, match="never unpickled"):
        begin("published:eva-x-tiny", str(tmp_path / "eva.pt"), params.images, task)
    assert not (tmp_path / "harm").exists()
