"""Every published start has a passport that says where it comes from and what it permits."""

import pytest

from cxrflow.models import MODELS, passports
from cxrflow.models.efficientnet_lite import PACKAGES
from cxrflow.models.from_xrv import SEEN
from cxrflow.passport import Licence, Passport, described, unknown


def complete(passport: Passport) -> bool:
    licence = passport.licence
    known = licence is not None and licence.research and licence.share_alike is False
    return bool(known and passport.origin and passport.trained_on and passport.lists)


@pytest.mark.parametrize("name", [name for name, model in MODELS.items() if model.imagenet])
def test_torchvisions_weights(name: str) -> None:
    from torchvision.models import get_model_weights

    passport = passports.torchvision(name, get_model_weights(name).DEFAULT.name)
    assert complete(passport)
    assert passport.complete
    assert passport.name.startswith(f"torchvision {name}, IMAGENET1K_V")
    assert passport.licence is not None
    assert passport.licence.commercial is None
    assert "non-commercial" in passport.licence.words


@pytest.mark.parametrize("weights", SEEN)
def test_torchxrayvisions_weights(weights: str) -> None:
    passport = passports.torchxrayvision(weights, SEEN[weights])
    assert complete(passport)
    assert passport.trained_on == SEEN[weights]
    assert passport.licence is not None
    assert (passport.licence.name, passport.licence.commercial) == ("Apache-2.0", True)


@pytest.mark.parametrize("package", PACKAGES.values())
def test_packages_of_efficientnet_lite(package: str) -> None:
    passport = passports.efficientnet_lite(package)
    assert complete(passport)
    assert package in passport.name
    assert passport.licence is not None
    assert passport.licence.name == "Apache-2.0"


def test_all_weights_of_timm() -> None:
    """By the descriptions that timm itself holds of all its weights: what they permit is never more than timm says, and
    weights whose tag names anything else than ImageNet are not said to have seen nothing else."""
    from timm.models import get_pretrained_cfg, list_pretrained

    known = ("apache-2.0", "mit", "bsd-3-clause", "cc-by-4.0")
    web = ("webli", "laion", "openai", "jft", "ig1b", "yfcc", "metaclip", "lvd", "datacomp", "dfn", "seer", "merged")
    counted = 0
    for name in list_pretrained():
        about = get_pretrained_cfg(name)
        passport = passports.timm(about.architecture, about.tag, about.license, about.hf_hub_id)
        assert passport.licence is not None
        assert passport.licence.name == (about.license or "not stated")
        if "nc" in (about.license or "").split("-"):
            assert passport.licence.commercial is False
        if about.license not in known:
            assert not passport.licence.commercial
        if any(part in about.tag for part in web):
            assert not passport.complete
        if about.tag == "in1k":
            assert complete(passport) == (about.license in known)
            assert (passport.trained_on, passport.complete) == (("ImageNet-1k",), True)
            counted += 1
    assert counted > 100
    two = passports.timm("vit_tiny_patch16_224", "augreg_in21k_ft_in1k", "apache-2.0", None)
    assert (two.trained_on, two.complete) == (("ImageNet-21k", "ImageNet-1k"), True)


def test_frozen_backbones() -> None:
    """What could not be read in the original is not given as certain, and a licence whose card asks for research alone
    is not said to permit more."""
    for passport in passports.BACKBONES.values():
        licence = passport.licence
        assert licence is not None
        assert passport.origin.startswith("https://")
        assert passport.trained_on
        assert passport.unverified
        assert licence.research
        assert bool(licence.commercial) == (passport.name == "EVA-X")
    seen = {name: "NIH" in passport.trained_on for name, passport in passports.BACKBONES.items()}
    assert seen == {"rad-dino": True, "eva-x": True, "biomedclip": False, "medsiglip": False}
    assert "training_images.csv" in passports.BACKBONES["rad-dino"].lists
    # The web and PubMed Central hold pictures that nobody has listed.
    whole = {name: all(part.complete for part in each.chain) for name, each in passports.BACKBONES.items()}
    assert [name for name, all_known in whole.items() if all_known] == ["eva-x"]


def test_a_table_groups_networks_that_began_alike() -> None:
    licence = Licence(name="L", research=True, commercial=False)
    known = Passport(name="w", origin="u", licence=licence, trained_on=("A",), before=unknown("x", ("B",)))
    parts = described([known, None, known], ["none", "none", "none"], ["0.7", None, "0.7"])
    assert [title for title, _ in parts] == ["Networks 1, 3", "Network 2"]
    rows = dict(parts[0][1])
    assert rows["licence"] == "L: research yes, commercial use no, share-alike unclear"
    assert rows["trained on"] == "A"
    assert rows["which began with"] == "x; licence unknown; trained on B, others that are unknown"
    assert "0.7" in rows.values()
    assert dict(parts[1][1]) == {"weights": "random; they have seen no image"}
    assert described([None])[0][0] == "The network"
