"""The networks of torchxrayvision (Cohen et al. 2022, arXiv:2111.00595), pretrained on chest radiographs.

torchxrayvision, an extra, downloads the published weights into ~/.torchxrayvision. Some files are whole networks,
pickled by PyTorch before 1.6, which ``torch.load(weights_only=True)`` refuses; they are read here without executing any
code in them. The networks are built with torchvision, whose layers are the same as torchxrayvision's.
"""

import pickle
import warnings
from typing import Any

import torch
from torch import nn

from cxrflow.errors import CxrflowError, nearest
from cxrflow.models import passports, resnet
from cxrflow.models.model import Model

#: Training collections of each set of weights, as torchxrayvision documents them. RSNA's images are a subset of NIH's
#: (Shih et al. 2019, Radiol Artif Intell; 1: e180041): weights trained on one have seen images of the other.
SEEN = {
    "densenet121-res224-all": ("NIH", "PadChest", "CheXpert", "MIMIC-CXR", "Google", "OpenI", "RSNA"),
    "densenet121-res224-nih": ("NIH", "RSNA"),
    "densenet121-res224-pc": ("PadChest",),
    "densenet121-res224-chex": ("CheXpert",),
    "densenet121-res224-rsna": ("RSNA", "NIH"),
    "densenet121-res224-mimic_nb": ("MIMIC-CXR",),
    "densenet121-res224-mimic_ch": ("MIMIC-CXR",),
    "resnet50-res512-all": ("PadChest", "NIH", "RSNA", "SIIM", "VinDr-CXR"),
}

#: Mean and standard deviation with which ``XrvNetwork`` turns pixels in [0, 1] into exactly -1024 to 1024.
SCALE = (0.5, 0.25)


def find(weights: str) -> Model:
    """The network of torchxrayvision's ``weights``, with a new last layer.

    Raises CxrflowError if torchxrayvision is not installed or has no such weights.
    """
    library = _library()
    if weights not in SEEN or weights not in library.models.model_urls:
        names = [f"xrv:{name}" for name in SEEN if name in library.models.model_urls]
        choice, near = ", ".join(names), nearest(f"xrv:{weights}", names)
        raise CxrflowError(
            f"training.model: torchxrayvision has no weights called {weights}; choose one of {choice}{near or '.'}"
        )

    def architecture(channels: int, classes: int) -> nn.Module:
        dense = weights.startswith("densenet121")
        return XrvNetwork(_densenet121(classes) if dense else resnet.build_resnet50(1, classes))

    def load_pretrained(network: nn.Module) -> None:
        if not isinstance(network, XrvNetwork):
            raise TypeError(f"expected an XrvNetwork, got {type(network).__name__}")
        _load(library, weights, network)

    size = library.models.model_urls[weights]["input_resolution"]
    passport = passports.torchxrayvision(weights, SEEN[weights])
    return Model(architecture, gradcam_layer, size, load_pretrained, SEEN[weights], SCALE, passport=passport)


def gradcam_layer(network: nn.Module, size: int) -> nn.Module:
    """The output of the last stage (7 x 7 at 224 pixels); below 224 pixels, that of the third stage."""
    if not isinstance(network, XrvNetwork):
        raise TypeError(f"expected an XrvNetwork, got {type(network).__name__}")
    from torchvision.models import ResNet

    if isinstance(network.network, ResNet):
        return resnet.gradcam_layer(network.network, size)
    features: Any = network.network.features
    layer: nn.Module = features.norm5 if size >= 7 * 32 else features.denseblock3
    return layer


class XrvNetwork(nn.Module):
    """Converts cxrflow's network input to torchxrayvision's, and passes it to ``network``.

    torchxrayvision's networks take one plane from -1024 (black) to 1024 (white). The input is normalised by SCALE, so
    it goes from -2 to 2, and is multiplied by 512. Planes are averaged, since all hold the same grey image. Images may
    have any size; the training size is in the name of the weights.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (n, classes) of float (n, channels, size, size)."""
        logits: torch.Tensor = self.network(512 * images.mean(dim=1, keepdim=True))
        return logits

    def take(self, state: dict[str, torch.Tensor]) -> None:
        """Load all weights except the last layer's. Raises RuntimeError if they are of another network."""
        own = self.network.state_dict()
        head = {name: tensor for name, tensor in own.items() if name.startswith(("classifier.", "fc."))}
        self.network.load_state_dict(state | head)


def _densenet121(classes: int) -> nn.Module:
    from torchvision.models import densenet121

    network: Any = densenet121(num_classes=classes)
    network.features.conv0 = nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
    nn.init.kaiming_normal_(network.features.conv0.weight)
    built: nn.Module = network
    return built


def _library() -> Any:
    try:
        with warnings.catch_warnings():  # torchxrayvision switches all warnings off
            import torchxrayvision
    except ImportError:
        raise CxrflowError(
            "training.model: networks called xrv:... need torchxrayvision; pip install 'cxrflow[xrv]'."
        ) from None
    return torchxrayvision


def _load(library: Any, weights: str, network: XrvNetwork) -> None:
    url = library.models.model_urls[weights]["weights_url"]
    place = f"{library.utils.get_cache_dir()}{url.rsplit('/', 1)[-1]}"
    try:
        library.models.get_weights(weights)
    except OSError as error:  # includes the errors of requests
        raise CxrflowError(
            f"training.model: xrv:{weights} could not be downloaded ({type(error).__name__}); "
            f"fetch {url} on a machine with a network and put it at {place}."
        ) from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about layers whose source code has changed since
            warnings.filterwarnings("error", ".*TorchScript.*")  # a TorchScript file is a program, not weights
            held = torch.load(place, map_location="cpu", weights_only=False, pickle_module=_WithoutCode)
        network.take(held.state_dict() if isinstance(held, nn.Module) else held)
    except Exception as error:  # a damaged file raises anything
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise CxrflowError(
            f"training.model: {place}: damaged, or of another network ({reason}); remove it and run again to "
            "download it again."
        ) from None


class _WithoutCode:
    """A replacement for the module ``pickle`` that executes no code from a file. It reads tensors; every other class or
    function named in the file becomes ``nn.Module``, which only stores attributes and cannot be called."""

    class Unpickler(pickle.Unpickler):
        """Reads tensors, dictionaries and sets."""

        def find_class(self, module: str, name: str) -> Any:
            """The class or function of that name if it is known to be harmless, else ``nn.Module``."""
            return super().find_class(module, name) if (module, name) in _HARMLESS else nn.Module

    @classmethod
    def load(cls, file: Any, **options: Any) -> Any:
        """As ``pickle.load``."""
        return cls.Unpickler(file, **options).load()


_HARMLESS = {
    ("builtins", "set"),
    ("__builtin__", "set"),
    ("collections", "OrderedDict"),
    ("torch._utils", "_rebuild_parameter"),
    ("torch._utils", "_rebuild_tensor_v2"),
}
