"""Backbones published as files: ``published:NAME`` is the network, ``training.start`` the local folder or file of its
weights, downloaded beforehand.

They are built with timm, to whose names the published tensors are mapped, so that neither transformers nor open_clip
is needed, and a bundle of one is a bundle like any other.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from cxrflow.errors import CxrflowError, nearest
from cxrflow.models import from_timm
from cxrflow.models.model import Model, Pretrained
from cxrflow.models.passports import BACKBONES
from cxrflow.models.weights_file import read_weights

State = dict[str, torch.Tensor]
Scale = tuple[tuple[float, ...], tuple[float, ...]]


@dataclass(frozen=True)
class Published:
    """A backbone.

    network   timm's name of its architecture, and what differs from that in ``options``
    rename    published ``state_dict`` to timm's, for a network without a last layer
    passport  its name in passports.BACKBONES
    where     page from which its files can be downloaded
    files     names that the file of weights may have in the folder
    scale     file in the folder with the mean and standard deviation of the planes and the keys that lead to them, or
              these themselves
    """

    network: str
    options: Mapping[str, Any]
    rename: Callable[[State], State]
    passport: str
    where: str
    files: tuple[str, ...] = ()
    scale: tuple[str, str, str] | Scale = ("preprocessor_config.json", "image_mean", "image_std")


def find(name: str) -> Model:
    """The backbone ``name``, with a new last layer. Raises CxrflowError with the choices if there is none."""
    if name not in PUBLISHED:
        names = [f"published:{each}" for each in PUBLISHED]
        choice, near = ", ".join(names), nearest(f"published:{name}", names)
        raise CxrflowError(
            f"training.model: no backbone is called published:{name}; choose one of {choice}{near or '.'}"
        )
    entry = PUBLISHED[name]
    passport = BACKBONES[entry.passport]

    def from_files(path: Path) -> Pretrained:
        file = path
        if path.is_dir():
            file = next((path / each for each in entry.files if (path / each).exists()), path)
        if not file.is_file():
            files = " or ".join(entry.files) or "the file of weights itself"
            raise CxrflowError(
                f"training.start: {path} does not hold published:{name} ({files}); download it from {entry.where} on a "
                "machine with a network, and name the place where it lies."
            )
        try:
            return Pretrained(entry.rename(read_weights(file)), name, *_scale(entry, path), passport)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise CxrflowError(
                f"training.start: {path} is damaged, or not published:{name} ({type(error).__name__}: {error}); "
                f"download it again from {entry.where}."
            ) from None

    def without_files(network: nn.Module) -> None:
        raise CxrflowError(
            f"training.start: the weights of published:{name} lie in files; download them from {entry.where} on a "
            "machine with a network, and set training.start to the place."
        )

    model = from_timm.find(entry.network, entry.options)
    seen = passport.trained_on
    return replace(model, load_pretrained=without_files, from_files=from_files, pretrained_on=seen, imagenet=None)


def _scale(entry: Published, folder: Path) -> Scale:
    """Mean and standard deviation of each plane, for pixels in [0, 1]."""
    if isinstance(entry.scale[0], tuple):
        mean, std = entry.scale[:2]
    else:
        file, *keys = entry.scale
        path = folder / str(file)
        if not path.is_file():
            raise CxrflowError(f"training.start: {path} is absent; download it from {entry.where} with the weights.")
        values = json.loads(path.read_text(encoding="utf-8"))
        mean, std = (_at(values, str(key)) for key in keys)
    numbers = tuple(map(float, mean)), tuple(map(float, std))
    if any(len(each) != 3 for each in numbers) or min(numbers[1]) <= 0:
        raise ValueError("its mean and deviation are not those of three planes")
    return numbers


def _at(values: Any, keys: str) -> Any:
    for key in keys.split("."):
        values = values[key]
    return values


def _renamed(state: State, rules: Mapping[str, str]) -> State:
    """``state`` with every rule (regular expression: replacement) applied to its names, in order."""
    renamed = {}
    for name, tensor in state.items():
        for pattern, other in rules.items():
            name = re.sub(pattern, other, name)
        renamed[name] = tensor
    return renamed


def _joined(state: State) -> State:
    """Queries, keys and values, named ...qkv.0, 1 and 2, as the one tensor of timm's blocks."""
    parts = {name for name in state if re.search(r"\.qkv\.\d\.", name)}
    joined = {name: tensor for name, tensor in state.items() if name not in parts}
    for name in {re.sub(r"\.qkv\.\d\.", ".qkv.{}.", part) for part in parts}:
        joined[name.replace(".{}", "")] = torch.cat([state[name.format(k)] for k in range(3)])
    return joined


