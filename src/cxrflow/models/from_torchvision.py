"""ImageNet weights of torchvision's networks, from the cache or downloaded."""

from collections.abc import Callable

from cxrflow.models import passports
from cxrflow.models.model import Pretrained


def imagenet(name: str) -> Callable[[], Pretrained]:
    """A loader of the ImageNet weights of torchvision's network ``name``.

    The loader raises OSError if the weights are not in torch's cache (``TORCH_HOME``) and cannot be downloaded, and
    RuntimeError if their SHA-256 is not the published one.
    """

    def load() -> Pretrained:
        from torchvision.models import get_model_weights  # imported on use, because it takes seconds

        weights = get_model_weights(name).DEFAULT
        state = weights.get_state_dict(check_hash=True, weights_only=True, map_location="cpu")
        expected = weights.transforms()
        passport = passports.torchvision(name, weights.name)
        return Pretrained(state, "ImageNet-1k", tuple(expected.mean), tuple(expected.std), passport)

    return load
