"""The networks: one file per family, one registry. A new network is one file and one line here."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from cxrflow import plugins
from cxrflow.errors import CxrflowError, nearest
from cxrflow.models import covidnet, crnn, from_timm, from_xrv, published, resnet, vgg
from cxrflow.models.from_torchvision import imagenet
from cxrflow.models.model import Model

MODELS: dict[str, Model] = {
    "resnet18": Model(resnet.build_resnet18, resnet.gradcam_layer, 224, imagenet=imagenet("resnet18")),
    "resnet34": Model(resnet.build_resnet34, resnet.gradcam_layer, 224, imagenet=imagenet("resnet34")),
    "resnet50": Model(resnet.build_resnet50, resnet.gradcam_layer, 224, imagenet=imagenet("resnet50")),
    "resnet101": Model(resnet.build_resnet101, resnet.gradcam_layer, 224, imagenet=imagenet("resnet101")),
    "resnet152": Model(resnet.build_resnet152, resnet.gradcam_layer, 224, imagenet=imagenet("resnet152")),
    "vgg11": Model(vgg.build_vgg11, vgg.gradcam_layer, 224, imagenet=imagenet("vgg11")),
    "vgg19": Model(vgg.build_vgg19, vgg.gradcam_layer, 224, imagenet=imagenet("vgg19")),
    "covidnet_small": Model(covidnet.build_covidnet_small, covidnet.gradcam_layer, 224),
    "covidnet_large": Model(covidnet.build_covidnet_large, covidnet.gradcam_layer, 224),
    "crnn": Model(crnn.build_crnn, crnn.gradcam_layer, 224),
}

#: Libraries of networks: the model "timm:resnet10t" is FAMILIES["timm"]("resnet10t").
FAMILIES: dict[str, Callable[[str], Model]] = {
    "timm": from_timm.find,
    "xrv": from_xrv.find,
    "published": published.find,
}


def find_model(name: str) -> Model:
    """The network called ``name``, such as ``resnet18``, ``timm:NAME``, ``xrv:WEIGHTS``, ``published:NAME``, one of
    another package, or ``file.py:name`` (plugins.py).

    Raises CxrflowError with the choices if there is none, and as ``plugins.find``.
    """
    if name in MODELS:
        return MODELS[name]
    family, colon, member = name.partition(":")
    if colon and family in FAMILIES:
        return FAMILIES[family](member)
    theirs = [point.name for point in plugins.offered("models")]
    if plugins.is_in_file(name) or name in theirs:
        found: Model = plugins.find("models", name, Model, "training.model")
        parts: dict[str, Any] = {
            part: plugins.guarded("models", name, getattr(found, part)) for part in ("architecture", "gradcam_layer")
        }
        return replace(found, **parts)
    known = [*MODELS, *dict.fromkeys(theirs)]
    choice = ", ".join([*known, "timm:NAME", "xrv:WEIGHTS", "published:NAME"])
    near = nearest(name, [*known, *(f"{family}:{member}" for family in FAMILIES if colon)])
    raise CxrflowError(f"training.model: no network is called {name}; choose one of {choice}{near or '.'}")


def plugin_of(name: str) -> plugins.Plugin | None:
    """The part that a network called ``name`` is, if it is not cxrflow's own. Raises CxrflowError as
    ``plugins.described``."""
    if name in MODELS or name.partition(":")[0] in FAMILIES:
        return None
    return plugins.described("models", name, "training.model")