def _dinov2(state: State) -> State:
    """From Hugging Face's ``Dinov2Model`` (transformers, models/dinov2/modeling_dinov2.py)."""
    rules = {
        r"^dinov2\.": "",
        r"^embeddings\.patch_embeddings\.projection": "patch_embed.proj",
        r"^embeddings\.position_embeddings": "pos_embed",
        r"^embeddings\.": "",
        r"^encoder\.layer\.": "blocks.",
        r"attention\.attention\.query": "attn.qkv.0",
        r"attention\.attention\.key": "attn.qkv.1",
        r"attention\.attention\.value": "attn.qkv.2",
        r"attention\.output\.dense": "attn.proj",
        r"layer_scale(\d)\.lambda1": r"ls\1.gamma",
        r"^layernorm": "norm",
    }
    renamed = _joined(_renamed(state, rules))
    renamed.pop("mask_token", None)  # of pretraining
    return renamed


def _siglip(state: State) -> State:
    """From the vision tower of Hugging Face's ``SiglipModel`` (transformers, models/siglip/modeling_siglip.py)."""
    rules = {
        r"^vision_model\.": "",
        r"^embeddings\.patch_embedding": "patch_embed.proj",
        r"^embeddings\.position_embedding\.weight": "pos_embed",
        r"^encoder\.layers\.": "blocks.",
        r"self_attn\.q_proj": "attn.qkv.0",
        r"self_attn\.k_proj": "attn.qkv.1",
        r"self_attn\.v_proj": "attn.qkv.2",
        r"self_attn\.out_proj": "attn.proj",
        r"layer_norm(\d)": r"norm\1",
        r"^post_layernorm": "norm",
        r"^head\.probe": "attn_pool.latent",
        r"^head\.attention\.out_proj": "attn_pool.proj",
        r"^head\.layernorm": "attn_pool.norm",
        r"^head\.mlp": "attn_pool.mlp",
    }
    vision = {name: tensor for name, tensor in state.items() if name.startswith("vision_model.")}
    renamed = _joined(_renamed(vision, rules))
    for kind in ("weight", "bias"):
        queries, rest = renamed.pop(f"head.attention.in_proj_{kind}").tensor_split((renamed["norm.bias"].numel(),))
        renamed |= {f"attn_pool.q.{kind}": queries, f"attn_pool.kv.{kind}": rest}
    return renamed | {"pos_embed": renamed["pos_embed"][None]}


def _open_clip(state: State) -> State:
    """The vision tower of an open_clip model whose trunk is timm's."""
    prefix = "visual.trunk."
    return {name.removeprefix(prefix): tensor for name, tensor in state.items() if name.startswith(prefix)}


def _eva_x(network: str, options: Mapping[str, Any]) -> Callable[[State], State]:
    def rename(state: State) -> State:
        """From the authors' checkpoints (github.com/hustvl/EVA-X, eva_x.py), by timm's own function for EVA's."""
        from timm.models.eva import checkpoint_filter_fn

        with torch.device("meta"):
            shapes = from_timm.find(network, options).architecture(3, 2)
        renamed: State = checkpoint_filter_fn(state, shapes)
        return renamed

    return rename


def _eva_x_backbone(size: str) -> Published:
    network, options = f"eva02_{size}_patch14_224", {"patch_size": 16, "ref_feat_shape": (14, 14)}
    scale = ((0.49185243,) * 3, (0.28509309,) * 3)  # classification/utils/datasets.py in the authors' repository
    where = f"huggingface.co/MapleF/eva_x (eva_x_{size}_patch16_merged520k_mim.pt)"
    return Published(network, options, _eva_x(network, options), "eva-x", where, scale=scale)


_HUGGING_FACE = ("model.safetensors", "pytorch_model.bin")

PUBLISHED = {
    "rad-dino": Published(
        "vit_base_patch14_dinov2",
        {},
        _dinov2,
        "rad-dino",
        "huggingface.co/microsoft/rad-dino",
        _HUGGING_FACE,
    ),
    "eva-x-tiny": _eva_x_backbone("tiny"),
    "eva-x-small": _eva_x_backbone("small"),
    "eva-x-base": _eva_x_backbone("base"),
    "biomedclip": Published(
        "vit_base_patch16_224",
        {},
        _open_clip,
        "biomedclip",
        "huggingface.co/microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
        ("open_clip_model.safetensors", "open_clip_pytorch_model.bin"),
        ("open_clip_config.json", "preprocess_cfg.mean", "preprocess_cfg.std"),
    ),
    "medsiglip": Published(
        "vit_so400m_patch14_siglip_378",
        {"img_size": 448, "act_layer": "gelu_tanh"},
        _siglip,
        "medsiglip",
        "huggingface.co/google/medsiglip-448",
        _HUGGING_FACE,
    ),
}
